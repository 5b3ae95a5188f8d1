"""Every kind of suite gives the rows that a slow loop, or a hand-made example, gives."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustseg.attacks import outcomes
from robustseg.attacks.run import run_attack
from robustseg.attacks.spec import AttackSpec, SquareSpec
from robustseg.attacks.square import square
from robustseg.data.arrays import ArrayDataset
from robustseg.data.relabelled import background_class, without_background
from robustseg.errors import RobustsegError
from robustseg.evaluation.adapters import OnePixel, WithoutClass, one_pixel
from robustseg.evaluation.over_batches import EvidenceRow, evaluate_clean
from robustseg.evaluation.suites import random_images, run_suite
from robustseg.evidence.writing import write_evidence
from robustseg.progress import Progress

NAMES = ["background", "red", "green"]


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))


def noise(count: int = 4) -> ArrayDataset:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    labels = random.integers(0, 3, (count, 8, 8), dtype=np.uint8)
    return ArrayDataset(images, labels, [f"image{i}" for i in range(count)], NAMES, [(0, 0, 0)] * 3)


def rows_of(
    suite: dict[str, Any], folder: Path, model: nn.Module, dataset: Any, **changes: Any
) -> list[EvidenceRow]:
    identity = {"dataset": "noise", "model": "target", "training_seed": 0, "suite": "some"}
    settings = {
        "eps_255": 8.0,
        "seed": 0,
        "shard": (0, 1, 1),
        "batch_size": 3,
        "identity": identity,
        "parts": folder,
        "progress": Progress("test"),
        "sources": {},
    }
    return run_suite(suite, model, dataset, **{**settings, **changes})


ALMA = {"kind": "alma", "threshold": 0.9, "iterations": 10, "images": 3}
TRANSFER = {
    "kind": "transfer",
    "sources": ["other", "third"],
    "losses": ["mask_ce"],
    "schedules": ["reduced"],
    "iterations": [6],
}


def test_transfer_takes_each_source_s_own_weights(tmp_path: Path) -> None:
    sources = {"other": network(1), "third": network(2)}
    target, dataset = network(0), noise()
    rows = rows_of(TRANSFER, tmp_path, target, dataset, sources=sources)
    images, labels, ids = dataset.batch(range(4))
    spec = AttackSpec("mask_ce", "apgd", "reduced", 6)
    for name, source in sources.items():
        found = run_attack(source, images, labels, ids, spec, 8.0, 0).adversarial
        with torch.no_grad():
            right = (target(found).argmax(1) == labels).flatten(1).sum(1)
        mine = [row for row in rows if row["attack"].startswith(f"transfer-{name}-")]
        assert [row["pixels_correct"] for row in mine] == right.tolist()
    write_evidence(tmp_path / "rows.parquet", rows, {})


def test_alma_draws_the_same_images_for_every_model_and_shard(tmp_path: Path) -> None:
    dataset = noise(7)
    whole = rows_of(ALMA, tmp_path / "a", network(0), dataset)
    again = rows_of(ALMA, tmp_path / "b", network(1), dataset)
    drawn = [row["image_id"] for row in whole]
    assert len(drawn) == 3
    assert drawn == sorted(drawn) == [row["image_id"] for row in again]
    parts = [
        rows_of(ALMA, tmp_path / f"c{i}", network(0), dataset, shard=(i, 2, 1)) for i in (0, 1)
    ]
    assert parts[0] + parts[1] == whole
    assert {row["attack"] for row in whole} == {"alma_prox-0.9-10"}


SQUARE = {"kind": "square", "iterations": 20, "p_init": 0.8}


def test_square_gives_the_rows_of_the_attack_itself_in_shards_too(tmp_path: Path) -> None:
    dataset, model = noise(5), network(0)
    whole = rows_of(SQUARE, tmp_path / "a", model, dataset, seed=3)
    images, labels, ids = dataset.batch(range(5))
    found = square(model, images, labels, ids, SquareSpec(20, 0.8), 8.0, 3)
    with torch.no_grad():
        right = (model(found.adversarial).argmax(1) == labels).flatten(1).sum(1)
    assert [row["pixels_correct"] for row in whole] == right.tolist()
    assert {(row["attack"], row["iterations"], row["eps_255"], row["seed"]) for row in whole} == {
        ("square-right_pixels-0.8-20", 20, 8.0, 3)
    }
    parts = [
        row
        for i in (0, 1)
        for row in rows_of(SQUARE, tmp_path / f"b{i}", model, dataset, seed=3, shard=(i, 2, 3))
    ]
    assert parts == whole
    write_evidence(tmp_path / "rows.parquet", whole, {})


def test_a_killed_square_attack_goes_on_to_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, model = noise(6), network(0)
    whole = rows_of(SQUARE, tmp_path / "a", model, dataset, batch_size=2)
    batches = 0

    def killed(*arguments: Any) -> Any:
        nonlocal batches
        batches += 1
        if batches == 3:
            raise KeyboardInterrupt
        return square(*arguments)

    monkeypatch.setattr(outcomes, "square", killed)
    resumed = partial(rows_of, SQUARE, tmp_path / "b", model, dataset, batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        resumed()
    assert resumed() == whole
    assert batches == 4  # the third alone is attacked again


WHITE_BOX = {
    "kind": "white_box",
    "losses": ["ce"],
    "optimizer": "apgd",
    "schedules": ["constant"],
    "iterations": [5],
    "step_size": None,
}


DAMAGED = {
    "cut": lambda kept, other: kept[:40],
    "no text": lambda kept, other: b"\xff",
    "empty": lambda kept, other: b"",
    "a list": lambda kept, other: b"[]",
    "a number": lambda kept, other: b"5",
    "nested": lambda kept, other: b"[" * 100_000,
    "edited": lambda kept, other: kept.replace(b'"linf_255": [', b'"linf_255": [1'),
    "not a number": lambda kept, other: kept.replace(b'"linf_255": [', b'"linf_255": [NaN, '),
    "fewer rows": lambda kept, other: kept.replace(b'"pixels": [', b'"pixels": [], "x": ['),
    "another's": lambda kept, other: other,
}


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("suite", [WHITE_BOX, ALMA], ids=lambda suite: suite["kind"])
def test_a_damaged_part_is_computed_again(
    suite: dict[str, Any], damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = partial(rows_of, suite, tmp_path, network(0), noise(), batch_size=2)
    rows = run()
    first, *others = sorted(tmp_path.glob("*.json"))
    whole = first.read_bytes()
    changed = DAMAGED[damage](whole, others[0].read_bytes())
    assert changed != whole
    first.write_bytes(changed)
    capsys.readouterr()
    assert run() == rows
    said = capsys.readouterr().err
    assert said.count(f"[test] the finished part {first} is damaged and is computed again") == 1
    assert first.read_bytes() == whole


def test_random_images_are_not_just_the_first() -> None:
    ids = [f"val-{i}" for i in range(50)]
    drawn = random_images(ids, 10)
    assert len(set(drawn)) == 10
    assert drawn != list(range(10))
    assert random_images(ids, None) == list(range(50))
    with pytest.raises(RobustsegError, match="51 images are to be attacked and there are 50"):
        random_images(ids, 51)


class Fixed(nn.Module):
    """Returns the same logits for every image."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), *self.logits.shape)


