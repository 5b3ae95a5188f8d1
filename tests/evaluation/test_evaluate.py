"""`evaluate`: anybody's data, evidence, resume, shards, and what it says."""

import json
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, SubsetRandomSampler

import robustseg
from robustseg import evaluate, sea
from robustseg.attacks import outcomes
from robustseg.attacks.run import run_attack
from robustseg.errors import RobustsegError
from robustseg.evaluation import gallery
from robustseg.evaluation.evaluate import read_evaluation
from robustseg.evaluation.standard_suites import STANDARD_SUITES
from robustseg.evidence.attacked_images import read_shots
from robustseg.evidence.enumerator import EvidenceJob
from robustseg.evidence.reading import read_evidence, read_provenance
from robustseg.own_run import report
from robustseg.yaml_files import read_yaml
from tests.attacks.test_alma_prox import linear_model, scene
from tests.workflow.running import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::robustseg.RobustsegWarning")
SQUARE = {"kind": "square", "iterations": 5, "p_init": 0.8}
ALMA = {"kind": "alma", "threshold": 0.9, "iterations": 5}
OWN_ITERATIONS = {"iterations": None}
OWN = {"losses": ["ce"], "schedules": ["constant"]}
FEW = {"iterations": 4, "progress": False}
UNEQUAL = [(torch.zeros(3, px, 4), torch.zeros(px, 4, dtype=torch.int64)) for px in (4, 6)]


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    first = nn.Conv2d(3, 8, 3, padding=1)
    last = nn.Conv2d(8, 4, 1, bias=False)
    first.bias.data = -first.weight.data.sum((1, 2, 3)) / 2  # 0 for grey
    return nn.Sequential(first, nn.Tanh(), last).eval()


def pairs(sizes: list[tuple[int, int]] | None = None) -> list[tuple[Tensor, Tensor]]:
    """Return images with the labels that `network()` gives them, some ignored."""
    generator, net = torch.Generator().manual_seed(1), network()
    found = []
    for size in sizes or [(12, 10)] * 5:
        image = torch.rand(3, *size, generator=generator)
        label = net(image[None]).argmax(1)[0]
        label[0] = 255
        found.append((image, label.detach()))
    return found


def test_it_agrees_with_sea_on_the_same_images() -> None:
    data = pairs()
    images, labels = (torch.stack(part) for part in zip(*data, strict=True))
    alone = sea(network(), images, labels, 8, iterations=4)
    result = evaluate(network(), data, 8, **FEW)
    assert result.robust[8.0].acc == pytest.approx(alone.acc, abs=1e-9)
    assert result.robust[8.0].miou == pytest.approx(alone.miou, abs=1e-9)
    assert result.clean.acc == pytest.approx(alone.clean_acc, abs=1e-9) == 1
    assert result.robust[8.0].acc < 1


class Mapped:
    """A data set as people write them."""

    def __init__(self, data: list[tuple[Tensor, Tensor]]) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        return self.data[place]


def test_every_kind_of_data_gives_the_same() -> None:
    from PIL import Image

    data = pairs()
    data = [((255 * image).round() / 255, label) for image, label in data]
    pictures = [
        (
            Image.fromarray((255 * image).byte().permute(1, 2, 0).numpy()),
            Image.fromarray(label.byte().numpy()),
        )
        for image, label in data
    ]
    stacked = tuple(torch.stack(part) for part in zip(*data, strict=True))
    kinds = {
        "list": data,
        "data set": Mapped(data),
        "loader": DataLoader(Mapped(data), batch_size=2),
        "arrays": (stacked[0].numpy(), stacked[1].numpy()),
        "tensors": stacked,
        "dicts": [{"pixel_values": image, "labels": label} for image, label in data],
        "dicts with None": [
            {"pixel_values": None, "image": image, "labels": None, "mask": label}
            for image, label in data
        ],
        "pictures": pictures,
        "generator": (batch for batch in DataLoader(Mapped(data), batch_size=3)),
    }
    found = {
        name: evaluate(network(), kind, 8, batch_size=2, **FEW).robust
        for name, kind in kinds.items()
    }
    first = found["list"][8.0]
    for name, robust in found.items():
        assert robust[8.0] == pytest.approx(first, abs=1e-6), name


def test_loaders_as_people_write_them(tmp_path: Path) -> None:
    class Stream(IterableDataset):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            return iter(pairs())

    first = evaluate(network(), pairs(), 8, batch_size=2, **FEW)
    assert evaluate(network(), DataLoader(Stream(), 2), 8, **FEW).robust == first.robust
    numbered = [(*pair, number) for number, pair in enumerate(pairs())]
    evaluate(network(), DataLoader(numbered, 2), 8, folder=tmp_path, **FEW)
    frame = read_evidence(sorted(tmp_path.glob("attacks/**/*.parquet")))
    assert set(frame["image_id"]) == set("01234")
    described = [(*pair, {"path": "a.png"}) for pair in pairs()]
    assert evaluate(network(), DataLoader(described, 2), 8, **FEW).robust == first.robust


@pytest.mark.parametrize("batched", [False, True])
def test_a_class_of_the_whole_image_is_not_taken_for_its_mask(batched: bool) -> None:
    data: Any = [{"image": image, "label": 3, "mask": label} for image, label in pairs()]
    expected = evaluate(network(), pairs(), 8, batch_size=2, **FEW)
    found = evaluate(network(), DataLoader(data, 2) if batched else data, 8, batch_size=2, **FEW)
    assert found.robust == expected.robust


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize(
    ("third", "says"),
    [
        (lambda label: torch.rand(label.shape), r"there is a Tensor \(12, 10\); let it give"),
        (lambda label: np.zeros(3), r"there is a (ndarray|Tensor) \(3,\); let it give"),
        (lambda label: 7, "two images have the id 7; give each its own, or none: the third part"),
    ],
    ids=["weights", "numbers", "a class"],
)
def test_a_third_part_that_is_no_id_is_told(batched: bool, third: Callable, says: str) -> None:
    """As in data sets that give weights, edges or a class beside image and mask."""
    data: Any = [(image, label, third(label)) for image, label in pairs()]
    with pytest.raises(RobustsegError, match=says):
        evaluate(network(), DataLoader(data, 2) if batched else data, 8, **FEW)


