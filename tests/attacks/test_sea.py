"""SEA as a stranger uses it, and suites as the workflow does."""

import doctest
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustseg.attacks import ensemble
from robustseg.attacks.ensemble import sea
from robustseg.attacks.losses import SEA_LOSSES
from robustseg.attacks.outcomes import attack_and_count, count, measure
from robustseg.attacks.spec import AttackSpec, specs_of
from robustseg.attacks.warning_signs import RobustsegWarning
from robustseg.errors import RobustsegError
from robustseg.evaluation import over_batches
from robustseg.evaluation.over_batches import evaluate_clean, on_itself, rows_of_dataset
from robustseg.evaluation.resume import FinishedParts
from robustseg.evidence.reading import read_evidence
from robustseg.evidence.writing import write_evidence
from robustseg.metrics import image_accuracy, miou
from tests.attacks.toys import Counting, Pointwise

EPS_255 = 12.0
IDENTITY = {"dataset": "toy", "model": "pointwise", "training_seed": 0, "suite": "sea"}
SEA = {"losses": SEA_LOSSES, "schedules": ["reduced"], "iterations": [10]}
SPECS = specs_of(SEA, EPS_255)


@dataclass
class ToySet:
    """Images that Pointwise gets right, apart from one that is wrong everywhere."""

    images: Tensor
    labels: Tensor
    image_ids: list[str]
    num_classes: int = 4

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: list[int]) -> tuple[Tensor, Tensor, list[str]]:
        return self.images[indices], self.labels[indices], [self.image_ids[i] for i in indices]


@pytest.fixture
def toys() -> ToySet:
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(7, 3, 6, 5, generator=generator)
    labels = Pointwise()(images).argmax(1)
    labels[:, :2] = torch.randint(4, labels[:, :2].shape, generator=generator)
    labels[0, 0] = -1
    weak = Pointwise()(images[4:5]).argmin(1)
    labels[4] = weak[0]
    return ToySet(images, labels, [f"toy{i}" for i in range(7)])


def suite(
    toys: ToySet,
    model: Any = None,
    *,
    parts: Path | None = None,
    eps_255: float = EPS_255,
    seed: int = 0,
    **changes: Any,
) -> list[dict]:
    model = model or Pointwise()
    attacks = on_itself(model, SPECS, eps_255=eps_255, seed=seed, identity=IDENTITY)
    kept = FinishedParts(parts, [model], None) if parts else None
    return rows_of_dataset(attacks, model, toys, **{"batch_size": 3, "kept": kept, **changes})


def in_order(rows: list[dict]) -> list[dict]:
    return sorted(rows, key=lambda row: (row["attack"], row["image_id"]))


def test_sea_is_the_image_wise_worst_case_of_its_attacks(toys: ToySet) -> None:
    model = Pointwise()
    result = sea(
        model,
        toys.images,
        toys.labels,
        EPS_255,
        image_ids=toys.image_ids,
        iterations=10,
        batch_size=3,
        ignore_index=-1,
    )
    outcomes = [
        attack_and_count(model, spec, EPS_255, 0, toys.batch(list(range(7)))) for spec in SPECS
    ]
    alone = np.stack([image_accuracy(o.counts.pixels, o.counts.pixels_correct) for o in outcomes])
    ran = ~np.isnan(result.attack_accuracy)
    assert np.array_equal(result.attack_accuracy[ran], alone[ran])
    assert np.array_equal(result.accuracy, alone.min(axis=0))
    hurt = np.arange(7) != 4  # that one is wrong everywhere before any attack
    assert np.array_equal(result.worst_attack[hurt], alone.argmin(axis=0)[hurt])
    assert result.acc == pytest.approx(alone.min(axis=0).mean())
    assert all(result.acc <= one for one in alone.mean(axis=1))
    assert len({*result.worst_attack.tolist()}) > 1
    for image, worst in enumerate(result.worst_attack):
        if not hurt[image]:
            assert torch.equal(result.adversarial[image], toys.images[image])
            continue
        assert torch.equal(result.adversarial[image], outcomes[worst].adversarial[image])
        assert result.linf_255[image] == outcomes[worst].linf_255[image]
    counts = count(model, result.adversarial, toys.labels, toys.image_ids)
    assert result.miou == miou(counts.intersection, counts.union)
    assert np.array_equal(counts.pixels_correct, result.counts.pixels_correct)


def test_sea_skips_what_is_broken_and_says_so(toys: ToySet) -> None:
    result = sea(Pointwise(), toys.images, toys.labels, EPS_255, iterations=10, ignore_index=-1)
    assert result.accuracy[4] == 0
    assert np.isnan(result.attack_accuracy[:, 4]).all()
    assert result.worst_attack[4] == len(result.attacks)  # the clean image


def test_sea_is_a_function_of_the_package() -> None:
    import robustseg

    assert robustseg.sea is sea
    assert robustseg.SeaResult is ensemble.SeaResult
    with pytest.raises(AttributeError, match="no attribute 'see'"):
        _ = robustseg.see


def test_an_image_without_labels_does_not_count(toys: ToySet) -> None:
    few = {"iterations": 5, "ignore_index": -1}
    with_one = sea(Pointwise(), toys.images[:3], toys.labels[:3], EPS_255, **few)
    toys.labels[3] = -1
    with_none = sea(Pointwise(), toys.images[:4], toys.labels[:4], EPS_255, **few)
    assert np.isnan(with_none.accuracy[3])
    assert with_none.acc == with_one.acc
    assert with_none.miou == with_one.miou


