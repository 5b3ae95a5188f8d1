"""Published weights to the project's own format, with an account of every key."""

import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor, nn

from robustseg.errors import RobustsegError
from robustseg.files import write_text
from robustseg.models.build import build, classifier_architecture
from robustseg.models.checkpoints import is_normalisation, load_strictly, save_weights
from robustseg.models.inert_pickle import shown
from robustseg.models.key_names import MEAN, STD, rename
from robustseg.models.published import CLASSIFIERS, MODELS, SegmentationWeights, Weights
from robustseg.models.unpickling import read_checkpoint
from robustseg.names import IMAGENET_CLASSES

LIMIT_BYTES = 2 * 2**30
"""Of a checkpoint in an archive; the published ones, with an optimizer's state, are below 1 GB."""
WITH_OTHER_OBJECTS = "robustness"
"""The naming whose files also hold an optimizer and functions, which are never made."""


@dataclass(frozen=True)
class Conversion:
    """What became of each key of published weights."""

    weights: str
    """Their name, in `published.CLASSIFIERS` or `published.MODELS`."""
    file: str
    sha256: str
    renamed: dict[str, str]
    """New name by old, where they differ."""
    kept: list[str]
    """Keys whose name stays."""
    dropped: dict[str, str]
    """Reason by key."""
    fresh: list[str]
    """Weights of the network that the file does not have: always none, or it is refused."""
    input_mean: list[float] | None
    """What the network subtracts from images in [0, 1], channel by channel; None: nothing."""
    input_std: list[float] | None

    def __str__(self) -> str:
        used = len(self.renamed) + len(self.kept)
        return f"{used} weights used ({len(self.renamed)} renamed), {len(self.dropped)} dropped"


@dataclass(frozen=True)
class Read:
    """Published weights in the network that they are of."""

    network: nn.Module
    """In eval mode; takes images in [0, 1]."""
    architecture: dict[str, Any]
    """What `build.build` made it of."""
    names: dict[str, str]
    """New name by old, of what the network has."""
    dropped: dict[str, str]
    """Reason by old name, of what it has not."""


def read_published(weights: str, source: str | Path) -> Read:
    """Read published weights, strictly and without executing anything.

    Args:
        weights: a name of `published.CLASSIFIERS` or `published.MODELS`.
        source: the published file, or the archive that it comes in.

    Raises:
        RobustsegError: truncated file, a pickle with more than weights in it, or a key
            too many, too few or of another shape.
    """
    source = Path(source)
    published: Weights = (CLASSIFIERS | MODELS)[weights]
    with checkpoint_in(source, getattr(published, "member", None)) as path:
        name = str(source) if path == source else f"{source} ({path.name} in it)"
        tensors = read_checkpoint(path, published.naming == WITH_OTHER_OBJECTS, name)
    naming = rename(tensors, published.naming, str(source))
    renamed = {new: tensors[old] for old, new in naming.new_names.items()}
    mean, std = _input(renamed, published, source)
    architecture = describe(published, mean, std)
    network = build(architecture)
    old_names = {new: old for old, new in naming.new_names.items()}
    load_strictly(network, renamed, source, old_names)
    inside = {old_names[key]: "part of the architecture" for key in (MEAN, STD) if key in old_names}
    return Read(
        network.eval(),
        architecture,
        {old: new for old, new in naming.new_names.items() if new in renamed},
        naming.dropped | inside,
    )


def convert(weights: str, source: str | Path, target: str | Path, digest: str) -> Conversion:
    """Read published weights and write them anew.

    Args:
        weights: a name of `published.CLASSIFIERS` or `published.MODELS`.
        source: the published file, or the archive that it comes in.
        target: safetensors, see `checkpoints.save_weights`.
        digest: SHA-256 of `source`, which was verified (`downloads.verify`).

    Raises:
        RobustsegError: as `read_published`, or the target cannot be written.
    """
    read = read_published(weights, source)
    origin = {"weights": weights, "file": Path(source).name, "sha256": digest}
    save_weights(target, read.network, {"architecture": read.architecture, "published": origin})
    return Conversion(
        **origin,
        renamed={old: new for old, new in read.names.items() if old != new},
        kept=[old for old, new in read.names.items() if old == new],
        dropped=read.dropped,
        fresh=sorted(set(read.network.state_dict()) - set(read.names.values())),
        input_mean=read.architecture.get("mean"),
        input_std=read.architecture.get("std"),
    )


