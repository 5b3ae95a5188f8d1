"""What classification and segmentation need from the training loop: a loss and scores."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from robustseg.attacks.coarse_logits import Columns
from robustseg.attacks.pixel_losses import are_finite
from robustseg.data.interface import Dataset
from robustseg.errors import RobustsegError
from robustseg.metrics import PixelCounts, count_pixels, mean_accuracy, miou
from robustseg.models.build import SegmentationModel
from robustseg.training.inner_losses import cross_entropy

Attack = Callable[[Tensor, Tensor], Tensor]
"""Images and labels to perturbed images."""


@dataclass(frozen=True)
class Scores:
    """Accuracy (for segmentation the mean of the images' accuracies) and mIoU, as fractions."""

    accuracy: float
    miou: float | None


class Classification:
    """Training of a classifier."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def training_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss to be minimised."""
        return cross_entropy(self.model(images), labels)

    def scores(self, dataset: Dataset, indices: list[list[int]], attack: Attack) -> Scores:
        """Score the model in eval mode on some batches of a split."""
        predicted = predict(self, dataset, indices, attack)
        correct = torch.cat([prediction == labels for prediction, labels in predicted])
        return Scores(float(correct.float().mean()), None)


class Segmentation:
    """Training of a segmentation model, with the loss of its auxiliary head."""

    def __init__(self, model: SegmentationModel, auxiliary_weight: float) -> None:
        self.model, self.auxiliary_weight = model, auxiliary_weight

    def training_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss to be minimised (Table 5: the auxiliary loss weighs 0.4)."""
        decoder, auxiliary = self.model.coarse_with_auxiliary(images)
        loss = cross_entropy(Columns.of(decoder) or decoder.logits(), labels)
        if auxiliary is None:
            return loss
        more = cross_entropy(Columns.of(auxiliary) or auxiliary.logits(), labels)
        return loss + self.auxiliary_weight * more

    def scores(self, dataset: Dataset, indices: list[list[int]], attack: Attack) -> Scores:
        """Score the model in eval mode on some batches of a split."""
        counts = [
            count_pixels(prediction, labels, dataset.num_classes)
            for prediction, labels in predict(self, dataset, indices, attack)
        ]
        whole = PixelCounts(*(np.concatenate(parts) for parts in zip(*counts, strict=True)))
        accuracy = mean_accuracy(whole.pixels, whole.pixels_correct)
        return Scores(accuracy, miou(whole.intersection, whole.union))


Task = Classification | Segmentation


def predict(
    task: Task, dataset: Dataset, indices: list[list[int]], attack: Attack
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield predicted and true classes of attacked images, batch by batch, in eval mode.

    One batch at a time: those of a whole split would not fit beside a network of the paper's size.

    Raises:
        RobustsegError: outputs are not finite.
    """
    device = next(task.model.parameters()).device
    training = task.model.training
    task.model.eval()
    try:
        for chosen in indices:
            images, labels, _ = dataset.batch(chosen)
            images, labels = images.to(device), labels.to(device)
            perturbed = attack(images, labels)
            with torch.no_grad():
                logits = task.model(perturbed)
            if not are_finite(logits).all():  # no later loss would tell of the last update
                raise RobustsegError(
                    "the network's outputs are not finite after this epoch's updates; lower the "
                    "learning_rate, or lengthen the warm-up"
                )
            yield logits.argmax(1), labels
    finally:
        task.model.train(training)
