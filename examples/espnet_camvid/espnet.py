"""ESPNet (Mehta et al. 2018, arXiv 1803.06815) for CamVid: a model from outside the library.

It knows nothing of robustseg. The network is written from its description, with 2 units at stride 4
and 8 at stride 8 (alpha_2 and alpha_3 in the paper). Its parameters are named as in the state dict
that the authors published, which therefore loads strictly:

    model = net()
    file = "espnet_p_2_q_8_camvid.pth"  # saved on a GPU
    model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    model.eval()
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 12
"""Outputs: the 11 classes in the order of classes.txt, then void, which takes part in argmax."""
MEAN_BGR = (110.331, 108.409, 105.033)
DEVIATION_BGR = (72.126, 72.691, 69.904)
"""Both from 0 to 255: the averages, over CamVid's 367 training images, of each image's own."""
WIDTHS = (16, 64, 128)
"""Channels at strides 2, 4 and 8."""
DILATIONS = (1, 2, 4, 8, 16)
"""Of the parallel branches of a unit (Sec. 3 of the paper, K = 5)."""
STRIDE = 8


def net() -> nn.Module:
    """Return the network with random weights, in training mode as every new module is."""
    return ESPNet()


def net_for_small() -> nn.Module:
    """Return the same network for photographs of a third of the size that it was trained on.

    It sees them enlarged to twice their size, and its logits are reduced again. On CamVid's at
    160 x 120 pixels this keeps its accuracy near what it is on whole ones; as they are they do not.
    """
    return EnlargedESPNet()


class ESPNet(nn.Module):
    """Images to logits of the same height and width."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Not persistent: the published state dict does not hold them.
        for name, values in (("mean", MEAN_BGR), ("deviation", DEVIATION_BGR)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.encoder = Encoder()
        at_2, at_4, _ = self.encoder.channels
        self.level3_C = convolution(at_4, CLASSES, 1)
        self.br = BatchNorm(CLASSES)
        self.conv = conv_norm_act(CLASSES + at_2, CLASSES)
        self.up_l3 = nn.Sequential(doubling(CLASSES))
        self.combine_l2_l3 = nn.Sequential(norm_act(2 * CLASSES), Unit(2 * CLASSES, CLASSES))
        self.up_l2 = nn.Sequential(doubling(CLASSES), norm_act(CLASSES))
        self.classifier = doubling(CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits.

        Args:
            images: float (B, 3, H, W), RGB in [0, 1]; H and W are multiples of 8.

        Returns:
            Float (B, 12, H, W), differentiable with respect to the images; channel 11 is void.

        Raises:
            ValueError: H or W is no multiple of 8.
        """
        height, width = images.shape[-2:]
        if height % STRIDE or width % STRIDE:
            raise ValueError(f"ESPNet needs multiples of {STRIDE} pixels, not {height} x {width}")
        return self.segment(self.preprocess(images))

    def preprocess(self, images: Tensor) -> Tensor:
        """Turn RGB in [0, 1] into what the published weights were trained on.

        This is BGR from 0 to 255, normalised and then divided by 255 again: (B, 3, H, W), within
        about 0.01 of zero.
        """
        return (images.flip(1) * 255 - self.mean) / self.deviation / 255

    def segment(self, images: Tensor) -> Tensor:
        """Return logits (B, 12, H, W) of preprocessed images."""
        at_2, at_4, logits = self.encoder(images)
        up = self.up_l3(self.br(logits))  # 1/8 -> 1/4
        merged = self.combine_l2_l3(torch.cat([self.level3_C(at_4), up], dim=1))
        up = self.up_l2(merged)  # 1/4 -> 1/2
        merged = self.conv(torch.cat([up, at_2], dim=1))
        full: Tensor = self.classifier(merged)  # 1/2 -> 1
        return full


class EnlargedESPNet(ESPNet):
    """ESPNet that looks at images of twice the size."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of the images' size; 2H and 2W are multiples of 8, see `ESPNet.forward`."""
        enlarged = functional.interpolate(images, scale_factor=2, mode="bilinear")
        return functional.interpolate(
            super().forward(enlarged), size=images.shape[-2:], mode="bilinear"
        )


class Encoder(nn.Module):
    """Preprocessed images to features at strides 2 and 4 and logits at stride 8.

    The image, made smaller, is given again to the features at strides 2 and 4.
    """

    channels = (WIDTHS[0] + 3, 2 * WIDTHS[1] + 3, 2 * WIDTHS[2])
    """Of the features at strides 2, 4 and 8, as they are concatenated."""

    def __init__(self) -> None:
        super().__init__()
        at_2, at_4, at_8 = self.channels
        self.level1 = conv_norm_act(3, WIDTHS[0], stride=2)
        self.b1 = norm_act(at_2)
        self.level2_0 = DownUnit(at_2, WIDTHS[1])
        self.level2 = nn.Sequential(*(Unit(WIDTHS[1], WIDTHS[1]) for _ in range(2)))
        self.b2 = norm_act(at_4)
        self.level3_0 = DownUnit(at_4, WIDTHS[2])
        self.level3 = nn.Sequential(*(Unit(WIDTHS[2], WIDTHS[2]) for _ in range(8)))
        self.b3 = norm_act(at_8)
        self.classifier = convolution(at_8, CLASSES, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return features (B, 19, H/2, W/2), (B, 131, H/4, W/4) and logits (B, 12, H/8, W/8)."""
        half = halve(images)
        at_2 = self.b1(torch.cat([self.level1(images), half], dim=1))
        first = self.level2_0(at_2)
        at_4 = self.b2(torch.cat([self.level2(first), first, halve(half)], dim=1))
        first = self.level3_0(at_4)
        at_8 = self.b3(torch.cat([first, self.level3(first)], dim=1))
        return at_2, at_4, self.classifier(at_8)


class Pyramid(nn.Module):
    """Spatial pyramid of dilated convolutions, without what follows it (Sec. 3 of the paper).

    A reduction to n = outputs // 5 channels, then five 3x3 convolutions side by side. Each has n
    outputs, but the undilated one has what is left of `outputs`.

    Args:
        inputs: channels of the features.
        outputs: channels of the result.
        kernel: of the reduction.
        stride: of the reduction.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        narrow = outputs // len(DILATIONS)
        widest = outputs - (len(DILATIONS) - 1) * narrow
        self.c1 = convolution(inputs, narrow, kernel, stride)
        self.d1 = convolution(narrow, widest, 3)
        self.d2 = convolution(narrow, narrow, 3, dilation=2)
        self.d4 = convolution(narrow, narrow, 3, dilation=4)
        self.d8 = convolution(narrow, narrow, 3, dilation=8)
        self.d16 = convolution(narrow, narrow, 3, dilation=16)

    def pyramid(self, features: Tensor) -> Tensor:
        """Return (B, outputs, H / stride, W / stride).

        Of the dilated branches the sums are handed on (2; 2 + 4; 2 + 4 + 8; ...), which takes away
        the grid that a large dilation alone leaves (the paper's hierarchical feature fusion).
        """
        reduced = self.c1(features)
        total = self.d2(reduced)
        parts = [self.d1(reduced), total]
        for branch in (self.d4, self.d8, self.d16):
            total = total + branch(reduced)
            parts.append(total)
        return torch.cat(parts, dim=1)


class Unit(Pyramid):
    """ESP unit at one resolution; adds its input where the numbers of channels agree."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel=1, stride=1)
        self.bn = norm_act(outputs)
        self.residual = inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, H, W) of features (B, inputs, H, W)."""
        result = self.pyramid(features)
        activated: Tensor = self.bn(result + features if self.residual else result)
        return activated


class DownUnit(Pyramid):
    """ESP unit that halves the resolution and adds nothing."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel=3, stride=2)
        self.bn = BatchNorm(outputs)
        self.act = nn.PReLU(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, H/2, W/2) of features (B, inputs, H, W)."""
        activated: Tensor = self.act(self.bn(self.pyramid(features)))
        return activated


class BatchNorm(nn.Module):
    """BatchNorm with eps 1e-3 and without PyTorch's counter of batches.

    The published state dict, made before there was such a counter, has exactly these four tensors.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape; in training mode the statistics follow the batch."""
        return functional.batch_norm(
            features,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training,
            eps=1e-3,
        )


def convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Return a convolution without bias, as `conv`; at stride 1 it keeps height and width."""
    padding = dilation * (kernel // 2)
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(OrderedDict(conv=layer))


def norm_act(channels: int) -> nn.Sequential:
    """Return BatchNorm and a PReLU with one slope a channel."""
    return nn.Sequential(OrderedDict(bn=BatchNorm(channels), act=nn.PReLU(channels)))


def conv_norm_act(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution, BatchNorm and PReLU in one flat module."""
    layers = [*convolution(inputs, outputs, 3, stride), *norm_act(outputs)]
    return nn.Sequential(OrderedDict(zip(("conv", "bn", "act"), layers, strict=True)))


def doubling(channels: int) -> nn.ConvTranspose2d:
    """Return a layer that doubles height and width."""
    return nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2, bias=False)


def halve(images: Tensor) -> Tensor:
    """Return averages over 3x3 pixels at every second one; outside the image are zeros."""
    return functional.avg_pool2d(images, kernel_size=3, stride=2, padding=1)
