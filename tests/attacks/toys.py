"""Small models whose attacks can be reasoned about."""

import itertools

import torch
from torch import Tensor, nn


class Pointwise(nn.Module):
    """A pixel's logits depend on that pixel alone, by fixed elementwise arithmetic.

    So what an image gets is the same, to the bit, whoever shares its batch.
    """

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.a, self.b, self.c = torch.randn(3, 1, 4, 1, 1, generator=generator).double()

    def forward(self, images: Tensor) -> Tensor:
        red, green, blue = images.double().unsqueeze(2).unbind(1)
        return 4 * torch.sin(9 * red * self.a + self.b) + self.c * green + blue * blue * self.a


class Linear(nn.Module):
    """Two classes and logits 1 +- (w x + b) of all values of the image: a convex cross-entropy.

    Args:
        weight: (pixels, values).
        bias: (pixels,).
    """

    def __init__(self, weight: Tensor, bias: Tensor, height: int) -> None:
        super().__init__()
        self.weight, self.bias, self.height = weight, bias, height

    def forward(self, images: Tensor) -> Tensor:
        margin = images.flatten(1) @ self.weight.T + self.bias
        margin = margin.view(len(images), self.height, -1)
        return 1 + torch.stack((margin, -margin), dim=1)


class Counting(nn.Module):
    """Counts how many images pass forward, and how many of them with a gradient."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.forward_images, self.backward_images = model, 0, 0

    def forward(self, images: Tensor) -> Tensor:
        self.forward_images += len(images)
        self.backward_images += len(images) * images.requires_grad
        logits: Tensor = self.model(images)
        return logits


def corners(image: Tensor, epsilon: float) -> Tensor:
    """Return all corners of the box around one image (C, H, W), (2**values, C, H, W)."""
    low, high = (image - epsilon).clamp(min=0).flatten(), (image + epsilon).clamp(max=1).flatten()
    sides = torch.tensor(list(itertools.product((0.0, 1.0), repeat=len(low))), dtype=image.dtype)
    return torch.lerp(low, high, sides).view(-1, *image.shape)
