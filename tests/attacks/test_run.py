"""Whole attacks: known optima, what a result may depend on, what is spent, what is refused."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustseg.attacks import run
from robustseg.attacks.attacked_model import FIRST, Evaluation, frozen
from robustseg.attacks.corners import random_corners
from robustseg.attacks.losses import LOSSES, Moment
from robustseg.attacks.pgd import Pgd
from robustseg.attacks.projection import ball
from robustseg.attacks.run import AttackResult
from robustseg.attacks.spec import SCHEDULES, AttackSpec, SquareSpec
from robustseg.attacks.square import square
from robustseg.attacks.targeted import targeted_attack
from robustseg.errors import RobustsegError
from tests.attacks.toys import Counting, Linear, Pointwise, corners

EPS_255 = 12.0
COUNTS = (40, 30, 20, 10)
run_attack = partial(run.run_attack, class_pixels=COUNTS)
"""With what losses by class ask for."""
SPECS = [
    *(AttackSpec(loss, "apgd", "constant", 12) for loss in LOSSES),
    *(AttackSpec("mask_ce", "apgd", schedule, 12) for schedule in SCHEDULES),
    AttackSpec("bal_ce", "pgd", "constant", 12, 5e-3),
    AttackSpec("cossim_ce", "pgd", "reduced", 12, 5e-3),
]


def scene(images: int = 5, size: tuple[int, int] = (6, 7), seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images and labels that Pointwise gets right, apart from a few, and some ignored pixels."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.rand(images, 3, *size, generator=generator)
    labels = Pointwise()(pictures).argmax(1)
    labels[:, 0] = torch.randint(4, labels[:, 0].shape, generator=generator)
    labels[::2, :, 0] = -1
    return pictures, labels


def names(count: int) -> list[str]:
    return [f"image{i}" for i in range(count)]


def attack(
    spec: AttackSpec, model: nn.Module | None = None, eps_255: float = EPS_255, seed: int = 0
) -> AttackResult:
    images, labels = scene()
    return run_attack(model or Pointwise(), images, labels, names(5), spec, eps_255, seed)


class Reused(torch.autograd.Function):
    """Passes on, and writes each gradient to the same memory, as a CUDA graph does."""

    memory: Tensor

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        return images.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return Reused.memory[: len(gradient)].copy_(gradient)


class OverReused(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return Pointwise()(Reused.apply(images))


def right_pixels(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        right = model(images).argmax(1) == labels
    return (right & (labels != -1)).flatten(1).sum(1)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_result_is_feasible_and_hurts(spec: AttackSpec) -> None:
    images, labels = scene()
    result = attack(spec)
    assert (result.adversarial - images).abs().max() <= EPS_255 / 255 + 1e-6
    assert result.adversarial.min() >= 0
    assert result.adversarial.max() <= 1
    before, after = (right_pixels(Pointwise(), x, labels) for x in (images, result.adversarial))
    assert (after <= before).all()
    assert after.sum() < 0.95 * before.sum()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_no_gradient_is_read_after_the_next_pass(spec: AttackSpec) -> None:
    Reused.memory = torch.empty_like(scene()[0])
    assert torch.equal(attack(spec, OverReused()).adversarial, attack(spec).adversarial)


@pytest.mark.parametrize("size", [(6, 7), (8, 8), (5, 5)])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_an_image_does_not_depend_on_its_batch(spec: AttackSpec, size: tuple[int, int]) -> None:
    """To the bit: alone, in any order, next to others, and whether or not those are done early."""
    images, labels = scene(size=size)
    labels[3] = (labels[3] + 1) % 4  # has few right pixels and is soon done
    ids = names(5)
    model = Pointwise()
    together = run_attack(model, images, labels, ids, spec, EPS_255, 0)
    order = [4, 2, 0, 3, 1]
    shuffled = run_attack(
        model, images[order], labels[order], [ids[i] for i in order], spec, EPS_255, 0
    )
    assert torch.equal(shuffled.adversarial, together.adversarial[order])
    for i in range(5):
        one = slice(i, i + 1)
        alone = run_attack(model, images[one], labels[one], ids[one], spec, EPS_255, 0)
        assert torch.equal(alone.adversarial, together.adversarial[one])
        assert torch.equal(alone.forward_passes, together.forward_passes[one])
        assert torch.equal(alone.backward_passes, together.backward_passes[one])


@pytest.mark.parametrize("spec", SPECS[5:9], ids=lambda spec: spec.name)
def test_seeds_decide_and_repeat(spec: AttackSpec) -> None:
    first, again, other = (attack(spec, seed=seed).adversarial for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("loss", LOSSES)
def test_linear_pixels_reach_their_optimum(loss: str) -> None:
    """A pixel's margin is linear in its own values: each sign decides, the corner is optimal."""
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(1, 3, 1, 1, generator=generator)
    images = torch.rand(4, 3, 9, 9, generator=generator)

    def model(x: Tensor) -> Tensor:
        margin = ((x - 0.5) * weight).sum(1, keepdim=True)
        return 1 + torch.cat((margin, -margin), dim=1)

    labels = model(images).argmax(1)
    epsilon = EPS_255 / 255
    direction = torch.where(labels.unsqueeze(1) == 0, -weight, weight).sign()
    optimal = (images + epsilon * direction).clamp(0, 1)
    spec = AttackSpec(loss, "apgd", "constant", 20)
    found = run_attack(model, images, labels, names(4), spec, EPS_255, 0).adversarial
    expected = (model(optimal).argmax(1) == labels).sum((1, 2))
    assert (expected > 0).any()
    assert torch.equal((model(found).argmax(1) == labels).sum((1, 2)), expected)