@pytest.mark.parametrize("name", ["abc", "a"])
def test_a_batch_has_a_list_of_ids_and_not_one(name: str) -> None:
    def batches() -> Iterator[tuple[Tensor, Tensor, str]]:
        for image, label in pairs():
            yield image[None], label[None], name

    with pytest.raises(RobustsegError, match=r"batch 0 of the data has 1 images; .* as many ids"):
        evaluate(network(), batches(), 8, **FEW)


def swapped_data() -> dict[str, Any]:
    """Return data with labels before images, in all the forms that data may have."""
    from PIL import Image

    swapped = [(label, image) for image, label in pairs()]
    stacked = tuple(torch.stack(part) for part in zip(*swapped, strict=True))
    pictures = [
        (Image.fromarray(label.byte().numpy()), Image.fromarray(image.permute(1, 2, 0).numpy()))
        for label, image in ((label, (255 * image).byte()) for label, image in swapped)
    ]
    return {
        "list": swapped,
        "loader": DataLoader(Mapped(swapped), batch_size=3),
        "one in a batch": DataLoader(Mapped(swapped), batch_size=1),
        "with a channel": DataLoader([(label[None], image) for label, image in swapped], 2),
        "tensors": stacked,
        "arrays": tuple(part.numpy() for part in stacked),
        "lists": DataLoader(
            swapped, 2, collate_fn=lambda some: tuple(map(list, zip(*some, strict=True)))
        ),
        "pictures": pictures,
    }


@pytest.mark.parametrize("kind", list(swapped_data()))
def test_labels_before_images_are_told(kind: str) -> None:
    with pytest.raises(RobustsegError, match="second, which look like labels and images; give"):
        evaluate(network(), swapped_data()[kind], 8, **FEW)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_batch_of_pairs_is_told(count: int) -> None:
    """The advice works when it is followed."""
    with_channel = [(image, label[None]) for image, label in pairs()]
    dicts = [{"image": image, "mask": label} for image, label in pairs()]
    for data in (pairs(), with_channel, dicts):
        loader = DataLoader(Mapped(data), count, collate_fn=list)
        said = f"batch 0 of the data is a list of {count} \\(image, label\\) and not"
        with pytest.raises(RobustsegError, match=said):
            evaluate(network(), loader, 8, **FEW)
        evaluate(network(), loader.dataset, 8, images=1, **FEW)
    two = tuple(pairs([(12, 10), (9, 14)]))
    assert evaluate(network(), two, 8, **FEW).clean.acc == 1
    lists = ([image for image, _ in two], [label for _, label in two])
    assert evaluate(network(), [lists], 8, **FEW).clean.acc == 1


def test_images_may_differ_in_size_and_batches_change_nothing() -> None:
    data = pairs([(12, 10), (12, 10), (9, 14), (12, 10)])
    one = evaluate(network(), data, [4, 8], batch_size=1, **FEW)
    more = evaluate(network(), data, [4, 8], batch_size=3, **FEW)
    assert list(one.robust) == [4.0, 8.0]
    for radius, score in one.robust.items():
        assert more.robust[radius] == pytest.approx(score)


def test_evidence_and_report(tmp_path: Path) -> None:
    result = evaluate(network(), pairs(), [4, 8], folder=tmp_path, suites=["sea", "losses"], **FEW)
    files = sorted(tmp_path.glob("attacks/**/*.parquet"))
    frame = read_evidence(files)
    assert len(frame) == 5 * (1 + 2 * 4 + 2 * 6)
    assert set(frame["pixels"]) == {110}
    worst = frame[frame["eps_255"] == 8].groupby("image_id", observed=True)["pixels_correct"].min()
    assert result.robust[8.0].acc == pytest.approx(worst.mean() / 110)
    assert str(result).count("/255") >= 2
    assert "strongest loss (ACC) | passes per image |" in str(result)
    page = report(tmp_path)
    text = page.read_text()
    assert "Robustness" in text
    assert "Each attack by itself" in text
    assert (tmp_path / "tables" / "robustness.csv").exists()
    files[-1].unlink()
    with pytest.raises(RobustsegError, match=f"1 of .* files of .*, first {files[-1]};"):
        report(tmp_path)


