"""Surrogates keep a model's values; their gradients are those of what was hidden."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from robustseg.attacks.surrogates import (
    AveragedModel,
    LevelledModel,
    ScaledModel,
    StraightThroughModel,
    hiding,
)

IMAGES = torch.rand((2, 3, 8, 8), generator=torch.Generator().manual_seed(0))
torch.manual_seed(1)
NET = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 4, 1)).eval()
WEIGHTS = torch.rand((2, 4, 8, 8), generator=torch.Generator().manual_seed(2))


def one_hot(images: Tensor) -> Tensor:
    return functional.one_hot(NET(images).argmax(1), 4).permute(0, 3, 1, 2).float()


def scattered(images: Tensor) -> Tensor:
    logits = NET(images)
    return torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1.0)


def unsqueezed(images: Tensor) -> Tensor:
    logits = NET(images)
    return torch.zeros_like(logits).scatter(1, logits.argmax(1).unsqueeze(1), 1.0)


def looked_up(images: Tensor) -> Tensor:
    return torch.eye(4)[NET(images).argmax(1)].permute(0, 3, 1, 2)


def of_the_largest(images: Tensor) -> Tensor:
    return functional.one_hot(NET(images).max(1).indices, 4).permute(0, 3, 1, 2).float()


def by_keywords(images: Tensor) -> Tensor:
    logits = NET(images)
    found = logits.max(dim=1, keepdim=True).indices
    ones = torch.ones_like(logits)
    return torch.zeros_like(logits).scatter(dim=1, index=found, src=ones)


def in_place(images: Tensor) -> Tensor:
    pixels = images * 255
    pixels.round_()
    return NET(pixels / 255)


def without_graph(images: Tensor) -> Tensor:
    with torch.no_grad():
        return NET(images)


def through_numpy(images: Tensor) -> Tensor:
    pixels = (images.detach() * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert pixels.dtype == "uint8"
    return NET(torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float() / 255)


def detached(images: Tensor) -> Tensor:
    return NET(images.clone().detach_())


HIDDEN: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "round": (lambda x: NET(torch.round(x * 255) / 255), "round"),
    "method": (lambda x: NET((x * 255).round() / 255), "round"),
    "floor": (lambda x: NET(torch.floor(x * 31) / 31), "floor"),
    "in_place": (in_place, "round"),
    "cast": (lambda x: NET((x * 255).to(torch.uint8).float() / 255), "to uint8"),
    "byte": (lambda x: NET((x * 255).byte() / 255), "to uint8"),
    "threshold": (lambda x: NET((x > 0.5).float()), "comparison"),
    "operator": (lambda x: NET(torch.le(x, 0.5).to(x.dtype)), "comparison"),
    "detach": (lambda x: NET(x.detach()), "detach"),
    "detach_": (detached, "detach"),
    "data": (lambda x: NET(x.data), ".data"),
    "no_grad": (without_graph, "no_grad"),
    "numpy": (through_numpy, "numpy"),
    "one_hot": (one_hot, "argmax"),
    "scattered": (scattered, "argmax"),
    "unsqueezed": (unsqueezed, "argmax"),
    "looked_up": (looked_up, "argmax"),
    "max": (of_the_largest, "argmax"),
    "keywords": (by_keywords, "argmax"),
    "floor_divide": (lambda x: NET((x * 31) // 1 / 31), "floor_divide"),
    "whole_steps": (lambda x: NET((x * 255).int() // 16 * 16 / 255), "floor_divide"),
    "remainder": (lambda x: NET(x - x % (1 / 31)), "remainder"),
}


def gradient(model: Callable[[Tensor], Tensor], weights: Tensor = WEIGHTS) -> Tensor:
    images = IMAGES.clone().requires_grad_()
    (found,) = torch.autograd.grad((model(images) * weights).sum(), images)
    return found


@pytest.mark.parametrize("name", HIDDEN)
def test_what_hides_a_gradient_is_let_through_and_named(name: str) -> None:
    model, word = HIDDEN[name]
    surrogate = StraightThroughModel(model)
    assert torch.equal(surrogate(IMAGES.clone().requires_grad_()), model(IMAGES))
    assert word in surrogate.noted.hidden
    found = gradient(surrogate)
    assert (found != 0).double().mean() > 0.95
    assert torch.equal(surrogate(IMAGES), model(IMAGES))  # without gradients too


def test_the_gradient_of_rounding_is_the_identity() -> None:
    surrogate = StraightThroughModel(HIDDEN["round"][0])
    rounded = torch.round(IMAGES * 255) / 255

    def there(images: Tensor) -> Tensor:
        return NET(images + (rounded - IMAGES))

    torch.testing.assert_close(gradient(surrogate), gradient(there), rtol=1e-4, atol=1e-6)


def test_the_gradient_of_a_prediction_is_that_of_the_softmax() -> None:
    expected = gradient(lambda images: NET(images).softmax(1))
    for model in (one_hot, scattered, unsqueezed, looked_up, of_the_largest):
        torch.testing.assert_close(gradient(StraightThroughModel(model)), expected)


def test_what_a_comparison_is_multiplied_with_keeps_its_own_gradient() -> None:
    def masked(images: Tensor) -> Tensor:
        return NET((images > 0.5) * images)

    torch.testing.assert_close(gradient(StraightThroughModel(masked)), gradient(masked))


def test_an_honest_model_is_as_it_was() -> None:
    surrogate = StraightThroughModel(NET)
    assert torch.equal(gradient(surrogate), gradient(NET))
    assert not surrogate.noted.hidden
    assert not surrogate.noted.random
    assert not surrogate.noted.nearest


def test_gradients_are_left_as_they_were_switched() -> None:
    hiding(without_graph, IMAGES)
    assert torch.is_grad_enabled()
    with torch.no_grad():
        StraightThroughModel(without_graph)(IMAGES)
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("model", "word"),
    [
        (lambda x: NET(functional.dropout(x, 0.1, training=True)), "dropout"),
        (lambda x: NET(x + torch.randn_like(x)), "randn_like"),
        (lambda x: NET(x + torch.zeros_like(x).uniform_()), "uniform_"),
        (lambda x: NET(x * torch.bernoulli(torch.ones_like(x) / 2)), "bernoulli"),
    ],
)
def test_what_is_random_is_named(model: Callable[[Tensor], Tensor], word: str) -> None:
    assert word in hiding(model, IMAGES).random


def test_dropout_that_drops_nothing_is_not_random() -> None:
    model = nn.Sequential(NET, nn.Dropout(0.5)).eval()
    assert not hiding(model, IMAGES).random
    assert not hiding(lambda x: NET(functional.dropout(x, 0.0, True)), IMAGES).random


def test_the_nearest_pixel_is_noted() -> None:
    def shrunk(images: Tensor) -> Tensor:
        return NET(functional.interpolate(images, scale_factor=0.5, mode="nearest"))

    def smooth(images: Tensor) -> Tensor:
        return NET(functional.interpolate(images, scale_factor=0.5, mode="bilinear"))

    assert hiding(shrunk, IMAGES).nearest
    assert not hiding(smooth, IMAGES).nearest


def test_a_model_that_bears_no_other_gradients_is_no_failure() -> None:
    def stubborn(images: Tensor) -> Tensor:
        if images.detach().requires_grad:
            raise TypeError("it is detached and has a gradient")
        return NET(images)

    assert not hiding(stubborn, IMAGES).hidden


def test_an_average_is_the_mean_over_draws() -> None:
    draws = iter(range(1, 100))

    def random(images: Tensor) -> Tensor:
        return NET(images) * next(draws)

    torch.testing.assert_close(AveragedModel(random, 5)(IMAGES), 3 * NET(IMAGES))


def test_shifts_stay_within_noise_and_box() -> None:
    seen: list[Tensor] = []

    def model(images: Tensor) -> Tensor:
        seen.append(images)
        return NET(images)

    AveragedModel(model, 3, noise=0.1)(IMAGES)
    for images in seen:
        assert (images - IMAGES).abs().max() <= 0.1 + 1e-6
        assert images.min() >= 0
        assert images.max() <= 1
    assert not torch.equal(seen[0], seen[1])


def test_scaled_logits_predict_the_same() -> None:
    scaled = ScaledModel(NET, 3.0)(IMAGES)
    torch.testing.assert_close(scaled, 3 * NET(IMAGES))
    assert torch.equal(scaled.argmax(1), NET(IMAGES).argmax(1))


def test_levelled_logits_have_one_margin_whatever_the_temperature() -> None:
    def hot(images: Tensor) -> Tensor:
        return NET(images) * (9 * images.mean((1, 2, 3), keepdim=True)).exp()

    images = IMAGES.clone().requires_grad_()
    plain, levelled = LevelledModel(NET, 10)(images), LevelledModel(hot, 10)(images)
    best, second = levelled.topk(2, dim=1).values.unbind(1)
    assert torch.allclose((best - second).mean((1, 2)), torch.tensor(10.0))
    assert torch.equal(levelled.argmax(1), NET(images).argmax(1))
    slopes = [torch.autograd.grad((one * WEIGHTS).sum(), images)[0] for one in (plain, levelled)]
    assert torch.allclose(*slopes, rtol=1e-3, atol=1e-4)
    same = torch.ones(2, 3, 4, 4)
    assert torch.equal(LevelledModel(lambda _: same, 10)(same), same)


def test_a_look_in_training_mode_draws_nothing_and_moves_no_statistics() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert not hiding(net, IMAGES).random
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.training
