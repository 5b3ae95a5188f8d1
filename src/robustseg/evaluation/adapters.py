"""Models and data sets seen differently, so that the attacks and counts here fit them too."""

from pathlib import Path

import torch
from torch import Tensor, nn

from robustseg.data.interface import IGNORE_LABEL, Dataset
from robustseg.data.opening import load_split
from robustseg.data.relabelled import Relabelled
from robustseg.models.checkpoints import load_model

NEVER = -1e4
"""Logit of a class that is never predicted: its probability is exactly 0 in float32."""


class OnePixel(nn.Module):
    """A classifier as a segmentation model with one pixel: logits (B, K) become (B, K, 1, 1).

    Then an image's pixel accuracy is 1 or 0, and every loss is that of classification. With more
    than 255 classes the label 255, which means ignored, is skipped: a class of that number is put
    in that is never predicted, and the others move up.
    """

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, K, 1, 1), or (B, K + 1, 1, 1) with more than 255 classes."""
        logits: Tensor = self.classifier(images)
        if logits.shape[1] > IGNORE_LABEL:
            never = torch.full_like(logits[:, :1], NEVER)
            before, after = logits[:, :IGNORE_LABEL], logits[:, IGNORE_LABEL:]
            logits = torch.cat([before, never, after], dim=1)
        return logits[:, :, None, None]


def one_pixel(dataset: Dataset) -> Dataset:
    """Return a classification set with labels (B, 1, 1) instead of (B,), none of them 255."""
    return Relabelled(
        dataset, lambda labels: (labels + (labels >= IGNORE_LABEL).long())[:, None, None]
    )


def class_names_of(model: nn.Module, dataset: Dataset) -> list[str] | None:
    """Return the names of the classes that a model's counts are of; None for classifiers."""
    return None if isinstance(model, OnePixel) else dataset.class_names


class WithoutClass(nn.Module):
    """A model that never predicts one class: its logit is put below all others, pixel by pixel."""

    def __init__(self, model: nn.Module, left_out: int) -> None:
        super().__init__()
        self.model, self.left_out = model, left_out

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, K, h, w)."""
        logits: Tensor = self.model(images).clone()
        logits[:, self.left_out] = logits.amin(1) - 1
        return logits


def load_pair(weights: str | Path, split: str | Path, device: str) -> tuple[nn.Module, Dataset]:
    """Load a model and the images it is scored on; a classifier becomes a model of one pixel.

    Args:
        weights: a segmentation model or a classifier, safetensors.
        split: its images, see `data.opening.load_split`.
        device: of torch.

    Raises:
        RobustsegError: a file is missing or damaged.
    """
    model, metadata = load_model(weights, device)
    dataset = load_split(split)
    if metadata["architecture"]["kind"] == "classifier":
        return OnePixel(model), one_pixel(dataset)
    return model, dataset
