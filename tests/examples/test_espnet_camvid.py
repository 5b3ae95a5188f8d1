"""The example ESPNet: its keys, its units by a slow loop, and its published scores where data are.

The scores need CamVid's test images and the published weights, which are not in the project and
which continuous integration does not have; ROBUSTSEG_TEST_ALL therefore does not ask for them.
"""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

EXAMPLE = Path(__file__).parents[2] / "examples" / "espnet_camvid"
KEYS = Path(__file__).parent / "espnet_keys.tsv"
CAMVID = os.environ.get("ROBUSTSEG_CAMVID")
VOID = 11

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def espnet() -> ModuleType:
    spec = importlib.util.spec_from_file_location("espnet_of_the_example", EXAMPLE / "espnet.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def model(espnet: ModuleType) -> torch.nn.Module:
    torch.manual_seed(0)
    return randomised(espnet.net()).eval()


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    """Give BatchNorm and PReLU values of which none could be left out unnoticed."""
    state = module.state_dict()
    for name, tensor in state.items():
        if tensor.ndim == 1:
            low = -0.5 if name.endswith(("bias", "running_mean")) else 0.5
            tensor.uniform_(low, low + 1)
    module.load_state_dict(state)
    return module


def published_shapes() -> dict[str, tuple[int, ...]]:
    rows = [line.split("\t") for line in KEYS.read_text(encoding="utf-8").splitlines()]
    return {key: tuple(int(side) for side in shape.split("x")) for key, shape in rows}


def test_keys_and_shapes_are_those_of_the_published_file(model: torch.nn.Module) -> None:
    own = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert own == published_shapes()


def test_a_state_dict_with_the_published_keys_loads_strictly(model: torch.nn.Module) -> None:
    # As in the published file, no metadata tell the versions of modules.
    state = {key: torch.rand(shape) for key, shape in published_shapes().items()}
    model.load_state_dict(state, strict=True)
    assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in state.items())


def test_classes_are_the_outputs_without_void(espnet: ModuleType) -> None:
    names = (EXAMPLE / "classes.txt").read_text(encoding="utf-8").splitlines()
    assert len(set(names)) == VOID == espnet.CLASSES - 1
    assert all(names)


