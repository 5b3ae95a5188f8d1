"""Losses on logits that are interpolated meanwhile, against those on interpolated logits."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from robustseg import wrap
from robustseg.attacks import coarse_logits, logit_sums
from robustseg.attacks.attacked_model import AttackedModel, Evaluation, frozen
from robustseg.attacks.coarse_logits import CoarseLogits, Columns, logits_for
from robustseg.attacks.logits import Labels
from robustseg.attacks.losses import LOSSES, Moment
from robustseg.attacks.pixel_losses import loss_and_gradient, loss_of_coarse
from robustseg.attacks.search_model import SearchModel
from robustseg.models.build import build_segmentation_model
from robustseg.models.interpolation import Coarse, _matrix
from robustseg.training.inner_attack import TrainingAttack, perturb
from robustseg.training.tasks import Segmentation

COARSELY = [name for name, loss in LOSSES.items() if not loss.compares_classes]
CLASSES = 6
PIXELS = [100 + 7 * k for k in range(CLASSES)]
AT = Moment(0.3)


@pytest.fixture(autouse=True)
def sweep_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logit_sums, "SWEPT_VALUES", 1)


def coarse(
    size: tuple[int, int] = (16, 11),
    crop: tuple[int, int] = (16, 11),
    corners: bool = False,
    images: int = 4,
) -> tuple[Coarse, Tensor]:
    """Return maps of 5 x 4, of which images 1 to 3 need a shift, and labels, some ignored."""
    generator = torch.Generator().manual_seed(1)
    maps = 4 * torch.randn(images, CLASSES, 5, 4, generator=generator)
    maps[1:2] -= 60  # all exponentials small
    maps[2:3] *= 12  # some beyond float32's, in some pixels
    maps[3:4] -= 150  # norms of sigmoids underflow
    labels = torch.randint(-1, CLASSES, (images, *crop), generator=generator)
    enlarge = partial(functional.interpolate, mode="bilinear", align_corners=corners)
    return Coarse(maps.requires_grad_(), size, crop, enlarge, corners), labels


def evaluated(name: str, one: Coarse, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return objective, correct pixels and the gradient of the maps."""
    columns = Columns.of(one)
    assert columns is not None
    logits = CoarseLogits.of(columns, Labels.of(labels, torch.float32, PIXELS))
    objective, correct = loss_of_coarse(name, logits, AT)
    (gradient,) = torch.autograd.grad(columns.values, one.maps, logits.gradient)
    return objective, correct, gradient


