"""Faster passes find the perturbation; the model itself counts."""

import pytest
import torch
from test_run import EPS_255, names, scene
from torch import Tensor, nn

from robustseg.attacks.counting import attack_and_count, count
from robustseg.attacks.fast import Fast, exact
from robustseg.attacks.parts import Parts
from robustseg.attacks.spec import AttackSpec

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
    outcome = attack_and_count(Fast(model, "bf16"), images, labels, names(5), SPEC, EPS_255, 0)
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
        attack_and_count(model, images, labels, names(5), SPEC, EPS_255, 0)
        for model in (Convolution(), Fast(Convolution()))
    )
    assert torch.equal(plain.adversarial, fast.adversarial)
    assert exact(Fast(model := Convolution())) is model
    assert exact(model) is model


def test_compiled_passes_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # torch's own debugging backend: traces the model as every backend does, compiles nothing.
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda m, **o: compile_(m, backend="eager", **o))
    images, labels = scene()
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.GELU())
    plain, compiled = (
        attack_and_count(one, images, labels, names(5), SPEC, EPS_255, 0)
        for one in (model, Fast(model, compiled=True))
    )
    torch.testing.assert_close(compiled.adversarial, plain.adversarial)


def test_parts_of_another_precision_are_not_continued(tmp_path) -> None:
    model = Convolution()
    folders = {
        Parts(tmp_path, Fast(model, precision), ()).context for precision in ("fp32", "bf16")
    }
    assert len(folders) == 2
