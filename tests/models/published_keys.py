"""State dicts with the keys and shapes of published weights, and random values."""

from collections import OrderedDict
from pathlib import Path

import torch

from robustseg.models.build import build_classifier

KEYS = Path(__file__).parent / "keys"
SEGMENTATION = {
    "pir_at_5_50ep_upernet_convnext_t": "upernet_convnext_t_cvst_21",
    "pir_at_5_128ep_upernet_convnext_s": "upernet_convnext_s_cvst_151",
    "pir_at_5_128ep_segmenter_vit_s": "segmenter_vit_s_151",
    "ddc_at_3_50ep_pspnet_resnet50": "ddcat_pspnet_resnet50_21",
}
"""File of keys by the weights' name."""


def published_state(weights: str) -> OrderedDict[str, torch.Tensor]:
    """Return weights as a segmentation model of others has them."""
    torch.manual_seed(0)
    state = OrderedDict()
    for line in (KEYS / f"{SEGMENTATION[weights]}.tsv").read_text().splitlines():
        key, shape = line.split("\t")
        if shape == "scalar":
            state[key] = torch.tensor(7)
        else:
            size = [int(part) for part in shape.split("x")]
            state[key] = torch.rand(size) * 0.1 + (0.5 if key.endswith("running_var") else 0)
    return state


def classifier_state(architecture: str, prefix: str = "") -> OrderedDict[str, torch.Tensor]:
    """Return an ImageNet classifier's weights under timm's and torchvision's names."""
    torch.manual_seed(0)
    state = build_classifier(architecture, 1000).state_dict()
    return OrderedDict((prefix + key, tensor) for key, tensor in state.items())


def column(values: list[float]) -> torch.Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)
