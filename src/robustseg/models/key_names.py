r"""How the keys of published weights are named, and what they are called here.

A way of naming is a list of rules; the first whose pattern is the whole key decides. A key that no
rule fits is an error, so nothing is lost or invented without a word. Keys: tests/models/keys/.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from robustseg.errors import RobustsegError


@dataclass(frozen=True)
class Rule:
    """What becomes of the keys that match a pattern."""

    pattern: str
    new: str | None = None
    r"""Its new name, with \1 for groups; None drops it."""
    reason: str = ""
    """Why it is dropped."""


@dataclass(frozen=True)
class Naming:
    """What became of each key of a file."""

    new_names: dict[str, str]
    """New name by old, of the keys that are used."""
    dropped: dict[str, str]
    """Reason by key, of the others."""


PARALLEL = "module."
"""Begins all names of a network that was trained on several GPUs; taken off before the rules."""
WRAPPED = r"(?:base_model\.|model\.|base_)*"
"""Names of modules around the robust classifiers."""
MEAN = "input.mean"
STD = "input.std"
"""New names of a normaliser's two tensors, which become part of the architecture."""

CONVNEXT_BLOCK = r"backbone\.stages\.(\d)\.(\d+)\."
PYRAMID = r"ppm\.features\.(\d)\."

KEY_NAMES: dict[str, tuple[Rule, ...]] = {
    # ConvNeXt's original names, here timm's; decoder and auxiliary head are named alike.
    "upernet": (
        Rule(r"backbone\.downsample_layers\.0\.(stem\..+)", r"backbone.stem.\1"),
        Rule(r"backbone\.downsample_layers\.(\d)\.(.+)", r"backbone.stages.\1.downsample.\2"),
        Rule(CONVNEXT_BLOCK + r"dwconv\.(.+)", r"backbone.stages.\1.blocks.\2.conv_dw.\3"),
        Rule(CONVNEXT_BLOCK + r"pwconv([12])\.(.+)", r"backbone.stages.\1.blocks.\2.mlp.fc\3.\4"),
        Rule(CONVNEXT_BLOCK + r"(gamma|norm\..+)", r"backbone.stages.\1.blocks.\2.\3"),
        Rule(r"backbone\.norm(\d)\.(.+)", r"norms.\1.\2"),
        Rule(r"((?:decode|auxiliary)_head\..+)", r"\1"),
    ),
    "segmenter": (
        Rule(
            r"encoder\.head\..+",
            reason="the backbone's own ImageNet classifier, which segmentation does not use",
        ),
        Rule(r"encoder\.(.+)", r"backbone.\1"),
        Rule(r"decoder\.cls_emb", "decode_head.class_embeddings"),
        Rule(r"decoder\.proj_patch", "decode_head.project_patches"),
        Rule(r"decoder\.proj_classes", "decode_head.project_classes"),
        Rule(r"decoder\.proj_dec\.(.+)", r"decode_head.project.\1"),
        Rule(r"decoder\.decoder_norm\.(.+)", r"decode_head.norm.\1"),
        Rule(r"decoder\.((?:blocks|mask_norm)\..+)", r"decode_head.\1"),
    ),
    # DDC-AT's networks have branches (cls1, mask1, cls2), those of plain training have `cls`.
    "pspnet": (
        Rule(r"layer0\.7\.(.+)", r"backbone.bn1.\1"),
        Rule(r"layer0\.([0-6]\..+)", r"backbone.conv1.\1"),
        Rule(r"(layer[1-4]\..+)", r"backbone.\1"),
        Rule(PYRAMID + r"1\.(.+)", r"decode_head.pyramid.\1.1.conv.\2"),
        Rule(PYRAMID + r"2\.(.+)", r"decode_head.pyramid.\1.1.batch_norm.\2"),
        Rule(r"cls1?\.0\.(.+)", r"decode_head.classifier.0.conv.\1"),
        Rule(r"cls1?\.1\.(.+)", r"decode_head.classifier.0.batch_norm.\1"),
        Rule(r"cls1?\.4\.(.+)", r"decode_head.classifier.2.\1"),
        Rule(r"aux(?:_cls1)?\.0\.(.+)", r"auxiliary_head.0.conv.\1"),
        Rule(r"aux(?:_cls1)?\.1\.(.+)", r"auxiliary_head.0.batch_norm.\1"),
        Rule(r"aux(?:_cls1)?\.4\.(.+)", r"auxiliary_head.2.\1"),
        Rule(
            r"(?:mask1|cls2)\..+",
            reason="a branch for training alone: DDC-AT predicts with cls1",
        ),
    ),
    # timm's and torchvision's names, which are the names here.
    "classifier": (
        Rule(WRAPPED + r"normalize\.mean", MEAN),
        Rule(WRAPPED + r"normalize\.std", STD),
        Rule(WRAPPED + r"(.+)", r"\1"),
    ),
    # The library `robustness`, with which Salman et al. trained.
    "robustness": (
        Rule(r"normalizer\.new_mean", MEAN),
        Rule(r"normalizer\.new_std", STD),
        Rule(r"attacker\..+", reason="a second copy, which the attack in training used"),
        Rule(r"model\.(.+)", r"\1"),
    ),
}


def rename(keys: Iterable[str], naming: str, source: str) -> Naming:
    """Return what the keys of published weights are called here.

    Args:
        keys: of the file.
        naming: a name of `KEY_NAMES`.
        source: the file, for messages.

    Raises:
        RobustsegError: a key that the naming does not know, or two keys for the same weight.
    """
    keys = list(keys)
    parallel = PARALLEL if all(key.startswith(PARALLEL) for key in keys) else ""
    new_names: dict[str, str] = {}
    dropped: dict[str, str] = {}
    owners: dict[str, str] = {}
    for key in keys:
        rule, match = _first_rule(key.removeprefix(parallel), naming)
        if rule is None or match is None:
            raise RobustsegError(
                f"{source} has a weight {key}, which the naming {naming} does not know; "
                "these are other weights than the published ones"
            )
        if rule.new is None:
            dropped[key] = rule.reason
            continue
        new = match.expand(rule.new)
        if new in owners:
            raise RobustsegError(f"{source} has both {owners[new]} and {key} for one weight")
        new_names[key], owners[new] = new, key
    return Naming(new_names, dropped)


def _first_rule(key: str, naming: str) -> tuple[Rule | None, re.Match[str] | None]:
    for rule in KEY_NAMES[naming]:
        if match := re.fullmatch(rule.pattern, key):
            return rule, match
    return None, None
