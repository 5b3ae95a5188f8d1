"""Weights on disk: safetensors with a description of the network in the metadata."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from robustseg.errors import RobustsegError
from robustseg.files import atomic_path
from robustseg.models.build import SegmentationModel, build
from robustseg.models.inert_pickle import shown
from robustseg.models.registry import BACKBONES, DECODERS
from robustseg.models.unpickling import read_safetensors
from robustseg.models.vit import VisionTransformer, resize_position_embeddings
from robustseg.models.weight_values import check_values

METADATA_KEY = "robustseg"
"""One key holds everything as JSON, since safetensors writes several in changing order."""
POSITIONS = "pos_embed"
"""Position embeddings of a ViT, whose number depends on the size of images."""
KINDS: dict[str, dict[str, Mapping[str, Any]]] = {
    "segmentation": {"backbone": BACKBONES, "decoder": DECODERS},
    "classifier": {"backbone": BACKBONES},
}
"""Of networks, and the names that describe one, with what they may be."""
MOST_COLOUR = 1e6
"""Of a mean or a deviation: a limit that no normalisation comes near."""
MOST_CLASSES = 2**16
"""Three times as many as the largest ImageNet has; shapes are compared with a network in memory."""


@dataclass(frozen=True)
class KeyReport:
    """What became of the weights when a backbone was put into a model."""

    kept: list[str]
    """Keys of the file that now are the backbone's."""
    dropped: list[str]
    """Keys of the file without a place in the model: the classification head."""
    fresh: list[str]
    """Keys of the model that keep their random start: norms, decoder, auxiliary head."""
    resized: list[str]
    """Those kept keys that were interpolated to another image size: a ViT's position embeddings."""

    def __str__(self) -> str:
        resized = f" ({', '.join(self.resized)} resized)" if self.resized else ""
        return (
            f"{len(self.kept)} weights kept{resized}, {len(self.dropped)} dropped "
            f"({_prefixes(self.dropped)}), {len(self.fresh)} start fresh ({_prefixes(self.fresh)})"
        )


