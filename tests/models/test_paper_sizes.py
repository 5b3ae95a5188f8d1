"""The paper's architectures at the paper's sizes."""

import pytest
import torch

from robustseg.models.build import build_segmentation_model
from robustseg.models.registry import BACKBONES, DECODERS, backbones_for

PAPER = {
    # Table 3 and the published weights; millions of parameters with all heads
    ("convnext_tiny", "upernet", 21): 60.2,
    ("convnext_small", "upernet", 151): 81.9,
    ("vit_small", "segmenter", 151): 26.0,
    ("resnet50", "pspnet", 21): 49.0,
    ("resnet50_deep_stem", "pspnet", 21): 49.1,
}
DEMO = [
    ("convnext_demo", "upernet_demo"),
    ("vit_demo", "segmenter"),
    ("resnet_demo", "pspnet_demo"),
]


@pytest.mark.parametrize("names", PAPER, ids=lambda names: names[0])
def test_parameter_counts(names):
    with torch.device("meta"):
        model = build_segmentation_model(*names)
    groups = model.parameter_groups()
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(PAPER[names], abs=0.05)
    assert {
        name.split(".")[0] for name, p in model.named_parameters() if is_in(p, groups["encoder"])
    } == {"backbone"}
    assert sorted(map(id, groups["encoder"] + groups["decoder"])) == sorted(
        map(id, model.parameters())
    )


def is_in(parameter, group):
    return any(parameter is one for one in group)


@pytest.mark.parametrize(
    ("names", "size_px"),
    [
        (("convnext_tiny", "upernet", 21), 473),
        (("resnet50_deep_stem", "pspnet", 21), 473),
        (("vit_small", "segmenter", 151), 512),
    ],
    ids=lambda value: str(value),
)
def test_forward_and_backward_at_the_papers_resolution(names, size_px):
    torch.manual_seed(0)
    model = build_segmentation_model(*names).eval()
    images = torch.rand(1, 3, size_px, size_px, requires_grad=True)
    logits = model(images)
    assert logits.shape == (1, names[2], size_px, size_px)
    logits.square().mean().backward()
    assert images.grad.isfinite().all()
    # Every row and column of pixels matters, also at the borders.
    assert (images.grad.abs().sum((0, 1, 2)) > 0).all()
    assert (images.grad.abs().sum((0, 1, 3)) > 0).all()


@pytest.mark.parametrize(("backbone", "decoder"), DEMO)
def test_drop_path_skips_branches_in_training_alone(backbone, decoder):
    torch.manual_seed(0)
    model = build_segmentation_model(backbone, decoder, 4)
    before, keys = model.eval()(torch.ones(1, 3, 32, 32)), list(model.state_dict())
    model.set_drop_path(0.9)
    assert torch.equal(model.eval()(torch.ones(1, 3, 32, 32)), before)
    assert list(model.state_dict()) == keys

    blocks = model.backbone.residual_blocks()
    rates = [getattr(block, "drop_path", None) or block.drop_path1 for block in blocks]
    assert [rate.drop_prob for rate in rates] == pytest.approx(
        [0.9 * place / (len(blocks) - 1) for place in range(len(blocks))]
    )
    skipped = rates[-1].train()(torch.ones(2000, 1, 1, 1)) == 0
    assert skipped.float().mean() == pytest.approx(0.9, abs=0.03)
    model.set_drop_path(0)
    rates = [getattr(block, "drop_path", None) or block.drop_path1 for block in blocks]
    assert not any(rate.drop_prob for rate in rates)


def test_every_backbone_has_a_decoder():
    fitting = [name for decoder in DECODERS for name in backbones_for(decoder)]
    assert set(fitting) == set(BACKBONES)
