"""Weights on disk: they come back as they were, and whatever does not fit is said."""

import os
import resource

import pytest
import torch
from safetensors.torch import save_file

from robustseg import files
from robustseg.errors import RobustsegError
from robustseg.models.build import (
    build_classifier,
    build_segmentation_model,
    classifier_architecture,
)
from robustseg.models.checkpoints import (
    load_backbone,
    load_network,
    load_strictly,
    read_weights,
    save_weights,
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_segmentation_model("convnext_demo", "upernet_demo", 4)


@pytest.fixture
def weights(model, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, model, {"architecture": model.architecture, "note": "täst"})
    return path


@pytest.fixture
def classifier_weights(tmp_path):
    torch.manual_seed(1)
    path = tmp_path / "classifier.safetensors"
    architecture = classifier_architecture("convnext_demo", 9)
    save_weights(path, build_classifier("convnext_demo", 9), {"architecture": architecture})
    return path


def test_a_model_comes_back_from_its_file_alone(model, weights):
    loaded, metadata = load_network(weights)
    images = torch.rand(1, 3, 32, 32)
    assert metadata["note"] == "täst"
    assert not loaded.training
    assert torch.equal(loaded(images), model.eval()(images))


def test_a_classifier_comes_back_too(classifier_weights):
    loaded, _ = load_network(classifier_weights)
    assert loaded(torch.rand(2, 3, 32, 32)).shape == (2, 9)


def test_weights_are_written_into_the_one_temporary_file(model, tmp_path, monkeypatch):
    """Which is locked and removed after a kill; safetensors' own has another name each time."""

    def noting(path, *arguments, **options):
        descriptor = open_locked(path, *arguments, **options)
        written.append(os.fstat(descriptor).st_ino)
        return descriptor

    open_locked, written = files._open_locked, []
    monkeypatch.setattr(files, "_open_locked", noting)
    save_weights(tmp_path / "w", model, {"architecture": model.architecture})
    assert written == [(tmp_path / "w").stat().st_ino]


def test_same_weights_same_bytes(model, weights, tmp_path):
    for attempt in range(5):
        metadata = {"note": "täst", "architecture": dict(reversed(model.architecture.items()))}
        save_weights(tmp_path / f"{attempt}", model, metadata)
        assert (tmp_path / f"{attempt}").read_bytes() == weights.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.999])
def test_truncated_file_gets_one_sentence(weights, share):
    os.truncate(weights, int(weights.stat().st_size * share))
    with pytest.raises(RobustsegError, match=r"weights\.safetensors is truncated") as caught:
        load_network(weights)
    assert "\n" not in str(caught.value)


def test_missing_file_and_foreign_file(tmp_path):
    with pytest.raises(RobustsegError, match=r"absent does not exist"):
        load_network(tmp_path / "absent")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign")
    with pytest.raises(RobustsegError, match=r"foreign does not say which network"):
        load_network(tmp_path / "foreign")


def test_a_key_too_few_too_many_or_of_another_shape_is_named(model, weights):
    tensors, _ = read_weights(weights)
    key = "backbone.stages.1.blocks.0.gamma"
    fewer = {name: tensor for name, tensor in tensors.items() if name != key}
    for changed, words in (
        (fewer, f"lacks the weight {key}"),
        (tensors | {"extra.key": torch.zeros(1)}, r"has a weight extra\.key that"),
        (tensors | {key: torch.zeros(47)}, rf"{key} has shape \(47,\), .* needs \(48,\)"),
    ):
        with pytest.raises(RobustsegError, match=words):
            load_strictly(model, changed, weights)


def test_backbone_is_taken_over_and_every_key_accounted_for(model, classifier_weights):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    source, _ = read_weights(classifier_weights)
    report = load_backbone(classifier_weights, model)
    after = model.state_dict()
    assert sorted(report.kept + report.dropped) == sorted(source)
    assert report.dropped == [
        "head.fc.bias",
        "head.fc.weight",
        "head.norm.bias",
        "head.norm.weight",
    ]
    assert sorted([f"backbone.{key}" for key in report.kept] + report.fresh) == sorted(after)
    for key in report.kept:
        assert torch.equal(after[f"backbone.{key}"], source[key])
    for key in report.fresh:
        assert torch.equal(after[key], before[key])
    assert {key.split(".")[0] for key in report.fresh} == {"norms", "decode_head", "auxiliary_head"}
    assert "4 dropped (head)" in str(report)


@pytest.mark.parametrize(
    ("backbone", "decoder", "head", "resized"),
    [("vit_demo", "segmenter", "head", ["pos_embed"]), ("resnet_demo", "pspnet_demo", "fc", [])],
)
def test_backbones_of_every_kind_are_taken_over(tmp_path, backbone, decoder, head, resized):
    path = tmp_path / "classifier.safetensors"
    classifier = build_classifier(backbone, 9)
    save_weights(path, classifier, {"architecture": classifier_architecture(backbone, 9)})
    model = build_segmentation_model(backbone, decoder, 4)
    report = load_backbone(path, model)
    assert report.dropped == [f"{head}.bias", f"{head}.weight"]
    assert report.resized == resized
    assert sorted(report.kept) == sorted(model.backbone.state_dict())
    source = classifier.state_dict()
    for key, tensor in model.backbone.state_dict().items():
        if key not in resized:
            assert torch.equal(tensor, source[key])
    for key in resized:  # 4 x 4 patches to 6 x 6; the class token's own stays
        assert torch.equal(model.backbone.state_dict()[key][:, 0], source[key][:, 0])
        assert "(pos_embed resized)" in str(report)


def test_backbone_of_another_architecture_is_refused(model, tmp_path):
    path = tmp_path / "other.safetensors"
    architecture = classifier_architecture("convnext_tiny", 9)
    save_weights(path, build_classifier("convnext_demo", 9), {"architecture": architecture})
    with pytest.raises(RobustsegError, match=r"holds a convnext_tiny, .* is a convnext_demo"):
        load_backbone(path, model)


def test_full_disk_leaves_no_file_and_keeps_the_old_one(model, weights):
    before = weights.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limit[1]))
    try:
        with pytest.raises(RobustsegError, match=r"could not write .*weights\.safetensors"):
            save_weights(weights, model, {"architecture": model.architecture})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert weights.read_bytes() == before
    assert list(weights.parent.iterdir()) == [weights]
