"""The attack inside adversarial training, as a training loop of one's own calls it."""

import pytest
import torch
from torch import distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

import robustseg
from robustseg.errors import RobustsegError

EPS_255 = 4


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3, stride=2)
    )


def batch(seed=0):
    source = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 3, 9, 9, generator=source)
    return images, torch.randint(4, (2, 9, 9), generator=source)


def test_it_is_pgd_on_normalised_images_and_coarse_logits():
    net, (images, labels) = network().train(), batch()
    labels[:, 2:5] = 255
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    model = robustseg.wrap(net, mean=mean, std=std)
    perturbed = robustseg.perturb_batch(model, images, labels, EPS_255, steps=3, step_size=0.006)

    net.eval()
    point = images.clone()
    for _ in range(3):
        point.requires_grad_()
        values = (point - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        logits = functional.interpolate(net(values), (9, 9), mode="bilinear")
        loss = functional.cross_entropy(logits, labels, ignore_index=255)
        (gradient,) = torch.autograd.grad(loss, point)
        moved = images + (point.detach() + 0.006 * gradient.sign() - images).clip(
            -EPS_255 / 255, EPS_255 / 255
        )
        point = moved.clip(0, 1)
    assert torch.allclose(perturbed, point, atol=1e-6)
    assert not perturbed.requires_grad


def test_the_network_is_left_as_it_was():
    """Modes, statistics, and gradients that are being accumulated."""
    net, (images, labels) = network().train(), batch()
    net[1].eval()
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    net[0].weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    robustseg.perturb_batch(net, images, labels, EPS_255)
    assert [module.training for module in net] == [True, False, True, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(torch.equal(one.grad, torch.ones_like(one)) for one in net.parameters())
    assert [one.requires_grad for one in net.parameters()][:2] == [False, True]


@pytest.fixture
def one_process():
    """A group of this process alone."""
    store = distributed.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_are_still_added_up_over_processes(one_process, compiled):
    """What the processes share of an update would be learnt from the attack's passes."""
    torch.manual_seed(0)
    net = DistributedDataParallel(nn.Conv2d(3, 4, 3, padding=1), static_graph=True)
    shared = []

    def note(state, bucket):
        shared.append(bucket)
        done = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    net.register_comm_hook(None, note)
    whole = torch.compile(net, backend="eager") if compiled else net
    model, (images, labels) = robustseg.wrap(whole), batch()
    for updates in (1, 2):
        perturbed = robustseg.perturb_batch(model, images, labels, EPS_255)
        functional.cross_entropy(model(perturbed), labels).backward()
        assert len(shared) == updates
    assert torch.equal(perturbed, robustseg.perturb_batch(net.module, images, labels, EPS_255))
    assert net.training


def test_training_on_it_makes_a_network_robust():
    """One colour tells the class exactly and faintly, another roughly and strongly."""
    labels = torch.randint(2, (8, 16, 16), generator=torch.Generator().manual_seed(0))
    side = 2.0 * labels - 1
    source = torch.Generator().manual_seed(1)
    rough = side * torch.where(torch.rand(labels.shape, generator=source) < 0.9, 1.0, -1.0)
    images = torch.stack([0.5 + 0.008 * side, 0.5 + 0.3 * rough, torch.full_like(side, 0.5)], 1)

    def left(adversarial):
        torch.manual_seed(0)
        net = nn.Conv2d(3, 2, kernel_size=1)
        model = robustseg.wrap(net, mean=(0.5, 0.5, 0.5), std=(0.008, 0.3, 1.0))
        optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
        for _ in range(80):
            seen = (
                robustseg.perturb_batch(model, images, labels, EPS_255) if adversarial else images
            )
            optimizer.zero_grad()
            functional.cross_entropy(model(seen), labels).backward()
            optimizer.step()
        return robustseg.sea(model, images, labels, EPS_255, iterations=5).acc

    assert left(adversarial=False) < 0.1
    assert left(adversarial=True) == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": lambda x: 3 * x - 1}, "pass images before normalisation"),
        ({"labels": lambda y: y + 3}, "has the label [456], which is none of the classes 0..3"),
        ({"steps": 0}, "steps must be a whole number of at least 1; got 0"),
        ({"step_size": 2.55}, "step_size must be above 0 and at most 1; got 2.55"),
        ({"step_size": "0.01"}, "step_size must be above 0 and at most 1; got '0.01'"),
        ({"eps_255": -1}, "eps_255 must be between 0 and 255"),
        ({"model": lambda net: lambda x: net(x) * float("nan")}, "not finite"),
        (
            {"model": lambda net: lambda x: net(x) + (0 * x).sqrt().sum()},
            "image 0 gets logits or a gradient from the model that are not finite",
        ),
        ({"model": lambda net: lambda x: net(x).detach()}, "no gradient to the image"),
    ],
)
def test_what_makes_no_sense_is_refused(change, message):
    images, labels = batch()
    given = {"model": network().eval(), "images": images, "labels": labels, "eps_255": EPS_255}
    for name, value in change.items():
        given[name] = value(given[name]) if callable(value) else value
    with pytest.raises(RobustsegError, match=message):
        robustseg.perturb_batch(**given)


def test_a_radius_in_the_range_of_the_images_is_warned_of():
    with pytest.warns(robustseg.RobustsegWarning, match="say 4 if 0.0156863 of"):
        robustseg.perturb_batch(network(), *batch(), EPS_255 / 255)


def test_a_function_that_runs_a_module_in_training_mode_is_warned_of():
    net = network().train()
    with pytest.warns(robustseg.RobustsegWarning, match="in training mode: call its eval"):
        robustseg.perturb_batch(lambda images: net(images), *batch(), EPS_255)
