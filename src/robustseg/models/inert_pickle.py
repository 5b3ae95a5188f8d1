"""What `torch.save` wrote, read without torch's reader: nothing is imported, called or run.

A pickle is a program for a small machine with a stack. Here the machine knows tensors, text,
numbers, lists and dicts; what else a pickle asks for becomes `INERT`, a stand-in that does nothing.
Both formats are read: the zip of torch 1.6 and later, and the sequence of pickles and raw storages
before it. Only Python's zipfile decides what a zip holds.
"""

import io
import pickletools
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
}
"""Of torch's storages by name, whatever device they were on."""
HARMLESS = {
    *(("collections", name) for name in ("Counter", "defaultdict")),
    *(("torch", str(value)[6:]) for value in vars(torch).values() if type(value) is torch.dtype),
    *(("builtins", name) for name in ("set", "frozenset", "bytearray", "complex")),
    *(("__builtin__", name) for name in ("set", "frozenset", "bytearray", "complex")),
    ("torch", "device"),
    ("_codecs", "encode"),
}
"""Plain data that lies beside weights: replaced by the stand-in without suspicion."""
ZIP_BEGINS = b"PK\x03\x04"
OLD_FORMAT = (0x1950A86A20F9469CFC6C, 1001)
"""The first two pickles of a file in the format before torch 1.6."""
MOST_STEPS = 2**20
"""Of a pickle; a tensor takes about thirty. They are done in a few seconds."""
MOST_DIMENSIONS = 64
MOST_BITS = 128
"""Of an integer; the longest that torch writes has 77."""


class UnreadableError(Exception):
    """A file that is damaged or none of torch's; says why, beginning with "it" or "its"."""


class ForeignError(UnreadableError):
    """A pickle that asks for more than weights need."""


class _Inert:
    """Stands for every object that is not made."""


INERT = _Inert()


@dataclass(frozen=True)
class _Global:
    """The name of something to import, which is not imported."""

    module: str
    name: str


@dataclass(frozen=True)
class _Storage:
    """Numbers that tensors are views of."""

    values: Tensor
    """One-dimensional."""


@dataclass(frozen=True)
class _Asked:
    """A storage as a pickle asks for it."""

    dtype: torch.dtype
    key: str
    length: int

    @property
    def size_bytes(self) -> int:
        return self.length * self.dtype.itemsize


def read_inertly(path: Path, other_objects: bool = False) -> Any:
    """Return what lies in a file of `torch.save`: tensors on the CPU, plain data, and `INERT`.

    Dicts of all kinds come back as dict, with the keys that are text or small integers. A tensor
    lies whole inside its storage and a storage whole inside the file, so that a file cannot ask for
    more memory than a few times its size.

    Args:
        path: file.
        other_objects: whether objects of other kinds may be in it, as stand-ins.

    Raises:
        ForeignError: objects of other kinds, unless they may be there.
        UnreadableError: anything else that is no whole file of `torch.save`.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(len(ZIP_BEGINS)) == ZIP_BEGINS
        return (_read_zip if zipped else _read_old)(path, other_objects)
    except UnreadableError:
        raise
    except Exception as error:  # whatever else damaged bytes drive the parsers of Python to
        said = shown(error) or type(error).__name__
        raise UnreadableError(f"it is damaged or none of torch's: {said}") from error


def shown(found: object) -> str:
    """Return something out of a file for a message: in one line, short and printable."""
    simple = isinstance(found, str | bytes | int | float | Exception | None)
    return repr(str(found)[:100])[1:-1] if simple else f"a {type(found).__name__}"


def _read_zip(path: Path, other_objects: bool) -> Any:
    """Read the format since torch 1.6: `NAME/data.pkl`, `NAME/data/0`, `NAME/data/1` and so on."""
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if any(name.endswith("/constants.pkl") for name in members):
            raise UnreadableError("it is a TorchScript program")
        if len(members) < len(archive.infolist()):
            raise UnreadableError("its archive has several members of one name")
        if any(member.compress_type or member.flag_bits & 1 for member in members.values()):
            raise UnreadableError("its archive is compressed or encrypted, as torch writes none")
        if sum(member.file_size for member in members.values()) > path.stat().st_size:
            raise UnreadableError("its archive has members that overlap")
        pickles = [name for name in members if name.partition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise UnreadableError(f"its archive has {len(pickles)} members data.pkl, not one")
        root = pickles[0].removesuffix("data.pkl")
        order = archive.read(f"{root}byteorder") if f"{root}byteorder" in members else b"little"
        if order not in (b"little", b"big"):
            raise UnreadableError(f"its byte order is {shown(order)}")

        def load(asked: _Asked) -> Tensor:
            name = f"{root}data/{asked.key}"
            if name not in members or members[name].file_size != asked.size_bytes:
                raise _of_other_size(asked)
            return _numbers(archive.read(name), asked, order.decode())

        pickled = io.BytesIO(archive.read(pickles[0]))
        return _Machine(_Storages(load), other_objects).run(pickled)


def _read_old(path: Path, other_objects: bool) -> Any:
    """Read the format before torch 1.6: five pickles, then the storages in the last one's order."""
    file = io.BytesIO(path.read_bytes())
    left = path.stat().st_size

    def reserve(asked: _Asked) -> Tensor:
        nonlocal left
        left -= asked.size_bytes
        if left < 0:
            raise UnreadableError("it is truncated, or asks for more numbers than it has")
        return torch.zeros(asked.length, dtype=asked.dtype, device="cpu")

    storages = _Storages(reserve)
    for wanted in OLD_FORMAT:
        found = _Machine(storages, other_objects).run(file)
        if type(found) is not int or found != wanted:
            raise UnreadableError("it does not begin like a file of torch")
    _, content, keys = (_Machine(storages, other_objects).run(file) for _ in range(3))
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise UnreadableError("it does not list its storages")
    if sorted(keys) != sorted(storages.known):
        raise UnreadableError("it lists other storages than it uses")
    for key in keys:
        asked, values = storages.known[key]
        if int.from_bytes(file.read(8), "little") != asked.length:
            raise _of_other_size(asked)
        values.copy_(_numbers(file.read(asked.size_bytes), asked, "little"))
    return content


