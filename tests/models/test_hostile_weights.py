"""Whatever is in a file of weights: the tensors as they were, or one sentence that names the file.

Nothing in a file is run, nothing hangs, and torch's own way of loading is never reached.
"""

import io
import itertools
import json
import os
import pickle
import random
import re
import struct
import zipfile
from pathlib import Path
from time import monotonic

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robustseg.errors import RobustsegError
from robustseg.models import checkpoints
from robustseg.models.build import (
    build_classifier,
    build_segmentation_model,
    classifier_architecture,
)
from robustseg.models.checkpoints import load_backbone, load_model, load_strictly, save_weights
from robustseg.models.convert import checkpoint_in
from robustseg.models.inert_pickle import MOST_STEPS, UnreadableError, read_inertly
from robustseg.models.references import load_weights
from robustseg.models.unpickling import read_checkpoint
from tests.training.tiny import trainer

MUTATIONS = 60
"""Of each kind of file, from one seed."""
LONGEST_S = 8.0


@pytest.fixture(autouse=True)
def torch_loads_nothing(monkeypatch):
    """Fail a test in which torch's own loading is reached."""
    reached = []
    for module in (torch, torch.jit):
        monkeypatch.setattr(module, "load", lambda *_, **__: reached.append("load"))
    monkeypatch.setattr(torch.serialization, "_load", lambda *_, **__: reached.append("_load"))
    yield
    assert not reached


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1))


def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_segmentation_model("convnext_demo", "upernet_demo", 5)


def classifier():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return build_classifier("convnext_demo", 9)


class Unimportable:
    """An object that lies beside the weights."""


def save_zip(path):
    torch.save(network().state_dict(), path)


def save_old(path):
    torch.save({"state_dict": network().state_dict()}, path, _use_new_zipfile_serialization=False)


def save_with_objects(path):
    torch.save({"model": network().state_dict(), "schedule": Unimportable(), "epoch": 3}, path)


def save_safetensors(path):
    save_file(network().state_dict(), path)


def save_model(path):
    save_weights(path, model(), {"architecture": model().architecture})


def save_classifier(path):
    save_weights(path, classifier(), {"architecture": classifier_architecture("convnext_demo", 9)})


def trained_trainer(folder):
    """Return a trainer at the end of its training, with the checkpoint that it leaves."""
    one = trainer(folder, momentum=0.9)
    one.run()
    one._write_checkpoint()
    return one


def save_training(path):
    trained_trainer(path.parent)


def published(path, other_objects=False):
    net = network(1)
    load_strictly(net, read_checkpoint(path, other_objects), path)
    return net.state_dict()


def own(path):
    net = network(1)
    load_weights(net, path)
    return net.state_dict()


def backbone(path):
    into = model()
    report = load_backbone(path, into)
    return {key: into.state_dict()[f"backbone.{key}"] for key in report.kept}


def resumed(path):
    again = trainer(path.parent, momentum=0.9)
    again._resume()
    moments = again.optimizer.state_dict()["state"]
    kept = {str(place): one["momentum_buffer"] for place, one in moments.items()}
    return again.task.model.state_dict() | kept


FILES = {
    # Its name, who writes it, who reads it, and whether the format has a checksum of its numbers.
    "zip, published": ("w.pth", save_zip, published, True),
    "zip, own": ("w.pth", save_zip, own, True),
    "zip, objects": ("w.ckpt", save_with_objects, lambda path: published(path, True), True),
    "old, published": ("w.pth", save_old, published, False),
    "old, own": ("w.pt", save_old, own, False),
    "safetensors, published": ("w.safetensors", save_safetensors, published, False),
    "safetensors, own": ("w.safetensors", save_safetensors, own, False),
    "model": ("w.safetensors", save_model, lambda path: load_model(path)[0].state_dict(), False),
    "backbone": ("w.safetensors", save_classifier, backbone, False),
    "training": ("checkpoint.pt", save_training, resumed, True),
}


def sentence(path, read, valid=None, summed=True):
    """Read a file; return what is said against it, or None if the tensors are as they were.

    `summed`: whether their numbers must be the same, too.
    """
    started = monotonic()
    try:
        found = read(path)
    except RobustsegError as error:
        said = str(error)
        assert path.name in said
        assert "\n" not in said
        assert len(said) < 900
        return said
    finally:
        assert monotonic() - started < LONGEST_S
    assert valid is not None, "accepted"
    assert found.keys() == valid.keys()
    for key, tensor in valid.items():
        assert (found[key].shape, found[key].dtype) == (tensor.shape, tensor.dtype)
        assert found[key].isfinite().all()
        assert not summed or torch.equal(found[key], tensor)
    return None


