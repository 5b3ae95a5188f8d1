"""Models by a reference in one line: `file.py:name`, `package.module:name`, `hf:`, ..."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from robustseg.errors import RobustsegError, first_line, said_by, shown
from robustseg.models.own_weights import load_weights
from robustseg.models.published import FILES, MODELS
from robustseg.models.wrap import WrappedModel, with_num_classes, wrap
from robustseg.names import IMAGENET_MEAN, IMAGENET_STD
from robustseg.progress import Progress

NORMALISATIONS: dict[str, tuple[Sequence[float], Sequence[float]]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""By name: mean and deviation for images in [0, 1]. `half` maps them to [-1, 1]."""

UNSAID: dict[str, Any] = {
    "normalise": "auto", "mean": None, "std": None, "scale": 1.0, "output": None,
    "classes": None, "divisor": None, "size_px": None,
}  # fmt: skip
"""What may be said of how a model is wrapped, and the value of each that says nothing."""

EXTRAS = {
    "hf": ("transformers",),
    "torchvision": ("torchvision",),
    "smp": ("segmentation_models_pytorch",),
    "trained": ("timm",),
    "released": ("timm", "requests"),
}
"""The packages that a kind of reference needs; an extra of the same name brings them."""

SAY_IT = (
    "say how images are normalised: with --normalise on the command line, with `normalise`, or "
    "`mean` and `std`, in a configuration"
)

LOADERS_OF_FILES = {
    **dict.fromkeys((".pt", ".pth", ".ts"), "torch.jit.load"),
    ".pt2": "torch.export.load",
}
"""By the ending of a file: what loads a whole network from it."""

FORMS = (
    "file.py:name, package.module:name, hf:MODEL, torchvision:NAME, smp:MODEL, trained:FILE or "
    "released:NAME"
)


@dataclass(frozen=True)
class Referred:
    """What a reference leads to.

    Attributes:
        net: a module or a function.
        mean, std: how its publisher normalises images in [0, 1]; None: not at all.
        unknown: what keeps that from being known, as a sentence; "" if it is known.
    """

    net: Any
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    unknown: str = ""


def load_reference(
    reference: str, weights: str | Path | None = None, num_classes: int | None = None
) -> Referred:
    """Return the model that a reference names, with its weights.

    `file.py:name` and `package.module:name` name a module, a function of images, or something that
    returns either when it is called without arguments. `hf:` is a model of transformers, by its
    name on the hub or by its folder; `smp:` one that segmentation_models_pytorch has saved;
    `torchvision:` one of its segmentation models by name. Code that a reference names is run.
    `trained:` is a file of weights that this project has made, by training or conversion, and
    `released:` one of `published.MODELS`, which is downloaded into a folder of `torch.hub`'s.

    Args:
        reference: the line.
        weights: a state dict (.pth, .pt, .safetensors) to load into it, strictly; with `released:`
            the published file, which then is not downloaded.
        num_classes: for `torchvision:` with weights of one's own.

    Raises:
        RobustsegError: anything that is not there or does not fit; one sentence.
    """
    if not isinstance(reference, str):
        raise RobustsegError(f"the model {shown(reference)} is not a reference; write {FORMS}")
    kind, _, name = reference.partition(":")
    loader = LOADERS_OF_FILES.get(Path(reference).suffix)
    if not name and loader:
        raise RobustsegError(
            f"the model {shown(reference)} is a file, not a reference: write a file.py that says "
            f"`import torch` and `net = {loader}({reference!r})` and name file.py:net, or, if it "
            "holds weights alone, name their network and give the file as --weights"
        )
    if not name and Path(reference).suffix == ".safetensors":
        raise RobustsegError(
            f"the model {shown(reference)} is a file of weights: if this project made it, write "
            f"trained:{reference}; otherwise name their network and give the file as --weights"
        )
    if not name or not reference.isprintable():
        raise RobustsegError(f"the model {shown(reference)} is not a reference; write {FORMS}")
    if kind in EXTRAS:
        _need(kind)
    if kind == "trained":
        return _trained(name, weights)
    if kind == "released":
        return _released(name, weights)
    if kind in _LOADERS:
        referred = _LOADERS[kind](name, weights is not None, num_classes)
    else:
        referred = Referred(_named_object(kind, name, reference))
    if weights is not None:
        network = referred.net.net if isinstance(referred.net, WrappedModel) else referred.net
        if not isinstance(network, nn.Module):
            raise RobustsegError(f"{reference} is not a module that weights could be loaded into")
        load_weights(referred.net, weights)
    return referred


def load_model(
    reference: str,
    *,
    weights: str | Path | None = None,
    num_classes: int | None = None,
    device: str = "cpu",
) -> WrappedModel:
    """Return a model by a reference in one line, wrapped for images in [0, 1], in eval mode.

    Args:
        reference: `released:NAME`, a model of the paper's (docs/weights.md lists them);
            `trained:FILE`, a `weights.safetensors` of this project; `hf:`, `torchvision:` or `smp:`
            and a name; `file.py:name` or `package.module:name`, whose code is run.
        weights: a state dict to load into it, strictly; with `released:` the published file, which
            is then not downloaded.
        num_classes: of the data.
        device: of torch.

    Raises:
        RobustsegError: nothing there, or it does not fit; one sentence.
    """
    return own_model(UNSAID | {"load": reference, "weights": weights}, num_classes, device)