def _numbers(data: bytes, asked: _Asked, order: str) -> Tensor:
    """Return bytes as a vector of numbers of its own."""
    if len(data) != asked.size_bytes:  # a zip may say one size and hold another
        raise _of_other_size(asked)
    if not data:
        return torch.empty(0, dtype=asked.dtype, device="cpu")
    values = torch.frombuffer(bytearray(data), dtype=asked.dtype)
    if order != sys.byteorder:
        values.untyped_storage().byteswap(asked.dtype)  # type: ignore[no-untyped-call]
    return values


def _of_other_size(asked: _Asked) -> UnreadableError:
    return UnreadableError(f"its storage {shown(asked.key)} is missing, truncated or of other size")


class _Storages:
    """The storages of a file, each made once, by what a pickle calls them.

    Args:
        load: returns the numbers of a storage, a vector.
    """

    def __init__(self, load: Callable[[_Asked], Tensor]) -> None:
        self.load = load
        self.known: dict[str, tuple[_Asked, Tensor]] = {}

    def get(self, name: Any) -> _Storage:
        """Return the storage of a persistent name, or of a window in it, as old files have."""
        if not isinstance(name, tuple) or len(name) not in (5, 6) or name[0] != "storage":
            raise UnreadableError("its pickle asks for something other than a storage")
        kind, key, length = name[1], name[2], name[4]
        if not isinstance(kind, _Global) or not isinstance(key, str) or not _is_length(length):
            raise UnreadableError("its pickle describes a storage wrongly")
        asked = _Asked(DTYPES[kind.name], key, length)
        if key not in self.known:
            self.known[key] = asked, self.load(asked)
        first, values = self.known[key]
        if first != asked:
            raise UnreadableError(f"its storage {shown(key)} is said to be of two kinds")
        if len(name) == 6 and name[5] is not None:
            _, start, width = name[5]
            if not _is_length(start) or not _is_length(width) or start + width > length:
                raise UnreadableError(f"its storage {shown(key)} is smaller than a part of it")
            values = values[start : start + width]
        return _Storage(values)


def _is_length(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """Return a view of a storage that does not leave it."""
    if not isinstance(storage, _Storage):
        raise UnreadableError("its pickle makes a tensor without a storage")
    sequences = isinstance(size, tuple | list) and isinstance(stride, tuple | list)
    if not sequences or len(size) != len(stride) or len(size) > MOST_DIMENSIONS:
        raise UnreadableError("its pickle makes a tensor without a shape")
    if not all(map(_is_length, (offset, *size, *stride))):
        raise UnreadableError("its pickle makes a tensor of an absurd shape")
    values = storage.values
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if 0 in size:
        return values.new_empty(tuple(size))
    if last >= len(values):
        raise UnreadableError("its pickle makes a tensor that is larger than its storage")
    start = values.storage_offset() + offset
    whole = values.untyped_storage()
    return values.new_empty(0).set_(whole, start, tuple(size), tuple(stride))


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _size(lengths: Any = ()) -> tuple[Any, ...]:
    if not isinstance(lengths, tuple | list) or len(lengths) > MOST_DIMENSIONS:
        raise UnreadableError("its pickle makes a tensor without a shape")
    return tuple(lengths)


CALLS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch", "Size"): _size,
}
"""What stands for the functions that torch's pickles call."""
ORDERED = ("collections", "OrderedDict")
KNOWN = {*CALLS, *HARMLESS, ORDERED}

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "SHORT_BINSTRING", "BINSTRING"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
"""Operations that put what follows them on the stack."""


