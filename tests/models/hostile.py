"""Files of weights as they are written, by hand too, and what reads them, for tests to damage."""

import pickle
import struct
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from robustseg.models.build import (
    build_classifier,
    build_segmentation_model,
    classifier_architecture,
)
from robustseg.models.checkpoints import load_backbone, load_network, load_strictly, save_weights
from robustseg.models.inert_pickle import MOST_STEPS
from robustseg.models.own_weights import load_weights
from robustseg.models.unpickling import read_checkpoint
from tests.training.tiny import trainer


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
    "model": ("w.safetensors", save_model, lambda path: load_network(path)[0].state_dict(), False),
    "backbone": ("w.safetensors", save_classifier, backbone, False),
    "training": ("checkpoint.pt", save_training, resumed, True),
}


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
    "a row without accuracy": put("rows", 0, "accuracy", value=None),
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
