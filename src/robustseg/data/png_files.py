"""What a PNG promises in its header, compared with what it holds.

After the PNG specification (W3C, third edition), sections 5.3, 8 and 9.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import IO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By the type of colour."""
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
          (0, 1, 1, 2))  # fmt: skip
"""Of an interlaced image: the first column and line, and the steps across and down."""
PIECE_BYTES = 2**20

Chunk = tuple[bytes, bytes]
"""Its type and its content."""


def check_png(file: IO[bytes]) -> None:
    """Read a PNG to its end, and leave the file where it was.

    Raises:
        ValueError: it has another number of pixels than its header says, or another checksum, or
            ends early.
        zlib.error: its data are damaged.
        struct.error: its header is.
    """
    at, expected, found = file.tell(), 0, 0
    inflater = zlib.decompressobj()
    for kind, content in _chunks(file):
        if kind == b"IHDR":
            expected = _data_bytes(*struct.unpack(">IIBBBBB", content))
        if kind != b"IDAT":
            continue
        while content and found <= expected:
            # With at most one byte more than there should be, a bomb does not go off.
            found += len(inflater.decompress(content, min(PIECE_BYTES, expected + 1 - found)))
            content = inflater.unconsumed_tail
    file.seek(at)
    if found != expected or not inflater.eof:
        less = "less" if found < expected else "more" if found > expected else "other"
        raise ValueError(f"it has {less} data than its header says")


def _chunks(file: IO[bytes]) -> Iterator[Chunk]:
    """Yield the chunks behind the signature, up to the last one."""
    file.seek(len(SIGNATURE))
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", _exactly(file, 8))
        content = _exactly(file, length)
        (checksum,) = struct.unpack(">I", _exactly(file, 4))
        # Pillow compares those of other chunks, and zlib's own can be right where pixels are not.
        if kind == b"IDAT" and checksum != zlib.crc32(content, zlib.crc32(kind)):
            raise ValueError("its data have another checksum than it says")
        yield kind, content


def _exactly(file: IO[bytes], count: int) -> bytes:
    content = file.read(count)
    if len(content) != count:
        raise ValueError("it ends early")
    return content


def _data_bytes(
    width: int, height: int, depth: int, colour: int, method: int, filtering: int, interlaced: int
) -> int:
    """Return how many bytes the lines of an image have, each with the one that names its filter."""
    if colour not in CHANNELS or method or filtering or interlaced > 1:
        raise ValueError("its header is none")
    total = 0
    for left, top, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
        columns, lines = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and lines > 0:
            total += lines * (1 + -(-columns * depth * CHANNELS[colour] // 8))
    return total
