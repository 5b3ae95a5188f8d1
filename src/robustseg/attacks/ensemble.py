"""SEA, the Semantic Ensemble Attack (arXiv 2306.12941, Sec. 2.4), for anybody's model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustseg.attacks.attacked_model import device_of
from robustseg.attacks.inputs import (
    as_class_pixels,
    as_ids,
    as_images,
    as_labels,
    check_counts,
    is_whole,
    number_of,
    refuse_few_class_pixels,
    refuse_swapped,
)
from robustseg.attacks.losses import SEA_LOSSES
from robustseg.attacks.outcomes import Batch, Outcome, attack_and_count, in_turn
from robustseg.attacks.run import check_batch
from robustseg.attacks.spec import AttackSpec, ask_for_class_pixels
from robustseg.attacks.warning_signs import WEIGHED_BY_EVALUATION, WarningSigns, warn
from robustseg.bounds import MOST_PASSES
from robustseg.errors import RobustsegError
from robustseg.metrics import PixelCounts, image_accuracy, mean_accuracy, miou, worst_case
from robustseg.models.wrap import wrap
from robustseg.names import amount


@dataclass
class SeaResult:
    """What SEA found for N images; fractions in [0, 1]. Printing it shows the scores.

    Attributes:
        image_ids: names of the images.
        attacks: names of the A attacks, one for each loss.
        attack_accuracy: (A, N) pixel accuracy of each image under each attack; NaN where it was not
            run, since an earlier one had brought the image to 0 %, or all pixels are ignored.
        worst_attack: (N,) index of the attack that hurts each image most, of equals the first; A
            where none hurts, since the clean image is a candidate too.
        counts: of the worst case of each image.
        clean_counts: of the clean images.
        adversarial: (N, C, H, W), the worst case of each image, on the device of the input.
        linf_255: (N,) measured norms of its perturbation in 1/255.
        eps_255: the radius in 1/255.
        warnings: what speaks against model or images, in a sentence each.
    """

    image_ids: list[str]
    attacks: list[str]
    attack_accuracy: NDArray[np.float64]
    worst_attack: NDArray[np.int64]
    counts: PixelCounts
    clean_counts: PixelCounts
    adversarial: Tensor
    linf_255: NDArray[np.float64]
    eps_255: float
    warnings: list[str] = field(default_factory=list)

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """(N,) pixel accuracy of each image in its worst case; NaN if all pixels are ignored."""
        return image_accuracy(self.counts.pixels, self.counts.pixels_correct)

    @property
    def clean_accuracy(self) -> NDArray[np.float64]:
        """(N,) pixel accuracy of each image without an attack; never below `accuracy`."""
        return image_accuracy(self.clean_counts.pixels, self.clean_counts.pixels_correct)

    @property
    def acc(self) -> float:
        """The paper's robust ACC: the mean of `accuracy`."""
        return mean_accuracy(self.counts.pixels, self.counts.pixels_correct)

    @property
    def clean_acc(self) -> float:
        """The same without an attack."""
        return mean_accuracy(self.clean_counts.pixels, self.clean_counts.pixels_correct)

    @property
    def miou(self) -> float:
        """The paper's robust mIoU: that of the worst-case images, over the classes that occur."""
        return miou(self.counts.intersection, self.counts.union)

    @property
    def clean_miou(self) -> float:
        """The same without an attack."""
        return miou(self.clean_counts.intersection, self.clean_counts.union)

    def __str__(self) -> str:
        counted = int((self.counts.pixels > 0).sum())  # the others are in no figure
        lines = [
            f"{amount(counted, 'image'):>13}      ACC   mIoU",
            f"clean          {100 * self.clean_acc:7.1f}{100 * self.clean_miou:7.1f}",
            f"SEA, {self.eps_255:4g}/255  {100 * self.acc:7.1f}{100 * self.miou:7.1f}",
        ]
        return "\n".join([*lines, *(f"Warning: {sentence}" for sentence in self.warnings)])


