"""UPerNet against the published layers, torch's own interpolation, and an independent slow pass."""

import pytest
import torch
from torch.nn import functional

from robustseg.errors import RobustsegError
from robustseg.models.build import build_segmentation_model
from robustseg.models.interpolation import pool, resize

PAPER_KEYS = {
    "decode_head.classifier.weight": (21, 512, 1, 1),
    "decode_head.psp_modules.3.1.conv.weight": (512, 768, 1, 1),
    "decode_head.psp_modules.0.1.batch_norm.running_var": (512,),
    "decode_head.bottleneck.conv.weight": (512, 2816, 3, 3),
    "decode_head.lateral_convs.0.conv.weight": (512, 96, 1, 1),
    "decode_head.fpn_convs.2.conv.weight": (512, 512, 3, 3),
    "decode_head.fpn_bottleneck.conv.weight": (512, 2048, 3, 3),
    "auxiliary_head.convs.0.conv.weight": (256, 384, 3, 3),
    "auxiliary_head.classifier.bias": (21,),
    "norms.3.weight": (768,),
    "backbone.stem.stem.0.weight": (48, 3, 3, 3),
    "backbone.stages.2.blocks.8.mlp.fc1.weight": (1536, 384),
}


def test_paper_size_has_the_published_layers():
    """60.2 M parameters with all heads, and the names and shapes of the released weights."""
    with torch.device("meta"):
        model = build_segmentation_model("convnext_tiny", "upernet", 21)
    state = model.state_dict()
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(60.2, abs=0.05)
    assert {key: tuple(state[key].shape) for key in PAPER_KEYS} == PAPER_KEYS
    assert not [key for key in state if key.endswith("conv.bias")]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("size", "target"), [((3, 5), (12, 9)), ((1, 1), (4, 4)), ((7, 6), (3, 2))]
)
def test_resize_is_bilinear_interpolation(layout, size, target):
    features = torch.rand(2, 3, *size).contiguous(memory_format=layout).requires_grad_()
    result = resize(features, target)
    expected = functional.interpolate(features, target, mode="bilinear", align_corners=False)
    assert torch.allclose(result, expected, atol=1e-6)
    weights = torch.rand(expected.shape)
    (own,) = torch.autograd.grad((result * weights).sum(), features)
    (reference,) = torch.autograd.grad((expected * weights).sum(), features)
    assert torch.allclose(own, reference, atol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("regions", [1, 2, 3, 6])
def test_pool_is_adaptive_average_pooling(layout, regions):
    features = torch.rand(2, 3, 7, 5).contiguous(memory_format=layout)
    expected = functional.adaptive_avg_pool2d(features, regions)
    assert torch.allclose(pool(features, regions), expected, atol=1e-6)


def slow_upernet(model, images):
    """The decoder written down again from its description, layer by layer, with torch's own ops."""

    def block(module, features):
        features = functional.conv2d(
            features, module.conv.weight, padding=module.conv.weight.shape[-1] // 2
        )
        norm = module.batch_norm
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - norm.running_mean * scale
        return (features * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)).relu()

    def up(features, size):
        return functional.interpolate(features, size, mode="bilinear", align_corners=False)

    head, maps = model.decode_head, []
    for norm, map_ in zip(model.norms, model.backbone.features(images), strict=True):
        maps.append(
            functional.layer_norm(
                map_.movedim(1, -1), norm.normalized_shape, norm.weight, norm.bias, 1e-6
            ).movedim(-1, 1)
        )
    pyramid = [maps[3]]
    for regions, module in zip((1, 2, 3, 6), head.psp_modules, strict=True):
        pooled = block(module[1], functional.adaptive_avg_pool2d(maps[3], regions))
        pyramid.append(up(pooled, maps[3].shape[-2:]))
    top = block(head.bottleneck, torch.cat(pyramid, 1))
    third = block(head.lateral_convs[2], maps[2]) + up(top, maps[2].shape[-2:])
    second = block(head.lateral_convs[1], maps[1]) + up(third, maps[1].shape[-2:])
    first = block(head.lateral_convs[0], maps[0]) + up(second, maps[0].shape[-2:])
    size = first.shape[-2:]
    merged = [
        block(conv, level)
        for conv, level in zip(head.fpn_convs, (first, second, third), strict=True)
    ]
    merged = torch.cat([up(level, size) for level in (*merged, top)], 1)
    merged = block(head.fpn_bottleneck, merged)
    logits = functional.conv2d(merged, head.classifier.weight, head.classifier.bias)
    return up(logits, images.shape[-2:])


def test_forward_is_the_decoder_of_the_paper():
    torch.manual_seed(0)
    model = build_segmentation_model("convnext_demo", "upernet_demo", 4)
    images = torch.rand(2, 3, 96, 64)
    model.train()
    model(images)  # moves BatchNorm's statistics from their start
    model.eval()
    with torch.no_grad():
        expected = slow_upernet(model, images)
        assert torch.allclose(model(images), expected, atol=1e-4)
    assert expected.std() > 1e-2


def test_logits_have_the_images_resolution_also_where_it_is_no_multiple_of_32():
    model = build_segmentation_model("convnext_demo", "upernet_demo", 4).eval()
    images = torch.rand(1, 3, 50, 65)
    logits, auxiliary = (one.logits() for one in model.coarse_with_auxiliary(images))
    assert logits.shape == auxiliary.shape == (1, 4, 50, 65)
    assert torch.equal(logits, model(images))
    assert logits.is_contiguous()


def test_auxiliary_head_reads_the_third_stage_and_gives_no_logits():
    torch.manual_seed(0)
    model = build_segmentation_model("convnext_demo", "upernet_demo", 4).eval()
    images = torch.rand(1, 3, 48, 48)
    before = model(images)
    torch.nn.init.ones_(model.auxiliary_head.classifier.bias)
    assert torch.equal(model(images), before)
    model.coarse_with_auxiliary(images)[1].logits().sum().backward()
    assert model.backbone.stages[2].blocks[0].gamma.grad is not None
    assert model.backbone.stages[3].blocks[0].gamma.grad is None


@pytest.mark.parametrize(
    ("backbone", "decoder"), [("convnext_huge", "upernet"), ("convnext_demo", "unet")]
)
def test_unknown_names_are_answered_with_the_known(backbone, decoder):
    with pytest.raises(
        RobustsegError, match=r"unknown (backbone 'convnext_huge'|decoder 'unet'); known are"
    ):
        build_segmentation_model(backbone, decoder, 4)