def mutated(data, source):
    """Return bytes with one fault, or a few."""
    data = bytearray(data)
    for _ in range(source.choice((1, 1, 1, 4))):
        # Headers are small and numbers many: half of the faults are near the ends of the file.
        near = source.choice((len(data), len(data), 400, -400))
        place = source.randrange(near) if near > 0 else len(data) + source.randrange(near, 0)
        place = max(0, min(place, len(data) - 1))
        length = source.choice((1, 4, 8, 64, 1000))
        match source.choice(("flip", "flip", "cut", "insert", "remove", "repeat", "fill")):
            case "flip":
                data[place] ^= 1 << source.randrange(8)
            case "cut":
                del data[place + 1 :]
            case "insert":
                data[place:place] = source.randbytes(length)
            case "remove":
                del data[place : place + length]
            case "repeat":
                data[place:place] = data[place : place + length]
            case "fill":
                data[place : place + 8] = source.choice((b"\xff", b"\0")) * 8
        data = data or bytearray(b"\0")
    return bytes(data)


@pytest.mark.parametrize("kind", FILES)
def test_files_with_faults(kind, tmp_path):
    name, save, read, summed = FILES[kind]
    path = tmp_path / name
    save(path)
    data, valid, source = path.read_bytes(), read(path), random.Random(kind)
    assert sentence(path, read, valid) is None
    said = []
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(data, source))
        said.append(sentence(path, read, valid, summed))
    assert sum(one is not None for one in said) > MUTATIONS // 4


# Pickles by hand. Each of PAYLOADS is a value, with an effect of its own where it is made.


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def call(module, name, *arguments):
    """Return the operations that import a function and call it."""
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def nested(payload):
    """Return a pickle as bytes, for others to load."""
    inner = b"\x80\x04" + payload + b"."
    return b"B" + struct.pack("<I", len(inner)) + inner


def payloads(canary):
    shell, python = text(f"touch '{canary}'"), text(f"open({str(canary)!r}, 'w').close()")
    system = call("posix", "system", shell)
    stacked = text("posix") + text("system") + b"\x93" + shell + b"\x85R"
    built = b"ccollections\nOrderedDict\n)R}" + text("__setstate__") + b"cposix\nsystem\nsb"
    imported = call("builtins", "__import__", text("os"))
    mapped = call("builtins", "map", b"cposix\nsystem\n", b"](" + shell + b"e")
    return {
        "os.system": system,
        "os": call("os", "system", shell),
        "by the stack": stacked,
        "eval": call("builtins", "eval", python),
        "exec": call("builtins", "exec", python),
        "eval of Python 2": call("__builtin__", "eval", python),
        "nested": call("pickle", "loads", nested(system)),
        "in the storage": call("torch.storage", "_load_from_bytes", nested(system)),
        "instance": b"(" + shell + b"iposix\nsystem\n",
        "object": b"(cposix\nsystem\n" + shell + b"o",
        "setstate": built + shell + b"b",
        "getattr": call("builtins", "getattr", imported, text("system")) + shell + b"\x85R",
        "mapped": call("builtins", "list", mapped),
        "partial": call("functools", "partial", b"cposix\nsystem\n", shell) + b")R",
        "subprocess": call("subprocess", "call", b"](" + text("touch") + text(str(canary)) + b"e"),
        "path": call("pathlib", "Path.touch", call("pathlib", "Path", text(str(canary)))),
    }  # fmt: skip


NAMES = list(payloads(Path("canary")))
PERSISTENT = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")


def number(value):
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def numbers(*values):
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(length=6, key="0", kind="FloatStorage"):
    pickled = PERSISTENT.replace(text("0"), text(key)).replace(b"FloatStorage", kind.encode())
    return pickled + number(length) + b"tQ"


def tensor(size=(2, 3), stride=(3, 1), offset=0, values=None):
    shape = numbers(offset)[1:-1] + numbers(*size) + numbers(*stride)
    return call("torch._utils", "_rebuild_tensor_v2", values or storage(), shape, b"\x89N")


def pickled(value, key=None):
    return b"\x80\x02}" + (key or text("a")) + value + b"s."