def own_model(
    settings: Mapping[str, Any], num_classes: int | None, device: str = "cpu"
) -> WrappedModel:
    """Return the model that a configuration's section `own` describes, in eval mode.

    Args:
        settings: `load`, `weights`, and all of UNSAID.
        num_classes: K of its data set; None: as many as it has outputs.
        device: of torch.

    Raises:
        RobustsegError: as `load_reference`, or settings that do not fit each other.
    """
    referred = load_reference(settings["load"], settings["weights"], num_classes)
    if isinstance(referred.net, WrappedModel):
        useless = [key for key, usual in UNSAID.items() if settings[key] != usual]
        if useless:
            raise RobustsegError(
                f"{settings['load']} is already wrapped and has no use for {', '.join(useless)}; "
                "leave that out, or, if the model is your own, say it in its wrap(...)"
            )
        model = with_num_classes(referred.net, num_classes)
    else:
        if referred.unknown and settings["normalise"] == "auto" and not settings["mean"]:
            raise RobustsegError(f"{referred.unknown}; {SAY_IT}")
        published = {"auto": (referred.mean, referred.std), "none": (None, None)}
        mean, std = (published | NORMALISATIONS)[settings["normalise"]]
        how = {key: settings[key] for key in UNSAID if key != "normalise"}
        how |= {"mean": settings["mean"] or mean, "std": settings["std"] or std}
        model = wrap(referred.net, num_classes=num_classes, **how)
    try:
        return model.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise RobustsegError(
            f"the device {device!r} cannot be used: {first_line(error)}"
        ) from error


def _named_object(where: str, name: str, reference: str) -> Any:
    """Return the object of a file or module, called if it is a factory."""
    is_file = where.endswith(".py")
    module = _module_of_file(Path(where)) if is_file else _module(where, reference)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = [one for one, value in vars(module).items() if _is_model(value)]
            raise RobustsegError(
                f"{where} has no {part!r}; models in it may be {', '.join(known[:8]) or 'none'}"
            )
        found = getattr(found, part)
    is_network = isinstance(found, nn.Module | torch.export.ExportedProgram)
    if callable(found) and not is_network and _takes_nothing(found):
        try:
            found = found()
        except (Exception, SystemExit) as error:
            raise RobustsegError(
                f"{reference} failed when it was called: {said_by(error)}"
            ) from error
    if isinstance(found, type):
        raise RobustsegError(
            f"{reference} needs arguments: make one in the file, such as net = {name}(...), and "
            "name that"
        )
    if not callable(found) and not is_network:
        raise RobustsegError(
            f"{reference} must be a module or a function of images, not {type(found).__name__}"
        )
    return found


def _is_model(value: Any) -> bool:
    own = getattr(value, "__module__", "").partition(".")[0] not in ("torch", "builtins", "typing")
    return isinstance(value, nn.Module) or (callable(value) and own)


def _takes_nothing(function: Callable[..., Any]) -> bool:
    """Return whether a class or function can be called without arguments: a factory."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = (one for one in parameters if one.default is one.empty)
    return all(one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in needed)


def _module_of_file(path: Path) -> ModuleType:
    if not path.exists():
        raise RobustsegError(f"the file {path} does not exist")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # so that it can import its neighbours
    spec = importlib.util.spec_from_file_location(f"robustseg_own_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise RobustsegError(f"{path} fails: {said_by(error)}") from error
    return module


def _module(name: str, reference: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise RobustsegError(
            f"the module of {shown(reference)} cannot be imported ({type(error).__name__}: "
            f"{first_line(error)}); models are named {FORMS}"
        ) from error


def _need(kind: str) -> None:
    for package in EXTRAS[kind]:
        if importlib.util.find_spec(package) is None:
            raise RobustsegError(
                f"{kind}: models need the package {package}: pip install 'robustseg[{kind}]'"
            )


def _trained(path: str, weights: str | Path | None) -> Referred:
    """Return a segmentation model that this project has trained or converted."""
    from robustseg.models.checkpoints import load_network

    if weights is not None:
        raise RobustsegError(f"trained:{path} names the weights already: leave out {weights}")
    net, metadata = load_network(path, kind="segmentation")
    return Referred(wrap(net, num_classes=metadata["architecture"]["num_classes"]))


def _released(name: str, file: str | Path | None) -> Referred:
    """Return a published segmentation model, from its file or downloaded."""
    from robustseg.models.convert import read_published

    if name not in MODELS:
        raise RobustsegError(f"no model {shown(name)} is released; known are {', '.join(MODELS)}")
    published = MODELS[name]
    if file is None:
        from robustseg.downloads import Expected, fetch

        known = FILES[published.file]
        file = Path(torch.hub.get_dir(), "robustseg", published.file)
        expected = Expected(known.sha256, size_bytes=known.size_bytes)
        fetch(file, known.urls, expected, progress=Progress(f"download {published.file}"))
    elif not Path(file).is_file():
        raise RobustsegError(f"{file} does not exist")
    return Referred(wrap(read_published(name, file).network, num_classes=published.num_classes))


def _of_transformers(name: str, has_weights: bool, num_classes: int | None) -> Referred:
    """Return a segmentation model of transformers, and its image processor's normalisation."""
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(name)
        masks = type(config) in transformers.AutoModelForUniversalSegmentation._model_mapping
        classes = type(config) in transformers.AutoModelForSemanticSegmentation._model_mapping
        loader = (
            transformers.AutoModelForUniversalSegmentation
            if masks and not classes
            else transformers.AutoModelForSemanticSegmentation
        )
        make: Any = loader.from_config if has_weights else loader.from_pretrained
        net = make(config if has_weights else name)
    except Exception as error:
        raise RobustsegError(f"hf:{name} cannot be loaded: {first_line(error)}") from error
    try:
        processors: Any = transformers.AutoImageProcessor
        processor = processors.from_pretrained(name)
    except (OSError, ValueError, ImportError) as error:
        return Referred(net, unknown=f"hf:{name} has no image processor ({first_line(error)})")
    return _as_processed(net, processor, f"hf:{name}")


