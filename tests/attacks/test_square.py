"""The Square attack: known optima, what it may depend on, what it spends, what it never needs."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustseg import evaluate
from robustseg.attacks.run import AttackResult
from robustseg.attacks.spec import SquareSpec
from robustseg.attacks.square import side_px, square
from robustseg.errors import RobustsegError
from robustseg.evidence.reading import read_evidence
from tests.attacks.test_run import names, right_pixels, scene
from tests.attacks.toys import Counting, Pointwise, corners

EPS_255 = 12.0
SPEC = SquareSpec(60, 0.8)


def attack(
    spec: SquareSpec = SPEC, model: nn.Module | None = None, seed: int = 0
) -> tuple[AttackResult, Tensor, Tensor]:
    images, labels = scene()
    found = square(model or Pointwise(), images, labels, names(5), spec, EPS_255, seed)
    return found, images, labels


def sign_model(seed: int) -> tuple[nn.Module, Tensor]:
    """A convolution of 1x1 pixels to two classes, and the difference of their weights (3, 1, 1)."""
    torch.manual_seed(seed)
    model = nn.Conv2d(3, 2, 1).requires_grad_(False)
    return model, model.weight[0] - model.weight[1]


@pytest.mark.parametrize("seed", range(3))
def test_a_linear_model_comes_near_its_optimum(seed: int) -> None:
    """Each pixel's margin is linear in its own values: by its label, one corner is the best."""
    model, difference = sign_model(seed)
    images = torch.rand(3, 3, 8, 10, generator=torch.Generator().manual_seed(seed))
    model.bias[:] = -(model.weight * images.mean((0, 2, 3))[None, :, None, None]).sum((1, 2, 3))
    labels = model(images).argmax(1)
    direction = torch.where(labels[:, None] == 0, -difference, difference).sign()
    best = (images + EPS_255 / 255 * direction).clamp(0, 1)
    least, clean = right_pixels(model, best, labels), right_pixels(model, images, labels)
    found = square(model, images, labels, names(3), SquareSpec(1500, 0.8), EPS_255, 0)
    left = right_pixels(model, found.adversarial, labels)
    assert (left >= least).all()
    assert ((left - least) <= 0.1 * (clean - least)).all()
    assert (clean - least > 5).all()


def test_a_single_pixel_is_solved() -> None:
    """Of one pixel there are eight corners, and each is soon tried."""
    images, labels = scene(images=4, size=(1, 1), seed=3)
    labels = Pointwise()(images).argmax(1)
    found = square(Pointwise(), images, labels, names(4), SquareSpec(100, 0.8), 60.0, 0)
    for image, label, left in zip(
        images, labels, right_pixels(Pointwise(), found.adversarial, labels), strict=True
    ):
        tried = [*corners(image, 60 / 255), image]
        least = min(int(Pointwise()(one[None]).argmax(1) == label) for one in tried)
        assert int(left) == least


@pytest.mark.parametrize("size", [(6, 7), (9, 4)])
@pytest.mark.parametrize("p_init", [0.05, 0.8, 8])
def test_it_is_feasible_and_hurts(p_init: float, size: tuple[int, int]) -> None:
    images, labels = scene(size=size)
    spec = SquareSpec(80, p_init)
    found = square(Pointwise(), images, labels, names(5), spec, EPS_255, 0).adversarial
    assert (found - images).abs().max() <= EPS_255 / 255 + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    before, after = (right_pixels(Pointwise(), one, labels) for one in (images, found))
    assert (after <= before).all()
    assert after.sum() < before.sum()


def test_images_of_one_channel_and_of_float64() -> None:
    images = torch.rand(2, 1, 5, 9, dtype=torch.float64)

    def model(x: Tensor) -> Tensor:
        return torch.cat((x, 1 - x), dim=1)

    labels = model(images).argmax(1)
    found = square(model, images, labels, names(2), SquareSpec(200, 0.8), 60.0, 0).adversarial
    assert found.dtype == torch.float64
    # One channel: the best of all corners is to go towards the other class everywhere.
    best = (images + 60 / 255 * torch.where(labels[:, None] == 0, -1, 1)).clamp(0, 1)
    least, clean, left = (
        int((model(one).argmax(1) == labels).sum()) for one in (best, images, found)
    )
    assert least <= left < clean


def test_fewer_pixels_are_right_with_more_queries() -> None:
    left = [
        sum(
            right_pixels(Pointwise(), found.adversarial, labels).sum().item()
            for seed in range(3)
            for found, _, labels in [attack(SquareSpec(queries, 0.8), seed=seed)]
        )
        for queries in (1, 10, 100, 1000)
    ]
    assert all(more > fewer for more, fewer in pairwise(left)), left


@pytest.mark.parametrize("size", [(6, 7), (8, 8), (5, 5)])
def test_an_image_does_not_depend_on_its_batch(size: tuple[int, int]) -> None:
    """To the bit: alone, in any order, next to others, and whether or not those are done early."""
    images, labels = scene(size=size)
    labels[3] = -1
    labels[3, 1, 2] = Pointwise()(images)[3, :, 1, 2].argmax()  # the only pixel, and soon wrong
    ids, model, eps_255 = names(5), Pointwise(), 60.0
    together = square(model, images, labels, ids, SPEC, eps_255, 0)
    order = [4, 2, 0, 3, 1]
    ids_too = [ids[i] for i in order]
    shuffled = square(model, images[order], labels[order], ids_too, SPEC, eps_255, 0)
    assert torch.equal(shuffled.adversarial, together.adversarial[order])
    assert together.forward_passes[3] < SPEC.iterations
    for i in range(5):
        one = slice(i, i + 1)
        alone = square(model, images[one], labels[one], ids[one], SPEC, eps_255, 0)
        assert torch.equal(alone.adversarial, together.adversarial[one])
        assert torch.equal(alone.forward_passes, together.forward_passes[one])


