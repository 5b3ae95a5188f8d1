"""SEA, the Semantic Ensemble Attack (arXiv 2306.12941, Sec. 2.4), for anybody's model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustseg.attacks.attacked_model import Model, device_of
from robustseg.attacks.counting import attack_and_count
from robustseg.attacks.run import check_batch
from robustseg.attacks.spec import AttackSpec
from robustseg.metrics import Counts, image_accuracy, mean_accuracy, miou
from robustseg.names import SEA_LOSSES


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
    counts: Counts
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
        >>> from robustseg.attacks.sea import sea
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
        losses: names of `names.LOSSES`; the paper's four by default.
        iterations: of each loss.
        batch_size: images at a time; the result does not depend on it, up to rounding in the model.
        seed: of the random starts.

    Raises:
        RobustsegError: input that does not fit, or logits that are not finite, naming the image.
    """
    ids = [str(place) for place in range(len(images))] if image_ids is None else list(image_ids)
    check_batch(images, labels, ids, eps_255)
    specs = [AttackSpec(loss, "apgd", "reduced", iterations) for loss in losses]
    parts = [
        _sea_batch(model, images[part], labels[part], ids[part], eps_255, specs, seed)
        for part in (slice(i, i + batch_size) for i in range(0, len(images), batch_size))
    ]
    counts = Counts(
        *(np.concatenate(each) for each in zip(*(p.counts for p in parts), strict=True))
    )
    return SeaResult(
        image_ids=ids,
        attacks=[spec.name for spec in specs],
        attack_accuracy=np.concatenate([part.attack_accuracy for part in parts], axis=1),
        worst_attack=np.concatenate([part.worst_attack for part in parts]),
        counts=counts,
        adversarial=torch.cat([part.adversarial for part in parts]),
        linf_255=np.concatenate([part.linf_255 for part in parts]),
    )


def _sea_batch(
    model: Model,
    images: Tensor,
    labels: Tensor,
    ids: list[str],
    eps_255: float,
    specs: list[AttackSpec],
    seed: int,
) -> SeaResult:
    """Run the attacks one after the other, each on the images that still have a right pixel."""
    device = device_of(model, images.device)
    accuracy = np.full((len(specs), len(ids)), np.nan)
    worst: SeaResult | None = None
    for place, spec in enumerate(specs):
        alive = np.arange(len(ids)) if worst is None else worst.counts.pixels_correct.nonzero()[0]
        if not len(alive):
            break
        outcome = attack_and_count(
            model,
            images[alive].to(device),
            labels[alive].to(device),
            [ids[i] for i in alive],
            spec,
            eps_255,
            seed,
        )
        counts = outcome.counts
        accuracy[place, alive] = image_accuracy(counts.pixels, counts.pixels_correct)
        adversarial = outcome.adversarial.to(images.device)
        if worst is None:
            first = np.zeros(len(ids), dtype=np.int64)
            names = [spec.name for spec in specs]
            worst = SeaResult(ids, names, accuracy, first, counts, adversarial, outcome.linf_255)
            continue
        lower = counts.pixels_correct < worst.counts.pixels_correct[alive]
        better = alive[lower]
        worst.worst_attack[better] = place
        worst.adversarial[better] = adversarial[lower]
        worst.linf_255[better] = outcome.linf_255[lower]
        for kept, new in zip(worst.counts, counts, strict=True):
            kept[better] = new[lower]
    assert worst is not None
    return worst
