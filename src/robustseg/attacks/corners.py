"""Random corners of the ball: what chance finds, which no attack may do worse than."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from robustseg.attacks.attacked_model import Model, frozen
from robustseg.attacks.projection import ball
from robustseg.attacks.run import AttackResult, Found, check_batch
from robustseg.data.interface import IGNORE_LABEL
from robustseg.models.interpolation import as_precise_as
from robustseg.seeds import derive_seed


def random_corners(
    model: Model,
    images: Tensor,
    labels: Tensor,
    image_ids: list[str],
    draws: int,
    eps_255: float,
    seed: int,
) -> AttackResult:
    """Return of each image the random corner of its ball that leaves the fewest pixels right.

    Arguments and errors as for `run.run_attack`; `draws` corners are tried, a forward pass each.
    """
    check_batch(images, labels, image_ids, eps_255)
    box = ball(images, eps_255 / 255)
    generators = [
        torch.Generator().manual_seed(derive_seed(one, seed, "corners")) for one in image_ids
    ]
    found = Found(images)
    counted = labels != IGNORE_LABEL
    draw = partial(torch.randint, 0, 2, device="cpu")
    everywhere = torch.arange(len(images), device=images.device)
    with frozen(model), torch.no_grad(), as_precise_as(images):
        for _ in range(draws):
            drawn = [draw(size=images.shape[1:], generator=one) for one in generators]
            signs = torch.stack(drawn).to(images.device)
            corner = torch.where(signs > 0, box.upper, box.lower)
            right = (model(corner.clone()).argmax(1) == labels) & counted
            found.offer(everywhere, corner, -right.flatten(1).sum(1).double())
    passes = torch.full((len(images),), draws, dtype=torch.int64, device="cpu")
    unknown = torch.full_like(passes, torch.nan, dtype=torch.float64)
    return AttackResult(found.images, passes, torch.zeros_like(passes), unknown)
