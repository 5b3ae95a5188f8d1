"""One update, and a few, against loops written out by hand."""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from robustseg.attacks.losses import PAPER_LOSSES, Moment
from robustseg.errors import RobustsegError
from robustseg.models import interpolation
from robustseg.models.build import build_segmentation_model
from robustseg.training.batches import Loader, epoch_passes
from robustseg.training.inner_attack import TrainingAttack, perturb
from robustseg.training.inner_losses import attack_loss
from robustseg.training.optimizers import build_optimizer, parameter_groups, set_learning_rate
from robustseg.training.tasks import Segmentation
from tests.elsewhere import DEVICE, Device
from tests.training.tiny import AT, CLASSES, IMAGES, images, network, trained, trainer, weights


def batch(epoch=0, size=IMAGES):
    """Return images and labels of the first batch of an epoch."""
    _, pixels, labels = next(Loader(images(), 0).load(epoch_passes(images(), size, size, 0, epoch)))
    return pixels, labels


def slow_attack(model, x, y, steps=AT["steps"], epsilon=AT["eps_255"] / 255, step_size=0.01):
    """PGD with `backward`, pixel sums divided by hand; gradients of parameters pile up."""
    delta = torch.zeros_like(x)
    for _ in range(steps):
        point = (x + delta).clone().requires_grad_()
        log_p = model(point).log_softmax(1)
        loss = sum(
            -log_p[b, y[b, i, j], i, j]
            for b in range(len(y))
            for i in range(8)
            for j in range(8)
            if y[b, i, j] != -1
        )
        (loss / (y != -1).sum()).backward()
        delta = (delta + step_size * point.grad.sign()).clamp(-epsilon, epsilon)
        delta = (x + delta).clamp(0, 1) - x
    return x + delta


def test_an_update_waits_for_another_device_twice(tmp_path, monkeypatch):
    """To learn whether the attack's gradient is finite, and of the loss and gradient; no more."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **options: nullcontext())  # not known there
    one = trainer(tmp_path)
    with Device() as there:
        one.device = torch.device(DEVICE)
        one.task.model = nn.Conv2d(3, CLASSES, 1, device=DEVICE)
        parameters = parameter_groups(one.task.model, ratio=1)
        one.optimizer = torch.optim.SGD(parameters, 0.1)  # the fused one does not know it either
        next(one._updates(lambda: False))
    assert there.waits.pop("_to_copy") == 2  # images and labels
    assert there.waits.total() == 2


@pytest.mark.parametrize(
    "names",
    [
        ("convnext_demo", "upernet_demo"),
        ("resnet_demo", "pspnet_demo"),
        ("vit_demo", "segmenter"),
    ],
)
def test_networks_keep_on_the_other_device_what_they_need_there(names, monkeypatch):
    """After a first update, which brings the matrices that resize, the attack's question waits."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **options: nullcontext())
    monkeypatch.setattr(torch.__future__, "_overwrite_module_params_on_conversion", True)
    model = build_segmentation_model(*names, CLASSES)
    waits = []
    interpolation._matrix.cache_clear()
    try:
        with Device() as there:
            model._apply(lambda values: values.to(DEVICE))
            x = torch.rand(2, 3, 33, 31).to(DEVICE)
            y = torch.ones(2, 33, 31, dtype=torch.int64).to(DEVICE)
            for _ in range(2):
                before = there.waits.total()
                perturbed = perturb(model, x, y, TrainingAttack("ce", 0.1, 1, 0.1))
                Segmentation(model, 0.4).training_loss(perturbed, y).backward()
                waits.append(there.waits.total() - before)
    finally:
        interpolation._matrix.cache_clear()
    assert waits[1] == 1 < waits[0]
    assert all(one.grad is None or one.grad.device.type == DEVICE for one in model.parameters())


@pytest.mark.parametrize("contaminated", [False, True])
def test_an_update_is_that_of_a_slow_loop(tmp_path, contaminated):
    model, _ = trained(tmp_path, gradient_contamination=contaminated)
    slow = network()
    x, y = batch()
    attacked = slow_attack(slow, x, y)
    if not contaminated:
        slow.zero_grad()
    functional.cross_entropy(slow(attacked), y, ignore_index=-1).backward()
    with torch.no_grad():
        for parameter in slow.parameters():
            parameter -= 0.5 * parameter.grad
    assert torch.allclose(weights(model), weights(slow), atol=1e-6)
    assert (weights(model) - weights(network())).abs().max() > 1e-3


