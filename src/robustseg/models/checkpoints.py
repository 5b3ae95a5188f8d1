"""Weights on disk: safetensors with a description of the network in the metadata."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from robustseg.errors import RobustsegError
from robustseg.files import atomic_path
from robustseg.models.build import SegmentationModel, build
from robustseg.models.vit import VisionTransformer, resize_position_embeddings

METADATA_KEY = "robustseg"
"""One key holds everything as JSON, since safetensors writes several in changing order."""
POSITIONS = "pos_embed"
"""Position embeddings of a ViT, whose number depends on the size of images."""


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
    with atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={METADATA_KEY: text})
        except SafetensorError as error:
            raise OSError(str(error)) from error


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the metadata of a weights file. Nothing in it is executed.

    Raises:
        RobustsegError: missing, truncated, or not written by `save_weights`.
    """
    path = Path(path)
    if not path.is_file():
        raise RobustsegError(f"{path} does not exist; train or fetch these weights first")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise RobustsegError(
            f"{path} is truncated or no safetensors file ({error}); delete it and make it again"
        ) from error
    if METADATA_KEY not in header:
        raise RobustsegError(f"{path} does not say which network its weights belong to")
    return tensors, json.loads(header[METADATA_KEY])


def load_model(
    path: str | Path, device: str | torch.device = "cpu"
) -> tuple[nn.Module, dict[str, Any]]:
    """Build the network that a weights file describes and load it strictly.

    Returns:
        The module in eval mode on `device`, and the metadata.

    Raises:
        RobustsegError: missing or truncated file, or keys or shapes that do not fit the network.
    """
    tensors, metadata = read_weights(path)
    module = build(metadata["architecture"])
    load_strictly(module, tensors, path)
    return module.eval().to(device), metadata


def load_backbone(path: str | Path, into: SegmentationModel) -> KeyReport:
    """Start a segmentation model's backbone from a classifier's weights.

    Raises:
        RobustsegError: as `load_model`, or the classifier is of another architecture.
    """
    tensors, metadata = read_weights(path)
    found, wanted = metadata["architecture"]["backbone"], into.architecture["backbone"]
    if found != wanted:
        raise RobustsegError(f"{path} holds a {found}, but the model's backbone is a {wanted}")
    head = into.backbone.head_prefix
    dropped = sorted(name for name in tensors if name.startswith(head))
    kept = {name: tensor for name, tensor in tensors.items() if name not in dropped}
    resized = []
    if isinstance(into.backbone, VisionTransformer) and POSITIONS in kept:
        rows, columns = into.backbone.patch_embed.grid_size
        fitting = resize_position_embeddings(kept[POSITIONS], rows, columns)
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
        RobustsegError: names the first key that is missing, superfluous or of another shape.
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
    module.load_state_dict(tensors)


def _prefixes(keys: list[str]) -> str:
    """Name the modules that keys belong to."""
    return ", ".join(sorted({key.split(".")[0] for key in keys})) or "none"
