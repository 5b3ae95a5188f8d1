"""Transfer: the perturbation is the source's, the counts are the target's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from robustseg.attacks.run import run_attack
from robustseg.attacks.spec import AttackSpec
from robustseg.data.arrays import ArrayDataset
from robustseg.errors import RobustsegError
from robustseg.evaluation.over_batches import (
    EvidenceRow,
    carried_over,
    evaluate_clean,
    on_itself,
    rows_of_dataset,
)
from robustseg.evaluation.resume import FinishedParts

SPEC = AttackSpec("mask_ce", schedule="reduced", iterations=10)
IDENTITY = {"dataset": "noise", "model": "target", "training_seed": 0, "suite": "transfer"}
SETTINGS = {"eps_255": 8.0, "seed": 3, "identity": IDENTITY}


def model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))


def labelled(teacher: nn.Module, count: int = 3) -> ArrayDataset:
    """Noise with the teacher's predictions as labels, some of them ignored."""
    images = np.random.default_rng(0).integers(0, 256, (count, 9, 9, 3), dtype=np.uint8)
    batch = torch.from_numpy(images.transpose(0, 3, 1, 2)).float() / 255
    with torch.no_grad():
        labels = teacher(batch).argmax(1).numpy().astype(np.uint8)
    labels[:, 0] = 255
    names = [f"image{i}" for i in range(count)]
    return ArrayDataset(images, labels, names, ["a", "b", "c"], [(0, 0, 0)] * 3)


def transfer(
    source: nn.Module, target: nn.Module, dataset: ArrayDataset, name: str = "source", **how: Any
) -> list[EvidenceRow]:
    attack = carried_over(source, target, SPEC, source_name=name, **SETTINGS)
    return rows_of_dataset([attack], target, dataset, **{"batch_size": 2, **how})


def white_box(model: nn.Module, dataset: ArrayDataset) -> list[EvidenceRow]:
    return rows_of_dataset(on_itself(model, [SPEC], **SETTINGS), model, dataset, batch_size=2)


def test_rows_are_counts_of_the_target_at_the_source_s_perturbation() -> None:
    source, target = model(0), model(1)
    dataset = labelled(target)
    rows = transfer(source, target, dataset)
    images, labels, ids = dataset.batch([0, 1, 2])
    found = run_attack(source, images, labels, ids, SPEC, 8.0, 3)
    with torch.no_grad():
        right = (target(found.adversarial).argmax(1) == labels).flatten(1).sum(1)
    assert [row["pixels_correct"] for row in rows] == right.tolist()
    assert [row["image_id"] for row in rows] == ids
    assert [row["pixels"] for row in rows] == [72] * 3
    assert {row["attack"] for row in rows} == {"transfer-source-apgd-mask_ce-reduced-10"}
    assert {row["model"] for row in rows} == {"target"}
    assert [row["forward_passes"] for row in rows] == (found.forward_passes + 1).tolist()
    norms = (found.adversarial - images).abs().flatten(1).amax(1) * 255
    assert [row["linf_255"] for row in rows] == pytest.approx(norms.tolist(), abs=1e-4)


def test_from_a_model_to_itself_is_the_white_box_attack() -> None:
    target = model(1)
    dataset = labelled(target)
    rows = transfer(target, target, dataset, "target")
    named = "transfer-target-" + SPEC.name
    assert rows == [{**row, "attack": named} for row in white_box(target, dataset)]


def test_white_box_is_stronger_and_clean_weaker() -> None:
    source, target = model(0), model(1)
    dataset = labelled(target)
    strong, transferred, clean = (
        sum(row["pixels_correct"] for row in rows)
        for rows in (
            white_box(target, dataset),
            transfer(source, target, dataset),
            evaluate_clean(target, dataset, batch_size=2, identity=IDENTITY),
        )
    )
    assert strong < transferred < clean


def test_a_shard_gives_the_rows_of_the_whole() -> None:
    source, target = model(0), model(1)
    dataset = labelled(target, count=5)
    whole = transfer(source, target, dataset)
    shard = transfer(source, target, dataset, indices=[4, 1])
    assert shard == [whole[4], whole[1]]


def test_finished_batches_are_not_run_again(tmp_path: Path) -> None:
    source, target = model(0), model(1)
    dataset = labelled(target)

    def run(source: nn.Module) -> list[EvidenceRow]:
        kept = FinishedParts(tmp_path, [target, source], None)
        return transfer(source, target, dataset, kept=kept)

    first = run(source)
    calls: list[int] = []
    for module in (source, target):
        module.register_forward_hook(lambda *_: calls.append(1))
    assert run(source) == first
    batches, passes = 2, 2  # a look at logits and gradients of each batch, by either model
    assert len(calls) == 2 * batches * passes
    assert run(model(2)) != first, "parts of another source were used"


def test_bad_input_is_one_sentence() -> None:
    target = model(1)
    dataset = labelled(target)
    few_classes = nn.Conv2d(3, 2, 1)
    for pair in ((few_classes, target), (target, few_classes)):
        with pytest.raises(RobustsegError, match="which is none of the classes"):
            transfer(*pair, dataset)