def test_labels_may_be_the_first_class_alone() -> None:
    images, labels = torch.rand(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64)
    with pytest.warns(RobustsegWarning, match="always predicting class 0"):
        result = sea(Pointwise(), images, labels, EPS_255, iterations=3)
    assert result.counts.pixels.tolist() == [16, 16]


def test_the_docstring_example_works() -> None:
    assert doctest.testmod(ensemble).failed == 0
    assert doctest.testmod(ensemble).attempted > 4


def test_rows_are_valid_evidence(toys: ToySet, tmp_path: Path) -> None:
    rows = suite(toys) + evaluate_clean(Pointwise(), toys, batch_size=4, identity=IDENTITY)
    write_evidence(tmp_path / "evidence.parquet", rows, {})
    frame = read_evidence([tmp_path / "evidence.parquet"])
    assert len(frame) == 7 * (len(SPECS) + 1)
    attacked = frame[frame["suite"] == "sea"]
    assert (attacked["linf_255"] <= EPS_255 + 1e-3).all()
    assert (attacked["forward_passes"] <= 10 + 3 + 1).all()
    clean = frame[frame["suite"] == "clean"].set_index("image_id")
    right = (Pointwise()(toys.images).argmax(1) == toys.labels).flatten(1).sum(1)
    assert clean.loc[toys.image_ids, "pixels_correct"].tolist() == right.tolist()
    assert clean.loc["toy0", "pixels"] == 25


def test_rows_depend_neither_on_batches_nor_on_shards(toys: ToySet) -> None:
    whole = in_order(suite(toys))
    assert in_order(suite(toys, batch_size=7)) == whole
    shards = [*suite(toys, indices=[0, 2, 4, 6]), *suite(toys, indices=[1, 3, 5])]
    assert in_order(shards) == whole


class KilledError(Exception):
    pass


def test_a_killed_evaluation_goes_on_to_the_same_rows(
    toys: ToySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = suite(toys)
    attack, calls = over_batches.attack_and_count, []

    def killed(*arguments: object, **more: object) -> object:
        calls.append(arguments)
        if len(calls) == 6:
            raise KilledError
        return attack(*arguments, **more)

    monkeypatch.setattr(over_batches, "attack_and_count", killed)
    settings = {"parts": tmp_path / "parts"}
    with pytest.raises(KilledError):
        suite(toys, **settings)
    assert suite(toys, **settings) == expected
    batches_x_attacks = 3 * len(SPECS)
    assert len(calls) <= batches_x_attacks + 1
    calls.clear()
    assert suite(toys, **settings) == expected
    assert not calls


def test_parts_of_anything_else_are_not_used(toys: ToySet, tmp_path: Path) -> None:
    class Weighted(Pointwise):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, images: Tensor) -> Tensor:
            return self.scale * super().forward(images)

    model, settings = Weighted(), {"parts": tmp_path}
    suite(toys, model, **settings)
    model.scale.data += 1
    assert suite(toys, model, **settings) == suite(toys, model)
    assert suite(toys, model, seed=1, **settings) == suite(toys, model, seed=1)
    assert suite(toys, model, eps_255=4, **settings) == suite(toys, model, eps_255=4)
    toys.images = toys.images.flip(3)
    assert suite(toys, model, **settings) == suite(toys, model)
    scaled = [lambda images, by=by: by * Pointwise()(images) for by in (1.0, 3.0, 1.0)]
    for function in scaled:  # functions are told apart by what they compute
        assert suite(toys, function, **settings) == suite(toys, function)


def test_a_perturbation_outside_its_radius_is_refused(toys: ToySet) -> None:
    images, ids = toys.images, toys.image_ids
    moved = images.clone()
    moved[2] = (moved[2] + 5 / 255).clamp(max=1)
    assert measure(moved, images, ids, 5)[2] == pytest.approx(5, abs=1e-3)
    for bad in (moved, images - 0.01, images + 1.0, images * torch.nan):
        with pytest.raises(RobustsegError, match="left its radius of 4/255"):
            measure(bad, images, ids, 4)
    with pytest.raises(RobustsegError, match="image toy2 left its radius"):
        measure(moved, images, ids, 4)


def test_counts_come_from_a_pass_of_their_own(toys: ToySet) -> None:
    model = Counting(Pointwise())
    outcome = attack_and_count(model, SPECS[0], EPS_255, 0, toys.batch(list(range(7))))
    assert model.forward_images == outcome.forward_passes.sum()
    assert model.backward_images == outcome.backward_passes.sum()


@pytest.mark.parametrize(
    "setting",
    ["torch.set_float32_matmul_precision('medium')", "torch.backends.fp32_precision = 'tf32'"],
)
def test_full_precision_restores_what_was_set(setting: str) -> None:
    """In a process of its own: what is set by torch's newer way is not forgotten."""
    asks = "torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32"
    newer = "[kind.fp32_precision for kind in _kinds_of_products()]"
    program = f"""
        import torch
        from robustseg.attacks.attacked_model import _kinds_of_products, full_precision
        def older():
            try:
                return {asks}
            except RuntimeError:
                return None
        {setting}
        before = older(), {newer}
        with full_precision("cpu"):
            assert older() == ("highest", False)
            assert set({newer}) <= {{"ieee"}}
        assert (older(), {newer}) == before
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)


def test_a_suite_says_how_far_it_is(toys: ToySet, capsys: pytest.CaptureFixture[str]) -> None:
    from robustseg.progress import Progress

    suite(toys, progress=Progress("attack toy", every_s=0))
    assert f"{3 * len(SPECS)}/{3 * len(SPECS)}" in capsys.readouterr().err


def test_apgd_is_the_default_optimizer_of_a_spec() -> None:
    assert AttackSpec("ce").name == "apgd-ce-constant-100"