def test_coupled_pixels_come_close_to_the_best_corner() -> None:
    """Six pixels that share twelve values, all right at first; all 4096 corners are tried."""
    gaps = torch.zeros(len(LOSSES), 6)
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(6, 12, generator=generator, dtype=torch.float64)
        image = 0.2 + 0.6 * torch.rand(1, 3, 2, 2, generator=generator, dtype=torch.float64)
        model = Linear(weight, 0.4 - weight @ image.flatten(), height=2)
        labels = torch.zeros(1, 2, 3, dtype=torch.int64)
        candidates = corners(image[0], 0.1)
        best = right_pixels(model, candidates, labels.expand(len(candidates), -1, -1)).min()
        for row, loss in enumerate(LOSSES):
            spec = AttackSpec(loss, "apgd", "restarts", 60)
            found = run_attack(model, image, labels, ["image"], spec, 25.5, seed).adversarial
            gaps[row, seed] = right_pixels(model, found, labels) - best
    assert gaps.amin(0).sum() <= 1  # the worst case over losses, out of 36 pixels
    assert gaps.mean(1).amax() < 2  # each loss


def test_pgd_returns_the_iterate_of_the_highest_loss() -> None:
    """Against a slow loop, on a model that never loses its last right pixel."""
    images, labels = scene()
    model = Pointwise()
    seen: list[tuple[Tensor, Tensor]] = []

    class Watched(Pointwise):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            log_p = logits.detach().log_softmax(1)
            picked = log_p.gather(1, labels.where(labels != -1, 0).unsqueeze(1)).squeeze(1)
            loss = -(picked * (labels != -1)).flatten(1).sum(1)
            seen.append((images.detach(), loss))
            return logits

    spec = AttackSpec("bal_ce", "pgd", "constant", 15, 2e-2)
    result = run_attack(Watched(), images, labels, names(5), spec, EPS_255, 0)
    assert len(seen) == 16
    losses = torch.stack([loss for _, loss in seen])
    best = losses.argmax(0).tolist()
    assert len({*best}) > 1
    for image, step in enumerate(best):
        assert torch.equal(result.adversarial[image], seen[step][0][image])
    assert (right_pixels(model, result.adversarial, labels) > 0).all()


def test_pgd_takes_steps_of_its_size_inside_the_box() -> None:
    images = torch.tensor([0.5, 0.57, 0.02]).view(1, 3, 1, 1)
    direction = torch.tensor([1.0, 1.0, -1.0]).view(1, 3, 1, 1)
    centre = torch.tensor([0.5, 0.5, 0.02]).view(1, 3, 1, 1)
    anything = torch.zeros(1)
    evaluation = Evaluation(anything, anything.long(), direction, anything == 0)
    moved = Pgd(ball(centre, 0.1), 0.05).step(images, evaluation)
    assert moved.flatten().tolist() == pytest.approx([0.55, 0.6, 0.0])


