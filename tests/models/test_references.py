"""Models by reference: what a line leads to, with the settings of a section `own`."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robustseg
from robustseg.errors import RobustsegError
from robustseg.files import sha256
from robustseg.models.build import build_segmentation_model
from robustseg.models.checkpoints import save_weights
from robustseg.models.convert import convert
from robustseg.models.published import FILES, MODELS, PublishedFile
from robustseg.models.references import UNSAID, load_reference, own_model
from robustseg.models.wrap import WrappedModel, wrap
from robustseg.names import IMAGENET_MEAN, IMAGENET_STD
from tests.models.published_keys import published_state
from tests.serving import serve

MODEL = """
import torch
import robustseg

plain = torch.nn.Conv2d(3, 3, 1)
wrapped = robustseg.wrap(torch.nn.Conv2d(3, 3, 1), scale=2.0)
three = robustseg.wrap(torch.nn.Conv2d(3, 4, 1), num_classes=3)

wrapped_function = robustseg.wrap(lambda images: images)

class Sized(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()

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
    with pytest.raises(RobustsegError, match=r"already wrapped .* no use for normalise, divisor"):
        own_model(settings("mine.py:wrapped", normalise="imagenet", divisor=8), 3)
    words = r"the data has 4 classes \(num_classes\), and the model was wrapped for 3"
    with pytest.raises(RobustsegError, match=words):
        own_model(settings("mine.py:three"), 4)
    with pytest.raises(RobustsegError, match="num_classes must be a whole number"):
        robustseg.load_model("mine.py:three", num_classes="3")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    path = tmp_path_factory.mktemp("trained") / "weights.safetensors"
    torch.manual_seed(0)
    net = build_segmentation_model("convnext_demo", "upernet_demo", 5, [0.1, 0.2, 0.3], [1, 2, 4])
    save_weights(path, net, {"architecture": net.architecture})
    return path, net.eval()


def test_a_model_of_this_project_s_is_its_file(trained: tuple[Path, nn.Module]) -> None:
    path, net = trained
    images = torch.rand(2, 3, 40, 56)
    model = robustseg.load_model(f"trained:{path}")
    assert model.data_classes == 5
    assert torch.equal(model(images), net(images))
    assert torch.equal(own_model(settings(f"trained:{path}"), 5)(images), net(images))
    assert not model.training


def test_a_model_of_this_project_s_needs_nothing_said(trained: tuple[Path, nn.Module]) -> None:
    path, _ = trained
    with pytest.raises(RobustsegError, match=r"the data has 4 classes .* was wrapped for 5"):
        own_model(settings(f"trained:{path}"), 4)
    with pytest.raises(RobustsegError, match="already wrapped and has no use for normalise"):
        own_model(settings(f"trained:{path}", normalise="imagenet"), 5)
    with pytest.raises(RobustsegError, match=r"names the weights already: leave out other\.pth"):
        robustseg.load_model(f"trained:{path}", weights="other.pth")
    with pytest.raises(RobustsegError, match=r"if this project made it, write trained:w\.safet"):
        robustseg.load_model("w.safetensors")
    with pytest.raises(RobustsegError, match=r"absent\.safetensors does not exist"):
        robustseg.load_model("trained:absent.safetensors")


@pytest.mark.parametrize("reference", [None, Path("w.safetensors"), ["trained:w"]])
def test_what_is_no_line_is_no_reference(reference: Any) -> None:
    with pytest.raises(RobustsegError, match="is not a reference; write "):
        robustseg.load_model(reference)


@pytest.mark.parametrize("kind", ["trained", "released"])
def test_a_package_that_is_missing_is_told_by_the_extra_of_the_kind(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "timm" else name)
    words = rf"{kind}: models need the package timm: pip install 'robustseg\[{kind}\]'"
    with pytest.raises(RobustsegError, match=words):
        robustseg.load_model(f"{kind}:x")


RELEASED = "pir_at_5_128ep_segmenter_vit_s"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file as it is published, with random values, beside nothing else."""
    path = tmp_path_factory.mktemp("served") / MODELS[RELEASED].file
    torch.save(published_state(RELEASED), path)
    return path


def test_a_released_model_is_downloaded_once(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    kept = tmp_path / "hub" / "robustseg" / released.name
    images = torch.rand(1, 3, 33, 49)
    with serve(released.parent) as server:
        urls = (server.url(released.name),)
        monkeypatch.setitem(FILES, released.name, PublishedFile(urls, sha256(released)))
        first = robustseg.load_model(f"released:{RELEASED}")
        assert kept.read_bytes() == released.read_bytes()
    assert first.data_classes == 151
    again = robustseg.load_model(f"released:{RELEASED}", num_classes=151)
    assert torch.equal(again(images), first(images))
    kept.write_bytes(b"something else")
    with pytest.raises(RobustsegError, match=f"could not download {released.name}"):
        robustseg.load_model(f"released:{RELEASED}")
    own_copy = robustseg.load_model(f"released:{RELEASED}", weights=released)
    assert torch.equal(own_copy(images), first(images))


def test_a_released_model_computes_what_the_workflow_s_conversion_does(
    released: Path, tmp_path: Path
) -> None:
    convert(RELEASED, released, tmp_path / "weights.safetensors", sha256(released))
    images = torch.rand(1, 3, 33, 49)
    converted = robustseg.load_model(f"trained:{tmp_path / 'weights.safetensors'}")
    model = robustseg.load_model(f"released:{RELEASED}", weights=released)
    assert torch.equal(model(images), converted(images))


def test_a_released_model_that_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(RobustsegError, match=rf"no model 'x' is released; known are .*{RELEASED}"):
        robustseg.load_model("released:x")
    with pytest.raises(RobustsegError, match=r"absent\.pth does not exist"):
        robustseg.load_model(f"released:{RELEASED}", weights=tmp_path / "absent.pth")


@pytest.mark.parametrize("saved", ["network", "wrapped model", "parallel network"])
def test_a_wrapped_network_takes_weights_however_they_were_saved(here: Path, saved: str) -> None:
    net = nn.Conv2d(3, 3, 1)
    whole = {"network": net, "wrapped model": wrap(net), "parallel network": nn.Module()}[saved]
    if saved == "parallel network":
        whole.module = net
    torch.save(whole.state_dict(), "w.pth")
    found = own_model(settings("mine.py:wrapped") | {"weights": "w.pth"}, 3)
    assert torch.equal(found.net.weight, net.weight)
    torch.save(nn.Conv2d(3, 4, 3).state_dict(), "other.pth")
    with pytest.raises(RobustsegError, match=r"other\.pth do not fit the model: (bias|weight) is"):
        own_model(settings("mine.py:wrapped") | {"weights": "other.pth"}, 3)
    with pytest.raises(RobustsegError, match="not a module that weights could be loaded into"):
        own_model(settings("mine.py:wrapped_function") | {"weights": "w.pth"}, 3)


def test_code_that_fails_is_told_where(here: Path) -> None:
    (here / "helper.py").write_text("def make():\n    return {}['x']\n")
    (here / "late.py").write_text("import helper\n\ndef net():\n    return helper.make()\n")
    (here / "early.py").write_text("import torch\n\nnet = torch.load('nowhere.pth')\n")
    (here / "typo.py").write_text("\ndef net(:\n")
    for reference, says in (
        ("late.py:net", r"late\.py:net failed .*KeyError: 'x' \(helper\.py, line 2\)$"),
        ("early.py:net", r"early\.py fails: FileNotFoundError: .* \(early\.py, line 3\)$"),
        ("typo.py:net", r"typo\.py fails: SyntaxError: .*\(typo\.py, line 2\)$"),
    ):
        with pytest.raises(RobustsegError, match=says):
            load_reference(reference)


def test_a_class_that_needs_arguments_is_not_called(here: Path) -> None:
    with pytest.raises(RobustsegError, match="make one in the file, such as net = Sized"):
        load_reference("mine.py:Sized")


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


PROCESSORS: list[dict[str, Any]] = [
    {"image_mean": [0.4, 0.5, 0.6]},
    {"do_normalize": False},
    {"do_rescale": False},
    {"rescale_factor": 1 / 127.5},
    {"do_rescale": False, "image_mean": [123.7, 116.3, 103.5], "image_std": [58.4, 57.1, 57.4]},
]


def seen_by(model: WrappedModel, images: Tensor) -> Tensor:
    """Return what the network inside gets of images."""
    got: list[Tensor] = []
    handle = model.net.register_forward_pre_hook(lambda _, inputs: got.append(inputs[0]))
    model(images)
    handle.remove()
    return got[0]


@pytest.mark.parametrize("said", PROCESSORS)
def test_networks_of_transformers_see_what_their_processor_makes(
    tmp_path: Path, said: dict[str, Any]
) -> None:
    transformers = pytest.importorskip("transformers")
    save_segformer(tmp_path)
    processor = transformers.SegformerImageProcessor(**said)
    processor.save_pretrained(tmp_path)
    image = torch.randint(256, (32, 32, 3), dtype=torch.uint8)
    wanted = processor(image.numpy(), do_resize=False, return_tensors="pt")["pixel_values"]
    model = own_model(settings(f"hf:{tmp_path}"), 5)
    seen = seen_by(model, image.permute(2, 0, 1)[None] / 255)
    torch.testing.assert_close(seen, wanted, rtol=1e-4, atol=1e-4)


def save_segformer(folder: Path) -> None:
    import transformers

    config = transformers.SegformerConfig(
        num_labels=5, depths=[1] * 4, hidden_sizes=[8] * 4, num_attention_heads=[1] * 4,
        decoder_hidden_size=8,
    )  # fmt: skip
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)


def test_networks_of_transformers_that_want_blue_first(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.MobileViTConfig(
        num_labels=5, hidden_sizes=[16, 24, 32], neck_hidden_sizes=[8, 8, 16, 16, 24, 24, 32],
        aspp_out_channels=16, atrous_rates=[1, 2, 3], image_size=64,
    )  # fmt: skip
    net = transformers.MobileViTForSemanticSegmentation(config).eval()
    net.save_pretrained(tmp_path)
    transformers.MobileViTImageProcessor().save_pretrained(tmp_path)
    model, images = own_model(settings(f"hf:{tmp_path}"), 5), torch.rand(1, 3, 64, 64)
    assert torch.equal(seen_by(model, images), images.flip(1))
    assert set(model.net.state_dict()) == set(net.state_dict()), "weights of one's own fit"


def test_a_processor_that_does_what_wrap_cannot_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")
    save_segformer(tmp_path)
    hf = f"hf:{tmp_path}"
    with pytest.raises(RobustsegError, match=r"has no image processor .*with --normalise"):
        own_model(settings(hf), 5)
    assert own_model(settings(hf, normalise="none"), 5).mean is None
    processor = transformers.SegformerImageProcessor
    processor().save_pretrained(tmp_path)
    usual = processor.__call__

    def squares(self: Any, *images: Any, **said: Any) -> dict[str, Tensor]:
        return {"pixel_values": usual(self, *images, **said)["pixel_values"].square()}

    monkeypatch.setattr(processor, "__call__", squares)
    with pytest.raises(RobustsegError, match=r"does more than shift and scale .*`normalise`"):
        own_model(settings(hf), 5)
    assert own_model(settings(hf, mean=(0.5,), std=(0.5,)), 5).mean is not None


SMP = "segmentation_models_pytorch"
USUAL = {"input_space": "RGB", "input_range": [0, 1], "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
BGR = {"input_space": "BGR", "input_range": [0, 255], "mean": [104, 117, 123], "std": [1, 2, 4]}


@pytest.mark.parametrize("said", [USUAL, BGR, USUAL | {"mean": [0] * 3, "std": [1] * 3}])
def test_a_folder_of_segmentation_models_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any]
) -> None:
    """What its network sees is what the package's own function makes of an image."""
    smp = pytest.importorskip(SMP)
    asked: list[str] = []
    monkeypatch.setattr(
        smp.encoders, "get_preprocessing_params", lambda name: asked.append(name) or said
    )
    net = smp.Unet("resnet18", encoder_weights=None, classes=3).eval()
    net.save_pretrained(tmp_path)
    model = own_model(settings(f"smp:{tmp_path}"), 3)
    assert asked == ["resnet18"]
    assert set(model.net.state_dict()) == set(net.state_dict())
    image = torch.randint(256, (32, 32, 3), dtype=torch.uint8).numpy()
    wanted = torch.from_numpy(smp.encoders._preprocessing.preprocess_input(image, **said))
    seen = seen_by(model, torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
    torch.testing.assert_close(seen, wanted.permute(2, 0, 1)[None].float(), rtol=1e-4, atol=1e-4)


def test_an_encoder_of_which_nothing_is_known_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smp = pytest.importorskip(SMP)

    def offline(name: str) -> None:
        raise OSError("no connection")

    monkeypatch.setattr(smp.encoders, "get_preprocessing_params", offline)
    smp.Unet("resnet18", encoder_weights=None, classes=3).save_pretrained(tmp_path)
    with pytest.raises(RobustsegError, match=r"resnet18 of smp:.* \(no connection\); say how"):
        own_model(settings(f"smp:{tmp_path}"), 3)
    own_model(settings(f"smp:{tmp_path}", normalise="imagenet"), 3)


@pytest.mark.parametrize("ending", ["pt", "pt2"])
def test_files_of_whole_networks(here: Path, ending: str) -> None:
    """The advice works when it is followed."""
    net, images = nn.Conv2d(3, 5, 1).eval(), torch.rand(2, 3, 8, 8)
    if ending == "pt":
        torch.jit.script(net).save("x.pt")
    else:
        torch.compiler.reset()  # torch 2.6 counts what earlier tests compiled, up to a limit
        free = ({0: torch.export.Dim("images")},)
        torch.export.save(torch.export.export(net, (images,), dynamic_shapes=free), "x.pt2")
    with pytest.raises(RobustsegError, match="is a file, not a reference") as caught:
        load_reference(f"x.{ending}")
    lines = str(caught.value).split("`")[1::2]
    (here / "file.py").write_text("\n".join(lines))
    assert torch.allclose(own_model(settings("file.py:net"), 5)(images), net(images))


def test_torchvision_with_weights_of_one_s_own(tmp_path: Path) -> None:
    from torchvision.models import get_model

    name = "lraspp_mobilenet_v3_large"
    net = get_model(name, weights=None, weights_backbone=None, num_classes=4)
    torch.save({"model": net.state_dict()}, tmp_path / "w.pth")
    referred = load_reference(f"torchvision:{name}", tmp_path / "w.pth", 4)
    assert all(map(torch.equal, referred.net.parameters(), net.parameters()))
    with pytest.raises(RobustsegError, match="is the number of classes right"):
        load_reference(f"torchvision:{name}", tmp_path / "w.pth", 5)