@pytest.mark.parametrize("name", COARSELY)
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"corners": True},
        {"size": (20, 12), "crop": (17, 9)},
        {"size": (10, 4), "crop": (10, 4)},
        {"size": (16, 3), "crop": (16, 3)},  # narrower than the maps
        {"size": (32, 24), "crop": (9, 5)},  # most of it padding
    ],
)
def test_losses_are_those_of_interpolated_logits(name: str, shape: dict[str, object]) -> None:
    one, labels = coarse(**shape)  # type: ignore[arg-type]
    maps = one.maps.detach().double().requires_grad_()
    large = one.enlarge(maps, one.size)[..., : one.crop[0], : one.crop[1]]
    written = large.detach().clone()
    prepared = Labels.of(labels, torch.float64, PIXELS)
    objective, correct = loss_and_gradient(name, written, prepared, AT)
    (expected,) = torch.autograd.grad(large, maps, written)
    found = evaluated(name, one, labels)
    torch.testing.assert_close(found[0], objective, rtol=1e-5, atol=1e-4)
    assert torch.equal(found[1], correct)
    torch.testing.assert_close(found[2].double(), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", COARSELY)
def test_an_image_gets_the_same_bits_in_any_company_and_by_any_threads(name: str) -> None:
    one, labels = coarse()
    before = torch.get_num_threads()
    together = evaluated(name, one, labels)
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            again = evaluated(name, one, labels)
            assert all(torch.equal(a, b) for a, b in zip(together, again, strict=True))
    finally:
        torch.set_num_threads(before)
    for place in range(len(labels)):
        maps = one.maps[place : place + 1].detach().requires_grad_()
        alone = Coarse(maps, one.size, one.crop, one.enlarge)
        found = evaluated(name, alone, labels[place : place + 1])
        assert all(
            torch.equal(a, b[place : place + 1]) for a, b in zip(found, together, strict=True)
        )


def test_wide_images_get_the_same_bits_in_any_company() -> None:
    """Where a single product of matrices would be shared by threads, and sum in another order."""
    maps = torch.randn(4, 2, 5, 16)
    enlarge = partial(functional.interpolate, mode="bilinear")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        values = [
            Columns.of(Coarse(some, (80, 256), (80, 256), enlarge)).values  # type: ignore[union-attr]
            for some in (maps, maps[:1])
        ]
    finally:
        torch.set_num_threads(before)
    assert torch.equal(values[0][:1], values[1])


def test_what_padding_holds_has_no_say() -> None:
    one, labels = coarse((20, 12), (8, 6))
    maps = one.maps.detach().clone()
    maps[:, :, 3:], maps[:, :, :, 3:] = torch.nan, torch.inf
    padded = Coarse(maps.requires_grad_(), one.size, one.crop, one.enlarge)
    objective, correct, gradient = evaluated("ce", padded, labels)
    expected = evaluated("ce", one, labels)
    assert torch.equal(objective, expected[0])
    assert torch.equal(correct, expected[1])
    assert torch.equal(gradient, expected[2])


def test_what_does_not_fit_the_logits_is_refused() -> None:
    """A compiled loop would read and write memory that is not theirs."""
    one, labels = coarse()
    columns = Columns.of(one)
    assert columns is not None
    for wrong, says in (
        (labels[:, 1:], "size"),
        (labels[1:], "size"),
        (labels.masked_fill(labels == 3, CLASSES), "outside"),
    ):
        logits = CoarseLogits.of(columns, Labels.of(wrong, torch.float32))
        with pytest.raises(IndexError, match=says):
            logits.softmax()


def test_few_values_other_precisions_and_large_maps_are_left_to_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, _ = coarse()
    assert Columns.of(one)
    for maps, size in ((one.maps.double(), (16, 11)), (one.maps, (5, 4)), (one.maps, (9, 11))):
        assert Columns.of(Coarse(maps, size, size, one.enlarge)) is None
    monkeypatch.setattr(logit_sums, "SWEPT_VALUES", CLASSES * 16 * 11 + 1)
    assert Columns.of(one) is None


class Strided(nn.Module):
    """A network whose logits are coarser than its images."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(8, 4, 3, stride=2)
        )

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = 5 * self.layers(images)
        return logits


NET = Strided().requires_grad_(False)


def upernet() -> nn.Module:
    torch.manual_seed(0)
    return build_segmentation_model("convnext_demo", "upernet_demo", 4).eval()


def segmenter() -> nn.Module:
    torch.manual_seed(0)
    return build_segmentation_model("vit_demo", "segmenter", 4).eval()


def pspnet() -> nn.Module:
    torch.manual_seed(0)
    return build_segmentation_model("resnet_demo", "pspnet_demo", 4).eval()


MODELS: dict[str, Callable[[], nn.Module]] = {
    "upernet": upernet,
    "pspnet": pspnet,
    "segmenter, padded to whole patches": segmenter,
    "a user's": lambda: wrap(Strided(), mean=[0.5] * 3, std=[0.2] * 3),
    "a user's, padded": lambda: wrap(Strided(), divisor=16),
    "ours in a wrapper": lambda: wrap(upernet(), num_classes=3),
    "ours in a search": lambda: SearchModel(upernet()),
}


@pytest.mark.parametrize("made", MODELS)
@pytest.mark.parametrize("loss", ["js", "mask_sph"])
def test_an_iteration_is_that_on_the_models_own_logits(
    made: str, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MODELS[made]()
    torch.manual_seed(1)
    images, labels = torch.rand(2, 3, 37, 41), torch.randint(-1, 3, (2, 37, 41))

    def evaluation() -> Evaluation:
        with frozen(model):
            return AttackedModel(model, loss, labels, ["a", "b"])(images)

    assert isinstance(logits_for(loss, model, images), Columns)
    coarsely = evaluation()
    monkeypatch.setattr(coarse_logits, "may_be_swept", lambda *logits: False)
    assert isinstance(logits_for(loss, model, images), Tensor)
    exactly = evaluation()
    torch.testing.assert_close(coarsely.objective, exactly.objective, rtol=1e-5, atol=1e-5)
    assert (coarsely.correct - exactly.correct).abs().max() <= 2
    assert (coarsely.direction == exactly.direction).double().mean() > 0.999


def test_scaled_logits_are_those_of_a_scaled_model() -> None:
    torch.manual_seed(1)
    images, labels = torch.rand(2, 3, 28, 29), torch.randint(-1, 4, (2, 28, 29))
    factor = torch.tensor([0.5, 2.0], dtype=torch.float64)  # exact in float32
    halves, doubles = (
        AttackedModel(wrap(lambda x, f=f: f * NET(x)), "js", labels, ["a", "b"])(images)
        for f in (0.5, 2.0)
    )
    scaled = AttackedModel(wrap(NET), "js", labels, ["a", "b"], scale=factor)(images)
    for place, alone in enumerate((halves, doubles)):
        assert torch.equal(scaled.objective[place], alone.objective[place])
        assert torch.equal(scaled.direction[place], alone.direction[place])


def hooked(model: nn.Module) -> nn.Module:
    model.register_forward_hook(lambda module, inputs, logits: -logits)
    return model


def replaced(model: nn.Module) -> nn.Module:
    model.forward = lambda images: images[:, :1].repeat(1, 4, 1, 1)  # type: ignore[method-assign]
    return model


class Temperature(type(upernet())):  # type: ignore[misc]
    """Somebody's own change of one of ours."""

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = super().forward(images) / 3
        return logits


class Called(type(upernet())):  # type: ignore[misc]
    """Another change."""

    def __call__(self, images: Tensor) -> Tensor:
        logits: Tensor = super().__call__(images) * 2
        return logits


def changed(model: nn.Module, kind: type[nn.Module]) -> nn.Module:
    model.__class__ = kind
    return model


def compiled(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


@pytest.mark.filterwarnings("ignore:Dynamo detected a call")
@pytest.mark.parametrize(
    "model",
    [
        hooked(upernet()),
        replaced(upernet()),
        changed(upernet(), Temperature),
        changed(upernet(), Called),
        compiled(upernet()),
        hooked(wrap(Strided())),
        wrap(hooked(upernet())),
        wrap(Strided(), classes=[0, 1, 1, None]),
        wrap(upernet(), output=lambda logits: logits[:, :3]),
        SearchModel(upernet(), "bf16"),
        nn.Sequential(upernet()),
    ],
)
def test_logits_are_a_models_own_where_something_else_has_a_say(model: nn.Module) -> None:
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        logits = logits_for("ce", model, images)
        assert isinstance(logits, Tensor)
        assert torch.equal(logits, model(images))


def test_a_hook_of_all_modules_has_a_say() -> None:
    model, images = upernet(), torch.rand(2, 3, 32, 32)

    def negate(module: nn.Module, _: object, logits: Tensor) -> Any:
        return -logits if module is model else None

    hook = nn.modules.module.register_module_forward_hook(negate)
    try:
        with torch.no_grad():
            assert torch.equal(logits_for("ce", model, images), model(images))
    finally:
        hook.remove()


def test_training_attacks_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    model = upernet()
    torch.manual_seed(1)
    images, labels = torch.rand(2, 3, 32, 32), torch.randint(-1, 4, (2, 32, 32))
    attack = TrainingAttack("ce", 4 / 255, steps=3, step_size=0.01)
    used: list[object] = []
    of = Columns.of
    monkeypatch.setattr(Columns, "of", lambda one: used.append(found := of(one)) or found)
    coarsely = perturb(model, images, labels, attack)
    assert len(used) == 3
    assert all(used)
    monkeypatch.setattr(coarse_logits, "may_be_swept", lambda *logits: False)
    exactly = perturb(model, images, labels, attack)
    assert not torch.equal(exactly, images)
    assert (coarsely == exactly).double().mean() > 0.999


def test_training_minimises_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    model = upernet()
    torch.manual_seed(1)
    images, labels = torch.rand(3, 3, 32, 32), torch.randint(-1, 4, (3, 32, 32))

    def loss_and_gradients() -> tuple[Tensor, list[Tensor | None]]:
        model.zero_grad()
        loss = Segmentation(model, 0.4).training_loss(images, labels)  # type: ignore[arg-type]
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), [parameter.grad for parameter in model.parameters()]

    found = loss_and_gradients()
    monkeypatch.setattr(coarse_logits, "may_be_swept", lambda *logits: False)
    expected = loss_and_gradients()
    torch.testing.assert_close(found[0], expected[0])
    pairs = list(zip(found[1], expected[1], strict=True))
    assert not all(map(torch.equal, *zip(*pairs, strict=True)))  # another way
    for one, other in pairs:
        assert one is not None
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_without_a_counted_pixel_there_is_no_loss() -> None:
    labels = torch.full((1, 32, 32), -1)
    loss = Segmentation(upernet(), 0.4).training_loss(torch.rand(1, 3, 32, 32), labels)  # type: ignore[arg-type]
    assert loss.isnan()


def test_autocast_around_an_attack_changes_no_logits() -> None:
    images = torch.rand(2, 3, 32, 32)
    labels = torch.randint(0, 4, (2, 32, 32))
    for model in (wrap(Strided()), SearchModel(upernet())):
        with frozen(model):
            alone = AttackedModel(model, "ce", labels, ["a", "b"])(images)
            with torch.autocast("cpu", torch.bfloat16):
                inside = AttackedModel(model, "ce", labels, ["a", "b"])(images)
        torch.testing.assert_close(inside.objective, alone.objective, rtol=0.02, atol=0)


def test_passes_in_inference_mode_leave_nothing_behind_that_attacks_cannot_use() -> None:
    model = wrap(Strided())
    images, labels = torch.rand(2, 3, 28, 29), torch.randint(0, 4, (2, 28, 29))
    _matrix.cache_clear()
    with frozen(model):
        attacked = AttackedModel(model, "ce", labels, ["a", "b"])
        with torch.inference_mode():
            attacked.look(images)
        assert attacked(images).finite.all()
