"""Warnings and refusals of doubtful models and images: where they should be, and nowhere else."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from robustseg.attacks import outcomes
from robustseg.attacks.alma_prox import alma_prox
from robustseg.attacks.ensemble import SeaResult, sea
from robustseg.attacks.run import AttackResult
from robustseg.attacks.targeted import targeted_attack
from robustseg.attacks.warning_signs import SEEN_ALONE, RobustsegWarning, WarningSigns
from robustseg.errors import RobustsegError
from robustseg.models.wrap import wrap
from robustseg.training.inner_attack import TrainingAttack, perturb
from tests.models.test_wrap import hidden_ways

CLASSES, SIZE_PX = 4, 24
COLOURS = torch.tensor([[0.8, 0.2, 0.2], [0.2, 0.8, 0.2], [0.2, 0.2, 0.8], [0.7, 0.7, 0.2]])

pytestmark = pytest.mark.filterwarnings("ignore::robustseg.attacks.warning_signs.RobustsegWarning")


def scenes(images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return images of noisy patches, each class in its colour, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    fields = torch.rand(images, CLASSES, 5, 5, generator=generator)
    labels = functional.interpolate(fields, (SIZE_PX, SIZE_PX), mode="bilinear").argmax(1)
    clean = COLOURS[labels].permute(0, 3, 1, 2)
    noise = 0.08 * torch.randn(clean.shape, generator=generator)
    return (clean + noise).clamp(0, 1).contiguous(), labels


IMAGES, LABELS = scenes(6, seed=0)
IDS = [f"scene{i}" for i in range(6)]


def trained(net: nn.Module, steps: int = 40) -> nn.Module:
    """Train until a network is far better than a guess."""
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        logits = functional.interpolate(net(IMAGES), (SIZE_PX, SIZE_PX), mode="bilinear")
        functional.cross_entropy(logits, LABELS).backward()
        optimizer.step()
    optimizer.zero_grad()
    return net.eval()


def layers(activation: type[nn.Module] = nn.ReLU, *more: nn.Module, **conv: Any) -> nn.Module:
    settings = {"kernel_size": 3, "padding": 1} | conv
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, **settings), *more, activation(), nn.Conv2d(8, CLASSES, 3, padding=1)
    )


NET = trained(layers())


def attack(model: Any = NET, images: Any = IMAGES, labels: Any = LABELS, **other: Any) -> SeaResult:
    settings = {"eps_255": 2, "iterations": 3, "losses": ["js"], "image_ids": IDS} | other
    return sea(model, images, labels, **settings)


def said(model: Any = NET, images: Any = IMAGES, labels: Any = LABELS, **other: Any) -> str:
    """Return all warnings of an attack, which are said once and kept in the result."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = attack(model, images, labels, **other)
    given = [warning for warning in caught if warning.category is RobustsegWarning]
    assert [str(warning.message) for warning in given] == result.warnings
    assert all(warning.filename == __file__ for warning in given)
    assert all("\n" not in sentence for sentence in result.warnings)
    assert all(f"Warning: {sentence}" in str(result) for sentence in result.warnings)
    return "\n".join(result.warnings)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.head = nn.Conv2d(3, 8, 1), layers(), nn.Conv2d(8, CLASSES, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.stem(images)) + self.block(images)


HONEST: dict[str, Callable[[], nn.Module]] = {
    "relu": layers,
    "gelu": lambda: layers(nn.GELU),
    "relu6": lambda: layers(nn.ReLU6),
    "hardswish": lambda: layers(nn.Hardswish),
    "tanh": lambda: layers(nn.Tanh),
    "batch norm": lambda: layers(nn.ReLU, nn.BatchNorm2d(8)),
    "group norm": lambda: layers(nn.ReLU, nn.GroupNorm(2, 8)),
    "dropout": lambda: layers(nn.ReLU, nn.Dropout(0.2)),
    "max pool": lambda: layers(nn.ReLU, nn.MaxPool2d(2)),
    "stride": lambda: layers(stride=2),
    "patches": lambda: layers(nn.GELU, kernel_size=4, stride=4, padding=0),
    "pixels": lambda: layers(kernel_size=1, padding=0),
    "dilated": lambda: layers(nn.ReLU, nn.Conv2d(8, 8, 3, padding=2, dilation=2)),
    "residual": Residual,
    "linear": lambda: nn.Conv2d(3, CLASSES, 1),
}


