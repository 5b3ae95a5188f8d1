"""The keys of data sets and of what is downloaded."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator, model_validator

from robustseg.addresses import quoted
from robustseg.data.archives import ARCHIVES
from robustseg.data.classes import OTHERS, class_lines, ignored_values, read_classes
from robustseg.data.labels import VOC_CLASSES
from robustseg.data.listing import count_images
from robustseg.data.scenes import OBJECT_NAMES, SCENE_CLASSES
from robustseg.data.splits import (
    ADE20K_CLASSES,
    ADE20K_SPLITS,
    ADE20K_VAL,
    CAMVID_CLASSES,
    CAMVID_IMAGES,
    CAMVID_SIZE_PX,
    CIFAR10_CLASSES,
    CIFAR10_IMAGES,
    CIFAR10_SIZE_PX,
    VOC_SPLITS,
    VOC_VAL,
    VOC_VAL_SPLITS,
)
from robustseg.errors import RobustsegError
from robustseg.models.published import FILES
from robustseg.names import IMAGENET_CLASSES, INTERPOLATIONS
from robustseg.sections import Count, FilePath, Pixels, Section, Seed, Sha256, Side, tag_of

MOST_GENERATED = 10**10
"""ASSUME: pixels of a generated data set, which is made in memory: 30 GB."""


class Generated(Section):
    """A data set that the workflow generates itself: `scenes` to segment, `shapes` to classify."""

    kind: Literal["scenes", "shapes"] = Field(
        description="`scenes`: several objects and a label for each pixel; "
        "`shapes`: one object and one label for the image, to pretrain backbones on"
    )
    size_px: Annotated[Pixels, Field(multiple_of=16)] = Field(
        description="height and width of an image, pixels"
    )
    train_images: Count = Field(description="images in the training split")
    val_images: Count = Field(description="images in the validation split, which is attacked")
    seed: Seed = Field(description="seed of the generator")
    object_radius_px: Annotated[list[Side], Field(min_length=2, max_length=2)] | None = Field(
        None,
        description="of `scenes`: smallest and largest radius of an object, pixels; by default "
        "10/48 and 16/48 of `size_px`",
    )

    @model_validator(mode="after")
    def _check(self) -> "Generated":
        radius = self.object_radius_px
        if radius and self.kind != "scenes":
            raise ValueError("has object_radius_px, which only scenes have")
        if radius and not radius[0] <= radius[1] <= self.size_px:
            raise ValueError(
                f"has object_radius_px {radius}, which should be the smaller and the larger, "
                f"neither above size_px {self.size_px}"
            )
        values = (self.train_images + self.val_images) * self.size_px**2
        if values > MOST_GENERATED:
            raise ValueError(
                f"would have {values:,} pixels in its images, where {MOST_GENERATED:,} is much; "
                "lower size_px, train_images or val_images"
            )
        return self

    @property
    def class_names(self) -> Sequence[str]:
        """Of the pixels of `scenes`, or of the images of `shapes`."""
        return SCENE_CLASSES if self.kind == "scenes" else OBJECT_NAMES

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)


class Downloaded(Section):
    """What PASCAL-VOC and ADE20K have in common, and `data.prepare` makes ready."""

    class_names: ClassVar[Sequence[str] | None] = None
    """In the order of the labels; None: known once the archive is there."""

    root: FilePath | None = Field(
        None,
        description="folder of a copy of your own, with the folders of the archives in it; "
        "without it the archives are downloaded",
    )
    crop_px: Pixels = Field(
        description="height and width of an image for the model, pixels (Table 5)"
    )
    base_px: Pixels = Field(
        description="in training the short side is 0.5 to 2 times this (Table 5), pixels",
    )
    padding: Literal["ignore", "background"] = Field(
        "ignore",
        description="label of what is added to a training image smaller than the crop: no label, "
        "or 0 as in the released code",
    )
    check_counts: bool = Field(
        True, description="whether a split must have the published number of images"
    )

    @property
    def published_images(self) -> tuple[int, int]:
        """Images of the training split, and of all that validate, as published."""
        raise NotImplementedError

    @property
    def num_classes(self) -> int:
        """K, with the background where it is a class."""
        raise NotImplementedError

    @property
    def val_images(self) -> int | None:
        """Images in the validation split; None: unknown until the files are there."""
        return self.published_images[1] if self.check_counts else None


class Voc(Downloaded):
    """PASCAL-VOC 2012, with the additional training masks of SBD."""

    class_names: ClassVar[Sequence[str]] = VOC_CLASSES

    kind: Literal["voc"] = Field(description="`voc`")
    crop_px: Pixels = Field(473, description=Downloaded.model_fields["crop_px"].description)
    base_px: Pixels = Field(512, description=Downloaded.model_fields["base_px"].description)
    train_split: Literal[tuple(VOC_SPLITS)] = Field(  # type: ignore[valid-type]
        "paper_8498",
        description="training images; the first two contain images of `val`, see docs/data.md",
    )
    val_split: Literal[VOC_VAL_SPLITS] = Field(  # type: ignore[valid-type]
        "val", description="all validation images, or those in or outside the training split"
    )
    void: Literal["ignore", "background"] = Field(
        "ignore", description="label of the pixels between objects: none, or background"
    )

    @property
    def published_images(self) -> tuple[int, int]:
        """Images of the training split, and of all that validate, as published."""
        return VOC_SPLITS[self.train_split].count, VOC_VAL.count

    @property
    def val_images(self) -> int | None:
        """Images in the validation split; None: unknown until the files are there."""
        return super().val_images if self.val_split == "val" else None

    @property
    def num_classes(self) -> int:
        """Objects and background."""
        return len(self.class_names)


class Ade20k(Downloaded):
    """ADE20K of the scene parsing challenge (2016)."""

    kind: Literal["ade20k"] = Field(description="`ade20k`")
    crop_px: Pixels = Field(512, description=Downloaded.model_fields["crop_px"].description)
    base_px: Pixels = Field(520, description=Downloaded.model_fields["base_px"].description)
    train_split: Literal[tuple(ADE20K_SPLITS)] = Field(  # type: ignore[valid-type]
        "train", description="training images"
    )
    val_split: Literal["val"] = Field("val", description="validation images")
    background: Literal["class", "ignore"] = Field(
        "class",
        description="pixels of no object: a class of their own, 151 in all (the paper), or no "
        "label and 150 classes (the usual way)",
    )

    @property
    def published_images(self) -> tuple[int, int]:
        """Images of the training split, and of all that validate, as published."""
        return ADE20K_SPLITS[self.train_split].count, ADE20K_VAL.count

    @property
    def num_classes(self) -> int:
        """Objects, and background where it is a class."""
        return ADE20K_CLASSES[self.background]


class Folder(Section):
    """Images and masks of your own; relative paths begin where snakemake runs."""

    kind: Literal["folder"] = Field(description="`folder`")
    images: FilePath = Field(
        description="folder of the images that are evaluated and attacked: PNG, JPEG, WebP, TIFF "
        "or BMP. An image's id is its path in there without the suffix",
    )
    masks: FilePath = Field(description="folder of their masks, with the same ids")
    classes: int | str | list[str] = Field(
        description="a text file with one class per line: `name`, or `name R G B` with its colour; "
        "a list of such lines; or how many there are"
    )
    values: str | list[int] | None = Field(
        None,
        description="the number of each class in the masks, in the order of `classes`: `1-150`, "
        "`7,8,11-13`, or a list; by default 0, 1, ... Labels count from 0 in any case",
    )
    ignore: int | list[int] | Literal[OTHERS] | None = Field(  # type: ignore[valid-type]
        255,
        description="mask values that are not classes; `others`: all that are not; null: none. "
        "For colour masks, the colour's place among those of the classes, from 0",
    )
    ids: FilePath | None = Field(
        None,
        description="text file with the ids of the images to use, one per line; all by default",
    )
    resize_px: Pixels | None = Field(
        None,
        description="short side to which images are resized for evaluation, pixels; by default "
        "each image keeps its size",
    )
    interpolation: Literal[INTERPOLATIONS] = Field(  # type: ignore[valid-type]
        "bilinear", description="of images when they are resized for evaluation"
    )
    train_images: FilePath | None = Field(
        None, description="folder of training images; without it models are only evaluated"
    )
    train_masks: FilePath | None = Field(None, description="folder of their masks")
    train_ids: FilePath | None = Field(None, description="as `ids`, of training images")
    crop_px: Pixels | None = Field(
        None, description="height and width of a training view, pixels; needed to train"
    )
    base_px: Pixels | None = Field(
        None,
        description="in training the short side is 0.5 to 2 times this, pixels; needed to train",
    )
    padding: Literal["ignore", "background"] = Field(
        "ignore",
        description="label of what is added to a training image smaller than the crop: no label, "
        "or that of the value 0",
    )

    @field_validator("classes", mode="before")
    @classmethod
    def _read(cls, classes: Any) -> list[str]:
        """Put the classes into the configuration, wherever they stand: results depend on them."""
        try:
            read_classes(classes)
            return class_lines(classes)
        except RobustsegError as error:
            raise ValueError(f"is refused: {error}") from error

    @field_validator("ignore", mode="before")
    @classmethod
    def _look(cls, ignore: Any) -> Any:
        if ignore not in (None, OTHERS) and not isinstance(ignore, int | list):
            raise ValueError(
                f"should be a value of the masks, a list, {OTHERS}, or null, not {ignore!r}"
            )
        return ignore

    @model_validator(mode="after")
    def _check(self) -> "Folder":
        try:
            classes = read_classes(self.classes, self.values)
            ignored = ignored_values(self.ignore, classes)
        except RobustsegError as error:
            raise ValueError(f"is refused: {error}") from error
        zero = 0 in classes.in_masks or ignored == OTHERS or 0 in ignored
        if self.padding == "background" and not zero:
            raise ValueError(
                "has padding: background, but the value 0 is neither a class nor ignored"
            )
        needed = {key: getattr(self, key) for key in ("train_masks", "crop_px", "base_px")}
        lacking = [key for key, value in needed.items() if value is None]
        if self.train_images and lacking:
            raise ValueError(f"has train_images, which need {', '.join(lacking)} too")
        idle = [key for key, value in {**needed, "train_ids": self.train_ids}.items() if value]
        if idle and not self.train_images:
            raise ValueError(f"has {', '.join(idle)}, for training alone, but no train_images")
        return self

    @property
    def paths(self) -> dict[str, str]:
        """Its folders and lists by key."""
        return {key: path for key in FOLDER_PATHS if (path := getattr(self, key))}

    @property
    def val_images(self) -> int | None:
        """Images that are evaluated; None: as many as there are."""
        return None

    def images_there(self) -> tuple[int, int]:
        """Count the images of the training and the validation split in their folders.

        Raises:
            RobustsegError: a folder or list is missing.
        """
        trained_on = count_images(self.train_images, self.train_ids) if self.train_images else 0
        return trained_on, count_images(self.images, self.ids)

    @property
    def num_classes(self) -> int:
        """How many classes have been read."""
        return len(self.class_names)

    @property
    def class_names(self) -> Sequence[str]:
        """In the order of `classes`."""
        return read_classes(self.classes).names


FOLDER_PATHS = ("images", "masks", "ids", "train_images", "train_masks", "train_ids")
"""Keys of kind `folder` whose values are there when the configuration is read."""


class Camvid(Section):
    """CamVid: street scenes, the photographs and classes chosen for SegNet."""

    class_names: ClassVar[Sequence[str]] = CAMVID_CLASSES

    kind: Literal["camvid"] = Field(description="`camvid`")
    root: FilePath | None = Field(
        None,
        description="folder of a copy of your own (docs/street.md); without it the photographs are "
        "downloaded",
    )
    check_pixels: bool = Field(
        True, description="whether photographs and masks must be the published ones to the pixel"
    )
    resize_px: Annotated[Pixels, Field(le=CAMVID_SIZE_PX[0])] = Field(
        CAMVID_SIZE_PX[0],
        description="short side to which photographs are resized for evaluation, pixels; 360 is "
        "their own",
    )
    interpolation: Literal[INTERPOLATIONS] = Field(  # type: ignore[valid-type]
        "bilinear", description=Folder.model_fields["interpolation"].description
    )
    crop_px: Pixels = Field(
        CAMVID_SIZE_PX[0], description="height and width of a training view, pixels"
    )
    base_px: Pixels = Field(
        CAMVID_SIZE_PX[0],
        description="in training the short side is 0.5 to 2 times this, pixels",
    )
    padding: Literal["ignore"] = Field(
        "ignore", description="label of what is added to a training image smaller than the crop"
    )
    train_images: Annotated[int, Field(ge=1, le=CAMVID_IMAGES["train"])] = Field(
        CAMVID_IMAGES["train"],
        description="how many of the training photographs, evenly spread",
    )
    val_images: Annotated[int, Field(ge=1, le=CAMVID_IMAGES["test"])] = Field(
        CAMVID_IMAGES["test"],
        description="how many of the test photographs are evaluated and attacked, evenly spread",
    )

    @property
    def num_classes(self) -> int:
        """Those of SegNet's choice."""
        return len(self.class_names)


