"""Models by reference: what a line leads to, with the settings of a section `own`."""

from pathlib import Path
from typing import Any

import pytest
import torch

from robustseg.errors import RobustsegError
from robustseg.models.references import UNSAID, load_reference, own_model
from robustseg.models.wrap import IMAGENET_MEAN, IMAGENET_STD, WrappedModel

MODEL = """
import torch
import robustseg

plain = torch.nn.Conv2d(3, 3, 1)
wrapped = robustseg.wrap(torch.nn.Conv2d(3, 3, 1), scale=2.0)
three = robustseg.wrap(torch.nn.Conv2d(3, 4, 1), num_classes=3)

def function(images):
    return 3 * images

def around(images):
    return plain(images)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(load: str, **said: Any) -> dict[str, Any]:
    return UNSAID | {"load": load, "weights": None} | said


def test_a_plain_network_is_wrapped_as_said(here: Path) -> None:
    images = torch.rand(1, 3, 4, 4)
    for said, expected in (
        ({}, images),
        ({"normalise": "half"}, (images - 0.5) / 0.5),
        ({"mean": [0.1, 0.2, 0.3], "std": [1.0, 2.0, 4.0]}, None),
    ):
        model = own_model(settings("mine.py:plain", **said), 3)
        mean, std = (torch.tensor(said.get(k, [0.0] * 3)).view(1, 3, 1, 1) for k in ("mean", "std"))
        wanted = (images - mean) / std if expected is None else expected
        assert torch.allclose(model(images), model.net(wanted), atol=1e-6)
        assert not model.training


@pytest.mark.parametrize("name", ["plain", "wrapped", "function", "around"])
def test_the_device_that_is_asked_for_is_where_images_go(here: Path, name: str) -> None:
    assert own_model(settings(f"mine.py:{name}"), 3, "meta").device == torch.device("meta")


def test_a_device_that_fails_without_a_word_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> None:
        raise AssertionError

    monkeypatch.setattr(WrappedModel, "to", fails)
    with pytest.raises(RobustsegError, match="the device 'npu' cannot be used: it says nothing"):
        own_model(settings("mine.py:plain"), 3, "npu")


def test_what_a_wrapped_network_would_not_do_is_refused(here: Path) -> None:
    assert own_model(settings("mine.py:wrapped"), 3).data_classes == 3
    with pytest.raises(RobustsegError, match=r"wrapped already .* no use for normalise, divisor"):
        own_model(settings("mine.py:wrapped", normalise="imagenet", divisor=8), 3)
    with pytest.raises(RobustsegError, match="num_classes is 4, and the model was wrapped with 3"):
        own_model(settings("mine.py:three"), 4)


def test_a_folder_of_transformers_brings_its_normalisation(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(
        num_labels=5, depths=[1] * 4, hidden_sizes=[8] * 4, num_attention_heads=[1] * 4,
        decoder_hidden_size=8,
    )  # fmt: skip
    net = transformers.SegformerForSemanticSegmentation(config).eval()
    net.save_pretrained(tmp_path)
    transformers.SegformerImageProcessor(image_mean=[0.4, 0.5, 0.6]).save_pretrained(tmp_path)
    model = own_model(settings(f"hf:{tmp_path}"), 5)
    images = torch.rand(1, 3, 32, 32)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.4, 0.5, 0.6], IMAGENET_STD))
    with torch.no_grad():
        coarse = net((images - mean) / std).logits
        same = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear")
        assert torch.allclose(model(images), same, atol=1e-5)
    with pytest.raises(RobustsegError, match=r"^hf:nowhere/at_all cannot be loaded: "):
        load_reference("hf:nowhere/at_all")


def test_a_folder_of_segmentation_models_pytorch(tmp_path: Path) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    net = smp.Unet("resnet18", encoder_weights=None, classes=3).eval()
    net.save_pretrained(tmp_path)
    referred = load_reference(f"smp:{tmp_path}")
    assert (referred.mean, referred.std) == (IMAGENET_MEAN, IMAGENET_STD)
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(referred.net.eval()(images), net(images), atol=1e-6)


def test_torchvision_with_weights_of_one_s_own(tmp_path: Path) -> None:
    from torchvision.models import get_model

    name = "lraspp_mobilenet_v3_large"
    net = get_model(name, weights=None, weights_backbone=None, num_classes=4)
    torch.save({"model": net.state_dict()}, tmp_path / "w.pth")
    referred = load_reference(f"torchvision:{name}", tmp_path / "w.pth", 4)
    assert all(map(torch.equal, referred.net.parameters(), net.parameters()))
    with pytest.raises(RobustsegError, match="is the number of classes right"):
        load_reference(f"torchvision:{name}", tmp_path / "w.pth", 5)