@pytest.mark.parametrize("name", HONEST)
def test_no_false_alarm(name: str) -> None:
    torch.manual_seed(0)
    net = trained(HONEST[name]())
    assert said(net) == ""
    assert said(net.train()) == ""  # a module is put in eval mode
    assert net.training
    net.eval()
    assert said(lambda images: net(images), losses=["mask_ce", "bal_ce", "mask_sph"]) == ""
    assert said(net, IMAGES[:1], LABELS[:1], image_ids=None) == ""


def test_no_false_alarm_of_a_well_trained_model_or_other_settings() -> None:
    net = trained(layers(), steps=300)
    assert attack(net).clean_acc > 0.97
    assert said(net) == ""
    assert said(net, losses=["mask_ce"], eps_255=16) == ""
    assert said(net, eps_255=0) == ""
    assert said(net, eps_255=0.5, batch_size=1) == ""
    assert said(net, IMAGES.double()) == ""
    half = LABELS.clone()
    half[:, :, :12] = 255  # where nothing counts, no gradient is needed
    assert said(net, labels=half) == ""
    assert said(wrap(net, classes=[0, 1, 2, 3], divisor=7, mean=(0.0,), std=(1.0,))) == ""


def test_no_alarm_of_a_model_that_is_right_about_images_of_one_class() -> None:
    labels = torch.full_like(LABELS, 2)

    def model(images: Tensor) -> Tensor:
        return NET(images) + torch.tensor([0.0, 0, 99, 0]).view(1, 4, 1, 1)

    assert "always predicting" not in said(model, labels=labels, eps_255=1)


@pytest.mark.parametrize("way", range(12))
def test_training_mode_behind_a_function(way: int) -> None:
    net = trained(layers(nn.ReLU, nn.BatchNorm2d(8)))
    assert said(hidden_ways(net)[way]) == ""
    net.train()
    sentences = said(hidden_ways(net)[way])
    assert sentences.startswith("the function that was passed runs Sequential in training")
    assert "call its eval(), or pass the module itself" in sentences
    assert said(net) == ""
    net.eval()
    net[1].train()  # a part of it is enough
    assert "in training mode" in said(hidden_ways(net)[way])


def test_no_alarm_of_a_function_that_calls_eval_itself() -> None:
    net = trained(layers(nn.ReLU, nn.BatchNorm2d(8))).train()
    assert said(lambda images: net.eval()(images)) == ""


def test_no_alarm_of_wrapped_and_exported_models_behind_a_function() -> None:
    wrapped = wrap(NET)
    assert said(lambda images: wrapped(images)) == ""
    torch.compiler.reset()  # torch 2.6 counts what earlier tests compiled, up to a limit
    size = {0: torch.export.Dim("images", min=1, max=64)}
    exported = torch.export.export(NET, (IMAGES,), dynamic_shapes={"input": size}).module()
    assert said(lambda images: exported(images)) == ""


class Keeps(nn.Module):
    """A network that keeps others where `eval` does not reach them."""

    def __init__(self, kept: Any) -> None:
        super().__init__()
        self.head = nn.Conv2d(CLASSES, CLASSES, 1)
        nn.init.dirac_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.kept = kept

    def forward(self, images: Tensor) -> Tensor:
        kept = self.kept
        while isinstance(kept, list | dict):
            kept = kept["net"] if isinstance(kept, dict) else kept[-1]
        return self.head(kept(images))