def test_seeds_decide_and_repeat() -> None:
    first, again, other = (attack(seed=seed)[0].adversarial for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_ignored_pixels_do_not_matter() -> None:
    images, labels = scene()
    ignored = (labels == -1)[:, None]

    def other(x: Tensor) -> Tensor:
        logits = Pointwise()(x)
        return torch.where(ignored, logits.flip(1), logits)

    first, again = (
        square(model, images, labels, names(5), SquareSpec(30, 0.8), 4.0, 0)
        for model in (Pointwise(), other)
    )
    assert ignored.any()
    assert (first.forward_passes == 30).all()  # the whole batch, so that `ignored` fits
    assert torch.equal(first.adversarial, again.adversarial)


def test_queries_are_forward_passes_and_none_is_backward() -> None:
    model = Counting(Pointwise())
    found, _, _ = attack(model=model)
    assert model.forward_images == found.forward_passes.sum()
    assert model.backward_images == found.backward_passes.sum() == 0
    assert found.forward_passes.max() == SPEC.iterations


def test_an_image_without_a_right_pixel_costs_one_query() -> None:
    images, labels = scene()
    labels = (Pointwise()(images).argmax(1) + 1) % 4
    found = square(Pointwise(), images, labels, names(5), SPEC, EPS_255, 0)
    assert found.forward_passes.tolist() == [1] * 5
    assert torch.equal(found.adversarial, images)


def test_squares_shrink_by_the_schedule_of_the_paper() -> None:
    """p is halved after 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 of 10,000 queries."""
    spec = SquareSpec(10_000, 0.8)

    def sides(*queries: int) -> list[int]:
        return [side_px(query, spec, 100, 100) for query in queries]

    assert sides(0, 10, 11, 50, 51, 200, 201) == [89, 89, 63, 63, 45, 45, 32]
    assert sides(1001, 8000, 8001, 9999) == [round(100 * math.sqrt(0.8 / 32)), 6, 4, 4]
    # The same shares of another budget; a side fits, and is a pixel at least.
    assert [side_px(q, SquareSpec(1000, 0.8), 100, 100) for q in (1, 2, 800, 801)] == [89, 63, 6, 4]
    assert side_px(0, SquareSpec(10, 8), 20, 50) == 20
    assert side_px(9, SquareSpec(10, 1e-4), 20, 50) == 1


def test_no_query_is_spent_on_the_same_image() -> None:
    """By one pattern of signs in eight, a square at a corner would change nothing."""
    images, _ = scene(images=2)
    seen = []

    def model(x: Tensor) -> Tensor:
        seen.append(x[:1].clone())
        return torch.eye(4)[0].view(1, 4, 1, 1).expand(len(x), 4, 6, 7)  # every proposal is taken

    labels = torch.zeros(2, 6, 7, dtype=torch.int64)
    square(model, images, labels, names(2), SquareSpec(200, 8), EPS_255, 0)
    assert len(seen) == 200
    assert not any(torch.equal(one, other) for one, other in pairwise(seen))


@pytest.mark.parametrize(("queries", "p_init"), [(0, 0.8), (5, 0), (5, math.nan), (5, "a")])
def test_what_is_no_attack_is_a_sentence(queries: int, p_init: float) -> None:
    with pytest.raises(RobustsegError, match="needs a query or more and a p_init above 0; got"):
        SquareSpec(queries, p_init)


def test_wrong_input_is_refused() -> None:
    images, labels = scene()
    with pytest.raises(RobustsegError, match="image image1 has the label 9"):
        square(Pointwise(), images, labels.index_fill(0, torch.tensor(1), 9), names(5), SPEC, 4, 0)
    with pytest.raises(RobustsegError, match="eps_255 must be between 0 and 255"):
        square(Pointwise(), images, labels, names(5), SPEC, 256, 0)


@pytest.mark.parametrize("kind", ["detached", "NumPy", "refuses"])
def test_a_model_without_gradients_is_evaluated(kind: str, tmp_path: Path) -> None:
    images, labels = scene(size=(8, 9))

    def model(x: Tensor) -> Tensor:
        if kind == "refuses" and (torch.is_grad_enabled() or x.requires_grad):
            raise AssertionError("a gradient was asked for")
        logits = Pointwise()(x.detach()).float()
        return torch.from_numpy(np.asarray(logits)) if kind == "NumPy" else logits

    pairs = list(zip(images, torch.where(labels == -1, 255, labels), strict=True))
    suites = {"blackbox": {"kind": "square", "iterations": 40, "p_init": 0.8}}
    settings = {"suites": suites, "num_classes": 4, "progress": False, "folder": tmp_path}
    result = evaluate(model, pairs, EPS_255, **settings)
    assert result.robust[EPS_255].acc < result.clean.acc
    frame = read_evidence(tmp_path.rglob("*.parquet"))
    attacked = frame[frame["suite"] == "blackbox"]
    assert set(attacked["attack"]) == {"square-right_pixels-0.8-40"}
    assert set(attacked["loss"]) == {"right_pixels"}
    assert set(attacked["backward_passes"]) == {0}
    assert attacked["forward_passes"].max() == 41  # the one that counts included
    assert not result.warnings
    says = "a gradient was asked for" if kind == "refuses" else "suite blackbox, which needs none"
    with pytest.raises(RobustsegError, match=says):
        evaluate(model, pairs, EPS_255, iterations=3, num_classes=4, progress=False)