def test_apgd_returns_the_latest_iterate_of_the_lowest_accuracy() -> None:
    images, labels = scene()
    seen: list[tuple[Tensor, Tensor]] = []

    class Watched(Pointwise):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            right = (logits.argmax(1) == labels).flatten(1).sum(1)
            seen.append((images.detach(), right))
            return logits

    spec = AttackSpec("ce", "apgd", "constant", 15)
    result = run_attack(Watched(), images, labels, names(5), spec, EPS_255, 0)
    rights = torch.stack([right for _, right in seen])
    for image in range(5):
        latest = (rights[:, image] == rights[:, image].min()).nonzero().max()
        assert torch.equal(result.adversarial[image], seen[latest][0][image])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_passes_are_the_budget_and_are_counted(schedule: str) -> None:
    """T backward passes, T forward passes, and one look at the last iterate of each slot."""
    model = Counting(Pointwise())
    result = attack(AttackSpec("js", "apgd", schedule, 13), model)
    looks = 1 if schedule == "constant" else 3
    assert result.backward_passes.tolist() == [13] * 5
    assert result.forward_passes.tolist() == [13 + looks] * 5
    assert model.forward_images == int(result.forward_passes.sum())
    assert model.backward_images == int(result.backward_passes.sum())


def test_a_broken_image_leaves_the_batch() -> None:
    images, labels = scene()
    labels[1] = -1
    labels[1, 3, 3] = (Pointwise()(images).argmax(1)[1, 3, 3] + 1) % 4  # wrong from the start
    labels[2] = -1  # nothing to attack at all
    model = Counting(Pointwise())
    spec = AttackSpec("mask_ce", "apgd", "restarts", 12)
    result = run_attack(model, images, labels, names(5), spec, EPS_255, 0)
    assert result.forward_passes[2] == 1
    assert result.forward_passes[1] <= 3
    assert result.forward_passes[0] == 15
    assert model.forward_images == int(result.forward_passes.sum())


