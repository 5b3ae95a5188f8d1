"""APGD against the pseudo-code, run slowly with numbers, and against known optima."""

import math

import pytest
import torch
from torch import Tensor

from robustseg.attacks.apgd import Apgd, checkpoints
from robustseg.attacks.attacked_model import AttackedModel, Evaluation
from robustseg.attacks.projection import ball, random_start
from tests.attacks.toys import Linear, corners


def test_checkpoints_of_the_paper() -> None:
    """p = 0, 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99 (arXiv 2003.01690)."""
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(10) == [3, 5, 6, 7, 8, 9, 10, 10]


def test_checkpoints_of_the_released_code_are_rounded_down() -> None:
    assert checkpoints(10, floor=True) == [2, 4, 5, 7, 8, 8, 9, 9]
    assert checkpoints(4, floor=True)[0] == 1
    box = ball(torch.zeros(1, 3, 2, 2), 0.1)
    assert Apgd(box, 0.1, 10, "checkpoints_floor").checkpoints == checkpoints(10, floor=True)
    assert Apgd(box, 0.1, 10).checkpoints == checkpoints(10)


def slow_apgd(f, gradient, x0: float, low: float, high: float, epsilon: float, n: int) -> list:
    """Algorithm 1 of arXiv 2003.01690 for one number; returns x^(0), ..., x^(n)."""
    p = [0.0, 0.22]
    while p[-1] <= 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    w = [math.ceil(round(pj * n, 9)) for pj in p if round(pj, 9) <= 1]

    def project(x: float) -> float:
        return min(max(x, low), high)

    def sign(x: float) -> float:
        return float((x > 0) - (x < 0))

    eta, alpha, rho = 2 * epsilon, 0.75, 0.75
    xs = [x0, project(x0 + eta * sign(gradient(x0)))]
    values = [f(x0), f(xs[1])]
    best, f_max = (xs[0] if values[0] >= values[1] else xs[1]), max(values)
    etas_at, best_at, increases = {0: eta}, {0: values[0]}, int(values[1] > values[0])
    x_before, x, fx = xs[0], xs[1], values[1]
    j = 1
    for k in range(1, n):
        while j < len(w) and k == w[j]:
            few = increases < rho * (w[j] - w[j - 1])
            etas_at[w[j]], best_at[w[j]] = eta, f_max
            if few or (etas_at[w[j - 1]] == eta and best_at[w[j - 1]] == f_max):
                eta /= 2
                x, fx = best, f_max
            increases, j = 0, j + 1
        z = project(x + eta * sign(gradient(x)))
        new = project(x + alpha * (z - x) + (1 - alpha) * (x - x_before))
        x_before, previous, x = x, fx, new
        fx = f(x)
        increases += fx > previous
        xs.append(x)
        if fx > f_max:
            best, f_max = x, fx
    return xs


@pytest.mark.parametrize("iterations", [12, 40, 100])
def test_iterates_follow_the_pseudo_code(iterations: int) -> None:
    """On a wavy function of one number, several starts at once, in float64."""
    starts = torch.linspace(0.3, 0.7, 9, dtype=torch.float64).view(-1, 1, 1, 1)
    centre, epsilon = torch.full_like(starts, 0.5), 0.2

    def f(x: Tensor) -> Tensor:
        return torch.sin(60 * x) + 8 * x - 6 * x**2

    def evaluate(x: Tensor) -> Evaluation:
        slope = 60 * torch.cos(60 * x) + 8 - 12 * x
        correct = torch.ones(9, dtype=torch.int64)
        return Evaluation(f(x).flatten(), correct, slope.sign(), correct.bool())

    optimizer = Apgd(ball(centre, epsilon), epsilon, iterations)
    x, trajectory = starts, [starts]
    for _ in range(iterations):
        x = optimizer.step(x, evaluate(x))
        trajectory.append(x)
    found = torch.stack(trajectory).flatten(1)
    for place, start in enumerate(starts.flatten().tolist()):
        expected = slow_apgd(
            lambda v: math.sin(60 * v) + 8 * v - 6 * v**2,
            lambda v: 60 * math.cos(60 * v) + 8 - 12 * v,
            *(start, 0.5 - epsilon, 0.5 + epsilon, epsilon, iterations),
        )
        assert found[:, place].tolist() == pytest.approx(expected, abs=1e-9)


def test_apgd_reaches_the_optimum_of_a_convex_loss_among_all_corners() -> None:
    """Cross-entropy of a linear model is convex: its maximum over the box is at a corner."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(6, 12, generator=generator, dtype=torch.float64)
    image = 0.2 + 0.6 * torch.rand(1, 3, 2, 2, generator=generator, dtype=torch.float64)
    model = Linear(weight, -weight @ image.flatten() + 0.3, height=2)
    labels = torch.randint(2, (1, 2, 3), generator=generator)
    epsilon = 0.15

    def cross_entropy(images: Tensor) -> Tensor:
        log_p = model(images).log_softmax(1)
        return -log_p.gather(1, labels.expand(len(images), -1, -1).unsqueeze(1)).sum((1, 2, 3))

    optimum = cross_entropy(corners(image[0], epsilon)).max().item()
    reached = []
    for restart in range(5):
        attacked = AttackedModel(model, "ce", labels, ["image"])
        optimizer = Apgd(ball(image, epsilon), epsilon, 60)
        x = random_start(image, epsilon, ["image"], restart)
        for _ in range(60):
            x = optimizer.step(x, attacked(x))
        assert optimizer.state is not None
        reached.append(optimizer.state.best_objective.item())
    assert max(reached) <= optimum + 1e-9
    assert max(reached) == pytest.approx(optimum, rel=1e-6)
    assert min(reached) > 0.9 * optimum