def sea(
    model: Any,
    images: Any,
    labels: Any,
    eps_255: float,
    *,
    image_ids: Sequence[Any] | None = None,
    losses: Sequence[str] = SEA_LOSSES,
    iterations: int = 300,
    batch_size: int = 32,
    seed: int = 0,
    ignore_index: int | None = 255,
    class_pixels: Sequence[int] | None = None,
) -> SeaResult:
    """Evaluate a segmentation model's robustness in the l_inf ball.

    One run of APGD with decreasing radius (2, 1.5, 1 x eps) for each loss; of each image the run
    that leaves the fewest pixels right counts, or the clean image if none leaves fewer. What makes
    the result doubtful is said once, as a `RobustsegWarning`, and kept in the result: before the
    attack what is known then. Where warnings are errors, a later one has the result as `result`.

    Example:
        >>> import torch
        >>> from robustseg import sea
        >>> model = torch.nn.Conv2d(3, 2, kernel_size=1)  # any images -> logits
        >>> images, labels = torch.rand(4, 3, 8, 8), torch.randint(2, (4, 8, 8))
        >>> result = sea(model, images, labels, eps_255=8, iterations=10)
        >>> result.adversarial.shape
        torch.Size([4, 3, 8, 8])
        >>> 0 <= result.acc <= result.clean_acc <= 1
        True

    Args:
        model: a module or function from images (B, C, H, W) in [0, 1] to logits (B, K, h, w), or
            anything that `wrap` takes; normalisation goes into `wrap(model, mean=..., std=...)`. A
            module is put in eval mode meanwhile, and images are moved to its device.
        images: (N, C, H, W) in [0, 1], see `inputs.as_images`.
        labels: (N, H, W) whole numbers in [0, K), see `inputs.as_labels`.
        eps_255: radius in 1/255: 8 for what others call 8/255.
        image_ids: N names; random starts follow from them. None for "0", "1", ...
        losses: members, see `spec.Member`: names of `losses.LOSSES`, and "js@10" for JS on logits
            that are scaled to a mean margin of 10; the paper's four by default.
        iterations: of each loss.
        batch_size: images at a time; the result does not depend on it, up to rounding in the model.
        seed: of the random starts.
        ignore_index: label of pixels that are neither attacked nor counted; None: there are none.
        class_pixels: pixels of each class in the training set, for losses that weight classes;
            None: those of `labels`, with a warning.

    Raises:
        RobustsegError: input that does not fit, or logits or gradients that are not finite, naming
            the image.
    """
    with torch.inference_mode(False):
        check_counts(iterations=iterations, batch_size=batch_size, at_most=MOST_PASSES)
        if not is_whole(seed):
            raise RobustsegError(f"seed must be a whole number; got {seed!r}")
        losses = [] if losses is None or isinstance(losses, str) else list(losses)
        if not losses or not all(isinstance(loss, str) for loss in losses):
            raise RobustsegError("losses must be a list of at least one name, like ['js']")
        specs = [AttackSpec(loss, "apgd", "reduced", iterations) for loss in losses]
        wrapped = wrap(model)
        refuse_swapped("the call", images, labels)
        ids = as_ids(image_ids, number_of(images))
        images, labels = as_images(images, ids), as_labels(labels, ids, ignore_index)
        check_batch(images, labels, ids, eps_255)
        eps_255 = float(eps_255)  # NumPy's numbers of half precision would round all that follows
        if (labels < 0).all():
            raise RobustsegError(
                f"all pixels are ignored: every label is {ignore_index}; check labels and "
                "ignore_index"
            )
        class_pixels = as_class_pixels(class_pixels)
        refuse_few_class_pixels(class_pixels, int(labels.max()) + 1)
        device = device_of(wrapped, images.device)
        slices = [slice(at, at + batch_size) for at in range(0, len(images), batch_size)]

        def batches() -> Iterator[Batch]:
            return (
                (images[some].to(device), labels[some].to(device), ids[some]) for some in slices
            )

        signs = WarningSigns(wrapped, [eps_255], ignore_index, losses)
        worst = _Worst(ids, [spec.name for spec in specs], images, eps_255)
        if class_pixels is None and ask_for_class_pixels(losses):
            class_pixels = labels[labels >= 0].bincount().tolist()
            signs.said.append(WEIGHED_BY_EVALUATION)
        attacks = [
            partial(attack_and_count, wrapped, spec, eps_255, int(seed), class_pixels=class_pixels)
            for spec in specs
        ]
        looks = iter([signs.look(batch) for batch in batches()])
        known = signs.found()
        warn(known)  # where warnings are errors, no attack was made in vain
        steps = in_turn(batches(), [lambda _: next(looks), *attacks], until_broken=True)
        for batch, number, places, outcome in steps:
            worst.take(number, worst.place_of[batch[2][0]] + places, outcome, batch)
            signs.gradients(outcome.unexplained_zeros)
        for name, acc, clean_acc in worst.means():
            signs.attacked(name, acc, clean_acc)
        late = [sentence for sentence in signs.found() if sentence not in known]
        result = worst.result([*known, *late])
        warn(late, result)
        return result


