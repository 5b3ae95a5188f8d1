"""Networks whose robustness figure is known to be sound, and ways to spoil it by hiding gradients.

`honest` trains small networks without a known defect. `DEFECTS` turns one of them into a network
that predicts nearly the same and that attacks by gradient judge too kindly, in one way each.
`OTHER` changes networks too, in ways that leave their gradients true.
"""

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import segmentation as torchvision

from robustseg.data.scenes import SCENE_CLASSES, generate_scenes
from robustseg.errors import RobustsegError
from robustseg.files import alone, atomic_path
from robustseg.models.build import build_segmentation_model
from robustseg.models.wrap import wrap
from robustseg.seeds import derive_seed
from robustseg.training.inner_attack import TrainingAttack, perturb

CLASSES = len(SCENE_CLASSES)
SIZE_PX = 32
TRAIN_IMAGES, BATCH = 512, 16
STEPS_OF_PGD = 2
BATCH_NORM = nn.modules.batchnorm._BatchNorm


def images(split: str, count: int) -> tuple[Tensor, Tensor]:
    """Return scenes like the demo's: images (N, 3, 32, 32) in [0, 1] and labels (N, 32, 32)."""
    pixels, labels = generate_scenes(split, count, SIZE_PX, seed=0, radius_px=(8, 12))
    channels_first = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    return channels_first / 255, torch.from_numpy(labels).long()


# Honest networks


@dataclass(frozen=True)
class Honest:
    """A network without a known defect, and how it is trained.

    Attributes:
        build: gives it with weights drawn at random.
        steps: updates.
        eps_255: at which SEA leaves it between 20 and 60 % of the pixels.
        training_eps_255: of adversarial training; 0 for clean training.
        learning_rate: the largest of AdamW's.
    """

    build: Callable[[], nn.Module]
    steps: int
    eps_255: float
    training_eps_255: float = 0
    learning_rate: float = 3e-3

    def __call__(self) -> nn.Module:
        """Return the network, untrained."""
        return self.build()


def _own(backbone: str, decoder: str) -> Callable[[], nn.Module]:
    return partial(build_segmentation_model, backbone, decoder, CLASSES)


def _torchvision(name: str) -> Callable[[], nn.Module]:
    network = getattr(torchvision, name)
    return partial(network, weights=None, weights_backbone=None, num_classes=CLASSES)


def _smp(name: str, encoder: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        library = pytest.importorskip("segmentation_models_pytorch")
        network = getattr(library, name)
        return network(encoder_name=encoder, encoder_weights=None, classes=CLASSES)

    return build


def _plain(activation: Callable[[], nn.Module], channels: int = 32) -> nn.Module:
    """Return convolutions at full resolution, wider and wider apart."""
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), activation()]
    for dilation in (1, 2, 4, 4):
        layers += [
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation),
            nn.GroupNorm(4, channels),
            activation(),
        ]
    return nn.Sequential(*layers, nn.Conv2d(channels, CLASSES, 1))


DEMO = _own("convnext_demo", "upernet_demo")

HONEST: dict[str, Honest] = {
    "demo_clean": Honest(DEMO, 400, 3),
    "demo_at": Honest(DEMO, 400, 5, training_eps_255=4),
    "demo_at_long": Honest(DEMO, 1000, 6, training_eps_255=4),
    "lraspp": Honest(_torchvision("lraspp_mobilenet_v3_large"), 200, 2),
    "unet": Honest(_smp("Unet", "resnet18"), 200, 8),
    "fpn": Honest(_smp("FPN", "resnet18"), 200, 5),
    "deeplabv3plus": Honest(_smp("DeepLabV3Plus", "mobilenet_v2"), 200, 1.5),
    "linknet_at": Honest(_smp("Linknet", "resnet18"), 150, 8, training_eps_255=4),
    "pspnet_at": Honest(_smp("PSPNet", "resnet18"), 300, 6, training_eps_255=4),
    "segformer": Honest(_smp("Segformer", "mit_b0"), 400, 3, learning_rate=1e-3),
    "unet_vgg": Honest(_smp("Unet", "vgg11_bn"), 70, 8),
    "unet_efficientnet": Honest(_smp("Unet", "efficientnet-b0"), 150, 2),
    "resnet_pspnet_at": Honest(_own("resnet_demo", "pspnet_demo"), 500, 6, training_eps_255=4),
    "plain_silu": Honest(partial(_plain, nn.SiLU), 300, 5),
    "plain_elu_at": Honest(partial(_plain, nn.ELU), 250, 6, training_eps_255=2),
}
"""By name. They take images in [0, 1]; some return a dict, in which `wrap` finds the logits."""


