"""PGD with a fixed step size (arXiv 2306.12941, Sec. 2.3), the optimizer of SegPGD and CosPGD."""

from torch import Tensor

from robustseg.attacks.attacked_model import Evaluation
from robustseg.attacks.projection import Box


class Pgd:
    """x <- P_S(x + step_size sign(grad)); the iterate of the highest loss is returned (B.1).

    Args:
        box: S of each image.
        step_size: in [0, 1] image units.
    """

    def __init__(self, box: Box, step_size: float) -> None:
        self.box, self.step_size = box, step_size

    def score(self, evaluation: Evaluation) -> Tensor:
        """Return (B,) what the returned iterate maximises."""
        return evaluation.objective

    def step(self, images: Tensor, evaluation: Evaluation) -> Tensor:
        """Return the next iterate (B, C, H, W)."""
        return self.box.project(images.add(evaluation.direction, alpha=self.step_size))

    def select(self, kept: Tensor) -> None:
        """Go on with the images `kept` alone."""
        self.box = self.box.select(kept)
