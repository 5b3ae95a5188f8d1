"""Whatever a person may hand to `sea`: it works, or it ends in one true sentence."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustseg.attacks.alma_prox import alma_prox
from robustseg.attacks.corners import random_corners
from robustseg.attacks.ensemble import SeaResult, sea
from robustseg.attacks.gradient_checks import look_at_gradients
from robustseg.attacks.inputs import as_images, as_labels
from robustseg.attacks.run import run_attack
from robustseg.attacks.spec import AttackSpec, SquareSpec
from robustseg.attacks.square import square
from robustseg.attacks.targeted import targeted_attack
from robustseg.errors import FullGpuError, RobustsegError, is_of_full_gpu
from robustseg.models.wrap import wrap

CLASSES = 4
IDS = ["0", "1", "2"]

pytestmark = pytest.mark.filterwarnings("ignore::robustseg.attacks.warning_signs.RobustsegWarning")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(3, CLASSES, 3, padding=1).eval()


NET = network()
IMAGES = torch.rand(3, 3, 8, 6, generator=torch.Generator().manual_seed(1))
IMAGES = (IMAGES * 255).round() / 255
with torch.no_grad():
    LABELS = NET(IMAGES).argmax(1)
    LABELS[:, :2] = (LABELS[:, :2] + 1) % CLASSES


def attack(images: Any = IMAGES, labels: Any = LABELS, eps_255: Any = 4, **other: Any) -> SeaResult:
    """Attack; as short as it gets."""
    settings = {"iterations": 3, "losses": ["js"]} | other
    return sea(settings.pop("model", NET), images, labels, eps_255, **settings)


def sentence(call: Callable[[], Any]) -> str:
    """Return the one sentence that a call ends in."""
    with pytest.raises(RobustsegError) as caught:
        call()
    said = str(caught.value)
    assert "\n" not in said
    assert "Traceback" not in said
    return said


@pytest.fixture(scope="module")
def expected() -> SeaResult:
    return attack()


def same(result: SeaResult, expected: SeaResult) -> None:
    """Assert that two attacks found the same, up to the precision of the images."""
    np.testing.assert_allclose(result.clean_accuracy, expected.clean_accuracy)
    np.testing.assert_allclose(result.accuracy, expected.accuracy)
    difference = (result.adversarial.double() - expected.adversarial.double()).abs().max()
    assert difference < 1e-3
    assert not result.adversarial.requires_grad
    assert not result.adversarial.is_inference()


def read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def in_inference_mode(tensor: Tensor) -> Tensor:
    with torch.inference_mode():
        return tensor.clone()


def image_like(tensor: Tensor) -> Tensor:
    tv_tensors = pytest.importorskip("torchvision.tv_tensors")
    return tv_tensors.Image(tensor)


BYTES = (IMAGES * 255).round().to(torch.uint8)
WAYS_IMAGES = {
    "float64 array": lambda: IMAGES.double().numpy(),
    "float16 array": lambda: IMAGES.half().numpy(),
    "long double array": lambda: IMAGES.numpy().astype(np.longdouble),
    "big-endian array": lambda: IMAGES.numpy().astype(">f4"),
    "read-only array": lambda: read_only(IMAGES.numpy().copy()),
    "array of negative strides": lambda: IMAGES.flip(3).numpy()[..., ::-1],
    "bytes": lambda: BYTES,
    "array of bytes": lambda: BYTES.numpy(),
    "uint16 array": lambda: BYTES.numpy().astype(np.uint16),
    "whole numbers": lambda: BYTES.long(),
    "list of tensors": lambda: list(IMAGES),
    "tuple of arrays": lambda: tuple(IMAGES.numpy()),
    "nested lists": IMAGES.tolist,
    "bfloat16": lambda: BYTES.bfloat16() / 255,
    "half": IMAGES.half,
    "with a gradient": lambda: IMAGES.clone().requires_grad_(),
    "of a graph": lambda: IMAGES.clone().requires_grad_() * 1,
    "of inference mode": lambda: in_inference_mode(IMAGES),
    "list of inference mode": lambda: list(in_inference_mode(IMAGES)),
    "parameter": lambda: nn.Parameter(IMAGES.clone()),
    "torchvision's tensor": lambda: image_like(IMAGES),
    "channels last in memory": lambda: IMAGES.to(memory_format=torch.channels_last),
    "above 1 by rounding": lambda: IMAGES * (1 + 1e-6) + 1e-7,
}
WAYS_LABELS = {
    "int32 array": lambda: LABELS.numpy().astype(np.int32),
    "uint8": lambda: LABELS.to(torch.uint8),
    "uint8 array": lambda: LABELS.numpy().astype(np.uint8),
    "uint16 array": lambda: LABELS.numpy().astype(np.uint16),
    "uint16": lambda: LABELS.to(torch.uint16),
    "uint32 array": lambda: LABELS.numpy().astype(np.uint32),
    "big-endian array": lambda: LABELS.numpy().astype(">i2"),
    "read-only array": lambda: read_only(LABELS.numpy().copy()),
    "list": LABELS.tolist,
    "list of arrays": lambda: list(LABELS.numpy()),
    "whole floats": LABELS.float,
    "one channel": lambda: LABELS[:, None],
    "one channel last": lambda: LABELS[..., None].numpy(),
    "of inference mode": lambda: in_inference_mode(LABELS),
}


@pytest.mark.parametrize("way", WAYS_IMAGES)
def test_images_in_any_form(way: str, expected: SeaResult) -> None:
    images = WAYS_IMAGES[way]()
    before = images.copy() if isinstance(images, np.ndarray) else None
    result = attack(images)
    if "half" in way or "16" in way:
        assert np.abs(result.clean_accuracy - expected.clean_accuracy).max() < 0.1
    else:
        same(result, expected)
    assert type(result.adversarial) is Tensor
    if before is not None:
        assert np.array_equal(before, images)


@pytest.mark.parametrize("way", WAYS_LABELS)
def test_labels_in_any_form(way: str, expected: SeaResult) -> None:
    same(attack(labels=WAYS_LABELS[way]()), expected)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_inside_contexts_without_gradients(mode: Any, expected: SeaResult) -> None:
    with mode():
        same(attack(IMAGES.clone(), LABELS.clone()), expected)
        same(attack(model=lambda images: NET(images)), expected)


def test_a_network_made_in_inference_mode_is_attacked_or_refused() -> None:
    with torch.inference_mode():
        net = network()
    said = sentence(lambda: attack(model=net))
    assert "Inference tensors cannot be saved for backward" in said
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_batches_do_not_matter(expected: SeaResult) -> None:
    for batch_size in (1, 2, np.int64(3), 100):
        same(attack(batch_size=batch_size), expected)


def test_images_and_labels_are_left_as_they_are() -> None:
    images, labels = IMAGES.clone(), LABELS.clone()
    attack(images, labels, ignore_index=1)
    assert torch.equal(images, IMAGES)
    assert torch.equal(labels, LABELS)


def images_error(images: Any) -> str:
    return sentence(lambda: attack(images))


def labels_error(labels: Any, **other: Any) -> str:
    return sentence(lambda: attack(labels=labels, **other))


def test_advice_on_channels_that_come_last(expected: SeaResult) -> None:
    last = IMAGES.permute(0, 2, 3, 1)
    assert "images.permute(0, 3, 1, 2)" in images_error(last)
    same(attack(last.permute(0, 3, 1, 2)), expected)
    assert "images.transpose(0, 3, 1, 2)" in images_error(list(last.numpy()))
    same(attack(last.numpy().transpose(0, 3, 1, 2)), expected)


def test_advice_on_single_images() -> None:
    image, label = IMAGES[0], LABELS[0]
    alone = attack(image[None], label[None])
    for ids in (None, ["a"]):
        said = sentence(lambda ids=ids: attack(image, label, image_ids=ids))
        assert "add a batch dimension: images[None]" in said
    said = sentence(lambda: attack(image.permute(1, 2, 0), label))
    assert "images.permute(2, 0, 1)[None]" in said
    same(attack(image.permute(1, 2, 0).permute(2, 0, 1)[None], label[None]), alone)
    array = image.permute(1, 2, 0).numpy()
    assert "images.transpose(2, 0, 1)[None]" in sentence(lambda: attack(array, label))
    same(attack(array.transpose(2, 0, 1)[None], label[None]), alone)
    assert "labels[None]" in sentence(lambda: attack(image[None], label))
    grey = IMAGES[:, 0].repeat(2, 1, 1)
    assert "images[:, None]" in images_error(grey)
    torch.manual_seed(1)
    attack(grey[:, None], LABELS.repeat(2, 1, 1), model=nn.Conv2d(1, CLASSES, 1))


def test_advice_on_values_of_pixels(expected: SeaResult) -> None:
    bytes_as_floats = BYTES.float()
    assert "3 to 255); divide 8-bit values by 255" in images_error(bytes_as_floats)
    same(attack(bytes_as_floats / 255), expected)
    overshoot = IMAGES.clone()
    overshoot[1, 0, 0] = torch.tensor([1.05, -0.04, 1.1, 0, 1, 0.5])
    said = images_error(overshoot)
    assert said.startswith("image 1 has values outside [0, 1]")
    assert "images.clip(0, 1)" in said
    attack(overshoot.clip(0, 1))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    view = (1, 3, 1, 1)
    normalised = (IMAGES - torch.tensor(mean).view(view)) / torch.tensor(std).view(view)
    said = images_error(normalised)
    assert "before normalisation; wrap(model, mean=..., std=...)" in said
    net = wrap(NET, mean=mean, std=std)
    with torch.no_grad():
        torch.testing.assert_close(net(IMAGES), NET(normalised))
    attack(model=net)
    assert "before normalisation" in images_error(2 * IMAGES - 1)


def test_values_that_are_no_pixels() -> None:
    for value in (torch.nan, torch.inf):
        broken = IMAGES.clone()
        broken[2, 1, 3, 3] = value
        assert images_error(broken) == "image 2 has values that are not finite"
    negative = BYTES.long()
    negative[1, 0, 0, 0] = -1
    assert "image 1 has values outside 0..255" in images_error(negative)
    assert "complex" in images_error(IMAGES.to(torch.complex64))


@pytest.mark.parametrize(
    "images",
    [
        None,
        3,
        "image.png",
        ["a.png", "b.png", "c.png"],
        {"images": IMAGES},
        torch.tensor(1.0),
        np.float32(1),
        np.array([None, None, None]),
        IMAGES[None],
        torch.rand(3),
        (image for image in IMAGES),
        {1, 2, 3},
    ],
)
def test_what_is_no_images(images: Any) -> None:
    said = images_error(images)
    assert "images must be" in said


@pytest.mark.parametrize("labels", [None, 3, "x", ["a", "b", "c"], {"labels": LABELS}, [None] * 3])
def test_what_is_no_labels(labels: Any) -> None:
    assert "labels must be" in labels_error(labels)


@pytest.mark.parametrize("empty", [IMAGES[:0], [], (), IMAGES[:0].numpy(), IMAGES[:, :, :0]])
def test_no_images(empty: Any) -> None:
    assert "at least one" in sentence(lambda: attack(empty, LABELS[:0]))


def test_images_of_several_sizes() -> None:
    said = images_error([IMAGES[0], IMAGES[1, :, :5], IMAGES[2]])
    assert "images have different sizes, for example (3, 5, 6) and (3, 8, 6)" in said
    assert "labels have different sizes" in labels_error([LABELS[0], LABELS[1, :5], LABELS[2]])


def test_labels_of_another_size_than_the_images() -> None:
    said = labels_error(LABELS[:, ::2, ::2])
    assert "labels are (4, 3) and images (8, 6) pixels" in said
    larger = nn.functional.interpolate(LABELS[:, None, ::2, ::2].float(), (8, 6))[:, 0]
    attack(labels=larger)
    assert "labels are (6, 8)" in labels_error(LABELS.transpose(1, 2))
    assert "labels must be (3, height, width) for 3 images" in labels_error(LABELS[:2])


def test_advice_on_one_hot_and_coloured_labels(expected: SeaResult) -> None:
    one_hot = nn.functional.one_hot(LABELS, CLASSES)
    assert "for one-hot labels take labels.argmax(3)" in labels_error(one_hot)
    same(attack(labels=one_hot.argmax(3)), expected)
    first = one_hot.permute(0, 3, 1, 2)
    assert "for one-hot labels take labels.argmax(1)" in labels_error(first)
    same(attack(labels=first.numpy().argmax(1)), expected)
    colours = (IMAGES * 255).to(torch.uint8)
    assert "one number, its class" in labels_error(colours)


def test_labels_before_images() -> None:
    for labels in (LABELS, LABELS[:, None], LABELS.numpy(), list(LABELS)):
        said = sentence(lambda labels=labels: attack(labels, IMAGES))
        assert "look like labels and images; give (images, labels), in this order" in said
    grey, one_hot = IMAGES[:, :1], torch.nn.functional.one_hot(LABELS, CLASSES).permute(0, 3, 1, 2)
    said = sentence(lambda: attack(grey, one_hot))
    assert "for one-hot labels take" in said


def test_labels_that_are_no_classes() -> None:
    wrong = LABELS.clone()
    wrong[1, 3, 3] = CLASSES
    said = labels_error(wrong)
    assert "image 1 has the label 4, which is none of the classes 0..3" in said
    assert "image 0 has labels that are not whole numbers" in labels_error(LABELS / 255 + 0.001)
    missing = LABELS.float()
    missing[2, 0, 0] = torch.nan
    assert "image 2 has labels that are not whole numbers" in labels_error(missing)
    assert "whole numbers, not torch.complex64" in labels_error(LABELS.to(torch.complex64))


def without(labels: Tensor) -> SeaResult:
    """Attack with labels that are ignored where they are -1."""
    return attack(labels=labels, ignore_index=-1)


@pytest.mark.parametrize("ignored", [-1, 254, 255, np.int64(7), -100])
def test_labels_to_ignore(ignored: Any) -> None:
    some, others = LABELS.clone(), LABELS.clone()
    some[:, 5], others[:, 5] = int(ignored), -1
    result = attack(labels=some, ignore_index=ignored)
    same(result, without(others))
    assert result.counts.pixels.tolist() == [42, 42, 42]


def test_the_class_0_may_be_ignored() -> None:
    result = attack(ignore_index=0)
    same(result, without(LABELS.masked_fill(LABELS == 0, -1)))
    assert not result.counts.labelled[:, 0].any()


def test_advice_on_labels_below_0() -> None:
    some = LABELS.clone()
    some[1:, 5] = -1
    for ignored in (255, None):
        said = labels_error(some, ignore_index=ignored)
        assert said.startswith("image 1 has the label -1")
        assert f"the ignored label is {ignored}; pass ignore_index=-1" in said
    without(some)


def test_nothing_is_ignored_if_nothing_is_to_be(expected: SeaResult) -> None:
    same(attack(ignore_index=None), expected)
    some = LABELS.clone()
    some[2, 0, 0] = 255
    attack(labels=some)
    assert "image 2 has the label 255" in labels_error(some, ignore_index=None)
    assert "image 2 has the label 255" in labels_error(some, ignore_index=254)


@pytest.mark.parametrize("ignored", ["255", True, 254.5, [255], "void"])
def test_an_ignored_label_is_a_whole_number(ignored: Any) -> None:
    said = sentence(lambda: attack(ignore_index=ignored))
    assert "ignore_index must be a whole number, or None" in said


def test_all_pixels_ignored() -> None:
    said = labels_error(torch.full_like(LABELS, 255))
    assert "every label is 255" in said
    some = LABELS.clone()
    some[0] = 255
    result = attack(labels=some)
    assert np.isnan(result.accuracy[0])
    assert 0 <= result.acc <= result.clean_acc <= 1


def test_more_than_255_classes() -> None:
    torch.manual_seed(2)
    net = nn.Conv2d(3, 300, 1)
    with torch.no_grad():
        labels = net(IMAGES).argmax(1)
    labels[0, 0, 0], labels[0, 0, 1] = 255, 299
    said = sentence(lambda: attack(model=net, labels=labels))
    assert "255 is one of the model's 300 classes" in said
    result = attack(model=net, labels=labels, ignore_index=None)
    assert result.counts.labelled[0, 255] >= 1
    assert result.counts.labelled[0, 299] == 1
    assert result.counts.pixels.tolist() == [48] * 3
    other = labels.masked_fill(labels == 255, -1)
    assert attack(model=net, labels=other, ignore_index=-1).counts.pixels[0] < 48
    few = wrap(net, num_classes=150)  # 255 is no class of the data
    attack(model=few, labels=labels.where(labels < 150, torch.tensor(255)))


NO_COUNT = [0, -1, True, None, "10", 2.5, 3.0, [3]]


@pytest.mark.parametrize("value", NO_COUNT)
@pytest.mark.parametrize("name", ["iterations", "batch_size"])
def test_numbers_of_something(name: str, value: Any) -> None:
    said = sentence(lambda: attack(**{name: value}))
    assert said == f"{name} must be a whole number of at least 1; got {value!r}"


def test_iterations_too_few_for_the_schedule() -> None:
    assert "at least 3 iterations" in sentence(lambda: attack(iterations=2))


@pytest.mark.parametrize("eps_255", [None, "8", True, -1, 256, float("nan"), [8], 1j])
def test_what_is_no_radius(eps_255: Any) -> None:
    said = sentence(lambda: attack(eps_255=eps_255))
    assert "eps_255 must be between 0 and 255" in said


@pytest.mark.parametrize("eps_255", [0, np.float32(4), np.int64(4), 4.0])
def test_what_is_a_radius(eps_255: Any, expected: SeaResult) -> None:
    result = attack(eps_255=eps_255)
    if eps_255:
        same(result, expected)
    else:
        assert np.array_equal(result.accuracy, result.clean_accuracy)
    assert f"SEA, {float(eps_255):4g}/255" in str(result)


def test_a_radius_in_half_precision_or_as_a_fraction_is_the_number_itself() -> None:
    """13.7 in half precision is 13.703125, and 255ths of it in half precision are 13.704."""
    half, plain = np.float16(13.7), 13.703125
    same(attack(eps_255=half), attack(eps_255=plain))
    found = run_attack(NET, IMAGES, LABELS, IDS, AttackSpec("js", iterations=3), half, 0)
    search = square(NET, IMAGES, LABELS, IDS, SquareSpec(9, 3.2), half, 0)
    target = targeted_attack(NET, IMAGES, 1, IDS, eps_255=half, seed=0, iterations=3)
    for one in (found, search, target):
        norm = 255 * float((one.adversarial.double() - IMAGES.double()).abs().max())
        assert norm == pytest.approx(plain, abs=1e-4)
    same(attack(eps_255=Fraction(4)), attack(eps_255=4))


@pytest.mark.parametrize("seed", [None, "0", 0.5, True])
def test_what_is_no_seed(seed: Any) -> None:
    assert "seed must be a whole number" in sentence(lambda: attack(seed=seed))


def test_seeds_of_numpy_are_seeds(expected: SeaResult) -> None:
    same(attack(seed=np.int64(0)), expected)


@pytest.mark.parametrize("losses", [[], None, "js", (), [None], [["js"]], ""])
def test_no_losses(losses: Any) -> None:
    assert "losses must be a list of at least one name" in sentence(lambda: attack(losses=losses))


def test_an_unknown_loss_is_named_with_the_others() -> None:
    said = sentence(lambda: attack(losses=["js", "dice"]))
    assert "unknown loss dice; choose one of" in said
    assert "mask_ce" in said


def test_losses_in_any_collection(expected: SeaResult) -> None:
    for losses in (("js",), np.array(["js"]), (name for name in ["js"]), {"js": 1}):
        same(attack(losses=losses), expected)


def test_names_of_images() -> None:
    assert attack(image_ids=[7, "b", 3.5]).image_ids == ["7", "b", "3.5"]
    assert attack(image_ids=np.arange(3)).image_ids == ["0", "1", "2"]
    for ids in (["a"], ["a", "a", "b"], list("abcd")):
        assert "3 images need as many different image_ids" in sentence(
            lambda ids=ids: attack(image_ids=ids)
        )
    for ids in (5, "abc"):
        assert "image_ids must be a list" in sentence(lambda ids=ids: attack(image_ids=ids))
    assert "is not UTF-8" in sentence(lambda: attack(image_ids=["a", "b", "\udcff"]))


def test_names_of_images_that_are_arrays() -> None:
    rows = np.arange(6).reshape(3, 2)
    assert attack(image_ids=rows).image_ids == ["[0 1]", "[2 3]", "[4 5]"]


def test_pixels_of_classes() -> None:
    counts = [5, 0, 3, 2]
    known = attack(class_pixels=counts, losses=["bal_ce"])
    for same in (np.array(counts, float), torch.tensor(counts), list(torch.tensor(counts))):
        again = attack(class_pixels=same, losses=["bal_ce"])
        assert torch.equal(again.adversarial, known.adversarial)
    arrays = [np.array([1, 2])] * 4
    for pixels in ([0, 0], [0.5, 1], "12", 3, [-1, 2], [np.nan, 1], [np.inf, 1], arrays, {0: 4}):
        said = sentence(lambda pixels=pixels: attack(class_pixels=pixels))
        assert "class_pixels must be a list" in said
    assert "class_pixels has 1 number, and" in sentence(lambda: attack(class_pixels=[1]))


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (None, "not NoneType"),
        (NET.state_dict(), "a state dict has to be loaded into its network first"),
        (nn.Conv2d, "Conv2d is a class"),
        ("model.pt", "not str"),
        (lambda images: NET(images).detach(), "carry no gradient"),
        (lambda images: network()(images.detach()), "carry no gradient"),
        (lambda images: torch.from_numpy(NET(images).detach().numpy()), "carry no gradient"),
        (lambda images: NET(images).argmax(1, keepdim=True), "before argmax"),
        (lambda images: NET(images).argmax(1), "before argmax"),
        (lambda images: images.numpy(), "the model returned ndarray"),
        (lambda: NET, "the model failed"),
        (nn.Conv2d(1, 2, 1), "the model failed"),
        (nn.Conv2d(3, 2, 99), "the model failed"),
        (lambda images: NET(images) * torch.nan, "image 0 gets logits that are not finite"),
    ],
)
def test_what_is_no_model(model: Any, says: str) -> None:
    assert says in sentence(lambda: attack(model=model))


@pytest.mark.parametrize(
    "run",
    [
        lambda model: run_attack(model, IMAGES, LABELS, IDS, AttackSpec("js@10"), 4, 0),
        lambda model: square(model, IMAGES, LABELS, IDS, SquareSpec(20, 3.2), 4, 0),
        lambda model: alma_prox(model, IMAGES, LABELS, steps=20, threshold=0.5),
        lambda model: targeted_attack(model, IMAGES, 1, IDS, eps_255=4, seed=0, iterations=9),
        lambda model: random_corners(model, IMAGES, LABELS, IDS, 9, 4, 0),
    ],
)
def test_a_model_may_overwrite_the_images_that_it_gets(run: Callable[[Any], Any]) -> None:
    """As normalisation in place does; a perturbation of what it made of them is none."""

    def overwrites(images: Tensor) -> Tensor:
        return NET(images.sub_(0.5).mul_(2))

    before = IMAGES.clone()
    found, expected = run(overwrites), run(lambda images: NET((images - 0.5) * 2))
    assert torch.equal(IMAGES, before)
    assert torch.equal(found.adversarial, expected.adversarial)


def test_a_model_may_have_hooks_on_its_backward_pass() -> None:
    """As tools that look into networks set them; they forbid that its output is overwritten."""
    seen, hooked = [], network()
    hooked.register_full_backward_hook(lambda *_: seen.append(1))
    assert torch.equal(attack(model=hooked).adversarial, attack().adversarial)
    assert seen


@pytest.mark.parametrize(
    "run",
    [
        lambda model: attack(model=model),
        lambda model: alma_prox(model, IMAGES, LABELS, image_ids=IDS),
        lambda model: look_at_gradients(model, IMAGES, LABELS, IDS),
    ],
)
def test_a_backward_pass_that_fails_is_one_sentence(run: Callable[[Any], Any]) -> None:
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, images: Tensor) -> Tensor:
            return images * 1

        @staticmethod
        def backward(context: Any, gradient: Tensor) -> Tensor:
            raise RuntimeError("no way back\nat all")

    said = sentence(lambda: run(lambda images: NET(Broken.apply(images))))
    assert said == "the model's backward pass failed: no way back"


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "CUDA error: out of memory",
    ],
)
def test_a_gpu_that_is_full_is_no_model_without_gradients(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NVIDIA's libraries have other words than torch, and get memory of their own."""

    def full(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError(said)

    monkeypatch.setattr(torch.autograd, "grad", full)
    with pytest.raises(FullGpuError, match=r"backward pass ran out .*; lower batch_size"):
        attack()
    with pytest.raises(FullGpuError, match="images at a time; lower batch_size"):
        wrap(full)(IMAGES)


def test_a_machine_without_memory_is_no_full_gpu() -> None:
    said = "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"
    assert not is_of_full_gpu(RuntimeError(said))


def test_helpers_keep_the_precision_of_images() -> None:
    assert as_images(IMAGES.double(), IDS).dtype == torch.float64
    assert as_images(IMAGES.half(), IDS).dtype == torch.float32
    assert as_images(BYTES, IDS).dtype == torch.float32
    assert torch.equal(as_images(BYTES, IDS), BYTES.float() / 255)
    assert torch.equal(as_images(IMAGES > 0.5, IDS), (IMAGES > 0.5).float())
    assert as_labels(LABELS.numpy().astype(np.uint16), IDS).dtype == torch.int64
