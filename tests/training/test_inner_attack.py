"""The attack inside training, on a model whose optimum is known."""

import pytest
import torch
from torch import nn

from robustseg.models.build import build_segmentation_model
from robustseg.training.inner_attack import TrainingAttack, perturb


class LinearModel(nn.Module):
    """Two logits a pixel: 0 and the weighted sum of its colours."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))

    def forward(self, images):
        score = (images * self.weight.view(3, 1, 1)).sum(1, keepdim=True)
        return torch.cat([torch.zeros_like(score), score], 1)


def attack(steps, epsilon=0.02, step_size=0.01, images=None, model=None):
    images = torch.full((1, 3, 2, 2), 0.5) if images is None else images
    labels = torch.ones(1, 2, 2, dtype=torch.int64)
    settings = TrainingAttack("ce", epsilon, steps, step_size)
    return perturb(model or LinearModel(), images, labels, settings)


@pytest.mark.parametrize(("steps", "moved"), [(0, 0.0), (1, 0.01), (2, 0.02), (5, 0.02)])
def test_it_reaches_the_optimum_of_a_linear_model_and_starts_at_the_image(steps, moved):
    expected = 0.5 + moved * torch.tensor([-1.0, 1.0, -1.0]).view(1, 3, 1, 1)
    assert torch.allclose(attack(steps), expected.expand(1, 3, 2, 2))


def test_it_stays_in_the_image_range_and_a_large_step_ends_at_the_radius():
    images = torch.tensor([0.0, 1.0, 0.5]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    result = attack(3, epsilon=0.004, images=images)
    assert result[0, :, 0, 0].tolist() == pytest.approx([0.0, 1.0, 0.496])


def test_ignored_pixels_do_not_steer_it():
    labels = torch.ones(1, 2, 2, dtype=torch.int64)
    labels[0, 0, 0] = -1
    images = torch.full((1, 3, 2, 2), 0.5)
    result = perturb(LinearModel(), images, labels, TrainingAttack("ce", 0.02, 2, 0.01))
    assert torch.equal(result[0, :, 0, 0], images[0, :, 0, 0])
    assert (result[0, :, 1, 1] != images[0, :, 1, 1]).all()


def test_it_leaves_no_trace_in_the_model():
    """No gradient of the attack reaches the parameters, and BatchNorm's statistics stay."""
    model = build_segmentation_model("convnext_demo", "upernet_demo", 3).train()
    model.norms.requires_grad_(False)
    trainable = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images, labels = torch.rand(2, 3, 32, 32), torch.randint(3, (2, 32, 32))
    result = perturb(model, images, labels, TrainingAttack("ce", 8 / 255, 2, 0.01))
    assert not result.requires_grad
    assert (result - images).abs().max() > 5 / 255
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert {name: p.requires_grad for name, p in model.named_parameters()} == trainable
    assert model.training


def test_the_model_is_restored_when_the_attack_fails():
    modes = []

    class Failing(LinearModel):
        def forward(self, images):
            modes.append((self.training, self.weight.requires_grad))
            raise KeyError

    model = Failing().train()
    labels = torch.ones(1, 2, 2).long()
    with pytest.raises(KeyError):
        perturb(model, torch.rand(1, 3, 2, 2), labels, TrainingAttack("ce", 0.1, 1, 0.1))
    assert modes == [(False, False)]
    assert model.training
    assert model.weight.requires_grad


def test_a_random_start_is_uniform_in_the_radius_and_follows_from_the_seed():
    settings = TrainingAttack("ce", 8 / 255, 0, 0.01, start="random")
    images, labels = torch.rand(2, 3, 32, 32), torch.ones(2, 32, 32).long()
    first, again, other = (
        perturb(LinearModel(), images, labels, settings, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.amin() >= 0
    assert first.amax() <= 1
    inside = (images > 8 / 255) & (images < 1 - 8 / 255)
    moved = ((first - images) * 255 / 8)[inside]
    assert moved.abs().max() <= 1 + 1e-5
    assert moved.abs().mean() == pytest.approx(0.5, abs=0.02)
    assert moved.mean() == pytest.approx(0, abs=0.03)


def test_bal_ces_weight_grows_over_the_steps(monkeypatch):
    lams = []

    def loss(name, logits, labels, at):
        lams.append((name, at.lam))
        return logits.sum()

    monkeypatch.setattr("robustseg.training.inner_attack.attack_loss", loss)
    images, labels = torch.rand(1, 3, 2, 2), torch.ones(1, 2, 2).long()
    perturb(LinearModel(), images, labels, TrainingAttack("bal_ce", 0.1, 4, 0.1))
    assert lams == [("bal_ce", lam) for lam in (0, 1 / 8, 2 / 8, 3 / 8)]