def test_a_killed_run_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(folder: Path) -> dict[str, bytes]:
        evaluate(network(), pairs(), 8, folder=folder, batch_size=2, **FEW)
        files = sorted(folder.glob("attacks/**/*.parquet"))
        return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}

    whole = run(tmp_path / "whole")
    attack, calls = outcomes.run_attack, []

    def killed(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return attack(*arguments)

    monkeypatch.setattr(outcomes, "run_attack", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed")
    before = len(calls)
    assert run(tmp_path / "killed") == whole
    assert len(calls) - before == 3 * 4 - 5
    calls.clear()
    assert run(tmp_path / "killed") == whole
    assert not calls


def test_what_was_kept_for_another_step_size_is_not_taken(tmp_path: Path) -> None:
    for step in (0.001, 0.02):
        suites = {"own": OWN | {"optimizer": "pgd", "step_size": {8: step}}}
        kept = evaluate(network(), pairs(), 8, suites=suites, folder=tmp_path, **FEW)
        assert kept.robust == evaluate(network(), pairs(), 8, suites=suites, **FEW).robust


def test_what_was_kept_for_another_model_is_not_taken(tmp_path: Path) -> None:
    """Normalisation that was forgotten at first, and functions, whose weights nobody sees."""
    data, net = pairs(), network()
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.2, 0.3)
    for model in (
        net,
        robustseg.wrap(net, mean=mean, std=std),
        lambda images: net(images),
        lambda images: 3 * net(images).roll(1, 1),
        robustseg.wrap(net, classes=[1, 0, 2, 3]),
    ):
        kept = evaluate(model, data, 8, folder=tmp_path, **FEW)
        fresh = evaluate(model, data, 8, **FEW)
        assert kept.robust == fresh.robust
        assert kept.clean == fresh.clean


def test_shards_are_the_whole(tmp_path: Path) -> None:
    data = pairs()
    whole = evaluate(network(), data, 8, folder=tmp_path / "whole", batch_size=2, **FEW)
    for own in (1, 0):
        evaluate(network(), data, 8, folder=tmp_path / "parts", batch_size=2, shard=(own, 2), **FEW)
        if own == 1:
            with pytest.raises(RobustsegError, match="lacks 1 of 2 parts: start with shard 0/2"):
                report(tmp_path / "parts")
    merged = read_evaluation(tmp_path / "parts")
    assert merged.robust == whole.robust
    assert merged.clean == whole.clean
    some = {"folder": tmp_path / "parts", "batch_size": 2, "shard": (1, 2)}
    with pytest.raises(RobustsegError, match=r"holds a run with eps_255 8\.0, which this one"):
        evaluate(network(), data, 4, **some, **FEW)
    evaluate(network(), data, [4, 8], **some, **FEW)
    with pytest.raises(RobustsegError, match="other eps_255"):
        read_evaluation(tmp_path / "parts")


def test_a_part_without_a_label_is_one_of_the_whole(tmp_path: Path) -> None:
    data = pairs()
    data[1] = (data[1][0], torch.full_like(data[1][1], 255))
    parts = len(data)
    settings: dict[str, Any] = {"suites": ["sea_fast"], "batch_size": 1, **FEW}
    whole = evaluate(network(), data, 8, **settings)
    for own in range(parts):
        part = evaluate(network(), data, 8, shard=(own, parts), folder=tmp_path, **settings)
        assert math.isnan(part.clean.acc) == (own == 1)
    assert "no pixel of this part is labelled" in str(
        evaluate(network(), data, 8, shard=(1, parts), folder=tmp_path, **settings)
    )
    together = read_evaluation(str(tmp_path))
    assert (together.clean, together.robust) == (whole.clean, whole.robust)


def test_parts_of_which_none_has_a_label_are_refused_together(tmp_path: Path) -> None:
    data = [(image, torch.full_like(label, 255)) for image, label in pairs()]
    for own in range(2):
        with pytest.warns(robustseg.RobustsegWarning, match="unless that is so in this part alone"):
            evaluate(network(), data, 8, shard=(own, 2), folder=tmp_path, batch_size=1, **FEW)
    for read in (read_evaluation, report):
        with pytest.raises(RobustsegError, match="no image of model has a labelled pixel"):
            read(tmp_path)
    with pytest.raises(RobustsegError, match="no image of the run has a labelled pixel"):
        robustseg.doubt(network(), data, folder=tmp_path, progress=False)


def test_a_run_that_is_cut_otherwise_takes_the_place_of_the_last_whatever_clocks_say(
    tmp_path: Path,
) -> None:
    """A part of two has the file of the whole, whose record would show half its images as all."""
    data, folder = pairs(), tmp_path / "run"
    where = {"folder": folder, "batch_size": 2}
    whole = evaluate(network(), data, 8, **where, **FEW)
    (record,) = folder.glob("run-shard*.json")
    kept = record.read_bytes()
    evaluate(network(), data, 8, shard=(0, 2), **where, **FEW)
    with pytest.raises(RobustsegError, match="lacks 1 of 2 parts: start with shard 1/2"):
        read_evaluation(folder)
    evaluate(network(), data, 8, shard=(1, 2), **where, **FEW)
    assert read_evaluation(folder).robust == whole.robust
    part = folder / "run-shard0-of-2.json"
    content = part.read_text()
    part.write_text(content.replace('"shards": 2', '"shards": 3'))
    with pytest.raises(RobustsegError, match="is of shard 0 of 3, not of what its name says"):
        read_evaluation(folder)
    part.write_text(content)
    record.write_bytes(kept)  # as where folders of two machines are copied into one
    with pytest.raises(RobustsegError, match="parts of runs that were cut into 1 and 2, which"):
        read_evaluation(folder)
    evaluate(network(), data, 8, **where, **FEW)
    assert read_evaluation(folder).robust == whole.robust
    evidence = read_evidence((folder / "attacks").rglob("*.parquet"))  # no part of before is left
    assert len(evidence) == len(data) * (1 + len(STANDARD_SUITES["sea"]["losses"]))


def test_a_run_in_the_folder_of_others_leaves_their_evidence(tmp_path: Path) -> None:
    other = EvidenceJob("sea", "upernet", 0, 8.0, 0, 3)
    same_name = other._replace(suite="baselines", model="model")
    paths = [tmp_path / one.path for one in (other, same_name)]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.touch()
    evaluate(network(), pairs(), 8, folder=tmp_path, **FEW)
    assert [path.exists() for path in paths] == [True, True]
    evaluate(network(), pairs(), 8, folder=tmp_path, shard=(0, 2), batch_size=2, **FEW)
    assert paths[0].exists()


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"name": "other"}, "name model, which this one would hide; evaluate into a new folder$"),
        ({"seed": 1}, "seed 0, which this one would hide; evaluate into a new folder$"),
        ({"eps_255": [4, 8.5]}, "eps_255 8.0, which this one .* or ask for both at once$"),
        ({"suites": ["sea_fast"]}, "suites sea, which this one .* or ask for both at once$"),
    ],
)
def test_a_run_that_would_hide_another_is_refused_before_it_begins(
    tmp_path: Path, other: dict, says: str
) -> None:
    given = {"model": network(), "data": pairs(), "eps_255": 8, "folder": tmp_path, **FEW}
    evaluate(**given)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}

    def never(images: Tensor) -> Tensor:
        raise AssertionError

    with pytest.raises(RobustsegError, match=f"{tmp_path} holds a run with {says}"):
        evaluate(**{**given, **other, "model": never})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_a_run_that_adds_to_another_holds_both(tmp_path: Path) -> None:
    first = evaluate(network(), pairs(), 8, folder=tmp_path, **FEW)
    both = evaluate(
        network(), pairs(), [4, 8], folder=tmp_path, suites=["sea", "alma"], **FEW
    )  # fmt: skip
    assert both.robust[8.0] == first.robust[8.0]
    assert list(read_evaluation(tmp_path).robust) == [4.0, 8.0]


def test_sources_that_nothing_attacks_are_refused() -> None:
    with pytest.raises(RobustsegError, match="only the suite transfer attacks `sources`, and the"):
        evaluate(network(), pairs(), 8, sources={"other": network(1)}, **FEW)


