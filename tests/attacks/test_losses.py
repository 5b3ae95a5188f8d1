"""Closed forms against autograd of the paper's definitions, Appendix A, and slow loops."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from robustseg.attacks.logits import Labels
from robustseg.attacks.losses import LOSSES, PAPER_LOSSES, SEA_LOSSES, Moment
from robustseg.attacks.pixel_losses import loss_and_gradient
from robustseg.data.interface import IGNORE_LABEL
from robustseg.plan.memory import LiveMemory


@pytest.fixture(params=["swept", "torch", "device"])
def passes_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have float32 passes done by compiled sweeps, by torch, or as on a device that is no CPU."""
    swept_values = 1 if request.param == "swept" else 2**40
    monkeypatch.setattr("robustseg.attacks.logit_sums.SWEPT_VALUES", swept_values)
    if request.param == "device":
        monkeypatch.setattr("robustseg.attacks.logits.has_values_at_hand", lambda logits: False)


def closed_form(
    name: str, logits: Tensor, labels: Tensor, progress: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    gradient = logits.clone()
    prepared = Labels.of(labels, logits.dtype, class_pixels(logits.shape[1]))
    objective, correct = loss_and_gradient(name, gradient, prepared, Moment(progress))
    return objective, correct, gradient


def class_pixels(classes: int) -> list[int]:
    """One class without a pixel, the others with 100, 107, ..."""
    return [100 + 7 * k if k != 1 else 0 for k in range(classes)]


def weight_of(k: int) -> float:
    """N_min / N_k, as class_pixels has them."""
    return 1.0 if k == 1 else 100 / (100 + 7 * k)


def strongest_other(u: Tensor, y: int) -> int:
    return max((k for k in range(len(u)) if k != y), key=lambda k: u[k].item())


def cross_entropy(u: Tensor, y: int) -> Tensor:
    return -torch.log(torch.softmax(u, 0)[y])


def right(u: Tensor, y: int) -> bool:
    return bool(u.argmax() == y)


def one_hot(u: Tensor, y: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(y), len(u)).to(u)


def cosine(u: Tensor, y: int) -> Tensor:
    return torch.nn.functional.cosine_similarity(torch.sigmoid(u), one_hot(u, y), dim=0)


def jensen_shannon(u: Tensor, y: int) -> Tensor:
    p, q = torch.softmax(u, 0), one_hot(u, y)
    m = (p + q) / 2
    return ((p * (p / m).log()).sum() + (q * (q.clamp(min=1e-300) / m).log()).sum()) / 2


def spherical(u: Tensor, y: int) -> Tensor:
    return -u[y] / u.norm()


Definition = Callable[[Tensor, int, float], Tensor]

GRADIENT_OF: dict[str, Definition] = {
    "ce": lambda u, y, lam: cross_entropy(u, y),
    "bal_ce": lambda u, y, lam: ((1 - lam) if right(u, y) else lam) * cross_entropy(u, y),
    "cossim_ce": lambda u, y, lam: cosine(u, y).detach() * cross_entropy(u, y),
    "js": lambda u, y, lam: jensen_shannon(u, y),
    "mask_ce": lambda u, y, lam: right(u, y) * cross_entropy(u, y),
    "mask_sph": lambda u, y, lam: right(u, y) * spherical(u, y),
    "tsallis": lambda u, y, lam: (
        (-cross_entropy(u, y).detach()).exp() ** (1 - (-2 + 3 * 2 * lam)) * cross_entropy(u, y)
    ),
    "mask_ce_balanced": lambda u, y, lam: right(u, y) * weight_of(y) * cross_entropy(u, y),
    "wide_mask_ce": lambda u, y, lam: (u[y] - u[strongest_other(u, y)] > -1) * cross_entropy(u, y),
    "miou_ce": lambda u, y, lam: (
        right(u, y) * (weight_of(y) + weight_of(strongest_other(u, y))) * cross_entropy(u, y)
    ),
}
"""For one pixel, word by word (the paper's: Sec. 2.2); what is treated as constant is detached."""

OF_NEIGHBOURS = {"smooth_ce", "object_mask_ce"}
"""Losses in which pixels are not alone, tested below."""

OBJECTIVE: dict[str, Callable[[Tensor, int], Tensor]] = {
    **dict.fromkeys(("ce", "bal_ce", "cossim_ce", "mask_ce"), cross_entropy),
    **dict.fromkeys(("tsallis", "mask_ce_balanced", "miou_ce", "wide_mask_ce"), cross_entropy),
    "js": jensen_shannon,
    "mask_sph": spherical,
}
"""What an optimizer compares: no masks and no weights in front of CE."""


def definitions_of(name: str) -> tuple[Definition, Callable[[Tensor, int], Tensor]]:
    """Return what a loss's gradient and objective are, or say what a new loss has not got here."""
    tables = {"GRADIENT_OF": GRADIENT_OF, "OBJECTIVE": OBJECTIVE}
    missing = [what for what, definitions in tables.items() if name not in definitions]
    if missing:
        pytest.fail(
            f"{name} has no definition here: add to {' and '.join(missing)} in "
            "tests/attacks/test_losses.py what it is for one pixel with logits u (K,) and label y, "
            "written down anew from its source, so that its closed form is compared with autograd",
            pytrace=False,
        )
    return GRADIENT_OF[name], OBJECTIVE[name]


def test_a_loss_is_named_as_it_is_registered() -> None:
    assert all(name == loss.name for name, loss in LOSSES.items())
    assert len({loss.label for loss in LOSSES.values()}) == len(LOSSES)
    assert set(SEA_LOSSES) <= set(PAPER_LOSSES) <= set(LOSSES)


def random_case(classes: int, seed: int = 0, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(3, classes, 4, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (3, 4, 5), generator=generator)
    labels[:, :2] = logits.argmax(1)[:, :2]
    labels[1, 0] = labels[2, :, 1] = IGNORE_LABEL
    return logits, labels


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("classes", [2, 5, 21, 40])
@pytest.mark.parametrize("name", sorted(set(LOSSES) - OF_NEIGHBOURS))
def test_gradient_and_objective_equal_autograd_of_the_definition(
    name: str, classes: int, layout: torch.memory_format
) -> None:
    gradient_of, objective_of = definitions_of(name)
    logits, labels = random_case(classes)
    lam = 0.3
    objective, correct, gradient = closed_form(
        name, logits.contiguous(memory_format=layout), labels, 2 * lam
    )
    expected_gradient = torch.zeros_like(logits)
    expected_objective = torch.zeros(3, dtype=torch.float64)
    expected_correct = [0, 0, 0]
    for image, row, column in (labels != IGNORE_LABEL).nonzero().tolist():
        u = logits[image, :, row, column].clone().requires_grad_()
        y = int(labels[image, row, column])
        (pixel_gradient,) = torch.autograd.grad(gradient_of(u, y, lam), u)
        expected_gradient[image, :, row, column] = pixel_gradient
        expected_objective[image] += objective_of(u.detach(), y)
        expected_correct[image] += int(u.argmax() == y)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(objective, expected_objective, rtol=1e-9, atol=1e-12)
    assert correct.tolist() == expected_correct


@pytest.mark.usefixtures("passes_by")
@pytest.mark.parametrize("name", LOSSES)
def test_float32_agrees_with_float64(name: str) -> None:
    logits, labels = random_case(21, scale=8.0)
    objective, _, gradient = closed_form(name, logits, labels, 0.2)
    objective32, _, gradient32 = closed_form(name, logits.float(), labels, 0.2)
    torch.testing.assert_close(gradient32.double(), gradient, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(objective32, objective, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("passes_by")
@pytest.mark.parametrize("scale", [1e4, 1e-14, 1e-18, 1e-21, 1e-30, 0.0])
@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_give_finite_numbers(name: str, scale: float) -> None:
    logits, labels = random_case(7, scale=1.0)
    for extreme in (logits.sign() * scale, -scale * torch.ones_like(logits), logits * scale):
        for dtype in (torch.float32, torch.float64):
            objective, _, gradient = closed_form(name, extreme.to(dtype), labels, 0.2)
            assert gradient.isfinite().all()
            assert objective.isfinite().all()


@pytest.mark.usefixtures("passes_by")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_probability_exceeds_one(dtype: torch.dtype) -> None:
    """Where the network is certain, all of cross-entropy is in the last bits of p_y."""
    logits = torch.linspace(-34, 34, 5001, dtype=dtype).view(-1, 1, 1, 1).repeat(1, 3, 1, 1)
    logits[:, 1:] -= 40
    labels = torch.zeros(5001, 1, 1, dtype=torch.int64)
    for name in set(PAPER_LOSSES) - {"mask_sph"}:
        objective, _, gradient = closed_form(name, logits, labels, 0.2)
        assert objective.min() >= (-1e-7 if name == "js" else 0)
        assert objective.max() < 1e-6
        assert gradient.abs().max() < 1e-6


@pytest.mark.usefixtures("passes_by")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", LOSSES)
def test_no_value_is_given_for_logits_without_one(
    name: str, value: float, dtype: torch.dtype
) -> None:
    """An attack stops there: label's logit, another, all, and one of an ignored pixel."""
    for place in (slice(0, 1), slice(3, 4), slice(None)):
        for label in (0, IGNORE_LABEL):
            logits = torch.randn(2, 5, 3, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
            logits[0, place, 1, 2] = value
            objective, _, _ = closed_form(name, logits, torch.full((2, 3, 3), label))
            assert objective.isfinite().tolist() == [False, True]


@pytest.mark.usefixtures("passes_by")
def test_cosine_of_very_negative_logits_is_that_of_the_exponentials() -> None:
    """Where sigma(u) underflows, sigma(u_y) / ||sigma(u)|| is still e^u_y / ||e^u||."""
    u = torch.tensor([-500.0, -501.0, -503.0])
    labels = torch.ones(1, 1, 1, dtype=torch.int64)
    _, _, gradient = closed_form("cossim_ce", u.view(1, 3, 1, 1), labels)
    e = (u.double() + 500).exp()
    weight = e[1] / e.norm()
    expected = weight * (torch.softmax(u.double(), 0) - torch.tensor([0.0, 1.0, 0.0]))
    torch.testing.assert_close(gradient.flatten().double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 60.0])
@pytest.mark.parametrize("name", LOSSES)
def test_a_device_that_is_not_asked_gives_the_same_bits(
    name: str, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU looks whether logits are usual, and saves passes; elsewhere, that would be waiting."""
    generator = torch.Generator().manual_seed(3)
    logits = scale * torch.randn(2, 5, 6, 4, generator=generator)
    labels = torch.randint(-1, 5, (2, 6, 4), generator=generator)
    monkeypatch.setattr("robustseg.attacks.logit_sums.SWEPT_VALUES", 2**40)
    asked = closed_form(name, logits, labels)
    monkeypatch.setattr("robustseg.attacks.logits.has_values_at_hand", lambda logits: False)
    for one, other in zip(asked, closed_form(name, logits, labels), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", LOSSES)
def test_scratch_memory_is_that_of_the_logits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off the CPU, where no sweeps do without; a bare pass holds logits and their gradient."""
    monkeypatch.setattr("robustseg.attacks.logit_sums.SWEPT_VALUES", 2**40)
    monkeypatch.setattr("robustseg.attacks.logits.has_values_at_hand", lambda logits: False)
    logits = torch.randn(1, 151, 32, 32, generator=torch.Generator().manual_seed(4))
    labels = torch.zeros(1, 32, 32, dtype=torch.int64)
    with LiveMemory() as memory:
        closed_form(name, logits, labels)  # on a copy
    assert memory.peak_bytes / logits.nbytes < 2.2


@pytest.mark.usefixtures("passes_by")
def test_a_batch_in_chunks_is_the_batch_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = random_case(5)
    logits, labels = logits.float().repeat(1, 1, 4, 4), labels.repeat(1, 4, 4)  # 320 pixels
    for name in LOSSES:
        whole = closed_form(name, logits, labels, 0.1)
        with monkeypatch.context() as patch:
            patch.setattr(
                "robustseg.attacks.pixel_losses._chunks", lambda _: [slice(0, 1), slice(1, 3)]
            )
            parts = closed_form(name, logits, labels, 0.1)
        assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


@pytest.mark.usefixtures("passes_by")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("pixels", [(1, 1), (5, 5), (7, 13), (16, 24)])
def test_an_image_gets_the_same_bits_alone(
    pixels: tuple[int, int], layout: torch.memory_format
) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(6, 3, *pixels, generator=generator)
    labels = torch.randint(3, (6, *pixels), generator=generator)
    logits[4] *= 30  # extreme: must not change what the others get
    logits[5] -= 50
    assert_alone_is_the_same(logits.contiguous(memory_format=layout), labels)


def test_an_image_gets_the_same_bits_alone_with_several_threads() -> None:
    """torch divides values among threads wherever that falls; a sum it divides only alone."""
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(6, 2, 210, 224, generator=generator)
    labels = torch.randint(2, (6, 210, 224), generator=generator)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert_alone_is_the_same(logits, labels)
    finally:
        torch.set_num_threads(before)


def assert_alone_is_the_same(logits: Tensor, labels: Tensor) -> None:
    for name in LOSSES:
        objective, _, gradient = closed_form(name, logits, labels, 0.1)
        for image in range(len(logits)):
            one = slice(image, image + 1)
            alone = closed_form(name, logits[one], labels[one], 0.1)
            assert torch.equal(alone[0], objective[one])
            assert torch.equal(alone[2], gradient[one])


# Appendix A as properties. A pixel is a vector of logits u and a label y.

finite_logits = st.lists(st.floats(-30, 30), min_size=2, max_size=12)


def at_pixel(name: str, u: list[float], y: int) -> tuple[float, Tensor, float]:
    """Objective, gradient (K,) and p_y of one pixel."""
    logits = torch.tensor(u, dtype=torch.float64)
    labels = torch.full((1, 1, 1), y)
    objective, _, gradient = closed_form(name, logits.view(1, -1, 1, 1), labels)
    return objective.item(), gradient.flatten(), torch.softmax(logits, 0)[y].item()


@given(finite_logits)
def test_cross_entropy_gradient_norm_is_bounded(u: list[float]) -> None:
    """(1 - p_y)^2 K / (K - 1) <= ||grad||^2 <= (1 - p_y)^2 + 1 - p_y.

    PAPER: prints the lower bound K / (K - 1) (1 - p_y), which does not hold, see the next test:
    equal components of the others give a sum of squares of (1 - p_y)^2 / (K - 1), and the square
    was lost. Both bounds still grow as p_y falls, which is what the paper uses.
    """
    _, gradient, p = at_pixel("ce", u, 0)
    squared = gradient.square().sum().item()
    classes = len(u)
    assert squared >= classes / (classes - 1) * (1 - p) ** 2 - 1e-12
    assert squared <= (1 - p) ** 2 + (1 - p) + 1e-12


def test_printed_lower_bound_of_the_paper_fails() -> None:
    _, gradient, p = at_pixel("ce", [0.0, 0.0], 0)
    assert gradient.square().sum().item() == pytest.approx(0.5)
    printed_bound = 2 / (2 - 1) * (1 - p)
    assert printed_bound > 0.5


@given(finite_logits)
def test_jensen_shannon_is_bounded_and_its_gradient_too(u: list[float]) -> None:
    objective, gradient, p = at_pixel("js", u, 0)
    assert -1e-12 <= objective <= math.log(2) + 1e-12
    weight = 0.5 * p * math.log((1 + p) / p)
    _, cross_entropy_gradient, _ = at_pixel("ce", u, 0)
    torch.testing.assert_close(gradient, weight * cross_entropy_gradient, rtol=1e-6, atol=1e-12)


@given(finite_logits, st.floats(0, 400))
def test_jensen_shannon_gradient_vanishes_with_the_probability(u: list[float], gap: float) -> None:
    """lim_{p_y -> 0} dJS/du = 0, and faster than sqrt(p_y)."""
    u[0] = max(u[1:]) - gap
    _, gradient, p = at_pixel("js", u, 0)
    assert gradient.abs().max().item() <= math.sqrt(p) + 1e-15


@given(finite_logits, st.floats(0, 400))
def test_cosine_weight_vanishes_with_the_label_logit(u: list[float], gap: float) -> None:
    u[0] = -gap
    norm = torch.tensor(u, dtype=torch.float64).sigmoid().norm().item()
    _, gradient, _ = at_pixel("cossim_ce", u, 0)
    bound = 1 / (1 + math.exp(gap)) / norm
    assert gradient.abs().max().item() <= bound * (1 + 1e-9)


@given(finite_logits)
@settings(max_examples=50)
def test_masks_silence_wrong_pixels_in_the_gradient_only(u: list[float]) -> None:
    u[0] = max(u[1:]) - 1
    for name, unmasked in (("mask_ce", "ce"), ("mask_sph", None)):
        objective, gradient, _ = at_pixel(name, u, 0)
        assert not gradient.any()
        if unmasked:
            assert objective == at_pixel(unmasked, u, 0)[0]
        else:
            norm = math.hypot(*u)
            assert objective == pytest.approx(-u[0] / norm if norm else 0)


@given(finite_logits)
def test_spherical_gradient_is_tangential(u: list[float]) -> None:
    """The spherical loss does not depend on the logits' scale: its gradient is orthogonal to u."""
    u[0] = max(u) + 0.5
    _, gradient, _ = at_pixel("mask_sph", u, 0)
    along = torch.dot(gradient, torch.tensor(u, dtype=torch.float64)).item()
    assert along == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_spherical_loss_does_not_depend_on_the_scale(scale: float) -> None:
    logits, labels = random_case(4)
    objective, _, gradient = closed_form("mask_sph", logits.float(), labels)
    scaled_objective, _, scaled = closed_form("mask_sph", scale * logits.float(), labels)
    torch.testing.assert_close(scaled_objective, objective, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(scale * scaled, gradient, rtol=1e-4, atol=1e-6)


def test_the_objective_of_many_pixels_is_added_in_double_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("robustseg.attacks.logit_sums.SWEPT_VALUES", 1)
    logits = torch.tensor([0.1, 0.7, -0.3]).view(1, 3, 1, 1)
    labels = torch.zeros(1, 300, 300, dtype=torch.int64)
    for name in LOSSES:
        one, _, _ = closed_form(name, logits, labels[:, :1, :1])
        many, _, _ = closed_form(name, logits.repeat(1, 1, 300, 300), labels)
        assert many.item() == pytest.approx(90_000 * one.item(), rel=1e-12)


def test_balanced_cross_entropy_becomes_half_cross_entropy() -> None:
    """With lambda = 1/2, the limit of (t - 1) / (2 T), right and wrong pixels weigh the same."""
    logits, labels = random_case(6)
    _, _, balanced = closed_form("bal_ce", logits, labels, 1.0)
    _, _, plain = closed_form("ce", logits, labels)
    torch.testing.assert_close(balanced, plain / 2)


def test_tsallis_with_q_of_one_is_cross_entropy() -> None:
    logits, labels = random_case(6)
    _, _, tsallis = closed_form("tsallis", logits, labels, 1.0)
    _, _, plain = closed_form("ce", logits, labels)
    torch.testing.assert_close(tsallis, plain)


def test_js_steered_by_ce_has_its_objective_and_the_gradient_of_js() -> None:
    logits, labels = random_case(6)
    gradient, prepared = logits.clone(), Labels.of(labels, logits.dtype)
    steered, _ = loss_and_gradient("js", gradient, prepared, Moment(by_ce=True))
    assert torch.equal(steered, closed_form("ce", logits, labels)[0])
    assert torch.equal(gradient, closed_form("js", logits, labels)[2])


def test_smooth_cross_entropy_asks_the_neighbourhood() -> None:
    """A slow loop: the mean margin of the counted pixels within 2, none beyond the border."""
    logits, labels = random_case(5)
    logits, labels = logits.repeat(1, 1, 2, 2), labels.repeat(1, 2, 2)
    _, _, gradient = closed_form("smooth_ce", logits, labels)
    _, _, plain = closed_form("ce", logits, labels)
    asked = set()
    for image, row, column in (labels != IGNORE_LABEL).nonzero().tolist():
        total = 0.0
        for r in range(max(0, row - 2), min(labels.shape[1], row + 3)):
            for c in range(max(0, column - 2), min(labels.shape[2], column + 3)):
                y = int(labels[image, r, c])
                if y != IGNORE_LABEL:
                    u = logits[image, :, r, c]
                    total += float(u[y] - u[strongest_other(u, y)])
        own = gradient[image, :, row, column]
        expected = plain[image, :, row, column] * (total >= 0)
        torch.testing.assert_close(own, expected)
        asked.add(total >= 0)
    assert asked == {False, True}


def test_object_masks_keep_classes_of_which_most_is_right() -> None:
    logits, labels = random_case(4)
    _, _, gradient = closed_form("object_mask_ce", logits, labels)
    _, _, plain = closed_form("ce", logits, labels)
    seen = set()
    for image in range(len(labels)):
        right = logits[image].argmax(0) == labels[image]
        for k in range(4):
            pixels = labels[image] == k
            if pixels.any():
                kept = int(right[pixels].sum()) * 2 >= int(pixels.sum())
                expected = plain[image][:, pixels] * kept
                torch.testing.assert_close(gradient[image][:, pixels], expected)
                seen.add(kept)
    assert seen == {False, True}


def test_a_class_beyond_those_counted_weighs_as_much_as_the_rarest() -> None:
    logits, labels = random_case(6)
    prepared = Labels.of(labels.clamp(max=3), logits.dtype, [50, 25, 100, 0])
    weights = prepared.class_weights(torch.arange(6).view(1, 1, 1, 6))
    assert weights.flatten().tolist() == [0.5, 1.0, 0.25, 1.0, 1.0, 1.0]
