"""The box, the random start, and choosing between images."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from robustseg.attacks.projection import ball, choose, random_start


@given(st.integers(0, 2**31), st.floats(0, 1))
def test_projection_is_feasible_idempotent_and_nearest(seed: int, epsilon: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    point = 3 * torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    box = ball(images, epsilon)
    projected = box.project(point)
    assert (projected - images).abs().max() <= epsilon + 1e-12
    assert projected.min() >= 0
    assert projected.max() <= 1
    assert torch.equal(box.project(projected), projected)
    noise = 2 * torch.rand(2, 3, 4, 4, generator=generator, dtype=torch.float64) - 1
    other = (images + epsilon * noise).clamp(0, 1)
    assert ((projected - point).abs() <= (other - point).abs() + 1e-12).all()


def test_random_start_is_feasible_and_fills_the_ball() -> None:
    images = torch.full((2, 3, 32, 32), 0.5)
    noise = random_start(images, 0.1, ["a", "b"], 0) - images
    assert noise.abs().max() <= 0.1 + 1e-6
    assert noise.min() < -0.099
    assert noise.max() > 0.099
    assert abs(noise.mean()) < 0.005
    edge = random_start(torch.zeros(1, 3, 8, 8), 0.1, ["a"], 0)
    assert edge.min() == 0


def test_random_start_follows_the_image_and_the_key_not_the_batch() -> None:
    images = torch.rand(3, 3, 5, 5)
    together = random_start(images, 0.1, ["a", "b", "c"], 7, "attack")
    alone = random_start(images[1:2], 0.1, ["b"], 7, "attack")
    assert torch.equal(together[1:2], alone)
    for key in ((8, "attack"), (7, "other")):
        assert not torch.equal(random_start(images[1:2], 0.1, ["b"], *key), alone)
    assert not torch.equal(random_start(images[1:2], 0.1, ["a"], 7, "attack"), alone)


@given(st.integers(0, 2**31))
def test_choose_is_exact(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    one, other = torch.rand(2, 4, 3, 5, 7, generator=generator)
    which = torch.rand(4, generator=generator) > 0.5
    expected = torch.where(which.view(-1, 1, 1, 1), one, other)
    assert torch.equal(choose(which, one, other), expected)