def test_larger_radii_of_the_reduced_schedule_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that is broken at 2 eps only is attacked on, and what is returned is inside eps."""
    images = torch.full((1, 3, 4, 4), 0.5)
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)

    def model(x: Tensor) -> Tensor:  # wrong everywhere once the mean is 1.4 eps away
        margin = 1.4 * EPS_255 / 255 - (x - 0.5).mean((1, 2, 3), keepdim=True)
        return torch.cat((margin, -margin), 1).expand(-1, -1, 4, 4)

    starts: list[tuple[float, float]] = []
    search = run._search

    def watched(attacked, optimizer, images, slot, *more):
        starts.append((slot.scale, (images - 0.5).abs().max().item() * 255 / EPS_255))
        search(attacked, optimizer, images, slot, *more)

    monkeypatch.setattr(run, "_search", watched)
    spec = AttackSpec("ce", "apgd", "reduced", 20)
    result = run_attack(model, images, labels, ["a"], spec, EPS_255, 0)
    assert result.backward_passes.tolist() == [20]
    assert (result.adversarial - images).abs().max() <= EPS_255 / 255 + 1e-6
    assert [scale for scale, _ in starts] == [2, 1.5, 1]
    assert starts[1][1] == pytest.approx(1.5, abs=1e-3)  # projections of what was at 2 and 1.5 eps
    assert starts[2][1] == pytest.approx(1, abs=1e-3)


def test_restarts_are_never_worse_than_the_first_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _, labels = scene()
    all_slots = run.slots
    spec = AttackSpec("mask_ce", "apgd", "restarts", 12)
    three = right_pixels(Pointwise(), attack(spec).adversarial, labels)
    monkeypatch.setattr(run, "slots", lambda *key: all_slots(*key)[:1])
    one = right_pixels(Pointwise(), attack(spec).adversarial, labels)
    assert (three <= one).all()
    assert (three < one).any()


def moments_of(spec: AttackSpec, monkeypatch: pytest.MonkeyPatch) -> list[Moment]:
    """Return what the loss was told in each iteration."""
    seen: list[Moment] = []

    class Watched(run.AttackedModel):
        def __call__(self, images: Tensor, at: Moment = FIRST) -> Evaluation:
            seen.append(at)
            return super().__call__(images, at)

    with monkeypatch.context() as patch:
        patch.setattr(run, "AttackedModel", Watched)
        attack(spec)
    return seen


def test_balancing_begins_anew_where_the_radius_shrinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """lambda(t) = (t - 1) / (2 T), with T the iterations at one radius; `lambda_whole`: of all."""
    reduced = ("apgd", "reduced", 10)
    seen = moments_of(AttackSpec("bal_ce", *reduced), monkeypatch)
    assert [at.lam for at in seen] == pytest.approx(
        [t / (2 * slot) for slot in (3, 3, 4) for t in range(slot)]
    )
    whole = moments_of(AttackSpec("bal_ce", *reduced, None, "lambda_whole"), monkeypatch)
    assert [at.lam for at in whole] == pytest.approx([t / 20 for t in range(10)])
    restarts = moments_of(AttackSpec("bal_ce", "apgd", "restarts", 6), monkeypatch)
    assert [at.lam for at in restarts] == pytest.approx([0, 1 / 4] * 3)


def test_js_is_told_whether_it_steers_by_ce(monkeypatch: pytest.MonkeyPatch) -> None:
    constant = ("apgd", "constant", 3)
    by_ce = moments_of(AttackSpec("js", *constant, None, "js_by_ce"), monkeypatch)
    assert [at.by_ce for at in by_ce] == [True] * 3
    assert not any(at.by_ce for at in moments_of(AttackSpec("js", *constant), monkeypatch))


def test_q_goes_from_begin_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = moments_of(AttackSpec("tsallis", "apgd", "constant", 6), monkeypatch)
    assert [at.q for at in seen] == pytest.approx([-2 + t / 2 for t in range(6)])
    seen = moments_of(AttackSpec("tsallis:0:0.6", "apgd", "constant", 6), monkeypatch)
    assert [at.q for at in seen] == pytest.approx([0.1 * t for t in range(6)])


@pytest.mark.parametrize("factor", [0.25, 16.0, 3.7])
@pytest.mark.parametrize("loss", sorted({"mask_sph", *(f"{loss}@10" for loss in LOSSES)}))
def test_a_factor_on_the_logits_changes_nothing(loss: str, factor: float) -> None:
    """To the bit where the factor is exact, but for weights as p_y^3 that float32 cannot hold."""
    model, scaled = Pointwise(), Scaled(factor)
    spec = AttackSpec(loss, "apgd", "reduced", 12)
    found, other = attack(spec, model), attack(spec, scaled)
    if factor == 3.7 or loss == "tsallis@10":
        _, labels = scene()
        rights = [right_pixels(model, one.adversarial, labels) for one in (found, other)]
        assert (rights[0] - rights[1]).abs().max() <= 2
    else:
        assert torch.equal(found.adversarial, other.adversarial)
    plain = AttackSpec("js", "apgd", "reduced", 12)
    assert not torch.equal(attack(plain, model).adversarial, attack(plain, scaled).adversarial)


class Scaled(Pointwise):
    """The same predictions from logits times a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return self.factor * super().forward(images)


def test_logits_are_scaled_to_a_mean_margin_of_the_counted_pixels() -> None:
    logits = torch.zeros(3, 4, 2, 2)
    logits[0, 1] = torch.tensor([[1.0, 3.0], [5.0, 7.0]])  # ahead of 0 by 4 on average
    logits[1, 2] = 8.0
    logits[1, 2, 0, 0] = 100.0  # ignored
    labels = torch.zeros(3, 2, 2, dtype=torch.int64)
    labels[1, 0, 0] = -1
    images = torch.zeros(3, 3, 2, 2)
    scale = run.logit_scale(lambda _: logits, images, labels, names(3), 10.0)
    assert scale.tolist() == pytest.approx([2.5, 1.25, 1.0])  # the last are equal everywhere
    one_class = run.logit_scale(lambda _: logits[:, :1], images, labels, names(3), 10.0)
    assert one_class.tolist() == [1, 1, 1]
    with pytest.raises(RobustsegError, match="logits are"):
        run.logit_scale(lambda _: logits, images, labels[:, :1], names(3), 10.0)


def test_the_scale_of_the_logits_costs_a_forward_pass() -> None:
    for loss, looks in (("js", 1), ("js@10", 2)):
        model = Counting(Pointwise())
        result = attack(AttackSpec(loss, "apgd", "constant", 5), model)
        assert result.forward_passes.tolist() == [5 + looks] * 5
        assert result.forward_passes.sum() == model.forward_images