def test_it_knows_nothing_of_the_library() -> None:
    assert "import robustseg" not in (EXAMPLE / "espnet.py").read_text(encoding="utf-8")
    assert "from robustseg" not in (EXAMPLE / "espnet.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(("height", "width"), [(8, 8), (40, 24), (48, 64)])
def test_logits_have_the_size_of_the_images(
    model: torch.nn.Module, height: int, width: int
) -> None:
    assert model(torch.rand(2, 3, height, width)).shape == (2, VOID + 1, height, width)


def test_other_sizes_are_refused_in_a_sentence(model: torch.nn.Module) -> None:
    with pytest.raises(ValueError, match="multiples of 8 pixels, not 48 x 60"):
        model(torch.rand(1, 3, 48, 60))


def test_the_gradient_reaches_every_pixel_of_the_images(model: torch.nn.Module) -> None:
    images = torch.rand(2, 3, 48, 64, requires_grad=True)
    labels = torch.randint(VOID, (2, 48, 64))
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()
    assert (images.grad != 0).float().mean() > 0.99


def test_images_of_a_batch_do_not_know_each_other(model: torch.nn.Module) -> None:
    images = torch.rand(3, 3, 32, 40)
    alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(model(images), alone)


def test_preprocessing_is_that_of_the_published_network(model: torch.nn.Module) -> None:
    red, green, blue = 255, 128, 0
    images = torch.tensor([red, green, blue], dtype=torch.float32).view(1, 3, 1, 1) / 255
    expected = [
        (blue - 110.331) / 72.126 / 255,
        (green - 108.409) / 72.691 / 255,
        (red - 105.033) / 69.904 / 255,
    ]
    assert model.preprocess(images).flatten().tolist() == pytest.approx(expected, rel=1e-5)


# --- Units, written down anew: pixel by pixel, in double precision ---


def slow_convolution(image: Floats, weight: Floats, stride: int, dilation: int) -> Floats:
    """Return (O, H / stride, W / stride) of (I, H, W); outside the image are zeros."""
    outputs, inputs, kernel, _ = weight.shape
    _, height, width = image.shape
    result = np.zeros((outputs, -(-height // stride), -(-width // stride)))
    for output, row, column in np.ndindex(result.shape):
        for channel, down, right in np.ndindex(inputs, kernel, kernel):
            y = row * stride + (down - kernel // 2) * dilation
            x = column * stride + (right - kernel // 2) * dilation
            if 0 <= y < height and 0 <= x < width:
                tap = weight[output, channel, down, right]
                result[output, row, column] += tap * image[channel, y, x]
    return result


def slow_unit(
    features: Floats, state: dict[str, Floats], outputs: int, stride: int, norm: str
) -> Floats:
    """Return an ESP unit's result; an input of as many channels is added where `stride` is 1."""
    reduced = slow_convolution(features, state["c1.conv.weight"], stride, 1)
    branch = {
        dilation: slow_convolution(reduced, state[f"d{dilation}.conv.weight"], 1, dilation)
        for dilation in (1, 2, 4, 8, 16)
    }
    result = np.concatenate(
        [
            branch[1],
            branch[2],
            branch[2] + branch[4],
            branch[2] + branch[4] + branch[8],
            branch[2] + branch[4] + branch[8] + branch[16],
        ]
    )
    assert len(result) == outputs
    if stride == 1 and len(features) == outputs:
        result = result + features
    for channel in range(outputs):
        scale = state[f"{norm}bn.weight"][channel] / np.sqrt(
            state[f"{norm}bn.running_var"][channel] + 1e-3
        )
        shifted = result[channel] - state[f"{norm}bn.running_mean"][channel]
        value = shifted * scale + state[f"{norm}bn.bias"][channel]
        slope = state[f"{norm}act.weight"][channel]
        result[channel] = np.where(value > 0, value, slope * value)
    return result


@pytest.mark.parametrize(
    ("kind", "inputs", "outputs", "stride"),
    [("Unit", 13, 13, 1), ("Unit", 4, 12, 1), ("DownUnit", 4, 12, 2), ("DownUnit", 12, 12, 2)],
)
def test_units_do_what_a_slow_loop_does(
    espnet: ModuleType, kind: str, inputs: int, outputs: int, stride: int
) -> None:
    torch.manual_seed(0)
    unit = randomised(getattr(espnet, kind)(inputs, outputs)).double().eval()
    # Larger than the largest dilation, so that each tap meets pixels.
    features = torch.randn(1, inputs, 18 * stride, 19 * stride, dtype=torch.float64)
    state = {key: tensor.numpy() for key, tensor in unit.state_dict().items()}
    norm = "bn." if kind == "Unit" else ""
    expected = slow_unit(features[0].numpy(), state, outputs, stride, norm)
    with torch.no_grad():
        np.testing.assert_allclose(unit(features)[0].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_features_are_concatenated_as_published(model: torch.nn.Module) -> None:
    """Keys and shapes do not tell the order, which the published weights expect."""
    into: dict[str, Floats] = {}
    out: dict[str, Floats] = {}

    def record(name: str) -> None:
        def hook(_: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
            into[name], out[name] = inputs[0][0].numpy(), output[0].numpy()

        model.get_submodule(name).register_forward_hook(hook)

    encoder = [f"encoder.{name}" for name in ("b1", "b2", "b3", "level1", "level2_0", "level2")]
    for name in [*encoder, "encoder.level3_0", "encoder.level3", "level3_C", "up_l3", "up_l2"]:
        record(name)
    for name in ("combine_l2_l3", "conv.conv", "br", "encoder.classifier"):
        record(name)
    with torch.no_grad():
        model.double()(torch.rand(1, 3, 24, 32, dtype=torch.float64))

    average = np.zeros((3, 3, 3, 3))  # the mean of 3x3 pixels, channel by channel
    average[range(3), range(3)] = 1 / 9
    half = slow_convolution(into["encoder.level1"], average, 2, 1)
    quarter = slow_convolution(half, average, 2, 1)
    for name, parts in {
        "encoder.b1": [out["encoder.level1"], half],
        "encoder.b2": [out["encoder.level2"], out["encoder.level2_0"], quarter],
        "encoder.b3": [out["encoder.level3_0"], out["encoder.level3"]],
        "br": [out["encoder.classifier"]],
        "combine_l2_l3": [out["level3_C"], out["up_l3"]],
        "conv.conv": [out["up_l2"], out["encoder.b1"]],
    }.items():
        np.testing.assert_allclose(into[name], np.concatenate(parts), atol=1e-12, err_msg=name)


# --- Published scores ---


@pytest.mark.skipif(
    not CAMVID,
    reason="ROBUSTSEG_CAMVID names no folder with CamVid's test images and ESPNet's weights; "
    "see examples/espnet_camvid/README.md",
)
@pytest.mark.timeout(1800)
def test_published_scores_on_camvid(espnet: ModuleType) -> None:
    root = Path(CAMVID or "")
    model = espnet.net()
    state = torch.load(root / "espnet_p_2_q_8_camvid.pth", map_location="cpu", weights_only=True)
    model.load_state_dict(state, strict=True)
    model.eval()
    masks = sorted((root / "test" / "masks").glob("*.png"))
    assert len(masks) == 233, f"{root} has {len(masks)} test masks"

    confusion = np.zeros((VOID + 1, VOID + 1), np.int64)  # rows: labels, columns: predictions
    for mask_path in masks:
        (image_path,) = (root / "test" / "images").glob(f"{mask_path.stem}.*")
        with Image.open(image_path) as image, Image.open(mask_path) as mask:
            pixels, labels = np.asarray(image.convert("RGB")), np.asarray(mask)
        with torch.inference_mode():
            images = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
            predictions = model(images)[0].argmax(0).numpy()
        np.add.at(confusion, (labels.ravel(), predictions.ravel()), 1)

    right = np.diag(confusion)[:VOID]
    labelled = confusion[:VOID].sum(1)  # by class; a prediction of void there is simply wrong
    predicted = confusion[:VOID, :VOID].sum(0)  # on labelled pixels
    predicted_anywhere = confusion[:, :VOID].sum(0)  # on void too, where it is a false positive
    scores = {
        "class average": np.mean(right / labelled),
        "mIoU": np.mean(right / (labelled + predicted - right)),
        "mIoU, void counted": np.mean(right / (labelled + predicted_anywhere - right)),
    }
    expected = {"class average": 68.30, "mIoU": 57.17, "mIoU, void counted": 55.65}
    assert {name: 100 * score for name, score in scores.items()} == pytest.approx(
        expected, abs=0.01
    )


def test_small_images_are_seen_enlarged(espnet: ModuleType, model: torch.nn.Module) -> None:
    """Pixels doubled by hand for an image that does not vary, where bilinear is exact."""
    enlarged = espnet.net_for_small().eval()
    enlarged.load_state_dict(model.state_dict())
    image = torch.full((1, 3, 12, 20), 0.25)
    with torch.no_grad():
        logits, whole = enlarged(image), model(torch.full((1, 3, 24, 40), 0.25))
    assert logits.shape == (1, 12, 12, 20)
    means = whole.unflatten(2, (12, 2)).unflatten(4, (20, 2)).mean((3, 5))
    assert torch.allclose(logits, means, atol=1e-5)
