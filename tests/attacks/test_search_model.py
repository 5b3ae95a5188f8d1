"""Faster passes find the perturbation; the model itself counts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attack_model import write_attack_evidence
from torch import Tensor, nn

from robustseg.attacks.outcomes import attack_and_count, count
from robustseg.attacks.search_model import SearchModel, exact
from robustseg.attacks.spec import AttackSpec
from robustseg.data.arrays import ArrayDataset, save_split
from robustseg.evaluation.resume import FinishedParts
from robustseg.evidence.reading import read_evidence, read_provenance
from robustseg.models.build import build_segmentation_model
from robustseg.models.checkpoints import save_weights
from robustseg.models.interpolation import pool, resize
from robustseg.progress import Progress
from tests.attacks.test_run import EPS_255, names, scene

SPEC = AttackSpec("mask_ce", "apgd", "constant", 8)


class Convolution(nn.Module):
    """A layer that autocast computes in bfloat16; notes the dtype of its output."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 4, 3, padding=1)
        self.seen: list[torch.dtype] = []

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images)
        self.seen.append(logits.dtype)
        return logits


def test_the_search_is_in_bf16_and_the_count_is_not() -> None:
    images, labels = scene()
    model = Convolution()
    outcome = attack_and_count(
        SearchModel(model, "bf16"), SPEC, EPS_255, 0, (images, labels, names(5))
    )
    *search, counted = model.seen
    assert len(search) == SPEC.iterations + 1
    assert set(search) == {torch.bfloat16}
    assert counted == torch.float32
    expected = count(Convolution(), outcome.adversarial, labels, names(5))
    assert (outcome.counts.pixels_correct == expected.pixels_correct).all()
    assert (outcome.linf_255 <= EPS_255 + 1e-3).all()


def test_by_default_nothing_changes() -> None:
    images, labels = scene()
    plain, fast = (
        attack_and_count(model, SPEC, EPS_255, 0, (images, labels, names(5)))
        for model in (Convolution(), SearchModel(Convolution()))
    )
    assert torch.equal(plain.adversarial, fast.adversarial)
    assert exact(SearchModel(model := Convolution())) is model
    assert exact(model) is model


def test_compiled_passes_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # torch's own debugging backend: traces the model as every backend does, compiles nothing.
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda m, **o: compile_(m, backend="eager", **o))
    images, labels = scene()
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.GELU())
    plain, compiled = (
        attack_and_count(one, SPEC, EPS_255, 0, (images, labels, names(5)))
        for one in (model, SearchModel(model, compiled=True))
    )
    torch.testing.assert_close(compiled.adversarial, plain.adversarial)


class Resized(nn.Module):
    """What decoders do besides layers: pooled and brought back to the images' size."""

    def forward(self, images: Tensor) -> Tensor:
        size = (images.shape[2], images.shape[3])
        return resize(pool(images, 2), size) + resize(images[:, :, ::2, ::2], size)


def test_compilation_knows_matrices_and_that_images_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda m, **o: compile_(m, backend=keep, **o))
    torch.compiler.reset()
    model = Resized()
    compiled = SearchModel(model, compiled=True)
    # A second size of image must not make all sizes unknown, of which there are no matrices.
    for images in (torch.rand(b, 3, h, 9) for b, h in ((5, 8), (4, 8), (2, 8), (5, 12), (3, 12))):
        images.requires_grad_()
        assert torch.equal(compiled(images), model(images))
    assert len(graphs) == 2
    operations = [str(node.target) for graph in graphs for node in graph.graph.nodes]
    assert any("matmul" in operation for operation in operations)
    made = ("eye", "interpolate", "pool", "to")
    assert not [one for one in operations if one.split(".")[-1].split(" ")[-1] in made]


def test_parts_of_another_precision_are_not_continued(tmp_path: Path) -> None:
    model = Convolution()
    folders = {
        FinishedParts(tmp_path, [SearchModel(model, precision)], ()).settings
        for precision in ("fp32", "bf16")
    }
    assert len(folders) == 2


def test_evidence_says_which_passes_found_it(tmp_path: Path) -> None:
    weights, val, evidence = (tmp_path / name for name in ("w.safetensors", "val.npz", "e.parquet"))
    model = build_segmentation_model("convnext_demo", "upernet_demo", 2)
    save_weights(weights, model, {"architecture": model.architecture})
    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    labels = np.ones((2, 32, 32), np.uint8)
    save_split(val, ArrayDataset(pixels, labels, ["a", "b"], ["x", "y"], [(0, 0, 0), (1, 1, 1)]))
    suite = {"kind": "white_box", "losses": ["ce"], "optimizer": "apgd", "schedules": ["constant"]}
    write_attack_evidence(
        str(weights),
        str(val),
        str(evidence),
        own=None,
        suite={**suite, "iterations": [1], "step_size": None},
        sources={},
        class_pixels=None,
        radii_255=[4],
        seed=0,
        shard=(0, 1, 1),
        identity={"dataset": "d", "model": "m", "training_seed": 0, "suite": "s"},
        config_hash="h",
        batch_size=2,
        precision="bf16",
        compiled=False,
        device="cpu",
        progress=Progress("test"),
    )
    assert read_provenance(evidence)["precision"] == "bfloat16"
    assert len(read_evidence([evidence])) == 2
