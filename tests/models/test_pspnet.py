"""PSPNet against an independent pass, written down from its description with torch's own ops."""

import pytest
import torch
from torch.nn import functional
from torchvision.models import resnet50

from robustseg.errors import RobustsegError
from robustseg.models.build import build_classifier, build_segmentation_model
from robustseg.models.interpolation import resize


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = build_segmentation_model("resnet_demo", "pspnet_demo", 4).train()
    model(torch.rand(4, 3, 64, 64))  # moves BatchNorm's statistics from their start
    return model.eval()


def normalised(norm, features):
    return functional.batch_norm(
        features, norm.running_mean, norm.running_var, norm.weight, norm.bias
    )


def slow_stage(block, features, stride, dilation):
    """One bottleneck block, with a projection beside it."""
    inner = functional.conv2d(features, block.conv1.weight)
    inner = normalised(block.bn1, inner).relu()
    inner = functional.conv2d(
        inner, block.conv2.weight, stride=stride, padding=dilation, dilation=dilation
    )
    inner = normalised(block.bn2, inner).relu()
    inner = normalised(block.bn3, functional.conv2d(inner, block.conv3.weight))
    convolution, norm = block.downsample
    beside = functional.conv2d(features, convolution.weight, stride=stride)
    return (inner + normalised(norm, beside)).relu()


def slow_pspnet(model, images):
    def up(features, size):
        return functional.interpolate(features, size, mode="bilinear", align_corners=True)

    def head(layers, features):
        block, _, last = layers
        features = functional.conv2d(features, block.conv.weight, padding=1)
        features = normalised(block.batch_norm, features).relu()
        return up(functional.conv2d(features, last.weight, last.bias), images.shape[-2:])

    net = model.backbone
    first, norm1, _, second, norm2, _, third = net.conv1
    features = functional.conv2d(images, first.weight, stride=2, padding=1)
    features = normalised(norm1, features).relu()
    features = normalised(norm2, functional.conv2d(features, second.weight, padding=1)).relu()
    features = normalised(net.bn1, functional.conv2d(features, third.weight, padding=1)).relu()
    features = functional.max_pool2d(features, 3, stride=2, padding=1)
    features = slow_stage(net.layer1[0], features, 1, 1)
    features = slow_stage(net.layer2[0], features, 2, 1)
    features = third = slow_stage(net.layer3[0], features, 1, 2)
    features = slow_stage(net.layer4[0], features, 1, 4)
    pyramid = [features]
    for regions, part in zip((1, 2, 3, 6), model.decode_head.pyramid, strict=True):
        pooled = functional.adaptive_avg_pool2d(features, regions)
        pooled = normalised(part[1].batch_norm, functional.conv2d(pooled, part[1].conv.weight))
        pyramid.append(up(pooled.relu(), features.shape[-2:]))
    logits = head(model.decode_head.classifier, torch.cat(pyramid, 1))
    return logits, head(model.auxiliary_head, third)


@pytest.mark.parametrize("size", [(57, 57), (64, 50)])
def test_forward_is_the_pspnet_of_the_paper(model, size):
    images = torch.rand(2, 3, *size)
    with torch.no_grad():
        logits, auxiliary = (one.logits() for one in model.coarse_with_auxiliary(images))
        expected, expected_auxiliary = slow_pspnet(model, images)
    assert logits.shape == (2, 4, *size)
    assert torch.allclose(logits, expected, atol=1e-4)
    assert torch.allclose(auxiliary, expected_auxiliary, atol=1e-4)
    assert expected.std() > 1e-2


def test_channels_are_dropped_before_the_classifiers_in_training_alone(model):
    features = torch.rand(2, 64, 6, 6).add(1)
    for head in (model.decode_head.classifier, model.auxiliary_head):
        dropout = head[1].train()
        assert dropout.p == 0.1
        dropped = dropout(features).amax((2, 3)) == 0  # whole channels
        assert 0 < dropped.sum() < dropped.numel()
        assert torch.equal(dropout.eval()(features), features)


def test_every_3x3_convolution_of_the_last_stages_is_dilated():
    with torch.device("meta"):
        backbone = build_segmentation_model("resnet50", "pspnet", 21).backbone
    for name, dilation in (("layer2", 1), ("layer3", 2), ("layer4", 4)):
        for block in backbone.get_submodule(name).children():
            assert block.conv2.dilation == block.conv2.padding == (dilation, dilation)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("size", "target"), [((3, 5), (12, 9)), ((1, 1), (4, 4)), ((7, 6), (3, 2))]
)
def test_resize_between_corners_is_bilinear_interpolation(layout, size, target):
    features = torch.rand(2, 3, *size).contiguous(memory_format=layout)
    result = resize(features, target, align_corners=True)
    expected = functional.interpolate(features, target, mode="bilinear", align_corners=True)
    assert torch.allclose(result, expected, atol=1e-6)


def test_mean_and_standard_deviation_are_part_of_the_model(model):
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    shifted = build_segmentation_model("resnet_demo", "pspnet_demo", 4, mean, std).eval()
    shifted.load_state_dict(model.state_dict())
    images = torch.rand(1, 3, 32, 32)
    column = torch.tensor([mean, std]).view(2, 3, 1, 1)
    assert torch.allclose(shifted(images), model((images - column[0]) / column[1]), atol=1e-5)
    assert shifted.architecture["std"] == std
    assert not torch.allclose(shifted(images), model(images), atol=1e-2)


def test_the_classifier_is_torchvisions():
    theirs = resnet50(weights=None).eval()
    own = build_classifier("resnet50", 1000).eval()
    own.load_state_dict(theirs.state_dict())
    images = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        assert torch.allclose(own(images), theirs(images), atol=1e-4)


def test_a_decoder_needs_a_backbone_that_it_fits():
    with pytest.raises(RobustsegError, match="segmenter needs one of vit_demo, vit_small"):
        build_segmentation_model("resnet50", "segmenter", 21)