@pytest.mark.parametrize(
    "way",
    [
        lambda net: [NET, net],
        lambda net: {"net": [net]},
        lambda net: lambda images: net(images),
        lambda net: partial(nn.Module.__call__, net),
        lambda net: net.forward,
    ],
    ids=["list", "dict", "function", "partial", "method"],
)
def test_training_mode_where_eval_does_not_reach(way: Callable[[nn.Module], Any]) -> None:
    """Of one image at a time nothing else tells: BatchNorm repeats itself."""
    net = trained(layers(nn.ReLU, nn.BatchNorm2d(8)))
    model = nn.Sequential(Keeps(way(net)))
    one: dict[str, Any] = {"images": IMAGES[:1], "labels": LABELS[:1], "image_ids": None}
    assert said(model, **one) == ""
    net.train()
    sentences = said(model, **one)
    assert sentences.startswith("Sequential keeps Sequential where its eval() does not reach it")
    assert "torch.nn.ModuleList" in sentences
    model[0].registered = net  # now it does
    assert said(model, **one) == ""


def test_no_alarm_of_losses_and_activations_that_a_module_keeps_in_a_list() -> None:
    """They compute the same in either mode."""
    assert said(Keeps([nn.CrossEntropyLoss(), nn.Sequential(nn.ReLU(), NET.eval())])) == ""


@pytest.mark.parametrize(
    "kept", [nn.Dropout2d(), nn.BatchNorm2d(8), nn.InstanceNorm2d(8), nn.RReLU(), nn.LSTM(8, 8)]
)
def test_modules_of_torch_that_heed_their_mode(kept: nn.Module) -> None:
    assert f"keeps {type(kept).__name__} where its eval() does not reach it" in said(
        Keeps([kept, NET])
    )


@pytest.mark.parametrize(
    "other",
    [
        lambda logits: 50 * logits,
        lambda logits: logits.flip(-1),
        lambda logits: logits + 5 * torch.rand(logits.shape, generator=torch.Generator()),
    ],
    ids=["louder", "mirrored", "noisy"],
)
def test_a_model_that_computes_something_else_where_it_is_attacked(
    other: Callable[[Tensor], Tensor],
) -> None:
    """It repeats itself in passes without gradients, which are the ones that count."""

    def model(images: Tensor) -> Tensor:
        return other(NET(images)) if images.requires_grad else NET(images)

    assert "a pass whose gradient is taken gives other logits than one without" in said(model)


def test_no_alarm_of_attention_in_bfloat16() -> None:
    """Without a gradient torch takes a faster way, to logits that differ by a tenth of a lead."""

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 64, 4, 4), nn.Conv2d(64, CLASSES, 1)
            layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
            self.layers = nn.TransformerEncoder(layer, 12)

        def forward(self, images: Tensor) -> Tensor:
            found = self.stem(images)
            tokens = self.layers(found.flatten(2).transpose(1, 2))
            return self.head(tokens.transpose(1, 2).reshape(found.shape))

    for seed in range(3):
        torch.manual_seed(seed)
        signs = WarningSigns(wrap(Transformer().bfloat16()), [2])
        signs.look((IMAGES, LABELS, IDS))
        assert not any("whose gradient is taken" in one for one in signs.said)
        assert signs.apart["again"] == 0