def test_contamination_matters(tmp_path):
    clean, _ = trained(tmp_path)
    contaminated, _ = trained(tmp_path, gradient_contamination=True)
    # three steps of an attack and the update all point nearly the same way
    moved = [(weights(m) - weights(network())).norm() for m in (clean, contaminated)]
    assert 3 < moved[1] / moved[0] < 5


@pytest.mark.parametrize("contaminated", [False, True])
@pytest.mark.parametrize("images_per_pass", [1, 2, 4])
def test_accumulated_passes_give_the_gradient_of_the_whole_batch(
    tmp_path, images_per_pass, contaminated
):
    options = {"gradient_contamination": contaminated}
    whole, rows = trained(tmp_path, **options)
    parts, part_rows = trained(tmp_path, **options, images_per_pass=images_per_pass)
    assert torch.allclose(weights(whole), weights(parts), atol=1e-6)
    assert rows[0]["loss"] == pytest.approx(part_rows[0]["loss"], rel=1e-6)


def test_a_pass_without_counted_pixels_changes_nothing(tmp_path):
    data = images()
    data.labels[3] = 255
    whole, _ = trained(tmp_path, data=data)
    parts, rows = trained(tmp_path, data=data, images_per_pass=1)
    assert torch.allclose(weights(whole), weights(parts), atol=1e-6)
    assert rows[0]["loss"] > 0