def test_nothing_is_lost_where_warnings_are_errors(tmp_path: Path) -> None:
    def rounding(images: Tensor) -> Tensor:
        return 3 * network()(images.round(decimals=2))

    for folder in (None, tmp_path):
        with warnings.catch_warnings():
            warnings.simplefilter("error", robustseg.RobustsegWarning)
            with pytest.raises(robustseg.RobustsegWarning, match="exactly 0") as late:
                evaluate(rounding, pairs(), 8, folder=folder, **FEW)
            assert late.value.result.robust
            assert late.value.result.folder == folder
            with pytest.raises(robustseg.RobustsegWarning, match="units of 1/255") as early:
                evaluate(rounding, pairs(), 0.03, **FEW)
            assert early.value.result is None
    assert read_evaluation(tmp_path).robust == late.value.result.robust


@pytest.mark.parametrize("other", [{"batch_size": 1}, {"images": 3}, {"model": network(1)}])
def test_shards_that_were_run_differently_are_not_merged(tmp_path: Path, other: dict) -> None:
    """They would leave images out, count some twice, or mix models."""
    first = {"model": network(), "data": pairs(), "eps_255": 8, "batch_size": 2}
    for own, changes in ((0, {}), (1, other)):
        evaluate(**{**first, **FEW, **changes}, folder=tmp_path, shard=(own, 2))
    what = "weights" if "model" in other else next(iter(other))
    with pytest.raises(RobustsegError, match=f"other {what}"):
        read_evaluation(tmp_path)


def other_masks(data: list) -> list:
    return [(image, (label + 1) % 2) for image, label in data]


def smaller(data: list) -> list:
    return [(image[:, ::2, ::2], label[::2, ::2]) for image, label in data]


@pytest.mark.parametrize("changed", [other_masks, smaller, lambda data: [*data, data[0]]])
@pytest.mark.parametrize("given", [list, lambda data: DataLoader(data, batch_size=2)])
def test_parts_of_different_data_are_not_one_run(
    tmp_path: Path, changed: Callable, given: Callable
) -> None:
    """As where --data, --values or --resize differ, or images came between the two commands."""
    for own, data in enumerate((pairs(), changed(pairs()))):
        where = {"folder": tmp_path, "batch_size": 2, "shard": (own, 2)}
        evaluate(network(), given(data), 8, **where, **FEW)
    for read in (read_evaluation, report):
        with pytest.raises(RobustsegError, match="shard 1 was run with other data than shard 0"):
            read(tmp_path)
    evaluate(network(), given(pairs()), 8, **where, **FEW)  # as the sentence says
    report(tmp_path)


def test_parts_of_a_version_that_did_not_look_at_the_data_are_read(tmp_path: Path) -> None:
    for own in (0, 1):
        where = {"folder": tmp_path, "batch_size": 2, "shard": (own, 2)}
        evaluate(network(), iter([*DataLoader(pairs(), batch_size=2)]), 8, **where, **FEW)
    assert "data" not in json.loads((tmp_path / "run-shard1-of-2.json").read_text())
    whole = read_evaluation(tmp_path)
    evaluate(network(), DataLoader(pairs(), batch_size=2), 8, **where, **FEW)
    assert "data" in json.loads((tmp_path / "run-shard1-of-2.json").read_text())
    assert read_evaluation(tmp_path).robust == whole.robust


class Counting(nn.Module):
    """A network that counts its passes in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        return self.net(images)


def test_a_network_may_count_its_passes(tmp_path: Path) -> None:
    """Its buffer differs after each part of a run, and it is the same network all the same."""
    for own in (0, 1):
        given = {"folder": tmp_path, "batch_size": 2, "shard": (own, 2)}
        evaluate(Counting(), pairs(), 8, **given, **FEW)
    assert read_evaluation(tmp_path).robust
    found = robustseg.doubt(Counting(), pairs(), folder=tmp_path, images=2, progress=False)
    assert found.opinions


def test_evidence_of_another_run_is_not_taken_for_this_one_s(tmp_path: Path) -> None:
    """Copied there, or of a run that was stopped while it wrote over an earlier one's."""
    data = pairs()
    for name, seed in (("own", 0), ("other", 1)):
        evaluate(network(seed), data, 8, folder=tmp_path / name, **FEW)
    file = "attacks/sea/model/seed0/eps8/seed0-shard0.parquet"
    (tmp_path / "own" / file).write_bytes((tmp_path / "other" / file).read_bytes())
    for read in (report, read_evaluation, lambda run: robustseg.doubt(network(), data, folder=run)):
        with pytest.raises(RobustsegError, match=r"eps8/seed0-shard0\.parquet is of another run"):
            read(tmp_path / "own")
    evaluate(network(), data, 8, folder=tmp_path / "own", **FEW)  # as the sentence says
    report(tmp_path / "own")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (b"", r" is not JSON \(Expecting value.*\); run the same"),
        (b"{}", ": name is missing; run the same"),
        (b"[1]", r": should be a section of keys, not \[1\]; run the same"),
        (b"3", ": should be a section of keys, not 3; run the same"),
        (b"\0", r" is not text \(it holds zeros\); run the same"),
        (b"\xff", " is not UTF-8 text; save it"),
        ({"seed": True}, ": seed should be a whole number, not True; run the same"),
        ({"name": "my model"}, ": name should have only letters .*, not 'my model'; run the same"),
        ({"eps_255": []}, r": eps_255 needs at least 1 entry, not \[\]; run the same"),
        ({"eps_255": [0]}, r": eps_255\[0\] should be greater than 0, not 0.*; run the same"),
        ({"seed": -1}, ": seed should be greater than or equal to 0, not -1; run the same"),
        ({"name": "a;b"}, ": name should have only .*, not 'a;b'; run the same"),
        ({"suites": {}}, ": suites needs at least 1 entry, not {}; run the same"),
        ({"images": 0}, ": images should be greater than or equal to 1, not 0; run the same"),
        ({"shard": 3}, " is of shard 3 of 1, not of what its name says; run the same"),
        ({"runtime_s": -1.0}, r": runtime_s should be .* equal to 0, not -1\.0; run the same"),
        ({"class_pixels": [0.5]}, r": class_pixels\[0\] should be .*, not 0\.5; run the same"),
        ({"warnings": [3]}, r": warnings\[0\] should be text, not 3; run the same"),
    ],
)
def test_a_damaged_record_is_one_sentence(tmp_path: Path, change: Any, says: str) -> None:
    path = tmp_path / "run-shard0-of-1.json"
    if isinstance(change, dict):
        evaluate(network(), pairs(), 8, folder=tmp_path, **FEW)
        change = json.dumps(json.loads(path.read_text()) | change).encode()
    path.write_bytes(change)
    with pytest.raises(RobustsegError, match=says) as refusal:
        read_evaluation(tmp_path)
    assert str(refusal.value).startswith(str(path))
    assert str(refusal.value).count("; ") == 1


