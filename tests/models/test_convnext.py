"""ConvNeXt: its stages, the published sizes and its place in memory."""

import pytest
import torch
from timm import create_model

from robustseg.models.backbones import build_backbone
from robustseg.models.build import build_classifier
from robustseg.models.convnext import ConvNeXt, LayerNorm2d
from robustseg.models.registry import ConvNextSize

SIZE = ConvNextSize((1, 2, 1, 1), (8, 16, 24, 32), layer_scale=0.5, weight_std=0.2)


def test_features_are_the_stages_outputs():
    torch.manual_seed(0)
    network = ConvNeXt(SIZE, num_classes=5).eval()
    images = torch.rand(1, 3, 64, 64)
    features = network.features(images)
    assert [tuple(map_.shape) for map_ in features] == [
        (1, 8, 16, 16),
        (1, 16, 8, 8),
        (1, 24, 4, 4),
        (1, 32, 2, 2),
    ]
    pooled = features[-1].mean((2, 3), keepdim=True)
    logits = network.head.fc(network.head.norm(pooled).flatten(1))
    assert torch.allclose(network(images), logits, atol=1e-5)
    assert logits.std() > 1e-3


@pytest.mark.parametrize(
    ("name", "millions"),
    [("convnext_tiny", 28.6), ("convnext_small", 50.3), ("convnext_demo", 0.4)],
)
def test_parameter_counts(name, millions):
    """Singh et al. 2023 give 28.6 M and 50.3 M for the networks with convolutional stem."""
    with torch.device("meta"):
        network = build_backbone(name, num_classes=1000)
    assert count(network) / 1e6 == pytest.approx(millions, abs=0.06)


STEMS = {"tiny": (48, 96), "small": (48, 96), "base": (64, 96, 128), "large": (96, 144, 192)}
"""Channels of the published networks' convolutions (arXiv 2303.01870)."""
PUBLISHED = {"tiny": 28_627_432, "base": 88_753_416}
"""Parameters of the published files, as others who have them counted."""


@pytest.mark.parametrize("name", STEMS)
def test_only_the_stem_differs_from_timms_network(name):
    with torch.device("meta"):
        network, timms = build_backbone(f"convnext_{name}", 1000), create_model(f"convnext_{name}")
    channels = STEMS[name]
    stem = sum(
        9 * before * after + after + 2 * after  # a convolution with bias, then LayerNorm
        for before, after in zip((3, *channels), channels, strict=False)
    )
    assert count(network) == count(timms) - count(timms.stem) + stem
    assert count(network) == PUBLISHED.get(name, count(network))


@pytest.mark.parametrize("name", ["convnext_small", "convnext_base"])
def test_the_stem_leaves_a_quarter_of_the_resolution(name):
    stem = build_backbone(name).stem
    assert stem(torch.rand(1, 3, 32, 64)).shape[-2:] == (8, 16)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_channels_last_stays_from_stem_to_last_stage():
    for map_ in build_classifier("convnext_demo", 9).features(torch.rand(2, 3, 64, 64)):
        assert map_.is_contiguous(memory_format=torch.channels_last)


def test_layer_norm_normalises_each_pixel():
    result = LayerNorm2d(6)(torch.rand(2, 6, 3, 4) * 5)
    assert torch.allclose(result.mean(1), torch.zeros(2, 3, 4), atol=1e-5)
    assert torch.allclose(result.var(1, unbiased=False), torch.ones(2, 3, 4), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "first"),
    [("convnext_demo", "stem.stem.0.weight"), ("vit_demo", "patch_embed.proj.weight")],
)
def test_narrow_networks_start_blind_to_brightness(name, first):
    weight = build_backbone(name).get_parameter(first).detach()
    assert weight.sum((1, 2, 3)).abs().max() < 1e-5
    assert weight.std().item() == pytest.approx(weight[0].numel() ** -0.5, rel=0.15)


def test_a_backbone_without_head_is_no_classifier():
    with pytest.raises(TypeError, match="without classification head"):
        build_backbone("convnext_demo")(torch.rand(1, 3, 32, 32))
