"""Models and data sets seen differently, so that the attacks and counts here fit them too."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from robustseg.attacks.inputs import is_whole
from robustseg.data.interface import Dataset
from robustseg.data.opening import load_split
from robustseg.data.relabelled import Relabelled
from robustseg.errors import RobustsegError
from robustseg.models.references import own_model
from robustseg.text_files import read_json


class OnePixel(nn.Module):
    """A classifier as a segmentation model with one pixel: logits (B, K) become (B, K, 1, 1).

    Then an image's pixel accuracy is 1 or 0, and every loss is that of classification.
    """

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, K, 1, 1)."""
        logits: Tensor = self.classifier(images)
        return logits[:, :, None, None]


def one_pixel(dataset: Dataset) -> Dataset:
    """Return a classification set with labels (B, 1, 1) instead of (B,)."""
    return Relabelled(dataset, lambda labels: labels[:, None, None])


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


def load_pair(
    weights: str | Path | Sequence[str],
    split: str | Path,
    device: str,
    own: Mapping[str, Any] | None = None,
) -> tuple[nn.Module, Dataset]:
    """Load a model and the images it is scored on; a classifier becomes a model of one pixel.

    Args:
        weights: a segmentation model or a classifier, safetensors; not used for an `own` model.
        split: its images, see `data.opening.load_split`.
        device: of torch.
        own: how a model of one's own is made, see `models.references.own_model`.

    Raises:
        RobustsegError: a file is missing or damaged.
    """
    from robustseg.models.checkpoints import load_network  # models of one's own need no timm

    dataset = load_split(split)
    if own is not None:
        return own_model(own, dataset.num_classes, device), dataset
    model, metadata = load_network(str(weights), device)
    if metadata["architecture"]["kind"] == "classifier":
        return OnePixel(model), one_pixel(dataset)
    return model, dataset


def read_class_pixels(path: str | Path | None) -> list[int] | None:
    """Return the pixels of each class from a JSON file of `scripts/count_classes.py`; None of None.

    Raises:
        RobustsegError: it holds something else.
    """
    if path is None:
        return None
    pixels = read_json(path)
    if not (isinstance(pixels, list) and all(is_whole(one) and one >= 0 for one in pixels)):
        raise RobustsegError(
            f"{path} does not list the pixels of each class in whole numbers; make it again"
        )
    return pixels


def sources_of(
    lineages: Mapping[str, Mapping[str, Any]], weights: Sequence[str]
) -> dict[str, str | Mapping[str, Any]]:
    """Return what sources are made from: their weights, of models of one's own their settings.

    Args:
        lineages: by name, see `Config.lineage_of`.
        weights: of those that are no one's own, in this order.
    """
    files = iter(weights)
    return {
        name: settings
        if (settings := lineage.get("model", {})).get("kind") == "own"
        else next(files)
        for name, lineage in lineages.items()
    }


def load_sources(
    sources: Mapping[str, str | Mapping[str, Any]], num_classes: int, device: str
) -> dict[str, nn.Module]:
    """Load models that perturbations are found on.

    Args:
        sources: see `sources_of`.
        num_classes: K of the model that they are tried on.
        device: of torch.

    Raises:
        RobustsegError: a file is missing or damaged.
    """
    from robustseg.models.checkpoints import load_network

    return {
        name: load_network(source, device, "segmentation")[0]
        if isinstance(source, str)
        else own_model(source, num_classes, device)
        for name, source in sources.items()
    }
