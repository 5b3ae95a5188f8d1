"""From images and label maps of any size to what a model sees (Table 5)."""

import random
from dataclasses import dataclass

from PIL import Image, ImageFilter
from torchvision.transforms.v2 import InterpolationMode, functional

from robustseg.data.image_files import resized_px
from robustseg.errors import RobustsegError
from robustseg.names import INTERPOLATIONS

Pair = tuple[Image.Image, Image.Image]
"""An RGB image and its labels, one byte a pixel, or 32 bits (mode I)."""
Size = tuple[int, int]
"""Height and width in pixels."""
SCALES = (0.5, 2.0)
BLUR_PROBABILITY = 0.5
BLUR_RADIUS_PX = (0.0, 1.0)


@dataclass(frozen=True)
class Views:
    """How a data set's images are cut to size.

    Attributes:
        crop_px: height and width of what the model sees.
        base_px: in training the short side is drawn from SCALES times this.
        padding_label: of what is added to a training image that is smaller than the crop.
    """

    crop_px: int
    base_px: int
    padding_label: int

    def size_px(self, own_px: Size) -> Size:
        """Return the size in which `validation` shows an image of any size."""
        return self.crop_px, self.crop_px

    def refuse_large(self, own_px: Size) -> None:
        """Refuse the size of an image whose largest training view is cut from too many pixels.

        Raises:
            RobustsegError: see `resized_px`.
        """
        resized_px(own_px, round(self.base_px * max(SCALES)), "base_px")

    def validation(self, image: Image.Image, labels: Image.Image) -> Pair:
        """Return the centre of the image, its short side resized to the crop.

        Raises:
            RobustsegError: see `resized_px`.
        """
        resized_px((image.height, image.width), self.crop_px, "crop_px")
        image, labels = _resized(image, labels, self.crop_px)
        size = [self.crop_px, self.crop_px]
        return functional.center_crop(image, size), functional.center_crop(labels, size)

    def training(self, image: Image.Image, labels: Image.Image, source: random.Random) -> Pair:
        """Return a random view: flipped, scaled, padded, cropped and blurred at random.

        # ASSUME: the range of scales and of the blur's radius, which Table 5 does not give.
        # RELEASED CODE: these; it pads labels with 0, and the two outermost places of a crop come
        # as often as the others, where here they come half as often.

        Raises:
            RobustsegError: see `refuse_large`.
        """
        self.refuse_large((image.height, image.width))
        if source.random() < 0.5:
            image, labels = functional.hflip(image), functional.hflip(labels)
        image, labels = _resized(image, labels, round(self.base_px * source.uniform(*SCALES)))
        image, labels = self._padded(image, labels)
        left = round(source.random() * (image.width - self.crop_px))
        top = round(source.random() * (image.height - self.crop_px))
        box = (left, top, left + self.crop_px, top + self.crop_px)
        image, labels = image.crop(box), labels.crop(box)
        if source.random() < BLUR_PROBABILITY:
            radius = source.uniform(*BLUR_RADIUS_PX)
            image = image.filter(ImageFilter.GaussianBlur(radius))
        return image, labels

    def _padded(self, image: Image.Image, labels: Image.Image) -> Pair:
        """Add black and `padding_label` on the right and below, up to the crop's size."""
        right, below = (max(0, self.crop_px - side) for side in image.size)
        border = [0, 0, right, below]
        return (
            functional.pad(image, border, fill=0),
            functional.pad(labels, border, fill=self.padding_label),
        )


@dataclass(frozen=True)
class Whole:
    """How a data set's images are shown whole in evaluation, and cut to size in training.

    Attributes:
        resize_px: length of the short side to which an image is resized; None: its own size.
        interpolation: of images in that, one of `names.INTERPOLATIONS`, with antialiasing.
        cut: for training; None: the data set can only be evaluated.
    """

    resize_px: int | None = None
    interpolation: str = "bilinear"
    cut: Views | None = None

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise RobustsegError(
                f"interpolation is {self.interpolation!r}; known are {', '.join(INTERPOLATIONS)}"
            )
        if self.resize_px is not None and self.resize_px < 1:
            raise RobustsegError(f"resize_px is {self.resize_px}; it should be at least 1 pixel")

    def size_px(self, own_px: Size) -> Size:
        """Return the size in which `validation` shows an image of some size, see `resized_px`."""
        return resized_px(own_px, self.resize_px)

    def validation(self, image: Image.Image, labels: Image.Image) -> Pair:
        """Return the image, its short side resized if so wanted, see `resized_px`."""
        if self.resize_px is None:
            return image, labels
        self.size_px((image.height, image.width))
        return _resized(image, labels, self.resize_px, self.interpolation)

    def training(self, image: Image.Image, labels: Image.Image, source: random.Random) -> Pair:
        """Return a random view, see `Views.training`.

        Raises:
            RobustsegError: the data set has none, or see `Views.refuse_large`.
        """
        if self.cut is None:
            raise RobustsegError(
                "the data set has no training views, so it can only be evaluated; to train on it "
                "give it crop_px and base_px in a configuration"
            )
        return self.cut.training(image, labels, source)


def _resized(
    image: Image.Image, labels: Image.Image, short_px: int, interpolation: str = "bilinear"
) -> Pair:
    """Resize the short side to `short_px`, the labels by the nearest pixel."""
    return (
        functional.resize(image, [short_px], InterpolationMode(interpolation)),
        functional.resize(labels, [short_px], InterpolationMode.NEAREST),
    )
