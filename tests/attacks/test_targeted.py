"""The targeted attack against brute force and against the loss as the paper writes it."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from robustseg.attacks.targeted import TargetedModel, targeted_attack
from robustseg.errors import RobustsegError

EPS_255 = 60.0


def tiny_model(seed: int) -> nn.Module:
    """Every logit of 2 x 2 one-channel images depends on all 4 pixels, through a hidden layer."""
    torch.manual_seed(seed)
    hidden, out = nn.Linear(4, 16), nn.Linear(16, 12)
    nn.init.normal_(hidden.weight, std=2)
    nn.init.normal_(out.weight, std=1)
    return nn.Sequential(nn.Flatten(), hidden, nn.Tanh(), out, nn.Unflatten(1, (3, 2, 2)))


def divergence(logits: Tensor, target: int) -> Tensor:
    """(B,) sum over pixels of D_JS(p || e_target), as written in Appendix A."""
    p = logits.softmax(1)
    m = p / 2
    m[:, target] += 0.5
    of_target = -m[:, target].log()
    return ((p * (p / m).log()).sum(1) + of_target).sum((1, 2)) / 2


def on_target(model: nn.Module, images: Tensor, target: int) -> Tensor:
    with torch.no_grad():
        return (model(images).argmax(1) == target).flatten(1).double().mean(1)


def test_no_worse_than_brute_force_on_the_objective() -> None:
    """Brute force looks for the least divergence at 9^4 points of the ball, corners included."""
    levels = torch.linspace(-1, 1, 9) * EPS_255 / 255
    grid = torch.tensor(list(itertools.product(levels.tolist(), repeat=4))).view(-1, 1, 2, 2)
    won, gained = [], []
    for seed, target in itertools.product(range(7), range(3)):
        model = tiny_model(seed)
        image = torch.rand(1, 1, 2, 2, generator=torch.Generator().manual_seed(seed))
        ball = (image + grid).clamp(0, 1)
        with torch.no_grad():
            least = ball[divergence(model(ball), target).argmin()][None]
        found = targeted_attack(
            model, image, target, ["a"], eps_255=EPS_255, seed=0, iterations=100
        )
        assert found.share.item() == on_target(model, found.adversarial, target).item()
        brute_force = on_target(model, least, target)
        won.append((found.share >= brute_force).item())
        gained.append((brute_force > found.clean_share).item())
    assert sum(gained) >= 10, "the cases must have something to gain"
    assert won.count(False) <= 1, "gradient ascent may end in a local optimum, but rarely"


def context_model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1))


@pytest.mark.parametrize("eps_255", [0.0, 0.5, 16.0])
def test_inside_the_radius_and_never_below_the_clean_share(eps_255: float) -> None:
    images = torch.rand(3, 3, 10, 10, generator=torch.Generator().manual_seed(1))
    model = context_model(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    found = targeted_attack(model, images, 2, list("abc"), eps_255=eps_255, seed=3, iterations=30)
    assert (found.adversarial - images).abs().max() <= eps_255 / 255 + 1e-6
    assert found.adversarial.min() >= 0
    assert found.adversarial.max() <= 1
    torch.testing.assert_close(found.clean_share, on_target(model, images, 2))
    torch.testing.assert_close(found.share, on_target(model, found.adversarial, 2))
    assert (found.share >= found.clean_share).all()
    assert (found.share > found.clean_share).all() == (eps_255 > 1)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_clean_image_is_returned_where_nothing_is_better() -> None:
    """A random start can lose pixels: here every perturbation does, and no gradient says how."""
    images = torch.full((2, 3, 4, 4), 0.5)

    def only_grey_is_target(batch: Tensor) -> Tensor:
        away = (batch - 0.5).abs().sum(1, keepdim=True) * 1e3
        return torch.cat([0.1 - away, away, away], 1)

    found = targeted_attack(
        only_grey_is_target, images, 0, ["a", "b"], eps_255=8, seed=0, iterations=10
    )
    assert torch.equal(found.adversarial, images)
    assert found.share.tolist() == [1, 1]


def test_objective_and_gradient_are_those_of_the_negative_js_divergence() -> None:
    images = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(2)).double()
    model, target = context_model(1).double(), 3
    targets = torch.full((2, 6, 6), target)
    evaluation = TargetedModel(model, targets, ["a", "b"])(images)

    leaf = images.clone().requires_grad_()
    logits = model(leaf)
    objective = -divergence(logits, target)
    (gradient,) = torch.autograd.grad(objective.sum(), leaf)
    torch.testing.assert_close(evaluation.objective, objective.detach())
    assert torch.equal(evaluation.direction, gradient.sign())
    missed = (logits.argmax(1) != target).flatten(1).sum(1)
    assert torch.equal(evaluation.correct, missed)


def test_more_radius_more_target() -> None:
    images = torch.rand(2, 3, 10, 10, generator=torch.Generator().manual_seed(5))
    shares = [
        targeted_attack(context_model(2), images, 1, ["a", "b"], eps_255=eps, seed=0, iterations=60)
        .share.mean()
        .item()
        for eps in (0, 4, 32)
    ]
    assert shares == sorted(set(shares))


def test_does_not_depend_on_the_batch_and_does_on_the_seed() -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(6))
    run = {
        key: targeted_attack(
            context_model(3), images[rows], 0, ids, eps_255=8, seed=seed, iterations=5
        ).adversarial
        for key, rows, ids, seed in (
            ("both", slice(0, 2), ["a", "b"], 0),
            ("second", slice(1, 2), ["b"], 0),
            ("other seed", slice(1, 2), ["b"], 1),
        )
    }
    torch.testing.assert_close(run["both"][1:], run["second"], rtol=0, atol=1e-6)
    assert not torch.equal(run["second"], run["other seed"])


def test_passes_are_counted() -> None:
    images, model = torch.rand(1, 3, 4, 4), context_model(4)
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    found = targeted_attack(model, images, 1, ["a"], eps_255=4, seed=0, iterations=10)
    assert found.forward_passes == len(calls)
    assert found.backward_passes == 10


def test_bad_input_is_one_sentence() -> None:
    images, model = torch.rand(1, 3, 4, 4), context_model(0)
    with pytest.raises(RobustsegError, match=r"target class 4 .* 0\.\.3"):
        targeted_attack(model, images, 4, ["a"], eps_255=4, seed=0)
    with pytest.raises(RobustsegError, match="image a has values outside"):
        targeted_attack(model, images * 255, 1, ["a"], eps_255=4, seed=0)
    with pytest.raises(RobustsegError, match="image a gets logits that are not finite"):
        targeted_attack(lambda x: model(x) * math.nan, images, 1, ["a"], eps_255=4, seed=0)
