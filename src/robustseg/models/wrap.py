"""Anybody's network as a segmentation model: images in [0, 1] to logits of the data's classes."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from math import isfinite
from operator import index
from typing import Any, SupportsIndex

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import is_lazy

from robustseg.bounds import LARGEST_NUMBER, SMALLEST_NUMBER
from robustseg.errors import FullGpuError, RobustsegError, is_of_full_gpu, said_by
from robustseg.models.interpolation import Coarse, EnlargingModel, run_coarsely
from robustseg.models.modules_behind import modules_behind

USUAL_OUTPUTS = ("logits", "out")
"""Keys or attributes that hold the logits in transformers and torchvision."""
QUERIES = (
    ("class_queries_logits", "masks_queries_logits"),
    ("pred_logits", "pred_masks"),
)
"""Outputs of networks that predict masks with a class each (MaskFormer, Mask2Former, EoMT), as
transformers and as the authors name them."""
FAINTEST = 1e-8
"""Added to a class's score before its logarithm is taken."""

SIZES = re.compile(r"\b(sizes?|shapes?|height|width|divisible)\b")
"""What a network's complaint of an image's size has in it."""
EXPORT_AGAIN = (
    "export it for any number, with 2 or more as an example: torch.export.export(net, (images,), "
    'dynamic_shapes=({0: torch.export.Dim("images")},))'
)
"""What to do about a program with a batch size of its own."""

Output = str | int | Callable[[Any], Tensor]
Enlarge = Callable[[Tensor, tuple[int, int]], Tensor]


