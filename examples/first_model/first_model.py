"""A small segmentation network, and its training: `python first_model.py FOLDER WEIGHTS.pth`.

It imports PyTorch and knows nothing of robustseg: it stands for a model of your own. FOLDER is one
that pictures.py has drawn.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

CLASSES = 3
IGNORED = 255
WIDTH = 32
EPOCHS = 30
BATCH = 10


def layers() -> list[nn.Module]:
    """Return the network's layers: it computes at a quarter of the size, a multiple of 4."""
    found: list[nn.Module] = [nn.Conv2d(3, WIDTH, 4, stride=4)]
    for dilation in (1, 2, 4):
        found += [nn.BatchNorm2d(WIDTH), nn.ReLU()]
        found += [nn.Conv2d(WIDTH, WIDTH, 3, padding=dilation, dilation=dilation)]
    found += [nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.Conv2d(WIDTH, CLASSES, 1)]
    return [*found, nn.Upsample(scale_factor=4, mode="bilinear")]


def net() -> nn.Module:
    """Return the network: images (B, 3, H, W) in [0, 1] to logits (B, CLASSES, H, W)."""
    return nn.Sequential(*layers())


def rounding_net() -> nn.Module:
    """Return the same network, which rounds images to 8 bits first: a mistake to be found."""
    return Rounding(*layers())


class Rounding(nn.Sequential):
    """Layers behind a rounding."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images (B, 3, H, W) in [0, 1]."""
        images = torch.round(images * 255) / 255
        for layer in self:
            images = layer(images)
        return images


def read(folder: Path) -> tuple[Tensor, Tensor]:
    """Return images (N, 3, H, W) in [0, 1] and labels (N, H, W) of a folder."""
    arrays = [
        np.stack([np.asarray(Image.open(path)) for path in sorted((folder / kind).iterdir())])
        for kind in ("images", "masks")
    ]
    images, labels = (torch.from_numpy(array) for array in arrays)
    return images.movedim(-1, 1) / 255, labels.long()


def main(folder: Path, weights: Path) -> None:
    """Train the network on FOLDER/train and keep its weights."""
    torch.manual_seed(0)
    model = net()
    images, labels = read(folder / "train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    for epoch in range(1, EPOCHS + 1):
        for chosen in torch.split(torch.randperm(len(images)), BATCH):
            loss = cross_entropy(model(images[chosen]), labels[chosen], ignore_index=IGNORED)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if epoch % 10 == 0:
            print(f"epoch {epoch:2} of {EPOCHS}: loss {float(loss.detach()):.3f}")
    torch.save(model.state_dict(), weights)
    print(f"weights are in {weights}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
