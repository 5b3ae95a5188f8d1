"""APGD, the parameter-free optimizer of Croce and Hein (arXiv 2003.01690, Algorithm 1)."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from robustseg.attacks.attacked_model import Evaluation
from robustseg.attacks.projection import Box, choose
from robustseg.attacks.spec import DEFAULT_CHOICE

MOMENTUM = 0.75
"""alpha: weight of the new step against the last one."""
SHARE_OF_INCREASES = 0.75
"""rho: with fewer of its steps successful, a step size is halved."""


def checkpoints(iterations: int, floor: bool = False) -> list[int]:
    """Return w_1, w_2, ...: the iterations after which step sizes are looked at.

    w_j = ceil(p_j iterations) with p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03,
    0.06); in hundredths, since 0.41 * 100 is not 41 in floating point. RELEASED CODE: `floor`, and
    at least 1.
    """
    earlier, p = 0, 22
    found = []
    while p <= 100:
        found.append(max(1, p * iterations // 100) if floor else -(-p * iterations // 100))
        earlier, p = p, p + max(p - earlier - 3, 6)
    return found


@dataclass
class State:
    """What APGD remembers of each image; images are (B, C, H, W), the rest (B,).

    Attributes:
        previous, previous_objective: x^(k-1) and f there.
        best, best_direction, best_objective: x_max, the gradient's sign there, f_max.
        step_size: eta, (B, 1, 1, 1).
        increases: steps since the last checkpoint that increased f.
        checkpoint_objective: f_max at the last checkpoint.
        halved: whether eta was halved there.
    """

    previous: Tensor
    previous_objective: Tensor
    best: Tensor
    best_direction: Tensor
    best_objective: Tensor
    step_size: Tensor
    increases: Tensor
    checkpoint_objective: Tensor
    halved: Tensor


class Apgd:
    """Maximise the objective with momentum and step sizes that are halved image by image.

    ASSUME: the returned iterate is that of the lowest accuracy, the attacker's target (Sec. 2.1),
    and of several the latest; the paper says only for PGD what is returned.

    Args:
        box: S of each image.
        epsilon: its radius in [0, 1]; the first step size is twice that.
        iterations: N_iter, from which the checkpoints follow.
        choice: one of `spec.CHOICES`; `checkpoints_floor` and `returns_highest_loss` matter here.
    """

    def __init__(
        self, box: Box, epsilon: float, iterations: int, choice: str = DEFAULT_CHOICE
    ) -> None:
        self.box, self.epsilon, self.choice = box, epsilon, choice
        self.checkpoints = checkpoints(iterations, floor=choice == "checkpoints_floor")
        self.iteration = self.last_checkpoint = 0
        self.state: State | None = None

    def score(self, evaluation: Evaluation) -> Tensor:
        """Return (B,) what the returned iterate maximises."""
        if self.choice == "returns_highest_loss":
            return evaluation.objective
        return -evaluation.correct.double()

    def step(self, images: Tensor, evaluation: Evaluation) -> Tensor:
        """Return x^(k+1) from x^(k) (B, C, H, W) and its evaluation."""
        direction, objective = evaluation.direction, evaluation.objective
        if self.state is None:
            self.state = self._begin(images, evaluation)
            self.iteration += 1
            return self.box.project(images + self.state.step_size * direction)
        state = self.state
        state.increases += objective > state.previous_objective
        self._remember(images, evaluation)
        if self.iteration in self.checkpoints:
            stuck = self._halve_where_stuck()
            images = choose(stuck, state.best, images)
            direction = choose(stuck, state.best_direction, direction)
            objective = torch.where(stuck, state.best_objective, objective)
        new = self.box.project(torch.addcmul(images, direction, state.step_size))
        moved = images.lerp(new, MOMENTUM).add_(images - state.previous, alpha=1 - MOMENTUM)
        state.previous, state.previous_objective = images, objective
        self.iteration += 1
        return self.box.project(moved)

    def select(self, kept: Tensor) -> None:
        """Go on with the images `kept` alone."""
        self.box = self.box.select(kept)
        if self.state is not None:
            self.state = State(*(getattr(self.state, f.name)[kept] for f in fields(State)))

    def _begin(self, images: Tensor, evaluation: Evaluation) -> State:
        objective = evaluation.objective
        return State(
            previous=images,
            previous_objective=objective,
            best=images,
            best_direction=evaluation.direction,
            best_objective=objective,
            step_size=images.new_full((len(images), 1, 1, 1), 2 * self.epsilon),
            increases=torch.zeros_like(objective),
            checkpoint_objective=objective,
            halved=torch.zeros_like(objective, dtype=torch.bool),
        )

    def _remember(self, images: Tensor, evaluation: Evaluation) -> None:
        """Make this iterate x_max of the images whose objective was never higher."""
        state = self.state
        assert state is not None
        higher = evaluation.objective > state.best_objective
        state.best = choose(higher, images, state.best)
        state.best_direction = choose(higher, evaluation.direction, state.best_direction)
        state.best_objective = torch.maximum(evaluation.objective, state.best_objective)

    def _halve_where_stuck(self) -> Tensor:
        """Halve eta of the images that meet condition 1 or 2 of Algorithm 1, and return which."""
        state = self.state
        assert state is not None
        steps = self.iteration - self.last_checkpoint
        few_increases = state.increases < SHARE_OF_INCREASES * steps
        no_progress = ~state.halved & (state.best_objective <= state.checkpoint_objective)
        stuck = few_increases | no_progress
        halved = state.step_size / 2  # in its own dtype: 0.5 and 1.0 may be float64 by default
        state.step_size = torch.where(stuck.view(-1, 1, 1, 1), halved, state.step_size)
        state.increases = torch.zeros_like(state.increases)
        state.checkpoint_objective, state.halved = state.best_objective, stuck
        self.last_checkpoint = self.iteration
        return stuck