@pytest.mark.parametrize("loss", ["mask_ce_balanced", "miou_ce"])
@pytest.mark.parametrize("counts", [None, [], [0, 0, 0, 0]])
def test_losses_by_class_ask_for_its_pixels(loss: str, counts: list[int] | None) -> None:
    images, labels = scene()
    spec = AttackSpec(loss, "apgd", "constant", 3)
    with pytest.raises(RobustsegError, match=f"the loss {loss} weighs pixels by class"):
        run.run_attack(Pointwise(), images, labels, names(5), spec, EPS_255, 0, counts)


def test_returned_is_the_iterate_of_the_lowest_accuracy_or_of_the_highest_loss() -> None:
    _, labels = scene()
    lowest = attack(AttackSpec("ce", "apgd", "constant", 12))
    highest = attack(AttackSpec("ce", "apgd", "constant", 12, None, "returns_highest_loss"))
    rights = [right_pixels(Pointwise(), one.adversarial, labels) for one in (lowest, highest)]
    assert (rights[0] <= rights[1]).all()
    assert (rights[0] < rights[1]).any()
    losses = [
        run.AttackedModel(Pointwise(), "ce", labels, names(5)).look(one.adversarial).objective
        for one in (lowest, highest)
    ]
    assert (losses[0] <= losses[1]).all()


def test_ignored_pixels_are_neither_attacked_nor_counted() -> None:
    images, labels = scene()
    labels[:, 3:] = -1
    spec = AttackSpec("ce", "pgd", "constant", 3, 1e-2)
    result = run_attack(Pointwise(), images, labels, names(5), spec, EPS_255, 0)
    other = labels.clone()
    other[:, 3:] = -1
    images_elsewhere = images.clone()
    images_elsewhere[:, :, 3:] = 0.5
    again = run_attack(Pointwise(), images_elsewhere, other, names(5), spec, EPS_255, 0)
    assert torch.equal(result.adversarial[:, :, :3], again.adversarial[:, :, :3])


def test_a_module_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    model[0].bias.requires_grad_(False)
    model.train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attack(AttackSpec("ce", "apgd", "constant", 2), model)
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_autocast_around_an_attack_does_not_make_its_passes_coarser() -> None:
    noted = []

    class Noting(Pointwise):
        def forward(self, images: Tensor) -> Tensor:
            noted.append(torch.is_autocast_enabled("cpu"))
            return super().forward(images)

    model, given = Noting(), (*scene(), names(5))
    with torch.autocast("cpu", torch.bfloat16):
        attack(AttackSpec("js@10", "apgd", "reduced", 3), model)
        square(model, *given, SquareSpec(3, 0.8), EPS_255, 0)
        random_corners(model, *given, 3, EPS_255, 0)
        targeted_attack(model, given[0], 1, given[2], eps_255=EPS_255, seed=0, iterations=3)
    assert noted
    assert not any(noted)


def test_logits_of_any_memory_layout_give_the_same() -> None:
    class ChannelsLast(Pointwise):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).contiguous(memory_format=torch.channels_last)

    for spec in SPECS[:6]:
        torch.testing.assert_close(
            attack(spec, ChannelsLast()).adversarial, attack(spec, Pointwise()).adversarial
        )


def test_an_image_gets_the_same_bits_alone_in_an_unusual_layout() -> None:
    """With classes outermost, logits of one image are contiguous and those of several are not."""

    def model(images: Tensor) -> Tensor:
        return Pointwise()(images).float().transpose(0, 1).contiguous().transpose(0, 1)

    images, labels = scene()
    for loss in LOSSES:
        together = run.AttackedModel(model, loss, labels, names(5), None, COUNTS)(images)
        for image in range(5):
            one = slice(image, image + 1)
            alone = run.AttackedModel(model, loss, labels[one], names(5)[one], None, COUNTS)(
                images[one]
            )
            assert torch.equal(alone.objective, together.objective[one])


