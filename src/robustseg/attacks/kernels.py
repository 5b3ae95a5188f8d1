"""Sweeps over float32 logits on a CPU, compiled by numba: what takes torch several passes.

Logits are NumPy arrays (B, K, N) of N pixels; what belongs to a pixel is (B, N). Those that begin
with `coarse` get logits that are yet to be interpolated along the height, (B, K, h, W), and what
belongs to a pixel as (B, H, W): row r lies between rows `first[r]` and the next, by `share[r]`, and
`shift` is taken off it. Pixels are the innermost loop, of which the compiler works on many at a
time. What a pixel gets depends neither on the others nor on where it lies. Images go from the last
to the first: the last ones are those that the model wrote last, so that a cache may still hold
them.

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
def _scale(logits: Array, factor: Array) -> None:
    for i in range(len(logits)):
        logits[i] *= factor[i]


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


@_compiled
def _between(logits: Array, row: int, share: float32, shift: Array, interpolated: Array) -> None:
    """Interpolate between a row of (h, W) and the next."""
    upper, lower = logits[row], logits[min(row + 1, len(logits) - 1)]
    for i in range(len(interpolated)):
        interpolated[i] = (upper[i] + share * (lower[i] - upper[i])) - shift[i]


@_compiled
def _hand_back(gradient: Array, row: int, share: float32, interpolated: Array) -> None:
    """Add the gradient of an interpolated row to that of the two rows that it lies between."""
    upper, lower = gradient[row], gradient[min(row + 1, len(gradient) - 1)]
    for i in range(len(interpolated)):
        upper[i] += (float32(1) - share) * interpolated[i]
        lower[i] += share * interpolated[i]


@_compiled
def _take_between(
    logits: Array, row: int, share: float32, shift: Array, index: Array, label: Array
) -> None:
    below = min(row + 1, logits.shape[1] - 1)
    for i in range(len(index)):
        if not 0 <= index[i] < len(logits):
            raise IndexError("a label is outside the classes")
        upper, lower = logits[index[i], row, i], logits[index[i], below, i]
        label[i] = (upper + share * (lower - upper)) - shift[i]


@_compiled
def _take_back(gradient: Array, row: int, share: float32, index: Array, weight: Array) -> None:
    below = min(row + 1, gradient.shape[1] - 1)
    for i in range(len(index)):
        gradient[index[i], row, i] -= (float32(1) - share) * weight[i]
        gradient[index[i], below, i] -= share * weight[i]


@_compiled
def coarse_exponential_sums(
    first: Array,
    share: Array,
    logits: Array,
    shift: Array,
    index: Array,
    label: Array,
    own: Array,
    largest: Array,
    total: Array,
) -> None:
    """Do what `exponential_sums` does."""
    values = np.empty(logits.shape[3], float32)
    for image in range(logits.shape[0] - 1, -1, -1):
        for r in range(len(first)):
            for k in range(logits.shape[1]):
                _between(logits[image, k], first[r], share[r], shift[image, r], values)
                _add_exponentials(values, largest[image, r], total[image, r])
            own_row = index[image, r], label[image, r]
            _take_between(logits[image], first[r], share[r], shift[image, r], *own_row)
            _take_exponentials(label[image, r], own[image, r])


@_compiled
def coarse_sigmoid_sums(
    first: Array,
    share: Array,
    logits: Array,
    shift: Array,
    index: Array,
    label: Array,
    own: Array,
    largest: Array,
    total: Array,
    sigmoid: Array,
    squares: Array,
) -> None:
    """Do what `sigmoid_sums` does."""
    values = np.empty(logits.shape[3], float32)
    for image in range(logits.shape[0] - 1, -1, -1):
        for r in range(len(first)):
            for k in range(logits.shape[1]):
                _between(logits[image, k], first[r], share[r], shift[image, r], values)
                _add_sigmoids(values, largest[image, r], total[image, r], squares[image, r])
            own_row = index[image, r], label[image, r]
            _take_between(logits[image], first[r], share[r], shift[image, r], *own_row)
            _take_exponentials(label[image, r], own[image, r])
            _take_sigmoids(label[image, r], sigmoid[image, r])


@_compiled
def coarse_square_sums(
    first: Array,
    share: Array,
    logits: Array,
    shift: Array,
    index: Array,
    label: Array,
    largest: Array,
    squares: Array,
) -> None:
    """Do what `square_sums` does."""
    values = np.empty(logits.shape[3], float32)
    for image in range(logits.shape[0] - 1, -1, -1):
        for r in range(len(first)):
            for k in range(logits.shape[1]):
                _between(logits[image, k], first[r], share[r], shift[image, r], values)
                _add_squares(values, largest[image, r], squares[image, r])
            own_row = index[image, r], label[image, r]
            _take_between(logits[image], first[r], share[r], shift[image, r], *own_row)


@_compiled
def coarse_write_gradient(
    exponential: bool,
    first: Array,
    share: Array,
    logits: Array,
    gradient: Array,
    shift: Array,
    index: Array,
    factor: Array,
    weight: Array,
) -> None:
    """Add to `gradient` (B, K, h, W) what comes of factor e^u_k - weight [k = y].

    Not `exponential`: of factor u_k - weight [k = y].
    """
    values = np.empty(logits.shape[3], float32)
    for image in range(logits.shape[0] - 1, -1, -1):
        for r in range(len(first)):
            for k in range(logits.shape[1]):
                _between(logits[image, k], first[r], share[r], shift[image, r], values)
                if exponential:
                    _write_exponentials(values, factor[image, r])
                else:
                    _scale(values, factor[image, r])
                _hand_back(gradient[image, k], first[r], share[r], values)
            _take_back(gradient[image], first[r], share[r], index[image, r], weight[image, r])