def honest(name: str, folder: Path) -> nn.Module:
    """Return a trained network of `HONEST` in eval mode.

    The same weights each time on one machine with one thread; they are kept for the next call.

    Args:
        name: a key of `HONEST`.
        folder: of the weights that are kept.
    """
    recipe = HONEST[name]
    seed = derive_seed("zoo", name, recipe.steps, recipe.training_eps_255, recipe.learning_rate)
    path = folder / f"{name}-{seed:016x}.safetensors"
    with torch.random.fork_rng(devices=[]), alone(path, print):
        torch.manual_seed(seed)
        net = recipe.build()
        if not path.exists():
            train(net, recipe)
            state = {key: value.contiguous() for key, value in net.state_dict().items()}
            with atomic_path(path) as temporary:
                save_file(state, temporary)
    net.load_state_dict(load_file(path))
    return net.eval()


def train(net: nn.Module, recipe: Honest) -> None:
    """Train a network on the scenes, with draws from torch's global generator.

    The radius of adversarial training grows over its first half: from scratch, most networks else
    learn to say background.
    """
    pixels, labels = _training_scenes()
    model = wrap(net).train()
    for layer in net.modules():
        if isinstance(layer, BATCH_NORM):
            layer.momentum = 0.1  # torchvision's 0.01 is too slow for so few steps
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, recipe.steps)
    for step in range(recipe.steps):
        chosen = torch.randint(TRAIN_IMAGES, (BATCH,))
        seen, wanted = pixels[chosen], labels[chosen]
        if torch.rand(()) < 0.5:
            seen, wanted = seen.flip(-1), wanted.flip(-1)
        if recipe.training_eps_255:
            epsilon = recipe.training_eps_255 / 255 * min(1, 2 * (step + 1) / recipe.steps)
            attack = TrainingAttack("ce", epsilon, STEPS_OF_PGD, step_size=0.6 * epsilon)
            seen = perturb(model, seen, wanted, attack)
        optimizer.zero_grad()
        functional.cross_entropy(model(seen), wanted).backward()
        optimizer.step()
        rate.step()
    optimizer.zero_grad()


@cache
def _training_scenes() -> tuple[Tensor, Tensor]:
    return images("train", TRAIN_IMAGES)


# Changes


class Before(nn.Module):
    """A network that first changes its images."""

    def __init__(self, change: Callable[[Tensor], Tensor], net: nn.Module) -> None:
        super().__init__()
        self.change, self.net = change, wrap(net)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(self.change(images))


class After(nn.Module):
    """A network that changes its logits at last."""

    def __init__(self, change: Callable[[Tensor], Tensor], net: nn.Module) -> None:
        super().__init__()
        self.change, self.net = change, wrap(net)

    def forward(self, images: Tensor) -> Tensor:
        return self.change(self.net(images))


Changed = nn.Module | Callable[[Tensor], Tensor]


def before(change: Callable[[Tensor], Tensor]) -> Callable[[nn.Module], Changed]:
    """Return what puts a change before a network."""
    return lambda net: Before(change, net).eval()


def after(change: Callable[[Tensor], Tensor]) -> Callable[[nn.Module], Changed]:
    """Return what puts a change behind a network."""
    return lambda net: After(change, net).eval()


def _round(images: Tensor, levels: int = 255) -> Tensor:
    return torch.round(images * levels) / levels


def _through_uint8(images: Tensor) -> Tensor:
    return (images * 255).to(torch.uint8).float() / 255


def _through_numpy(images: Tensor) -> Tensor:
    pixels = (255 * images.detach().cpu().numpy()).round().astype(np.uint8)
    return torch.from_numpy(pixels).to(images.device).float() / 255


def _thermometer(images: Tensor, levels: int = 64) -> Tensor:
    thresholds = (torch.arange(levels) + 0.5).view(-1, 1, 1, 1, 1) / levels
    return (images > thresholds).float().mean(0)


def _dct_matrix() -> Tensor:
    """Return the orthonormal DCT of 8 values, (8, 8)."""
    k, n = torch.arange(8.0).view(-1, 1), torch.arange(8.0)
    matrix = torch.cos(torch.pi * (n + 0.5) * k / 8) / 2
    matrix[0] /= 2**0.5
    return matrix