def describe(
    published: Weights, mean: list[float] | None, std: list[float] | None
) -> dict[str, Any]:
    """Return the architecture of published weights, see `build.build`."""
    if isinstance(published, SegmentationWeights):
        names = {
            "kind": "segmentation",
            "backbone": published.architecture,
            "decoder": published.decoder,
            "num_classes": published.num_classes,
        }
    else:
        names = classifier_architecture(published.architecture, IMAGENET_CLASSES)
    return {**names, **({"mean": mean, "std": std} if mean else {})}


def write_report(path: str | Path, conversion: Conversion) -> None:
    """Write what became of each key as JSON.

    Raises:
        RobustsegError: the file cannot be written.
    """
    write_text(path, json.dumps(asdict(conversion), indent=2) + "\n")


@contextmanager
def checkpoint_in(source: Path, member: str | None) -> Iterator[Path]:
    """Yield the path of a checkpoint that may be in an archive.

    Args:
        source: a .zip with the checkpoint, or the checkpoint itself.
        member: end of its path in the archive; None: it is in none.

    Raises:
        RobustsegError: the archive is truncated, or has the member not once.
    """
    # A checkpoint of torch is a zip too, which is read as it is.
    if member is None or not zipfile.is_zipfile(source):
        yield source
        return
    with TemporaryDirectory() as folder:
        path = Path(folder, Path(member).name)
        yield path if _unpacked(source, member, path) else source


def _unpacked(source: Path, member: str, path: Path) -> bool:
    """Write a member of an archive to a path; False if the archive is a checkpoint itself."""
    try:
        with zipfile.ZipFile(source) as archive:
            names = archive.namelist()
            if any(name.endswith("/data.pkl") for name in names):
                return False
            found = [name for name in names if f"/{name}".endswith(f"/{member}")]
            if len(found) != 1:
                raise RobustsegError(
                    f"{source} has {len(found)} files {member}, not one; fetch it again"
                )
            if archive.getinfo(found[0]).file_size > LIMIT_BYTES:
                raise RobustsegError(
                    f"{source}: {found[0]} is larger than {LIMIT_BYTES:,} bytes; fetch it again"
                )
            with archive.open(found[0]) as packed, path.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, 2**20)
    except RobustsegError:
        raise
    except OSError as error:
        raise RobustsegError(
            f"{source}: {member} cannot be unpacked to {path.parent} ({error}); free some space "
            "there, or fetch it again"
        ) from error
    except Exception as error:  # whatever else damaged bytes drive Python's zipfile to
        said = shown(error) or type(error).__name__
        raise RobustsegError(
            f"{source} is damaged at {member} ({said}); delete it and fetch it again"
        ) from error
    return True


def _input(
    renamed: dict[str, Tensor], published: Weights, source: Path
) -> tuple[list[float] | None, list[float] | None]:
    """Return the mean and standard deviation that the network expects, taken out of its weights."""
    found = {key: renamed.pop(key) for key in (MEAN, STD) if key in renamed}
    if len(found) == 1 or any(tensor.numel() != 3 for tensor in found.values()):
        raise RobustsegError(f"{source} has no mean and deviation of three channels")
    if found:
        mean, std = (found[key].flatten().tolist() for key in (MEAN, STD))
        if not is_normalisation(mean, std):
            raise RobustsegError(
                f"{source} has the mean {mean} and deviation {std}, by which no image can be "
                "normalised; fetch it again"
            )
        return mean, std
    usual = published.mean, published.std
    return (list(usual[0]), list(usual[1])) if usual[0] and usual[1] else (None, None)
