"""ALMA prox against independent solvers, and on linear models whose optimum is known."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch import Tensor

from robustseg.attacks.alma_prox import (
    DEFAULT_THRESHOLD,
    AlmaSettings,
    _decay,
    alma_prox,
    penalty_slope,
    prox_linf,
    relative_margin,
)
from robustseg.data.arrays import ArrayDataset
from robustseg.errors import RobustsegError
from robustseg.evaluation.over_batches import minimal_norm, rows_of_dataset
from robustseg.evidence.writing import write_evidence

# Corners of a tetrahedron: any two rows differ by the same l1 norm, so that the class of the second
# largest logit, which ALMA prox goes for, is the nearest in l_inf.
CODES = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


def linear_model(images: Tensor) -> Tensor:
    return torch.einsum("kc,bchw->bkhw", CODES, images - 0.5)


def scene(seed: int, spread: float, size: int = 20, batch: int = 2) -> tuple[Tensor, Tensor]:
    """Images around grey, where all logits of `linear_model` tie, and their clean predictions."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.5 + spread * torch.randn(batch, 3, size, size, generator=generator)
    return images.clamp(0, 1), linear_model(images.clamp(0, 1)).argmax(1)


def optimum(images: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Pixels of a linear model without context are independent: what enough of them need.

    With norm r, class k gains sum_c |gap_c| min(r, room_c) on the label, room_c to the edge of the
    box: bisect for the r at which some class draws level.
    """
    images, codes = images.double(), CODES.double()
    low, high = torch.zeros(labels.shape).double(), torch.ones(labels.shape).double()
    for _ in range(50):
        r, level = (low + high) / 2, torch.zeros(labels.shape, dtype=torch.bool)
        for code in codes:
            gap = (code - codes[labels]).permute(0, 3, 1, 2)
            room = torch.where(gap > 0, 1 - images, images)
            gain = (gap.abs() * torch.minimum(r[:, None], room)).sum(1)
            level |= (gap != 0).any(1) & ((gap * (images - 0.5)).sum(1) + gain >= 0)
        low, high = torch.where(level, low, r), torch.where(level, r, high)
    each = high.flatten(1).sort(1).values
    return each[:, math.ceil(threshold * each.shape[1] - 1e-6) - 1]


def wrong_share(images: Tensor, labels: Tensor) -> Tensor:
    counted = labels != -1
    wrong = (linear_model(images).argmax(1) != labels) & counted
    return wrong.flatten(1).sum(1) / counted.flatten(1).sum(1)


@pytest.mark.parametrize("exact_slope", [False, True])
@pytest.mark.parametrize(("threshold", "spread"), [(0.9, 0.02), (0.99, 0.02), (0.99, 0.05)])
def test_norm_on_a_linear_model_is_near_the_optimum(
    threshold: float, spread: float, exact_slope: bool
) -> None:
    images, labels = scene(1, spread)
    found = alma_prox(
        linear_model,
        images,
        labels,
        threshold=threshold,
        settings=AlmaSettings(exact_slope=exact_slope),
    )
    ratio = found.linf / optimum(images, labels, threshold)
    assert (ratio >= 1 - 1e-4).all(), "smaller than the optimum: not measured on what is returned"
    assert (ratio <= 1.25).all()


def test_norms_are_those_of_its_authors() -> None:
    """What `alma_prox` of their adversarial-library 0.2.8 finds on the same images."""
    images, labels = scene(11, 0.02)
    found = alma_prox(linear_model, images, labels, threshold=0.8)
    assert found.linf.tolist() == pytest.approx([0.012103, 0.012950], rel=0.02)


def test_result_is_what_it_says() -> None:
    images, labels = scene(2, 0.03)
    images[0, :, :4] = 0.999  # at the edge of [0, 1]
    labels[1, 5:8] = -1
    labels[1, 12, 3] = (labels[1, 12, 3] + 1) % 4  # misclassified from the start
    found = alma_prox(linear_model, images, labels, threshold=0.9)
    assert found.found.all()
    assert found.adversarial.min() >= 0
    assert found.adversarial.max() <= 1
    norm = (found.adversarial.double() - images.double()).abs().flatten(1).amax(1)
    assert torch.equal(found.linf, norm)
    assert (wrong_share(found.adversarial, labels) >= 0.9).all()
    torch.testing.assert_close(wrong_share(found.adversarial, labels).double(), found.share)
    assert found.forward_passes.tolist() == [500, 500]
    assert found.backward_passes.tolist() == [499, 499]


def test_smallest_success_is_kept_and_never_a_failure() -> None:
    """The model records what it is shown: the answer must be the best of exactly that."""
    images, labels = scene(3, 0.01)
    shown: list[Tensor] = []

    def recording_model(batch: Tensor) -> Tensor:
        shown.append(batch.detach().clone())
        return linear_model(batch)

    found = alma_prox(recording_model, images, labels, threshold=0.8, steps=150)
    for i in range(len(images)):
        success = [x[i] for x in shown if wrong_share(x[i : i + 1], labels[i : i + 1]) >= 0.8]
        assert 0 < len(success) < len(shown), "the case must have successes and failures"
        norms = [(x.double() - images[i].double()).abs().max().item() for x in success]
        assert found.linf[i].item() == min(norms)
        assert any(torch.equal(found.adversarial[i], x) for x in success)


def test_nothing_found_is_inf_and_the_clean_image() -> None:
    images, labels = scene(4, 0.03)
    found = alma_prox(linear_model, images, labels, steps=5)
    assert found.linf.tolist() == [math.inf, math.inf]
    assert not found.found.any()
    assert torch.equal(found.adversarial, images)
    assert found.share.tolist() == [0, 0]


def test_model_that_cannot_be_fooled_stays_finite() -> None:
    """Penalties grow by 16^30, past what a float32 can square."""
    images, labels = scene(5, 0.1, size=6)
    wall = 10 * torch.nn.functional.one_hot(labels, 4).permute(0, 3, 1, 2).float()
    shown = []

    def wall_model(batch: Tensor) -> Tensor:
        shown.append(batch.detach().isfinite().all().item())
        return linear_model(batch) + wall

    fast_growth = AlmaSettings(gamma=16.0)
    found = alma_prox(wall_model, images, labels, steps=300, settings=fast_growth)
    assert all(shown)
    assert found.linf.isinf().all()


def test_misclassified_from_the_start_needs_no_perturbation() -> None:
    images, labels = scene(6, 0.03)
    found = alma_prox(linear_model, images, (labels + 1) % 4, steps=20)
    assert found.linf.tolist() == [0, 0]
    assert torch.equal(found.adversarial, images)


def test_ignored_pixels_are_not_attacked() -> None:
    """The hardest pixels are ignored: neither their label nor their content costs anything."""
    images, labels = scene(7, 0.01)
    labels[:, :10] = -1
    hard = images.clone()
    hard[:, :, :10] = 1.0
    easy, same = (
        alma_prox(linear_model, x, labels, threshold=0.9, steps=300) for x in (images, hard)
    )
    assert easy.found.all()
    assert torch.equal(easy.linf, same.linf)
    assert torch.equal(same.adversarial[:, :, :10], hard[:, :, :10])


def test_result_does_not_depend_on_the_batch() -> None:
    """Neighbours that are easy, hard and partly ignored: each has its own steps and scale."""
    images = torch.cat([scene(8, spread, batch=1)[0] for spread in (0.003, 0.01, 0.03)])
    labels = linear_model(images).argmax(1)
    labels[1, :3] = -1
    together = alma_prox(linear_model, images, labels, threshold=0.9, steps=200)
    assert together.found[:2].all()
    for i in range(3):
        one = slice(i, i + 1)
        alone = alma_prox(linear_model, images[one], labels[one], threshold=0.9, steps=200)
        torch.testing.assert_close(alone.linf, together.linf[one], rtol=0, atol=1e-6)
        torch.testing.assert_close(alone.adversarial, together.adversarial[one], rtol=0, atol=1e-6)


def test_norm_grows_with_the_threshold() -> None:
    images, labels = scene(9, 0.01)
    norms = [
        alma_prox(linear_model, images, labels, threshold=threshold, steps=300).linf
        for threshold in (0.25, 0.5, 0.9, 1.0)
    ]
    for less, more in pairwise(norms):
        assert (less < more).all()


def prox_objective(r: float, delta: Tensor, step: float, metric: Tensor, box: Tensor) -> float:
    p = delta.clamp(box - 1, box).clamp(-r, r)
    return step * r + 0.5 * float((metric * (p - delta) ** 2).sum())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), step=st.floats(0, 3), scale=st.sampled_from([0.01, 0.3, 2.0]))
def test_prox_matches_an_independent_solver(seed: int, step: float, scale: float) -> None:
    """Golden-section search over the norm, and no perturbation of the answer is better."""
    generator = torch.Generator().manual_seed(seed)
    delta = scale * torch.randn(3, 7, generator=generator, dtype=torch.float64)
    metric = 0.01 + torch.rand(3, 7, generator=generator, dtype=torch.float64) * 3
    box = torch.rand(3, 7, generator=generator, dtype=torch.float64)
    p = prox_linf(
        delta[None], torch.tensor([step]).double(), metric[None], box[None] - 1, box[None]
    )
    assert (p >= box - 1 - 1e-12).all()
    assert (p <= box + 1e-12).all()

    def value(q: Tensor) -> float:
        return step * float(q.abs().max()) + 0.5 * float((metric * (q - delta) ** 2).sum())

    solved = minimize_scalar(
        prox_objective,
        args=(delta, step, metric, box),
        bounds=(0, 3),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert value(p[0]) <= solved.fun + 1e-7
    for _ in range(20):
        near = p[0] + 0.02 * scale * torch.randn(3, 7, generator=generator, dtype=torch.float64)
        assert value(p[0]) <= value(near.clamp(box - 1, box)) + 1e-9


def test_prox_of_each_image_is_its_own() -> None:
    delta = torch.tensor([[0.5, 0.1], [0.5, 0.1]]).double()
    one = torch.ones_like(delta)
    p = prox_linf(delta, torch.tensor([0.2, 0.5]).double(), one, -one, one)
    # r = 0.5 - 0.2 in the first; in the second all of 0.5 + 0.1 - 2 r = 0.5.
    torch.testing.assert_close(p, torch.tensor([[0.3, 0.1], [0.05, 0.05]]).double())


@pytest.mark.parametrize(("rho", "mu"), [(0.01, 1.0), (4.0, 0.3)])
def test_slope_is_the_derivative_of_the_penalty(rho: float, mu: float) -> None:
    c = torch.tensor([-2.0, -0.1, 0.2, 1.5], dtype=torch.float64)

    def penalty(x: Tensor) -> Tensor:
        violated = mu * x + mu * rho * x**2 + rho**2 * x**3 / 6
        return torch.where(x >= 0, violated, mu * x / (1 - max(rho, 1) * x))

    step = 1e-6
    slope = (penalty(c + step) - penalty(c - step)) / (2 * step)
    r, m = torch.tensor(rho).double(), torch.tensor(mu).double()
    torch.testing.assert_close(penalty_slope(c, r, m, exact=True), slope, rtol=1e-6, atol=1e-6)
    released = slope + torch.where(c >= 0, mu * (c - 1), 0)
    torch.testing.assert_close(penalty_slope(c, r, m, exact=False), released, rtol=1e-6, atol=1e-6)


def test_step_decays_from_the_first_success_to_its_last_value() -> None:
    first = torch.tensor([100, 250])
    factors = torch.stack([_decay(t, first, 500, 0.1) for t in (0, 100, 250, 499, 500)])
    torch.testing.assert_close(factors[:2], torch.ones(2, 2).double())
    torch.testing.assert_close(factors[4], torch.full((2,), 0.1).double())
    assert factors[2, 0] < factors[2, 1] == 1
    assert (factors[3] > factors[4]).all()


def test_margin_by_hand() -> None:
    logits = torch.tensor([5.0, 3.0, 1.0, 0.0]).view(1, 4, 1, 1)
    margins = [
        relative_margin(logits, torch.tensor([[[[label]]]]), 0.0).item() for label in range(4)
    ]
    assert margins == pytest.approx([2 / 4, -2 / 4, -4 / 4, -5 / 4])


def test_an_image_with_ignored_pixels_alone_stays_as_it_is() -> None:
    images, labels = scene(0, 0.03)
    alone = alma_prox(linear_model, images[:1], labels[:1], steps=20)
    labels[1] = -1
    both = alma_prox(linear_model, images, labels, steps=20)
    assert torch.equal(both.adversarial[1], images[1])
    assert both.linf[1] == 0
    assert both.share[1].isnan()
    assert torch.equal(both.adversarial[:1], alone.adversarial)


def test_bad_input_is_one_sentence() -> None:
    images, labels = scene(0, 0.03)
    with pytest.raises(RobustsegError, match="threshold in"):
        alma_prox(linear_model, images, labels, threshold=1.5)
    with pytest.raises(RobustsegError, match="3 classes"):
        alma_prox(lambda x: linear_model(x)[:, :2], images, labels.clamp(max=1))
    with pytest.raises(RobustsegError, match="carry no gradient"):
        alma_prox(lambda x: linear_model(x).detach(), images, labels)


def test_rows_are_evidence_and_say_what_is_flipped(tmp_path: Path) -> None:
    """One image is flipped with a small norm; the other, behind a wall, at no radius."""
    images, labels = scene(10, 0.01, size=8)
    images[1, 0, 0, 0] = 1.0  # the sign by which the model knows the image of the wall
    pixels = (images * 255).round().to(torch.uint8)
    images = pixels.float() / 255
    labels = linear_model(images).argmax(1)
    wall = 40 * torch.nn.functional.one_hot(labels[1], 4).permute(2, 0, 1)

    def model(batch: Tensor) -> Tensor:
        return linear_model(batch) + wall * (batch[:, :1, :1, :1] > 0.9)

    dataset = ArrayDataset(
        pixels.permute(0, 2, 3, 1).numpy(),
        labels.to(torch.uint8).numpy(),
        ["easy", "hard"],
        list("abcd"),
        [(0, 0, 0)] * 4,
    )
    identity = {"dataset": "grey", "model": "linear", "training_seed": 0, "suite": "alma"}
    attack = minimal_norm(model, DEFAULT_THRESHOLD, 300, identity=identity)
    rows = rows_of_dataset([attack], model, dataset, batch_size=2)
    write_evidence(tmp_path / "rows.parquet", rows, {})
    easy, hard = rows
    found = alma_prox(model, images, labels, steps=300)
    assert found.found.tolist() == [True, False]
    assert easy["pixels_correct"] <= 0.01 * easy["pixels"]
    assert easy["linf_255"] == pytest.approx(found.linf[0].item() * 255)
    assert (hard["pixels_correct"], hard["linf_255"]) == (hard["pixels"], 0)
    assert {row["attack"] for row in rows} == {"alma_prox-0.99-300"}
    assert [row["forward_passes"] for row in rows] == [301, 301]