AWKWARD = {
    "a softmax, which needs its output again": lambda images: torch.softmax(5 * images, 1),
    "the image itself": lambda images: images,
    "a view of the image": lambda images: images.flip(0).flip(0)[:, :2],
    "one plane seen as three": lambda images: images.mean(1, keepdim=True).expand(-1, 3, -1, -1),
}
"""Logits whose memory must not become that of the gradient."""


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("what", AWKWARD)
def test_a_model_keeps_the_memory_that_it_still_needs(what: str, loss: str) -> None:
    images, _ = scene()
    before, labels = images.clone(), AWKWARD[what](images).argmax(1)
    spec = AttackSpec(loss, "apgd", "constant", 6)
    found, expected = (
        run_attack(model, images, labels, names(5), spec, EPS_255, 0)
        for model in (AWKWARD[what], lambda x: 1 * AWKWARD[what](x).contiguous())
    )
    assert torch.equal(images, before)
    assert torch.equal(found.adversarial, expected.adversarial)


def test_a_radius_of_zero_changes_nothing() -> None:
    images, _ = scene()
    result = attack(AttackSpec("ce", "apgd", "reduced", 4), eps_255=0)
    assert torch.equal(result.adversarial, images)


def broken_model(value: float, after: int):
    calls = []

    def model(images: Tensor) -> Tensor:
        calls.append(1)
        logits = Pointwise()(images)
        if len(calls) > after:
            logits[2, 1, 2, 2] = value
        return logits

    return model


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("loss", LOSSES)
def test_logits_that_are_not_finite_are_refused(loss: str, after: int, value: float) -> None:
    with pytest.raises(RobustsegError, match=r"image image2 .* not finite"):
        attack(AttackSpec(loss, "apgd", "constant", 6), broken_model(value, after))


def refused(match: str, **changes: object) -> None:
    images, labels = scene()
    arguments = {
        "model": Pointwise(),
        "images": images,
        "labels": labels,
        "image_ids": names(5),
        "spec": AttackSpec("ce", "apgd", "constant", 3),
        "eps_255": EPS_255,
        "seed": 0,
    }
    with pytest.raises(RobustsegError, match=match):
        run_attack(**(arguments | changes))


def test_wrong_input_is_one_sentence() -> None:
    images, labels = scene()
    refused("eps_255 must be between 0 and 255", eps_255=-1)
    refused("eps_255 must be between 0 and 255", eps_255=256)
    refused(r"must be float32 or float64 \(images", images=(images * 255).to(torch.uint8))
    refused(r"must be float32 or float64 \(images", images=images[0])
    refused("labels must be int64", labels=labels.float())
    refused("labels must be int64", labels=labels[:4])
    refused("need as many different ids", image_ids=["a"] * 5)
    too_bright = images.clone()
    too_bright[3, 0, 0, 0] = 1.5
    refused(r"image image3 has values outside \[0, 1\]", images=too_bright)
    too_bright[3, 0, 0, 0] = torch.nan
    refused(r"image image3 has values outside \[0, 1\]", images=too_bright)
    for label in (-2, 4, 254):
        wrong = labels.clone()
        wrong[1, 2, 2] = label
        refused(
            rf"image image1 has the label {label}, which is none of the classes 0..3", labels=wrong
        )
    refused("upsample its logits", model=lambda x: Pointwise()(x)[:, :, ::2])
    refused("one tensor of logits", model=lambda x: (Pointwise()(x),))
    refused("one tensor of logits", model=lambda x: Pointwise()(x)[0])
    refused(
        "must be float32 or float64, not torch.bfloat16", model=lambda x: Pointwise()(x).bfloat16()
    )
    refused("carry no gradient", model=lambda x: Pointwise()(x).detach())


def test_threads_may_freeze_what_they_share() -> None:
    """Whoever ends first must not thaw it for the other, nor the last forget what it was."""
    shared = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout()).train()
    shared[0].bias.requires_grad_(False)
    one, other = nn.Sequential(shared), nn.Sequential(shared)

    def is_frozen() -> bool:
        wanted = [parameter.requires_grad for parameter in shared.parameters()]
        return not any([*wanted, *(module.training for module in shared.modules())])

    first, second = frozen(one), frozen(other)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert is_frozen()
    with frozen(shared):
        assert is_frozen()
    assert is_frozen()
    second.__exit__(None, None, None)
    assert all(module.training for module in shared.modules())
    assert [parameter.requires_grad for parameter in shared.parameters()] == [True, False]