class Cifar10(Section):
    """CIFAR-10: small photographs to classify, to pretrain backbones on."""

    kind: Literal["cifar10"] = Field(description="`cifar10`")
    size_px: Literal[CIFAR10_SIZE_PX] = Field(  # type: ignore[valid-type]
        CIFAR10_SIZE_PX, description="height and width of an image, pixels"
    )
    root: FilePath | None = Field(
        None,
        description="folder of a copy of your own (docs/street.md); without it the published "
        "binary version is downloaded",
    )
    train_images: Annotated[int, Field(ge=1, le=CIFAR10_IMAGES["train"])] = Field(
        CIFAR10_IMAGES["train"], description="how many of the training images, evenly spread"
    )
    val_images: Annotated[int, Field(ge=1, le=CIFAR10_IMAGES["test"])] = Field(
        CIFAR10_IMAGES["test"], description="how many of the test images, evenly spread"
    )

    @property
    def num_classes(self) -> int:
        """K."""
        return len(CIFAR10_CLASSES)


class ImageNet(Section):
    """ImageNet's validation images, of your own, to check fetched backbones on."""

    kind: Literal["imagenet"] = Field(description="`imagenet`")
    root: FilePath = Field(
        description="folder with one folder, such as n01440764, for each of the 1000 classes"
    )
    images: Count | None = Field(
        None, description="how many images, evenly spread over their names; all by default"
    )
    resize_px: Pixels = Field(256, description="short side to which images are resized, pixels")
    crop_px: Pixels = Field(224, description="height and width of their centre, pixels")

    @property
    def val_images(self) -> int | None:
        """Images that are scored; None: as many as there are."""
        return self.images

    @property
    def num_classes(self) -> int:
        """K."""
        return IMAGENET_CLASSES


