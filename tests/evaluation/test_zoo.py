"""The zoo is what it says: honest networks are trained, and each defect is there."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from robustseg import RobustsegError, SeaResult, sea
from robustseg.models.wrap import wrap
from tests.evaluation import zoo
from tests.needs import EVERYTHING

MANY = zoo.images("val", 32)
EIGHT = MANY[0][:8], MANY[1][:8]
IMAGES, LABELS = MANY[0][:4], MANY[1][:4]


@pytest.fixture
def net(folder: Path) -> nn.Module:
    return zoo.honest("demo_clean", folder)


@pytest.fixture(scope="module")
def clean_attack(folder: Path) -> SeaResult:
    recipe = zoo.HONEST["demo_clean"]
    return sea(zoo.honest("demo_clean", folder), *EIGHT, recipe.eps_255, iterations=30)


def logits_of(model: zoo.Changed, images: Tensor = IMAGES) -> Tensor:
    with torch.no_grad():
        return wrap(model)(images)


def gradient_of(model: zoo.Changed, images: Tensor = IMAGES) -> Tensor | None:
    """Return the gradient of the cross-entropy at the images, None if none arrives."""
    point = images.clone().requires_grad_()
    loss = functional.cross_entropy(wrap(model)(point), LABELS)
    if not loss.requires_grad:
        return None
    return torch.autograd.grad(loss, point, allow_unused=True)[0]


def accuracy(model: zoo.Changed, images: Tensor = MANY[0], labels: Tensor = MANY[1]) -> float:
    torch.manual_seed(0)
    return float((logits_of(model, images).argmax(1) == labels).float().mean())


def cosine(one: Tensor | None, other: Tensor | None) -> float:
    assert one is not None
    assert other is not None
    return float(functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))


def test_scenes_are_those_of_the_demo() -> None:
    images, labels = zoo.images("train", 3)
    assert images.shape == (3, 3, 32, 32)
    assert images.dtype == torch.float32
    assert 0 <= images.min() < images.max() <= 1
    assert labels.shape == (3, 32, 32)
    assert labels.dtype == torch.int64
    assert set(labels.unique().tolist()) <= set(range(zoo.CLASSES))
    assert not torch.equal(images, zoo.images("val", 3)[0])


@pytest.mark.parametrize("name", zoo.HONEST)
def test_builds_and_gives_logits(name: str) -> None:
    assert wrap(zoo.HONEST[name]().eval())(IMAGES[:1]).shape == (1, zoo.CLASSES, 32, 32)


def test_training_is_repeated_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = dataclasses.replace(zoo.HONEST["demo_at"], steps=12)
    monkeypatch.setitem(zoo.HONEST, "short", recipe)
    first = zoo.honest("short", tmp_path / "first").state_dict()
    torch.rand(1)
    again = zoo.honest("short", tmp_path / "again").state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    torch.manual_seed(0)
    untrained = recipe().state_dict()
    assert any(not torch.equal(value, untrained[key]) for key, value in first.items())


def test_weights_are_kept(net: nn.Module, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(zoo, "train")
    kept = zoo.honest("demo_clean", folder)
    state = net.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in kept.state_dict().items())
    assert not kept.training
    assert accuracy(kept) > 0.75


@pytest.mark.skipif(not EVERYTHING, reason="trains for minutes; ROBUSTSEG_TEST_ALL asks for it")
@pytest.mark.parametrize("name", zoo.HONEST)
def test_each_is_far_better_than_a_guess(name: str, folder: Path) -> None:
    assert (MANY[1] == 0).float().mean() < 0.4  # what always saying background gets right
    assert accuracy(zoo.honest(name, folder)) > 0.55


@pytest.mark.parametrize("name", zoo.DEFECTS)
def test_a_defect_leaves_the_network_and_its_accuracy(name: str, net: nn.Module) -> None:
    before = {key: value.clone() for key, value in net.state_dict().items()}
    whole = accuracy(net)
    defect = zoo.DEFECTS[name]
    assert any(isinstance(module, defect.needs) for module in net.modules())
    changed = accuracy(defect.apply(net))
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not net.training
    assert changed == pytest.approx(whole, abs=0.04)


@pytest.mark.parametrize("name", ["round", "round_5_bits", "dct", "round_logits", "zero"])
def test_gradients_that_are_zero(name: str, net: nn.Module) -> None:
    gradient = gradient_of(zoo.DEFECTS[name].apply(net))
    assert gradient is not None
    assert not gradient.any()


@pytest.mark.parametrize(
    "name",
    ["uint8", "numpy", "thermometer", "pil_jpeg", "argmax", "detach", "data", "no_grad"],
)
def test_gradients_that_do_not_arrive(name: str, net: nn.Module) -> None:
    assert gradient_of(zoo.DEFECTS[name].apply(net)) is None


@pytest.mark.parametrize(
    "name", ["noise", "faint_noise", "random_mirror", "dropout", "dropout_features"]
)
def test_passes_that_differ(name: str, net: nn.Module) -> None:
    model = zoo.DEFECTS[name].apply(net)
    assert not torch.allclose(logits_of(model), logits_of(model), atol=1e-3)


def test_batch_norm_depends_on_the_batch(net: nn.Module) -> None:
    model = zoo.DEFECTS["batch_norm"].apply(net)
    assert not torch.allclose(logits_of(model)[:1], logits_of(model, IMAGES[:1]), atol=1e-3)


SAME = ["detach", "data", "no_grad", "partly_detached", "zero", "reversed", "random_gradient"]


@pytest.mark.parametrize("name", SAME)
def test_values_that_stay(name: str, net: nn.Module) -> None:
    assert torch.allclose(logits_of(zoo.DEFECTS[name].apply(net)), logits_of(net), atol=1e-4)


@pytest.mark.parametrize(("name", "factor"), [("30", 30), ("1e6", 1e6), ("1e-6", 1e-6)])
def test_scales(name: str, factor: float, net: nn.Module) -> None:
    assert torch.equal(logits_of(zoo.DEFECTS[f"times_{name}"].apply(net)), factor * logits_of(net))


@pytest.mark.parametrize("name", ["softmax", "sharp_softmax"])
def test_probabilities(name: str, net: nn.Module) -> None:
    found = logits_of(zoo.DEFECTS[name].apply(net))
    assert torch.allclose(found.sum(1), torch.ones(()))
    assert torch.equal(found.argmax(1), logits_of(net).argmax(1))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("random_gradient", -0.1, 0.1),
        ("partly_detached", 0.05, 0.9),
        ("shattered", -0.3, 0.3),
        ("shattered_mildly", 0.1, 0.5),
        ("reversed", -1.001, -0.999),
    ],
)
def test_gradients_of_another_direction(name: str, low: float, high: float, net: nn.Module) -> None:
    spoiled = gradient_of(zoo.DEFECTS[name].apply(net))
    assert low < cosine(spoiled, gradient_of(net)) < high


def test_gradients_that_are_not_finite(net: nn.Module) -> None:
    gradient = gradient_of(zoo.DEFECTS["nan"].apply(net))
    assert gradient is not None
    assert gradient.isnan().any()


def test_clamped_pixels_have_no_gradient(net: nn.Module) -> None:
    model = zoo.DEFECTS["clamp"].apply(net)
    assert torch.equal(logits_of(model).argmax(1), logits_of(net).argmax(1))
    logits = logits_of(net).requires_grad_()
    functional.cross_entropy(model.change(logits), LABELS).backward()
    assert logits.grad is not None
    top = logits.detach().topk(2, dim=1).values
    far = top[:, 0] - top[:, 1] > 0.02
    assert far.float().mean() > 0.9
    assert not logits.grad.abs().sum(1)[far].any()


@pytest.mark.parametrize("name", zoo.OTHER)
def test_other_changes_keep_the_gradient_true(name: str, net: nn.Module) -> None:
    """A step along its sign raises the loss by most of what it predicts."""
    model = zoo.OTHER[name](net)
    gradient = gradient_of(model)
    assert gradient is not None
    step = 0.3 / 255
    moved = functional.cross_entropy(logits_of(model, IMAGES + step * gradient.sign()), LABELS)
    rise = float(moved - functional.cross_entropy(logits_of(model), LABELS))
    assert rise > 0.7 * step * float(gradient.abs().sum())


@pytest.mark.skipif(not EVERYTHING, reason="attacks for minutes; ROBUSTSEG_TEST_ALL asks for it")
@pytest.mark.parametrize("name", zoo.DEFECTS)
@pytest.mark.filterwarnings("ignore::robustseg.attacks.warning_signs.RobustsegWarning")
def test_what_hides_from_sea(name: str, net: nn.Module, clean_attack: SeaResult) -> None:
    """Images found on the honest network are in the ball too, and bound the true figure."""
    defect = zoo.DEFECTS[name]
    torch.manual_seed(0)
    model = defect.apply(net)
    bound = accuracy(model, torch.as_tensor(clean_attack.adversarial), EIGHT[1])
    try:
        found = sea(model, *EIGHT, clean_attack.eps_255, iterations=30).acc
    except RobustsegError:
        found = 1.0
    if defect.hides:
        assert found > bound + 0.03
    else:
        assert found < bound + 0.1  # draws of `dropout_features` leave 0.08