def test_a_model_that_gives_no_gradient_is_not_said_to_compute_something_else() -> None:
    @torch.no_grad()
    def silent(images: Tensor) -> Tensor:
        return NET(images)

    def refuses(images: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise RuntimeError("no gradients here")
        return NET(images)

    for model in (silent, refuses):
        signs = WarningSigns(wrap(model), [2])
        signs.look((IMAGES, LABELS, IDS))
        assert signs.found() == []


def test_logits_that_are_larger_than_the_image() -> None:
    """Those of a network that pads its images and forgets to cut them off again."""

    def pads(images: Tensor) -> Tensor:
        return NET(functional.pad(images, (0, 8, 0, 0)))

    assert "logits of 24 x 32 pixels (height x width) for an image of 24 x 24, to" in said(pads)
    assert "are shrunk" not in said(lambda images: pads(images)[..., :24])
    assert "are shrunk" not in said(wrap(NET, divisor=32))
    assert "are shrunk" not in said(wrap(NET, size_px=(30, 32)))


def test_two_passes_that_differ() -> None:
    def model(images: Tensor) -> Tensor:
        return functional.dropout(NET(images), 0.3, training=True)

    sentences = said(model)
    assert sentences.startswith("two passes over the same images differ (by up to ")
    noisy = NET(IMAGES).abs().max().detach() * 1e-3
    assert "two passes" in said(lambda images: NET(images) + noisy * torch.rand(4, 24, 24))
    tiny = noisy * 1e-5  # that of sums in another order
    assert said(lambda images: NET(images) + tiny * torch.rand(1)) == ""


LOW = [-10.0, -1e4, -1e9]


def beside(low: float, model: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a model with a class more, that is never predicted."""
    return lambda images: functional.pad(model(images), (0, 0, 0, 0, 0, 1), value=low)


@pytest.mark.parametrize("low", LOW)
def test_a_class_far_below_the_best_hides_nothing(low: float) -> None:
    normal = trained(layers(nn.ReLU, nn.BatchNorm2d(8, track_running_stats=False)))
    assert "two passes" in said(beside(low, lambda x: NET(x) + 0.01 * torch.randn(1, 4, 24, 24)))
    assert "depend on the others" in said(beside(low, normal))
    assert said(beside(low, NET)) == ""


def test_a_model_that_keeps_something_from_pass_to_pass() -> None:
    class Mean(nn.Module):
        """Mixes its last output in, of which it keeps a copy."""

        last: Tensor | None = None

        def forward(self, images: Tensor) -> Tensor:
            logits = NET(images)
            if self.last is not None and self.last.shape == logits.shape:
                logits = (logits + self.last) / 2
            self.last = logits.detach().clone()
            return logits

    assert "one that keeps something from pass to pass" in said(Mean())


def test_a_model_that_takes_turns() -> None:
    """Two nets, one for each second pass; of a single image, which is always alone."""

    class Turns(nn.Module):
        passes = 0

        def forward(self, images: Tensor) -> Tensor:
            self.passes += 1
            return NET(images if self.passes % 2 else images.roll(1, 1))

    assert "two passes over the same" in said(Turns(), IMAGES[:1], LABELS[:1], image_ids=["one"])


@pytest.mark.parametrize("keeps", [lambda logits: logits, Tensor.detach])
def test_what_a_model_keeps_is_not_written_over(keeps: Callable[[Tensor], Tensor]) -> None:
    """A model that looks images up by what is in them: counting would find the gradient there."""
    kept: dict[bytes, Tensor] = {}

    def model(images: Tensor) -> Tensor:
        key = images.detach().numpy().tobytes()
        if key in kept:
            return kept[key]
        logits = NET(images)
        kept[key] = keeps(logits)
        return logits

    one: dict[str, Any] = {"eps_255": 4, "image_ids": ["one"], "losses": ["mask_ce"]}
    found, expected = (attack(net, IMAGES[:1], LABELS[:1], **one) for net in (model, NET))
    assert expected.acc < expected.clean_acc
    np.testing.assert_array_equal(found.accuracy, expected.accuracy)


def film(images: Tensor) -> Tensor:
    """Mix in the logits of the image before, which the first has not."""
    logits = NET(images)
    return torch.cat([logits[:1], (logits[1:] + logits[:-1]) / 2])


def test_logits_of_another_image_than_the_first_that_depend_on_the_batch() -> None:
    assert "an image's logits depend on the others of its batch" in said(film)


def test_of_a_large_batch_some_images_are_seen_alone() -> None:
    alone = 0

    def counted(images: Tensor) -> Tensor:
        nonlocal alone
        alone += len(images) == 1
        return film(images)

    images, labels = scenes(2 * SEEN_ALONE + 1, seed=1)
    signs = WarningSigns(counted, [])
    signs.look((images, labels, list(map(str, range(len(images))))))
    assert "depend on the others of its batch" in signs.found()[0]
    assert 1 < alone <= SEEN_ALONE


def test_logits_that_depend_on_the_batch() -> None:
    def model(images: Tensor) -> Tensor:
        return NET(functional.batch_norm(images, None, None, training=True) * 0.3 + 0.4)

    assert "an image's logits depend on the others of its batch" in said(model)
    hidden = {"net": trained(layers(nn.ReLU, nn.BatchNorm2d(8))).train()}
    before = {name: value.clone() for name, value in hidden["net"].state_dict().items()}
    sentences = said(lambda images: hidden["net"](images))
    assert "BatchNorm in training mode?" in sentences
    assert "runs Sequential in training mode: call its eval()" in sentences
    hidden["net"].load_state_dict(before)
    hidden["net"].eval()
    assert said(lambda images: hidden["net"](images)) == ""
    whole = IMAGES.mean()
    assert said(lambda images: NET(images - images.mean((1, 2, 3), keepdim=True) + whole)) == ""


def test_accuracy_of_a_guess() -> None:
    shuffled = said(lambda images: NET(images).roll(1, 1))
    assert "without an attack " in shuffled
    assert "check normalisation, channel order, the order of classes" in shuffled
    assert "whether values go to 1 or to 255 (scale)" in shuffled
    most = int(LABELS.flatten().mode().values)
    share = 100 * float((most == LABELS).double().mean())
    assert f"always predicting class {most} would get {share:.1f} %:" in shuffled
    assert said(wrap(lambda images: NET(images).roll(1, 1), classes=[3, 0, 1, 2])) == ""
    bgr = IMAGES.flip(1)
    assert ("without an attack" in said(NET, bgr)) == (attack(NET, bgr).clean_acc <= share / 100)
    constant = nn.functional.one_hot(torch.tensor([most]), CLASSES).float().view(1, -1, 1, 1)
    assert "without an attack" in said(lambda images: NET(images) * 0.01 + 99 * constant)


def test_images_divided_twice() -> None:
    white = IMAGES.clone()
    white[0, :, 0, 0] = 1
    for images in (IMAGES, white):
        sentences = said(NET, images / 255)
        assert "were images divided by 255 twice?" in sentences
    assert "twice" not in said(NET, IMAGES / 20)


def test_a_radius_in_units_of_the_range() -> None:
    sentences = said(eps_255=8 / 255)
    assert sentences == (
        "eps_255 is 0.0313725, which is 0.0313725/255: radii are in units of 1/255; say 8 "
        "if 0.0313725 of the range [0, 1] is meant"
    )
    assert said(eps_255=8) == ""
    assert said(eps_255=0.25) == ""


@pytest.mark.parametrize(
    ("outputs", "net"),
    [
        (lambda u: u.softmax(1), NET),
        (lambda u: (4 * u).sigmoid(), NET),
        (lambda u: (u / 4).sigmoid(), NET),
        (lambda u: (u[:, :1] * 4).sigmoid(), NET),
    ],
    ids=["softmax", "sigmoid", "faint sigmoid", "one channel"],
)
def test_probabilities(outputs: Callable[[Tensor], Tensor], net: nn.Module) -> None:
    labels = LABELS if outputs(torch.zeros(1, 4, 1, 1)).shape[1] > 1 else (LABELS == 0).long()
    sentences = said(lambda x: outputs(net(x)), labels=labels)
    assert "the model returns probabilities" in sentences
    of_one = labels is not LABELS
    assert ("and one channel counts as class 1 wherever it is above 0" in sentences) == of_one


@pytest.mark.parametrize(
    "outputs",
    [
        lambda u: u,
        lambda u: 0.25 + 0.1 * u.tanh(),
        lambda u: u.log_softmax(1),
        lambda u: u.tanh(),
        lambda u: u.relu(),
        lambda u: u.relu() / 40,
    ],
)
def test_no_probabilities(outputs: Callable[[Tensor], Tensor]) -> None:
    assert "probabilities" not in said(lambda images: outputs(NET(images)))


def test_logits_so_small_that_losses_depend_on_their_scale() -> None:
    def small(images: Tensor) -> Tensor:
        return 1e-3 * NET(images)

    assert "use losses that scale the logits (js@10; suite sea_plus)" in said(small)
    assert said(small, losses=["js", "js@10"]) == ""  # of these, the worst counts
    assert "scale" not in said(lambda images: small(images).softmax(1))
    assert said(lambda images: 0.05 * NET(images)) == ""


def test_nothing_is_lost_where_warnings_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def rounding(images: Tensor) -> Tensor:
        return NET((images * 255).round() / 255)

    warnings.simplefilter("error", RobustsegWarning)
    with pytest.raises(RobustsegWarning, match="exactly 0") as late:
        attack(rounding)
    assert isinstance(late.value.result, SeaResult)
    assert late.value.result.warnings == [str(late.value)]
    monkeypatch.setattr(outcomes, "run_attack", lambda *_: pytest.fail("attacked in vain"))
    with pytest.raises(RobustsegWarning, match="probabilities") as early:
        attack(lambda images: NET(images).softmax(1))
    assert early.value.result is None


HIDING = {
    "8 bits": lambda images: NET((images * 255).round() / 255),
    "nearest": lambda images: NET(functional.interpolate(images, scale_factor=0.5)),
    "slices": lambda images: NET(images[:, :, ::2, ::2]),
    "large logits": lambda images: NET(images) * 1e6,
    "clipping": lambda images: NET(images.clamp(0.4, 0.6)),
    "half a gradient": lambda images: NET(
        torch.cat([images[..., :12], images[..., 12:].detach()], 3)
    ),
}


@pytest.mark.parametrize("name", HIDING)
@pytest.mark.parametrize("losses", [["js"], ["mask_ce", "bal_ce", "js", "mask_sph"]])
def test_gradients_that_are_hidden(name: str, losses: list[str]) -> None:
    sentences = said(HIDING[name], losses=losses)
    assert "% of the gradient's values are exactly 0 and no loss explains it" in sentences


@pytest.mark.parametrize(
    ("name", "percent"), [("8 bits", 100), ("nearest", 75), ("half a gradient", 50)]
)
def test_how_much_of_the_gradient_is_hidden(name: str, percent: int) -> None:
    """What wrong pixels may explain is taken off."""
    wrong = 100 * (1 - attack(HIDING[name], eps_255=0).clean_acc)
    sentences = said(HIDING[name], eps_255=0)
    assert int(sentences.split(" %")[0]) == pytest.approx(percent - wrong, abs=5)


class Root(nn.Module):
    """Logits are finite; the gradient of one image is not: a root at 0."""

    def __init__(self, net: nn.Module, broken: Tensor) -> None:
        super().__init__()
        self.net, self.broken = net, broken.mean()

    def forward(self, images: Tensor) -> Tensor:
        at_root = ((images.mean((1, 2, 3)) - self.broken).abs() < 0.01).view(-1, 1, 1, 1)
        root = torch.where(at_root, images * 0, images + 1).sqrt().sum(1, keepdim=True)
        return self.net(images) + 0 * root


BROKEN = IMAGES.clone()
BROKEN[2] *= 0.5
ROOT = Root(NET, BROKEN[2])


def test_a_gradient_that_is_not_finite_is_refused() -> None:
    with torch.no_grad():
        assert ROOT(BROKEN).isfinite().all()
    with pytest.raises(RobustsegError, match="image scene2 gets a gradient that is not finite"):
        attack(ROOT, BROKEN, eps_255=1)
    good = [0, 1, 3, 4, 5]
    attack(ROOT, BROKEN[good], LABELS[good], eps_255=1, image_ids=None)


def test_alma_prox_refuses_it_too() -> None:
    with pytest.raises(RobustsegError, match="image scene2 gets a gradient that is not finite"):
        alma_prox(ROOT, BROKEN, LABELS, steps=5, image_ids=IDS)
    good = [0, 1, 3, 4, 5]
    alma_prox(ROOT, BROKEN[good], LABELS[good], steps=3)


def test_alma_prox_says_that_logits_are_not_finite_where_they_are_not() -> None:
    def away(images: Tensor) -> Tensor:
        moved = (images - IMAGES).abs().amax((1, 2, 3), keepdim=True)
        return NET(images) + torch.where(moved > 0, torch.nan, 0.0)

    with pytest.raises(RobustsegError, match="image scene0 got logits that are not finite"):
        alma_prox(away, IMAGES, LABELS, steps=5, image_ids=IDS)


def test_targeted_attacks_refuse_it_too() -> None:
    with pytest.raises(RobustsegError, match="image scene2 gets a gradient that is not finite"):
        targeted_attack(ROOT, BROKEN, 1, IDS, eps_255=1, seed=0, iterations=3)
    good = [0, 1, 3]
    targeted_attack(ROOT, BROKEN[good], 1, list("abc"), eps_255=1, seed=0, iterations=3)


@pytest.mark.parametrize("contaminates", [False, True])
def test_training_refuses_it_too(contaminates: bool) -> None:
    how = TrainingAttack("ce", 2 / 255, 2, 0.01, contaminates=contaminates)
    with pytest.raises(RobustsegError, match="not finite for image 2 of a batch"):
        perturb(ROOT, BROKEN, LABELS, how)
    good = [0, 1, 3]
    perturb(ROOT, BROKEN[good], LABELS[good], how)
    NET.zero_grad()


def test_the_clean_image_is_a_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attack that helps the model must not raise the score of any image."""

    def helpful(model: Any, images: Tensor, labels: Tensor, *_: Any) -> AttackResult:
        leaf = images.clone().requires_grad_()
        functional.cross_entropy(model(leaf), labels, ignore_index=-1).backward()
        assert leaf.grad is not None
        better = (images - 2 / 255 * leaf.grad.sign()).clamp(0, 1)
        passes = torch.ones(len(images), dtype=torch.int64)
        return AttackResult(better, passes, passes, torch.zeros(len(images)).double())

    with torch.no_grad():
        right = (NET(IMAGES).argmax(1) == LABELS).double().flatten(1).mean(1).numpy()
    honest = attack()
    monkeypatch.setattr(outcomes, "run_attack", helpful)
    result = attack(losses=["js", "mask_ce"])
    np.testing.assert_allclose(result.clean_accuracy, right)
    np.testing.assert_allclose(result.accuracy, right)
    assert (result.attack_accuracy > result.accuracy).any()
    assert sum("its gradients lead nowhere" in one for one in result.warnings) == 2
    assert not honest.warnings
    assert result.clean_acc == result.acc == pytest.approx(right.mean())
    assert result.clean_miou == result.miou
    clean = result.worst_attack == len(result.attacks)
    assert clean.any()
    assert torch.equal(result.adversarial[clean], IMAGES[clean])
    assert not result.linf_255[clean].any()
    np.testing.assert_allclose(honest.clean_accuracy, right)
    assert (honest.accuracy <= honest.clean_accuracy).all()
    assert honest.acc < honest.clean_acc


@pytest.mark.parametrize("eps_255", [0, 0.2, 4, 32])
@pytest.mark.parametrize("seed", range(2))
def test_no_score_is_above_the_clean_one(eps_255: float, seed: int) -> None:
    images, labels = scenes(6, seed + 1)
    result = attack(NET, images, labels, eps_255=eps_255, seed=seed, losses=["js", "mask_sph"])
    assert (result.accuracy <= result.clean_accuracy).all()
    assert result.acc <= result.clean_acc
    with torch.no_grad():
        found = NET(result.adversarial).argmax(1) == labels
    np.testing.assert_allclose(result.accuracy, found.double().flatten(1).mean(1).numpy())