class _Worst:
    """The outcome with the lowest accuracy so far of each of N images, the clean one first."""

    def __init__(
        self, image_ids: list[str], attacks: list[str], images: Tensor, eps_255: float
    ) -> None:
        self.image_ids, self.attacks, self.eps_255 = image_ids, attacks, eps_255
        self.place_of = {image_id: place for place, image_id in enumerate(image_ids)}
        self.accuracy = np.full((len(attacks) + 1, len(image_ids)), np.nan)
        self.adversarial = torch.empty_like(images)
        self.linf_255 = np.zeros(len(image_ids))
        self.worst_attack = np.zeros(len(image_ids), dtype=np.int64)
        self.counts: PixelCounts | None = None
        self.clean_counts: PixelCounts | None = None

    def take(self, number: int, places: NDArray[np.intp], outcome: Outcome, batch: Batch) -> None:
        """Keep the outcome on the images at `places` where it is the worst so far.

        Args:
            number: 0 for the clean images, then the attacks; of equals an attack is preferred to
                the clean image, and an earlier attack to a later one.
            places: of the images among all.
            outcome: on them.
            batch: that they are of.
        """
        self.accuracy[number, places] = image_accuracy(
            outcome.counts.pixels, outcome.counts.pixels_correct
        )
        if number == 0:
            self.clean_counts = _put(self.clean_counts, outcome.counts, places, len(self.image_ids))
            self.adversarial[places] = batch[0].to(self.adversarial.device)
            better = np.ones(len(places), dtype=bool)
        else:
            # An attack comes before the clean image, which is the last of equals.
            order = [*range(1, number + 1), 0]
            worst = worst_case(np.nan_to_num(self.accuracy[order][:, places], nan=np.inf))
            better = worst == number - 1
            assert outcome.adversarial is not None
            lower = outcome.adversarial[better].to(self.adversarial.device)
            self.adversarial[places[better]] = lower
            self.linf_255[places[better]] = outcome.linf_255[better]
        self.worst_attack[places[better]] = number
        kept = PixelCounts(*(values[better] for values in outcome.counts))
        self.counts = _put(self.counts, kept, places[better], len(self.image_ids))

    def means(self) -> Iterator[tuple[str, float, float]]:
        """Yield of each attack its name, and the accuracy with and without it where it was run."""
        clean = self.accuracy[0]
        for name, accuracy in zip(self.attacks, self.accuracy[1:], strict=True):
            run = ~np.isnan(accuracy) & ~np.isnan(clean)
            if run.any():
                yield name, float(accuracy[run].mean()), float(clean[run].mean())

    def result(self, warnings: list[str]) -> SeaResult:
        """Return what was found."""
        assert self.counts is not None
        assert self.clean_counts is not None
        return SeaResult(
            image_ids=self.image_ids,
            attacks=self.attacks,
            attack_accuracy=self.accuracy[1:],
            worst_attack=(self.worst_attack - 1) % (len(self.attacks) + 1),
            counts=self.counts,
            clean_counts=self.clean_counts,
            adversarial=self.adversarial,
            linf_255=self.linf_255,
            eps_255=self.eps_255,
            warnings=warnings,
        )


def _put(
    all_counts: PixelCounts | None, some: PixelCounts, places: NDArray[np.intp], images: int
) -> PixelCounts:
    """Put counts at `places` among those of all images, which the first ones give their shapes."""
    if all_counts is None:
        shapes = [(images, *values.shape[1:]) for values in some]
        all_counts = PixelCounts(*(np.zeros(shape, dtype=np.int64) for shape in shapes))
    for kept, values in zip(all_counts, some, strict=True):
        kept[places] = values
    return all_counts
