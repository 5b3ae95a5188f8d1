"""What a look at gradients tells: against slopes known in closed form, and of defects."""

import pytest
import torch
from torch import Tensor, nn

from robustseg.attacks.gradient_checks import look_at_gradients, saturated

IMAGES = torch.rand((3, 3, 8, 8), generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(0, 4, (3, 8, 8), generator=torch.Generator().manual_seed(1))
IDS = ["a", "b", "c"]


def network() -> nn.Module:
    torch.manual_seed(2)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 4, 3, padding=1)
    return nn.Sequential(*layers)


NET = network()


def test_a_smooth_network_agrees_with_its_gradient() -> None:
    seen = look_at_gradients(NET, IMAGES, LABELS, IDS)
    assert (seen.agreement > 0.999).all()
    assert (seen.zeros == 0).all()
    assert (seen.not_finite == 0).all()
    assert NET.training  # as it was
    assert all(parameter.requires_grad for parameter in NET.parameters())


def test_of_a_linear_model_every_slope_is_exact() -> None:
    linear = nn.Conv2d(3, 4, 1).double()
    seen = look_at_gradients(linear, IMAGES.double(), LABELS, IDS)
    # But where another class becomes the largest, the margin is that of the class it was.
    torch.testing.assert_close(seen.agreement, torch.ones(3).double(), rtol=0, atol=1e-9)


def test_the_size_of_the_gradient_does_not_matter() -> None:
    seen = look_at_gradients(lambda images: 1e-4 * NET(images), IMAGES, LABELS, IDS)
    assert (seen.agreement > 0.99).all()


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_zeros_are_counted(share: float) -> None:
    kept = round(8 * (1 - share))

    def model(images: Tensor) -> Tensor:
        return NET(torch.cat([images[..., :kept], images[..., kept:].detach()], -1))

    zeros = look_at_gradients(model, IMAGES, LABELS, IDS).zeros
    torch.testing.assert_close(zeros, torch.full((3,), share).double())


def test_what_is_not_finite_is_counted_and_hides_nothing_else() -> None:
    def model(images: Tensor) -> Tensor:
        broken = torch.sqrt((images[..., :1] - images[..., :1].detach()) ** 2)
        return NET(images) + broken.sum((1, 2, 3)).view(-1, 1, 1, 1)

    seen = look_at_gradients(model, IMAGES, LABELS, IDS)
    torch.testing.assert_close(seen.not_finite, torch.full((3,), 1 / 8).double())


def test_a_staircase_has_no_slope_and_a_ripple_another() -> None:
    stairs = look_at_gradients(lambda x: NET(torch.round(x * 255) / 255), IMAGES, LABELS, IDS)
    assert (stairs.zeros == 1).all()
    assert (stairs.agreement == 0).all()  # the model changes, and the gradient says it does not
    ripple = look_at_gradients(
        lambda x: NET(x + 0.001 * torch.sin(2e4 * x)), IMAGES, LABELS, IDS
    )  # fmt: skip
    assert (ripple.agreement < 0.8).all()
    assert (ripple.zeros == 0).all()


def test_a_model_that_nothing_changes_has_no_agreement() -> None:
    constant = torch.randn(3, 4, 8, 8)
    seen = look_at_gradients(lambda images: constant + 0 * images.mean(), IMAGES, LABELS, IDS)
    assert seen.agreement.isnan().all()


def test_logits_with_another_gradient_than_the_images_have_none() -> None:
    seen = look_at_gradients(lambda images: NET(IMAGES), IMAGES, LABELS, IDS)
    assert (seen.zeros == 1).all()


def test_a_random_model_is_seen_with_the_same_draws() -> None:
    def noisy(images: Tensor) -> Tensor:
        return NET(images + 0.1 * torch.randn_like(images))

    before = torch.random.get_rng_state()
    seen = look_at_gradients(noisy, IMAGES, LABELS, IDS)
    assert (seen.agreement > 0.99).all()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_certainty_is_counted_where_pixels_are_right() -> None:
    logits = torch.zeros(1, 2, 1, 4)
    logits[0, 0, 0] = torch.tensor([100.0, 100, 1, 100])
    labels = torch.tensor([[[0, 1, 0, -1]]])  # right and certain, wrong, right, ignored
    torch.testing.assert_close(saturated(logits, labels), torch.tensor([0.5]))
    assert saturated(logits, 1 - labels.clamp(min=1)).isnan().sum() == 0
    assert saturated(logits, torch.ones_like(labels)).isnan().all()
