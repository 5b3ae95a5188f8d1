"""Segmenter against an independent pass, written down from its description with torch's own ops."""

import pytest
import torch
from torch.nn import Dropout, LayerNorm, Linear, functional

from robustseg.models.build import build_classifier, build_segmentation_model
from robustseg.models.vit import resize_position_embeddings


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = build_segmentation_model("vit_demo", "segmenter", 4).eval()
    for parameter in model.parameters():  # away from the small start, so that every layer counts
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model


def test_the_decoder_begins_with_weights_of_its_width():
    torch.manual_seed(0)
    head = build_segmentation_model("vit_demo", "segmenter", 4).decode_head
    for weight in (layer.weight for layer in head.modules() if isinstance(layer, Linear)):
        assert weight.std().item() == pytest.approx(0.02, rel=0.1)
    for projection in (head.project_patches, head.project_classes):
        assert projection.std().item() == pytest.approx(len(projection) ** -0.5, rel=0.1)


def slow_block(block, tokens, heads):
    def norm(layer, tokens):
        return functional.layer_norm(tokens, layer.weight.shape, layer.weight, layer.bias, 1e-5)

    inner = norm(block.norm1, tokens)
    batch, count, width = inner.shape
    qkv = functional.linear(inner, block.attn.qkv.weight, block.attn.qkv.bias)
    query, key, value = qkv.view(batch, count, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    attention = (query @ key.transpose(-1, -2) / (width // heads) ** 0.5).softmax(-1)
    mixed = (attention @ value).transpose(1, 2).reshape(batch, count, width)
    tokens = tokens + functional.linear(mixed, block.attn.proj.weight, block.attn.proj.bias)
    mlp = block.mlp
    hidden = functional.linear(norm(block.norm2, tokens), mlp.fc1.weight, mlp.fc1.bias)
    hidden = functional.gelu(hidden)
    return tokens + functional.linear(hidden, mlp.fc2.weight, mlp.fc2.bias)


def slow_segmenter(model, images):
    """Patches of 8 pixels, 3 heads."""
    height, width = images.shape[-2:]
    below, right = -height % 8, -width % 8
    padded = functional.pad(images, (0, right, 0, below))
    encoder, decoder = model.backbone, model.decode_head
    patches = functional.conv2d(
        padded, encoder.patch_embed.proj.weight, encoder.patch_embed.proj.bias, stride=8
    )
    rows, columns = patches.shape[-2:]
    grid = encoder.pos_embed[:, 1:].transpose(1, 2).reshape(1, -1, 6, 6)
    grid = functional.interpolate(grid, (rows, columns), mode="bilinear")
    patches = (patches + grid).flatten(2).transpose(1, 2)
    first = (encoder.cls_token + encoder.pos_embed[:, :1]).expand(len(images), -1, -1)
    tokens = torch.cat([first, patches], 1)
    for block in encoder.blocks:
        tokens = slow_block(block, tokens, 3)
    norm = encoder.norm
    tokens = functional.layer_norm(tokens, norm.weight.shape, norm.weight, norm.bias, 1e-5)
    tokens = decoder.project(tokens[:, 1:])
    tokens = torch.cat([tokens, decoder.class_embeddings.expand(len(images), -1, -1)], 1)
    for block in decoder.blocks:
        tokens = slow_block(block, tokens, 3)
    tokens = decoder.norm(tokens)
    patches, classes = tokens[:, :-4], tokens[:, -4:]
    patches, classes = patches @ decoder.project_patches, classes @ decoder.project_classes
    cosines = functional.cosine_similarity(patches[:, :, None], classes[:, None], dim=-1)
    masks = decoder.mask_norm(cosines).transpose(1, 2).reshape(len(images), 4, rows, columns)
    logits = functional.interpolate(masks, padded.shape[-2:], mode="bilinear")
    return logits[..., :height, :width]


@pytest.mark.parametrize("size", [(48, 48), (40, 56), (37, 50)])
def test_forward_is_the_segmenter_of_the_paper(model, size):
    images = torch.rand(2, 3, *size)
    with torch.no_grad():
        logits, expected = model(images), slow_segmenter(model, images)
    assert logits.shape == (2, 4, *size)
    assert torch.allclose(logits, expected, atol=1e-3)
    assert expected.std() > 0.1


def test_it_has_no_auxiliary_head(model):
    images = torch.rand(1, 3, 32, 32)
    decoder, auxiliary = model.coarse_with_auxiliary(images)
    assert auxiliary is None
    assert torch.equal(decoder.logits(), model(images))


def test_the_decoder_drops_in_training_alone(model):
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(model(images), model(images))
    model.train()
    assert not torch.equal(model(images), model(images))
    for block in model.decode_head.blocks:  # attention, its projection, both layers of the MLP
        shares = [block.attn.attn_drop.p, block.attn.proj_drop.p]
        shares += [block.mlp.drop1.p, block.mlp.drop2.p]
        assert shares == [0.1] * 4
    assert not any(one.p for one in model.backbone.modules() if isinstance(one, Dropout))


def test_position_embeddings_of_the_same_grid_stay_as_they_are():
    embeddings = torch.rand(1, 1 + 9, 5)
    assert resize_position_embeddings(embeddings, 3, 3) is embeddings
    larger = resize_position_embeddings(embeddings, 6, 4)
    assert larger.shape == (1, 1 + 24, 5)
    assert torch.equal(larger[:, 0], embeddings[:, 0])


def test_layer_norms_have_the_eps_of_their_publishers(model):
    """Segmenter's own code has torch's default, timm's classifiers another."""
    assert {one.eps for one in model.modules() if isinstance(one, LayerNorm)} == {1e-5}
    classifier = build_classifier("vit_demo", 3)
    assert {one.eps for one in classifier.modules() if isinstance(one, LayerNorm)} == {1e-6}


def test_the_classifier_is_timms():
    from timm import create_model

    timms = create_model("vit_small_patch16_224", pretrained=False).eval()
    own = build_classifier("vit_small", 1000).eval()
    own.load_state_dict(timms.state_dict())
    images = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.allclose(own(images), timms(images), atol=1e-5)