def test_objects_are_scored_without_the_background_and_its_logit(tmp_path: Path) -> None:
    # Four pixels: background, red, red, green. The background's logit wins everywhere but the last.
    logits = torch.tensor([[[9.0, 9.0, 9.0, -5.0]], [[1.0, 2.0, 0.0, 0.5]], [[0.0, 1.0, 3.0, 0.0]]])
    labels = np.array([[[0, 1, 1, 2]]], dtype=np.uint8)
    images = np.zeros((1, 1, 4, 3), dtype=np.uint8)
    dataset = ArrayDataset(images, labels, ["one"], NAMES, [(0, 0, 0)] * 3)
    (row,) = rows_of({"kind": "objects"}, tmp_path, Fixed(logits), dataset, eps_255=0.0)
    # Left over: red as red, red as green, green as red.
    assert (row["pixels"], row["pixels_correct"]) == (3, 1)
    assert row["intersection"] == [0, 1, 0]
    assert row["union"] == [0, 3, 2]
    assert (row["suite"], row["attack"], row["eps_255"]) == ("some", "clean_objects", 0.0)
    write_evidence(tmp_path / "rows.parquet", [row], {})


def test_leaving_a_class_out_changes_no_other_logit() -> None:
    images = torch.rand(2, 3, 5, 5)
    model = network(0)
    full, without = model(images), WithoutClass(model, 1)(images)
    assert torch.equal(full[:, [0, 2]], without[:, [0, 2]])
    assert (without.argmax(1) != 1).all()


def test_a_data_set_without_background_is_refused() -> None:
    shapes = ArrayDataset(
        *(getattr(noise(), n) for n in ("images", "labels", "image_ids")), ["a"], []
    )
    with pytest.raises(RobustsegError, match="no class 'background' to leave out; its classes are"):
        background_class(shapes)
    with pytest.raises(RobustsegError, match="no class 'background'"):
        without_background(shapes)


class Average(nn.Module):
    """A linear classifier of the mean colour."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


def test_a_classifier_is_attacked_as_one_pixel(tmp_path: Path) -> None:
    # Mean colours differ by 10 and 30 of 255: 6/255 to either side breaks the first alone.
    images = np.full((2, 4, 4, 3), 100, dtype=np.uint8)
    images[0, :, :, 0] += 10
    images[1, :, :, 0] += 30
    labels = np.array([0, 0], dtype=np.uint8)
    dataset = one_pixel(ArrayDataset(images, labels, ["near", "far"], list("rgb"), []))
    suite = {
        "kind": "white_box",
        "losses": ["ce"],
        "optimizer": "apgd",
        "schedules": ["constant"],
        "iterations": [20],
        "step_size": None,
    }
    rows = rows_of(suite, tmp_path, OnePixel(Average()), dataset, eps_255=6.0)
    assert {r["image_id"]: r["pixels_correct"] for r in rows} == {"near": 0, "far": 1}
    assert all(row["pixels"] == 1 for row in rows)
    identity = {"dataset": "shapes", "model": "net", "training_seed": 0}
    clean = evaluate_clean(OnePixel(Average()), dataset, batch_size=2, identity=identity)
    assert [row["pixels_correct"] for row in clean] == [1, 1]


def test_an_unknown_kind_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RobustsegError, match="a suite of the kind 'pixle' cannot be run"):
        rows_of({"kind": "pixle"}, tmp_path, network(0), noise())