def test_outputs_that_are_no_class_of_the_data() -> None:
    """They are predicted, never right, and bring no class of IoU 0 into the mean."""

    class Void(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            logits = network()(images)
            void = logits.amax(1, keepdim=True) + 1
            void[:, :, :6] -= 2
            return torch.cat([logits, void], 1)

    data = pairs([(12, 10)] * 3)
    result = evaluate(Void(), data, 8, num_classes=4, **FEW)
    assert result.clean.acc == pytest.approx(50 / 110)
    shares = []
    labels = np.stack([label.numpy() for _, label in data])
    for k in range(4):
        seen, there = (labels[:, 1:6] == k).sum(), (labels == k).sum()
        if there:
            shares.append(seen / there)
    assert result.clean.miou == pytest.approx(np.mean(shares))
    with pytest.raises(RobustsegError, match="5 outputs and the data 6 classes"):
        evaluate(Void(), data, 8, num_classes=6, **FEW)


def test_warnings_are_kept_in_the_evidence(tmp_path: Path) -> None:
    dark = [(image / 255, label) for image, label in pairs()]
    with pytest.warns(robustseg.RobustsegWarning, match="divided by 255 twice"):
        result = evaluate(network(), dark, 0.03, folder=tmp_path, **FEW)
    assert any("255 twice" in one for one in result.warnings)
    assert any("units of 1/255" in one for one in result.warnings)
    for file in tmp_path.glob("attacks/**/*.parquet"):
        assert "255 twice" in read_provenance(file)["warnings"]
    again = evaluate(network(), dark, 0.03, folder=tmp_path, **FEW)
    assert again.warnings == result.warnings, "a run that goes on lost what is doubtful"
    record = json.loads((tmp_path / "run-shard0-of-1.json").read_text())
    assert record["warnings"] == result.warnings


def test_alma_and_transfer_on_an_own_model(tmp_path: Path) -> None:
    result = evaluate(
        network(), pairs(), 8, suites=["alma", "transfer"], sources={"other": network(3)},
        folder=tmp_path, **FEW,
    )  # fmt: skip
    frame = read_evidence(sorted(tmp_path.glob("attacks/**/*.parquet")))
    assert set(frame["suite"]) == {"clean", "alma", "transfer"}
    assert "transfer-other-apgd-mask_ce-reduced-4" in set(frame["attack"])
    assert not math.isnan(result.robust[8.0].acc)
    report(tmp_path)


def test_a_single_attack_that_helps_is_no_worst_case_in_any_table(tmp_path: Path) -> None:
    def bright(images: Tensor) -> Tensor:
        over = images.mean(1, keepdim=True) - 0.5
        return torch.cat([-over, over], 1)

    data = [(torch.full((3, 4, 4), grey), torch.ones(4, 4).long()) for grey in (0.49, 0.9)]
    helps: dict[str, Any] = {"opposite": lambda images: -bright(images)}
    found = evaluate(bright, data, 8, suites=["transfer"], sources=helps, folder=tmp_path, **FEW)
    assert found.clean.acc == found.robust[8.0].acc == 0.5
    report(tmp_path)
    for table in ("robustness", "each_attack"):
        numbers = pd.read_csv(tmp_path / "tables" / f"{table}.csv").query("metric == 'acc'")
        by_attack = numbers.set_index("attack")["value"]
        assert by_attack["transfer: transfer-opposite-apgd-mask_ce-reduced-4"] == 100
        assert by_attack["worst"] == 50, table


def test_a_loader_that_leaves_images_out_is_told() -> None:
    for loader, told in (
        (DataLoader(Mapped(pairs()), 2, drop_last=True), True),
        (DataLoader(Mapped(pairs()), 5, drop_last=True), False),
        (DataLoader(Mapped(pairs()), 2), False),
    ):
        result = evaluate(network(), loader, 8, **FEW)
        assert any("drop_last=False" in one for one in result.warnings) == told


def test_masks_of_0_and_255_are_told() -> None:
    """The object has the value that is ignored: only the background is counted."""
    data = [(image, torch.where(label == 0, 0, 255)) for image, label in pairs()]
    result = evaluate(network(), data, 8, **FEW)
    (said,) = (one for one in result.warnings if "every pixel that counts is of class 0" in one)
    assert "--values 0,255 --ignore none" in said


@pytest.mark.parametrize("kind", ["pairs", "loader", "arrays"])
def test_data_without_a_label_is_refused_before_it_is_attacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    ignored: Any = [(image, torch.full_like(label, 255)) for image, label in pairs()]
    match kind:
        case "loader":
            ignored = DataLoader(ignored, batch_size=2)
        case "arrays":
            ignored = tuple(map(torch.stack, zip(*ignored, strict=True)))
    monkeypatch.setattr(outcomes, "run_attack", None)
    with pytest.raises(RobustsegError, match="all pixels of all images are ignored; check"):
        evaluate(network(), ignored, 8, folder=tmp_path, **FEW)
    assert not (tmp_path / "parts").exists()


def no_number(images: Tensor) -> Tensor:
    """Return logits that are no numbers of an image without a white pixel."""
    whitest = images.flatten(1).amax(1).view(-1, 1, 1, 1)
    return network()(images) * (whitest - 0.5).sqrt()


LAST_IS_BAD: dict[str, tuple[Callable, Callable, str]] = {
    "a label": (network(), lambda image, label: (image, label + 9, 4), "4 has the label"),
    "an id": (network(), lambda image, label: (image, label, 0), "two images have the id 0"),
    "a size": (network(), lambda image, label: (image, label[1:], 4), "bring them to one size"),
    "a value": (network(), lambda image, label: (image + 7, label, 4), "4 has values outside"),
    "logits": (no_number, lambda image, label: (image / 3, label, 4), "4 .*not finite"),
}


@pytest.mark.parametrize("what", LAST_IS_BAD)
@pytest.mark.parametrize("by_loader", [False, True])
def test_the_last_image_is_looked_at_before_the_first_is_attacked(
    monkeypatch: pytest.MonkeyPatch, what: str, by_loader: bool
) -> None:
    """What is wrong with it would be told hours later, and without a folder all would be lost."""
    monkeypatch.setattr(outcomes, "run_attack", None)
    model, spoil, says = LAST_IS_BAD[what]
    data = [(*pair, number) for number, pair in enumerate(pairs())]
    data = [(image.clamp(max=0.9).put_(torch.tensor(0), torch.ones(())), *rest)
            for image, *rest in data]  # fmt: skip
    data[4] = spoil(*data[4][:2])
    with pytest.raises(RobustsegError, match=says):
        evaluate(model, DataLoader(data, 1) if by_loader else data, 8, batch_size=1, **FEW)


def test_warnings_of_clean_images_are_said_before_the_first_is_attacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outcomes, "run_attack", None)
    wrong = robustseg.wrap(lambda images: 9 * network()(images).roll(1, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", robustseg.RobustsegWarning)
        with pytest.raises(robustseg.RobustsegWarning, match="always predicting class"):
            evaluate(wrong, pairs(), 8, batch_size=1, **FEW)


class Mirrored(Mapped):
    """A data set that mirrors some of its images, others each time."""

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        image, label = self.data[place]
        return (image.flip(-1), label.flip(-1)) if torch.rand(()) < 0.5 else (image, label)


class Shuffled(IterableDataset):
    """A stream in an order of its own each time."""

    def __init__(self) -> None:
        self.data = pairs()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return (self.data[place] for place in torch.randperm(len(self.data)).tolist())


@pytest.mark.parametrize(
    "data",
    [
        DataLoader(pairs(), 2, shuffle=True),
        DataLoader(pairs(), 2, sampler=SubsetRandomSampler(range(5))),
        DataLoader(Shuffled(), 2),
        DataLoader(Mirrored(pairs()), 2),
        Mirrored(pairs()),
    ],
    ids=["shuffles", "sampler", "stream", "loader of a random set", "random set"],
)
def test_data_that_are_others_each_time_are_told_before_they_are_attacked(
    monkeypatch: pytest.MonkeyPatch, data: Any
) -> None:
    net = network()
    net[2].weight.data *= 3  # else its best class is hardly ahead
    torch.manual_seed(0)
    result = evaluate(net, data, 8, **FEW)
    (said,) = (one for one in result.warnings if "other images, or another order" in one)
    assert said.endswith("use shuffle=False, and no transform that draws at random")
    monkeypatch.setattr(outcomes, "run_attack", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error", robustseg.RobustsegWarning)
        with pytest.raises(robustseg.RobustsegWarning, match="other images, or another order"):
            evaluate(net, data, 8, **FEW)
    with pytest.raises(RobustsegError, match="shards would not be parts of one whole"):
        evaluate(net, data, 8, batch_size=2, shard=(0, 2), **FEW)


def test_data_that_give_less_when_they_are_read_again_are_told() -> None:
    class Fewer:
        def __init__(self) -> None:
            self.readings = iter([5, 3])

        def __iter__(self) -> Iterator[Any]:
            return iter(DataLoader(pairs()[: next(self.readings)], 1))

    (said,) = (one for one in evaluate(network(), Fewer(), 8, **FEW).warnings if "other" in one)
    assert said.startswith("the data gives other images, or another order, each time it is read")


def test_data_that_can_be_read_once_are_told_how_to_be_handed_over() -> None:
    class Once:
        def __init__(self) -> None:
            self.batches = iter(DataLoader(pairs(), 2))

        def __iter__(self) -> Iterator[Any]:
            return self.batches

    with pytest.raises(RobustsegError, match=r"can be read only once, .* or iter\(\.\.\.\) of it"):
        evaluate(network(), Once(), 8, **FEW)
    expected = evaluate(network(), pairs(), 8, batch_size=2, **FEW)
    assert evaluate(network(), iter(Once()), 8, **FEW).robust == expected.robust


def test_images_without_a_label_may_come_first() -> None:
    """Batches before the first label are attacked as others are, each once."""
    data = [(one, torch.full_like(label, 255)) for one, label in pairs()[:3]] + pairs()[3:]
    expected = evaluate(network(), data[3:], 8, **FEW)
    for same in (data, DataLoader(data, batch_size=2), iter(DataLoader(data, batch_size=2))):
        result = evaluate(network(), same, 8, **FEW)
        assert result.clean == expected.clean
        assert set(result.numbers.images.values()) == {5}


def test_alma_alone_says_what_it_found(tmp_path: Path) -> None:
    """Against the evidence: how many images are flipped, and the median of their norms."""
    images, _ = scene(10, 0.01, size=8)
    labels = linear_model(images).argmax(1)
    images[1, 0, 0, 0] = 1.0  # the sign by which the model knows the image that it moves not at all
    wall = 40 * torch.nn.functional.one_hot(labels[1], 4).permute(2, 0, 1)

    def model(batch: Tensor) -> Tensor:
        return linear_model(batch) + wall * (batch[:, :1, :1, :1] > 0.9)

    data = list(zip(images, labels, strict=True))
    few = {"iterations": 300, "progress": False}
    result = evaluate(model, data, 8, suites=["alma"], folder=tmp_path, **few)
    frame = read_evidence(sorted(tmp_path.glob("attacks/alma/**/*.parquet")))
    flips = frame[frame["pixels_correct"] <= 0.01 * frame["pixels"]]
    assert len(flips) == 1, "the other is behind a wall"
    found = "50.0 (0.3 to 99.7) % of images"
    median = f"; median norm {flips['linf_255'].median():.1f}/255 |"
    line = next(one for one in str(result).splitlines() if one.startswith("| smallest"))
    assert f"ALMA prox: {found}" in line
    assert median in line
    assert "at least 99 % of an image's pixels wrong" in str(result)
    assert result.robust == {}
    page = report(tmp_path).read_text()
    assert median.strip(" |") in page


def test_the_largest_radius_is_not_taken_for_that_of_an_attack_without_one(tmp_path: Path) -> None:
    data = pairs()
    found = evaluate(
        network(), data, [4, 255], suites=["sea_fast", "alma"], iterations=4, folder=tmp_path
    )
    report(tmp_path)
    for table in ("worst_miou", "by_size"):
        numbers = pd.read_csv(tmp_path / "tables" / f"{table}.csv")
        assert set(numbers["eps_255"]) == {0, 4, 255}, table
    numbers = pd.read_csv(tmp_path / "tables" / "worst_miou.csv")
    by_acc = numbers[(numbers["metric"] == "miou") & (numbers["eps_255"] == 255)]
    assert by_acc["value"].item() == pytest.approx(100 * found.robust[255.0].miou)
    opinion = robustseg.doubt(network(), data, 255, folder=tmp_path, images=2, progress=False)
    assert opinion.opinions[0].eps_255 == 255


def test_numbers_of_numpy_are_kept_as_numbers(tmp_path: Path) -> None:
    one = np.int64(1)
    given = {"iterations": 3 * one, "seed": one, "images": 3 * one, "pictures": one}
    given |= {"batch_size": one, "shard": (0 * one, 2 * one), "folder": tmp_path}
    evaluate(network(), pairs(), 8, progress=False, **given)
    record = json.loads((tmp_path / "run-shard0-of-2.json").read_text())
    assert (record["seed"], record["images"], record["suites"]["sea"]["iterations"]) == (1, 3, [3])


def test_radii_of_numpy_and_class_names_that_do_not_fit() -> None:
    radii = np.array([4.1, 8], dtype=np.float32)  # 4.099999904632568
    result = evaluate(network(), pairs(), radii, class_names=["a"], **FEW)
    assert list(result.robust) == [4.1, 8.0]
    assert any("1 class_names and 4 classes" in one for one in result.warnings)


def test_attacked_images_are_kept_for_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first that have labels, of any sizes, as the evidence has them; made once."""
    data = pairs([(12, 10), (9, 14), (12, 10), (12, 10)])
    data[0][1].fill_(255)
    few = {**FEW, "folder": tmp_path}
    evaluate(network(), data, [4, 8], pictures=2, **few)
    path = tmp_path / "gallery" / "model.npz"
    shots = read_shots(path)
    assert shots.image_ids.tolist() == ["1", "2"]
    assert shots.images.shape == (2, 12, 14, 3)
    assert shots.eps_255.tolist() == [0, 4, 8]
    frame = read_evidence(sorted(tmp_path.glob("attacks/**/*.parquet")))
    of_loss = frame[frame["loss"].isin(["mask_ce", "none"])].set_index(["eps_255", "image_id"])
    for radius, eps_255 in enumerate([0, 4, 8]):
        for place, image_id in enumerate("12"):
            row = of_loss.loc[(eps_255, image_id)]
            share = row["pixels_correct"] / row["pixels"]
            assert shots.accuracy[radius, place] == pytest.approx(share)
    assert "gallery-view" in report(tmp_path).read_text()

    made: list[int] = []
    monkeypatch.setattr(gallery, "run_attack", lambda *rest: made.append(1) or run_attack(*rest))
    evaluate(network(), data, [4, 8], pictures=2, **few)
    assert not made
    evaluate(robustseg.wrap(network(), scale=0.5), data, [4, 8], pictures=2, **few)
    assert made, "pictures of another model were taken for this one's"
    evaluate(network(), data, [4, 8], pictures=0, **few)
    assert not path.exists()
    assert "gallery-view" not in report(tmp_path).read_text()
    few["folder"] = tmp_path / "no_apgd"
    evaluate(network(), data, [4, 8], suites=["baselines_100"], pictures=2, **few)
    assert not (tmp_path / "no_apgd" / "gallery").exists()
    assert "gallery-view" not in report(tmp_path / "no_apgd").read_text()


def test_any_name_of_a_class_has_its_line(tmp_path: Path) -> None:
    names = ["void: other", "a:b:c", "mean", "iou"]
    evaluate(network(), pairs(), 8, class_names=names, folder=tmp_path, **FEW)
    report(tmp_path)
    lines = (tmp_path / "tables" / "by_class.md").read_text().splitlines()
    shown = [line.split(" | ")[0].strip("| ") for line in lines if line.startswith("| ")]
    assert shown[-5:] == [*names, "mean"]


def test_the_standard_suites_are_those_of_the_paper_s_configuration() -> None:
    suites = read_yaml(ROOT / "config" / "config.yaml")["attacks"]["suites"]
    assert STANDARD_SUITES["sea_eccv"]["losses"] == [*suites["eccv"]["losses"], "mask_ce", "js"]
    for name in set(STANDARD_SUITES) - {"sea_eccv"}:
        suite = STANDARD_SUITES[name]
        for key, value in suites[name].items():
            if key != "images":  # the paper's number
                assert suite[key] == value, (name, key)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"eps_255": []}, "eps_255 is empty"),
        ({"eps_255": 0}, "eps_255 is 0"),
        ({"eps_255": -1}, "eps_255"),
        ({"eps_255": "8"}, "eps_255"),
        ({"eps_255": 8 / 255}, "radii are in 1/255"),
        ({"eps_255": 16 / 3}, r"eps_255 is 5\.333.*, .* six digits; write 5\.33333: radii"),
        ({"eps_255": 8 / 255}, r"six digits; write 0\.0313725, or 8 if 8/255 was meant: radii"),
        ({"suites": ["see"]}, "'see' is not a suite; known are sea"),
        ({"suites": []}, "no suite"),
        ({"suites": ["baselines"], "eps_255": 7}, "no step_size at eps_255 7"),
        ({"suites": ["transfer"]}, "needs `sources`"),
        ({"shard": (2, 2)}, "shard is 2 of 2"),
        ({"name": "my model"}, "letters, digits"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"images": -1}, "images must be"),
        ({"images": 0}, "images must be"),
        ({"pictures": -1}, "pictures must be a whole number of at least 0"),
        ({"seed": -1}, "seed must be"),
        ({"shard": "0/2"}, "shard must be"),
        ({"name": None}, "letters, digits"),
        ({"name": "a" * 101}, "at most 100 letters"),
        ({"iterations": 10**7}, "iterations must be at most 1,000,000"),
        ({"class_names": ["a", "b", "a", "c"]}, "class_names must differ"),
        ({"sources": [1]}, "sources must be a dict"),
        ({"sources": {"a/b": network()}, "suites": ["transfer"]}, "the name of a source is 'a/b'"),
        (
            {"sources": {"blind": lambda x: network()(x).detach()}, "suites": ["transfer"]},
            "the source blind cannot be attacked: the model's logits carry no gradient",
        ),
        ({"class_pixels": [0, 0, 0, 0]}, "class_pixels must be a list .* not all 0"),
        ({"class_pixels": [1, -1, 1, 1]}, "class_pixels must be a list"),
        ({"class_pixels": "1111"}, "class_pixels must be a list .* got '1111'"),
        ({"class_pixels": [1, 2]}, "class_pixels has 2 numbers, and labels go up to 3"),
        ({"data": [(*pairs()[0], "\udcff")]}, "image id .* is not UTF-8"),
        ({"suites": None}, "suites must be names"),
        ({"suites": {}}, "no suite"),
        ({"suites": {"clean": {}}}, "may not be called clean"),
        ({"suites": {"doubt": OWN}}, "may not be called doubt"),
        ({"suites": {"sea": OWN}}, r"suites\.sea\.losses is not that of the standard suite sea"),
        ({"suites": {"transfer": OWN}}, "the suite transfer needs `sources`"),
        ({"suites": {"sea_fast": SQUARE}}, r"suites\.sea_fast\.kind is not that of"),
        (
            {"suites": {"sea": {**STANDARD_SUITES["sea"], "iterations": [3, 4]}}} | OWN_ITERATIONS,
            r"suites\.sea\.iterations is not that of",
        ),
        ({"suites": {"own": ["ce"]}}, "suites.own should be a section"),
        ({"suites": {"own": {"loses": ["ce"]}}}, "suites.own.losses is missing"),
        ({"suites": {"own": {"kind": "square", "iterations": 5}}}, "suites.own.p_init is missing"),
        (
            {"suites": {"own": SQUARE | {"iterations": [5]}}, "iterations": None},
            "suites.own.iterations should be a whole number",
        ),
        ({"suites": {"own": SQUARE | {"p_init": 0}}}, "p_init should be greater than 0"),
        ({"suites": {"own": OWN | {"losses": "ce"}}}, "losses should be a list, not 'ce'"),
        ({"suites": {"own": ALMA | {"threshold": "x"}}}, "threshold should be a number"),
        ({"suites": {"own": OWN | {"step": 1}}}, "suites.own.step is not a known key"),
        ({"suites": {"own": OWN | {"step_size": 1}}}, "step_size should be a section"),
        ({"suites": {"own": OWN | {"step_size": {(1, 2): 1}}}}, "suites: keys must be"),
        ({"suites": {"own": ALMA | {"images": 2}}}, "`evaluate` has `images` for all"),
        ({"suites": {"own": {"kind": "objects"}}}, "kind 'objects'; known are white_box"),
        ({"data": 3}, "must be a loader"),
        ({"data": []}, "no images"),
        ({"data": DataLoader(UNEQUAL, batch_size=2)}, r"different sizes .* \(loader\.dataset\)"),
        ({"data": DataLoader(UNEQUAL, 2, num_workers=1)}, r"different sizes .* batch_size=1"),
        ({"data": [torch.rand(3, 4, 4)]}, "not \\(images, labels\\)"),
        ({"data": [{"x": 1}]}, "has the keys x"),
        (
            {"data": iter([(torch.rand(1, 3, 4, 4), torch.full((1, 4, 4), 255))])},
            "are ignored; check",
        ),
        ({"num_classes": 1}, "num_classes"),
        ({"data": {"image": 1}}, "not dict"),
        ({"data": (torch.rand(3, 3, 4, 4), torch.zeros(2, 4, 4))}, "3 images and 2 labels"),
        ({"data": [(torch.rand(3, 3, 4, 4), torch.zeros(2, 4, 4))]}, "batch 0 .* has 3 images"),
        ({"data": [(*pair, "x") for pair in pairs()], "batch_size": 1}, "have the id x"),
    ],
)
def test_bad_input_is_one_sentence(changes: dict, match: str) -> None:
    arguments = {"model": network(), "data": pairs(), "eps_255": 8, **FEW} | changes
    with pytest.raises(RobustsegError, match=match):
        evaluate(**arguments)


def test_a_standard_suite_in_another_order_is_the_same() -> None:
    sea_suite = STANDARD_SUITES["sea"]
    turned = {"sea": {**sea_suite, "losses": [*reversed(sea_suite["losses"])]}}
    standard = evaluate(network(), pairs(), 8, **FEW)
    assert evaluate(network(), pairs(), 8, suites=turned, **FEW).robust == standard.robust


def test_losses_by_class_weigh_by_what_is_given_or_by_the_evaluation_labels(tmp_path: Path) -> None:
    data, suite = pairs(), {"balanced": {**OWN, "losses": ["mask_ce_balanced"]}}
    counted = np.zeros(4, dtype=np.int64)
    for _, label in data:
        counted += np.bincount(label[label != 255].numpy(), minlength=4)[:4]
    found = evaluate(network(), data, 8, suites=suite, folder=tmp_path / "a", **FEW)
    assert "evaluation labels were counted" in str(found)
    given = counted.tolist()
    same = evaluate(
        network(), data, 8, suites=suite, folder=tmp_path / "b", class_pixels=given, **FEW
    )
    assert "counted" not in str(same)
    assert same.robust == found.robust
    record = json.loads((tmp_path / "a" / "run-shard0-of-1.json").read_text())
    assert record["class_pixels"] == given
    for i in range(2):  # each counts all labels
        part = {"shard": (i, 2), "batch_size": 3}
        evaluate(network(), data, 8, suites=suite, folder=tmp_path / "c", **part, **FEW)
    assert read_evaluation(tmp_path / "c").robust == found.robust
    images, labels = (torch.stack(part) for part in zip(*data, strict=True))
    alone = sea(network(), images, labels, 8, losses=["mask_ce_balanced"], iterations=4)
    assert any("evaluation labels were counted" in sentence for sentence in alone.warnings)
    with pytest.raises(RobustsegError, match="can be read only once"):
        evaluate(network(), iter([(images, labels)]), 8, suites=suite, **FEW)


def test_the_strongest_suites_do_not_depend_on_a_factor_on_the_logits() -> None:
    def scaled(images: Tensor) -> Tensor:
        return 8 * network()(images)

    for name in ("sea_plus", "sea_fast"):
        found, other = (
            evaluate(model, pairs(), 8, suites=[name], **FEW) for model in (network(), scaled)
        )
        assert other.robust == found.robust
