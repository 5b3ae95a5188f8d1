"""Sweeps over float32 logits on a CPU, compiled by numba: what takes torch several passes.

Logits are NumPy arrays (B, K, N) of N pixels; what belongs to a pixel is (B, N). Pixels are the
innermost loop, of which the compiler works on many at a time. What a pixel gets depends neither on
the others nor on where it lies. Images go from the last to the first: the last ones are those that
the model wrote last, so that a cache may still hold them.

Importing this module takes 0.4 s; compiling it takes seconds, once on a machine.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np
from numpy import float32, int32
from numpy.typing import NDArray

Array = NDArray[Any]

LN_2 = float32(math.log(2))
LOG2_E = float32(math.log2(math.e))
SMALLEST = float32(-70)
"""Logits below are taken for it in e^u."""
SATURATED = float32(40)
"""Logits above are taken for it in sigma(u), which is 1 there."""
ROUNDING = float32(1.5 * 2**23)
"""Adding it to a small float32 rounds to an integer, which then stands in the lowest bits."""
SERIES = tuple(
    np.polynomial.Chebyshev.interpolate(np.exp, 5, domain=[-math.log(2) / 2, math.log(2) / 2])
    .convert(kind=np.polynomial.Polynomial)
    .coef.astype(float32)
)
"""e^x for |x| <= ln(2) / 2, to 1e-7."""


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call; keep the result where a folder can be written to."""
    compiler = partial(numba.njit, nogil=True, error_model="numpy", fastmath={"contract"})
    try:
        return compiler(function, cache=True)
    except RuntimeError:
        return compiler(function)


@_compiled
def _exponential(logit: float32) -> float32:
    """Return e^u = 2^n e^x with an integer n, for u up to 80, to 5e-7; NaN stays NaN."""
    u = SMALLEST if logit < SMALLEST else logit
    rounded = float32(u * LOG2_E + ROUNDING)
    x = u - (rounded - ROUNDING) * LN_2
    c0, c1, c2, c3, c4, c5 = SERIES
    series = c0 + x * (c1 + x * (c2 + x * (c3 + x * (c4 + x * c5))))
    exponent = (rounded.view(int32) + int32(127)) << int32(23)  # of the float32 2^n
    return series * int32(exponent).view(float32)


@_compiled
def _saturated(logit: float32) -> float32:
    """Return e^u for sigma(u) = e^u / (e^u + 1)."""
    exponential: float32 = _exponential(SATURATED if logit > SATURATED else logit)
    return exponential


@_compiled
def _add_exponentials(logits: Array, largest: Array, total: Array) -> None:
    for i in range(len(logits)):
        largest[i] = logits[i] if logits[i] > largest[i] else largest[i]
        total[i] += _exponential(logits[i])


@_compiled
def _add_sigmoids(logits: Array, largest: Array, total: Array, squares: Array) -> None:
    for i in range(len(logits)):
        largest[i] = logits[i] if logits[i] > largest[i] else largest[i]
        exponential = _saturated(logits[i])
        total[i] += exponential
        sigmoid = exponential / (exponential + float32(1))
        squares[i] += sigmoid * sigmoid


@_compiled
def _add_squares(logits: Array, largest: Array, squares: Array) -> None:
    for i in range(len(logits)):
        largest[i] = logits[i] if logits[i] > largest[i] else largest[i]
        squares[i] += logits[i] * logits[i]


@_compiled
def _write_exponentials(logits: Array, factor: Array) -> None:
    for i in range(len(logits)):
        logits[i] = _exponential(logits[i]) * factor[i]


@_compiled
def _take(logits: Array, index: Array, label: Array) -> None:
    for i in range(len(index)):
        if not 0 <= index[i] < len(logits):
            raise IndexError("a label is outside the classes")
        label[i] = logits[index[i], i]


@_compiled
def _take_exponentials(label: Array, exponential: Array) -> None:
    for i in range(len(label)):
        exponential[i] = _exponential(label[i])


@_compiled
def _take_sigmoids(label: Array, sigmoid: Array) -> None:
    for i in range(len(label)):
        exponential = _saturated(label[i])
        sigmoid[i] = exponential / (exponential + float32(1))


@_compiled
def exponential_sums(
    logits: Array, index: Array, label: Array, own: Array, largest: Array, total: Array
) -> None:
    """Set `label` to u_y, y in `index`, and `own` to e^u_y.

    Raise `largest` to max_k u_k, and add e^u_k to `total`.
    """
    for image in range(logits.shape[0] - 1, -1, -1):
        for k in range(logits.shape[1]):
            _add_exponentials(logits[image, k], largest[image], total[image])
        _take(logits[image], index[image], label[image])
        _take_exponentials(label[image], own[image])


@_compiled
def sigmoid_sums(
    logits: Array,
    index: Array,
    label: Array,
    own: Array,
    largest: Array,
    total: Array,
    sigmoid: Array,
    squares: Array,
) -> None:
    """Do the same, set `sigmoid` to sigma(u_y), and add sigma(u_k)^2 to `squares`."""
    for image in range(logits.shape[0] - 1, -1, -1):
        for k in range(logits.shape[1]):
            _add_sigmoids(logits[image, k], largest[image], total[image], squares[image])
        _take(logits[image], index[image], label[image])
        _take_exponentials(label[image], own[image])
        _take_sigmoids(label[image], sigmoid[image])


@_compiled
def square_sums(logits: Array, index: Array, label: Array, largest: Array, squares: Array) -> None:
    """Set `label` to u_y, y in `index`, raise `largest` to max_k u_k, add u_k^2 to `squares`."""
    for image in range(logits.shape[0] - 1, -1, -1):
        for k in range(logits.shape[1]):
            _add_squares(logits[image, k], largest[image], squares[image])
        _take(logits[image], index[image], label[image])


@_compiled
def write_gradient(logits: Array, index: Array, factor: Array, weight: Array) -> None:
    """Turn u_k into factor e^u_k - weight [k = y], y in `index`, which must be a class."""
    for image in range(logits.shape[0] - 1, -1, -1):
        for k in range(logits.shape[1]):
            _write_exponentials(logits[image, k], factor[image])
        for i in range(logits.shape[2]):
            logits[image, index[image, i], i] -= weight[image, i]