def save_weights(path: str | Path, module: nn.Module, metadata: Mapping[str, Any]) -> None:
    """Write all weights; the same weights and metadata give the same bytes.

    Args:
        path: file that exists whole or not at all.
        module: network.
        metadata: `architecture`, which `build` understands, and anything else that JSON holds.

    Raises:
        RobustsegError: the file cannot be written.
    """
    tensors = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    text = json.dumps(metadata, sort_keys=True)
    # `save_file` writes a temporary file of its own, which a killed process leaves for good.
    content = save(tensors, metadata={METADATA_KEY: text})
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the metadata of a weights file. Nothing in it is executed.

    Raises:
        RobustsegError: missing, truncated, or not written by `save_weights`.
    """
    path = Path(path)
    if not path.is_file():
        raise RobustsegError(f"{path} does not exist; train or fetch these weights first")
    tensors, header = read_safetensors(path, "make it again")
    if METADATA_KEY not in header:
        raise RobustsegError(f"{path} does not say which network its weights belong to")
    try:
        metadata = json.loads(header[METADATA_KEY])
    except (ValueError, RecursionError) as error:
        raise _unclear(path, f"its metadata is no JSON ({shown(error)})") from error
    if not isinstance(metadata, dict):
        raise _unclear(path, f"its metadata is a {type(metadata).__name__}")
    return tensors, metadata


def _described(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], path: str | Path
) -> dict[str, Any]:
    """Return the architecture that a weights file describes, with which `build` can be called.

    Raises:
        RobustsegError: there is none, or not one whose network could have these weights.
    """
    found = metadata.get("architecture")
    if not isinstance(found, dict):
        raise _unclear(path, "its metadata has no architecture")
    kind = found.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise _unclear(path, f"its kind is {shown(kind)}, not one of {', '.join(KINDS)}")
    for key, registry in KINDS[kind].items():
        if not isinstance(found.get(key), str) or found[key] not in registry:
            raise _unclear(path, f"its {key} is {shown(found.get(key))}, which is unknown")
    unknown = found.keys() - {"kind", "num_classes", "mean", "std", *KINDS[kind]}
    if unknown:
        raise _unclear(path, f"its architecture has the unknown key {shown(min(unknown))}")
    classes = found.get("num_classes")
    lengths = {length for one in tensors.values() if one.numel() for length in one.shape}
    if type(classes) is not int or classes not in lengths or classes > MOST_CLASSES:
        raise _unclear(path, f"its num_classes is {shown(classes)}, which fits none of its weights")
    mean, std = found.get("mean"), found.get("std")
    if (mean, std) != (None, None) and not is_normalisation(mean, std):
        raise _unclear(path, "its mean and std are not three numbers each, std above 0")
    return found


def is_normalisation(mean: Any, std: Any) -> bool:
    """Return whether they are lists of a finite number for each channel, the deviations above 0."""
    for values in (mean, std):
        if not isinstance(values, list) or len(values) != 3:
            return False
        if not all(type(one) in (float, int) and abs(one) < MOST_COLOUR for one in values):
            return False
    return bool(min(std) > 0)


def _unclear(path: str | Path, why: str) -> RobustsegError:
    return RobustsegError(f"{path} does not say what network it is of: {why}; make it again")


def load_network(
    path: str | Path, device: str | torch.device = "cpu", kind: str | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """Build the network that a weights file describes and load it strictly.

    Args:
        path: safetensors, see `save_weights`.
        device: of torch.
        kind: which of KINDS it must be; None: either.

    Returns:
        The module in eval mode on `device`, and the metadata.

    Raises:
        RobustsegError: missing or truncated file, a network of another kind, or weights that do
            not fit it.
    """
    tensors, metadata = read_weights(path)
    architecture = _described(tensors, metadata, path)
    _check_kind(architecture, kind or architecture["kind"], path)
    module = _built(architecture, path)
    load_strictly(module, tensors, path)
    return module.eval().to(device), metadata


def load_backbone(path: str | Path, into: SegmentationModel) -> KeyReport:
    """Start a segmentation model's backbone from a classifier's weights.

    Raises:
        RobustsegError: as `load_network`, or the classifier is of another architecture.
    """
    tensors, metadata = read_weights(path)
    architecture = _described(tensors, metadata, path)
    _check_kind(architecture, "classifier", path)
    found, wanted = architecture["backbone"], into.architecture["backbone"]
    if found != wanted:
        raise RobustsegError(f"{path} holds a {found}, but the model's backbone is a {wanted}")
    head = into.backbone.head_prefix
    dropped = sorted(name for name in tensors if name.startswith(head))
    kept = {name: tensor for name, tensor in tensors.items() if name not in dropped}
    resized = []
    if isinstance(into.backbone, VisionTransformer) and POSITIONS in kept:
        rows, columns = into.backbone.patch_embed.grid_size
        _check_positions(kept[POSITIONS], path)
        fitting = resize_position_embeddings(kept[POSITIONS].float(), rows, columns)
        resized = [POSITIONS] if fitting.shape != kept[POSITIONS].shape else []
        kept[POSITIONS] = fitting
    load_strictly(into.backbone, kept, path)
    own = {f"backbone.{name}" for name in kept}
    return KeyReport(sorted(kept), dropped, sorted(set(into.state_dict()) - own), resized)


def load_strictly(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    path: str | Path,
    names: Mapping[str, str] | None = None,
) -> None:
    """Load tensors whose keys and shapes must be exactly the module's.

    Args:
        module: network.
        tensors: by the module's keys.
        path: where they come from, for messages.
        names: what keys are called there, where it differs.

    Raises:
        RobustsegError: names the first key that is missing, superfluous, of another shape or kind
            of number, or not finite.
    """
    expected = module.state_dict()
    for key in sorted(expected.keys() | tensors.keys()):
        name = (names or {}).get(key, key)
        if key not in tensors:
            raise RobustsegError(f"{path} lacks the weight {key}")
        if key not in expected:
            raise RobustsegError(f"{path} has a weight {name} that the network does not know")
        if expected[key].shape != tensors[key].shape:
            raise RobustsegError(
                f"{path}: weight {name} has shape {tuple(tensors[key].shape)}, "
                f"but the network needs {tuple(expected[key].shape)}"
            )
    check_values(tensors, expected, path, names)
    module.load_state_dict(tensors)


def _check_positions(found: Tensor, path: str | Path) -> None:
    """Refuse position embeddings that are not of a square of patches."""
    patches = found.shape[1] - 1 if found.ndim == 3 else 0
    if not found.is_floating_point() or patches < 1 or round(patches**0.5) ** 2 != patches:
        raise RobustsegError(
            f"{path}: weight {POSITIONS} is of shape {tuple(found.shape)} and {found.dtype}, which "
            "are no position embeddings; make it again"
        )


def _check_kind(architecture: Mapping[str, Any], kind: str, path: str | Path) -> None:
    if architecture["kind"] != kind:
        raise RobustsegError(
            f"{path} holds a network of kind {architecture['kind']}, and one of kind {kind} is "
            "needed; give the right file"
        )


def _built(architecture: Mapping[str, Any], path: str | Path) -> nn.Module:
    """Build a network; what does not go together is said of the file."""
    try:
        return build(architecture)
    except RobustsegError as error:
        raise _unclear(path, str(error)) from error


def _prefixes(keys: list[str]) -> str:
    """Name the modules that keys belong to."""
    return ", ".join(sorted({key.split(".")[0] for key in keys})) or "none"