class _Machine:
    """Carries out one pickle of protocols 2 to 5.

    Args:
        storages: of the file.
        other_objects: whether names are allowed that neither weights nor plain data need.
    """

    def __init__(self, storages: _Storages, other_objects: bool) -> None:
        self.storages, self.other_objects = storages, other_objects
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.steps = 0

    def run(self, file: IO[bytes]) -> Any:
        """Return what a pickle describes, and leave the file behind its end."""
        for operation, argument, _ in pickletools.genops(file):
            self._spend(1)
            if operation.name == "STOP":
                break
            self._step(operation.name, argument)
        return self.stack.pop()

    def _spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MOST_STEPS:
            raise UnreadableError(f"its pickle takes more than {MOST_STEPS:,} steps")

    def _step(self, name: str, argument: Any) -> None:
        stack, pop = self.stack, self.stack.pop
        if name in LITERALS:
            if type(argument) is int and argument.bit_length() > MOST_BITS:
                raise UnreadableError("its pickle has an absurdly large number")
            stack.append(argument)
            return
        if name in CONSTANTS:
            stack.append(CONSTANTS[name])
            return
        match name:
            case "PROTO" | "FRAME":
                pass
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "MARK":
                self.marks.append(len(stack))
            case "POP":
                pop()
            case "POP_MARK":
                self._since_mark()
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_SET":
                stack.append(INERT)
            case "FROZENSET":
                self._since_mark()
                stack.append(INERT)
            case "ADDITEMS":
                self._since_mark()
            case "TUPLE":
                stack.append(tuple(self._since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple([pop() for _ in range(int(name[-1]))][::-1]))
            case "APPEND":
                items = [pop()]
                self._extend(stack[-1], items)
            case "APPENDS":
                items = self._since_mark()
                self._extend(stack[-1], items)
            case "SETITEM":
                items = [pop(), pop()][::-1]
                self._set_items(stack[-1], items)
            case "SETITEMS":
                items = self._since_mark()
                self._set_items(stack[-1], items)
            case "GLOBAL":
                stack.append(self._global(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                what, module = pop(), pop()
                stack.append(self._global(module, what))
            case "REDUCE" | "NEWOBJ":
                arguments, function = pop(), pop()
                stack.append(self._call(function, arguments))
            case "NEWOBJ_EX":
                _, arguments, function = pop(), pop(), pop()
                stack.append(self._call(function, arguments))
            case "BUILD":
                pop()  # attributes, of which neither weights nor plain data have any
            case "BINPERSID":
                stack.append(self._persistent(pop()))
            case _:
                raise UnreadableError(f"its pickle has the operation {name}, which torch's do not")

    def _since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _extend(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, list):
            target.extend(items)
        elif target is not INERT:
            raise UnreadableError("its pickle appends to what is not a list")

    def _set_items(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                # Hashes of other keys could take for ever. Large integers can be made to collide.
                if isinstance(key, str) or (type(key) is int and abs(key) < 2**31):
                    target[key] = value
                elif not self.other_objects:
                    raise UnreadableError("it has a dict with keys that are no names")
        elif target is not INERT:
            raise UnreadableError("its pickle puts items into what is not a dict")

    def _global(self, module: Any, name: Any) -> _Global:
        """Return a name, if it may be there."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise UnreadableError("its pickle asks for something without a name")
        storage = module in ("torch", "torch.cuda") and name in DTYPES
        known = storage or (module, name) in KNOWN
        if not known and not self.other_objects:
            raise ForeignError(f"its pickle asks for {shown(f'{module}.{name}')}")
        return _Global(module, name)

    def _call(self, function: Any, arguments: Any) -> Any:
        """Return the tensor or plain data that a call stands for, or the stand-in."""
        if function is INERT:
            return INERT
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise UnreadableError("its pickle calls what is not a function")
        place = function.module, function.name
        if place == ORDERED:
            return self._ordered(*arguments)
        return CALLS[place](*arguments) if place in CALLS else INERT

    def _ordered(self, pairs: Any = ()) -> dict[Any, Any]:
        """Return a dict of pairs, as Python 2 has written it."""
        if not isinstance(pairs, tuple | list):
            raise UnreadableError("its pickle makes a dict of what are no pairs")
        self._spend(len(pairs))
        made: dict[Any, Any] = {}
        for pair in pairs:
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise UnreadableError("its pickle makes a dict of what are no pairs")
            self._set_items(made, list(pair))
        return made

    def _persistent(self, name: Any) -> Any:
        """Return a storage; old files name the classes of networks in the same way."""
        if self.other_objects and isinstance(name, tuple) and name[:1] == ("module",):
            return INERT
        return self.storages.get(name)
