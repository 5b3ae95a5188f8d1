"""What is known of a data set before any of its files is made: its images, and its classes."""

from collections.abc import Sequence

from robustseg.config.data import SEGMENTATION_KINDS, Ade20k, AnyData, Downloaded, Folder, ImageNet
from robustseg.data.interface import BACKGROUND
from robustseg.errors import RobustsegError


def known_images(data: AnyData) -> tuple[int | None, int | None]:
    """Return the images of the training and of the validation split; None: not known yet.

    Those of a person's own folders are counted where they lie.
    """
    if isinstance(data, Folder):
        try:
            train, val = data.images_there()
        except RobustsegError:  # said where the folders themselves are looked at
            return None, None
        return train if data.train_images else None, val
    if isinstance(data, ImageNet):
        return None, data.images
    if isinstance(data, Downloaded):
        return data.published_images[0] if data.check_counts else None, data.val_images
    return data.train_images, data.val_images


def known_classes(data: AnyData) -> Sequence[str] | None:
    """Return the names of the classes to segment; None: those of ADE20K are in its archive."""
    return getattr(data, "class_names", None) if data.kind in SEGMENTATION_KINDS else None


def has_background(data: AnyData) -> bool:
    """Return whether a data set to segment has a class of the pixels of no object."""
    if isinstance(data, Ade20k):
        return data.background == "class"
    return BACKGROUND in (known_classes(data) or ())
