"""SEA, the Semantic Ensemble Attack (arXiv 2306.12941, Sec. 2.4), for anybody's model."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustseg.attacks.attacked_model import Model, device_of
from robustseg.attacks.losses import SEA_LOSSES
from robustseg.attacks.outcomes import Outcome, attack_and_count, in_turn
from robustseg.attacks.run import check_batch
from robustseg.attacks.spec import AttackSpec
from robustseg.metrics import PixelCounts, image_accuracy, mean_accuracy, miou, worst_case


@dataclass
class SeaResult:
    """What SEA found for N images; fractions in [0, 1].

    Attributes:
        image_ids: names of the images.
        attacks: names of the A attacks, one for each loss.
        attack_accuracy: (A, N) pixel accuracy of each image under each attack; NaN where it was not
            run, since an earlier one had brought the image to 0 %, or all pixels are ignored.
        worst_attack: (N,) index of the attack that hurts each image most; of equals the first.
        counts: of the worst case of each image.
        adversarial: (N, C, H, W), the worst case of each image, on the device of the input.
        linf_255: (N,) measured norms of its perturbation in 1/255.
    """

    image_ids: list[str]
    attacks: list[str]
    attack_accuracy: NDArray[np.float64]
    worst_attack: NDArray[np.int64]
    counts: PixelCounts
    adversarial: Tensor
    linf_255: NDArray[np.float64]

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """(N,) pixel accuracy of each image in its worst case; NaN if all pixels are ignored."""
        return image_accuracy(self.counts.pixels, self.counts.pixels_correct)

    @property
    def acc(self) -> float:
        """The paper's robust ACC: the mean of `accuracy`."""
        return mean_accuracy(self.counts.pixels, self.counts.pixels_correct)

    @property
    def miou(self) -> float:
        """The paper's robust mIoU: that of the worst-case images, over the classes that occur."""
        return miou(self.counts.intersection, self.counts.union)


def sea(
    model: Model,
    images: Tensor,
    labels: Tensor,
    eps_255: float,
    *,
    image_ids: Sequence[str] | None = None,
    losses: Sequence[str] = SEA_LOSSES,
    iterations: int = 300,
    batch_size: int = 32,
    seed: int = 0,
) -> SeaResult:
    """Evaluate a segmentation model's robustness in the l_inf ball.

    One run of APGD with decreasing radius (2, 1.5, 1 x eps) for each loss; of each image the run
    that leaves the fewest pixels right counts. Normalisation with mean and std belongs into the
    model.

    Example:
        >>> import torch
        >>> from robustseg.attacks.ensemble import sea
        >>> model = torch.nn.Conv2d(3, 2, kernel_size=1)  # any images -> logits
        >>> images, labels = torch.rand(4, 3, 8, 8), torch.randint(2, (4, 8, 8))
        >>> result = sea(model, images, labels, eps_255=8, iterations=10)
        >>> result.adversarial.shape
        torch.Size([4, 3, 8, 8])
        >>> 0 <= result.acc <= 1 and 0 <= result.miou <= 1
        True

    Args:
        model: images (B, C, H, W) in [0, 1] to logits (B, K, h, w), h x w the labels' resolution;
            a module is put in eval mode meanwhile, and images are moved to its device.
        images: (N, C, H, W) float in [0, 1].
        labels: (N, h, w) int64 in [0, K), or 255: neither attacked nor counted.
        eps_255: radius in 1/255.
        image_ids: N names; random starts follow from them. None for "0", "1", ...
        losses: names of `losses.LOSSES`; the paper's four by default.
        iterations: of each loss.
        batch_size: images at a time; the result does not depend on it, up to rounding in the model.
        seed: of the random starts.

    Raises:
        RobustsegError: input that does not fit, or logits that are not finite, naming the image.
    """
    ids = [str(place) for place in range(len(images))] if image_ids is None else list(image_ids)
    check_batch(images, labels, ids, eps_255)
    specs = [AttackSpec(loss, "apgd", "reduced", iterations) for loss in losses]
    device = device_of(model, images.device)
    slices = [slice(at, at + batch_size) for at in range(0, len(images), batch_size)]
    batches = ((images[some].to(device), labels[some].to(device), ids[some]) for some in slices)
    attacks = [partial(attack_and_count, model, spec, eps_255, seed) for spec in specs]
    worst = _Worst(ids, [spec.name for spec in specs], images)
    for batch, number, places, outcome in in_turn(batches, attacks, until_broken=True):
        first = worst.place_of[batch[2][0]]
        worst.take(number, first + places, outcome)
    return worst.result()


class _Worst:
    """The outcome with the lowest accuracy so far of each of N images."""

    def __init__(self, image_ids: list[str], attacks: list[str], images: Tensor) -> None:
        self.image_ids, self.attacks = image_ids, attacks
        self.place_of = {image_id: place for place, image_id in enumerate(image_ids)}
        self.attack_accuracy = np.full((len(attacks), len(image_ids)), np.nan)
        self.worst_attack = np.zeros(len(image_ids), dtype=np.int64)
        self.adversarial = torch.empty_like(images)
        self.linf_255 = np.zeros(len(image_ids))
        self.counts: PixelCounts | None = None

    def take(self, number: int, places: NDArray[np.intp], outcome: Outcome) -> None:
        """Keep the outcome of an attack on the images at `places` where it is the worst so far."""
        new = image_accuracy(outcome.counts.pixels, outcome.counts.pixels_correct)
        self.attack_accuracy[number, places] = new
        better = np.ones(len(places), dtype=bool)
        if number:
            counts = self._kept(outcome)
            old = image_accuracy(counts.pixels[places], counts.pixels_correct[places])
            better = worst_case(np.stack([old, new])) == 1
        lower = places[better]
        for kept, values in zip(self._kept(outcome), outcome.counts, strict=True):
            kept[lower] = values[better]
        self.worst_attack[lower] = number
        self.linf_255[lower] = outcome.linf_255[better]
        assert outcome.adversarial is not None
        self.adversarial[lower] = outcome.adversarial[better].to(self.adversarial.device)

    def _kept(self, outcome: Outcome) -> PixelCounts:
        """Return the counts of all images, which the first outcome gives their shapes."""
        if self.counts is None:
            shapes = [(len(self.image_ids), *values.shape[1:]) for values in outcome.counts]
            self.counts = PixelCounts(*(np.zeros(shape, dtype=np.int64) for shape in shapes))
        return self.counts

    def result(self) -> SeaResult:
        """Return what was found."""
        assert self.counts is not None
        return SeaResult(
            image_ids=self.image_ids,
            attacks=self.attacks,
            attack_accuracy=self.attack_accuracy,
            worst_attack=self.worst_attack,
            counts=self.counts,
            adversarial=self.adversarial,
            linf_255=self.linf_255,
        )
