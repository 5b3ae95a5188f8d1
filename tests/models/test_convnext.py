"""ConvNeXt against timm's, the published sizes and its place in memory."""

import pytest
import torch

from robustseg.models.backbones import build_backbone
from robustseg.models.build import build_classifier
from robustseg.models.convnext import ConvNeXt, LayerNorm2d
from robustseg.models.registry import ConvNextSize

SIZE = ConvNextSize((1, 2, 1, 1), (8, 16, 24, 32), layer_scale=0.5, weight_std=0.2)


def timm_convnext(size, num_classes):
    """timm's network with the stem of Singh et al. 2023 put in place of its own."""
    from timm.layers import LayerNorm2d as TimmNorm
    from timm.models.convnext import ConvNeXt as TimmConvNeXt

    network = TimmConvNeXt(
        num_classes=num_classes, depths=size.depths, dims=size.dims, ls_init_value=size.layer_scale
    )
    half, full = size.dims[0] // 2, size.dims[0]
    network.stem = torch.nn.Sequential()
    network.stem.stem = torch.nn.Sequential(
        torch.nn.Conv2d(3, half, 3, stride=2, padding=1),
        TimmNorm(half, eps=1e-6),
        torch.nn.GELU(),
        torch.nn.Conv2d(half, full, 3, stride=2, padding=1),
        TimmNorm(full, eps=1e-6),
        torch.nn.GELU(),
    )
    return network


def test_values_and_gradients_are_timms():
    torch.manual_seed(0)
    ours, theirs = ConvNeXt(SIZE, num_classes=5), timm_convnext(SIZE, 5)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    images = torch.rand(2, 3, 64, 96, requires_grad=True)
    own, reference = ours(images), theirs(images)
    assert torch.allclose(own, reference, atol=1e-5)
    assert own.std() > 1e-3
    (own_gradient,) = torch.autograd.grad(own.square().sum(), images)
    (gradient,) = torch.autograd.grad(reference.square().sum(), images)
    assert torch.allclose(own_gradient, gradient, atol=1e-5 * gradient.abs().max())


def test_features_are_timms_stages():
    torch.manual_seed(0)
    ours, theirs = ConvNeXt(SIZE), timm_convnext(SIZE, 5)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    images = torch.rand(1, 3, 64, 64)
    features = ours.features(images)
    assert [tuple(map_.shape) for map_ in features] == [
        (1, 8, 16, 16),
        (1, 16, 8, 8),
        (1, 24, 4, 4),
        (1, 32, 2, 2),
    ]
    for own, reference in zip(features, theirs.forward_intermediates(images)[1], strict=True):
        assert torch.allclose(own, reference, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("convnext_tiny", 28.6), ("convnext_small", 50.3), ("convnext_demo", 0.4)],
)
def test_parameter_counts(name, millions):
    """Singh et al. 2023 give 28.6 M and 50.3 M for the networks with convolutional stem."""
    with torch.device("meta"):
        network = build_backbone(name, num_classes=1000)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_channels_last_stays_from_stem_to_last_stage():
    for map_ in build_classifier("convnext_demo", 9).features(torch.rand(2, 3, 64, 64)):
        assert map_.is_contiguous(memory_format=torch.channels_last)


def test_layer_norm_normalises_each_pixel():
    result = LayerNorm2d(6)(torch.rand(2, 6, 3, 4) * 5)
    assert torch.allclose(result.mean(1), torch.zeros(2, 3, 4), atol=1e-5)
    assert torch.allclose(result.var(1, unbiased=False), torch.ones(2, 3, 4), atol=1e-3)


def test_narrow_networks_start_blind_to_brightness():
    weight = build_backbone("convnext_demo").stem.stem[0].weight.detach()
    assert weight.sum((1, 2, 3)).abs().max() < 1e-5
    assert weight.std().item() == pytest.approx(27**-0.5, rel=0.15)


def test_a_backbone_without_head_is_no_classifier():
    with pytest.raises(TypeError, match="without classification head"):
        build_backbone("convnext_demo")(torch.rand(1, 3, 32, 32))
