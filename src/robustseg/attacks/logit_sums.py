"""The passes over logits that losses are made of; on a CPU as compiled sweeps, see `kernels`.

Logits u are (b, K, h, w), detached; what belongs to a pixel is (b, 1, h, w).
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

SWEPT_VALUES = 2**15
"""An image's logits from which on sweeps pay: a process takes half a second to load them."""
LOG2_E = math.log2(math.e)
"""In torch, on a CPU, 2^x is 4 times faster than e^x."""
PAGE_VALUES = 1024
"""float32 values of a page of memory."""
PLACES_APART = 208
"""Values between the places of a page where tensors begin: whole lines of cache, a fifth of it."""


def is_swept(logits: Tensor) -> bool:
    """Return whether compiled sweeps do the passes: many float32 logits on a CPU, pixels innermost.

    The size of the batch has no say in it, since it changes and an image's values must not.
    """
    return logits.is_contiguous() and may_be_swept(logits, logits[:1].numel())


def may_be_swept(logits: Tensor, values: int) -> bool:
    """Return whether so many logits of an image, of the kind of these, are worth sweeping."""
    many = logits.device.type == "cpu" and values >= SWEPT_VALUES
    return many and logits.dtype == torch.float32 and _has_numba()


def label_and_largest(logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Return u_y with y in `index` (b, 1, h, w) int64, and max_k u_k."""
    return logits.gather(1, index), logits.amax(1, keepdim=True)


def exponential_sums(logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return u_y with y in `index` (b, 1, h, w) int64, e^u_y, max_k u_k, and sum_k e^u_k.

    e^u_y is one of the sum's terms to the last bit, so that p_y never exceeds 1.
    """
    if not is_swept(logits):
        label, largest = label_and_largest(logits, index)
        exponentials = (logits * LOG2_E).exp2_()
        return label, exponentials.gather(1, index), largest, exponentials.sum(1, keepdim=True)
    from robustseg.attacks import kernels

    label, own, largest, total = pixel_values(logits, 0, 0, -torch.inf, 0)
    _sweep(kernels.exponential_sums, logits, index, label, own, largest, total)
    return label, own, largest, total


def sigmoid_sums(logits: Tensor, index: Tensor) -> tuple[Tensor, ...]:
    """Return the same four, sigma(u_y), and ||sigma(u)||_2, which may underflow below 1e-15.

    Where the largest logit is above 40, e^u_y and sum_k e^u_k are of no use.
    """
    if not is_swept(logits):
        # One after the other: sigmoids are as large as the logits, and so are exponentials.
        sigmoid, norm = sigmoid_and_norm(logits.sigmoid(), index)
        return *exponential_sums(logits, index), sigmoid, norm
    from robustseg.attacks import kernels

    label, own, largest, total, sigmoid, squares = pixel_values(logits, 0, 0, -torch.inf, 0, 0, 0)
    _sweep(kernels.sigmoid_sums, logits, index, label, own, largest, total, sigmoid, squares)
    return label, own, largest, total, sigmoid, squares.sqrt_()


def sigmoid_and_norm(sigmoids: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Return sigma(u_y) and ||sigma(u)||_2 of sigma(u), which is overwritten."""
    sigmoid = sigmoids.gather(1, index)
    return sigmoid, sigmoids.square_().sum(1, keepdim=True).sqrt_()


def norms(logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return u_y with y in `index` (b, 1, h, w) int64, max_k u_k, and ||u||_2."""
    if not is_swept(logits):
        label, largest = label_and_largest(logits, index)
        return label, largest, logits.square().sum(1, keepdim=True).sqrt_()
    from robustseg.attacks import kernels

    label, largest, squares = pixel_values(logits, 0, -torch.inf, 0)
    _sweep(kernels.square_sums, logits, index, label, largest, squares)
    return label, largest, squares.sqrt_()


def write_gradient(logits: Tensor, index: Tensor, factor: Tensor, weight: Tensor) -> None:
    """Overwrite u_k with factor e^u_k - weight [k = y], y in `index` (b, 1, h, w) int64."""
    if not is_swept(logits):
        logits.mul_(LOG2_E).exp2_().mul_(factor).scatter_add_(1, index, -weight)
        return
    from robustseg.attacks import kernels

    _sweep(kernels.write_gradient, logits, index, factor, weight)
    torch.autograd.graph.increment_version(logits)  # so that autograd knows


def pixel_values(like: Tensor, *starts: float) -> list[Tensor]:
    """Return values for each pixel of (b, C, h, w), one tensor for each value that they start with.

    They begin at different places of a page of memory: a processor that writes to one and reads
    another mistakes equal places for each other, and the sigmoids' sweep takes a third longer.
    """
    shape = _pixel_shape(like)
    count = math.prod(shape)
    apart = -(-count // PAGE_VALUES) * PAGE_VALUES + PLACES_APART
    memory = like.new_empty(len(starts) * apart)
    tensors = [memory[i * apart :][:count].view(shape) for i in range(len(starts))]
    return [tensor.fill_(start) for tensor, start in zip(tensors, starts, strict=True)]


def _pixel_shape(logits: Tensor) -> tuple[int, ...]:
    return len(logits), 1, *logits.shape[2:]


def _sweep(kernel: Callable[..., None], logits: Tensor, *pixels: Tensor) -> None:
    """Run a kernel on logits and what belongs to their pixels."""
    if any(tensor.shape != _pixel_shape(logits) for tensor in pixels):
        raise IndexError("what belongs to pixels is not of the logits' size")
    run(kernel, [logits.flatten(2), *(tensor.contiguous().flatten(1) for tensor in pixels)])


def run(kernel: Callable[..., None], tensors: Sequence[Tensor]) -> None:
    """Run a kernel on tensors of the same images, as many threads as torch has sharing the images.

    Kernels hold no lock of Python's.
    """
    threads = min(torch.get_num_threads(), len(tensors[0]))
    if threads <= 1:
        kernel(*(tensor.numpy() for tensor in tensors))
        return
    shares = zip(*(tensor.tensor_split(threads) for tensor in tensors), strict=True)
    list(_pool(threads).map(lambda share: kernel(*(part.numpy() for part in share)), shares))


@lru_cache
def _has_numba() -> bool:
    """Return whether the compiler of the sweeps is installed; it is an extra."""
    return find_spec("numba") is not None


@lru_cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)