class WrappedModel(EnlargingModel):
    """What `wrap` returns; the network stays inside as `net`.

    Attributes:
        net: the network, or a function, from images to its outputs.
        data_classes: K, how many of the logits are classes of the data; None: all of them. Logits
            behind them take part in the prediction and are never right.
        keeps_output: whether the network was seen to keep what it returned, so that an attack must
            not write over it.
        shrunk: sizes, height and width, of logits that were larger than the image, and of that.
    """

    mean: Tensor | None
    std: Tensor | None
    place: Tensor
    keeps_output = False
    shrunk: tuple[tuple[int, int], tuple[int, int]] | None = None

    def __init__(
        self,
        net: Any,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        scale: float = 1.0,
        output: Output | None = None,
        classes: Sequence[int | None] | None = None,
        num_classes: int | None = None,
        divisor: int | None = None,
        size_px: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.scale, self.output, self.divisor = scale, output, divisor
        self.size_px = None if size_px is None else (size_px[0], size_px[1])
        self.classes = None if classes is None else _as_classes(classes)
        self.data_classes = _data_classes(self.classes, num_classes)
        for name, values in (("mean", mean), ("std", std)):
            kept = (
                None
                if values is None
                else torch.tensor(values, device="cpu").float().view(1, -1, 1, 1)
            )
            self.register_buffer(name, kept, persistent=False)
        # Goes along where the model is sent, so that a function without modules has a place too.
        self.register_buffer("place", torch.empty(0, device="cpu"), persistent=False)

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> WrappedModel:
        """Move or cast the modules that a function runs too: torch's `to`, `half`, ... end here."""
        if not isinstance(self.net, nn.Module):
            for module in list(modules_behind(self.net)):
                module._apply(function, recurse)  # type: ignore[no-untyped-call]
        super()._apply(function, recurse)  # type: ignore[no-untyped-call]
        return self

    def train(self, mode: bool = True) -> WrappedModel:
        """Set the mode of all modules; exported programs have but that of their export."""
        self.training = mode
        for module in self.children():
            if not is_exported(module):
                module.train(mode)
        return self

    def coarse(self, images: Tensor) -> Coarse:
        """(B, C, H, W) in [0, 1] to float logits (B, K or more, h, w), not yet as large as these.

        Where `classes` are given they are as large: its outputs cannot be put together before.

        Raises:
            RobustsegError: the network fails, or what it returns holds no logits.
        """
        height, width = images.shape[2:]
        padded = self._padded_size(height, width)
        outputs: Any = self._run(self._padded(self._normalised(images)))
        enlarge: Enlarge = _interpolate
        align_corners = False
        if isinstance(outputs, Coarse) and outputs.size == outputs.crop:
            maps, enlarge, align_corners = outputs.maps, outputs.enlarge, outputs.align_corners
        else:
            maps = outputs.logits() if isinstance(outputs, Coarse) else outputs
        logits = self._logits(maps, len(images), padded)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        enlarge = partial(_enlarge, enlarge)
        rows, columns = logits.shape[2:]
        if rows > padded[0] or columns > padded[1]:
            self.shrunk = ((rows, columns), padded)
        coarse = Coarse(logits, padded, (height, width), enlarge, align_corners)
        known = logits.shape[1]
        if self.classes is not None:
            logits = self._of_the_data(coarse.logits(), self.classes)
            return replace(coarse, maps=logits, size=coarse.crop)
        if known < (self.data_classes or 0):
            raise RobustsegError(
                f"the model has {known} outputs and the data {self.data_classes} classes; correct "
                "the number of classes, or say with wrap(model, classes=[...]) which class each "
                "output is"
            )
        return coarse

    @property
    def device(self) -> torch.device | None:
        """Where images must go: to its parameters or buffers, or where a function was sent (`to`).

        None if there are none to be found and it was never sent elsewhere than to the CPU.
        """
        for module in self._modules_inside():
            for tensor in (*module.parameters(), *module.buffers()):
                return tensor.device
        return None if self.place.device.type == "cpu" else self.place.device

    def _modules_inside(self) -> Iterator[nn.Module]:
        return iter([self.net]) if isinstance(self.net, nn.Module) else modules_behind(self.net)

    def extra_repr(self) -> str:
        """Say how images are prepared and which classes there are."""
        mean, std = (
            None if v is None else [float(f"{one:.6g}") for one in v.flatten().tolist()]
            for v in (self.mean, self.std)
        )
        return (
            f"mean={mean}, std={std}, scale={self.scale}, classes={self.classes}, "
            f"data_classes={self.data_classes}, divisor={self.divisor}, size_px={self.size_px}"
        )

    def _normalised(self, images: Tensor) -> Tensor:
        """Return images as the network wants them, always a copy: it may change them in place."""
        values = images * self.scale if self.scale != 1 else images
        for name, buffer in (("mean", self.mean), ("std", self.std)):
            if buffer is not None:
                if buffer.shape[1] not in (1, images.shape[1]):
                    raise RobustsegError(
                        f"{name} has {buffer.shape[1]} values and images have {images.shape[1]} "
                        f"channels; give one value per channel"
                    )
                if buffer.device != values.device:  # else each pass would wait for the copy
                    with torch.inference_mode(False):
                        buffer = buffer.to(values.device)
                    setattr(self, name, buffer)
                buffer = buffer.to(values)
                values = values - buffer if name == "mean" else values / buffer
        values = values.to(_dtype_of(self.net, values.dtype))
        return values.clone() if values is images else values

    def _padded_size(self, height: int, width: int) -> tuple[int, int]:
        if self.size_px is not None:
            if height > self.size_px[0] or width > self.size_px[1]:
                raise RobustsegError(
                    f"an image of {height} x {width} pixels (height x width) is larger than the "
                    f"model's size_px {self.size_px[0]} x {self.size_px[1]}; resize the images"
                )
            return self.size_px
        step = self.divisor or 1
        return -(-height // step) * step, -(-width // step) * step

    def _padded(self, values: Tensor) -> Tensor:
        """Pad on the right and below with 0, which is the mean colour."""
        height, width = values.shape[2:]
        padded = self._padded_size(height, width)
        below, right = padded[0] - height, padded[1] - width
        return functional.pad(values, (0, right, 0, below)) if below or right else values

    def _run(self, values: Tensor) -> Any:
        if is_exported(self.net) and len(values) != (_fixed_batch(self.net) or len(values)):
            raise RobustsegError(
                f"the exported program takes one image at a time and got {len(values)}; give "
                f"batch_size=1, to a loader too, or {EXPORT_AGAIN}"
            )
        try:
            return run_coarsely(self.net, values) if self.output is None else self.net(values)
        except RobustsegError:
            raise
        except (Exception, SystemExit) as error:
            if is_of_full_gpu(error):
                raise _out_of_memory(values) from error
            raise RobustsegError(
                f"the model failed on images {tuple(values.shape)} {values.dtype} on "
                f"{values.device}: {said_by(error)}{self._other_precision(values.dtype)}"
                f"{self._other_size(error)}{_one_by_one(values, error)}"
            ) from error

    def _other_precision(self, given: torch.dtype) -> str:
        """Return advice for a function that runs a module in another precision; "" if none does."""
        if isinstance(self.net, nn.Module):
            return ""  # images were cast to its precision
        for module in modules_behind(self.net):
            wanted = _dtype_of(module, given)
            if wanted != given:
                return (
                    f"; the function runs {type(module).__name__} in {wanted}: let it cast images "
                    f"first, images.to({wanted}), or pass the module itself"
                )
        return ""

    def _other_size(self, error: BaseException) -> str:
        """Return advice where a network complains of a size that nothing was said about."""
        said = str(error).lower()
        if self.size_px or self.divisor or "channel" in said or not SIZES.search(said):
            return ""
        return (
            "; if images must have one size, say wrap(model, size_px=...), and if their sides must "
            "be multiples of a number, divisor=... (--divisor)"
        )

    def _logits(self, outputs: Any, images: int, size: tuple[int, int]) -> Tensor:
        """Return what stands for logits in the network's outputs, (B, K, h, w)."""
        queries = None if self.output is not None else _queries_in(outputs)
        found = self._find(outputs) if queries is None else _logits_of_queries(*queries, size)
        if isinstance(found, Tensor) and not found.dtype.is_floating_point:
            raise RobustsegError(
                f"the model returned {found.dtype}, not logits; attacks need its scores before "
                "argmax"
            )
        if not isinstance(found, Tensor) or found.ndim != 4 or len(found) != images:
            raise RobustsegError(
                f"the model returned {_described(outputs)} for {images} images; it must return "
                "logits (images, classes, height, width), or say with wrap(model, output=...) "
                "or --output where they are: a key, an attribute, an index, or a function"
            )
        if found.shape[1:3] == size != found.shape[2:]:
            raise RobustsegError(
                f"the model returned {_described(found)}, with the classes last; put them second "
                "inside its forward, logits.permute(0, 3, 1, 2), or say so with "
                "wrap(model, output=lambda logits: logits.permute(0, 3, 1, 2))"
            )
        return torch.cat([torch.zeros_like(found), found], 1) if found.shape[1] == 1 else found

    def _find(self, outputs: Any) -> Any:
        wanted = self.output
        if callable(wanted):
            try:
                return wanted(outputs)
            except Exception as error:
                raise RobustsegError(
                    f"the function `output` failed on {_described(outputs)}: {said_by(error)}"
                ) from error
        if wanted is not None:
            try:
                named = isinstance(wanted, str) and _has(outputs, wanted)
                return getattr(outputs, str(wanted)) if named else outputs[wanted]
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise RobustsegError(
                    f"the model's output has no {wanted!r}: it is {_described(outputs)}; choose "
                    "another `output`"
                ) from error
        if isinstance(outputs, Tensor):
            return outputs
        for name in USUAL_OUTPUTS:
            if isinstance(outputs, Mapping) and name in outputs:
                return outputs[name]
            if _has(outputs, name):
                return getattr(outputs, name)
        values = list(outputs.values()) if isinstance(outputs, Mapping) else outputs
        if not isinstance(values, list | tuple):
            return None
        maps = [one for one in values if isinstance(one, Tensor) and one.ndim == 4]
        if len(maps) > 1:  # features, or an auxiliary head: only a number of classes tells
            known = len(self.classes) if self.classes is not None else self.data_classes
            maps = [one for one in maps if max(one.shape[1], 2) == known]
        return maps[0] if len(maps) == 1 else None

    def _of_the_data(self, logits: Tensor, classes: Sequence[int | None]) -> Tensor:
        """Return logits in the order of the data's classes, outputs that are none of them last."""
        if logits.shape[1] != len(classes):
            raise RobustsegError(
                f"`classes` names {len(classes)} outputs and the model has {logits.shape[1]}; "
                "name the class of each output, None for one that is not a class of the data"
            )
        assert self.data_classes is not None
        outputs: dict[int | None, list[Tensor]] = {}
        # Not `logits[:, places]`: a GPU would wait for each list of places.
        for label, channel in zip(classes, logits.unbind(1), strict=True):
            outputs.setdefault(label, []).append(channel)
        others = outputs.pop(None, [])
        never = logits.amin(1) - 1
        parts = [
            reduce(torch.maximum, outputs.get(label, [never])) for label in range(self.data_classes)
        ]
        return torch.stack([*parts, *others], 1)


def _one_by_one(values: Tensor, error: BaseException) -> str:
    """Return advice where a network may take one image at a time; a bare assertion says nothing."""
    said = str(error).lower()
    bare = isinstance(error, AssertionError) and not said
    if len(values) == 1 or not (bare or re.search(r"\bbatch\b", said)):
        return ""
    return "; if it takes one image at a time, give batch_size=1 (--batch-size 1)"


def _interpolate(logits: Tensor, size: tuple[int, int]) -> Tensor:
    if logits.shape[2:] == size:
        return logits
    return functional.interpolate(logits, size, mode="bilinear", align_corners=False)


def _enlarge(by: Enlarge, logits: Tensor, size: tuple[int, int]) -> Tensor:
    try:
        return by(logits, size)
    except RuntimeError as error:
        if is_of_full_gpu(error):
            raise _out_of_memory(logits) from error
        raise


def _out_of_memory(images: Tensor) -> FullGpuError:
    return FullGpuError(
        f"the model ran out of the GPU's memory on {len(images)} images at a time; lower batch_size"
    )


def wrap(
    model: Any,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    scale: float = 1.0,
    output: Output | None = None,
    classes: Sequence[int | None] | None = None,
    num_classes: int | None = None,
    divisor: int | None = None,
    size_px: int | tuple[int, int] | None = None,
) -> WrappedModel:
    """Make anybody's network a segmentation model that can be attacked and evaluated.

    Logits that are coarser than the image are made larger (bilinear, corners not aligned). Logits
    in half precision become float32, and images go in with the precision of the weights. A head
    of one channel u stands for two classes with the logits 0 and u. Of networks that predict masks
    with a class each, a class's logit is the logarithm of its score, the sum over queries of its
    probability times the mask's.

    Example:
        >>> import torch
        >>> from robustseg import IMAGENET_MEAN, IMAGENET_STD, wrap
        >>> net = torch.nn.Conv2d(3, 4, kernel_size=3, stride=2, padding=1)
        >>> model = wrap(net, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        >>> model(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 4, 8, 8])

    Args:
        model: a module, or a function, from images (B, C, H, W) to logits (B, K, h, w) or to
            something that holds them: a dict, an object or a named tuple with `logits` or `out`,
            class and mask queries, or a list, tuple or dict with one map, or with one that has as
            many channels as there are classes, if their number is given.
        mean, std: one value a channel, subtracted from and dividing images in [0, 1] times `scale`.
        scale: for networks that want another range, 255 for example.
        output: where the logits are, if they are not found: a key, an attribute, a place, or a
            function of what the model returns.
        classes: for each output the class of the data that it is, or None if it is none: such an
            output takes part in the prediction, and a pixel that gets it is wrong. Several
            outputs may be one class. A class of no output is never predicted. None: outputs are
            the classes 0, 1, ...
        num_classes: K, the classes of the data; outputs from K on are none of them. By default
            all outputs, or up to the largest number in `classes`.
        divisor: images are padded below and on the right until height and width are multiples.
        size_px: they are padded to this height and width; one number for a square.

    Returns:
        The model; as it is if it is wrapped already.

    Raises:
        RobustsegError: settings that make no sense; the model's own failures come with its passes.
    """
    given = {
        "mean": mean, "std": std, "output": output, "classes": classes,
        "num_classes": num_classes, "divisor": divisor, "size_px": size_px,
    }  # fmt: skip
    if isinstance(model, WrappedModel):
        named = [name for name, value in given.items() if value is not None]
        if named or scale != 1:
            raise RobustsegError(
                f"the model is wrapped already; pass {', '.join(named) or 'scale'} to that call"
            )
        return model
    if isinstance(model, torch.export.ExportedProgram):
        model = model.module()
    _check_model(model)
    mean, std = _as_numbers("mean", mean), _as_numbers("std", std)
    square = size_px if isinstance(size_px, tuple | list | None) else (size_px, size_px)
    if square is not None and len(square) != 2:
        raise RobustsegError(f"size_px must be one number or (height, width); got {size_px}")
    for name, number in (("num_classes", num_classes), ("divisor", divisor)):
        _check_whole(name, number)
    for length in square or ():
        _check_whole("size_px", length)
    _check_range(mean, std, scale)
    return WrappedModel(
        model,
        mean=mean,
        std=std,
        scale=float(scale),  # by its digest, 255 would be another model than 255.0
        output=output,
        classes=classes,
        num_classes=num_classes,
        divisor=divisor,
        size_px=square,
    )


def _check_model(model: Any) -> None:
    """Refuse what cannot be called on images, or has no values yet."""
    if isinstance(model, nn.Module) and is_exported(model) and (_fixed_batch(model) or 1) > 1:
        raise RobustsegError(
            f"the exported program takes {_fixed_batch(model)} images at a time, no more and no "
            f"fewer, and an attack needs any number from 1 on; {EXPORT_AGAIN}"
        )
    if not callable(model):
        raise RobustsegError(
            f"a model must be a module or a function of images, not {type(model).__name__}; "
            "a state dict has to be loaded into its network first (load_state_dict)"
        )
    if isinstance(model, type):
        name = model.__name__
        raise RobustsegError(f"{name} is a class; pass an instance of it: {name}()")
    for module in [model] if isinstance(model, nn.Module) else modules_behind(model):
        lazy = [name for name, one in module.named_parameters() if is_lazy(one)]
        if lazy:
            raise RobustsegError(
                f"the parameter {lazy[0]} of {type(module).__name__} has no values yet, as lazy "
                "layers have none before their first pass; run it once on images and load its "
                "weights before you pass it"
            )


def _check_range(
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None, scale: float
) -> None:
    """Refuse a normalisation that makes no sense, or is one of images in another range."""
    number = isinstance(scale, int | float) and not isinstance(scale, bool)
    if not number or not SMALLEST_NUMBER <= scale <= LARGEST_NUMBER:
        raise RobustsegError(
            f"scale must be a number above 0 and at most {LARGEST_NUMBER:g}; got {scale!r}"
        )
    if std is not None and not all(value > 0 for value in std):
        raise RobustsegError(f"std must be above 0 in each channel; got {tuple(std)}")
    large = max(map(abs, mean or (0,))) > 1 or max(std or (0,)) > 10
    if large and scale == 1:
        raise RobustsegError(
            f"mean {mean} and std {std} are not those of images in [0, 1]; divide both by 255, or "
            "give scale=255 if the network wants values up to 255"
        )
    if scale > 100 and mean is not None and 0 < max(map(abs, mean)) <= 1:
        raise RobustsegError(
            f"mean {mean} is one of images in [0, 1], and scale is {scale:g}; multiply mean and "
            "std by it, or leave it out if the network wants no larger values"
        )


def with_num_classes(model: WrappedModel, num_classes: int | None) -> WrappedModel:
    """Return a wrapped model that knows the number of the data's classes; None: as it is.

    Raises:
        RobustsegError: it was wrapped with another number, or there are fewer than two.
    """
    if num_classes is None or model.data_classes == num_classes:
        return model
    _check_whole("num_classes", num_classes)
    if model.data_classes is not None:
        raise RobustsegError(
            f"the data has {num_classes} classes (num_classes), and the model was wrapped for "
            f"{model.data_classes}"
        )
    own = copy.copy(model)
    own.data_classes = _data_classes(None, num_classes)
    return own


def _as_numbers(name: str, values: Sequence[float] | None) -> tuple[float, ...] | None:
    if values is None:
        return None
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise RobustsegError(
            f"{name} must be a list of numbers, one per channel; got {values!r}"
        ) from error
    if not numbers or not all(map(isfinite, numbers)):
        raise RobustsegError(f"{name} must be finite numbers, one per channel; got {numbers}")
    return numbers


def _check_whole(name: str, number: Any) -> None:
    whole = isinstance(number, SupportsIndex) and not isinstance(number, bool)
    if number is not None and not (whole and number > 0):
        raise RobustsegError(f"{name} must be a whole number of at least 1; got {number!r}")


def _as_classes(classes: Sequence[int | None]) -> tuple[int | None, ...]:
    try:
        return tuple(None if label is None else index(label) for label in classes)
    except TypeError as error:
        raise RobustsegError(
            f"`classes` must be a list with a whole number or None for each output; got {classes!r}"
        ) from error


def _data_classes(classes: tuple[int | None, ...] | None, wanted: int | None) -> int | None:
    if wanted is not None and wanted < 2:
        raise RobustsegError(
            f"num_classes is {wanted}; there must be at least two (a head with one channel has "
            "the classes 0 and 1)"
        )
    if classes is None:
        return wanted
    named = [label for label in classes if label is not None]
    if not named or min(named) < 0 or (wanted is not None and max(named) >= wanted):
        raise RobustsegError(
            f"`classes` must name classes of the data, 0..{(wanted or len(classes)) - 1}, or None "
            f"for outputs that are no class; got {list(classes)}"
        )
    return max(named) + 1 if wanted is None else wanted


def _dtype_of(net: Any, otherwise: torch.dtype) -> torch.dtype:
    """Return the precision of a module's weights."""
    parameters = net.parameters() if isinstance(net, nn.Module) else iter(())
    dtypes = (parameter.dtype for parameter in parameters)
    return next((dtype for dtype in dtypes if dtype.is_floating_point), otherwise)


def is_exported(module: nn.Module) -> bool:
    """Return whether a module comes from torch.export: it refuses to change its mode."""
    return isinstance(module, torch.fx.GraphModule) and "train" in vars(module)


def _fixed_batch(exported: nn.Module) -> int | None:
    """Return how many images an exported program takes; None if any number, or it is unknown."""
    assert isinstance(exported, torch.fx.GraphModule)
    inputs = (node for node in exported.graph.nodes if node.op == "placeholder")
    shape = getattr(next((node.meta.get("val") for node in inputs), None), "shape", None)
    return shape[0] if shape and isinstance(shape[0], int) else None


def _has(outputs: Any, name: str) -> bool:
    """Return whether an object that is no collection, or a named tuple, has an attribute."""
    if isinstance(outputs, tuple):
        return name in getattr(outputs, "_fields", ())
    return not isinstance(outputs, Tensor | Mapping | list) and hasattr(outputs, name)


def _queries_in(outputs: Any) -> tuple[Tensor, Tensor] | None:
    """Return the class logits (B, Q, K + 1) and masks (B, Q, h, w) of queries, if there are any."""
    if isinstance(outputs, Tensor | list):
        return None
    for names in QUERIES:
        if isinstance(outputs, Mapping) and all(name in outputs for name in names):
            return outputs[names[0]], outputs[names[1]]
        if all(hasattr(outputs, name) for name in names):
            return getattr(outputs, names[0]), getattr(outputs, names[1])
    return None


def _logits_of_queries(classes: Tensor, masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the logarithm of each class's score (B, K, *size); the last class is "no object".

    Masks are made larger before their sigmoid, as in the networks' own code: after it, pixels at
    edges would get another class.
    """
    shares = classes.float().softmax(-1)[..., :-1]
    masks = functional.interpolate(masks.float(), size, mode="bilinear", align_corners=False)
    return (torch.einsum("bqk,bqhw->bkhw", shares, masks.sigmoid()) + FAINTEST).log()


def _described(outputs: Any) -> str:
    if isinstance(outputs, Tensor):
        return f"a tensor {tuple(outputs.shape)}"
    if isinstance(outputs, Mapping):
        return f"a {type(outputs).__name__} with the keys {', '.join(map(str, outputs))}"
    if isinstance(outputs, list | tuple):
        inside = ", ".join(
            str(tuple(one.shape)) if isinstance(one, Tensor) else type(one).__name__
            for one in outputs
        )
        return f"a {type(outputs).__name__} of ({inside})"
    return type(outputs).__name__