def write_zip(path, pickle_bytes, **members):
    """Write the members of a checkpoint; `a` is [[0, 1, 2], [3, 4, 5]]."""
    content = {"data.pkl": pickle_bytes, "data/0": struct.pack("<6f", *range(6)), "version": b"3\n"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (content | members).items():
            archive.writestr(f"archive/{name}", data)


def write_old(path, pickle_bytes, keys=("0",)):
    begin = b"".join(pickle.dumps(one, 2) for one in (0x1950A86A20F9469CFC6C, 1001, {}))
    old = pickle_bytes.replace(b"tQ", b"NtQ")
    numbers_ = struct.pack("<q6f", 6, *range(6))
    path.write_bytes(begin + old + pickle.dumps(list(keys), 2) + numbers_)


WRITERS = {"zip": write_zip, "old": write_old}
VALID = {"a": torch.arange(6.0).view(2, 3)}
READERS = {
    "published": read_checkpoint,
    "objects": lambda path: read_checkpoint(path, other_objects=True),
    "own": own,
    "training": resumed,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_pickle_by_hand_is_read(writer, tmp_path):
    path = tmp_path / "w.pth"
    WRITERS[writer](path, pickled(tensor()))
    assert sentence(path, read_checkpoint, VALID) is None
    WRITERS[writer](path, pickled(tensor((3, 2), (1, 3))))
    assert sentence(path, read_checkpoint, {"a": VALID["a"].T}) is None


@pytest.mark.parametrize("name", NAMES)
def test_no_payload_is_run(name, tmp_path):
    canary, path = tmp_path / "canary", tmp_path / "checkpoint.pt"
    payload = payloads(canary)[name]
    if name != "in the storage":  # there it is torch that loads it
        pickle.loads((b"\x80\x04" if name == "path" else b"\x80\x02") + payload + b".")
        assert canary.exists(), "the payload does nothing anywhere"
        canary.unlink()
    inside = b"}" + text("a") + tensor() + b"s"
    places = {
        "value": pickled(payload),
        "beside": b"\x80\x02}(" + text("model") + inside + text("b") + payload + b"u.",
        "before": b"\x80\x02" + payload + b"0}" + text("a") + tensor() + b"s.",
        "key": pickled(tensor(), key=payload),
        "storage": pickled(tensor(values=PERSISTENT + payload + b"tQ")),
        "kind": pickled(tensor(values=storage().replace(b"ctorch\nFloatStorage\n", payload))),
        "shape": pickled(tensor().replace(numbers(2, 3), payload)),
        "whole": b"\x80\x02" + payload + b".",
    }
    for place, (_, write), (reader, read) in itertools.product(
        places, WRITERS.items(), READERS.items()
    ):
        write(path, places[place])
        harmless = place in ("beside", "before") and reader == "objects"
        said = sentence(path, read, VALID if harmless else None)
        assert said is None or not harmless or "operation INST" in said or "operation OBJ" in said
        assert not canary.exists(), (place, reader)


def doubled(value, times):
    """Return operations that put a value into a pair with itself, again and again."""
    return value + b"".join(b"q\x00h\x00\x86" for _ in range(times))


ABSURD = {
    "bytes": b"\x8e" + struct.pack("<Q", 2**60) + b"a",
    "text": b"\x8d" + struct.pack("<Q", 2**60) + b"a",
    "bytearray": b"\x96" + struct.pack("<Q", 2**60) + b"a",
    "some bytes": b"\x8e" + struct.pack("<Q", 2**36) + b"a",
    "frame": b"\x95" + struct.pack("<Q", 2**62) + b"N",
    "a long number": b"\x8b" + struct.pack("<i", 10**6) + b"\xff" * 10**6,
    "a negative length": b"\x8b" + struct.pack("<i", -5),
    "much that is no number": b"I" + b"9" * 10**6 + b"\n",
    "lists in lists": b"]" * 100_000 + b"a" * 99_999,
    "tuples in tuples": b"N" + b"\x85" * 100_000,
    "dicts in dicts": (b"}" + text("b")) * 60_000 + b"N" + b"s" * 60_000,
    "marks": b"(" * 100_000,
    "steps": b"N0" * (MOST_STEPS // 2) + tensor(),
    "a list of itself": b"]q\x00h\x00a",
    "pairs of pairs": doubled(b"N", 1000),
    "pairs of pairs as a key": b"}" + doubled(b"N", 60) + b"Ns",
    "colliding keys": b"}(" + b"".join(number(k * (2**61 - 1)) + b"N" for k in range(9999)) + b"u",
    "a list many times": b"]q\x00(" + b"N" * 9999 + b"e" + call("torch", "Size", b"h\x00") * 9999,
    "pairs many times": b"](" + (text("k") + b"N\x86") * 9999 + b"eq\x00"
    + call("collections", "OrderedDict", b"h\x00") * 999,
    "nothing on the stack": b"0000R",
    "no memo": b"h\x07",
    "extension": b"\x82\x01",
    "buffer": b"\x97",
    "persistent text": b"P0\n",
    "an unknown storage": storage(kind="QUInt8Storage"),
    "an absent storage": storage(key="7"),
    "the pickle as storage": storage(key="../data.pkl"),
    "a storage of another size": storage(5),
    "a huge storage": storage(2**60),
    "a negative storage": storage(-6),
    "a storage of two kinds": tensor(values=storage(kind="IntStorage") + b"0" + storage()),
    "no storage": b"(" + text("storage") + b"tQ",
    "larger than its storage": tensor((2, 4), (4, 1)),
    "behind its storage": tensor(offset=1),
    "before its storage": tensor(offset=-1),
    "far behind": tensor(offset=2**70),
    "negative strides": tensor(stride=(-3, 1), offset=3),
    "negative sizes": tensor((-2, -3)),
    "strides of 2^62": tensor((1, 7), (2**62, 2**62)),
    "2^120 numbers": tensor((2**60, 2**60), (0, 0)),
    "2^64 numbers": tensor((2**32, 2**32), (0, 0)),
    "empty and huge": tensor((0, 2**62, 2**62), (1, 1, 1)),
    "100 dimensions": tensor((1,) * 100, (1,) * 100),
    "more sizes than strides": tensor((2, 3, 1)),
    "no tensor's storage": tensor(values=b"N"),
    "a tensor of text": call("torch._utils", "_rebuild_tensor_v2", text("a"), text("b")),
    "a key with a line": text("a\nb"),
}  # fmt: skip


@pytest.mark.parametrize("absurd", ABSURD)
@pytest.mark.parametrize("writer", WRITERS)
def test_absurd_pickles(absurd, writer, tmp_path):
    path = tmp_path / "w.pth"
    WRITERS[writer](path, pickled(ABSURD[absurd]))
    for reader in ("published", "objects") if writer == "zip" else ("objects",):
        assert sentence(path, READERS[reader])


def test_a_memo_of_four_billion_takes_no_memory(tmp_path):
    write_zip(tmp_path / "w.pth", pickled(tensor() + b"r\xff\xff\xff\xff"))
    assert sentence(tmp_path / "w.pth", read_checkpoint, VALID) is None


def test_storages_of_the_old_format_are_all_there(tmp_path):
    path = tmp_path / "w.pth"
    write_old(path, pickled(tensor(values=storage(1000))))
    assert "asks for more numbers than it has" in sentence(path, read_checkpoint)
    for keys in ((), ("1",), ("0", "0"), (0,)):
        write_old(path, pickled(tensor()), keys)
        assert "storages" in sentence(path, read_checkpoint)


@pytest.mark.parametrize("kind", ["zip", "old", "zip, objects"])
def test_edited_pickles(kind, tmp_path):
    """Faults in the pickle alone, under a right checksum: no number from elsewhere."""
    path, source = tmp_path / "w.pth", random.Random(0)
    torch.save(VALID, path)
    with zipfile.ZipFile(path) as archive:
        good = archive.read("w/data.pkl")
    refused = 0
    for _ in range(300):
        write = WRITERS[kind.partition(",")[0]]
        write(path, mutated(good, source))
        try:
            found = read_inertly(path, other_objects="objects" in kind)
        except UnreadableError:
            refused += 1
            continue
        assert type(found) in (dict, list, tuple, str, int, float, bool, type(None), torch.Tensor)
        if isinstance(found, dict):
            for value in found.values():
                if isinstance(value, torch.Tensor) and value.numel():
                    assert set(value.flatten().tolist()) <= set(range(6))
    assert refused > 100


# Archives.


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_two_central_directories(tmp_path):
    """An archive in which torch sees a program, and Python weights."""
    path, program = tmp_path / "w.pth", tmp_path / "program.pt"
    torch.jit.script(nn.Linear(1, 1)).save(str(program))
    write_zip(path, pickled(tensor()))
    two_directories(program, path)
    reader = torch._C.PyTorchFileReader(str(path))
    assert "constants.pkl" in reader.get_all_records()
    with zipfile.ZipFile(path) as archive:
        assert "archive/data.pkl" in archive.namelist()
    for name in ("published", "objects"):
        assert sentence(path, READERS[name], VALID) is None
    with pytest.raises(RobustsegError, match=r"w\.pth"):
        own(path)
    for read in (published, own):
        assert "TorchScript" in sentence(program, read)


def two_directories(program, path):
    """Put a program's archive into that of a checkpoint, for readers that trust the offset."""

    def entries(file):
        """Return the members' bytes, and what the directory says of each, its offset last."""
        data = file.read_bytes()
        with zipfile.ZipFile(file) as archive:
            start, members = archive.start_dir, archive.infolist()
        directory, found = data[start:], []
        for _ in members:
            lengths = struct.unpack("<HHH", directory[28:34])
            size = 46 + sum(lengths)
            found.append(bytearray(directory[:size]))
            directory = directory[size:]
        return data[:start], found

    def moved(found, by, size):
        """Return a directory of a size, whose members have moved."""
        for entry in found:
            offset = struct.unpack("<I", entry[42:46])[0]
            entry[42:46] = struct.pack("<I", offset + by)
        missing = size - sum(map(len, found))
        entry, comment = found[-1], struct.unpack("<H", found[-1][32:34])[0]
        entry[32:34] = struct.pack("<H", comment + missing)
        return b"".join(found) + b" " * missing

    bad, bad_entries = entries(program)
    with zipfile.ZipFile(path, "a") as archive:
        for place in range(len(bad_entries) - len(archive.namelist())):
            archive.writestr(f"archive/more{place}", b"")
    good, good_entries = entries(path)
    assert len(good_entries) == len(bad_entries)
    size = max(sum(map(len, good_entries)), sum(map(len, bad_entries)))
    start = len(bad) + len(good)
    first = moved(bad_entries, 0, size)
    second = moved(good_entries, len(bad) - size, size)  # Python adds what lies before it
    count = len(bad_entries)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, size, start, 0)
    path.write_bytes(bad + good + first + second + end)


def archive_of(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members:
            archive.writestr(name, data)


DATA = struct.pack("<6f", *range(6))
GOOD = [("archive/data.pkl", pickled(tensor())), ("archive/data/0", DATA)]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_torch_does_not_write(tmp_path):
    path = tmp_path / "w.pth"
    cases = {
        "several members of one name": [*GOOD, GOOD[1]],
        "0 members data.pkl": [("archive/data/0", DATA)],
        "2 members data.pkl": [*GOOD, ("other/data.pkl", b"N.")],
        "TorchScript": [*GOOD, ("archive/constants.pkl", b"N.")],
        "byte order": [*GOOD, ("archive/byteorder", b"middle")],
        "missing, truncated or of other size": [GOOD[0], ("archive/data/0", DATA + b"more")],
    }
    for words, members in cases.items():
        archive_of(path, members)
        assert words in sentence(path, read_checkpoint)
    archive_of(path, GOOD, compression=zipfile.ZIP_DEFLATED)
    assert "compressed" in sentence(path, read_checkpoint)
    archive_of(path, GOOD)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in sentence(path, read_checkpoint)


def test_a_member_that_is_shorter_than_it_says(tmp_path):
    path = tmp_path / "w.pth"
    archive_of(path, GOOD)
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\1\2") + 16
    data[place : place + 8] = bytes(8)  # nothing, whose checksum is 0
    path.write_bytes(data)
    assert "of other size" in sentence(path, read_checkpoint)


def test_members_on_top_of_each_other(tmp_path):
    """A directory in which many names are one member: more numbers than the file has."""
    path = tmp_path / "w.pth"
    names = [("archive/data.pkl", pickled(b"N"))] + [(f"archive/data/{n}", b"") for n in range(50)]
    archive_of(path, [*names, ("archive/data/x", bytes(10_000))])
    data = bytearray(path.read_bytes())
    for place in [n for n in range(len(data) - 4) if data[n : n + 4] == b"PK\1\2"][1:]:
        data[place + 20 : place + 28] = struct.pack("<II", 10_000, 10_000)
    path.write_bytes(data)
    assert "overlap" in sentence(path, read_checkpoint)


def test_another_byte_order(tmp_path):
    order = [("archive/byteorder", b"big")]
    archive_of(
        tmp_path / "w.pth", [GOOD[0], ("archive/data/0", struct.pack(">6f", *range(6))), *order]
    )
    assert sentence(tmp_path / "w.pth", read_checkpoint, VALID) is None


def test_archives_with_a_member_inside(tmp_path):
    inner, path, source = io.BytesIO(), tmp_path / "all.zip", random.Random(0)
    torch.save(network().state_dict(), inner)

    def read(archive):
        with checkpoint_in(archive, "voc/w.pth") as member:
            return read_checkpoint(member, name=f"{archive}: {member.name}")

    for packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        archive_of(path, [("a/voc/w.pth", inner.getvalue()), ("../up", b"")], compression=packing)
        data = path.read_bytes()
        assert sentence(path, read, network().state_dict()) is None
        for _ in range(MUTATIONS):
            path.write_bytes(mutated(data, source))
            sentence(path, read, network().state_dict())
    assert sorted(one.name for one in tmp_path.iterdir()) == ["all.zip"]


# Tensors that are no weights.


def changed(**tensors):
    return lambda state: state.update({key.replace("_", ".", 1): tensors[key] for key in tensors})


def each(change):
    return lambda state: state.update({key: change(value) for key, value in state.items()})


BAD_VALUES = {
    "NaN": (changed(**{"2_bias": torch.tensor([0, torch.nan, 0])}), r"2\.bias .*NaN"),
    "infinite": (changed(**{"2_bias": torch.tensor([0, torch.inf, 0])}), r"2\.bias .*infinite"),
    "too large": (
        changed(**{"2_bias": torch.full((3,), 1e200, dtype=torch.float64)}),
        r"2\.bias .*infinite",
    ),
    "integers": (changed(**{"2_bias": torch.tensor([1, 2, 3])}), r"2\.bias is int64, .* float32"),
    "complex": (changed(**{"2_bias": torch.ones(3) * 1j}), r"2\.bias is complex64, .* float32"),
    "a float as a count": (
        changed(**{"1_num_batches_tracked": torch.tensor(1.0)}),
        r"1\.num_batches_tracked is float32, .* int64",
    ),
    "zeros": (each(torch.zeros_like), "every weight is 0"),
    "expanded": (
        changed(**{"2_bias": torch.zeros(1).expand(2**40)}),
        r"2\.bias.* shape|2\.bias is",
    ),
}


@pytest.mark.parametrize("bad", BAD_VALUES)
def test_weights_that_no_network_can_have(bad, tmp_path):
    change, words = BAD_VALUES[bad]
    state = network().state_dict()
    change(state)
    for name, save in (("w.pth", torch.save), ("w.safetensors", save_file)):
        if bad == "expanded" and save is save_file:
            continue
        save(state, tmp_path / name)
        for read in (own, published):
            assert re.search(words, sentence(tmp_path / name, read))


def test_half_precision_and_masks_are_taken(tmp_path):
    state = {
        key: value.half() if value.is_floating_point() else value
        for key, value in network().state_dict().items()
    }
    torch.save(state, tmp_path / "w.pth")
    for read in (own, published):
        for key, value in read(tmp_path / "w.pth").items():
            assert torch.equal(value, state[key].to(value.dtype))
    net = nn.Linear(2, 2)
    net.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    torch.save(net.state_dict(), tmp_path / "w.pth")
    load_weights(net, tmp_path / "w.pth")
    torch.save(net.state_dict() | {"mask": torch.tensor([-torch.inf, 0.0])}, tmp_path / "w.pth")
    with pytest.raises(RobustsegError, match="mask has numbers"):
        load_weights(net, tmp_path / "w.pth")


@pytest.mark.parametrize(
    "content",
    [
        None, 3, "text", [torch.ones(1)], (), torch.ones(1), {}, {"state_dict": {}},
        {3: torch.ones(1)}, {"a\nb": torch.ones(1)}, {"a": {"b": torch.ones(1)}}, {None: 1},
        {"x" * 10_000: torch.ones(1)}, {"0.weight": None}, {"model": {"model": {"model": 1}}},
    ],
)  # fmt: skip
def test_content_that_is_no_state_dict(content, tmp_path):
    torch.save(content, tmp_path / "checkpoint.pt")
    for read in READERS.values():
        assert sentence(tmp_path / "checkpoint.pt", read)


# The project's own files.

CLASSIFIER = classifier_architecture("convnext_demo", 9)


def with_metadata(path, metadata, tensors=None):
    saved = classifier().state_dict() if tensors is None else tensors
    header = {} if metadata is None else {checkpoints.METADATA_KEY: metadata}
    save_file({key: value.contiguous() for key, value in saved.items()}, path, metadata=header)


def described(**changes):
    return json.dumps({"architecture": CLASSIFIER | changes})


METADATA = {
    "none": None,
    "cut": "{",
    "empty": "",
    "a list": "[]",
    "a number": "5",
    "null": "null",
    "deep": "[" * 100_000,
    "a deep architecture": '{"architecture": ' + "[" * 900 + "]" * 900 + "}",
    "a long number": '{"architecture": ' + "9" * 5000 + "}",
    "no architecture": "{}",
    "null architecture": '{"architecture": null}',
    "a list as architecture": '{"architecture": []}',
    "text as architecture": '{"architecture": "classifier"}',
    "empty architecture": '{"architecture": {}}',
    "unknown kind": described(kind="detector"),
    "a list as kind": described(kind=[]),
    "unknown backbone": described(backbone="convnext_giant"),
    "a dict as backbone": described(backbone={}),
    "a decoder": described(decoder="upernet_demo"),
    "a segmentation model": described(kind="segmentation", decoder="upernet_demo"),
    "no decoder": described(kind="segmentation"),
    "unfitting decoder": described(kind="segmentation", decoder="segmenter"),
    "another backbone": described(backbone="resnet_demo"),
    "null classes": described(num_classes=None),
    "text as classes": described(num_classes="9"),
    "true classes": described(num_classes=True),
    "no classes": described(num_classes=0),
    "negative classes": described(num_classes=-9),
    "absurd classes": described(num_classes=10**12),
    "other classes": described(num_classes=8),
    "a mean without deviation": described(mean=[0.5] * 3),
    "a deviation without mean": described(std=[0.5] * 3),
    "deviation 0": described(mean=[0.5] * 3, std=[0.5, 0, 0.5]),
    "two means": described(mean=[0.5] * 2, std=[0.5] * 2),
    "text as mean": described(mean=["a"] * 3, std=[0.5] * 3),
    "NaN as mean": described(mean=[float("nan")] * 3, std=[0.5] * 3),
    "infinite deviation": described(mean=[0.5] * 3, std=[float("inf")] * 3),
    "unknown key": described(depth=3),
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_of_no_network(name, tmp_path):
    path = tmp_path / "w.safetensors"
    with_metadata(path, METADATA[name])
    assert sentence(path, lambda path: load_model(path)[0].state_dict())
    assert sentence(path, backbone)


def test_a_flat_tensor_does_not_make_a_giant(tmp_path):
    path = tmp_path / "w.safetensors"
    with_metadata(path, described(num_classes=10**7), {"a": torch.zeros(10**7, dtype=torch.uint8)})
    assert "num_classes" in sentence(path, load_model)


def test_a_network_of_another_kind(tmp_path):
    path = tmp_path / "w.safetensors"
    save_classifier(path)
    assert "kind classifier" in sentence(path, lambda path: load_model(path, "cpu", "segmentation"))
    save_model(path)
    assert "kind segmentation" in sentence(path, backbone)
    assert "kind segmentation" in sentence(path, lambda path: load_model(path, "cpu", "classifier"))


@pytest.mark.parametrize("shape", [(), (5,), (1, 1, 48), (1, 4, 48), (1, 17, 47), (2, 17, 48)])
def test_position_embeddings_of_no_grid(shape, tmp_path):
    path = tmp_path / "w.safetensors"
    tensors = build_classifier("vit_demo", 9).state_dict() | {"pos_embed": torch.ones(shape)}
    with_metadata(path, described(backbone="vit_demo"), tensors)
    into = build_segmentation_model("vit_demo", "segmenter", 4)
    assert "pos_embed" in sentence(path, lambda path: load_backbone(path, into))


# Training checkpoints.


def put(*keys, value):
    """Return a change of what lies at the end of the keys."""

    def change(state):
        for key in keys[:-1]:
            state = state[key]
        state[keys[-1]] = value

    return change


MOMENTS = ("optimizer", "state")
BAD_STATES = {
    "an entry less": lambda state: state.pop("rows"),
    "an entry more": put("more", value=1),
    "negative epoch": put("epoch", value=-1),
    "epoch as text": put("epoch", value="1"),
    "epoch as truth": put("epoch", value=True),
    "epoch after the end": put("epoch", value=2),
    "batch after the end": put("batch", value=1),
    "huge epoch": put("epoch", value=2**62),
    "losses of text": put("losses", value=["a"]),
    "losses that are NaN": put("losses", value=[float("nan")]),
    "losses as a dict": put("losses", value={}),
    "rows of numbers": put("rows", value=[1]),
    "rows as text": put("rows", value="rows"),
    "a row of other names": put("rows", value=[{"epoch": 1}]),
    "a row without loss": put("rows", 0, "loss", value=None),
    "a row of epoch 0.5": put("rows", 0, "epoch", value=0.5),
    "no model": put("model", value=None),
    "a weight less": lambda state: state["model"].pop("0.bias"),
    "a weight more": put("model", "more", value=torch.ones(1)),
    "a weight of another shape": put("model", "0.bias", value=torch.ones(5)),
    "a weight of another type": put("model", "0.bias", value=torch.ones(4).double()),
    "a weight that is NaN": put("model", "0.bias", value=torch.full((4,), torch.nan)),
    "a weight as a list": put("model", "0.bias", value=[1.0] * 4),
    "no optimizer": put("optimizer", value=[]),
    "no optimizer's state": put("optimizer", value={"param_groups": []}),
    "an empty state": put(*MOMENTS, value={}),
    "a parameter more": put(*MOMENTS, 9, value={"momentum_buffer": torch.ones(4)}),
    "a negative parameter": put(*MOMENTS, -1, value={"momentum_buffer": torch.ones(4)}),
    "another optimizer": put(*MOMENTS, 1, value={"exp_avg": torch.ones(4)}),
    "a moment of another shape": put(*MOMENTS, 1, "momentum_buffer", value=torch.ones(5)),
    "a moment that is None": put(*MOMENTS, 1, "momentum_buffer", value=None),
    "a moment that is infinite": put(
        *MOMENTS, 1, "momentum_buffer", value=torch.full((4,), torch.inf)
    ),
}


@pytest.fixture
def training(tmp_path):
    """Return the file of a training's end, and a function that writes it with a change."""
    one = trained_trainer(tmp_path)
    path, content = one.checkpoint, read_inertly(one.checkpoint)

    def write(change):
        change(content["state"])
        torch.save(content, path)
        return path

    return write


@pytest.mark.parametrize("bad", BAD_STATES)
def test_a_state_that_the_training_could_not_have_saved(bad, training):
    path = training(BAD_STATES[bad])
    said = sentence(path, resumed)
    assert "no checkpoint of this training" in said
    assert "delete it to train from the beginning" in said
    assert path.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("step", 0.0), ("step", -1.0), ("step", 1e9), ("exp_avg_sq", -1.0), ("exp_avg", torch.nan)],
)
def test_moments_of_adam(name, value, tmp_path):
    changes = {"optimizer": "adamw", "betas": (0.9, 0.999)}
    one = trainer(tmp_path, **changes)
    one.run()
    one._write_checkpoint()
    trainer(tmp_path, **changes)._resume()
    content = read_inertly(one.checkpoint)
    content["state"]["optimizer"]["state"][0][name].fill_(value)
    torch.save(content, one.checkpoint)
    assert f"{name} of its optimizer's" in sentence(
        one.checkpoint, lambda path: trainer(path.parent, **changes)._resume()
    )


def test_moments_that_share_their_memory_are_taken_apart(training):
    shared = torch.ones(1)

    def change(state):
        for place, size in ((1, 4), (3, 3)):
            put(*MOMENTS, place, "momentum_buffer", value=shared.expand(size))(state)

    path = training(change)
    again = trainer(path.parent, momentum=0.9)
    again._resume()
    kept = [again.optimizer.state[one]["momentum_buffer"] for one in again.task.model.parameters()]
    kept[1][0] = 5
    assert kept[1].tolist() == [5, 1, 1, 1]
    assert kept[3].tolist() == [1, 1, 1]


def test_groups_follow_from_the_settings(training):
    path = training(put("optimizer", "param_groups", value=[{"weight_decay": 9.0, "params": [7]}]))
    again = trainer(path.parent, momentum=0.9)
    again._resume()
    assert again.optimizer.param_groups[0]["weight_decay"] == 0


@pytest.mark.parametrize("where", [os.devnull, "folder"])
def test_what_is_no_file(where, tmp_path):
    path = tmp_path / "checkpoint.pt"
    path.mkdir() if where == "folder" else path.symlink_to(where)
    for read in READERS.values():
        assert sentence(path, read)