def half_ignored():
    """Return 8 images of which those of the first of two batches have no label."""
    data = images()
    first, _ = epoch_passes(data, 4, 4, training_seed=0, epoch=0)
    data.labels[first.indices] = 255
    return data


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("images_per_pass", [4, 1])
def test_a_batch_without_counted_pixels_is_no_update(tmp_path, images_per_pass, optimizer):
    data = half_ignored()
    model = nn.Sequential(nn.BatchNorm2d(3), network())
    changes = {"batch_size": 4, "images_per_pass": images_per_pass, "optimizer": optimizer}
    changes |= {"weight_decay": 0.1, "betas": (0.9, 0.999), "learning_rate": 0.01}
    one = trainer(tmp_path, {"epochs": 1}, "clean", model=model, data=data, **changes)
    updates = one._updates(lambda: False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    next(updates)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert one.losses == []
    one._write_checkpoint()  # is one that a training continues from
    trainer(
        tmp_path,
        {"epochs": 1},
        "clean",
        model=nn.Sequential(nn.BatchNorm2d(3), network()),
        **changes,
    )._resume()
    next(updates)
    assert one.optimizer.param_groups[0]["lr"] == 0.01 / 2  # the schedule has gone on
    assert one.rows[0]["loss"] > 0


@pytest.mark.parametrize("images_per_pass", [1, 2])
def test_a_batch_without_counted_pixels_is_none_however_it_is_spread(tmp_path, images_per_pass):
    options = {"data": half_ignored(), "batch_size": 4}
    whole, rows = trained(tmp_path, **options)
    parts, part_rows = trained(tmp_path, **options, images_per_pass=images_per_pass)
    assert torch.allclose(weights(whole), weights(parts), atol=1e-6)
    assert rows[0]["loss"] == pytest.approx(part_rows[0]["loss"], rel=1e-6)


def test_an_epoch_without_counted_pixels_has_no_loss(tmp_path):
    data = images(9)
    (whole,) = epoch_passes(data, 8, 8, training_seed=0, epoch=0)
    data.labels[whole.indices] = 255  # the ninth, which fills no batch, has labels
    model, rows = trained(tmp_path, {"epochs": 1}, "clean", data=data)
    assert torch.equal(weights(model), weights(network()))
    assert rows[0]["loss"] is None


@pytest.mark.parametrize("split", ["training", "validation"])
def test_a_split_without_counted_pixels_is_refused(tmp_path, split):
    ignored = images()
    ignored.labels[:] = 255
    sets = {"data": ignored} if split == "training" else {"val": ignored}
    with pytest.raises(RobustsegError, match=f"no pixel of the {split} split's 8 images counts: a"):
        trainer(tmp_path, **sets)
    with pytest.raises(RobustsegError, match="or train with `background: true`"):
        trainer(tmp_path, AT | {"background": False}, **sets)


@pytest.mark.parametrize("updates", [1, 2])
def test_sigterm_during_the_last_update_ends_a_training_that_is_done(
    tmp_path, monkeypatch, updates
):
    @contextmanager
    def asked_at_once():
        yield lambda: True

    monkeypatch.setattr("robustseg.training.loop.stop_on_sigterm", asked_at_once)
    one = trainer(tmp_path, {"epochs": 1}, "clean", batch_size=IMAGES // updates)
    if updates == 1:
        assert len(one.run()) == 1
    else:
        with pytest.raises(RobustsegError, match="stopped by SIGTERM before batch 2 of epoch 1;"):
            one.run()


def test_passes_must_divide_the_batch(tmp_path):
    with pytest.raises(RobustsegError, match="images_per_pass 3 does not divide the batch_size 8"):
        trained(tmp_path, images_per_pass=3)


def test_processes_must_be_able_to_share_a_batch(tmp_path):
    with pytest.raises(RobustsegError, match="2 GPUs cannot share a batch of 1 pass of 8 images"):
        trained(tmp_path, processes=2)


def test_running_statistics_move_once_an_update_to_the_mean_over_passes(tmp_path):
    def with_batch_norm():
        return nn.Sequential(nn.Conv2d(3, CLASSES, 1), nn.BatchNorm2d(CLASSES))

    torch.manual_seed(0)
    model = with_batch_norm()
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trained(tmp_path, {"epochs": 1}, "clean", model=model, images_per_pass=4)
    reference = with_batch_norm()
    reference.load_state_dict(start)
    x, _ = batch()
    features = [reference[0](half) for half in x.split(4)]
    mean = torch.stack([half.mean((0, 2, 3)) for half in features]).mean(0)
    var = torch.stack([half.var((0, 2, 3)) for half in features]).mean(0)
    assert torch.allclose(model[1].running_mean, 0.1 * mean, atol=1e-6)
    assert torch.allclose(model[1].running_var, 0.9 + 0.1 * var, atol=1e-6)
    assert model[1].num_batches_tracked == 1


def test_sgd_follows_torchs_own_schedules(tmp_path):
    epochs, momentum, decay = 10, 0.9, 0.01
    model, rows = trained(
        tmp_path,
        {"epochs": epochs},
        "clean",
        momentum=momentum,
        weight_decay=decay,
        warmup=0.2,
        power=0.9,
        batch_size=4,
    )
    slow = network()
    optimizer = torch.optim.SGD(slow.parameters(), 0.5, momentum=momentum, weight_decay=decay)
    schedules = torch.optim.lr_scheduler
    rise = schedules.LinearLR(optimizer, 1 / 4, 1.0, total_iters=3)  # updates 1-4 of 20
    fall = schedules.PolynomialLR(optimizer, total_iters=16, power=0.9)
    schedule = schedules.SequentialLR(optimizer, [rise, fall], [4])
    for epoch in range(epochs):
        for _, x, y in Loader(images(), 0).load(epoch_passes(images(), 4, 4, 0, epoch)):
            optimizer.zero_grad()
            functional.cross_entropy(slow(x), y, ignore_index=-1).backward()
            rate = optimizer.param_groups[0]["lr"]
            optimizer.step()
            schedule.step()
        assert rows[epoch]["learning_rate"] == pytest.approx(rate)
    assert torch.allclose(weights(model), weights(slow), atol=1e-5)


class TwoParts(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, CLASSES, 1)

    def forward(self, x):
        return self.head(self.backbone(x))

    def parameter_groups(self):
        return {"encoder": [*self.backbone.parameters()], "decoder": [*self.head.parameters()]}


def test_the_decoder_learns_faster_by_the_ratio(tmp_path):
    torch.manual_seed(0)
    start = TwoParts()
    moves = {}
    for ratio in (1.0, 10.0):
        model = TwoParts()
        model.load_state_dict(start.state_dict())
        _, rows = trained(tmp_path, AT, model=model, learning_rate_ratio=ratio)
        assert rows[0]["learning_rate"] == 0.5  # the backbone's
        moves[ratio] = {
            name: tensor - start.state_dict()[name] for name, tensor in model.state_dict().items()
        }
    for name, move in moves[1.0].items():
        ratio = 1 if name.startswith("backbone.") else 10
        assert torch.allclose(moves[10.0][name], ratio * move, atol=1e-6)


def test_a_ratio_needs_two_parts():
    with pytest.raises(RobustsegError, match="learning_rate_ratio of 10 needs a backbone and a de"):
        parameter_groups(network(), 10.0)


@pytest.mark.parametrize(("optimizer", "needed"), [("adamw", "betas"), ("sgd", "momentum")])
def test_an_optimizer_without_its_setting_is_refused(optimizer, needed):
    recipe = SimpleNamespace(
        optimizer=optimizer, betas=None, momentum=None, weight_decay_of="all", learning_rate_ratio=1
    )
    with pytest.raises(RobustsegError, match=f"the optimizer {optimizer} needs {needed}; add it"):
        build_optimizer(network(), recipe)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_steps_are_those_of_torchs_unfused_optimizers(optimizer):
    """They read memory as it lies, whatever the layout: a network's weights are channels last."""
    model, slow = (build_segmentation_model("convnext_demo", "upernet_demo", 4) for _ in "ab")
    slow.load_state_dict(model.state_dict())
    settings = {"learning_rate": 0.01, "weight_decay": 0.1, "learning_rate_ratio": 1.0}
    settings["weight_decay_of"] = "all"
    recipe = SimpleNamespace(optimizer=optimizer, betas=(0.9, 0.99), momentum=0.9, **settings)
    fused = build_optimizer(model, recipe)
    if optimizer == "adamw":
        unfused = torch.optim.AdamW(
            slow.parameters(), 0.01, betas=(0.9, 0.99), weight_decay=0.1, foreach=False
        )
    else:
        unfused = torch.optim.SGD(
            slow.parameters(), 0.01, momentum=0.9, weight_decay=0.1, foreach=False
        )
    layouts = {p.is_contiguous() for p in model.parameters() if p.ndim == 4 and p.shape[2] > 1}
    assert False in layouts
    for seed in range(3):
        torch.manual_seed(seed)
        fused.zero_grad()
        logits, auxiliary = (
            one.logits() for one in model.coarse_with_auxiliary(torch.rand(2, 3, 32, 32))
        )
        (logits.square().mean() + auxiliary.square().mean()).backward()
        for one, other in zip(model.parameters(), slow.parameters(), strict=True):
            other.grad = one.grad.clone()
        fused.step()
        unfused.step()
    torch.testing.assert_close(weights(model), weights(slow), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize(
    ("backbone", "decoder", "others"),
    [
        (
            "convnext_demo",
            "upernet_demo",
            (".bias", "gamma", "norm", "stem.1", "stem.4", "downsample.0"),
        ),
        ("vit_demo", "segmenter", (".bias", "norm", "pos_embed", "cls_token", "class_embeddings")),
    ],
)
def test_weight_decay_can_be_that_of_matrices_alone(optimizer, backbone, decoder, others):
    model = build_segmentation_model(backbone, decoder, 4)
    settings = {"learning_rate": 0.1, "learning_rate_ratio": 10.0, "weight_decay": 0.5}
    recipe = SimpleNamespace(
        optimizer=optimizer, betas=(0.9, 0.99), momentum=0.9, weight_decay_of="matrices", **settings
    )
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    steps = build_optimizer(model, recipe)
    set_learning_rate(steps, 0.1)
    for value in model.parameters():
        value.grad = torch.zeros_like(value)  # so that nothing but the decay moves anything
    steps.step()
    for name, value in model.named_parameters():
        decays = not any(word in name for word in others)
        left = 1 - 0.1 * (1 if name.startswith("backbone.") else 10) * 0.5 * decays
        torch.testing.assert_close(value.detach(), before[name] * left, msg=name)


@pytest.mark.parametrize(("optimizer", "lacks"), [("adamw", "betas"), ("sgd", "momentum")])
def test_an_optimizer_without_its_setting_says_so(tmp_path, optimizer, lacks):
    with pytest.raises(RobustsegError, match=f"{optimizer} needs {lacks}"):
        trained(tmp_path, optimizer=optimizer, betas=None, momentum=None)


@pytest.mark.parametrize("name", PAPER_LOSSES)
def test_each_loss_has_its_gradient_and_the_mean_over_counted_pixels(name):
    source = torch.Generator().manual_seed(0)
    logits = torch.randn(2, CLASSES, 4, 4, generator=source, requires_grad=True)
    labels = torch.randint(CLASSES, (2, 4, 4), generator=source)
    labels[0, 0] = -1
    lam = 0.3
    attack_loss(name, logits, labels, Moment(2 * lam)).backward()
    u, counted = logits.detach(), (labels != -1)
    y = functional.one_hot(labels.clamp(min=0), CLASSES).permute(0, 3, 1, 2).float()
    p, right = u.softmax(1), (u.argmax(1) == labels)
    p_y = (p * y).sum(1)
    sigma = u.sigmoid()
    weight = {
        "ce": torch.ones_like(p_y),
        "bal_ce": torch.where(right, 1 - lam, lam),
        "cossim_ce": (sigma * y).sum(1) / sigma.norm(dim=1),
        "js": -0.5 * p_y * (p_y / (1 + p_y)).log(),
        "mask_ce": right.float(),
    }
    if name == "mask_sph":
        leaf = u.clone().requires_grad_()
        cosine = -((leaf * y).sum(1) / leaf.norm(dim=1))
        (expected,) = torch.autograd.grad((cosine * right * counted).sum(), leaf)
    else:
        expected = (weight[name] * counted).unsqueeze(1) * (p - y)
    assert torch.allclose(logits.grad, expected / counted.sum(), atol=1e-6)


def test_losses_take_classifiers():
    logits, labels = torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 0])
    pixels = attack_loss("js", logits[:, :, None, None], labels[:, None, None], Moment())
    assert attack_loss("js", logits, labels, Moment()) == pixels > 0


def test_every_setting_of_the_attack_matters_and_runs_are_repeatable(tmp_path):
    changes = [
        {},
        {"attack_start": "random"},
        {"gradient_contamination": True},
        {"precision": "bf16"},
        *({"attack_loss": loss} for loss in PAPER_LOSSES[1:]),
    ]
    results = [weights(trained(tmp_path, **change)[0]) for change in changes]
    again = [weights(trained(tmp_path, **change)[0]) for change in changes]
    assert all(torch.equal(*pair) for pair in zip(results, again, strict=True))
    for number, result in enumerate(results):
        assert not any(torch.equal(result, other) for other in results[:number])


def test_bf16_keeps_weights_and_updates_in_full_precision(tmp_path):
    full, _ = trained(tmp_path)
    mixed, _ = trained(tmp_path, precision="bf16")
    assert {parameter.dtype for parameter in mixed.parameters()} == {torch.float32}
    assert torch.allclose(weights(full), weights(mixed), atol=0.02)


def seen(folder, **changes):
    """Return mode and precision of each forward pass of an update with three steps of PGD."""
    passes = []

    class Spy(nn.Conv2d):
        def forward(self, x):
            logits = super().forward(x)
            passes.append((self.training, logits.dtype))
            return logits

    trained(folder, AT, model=Spy(3, CLASSES, 1), **changes)
    return passes


def test_the_attack_sees_the_network_in_its_mode(tmp_path):
    assert [mode for mode, _ in seen(tmp_path)] == [False] * 3 + [True]
    assert [mode for mode, _ in seen(tmp_path, attack_mode="train")] == [True] * 4


def test_attack_and_update_compute_in_the_precision_asked_for(tmp_path):
    assert [dtype for _, dtype in seen(tmp_path)] == [torch.float32] * 4
    assert [dtype for _, dtype in seen(tmp_path, precision="bf16")] == [torch.bfloat16] * 4