def _as_processed(net: nn.Module, processor: Any, reference: str) -> Referred:
    """Return a network with its processor's normalisation, if that is all the processor does."""
    factor = 255 * processor.rescale_factor if getattr(processor, "do_rescale", False) else 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    if getattr(processor, "do_normalize", False):
        mean, std = tuple(processor.image_mean), tuple(processor.image_std)
    mean, std = tuple(one / factor for one in mean), tuple(one / factor for one in std)
    reverse = bool(getattr(processor, "do_flip_channel_order", False))
    changes_size = ("do_resize", "do_center_crop", "do_pad", "do_split_image")
    off = {name: False for name in changes_size if getattr(processor, name, False)}
    image = (torch.arange(64 * 64 * 3, device="cpu") % 256).view(64, 64, 3).byte()
    try:
        wanted = processor(image.numpy(), return_tensors="pt", **off)["pixel_values"]
    except Exception as error:
        unknown = f"the image processor of {reference} fails: {first_line(error)}"
        return Referred(net, unknown=unknown)
    own = wrap(nn.Identity(), mean=mean, std=std)(image.permute(2, 0, 1)[None].float() / 255)
    own = own.flip(1) if reverse else own
    if wanted.shape != own.shape or not torch.allclose(wanted.float(), own, atol=1e-3):
        unknown = f"the image processor of {reference} does more than shift and scale each channel"
        return Referred(net, unknown=unknown)
    if reverse:
        net.register_forward_pre_hook(_reverse_channels)
    return Referred(net) if (mean, std) == ((0.0,), (1.0,)) else Referred(net, mean, std)


def _reverse_channels(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Let a network of BGR images take RGB ones: a hook before its passes."""
    return (inputs[0].flip(1), *inputs[1:])


def _of_torchvision(name: str, has_weights: bool, num_classes: int | None) -> Referred:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models.segmentation)
    if name not in known:
        raise RobustsegError(f"torchvision has no {name}; its models are {', '.join(known)}")
    try:
        if has_weights:
            settings: dict[str, Any] = {"weights": None, "weights_backbone": None}
            settings |= {} if num_classes is None else {"num_classes": num_classes}
            net = torchvision.models.get_model(name, **settings)
        else:
            net = torchvision.models.get_model(name, weights="DEFAULT")
    except (OSError, RuntimeError, ValueError) as error:
        raise RobustsegError(f"torchvision:{name} cannot be loaded: {first_line(error)}") from error
    return Referred(net, IMAGENET_MEAN, IMAGENET_STD)


def _of_smp(name: str, has_weights: bool, num_classes: int | None) -> Referred:
    import segmentation_models_pytorch as smp

    try:
        net = smp.from_pretrained(name)
    except KeyError as error:
        raise RobustsegError(
            f"smp:{name} cannot be loaded: its config.json has no {error}, so that "
            "segmentation_models_pytorch has not saved it"
        ) from error
    except Exception as error:
        raise RobustsegError(f"smp:{name} cannot be loaded: {first_line(error)}") from error
    encoder = (net._hub_mixin_config or {}).get("encoder_name", "")
    try:
        said = smp.encoders.get_preprocessing_params(encoder)
    except (OSError, ValueError, KeyError) as error:
        unknown = f"how the encoder {encoder} of smp:{name} wants images cannot be found out"
        return Referred(net, unknown=f"{unknown} ({first_line(error)})")
    reverse, largest = said["input_space"] == "BGR", said["input_range"][1]
    mean, std = (
        tuple(one / largest for one in (reversed(values) if reverse else values))
        for values in (said["mean"], said["std"])
    )
    if reverse:
        net.register_forward_pre_hook(_reverse_channels)
    return Referred(net, mean, std)


_LOADERS: dict[str, Callable[[str, bool, int | None], Referred]] = {
    "hf": _of_transformers,
    "torchvision": _of_torchvision,
    "smp": _of_smp,
}