class Mirror(Section):
    """Where a file is to be fetched from instead of the published addresses."""

    urls: list[Annotated[str, AfterValidator(quoted)]] = Field(
        min_length=1, description="addresses (http, https or file), tried in this order"
    )
    sha256: Sha256 | None = Field(None, description="its hash, if it is not the published file")


class Downloads(Section):
    """What is fetched from the network, and where it is kept for all runs."""

    folder: FilePath = Field(default="data", description="folder for archives and their contents")
    archives: dict[Literal[tuple(ARCHIVES)], Mirror] = Field(  # type: ignore[valid-type]
        default={}, description="mirrors of your own, by archive"
    )
    weights: dict[Literal[tuple(FILES)], Mirror] = Field(  # type: ignore[valid-type]
        default={},
        description="mirrors of your own, or copies (file://), of published weights by file name; "
        "docs/weights.md lists them",
    )

    def source_of(self, file: str) -> dict[str, Any]:
        """Return `urls`, what is `expected`, and `limit_bytes`, of the archive of this name."""
        name, published = next((n, a) for n, a in ARCHIVES.items() if a.file == file)
        own = self.archives.get(name)
        expected: dict[str, Any] = {
            key: getattr(published, key) for key in ("sha1", "md5", "size_bytes")
        }
        if own and own.sha256:
            expected = {"sha256": own.sha256}
        urls = list(own.urls if own else published.urls)
        return {"urls": urls, "expected": expected, "limit_bytes": published.limit_bytes}

    def source_of_weights(self, file: str) -> dict[str, Any]:
        """Return `urls`, and what is `expected`, of the file of published weights of this name."""
        own, published = self.weights.get(file), FILES[file]
        expected = {"sha256": published.sha256, "size_bytes": published.size_bytes}
        if own and own.sha256:
            expected = {"sha256": own.sha256, "size_bytes": None}
        return {"urls": list(own.urls if own else published.urls), "expected": expected}


AnyData: TypeAlias = Annotated[
    Annotated[Generated, Tag("kind:scenes")]
    | Annotated[Generated, Tag("kind:shapes")]
    | Annotated[Voc, Tag("kind:voc")]
    | Annotated[Ade20k, Tag("kind:ade20k")]
    | Annotated[Camvid, Tag("kind:camvid")]
    | Annotated[Cifar10, Tag("kind:cifar10")]
    | Annotated[Folder, Tag("kind:folder")]
    | Annotated[ImageNet, Tag("kind:imagenet")],
    Discriminator(tag_of()),
]
SEGMENTATION_KINDS = ("scenes", "voc", "ade20k", "camvid", "folder")
CLASSIFICATION_KINDS = ("shapes", "cifar10")
