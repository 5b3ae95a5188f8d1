"""SBD's masks: what leads to GTcls.Segmentation in a MAT file.

After "MAT-File Format" (The MathWorks), chapter "Level 5 MAT-File Format". Every length is compared
with what is there before it is used, so that no file can crash the reader, make it run on, or make
it take more memory than twice `MOST_BYTES`.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 2**26
"""Of a file, and of all that is unpacked from it; SBD's largest have some 300 kB."""
HEADER_BYTES = 128
ORDERS = {b"IM": "<", b"MI": ">"}
"""Order of bytes in a number by the last two bytes of the header, for `struct`."""
LEVEL_5, LEVEL_7_3 = 0x0100, 0x0200
BYTES, UNSIGNED_BYTES, INTEGERS, UNSIGNED, MATRIX, COMPRESSED = 1, 2, 5, 6, 14, 15
"""Kinds of elements."""
STRUCT = 2
NUMBERS = range(6, 16)
"""Kinds of matrices: of double precision down to integers of 64 bits."""
COMPLEX = 0x0800
LONGEST_NAME, MOST_FIELDS = 64, 1000

Element = tuple[int, memoryview]
"""Its kind and its content."""


def read_segmentation(content: bytes) -> NDArray[np.uint8]:
    """Return the field Segmentation (H, W) of the struct GTcls of a MAT file.

    Raises:
        ValueError: there is none of one byte a pixel, the file is damaged, or of another level.
    """
    if len(content) < HEADER_BYTES or content[126:128] not in ORDERS:
        raise ValueError("it is not a MAT file")
    order = ORDERS[content[126:128]]
    (level,) = struct.unpack_from(f"{order}H", content, 124)
    if level != LEVEL_5:
        newer = "7.3" if level == LEVEL_7_3 else f"{level:#06x}"
        raise ValueError(f"it is a MAT file of version {newer}, where 7 is known")
    for matrix in _variables(memoryview(content)[HEADER_BYTES:], order):
        kind, _, shape, name, rest = _matrix(matrix, order)
        if name == "GTcls":
            if kind != STRUCT or shape != (1, 1):
                raise ValueError("its GTcls is not one struct")
            return _segmentation(rest, order)
    raise ValueError("it has no GTcls")


def _variables(data: memoryview, order: str) -> Iterator[memoryview]:
    """Yield the content of each variable's matrix, unpacked."""
    left = MOST_BYTES
    for kind, content in _elements(data, order, padded=False):
        if kind == COMPRESSED:
            unpacked = _inflated(content, left)
            left -= len(unpacked)
            inside = list(_elements(memoryview(unpacked), order, padded=False))
            if len(inside) != 1:
                raise ValueError("it has not one matrix in a compressed element")
            kind, content = inside[0]
        if kind != MATRIX:
            raise ValueError(f"it has an element of kind {kind} in place of a matrix")
        yield content


def _inflated(content: memoryview, most_bytes: int) -> bytes:
    """Return what is compressed, whole and with its checksum compared."""
    inflater = zlib.decompressobj()
    unpacked = inflater.decompress(content, most_bytes + 1)
    if len(unpacked) > most_bytes:
        raise ValueError(f"it unpacks to more than {MOST_BYTES:,} bytes")
    if not inflater.eof or inflater.unused_data:
        raise ValueError("a compressed element has not the length that it should have")
    return unpacked


def _elements(data: memoryview, order: str, padded: bool = True) -> Iterator[Element]:
    """Yield elements one after the other; `padded`: each to a multiple of 8 bytes."""
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise ValueError("it ends within an element")
        kind, size = struct.unpack_from(f"{order}II", data, at)
        start = at + 8
        if kind >> 16:  # up to four bytes, in place of the size
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
            if size > 4:
                raise ValueError("it has a small element of more than 4 bytes")
        if size > len(data) - start:
            raise ValueError("it has an element that is longer than what is left")
        yield kind, data[start : start + size]
        at = max(start + size, at + 8)
        at += -at % 8 if padded else 0


def _next(elements: Iterator[Element], *kinds: int) -> memoryview:
    """Return the content of the next element, which must be of one of some kinds."""
    kind, content = next(elements, (0, memoryview(b"")))
    if kind not in kinds:
        raise ValueError(f"it has an element of kind {kind}, where {kinds[0]} should be")
    return content


def _matrix(
    data: memoryview, order: str
) -> tuple[int, int, tuple[int, ...], str, Iterator[Element]]:
    """Return kind, flags, shape and name of a matrix, and the elements that follow."""
    elements = _elements(data, order)
    flags = _integers(_next(elements, UNSIGNED), order)
    shape = _integers(_next(elements, INTEGERS), order)
    name = _next(elements, BYTES)
    if len(flags) != 2 or len(shape) < 2 or min(shape) < 0 or len(name) >= LONGEST_NAME:
        raise ValueError("it has a matrix whose description is damaged")
    return flags[0] & 0xFF, flags[0], tuple(shape), bytes(name).decode("latin-1"), elements


def _integers(content: memoryview, order: str) -> list[int]:
    if not 0 < len(content) <= 128 or len(content) % 4:
        raise ValueError("it has whole numbers of another length than 4 bytes")
    return list(struct.unpack(f"{order}{len(content) // 4}i", content))


def _segmentation(elements: Iterator[Element], order: str) -> NDArray[np.uint8]:
    """Return the field Segmentation of a struct's fields, all of which must be there."""
    (width, *more) = _integers(_next(elements, INTEGERS), order)
    names = bytes(_next(elements, BYTES))
    if more or not 0 < width <= LONGEST_NAME or len(names) % width:
        raise ValueError("the names of GTcls's fields are damaged")
    fields = [names[at : at + width].split(b"\0")[0] for at in range(0, len(names), width)]
    if len(fields) > MOST_FIELDS or fields.count(b"Segmentation") != 1:
        raise ValueError("its GTcls has not one field Segmentation")
    contents = [_next(elements, MATRIX) for _ in fields]
    if next(elements, None):
        raise ValueError("its GTcls has more than its fields")
    return _bytes(contents[fields.index(b"Segmentation")], order)


def _bytes(data: memoryview, order: str) -> NDArray[np.uint8]:
    """Return a matrix that is stored as one byte a number."""
    kind, flags, shape, _, elements = _matrix(data, order)
    if kind not in NUMBERS or flags & COMPLEX or len(shape) != 2:
        raise ValueError("its Segmentation is not a matrix of real numbers")
    stored, content = next(elements, (0, memoryview(b"")))
    if stored != UNSIGNED_BYTES:
        raise ValueError("its Segmentation is not of one byte a pixel")
    if len(content) != shape[0] * shape[1] or next(elements, None):
        raise ValueError(f"its Segmentation has {len(content)} bytes for {shape} pixels")
    return np.frombuffer(content, np.uint8).reshape(shape, order="F").copy(order="F")