def _dct_rounding(images: Tensor, step: float = 4 / 255) -> Tensor:
    matrix = _dct_matrix()
    count, channels, height, width = images.shape
    blocks = images.view(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    coefficients = torch.round(matrix @ blocks @ matrix.T / step) * step
    return (matrix.T @ coefficients @ matrix).transpose(3, 4).reshape(images.shape)


def _pil_jpeg(images: Tensor) -> Tensor:
    pixels = (255 * images.detach()).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    decoded = []
    for one in pixels:
        file = io.BytesIO()
        Image.fromarray(one).save(file, "jpeg", quality=98, subsampling=0)
        decoded.append(np.asarray(Image.open(file)))
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).float() / 255


def _one_hot(logits: Tensor) -> Tensor:
    return functional.one_hot(logits.argmax(1), logits.shape[1]).permute(0, 3, 1, 2).float()


def _without_graph(net: nn.Module) -> Changed:
    model = wrap(net)

    @torch.no_grad()
    def segment(images: Tensor) -> Tensor:
        return model(images)

    return segment


def _high_frequencies_detached(images: Tensor) -> Tensor:
    blurred = _blur(images, 5)
    return blurred + (images - blurred).detach()


def _blur(images: Tensor, size: int = 3) -> Tensor:
    padded = functional.pad(images, [size // 2] * 4, mode="replicate")
    return functional.avg_pool2d(padded, size, stride=1)


def _noise(images: Tensor, sigma: float = 8 / 255) -> Tensor:
    return images + sigma * torch.randn_like(images)


def _mirrored_at_random(net: nn.Module) -> Changed:
    """Return a network that sees each image mirrored or not, by chance."""
    model = wrap(net)

    def segment(images: Tensor) -> Tensor:
        mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
        logits = model(torch.where(mirrored, images.flip(-1), images))
        return torch.where(mirrored, logits.flip(-1), logits)

    return segment


def _with_dropped_features(net: nn.Module) -> Changed:
    """Return a network that drops a tenth of what its first convolution gives, always."""
    net = copy.deepcopy(net)
    first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_hook(
        lambda module, inputs, output: functional.dropout(output, 0.1, training=True)
    )
    return net


def _in_training_mode(net: nn.Module) -> Changed:
    """Return a function that runs BatchNorm in training mode, where a single image allows it."""
    model = wrap(copy.deepcopy(net))
    for layer in model.modules():
        if isinstance(layer, BATCH_NORM):
            layer.train()
            try:
                model(torch.zeros(1, 3, SIZE_PX, SIZE_PX))
            except RobustsegError:  # it sees one value a channel
                layer.eval()
    return lambda images: model(images)


def _shattered(images: Tensor, amplitude: float = 0.001, frequency: float = 2e4) -> Tensor:
    return images + amplitude * torch.sin(frequency * images)


class _OtherGradient(torch.autograd.Function):
    """Values as they are, and their gradient changed."""

    @staticmethod
    def forward(context: Any, values: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        context.change = change
        return values.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return context.change(gradient), None


def _backward(change: Callable[[Tensor], Tensor]) -> Callable[[nn.Module], Changed]:
    """Return what changes the gradient of a network's images, and nothing else."""
    return before(lambda images: _OtherGradient.apply(images, change))


def _saturated(logits: Tensor) -> Tensor:
    return (logits - logits.amax(1, keepdim=True)).clamp(min=-0.02)


def _edges_with_a_root(images: Tensor) -> Tensor:
    difference = images - images.roll(1, 3)
    return images + 0.01 * torch.sqrt(difference**2)


def _nearest(images: Tensor) -> Tensor:
    small = functional.interpolate(images, scale_factor=0.5, mode="nearest")
    return functional.interpolate(small, scale_factor=2, mode="nearest")


def _median(images: Tensor) -> Tensor:
    padded = functional.pad(images, [1] * 4, mode="replicate")
    return padded.unfold(2, 3, 1).unfold(3, 3, 1).flatten(4).median(-1).values


def _averaged_with_mirror_image(net: nn.Module) -> Changed:
    model = wrap(net)
    return lambda images: (model(images) + model(images.flip(-1)).flip(-1)) / 2


@dataclass(frozen=True)
class Defect:
    """One way to look more robust than one is.

    Attributes:
        apply: turns an honest network in eval mode, which stays as it is, into one that has it.
        word: a regular expression that finds what a report should call it.
        hides: whether SEA leaves clearly more pixels right than an attack made on the honest
            network does, or refuses; the others are doubtful, and SEA loses little.
        needs: a kind of layer without which a network cannot have it.
    """

    apply: Callable[[nn.Module], Changed]
    word: str
    hides: bool = True
    needs: type[nn.Module] = nn.Module


DEFECTS: dict[str, Defect] = {
    # Rounding: the gradient is 0 (`round`) or there is none (integers, NumPy, comparisons).
    "round": Defect(before(_round), "round"),
    "round_5_bits": Defect(before(partial(_round, levels=31)), "round"),
    "uint8": Defect(before(_through_uint8), "round|detach"),
    "numpy": Defect(before(_through_numpy), "round|detach"),
    "thermometer": Defect(before(_thermometer), "round|threshold|detach"),
    "dct": Defect(before(_dct_rounding), "round"),
    "pil_jpeg": Defect(before(_pil_jpeg), "round|detach|JPEG"),
    "round_logits": Defect(after(lambda logits: torch.round(4 * logits) / 4), "round"),
    # Hard predictions: no gradient.
    "argmax": Defect(after(_one_hot), "argmax"),
    # The graph ends before it reaches the images.
    "detach": Defect(before(lambda images: images.detach()), "detach"),
    "data": Defect(before(lambda images: images.data), "detach"),
    "no_grad": Defect(_without_graph, "detach"),
    # The gradient reaches the images through their low frequencies alone.
    "partly_detached": Defect(before(_high_frequencies_detached), "detach|wrong"),
    # Scales: a softmax that saturates in float32, or whose changes round to nothing.
    "times_30": Defect(after(lambda logits: 30 * logits), "scale", hides=False),
    "times_1e6": Defect(after(lambda logits: 1e6 * logits), "scale"),
    "times_1e-6": Defect(after(lambda logits: 1e-6 * logits), "scale"),
    # A second softmax inside the attack's losses: bounded, nearly flat.
    "softmax": Defect(after(lambda logits: logits.softmax(1)), "probabilities", hides=False),
    "sharp_softmax": Defect(after(lambda logits: (300 * logits).softmax(1)), "probabilities"),
    "sigmoid": Defect(after(lambda logits: (3 * logits).sigmoid()), "probabilities"),
    # The attack fits a draw that is never seen again.
    "noise": Defect(before(_noise), "random", hides=False),
    "faint_noise": Defect(before(partial(_noise, sigma=2 / 255)), "random", hides=False),
    "random_mirror": Defect(_mirrored_at_random, "random", hides=False),
    "dropout": Defect(
        before(lambda images: functional.dropout(images, 0.005, training=True)),
        "dropout|random",
        hides=False,
    ),
    "dropout_features": Defect(_with_dropped_features, "dropout|random", hides=False),
    # Scores depend on who shares the batch.
    "batch_norm": Defect(
        _in_training_mode, "training mode|BatchNorm", hides=False, needs=BATCH_NORM
    ),
    # The gradient is that of a ripple which hardly changes the values.
    "shattered": Defect(before(_shattered), "shattered"),
    "shattered_mildly": Defect(
        before(partial(_shattered, amplitude=0.002, frequency=2000)), "shattered"
    ),
    # A backward pass that is not that of the forward pass.
    "zero": Defect(_backward(lambda gradient: 0 * gradient), "zero"),
    "reversed": Defect(_backward(lambda gradient: -gradient), "wrong|sign|revers"),
    "random_gradient": Defect(
        _backward(lambda gradient: gradient * torch.randn_like(gradient)), "wrong|random"
    ),
    "nan": Defect(before(_edges_with_a_root), "NaN|finite"),
    # Scores far behind the best one are cut off, and where all are, the gradient is 0.
    "clamp": Defect(after(_saturated), "clamp|saturat|zero"),
}
"""By name; each leaves predictions on clean images nearly or exactly as they are."""

OTHER: dict[str, Callable[[nn.Module], Changed]] = {
    # Three quarters of the gradient are 0, and rightly: those pixels have no effect.
    "nearest": before(_nearest),
    "median": before(_median),
    "blur": before(lambda images: (images + _blur(images)) / 2),
    "log_softmax": after(lambda logits: logits.log_softmax(1)),
    "times_half": after(lambda logits: logits / 2),
    "bfloat16_images": before(lambda images: images.bfloat16().float()),
    "mirror_image": _averaged_with_mirror_image,
    "small_gradient": _backward(lambda gradient: gradient / 1000),
}
"""By name: changes that hide nothing; whatever is lost or gained in robustness is real."""
