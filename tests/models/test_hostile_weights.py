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
from robustseg.models.checkpoints import load_backbone, load_network
from robustseg.models.convert import checkpoint_in
from robustseg.models.inert_pickle import UnreadableError, read_inertly
from robustseg.models.own_weights import load_weights
from robustseg.models.unpickling import read_checkpoint
from tests.models.hostile import (
    ABSURD,
    BAD_STATES,
    FILES,
    MOMENTS,
    NAMES,
    PERSISTENT,
    READERS,
    VALID,
    WRITERS,
    backbone,
    classifier,
    network,
    numbers,
    own,
    payloads,
    pickled,
    published,
    put,
    resumed,
    save_classifier,
    save_model,
    storage,
    tensor,
    text,
    trained_trainer,
    write_old,
    write_zip,
)
from tests.mutations import mutated
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
    for key, kept in valid.items():
        assert (found[key].shape, found[key].dtype) == (kept.shape, kept.dtype)
        assert found[key].isfinite().all()
        assert not summed or torch.equal(found[key], kept)
    return None


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
        try:
            save(state, tmp_path / name)
        except KeyError:
            assert bad == "complex"  # which old safetensors do not know
            continue
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
    assert sentence(path, lambda path: load_network(path)[0].state_dict())
    assert sentence(path, backbone)


def test_a_flat_tensor_does_not_make_a_giant(tmp_path):
    path = tmp_path / "w.safetensors"
    with_metadata(path, described(num_classes=10**7), {"a": torch.zeros(10**7, dtype=torch.uint8)})
    assert "num_classes" in sentence(path, load_network)


def test_a_network_of_another_kind(tmp_path):
    path = tmp_path / "w.safetensors"
    save_classifier(path)
    assert "kind classifier" in sentence(path, lambda path: load_network(path, kind="segmentation"))
    save_model(path)
    assert "kind segmentation" in sentence(path, backbone)
    assert "kind segmentation" in sentence(path, lambda path: load_network(path, kind="classifier"))


@pytest.mark.parametrize("shape", [(), (5,), (1, 1, 48), (1, 4, 48), (1, 17, 47), (2, 17, 48)])
def test_position_embeddings_of_no_grid(shape, tmp_path):
    path = tmp_path / "w.safetensors"
    tensors = build_classifier("vit_demo", 9).state_dict() | {"pos_embed": torch.ones(shape)}
    with_metadata(path, described(backbone="vit_demo"), tensors)
    into = build_segmentation_model("vit_demo", "segmenter", 4)
    assert "pos_embed" in sentence(path, lambda path: load_backbone(path, into))


# Training checkpoints.


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
