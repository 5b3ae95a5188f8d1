"""Square attack, for models that give no gradient: random search with forward passes alone.

Andriushchenko, Croce, Flammarion, Hein, "Square Attack: a query-efficient black-box adversarial
attack via random search", arXiv 1912.00049, which attacks classifiers in l_inf. Here for
segmentation: what must fall is the number of right pixels, so that the model's labels are enough.
Written from the paper's description.
"""

import math
from functools import partial

import torch
from torch import Tensor

from robustseg.attacks.attacked_model import Model, data_classes, frozen
from robustseg.attacks.pixel_losses import check_logits
from robustseg.attacks.projection import Box, ball
from robustseg.attacks.run import AttackResult, Found, check_batch
from robustseg.attacks.spec import SquareSpec
from robustseg.models.interpolation import as_precise_as
from robustseg.seeds import derive_seed

HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries, of 10,000, after which the share of the image that a square covers is halved."""


def square(
    model: Model,
    images: Tensor,
    labels: Tensor,
    image_ids: list[str],
    spec: SquareSpec,
    eps_255: float,
    seed: int,
    start: Tensor | None = None,
) -> AttackResult:
    """Attack a batch without a gradient; arguments and errors as for `run.run_attack`.

    With a `start`, images inside the radius like the result of another attack, the search begins
    there: the first query is that image, and there are no stripes.

    The first query is the clean image, the second vertical stripes of width 1, every other the best
    image so far with a square at plus or minus the radius, by channel. No pass keeps a gradient, of
    the logits only the largest matters, and an image without a right pixel leaves the batch. The
    result is the image with the fewest right pixels of all queries, the latest of equals.

    ASSUME: the number of right pixels decides. The sum of the right pixels' margins, the paper's
    loss carried over, moves with every square, and leaves more pixels right at equal queries
    (CHANGELOG).
    ASSUME: a proposal is taken also where as many pixels are right as before: counts tie often, and
    the search would stand still. The paper's loss does not tie.
    ASSUME: p begins high, 3.2 in the standard suite: a pixel of a segmentation hangs on what lies
    around it, so that squares of few pixels change little (CHANGELOG).
    ASSUME: the clean image is a query, so that no image gets better by the attack; the search goes
    on from the stripes, where the paper begins, only if they are not worse.
    """
    check_batch(images, labels, image_ids, eps_255)
    box = ball(images, float(eps_255) / 255)
    stripes, squares = _draws(images, image_ids, spec, seed)
    found = Found(images if start is None else start)
    passes = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    with frozen(model), torch.no_grad(), as_precise_as(images):
        for query in range(spec.iterations):
            position = found.unfinished()
            if not len(position):
                break
            proposed = found.images[position]
            if query == 1 and start is None:
                proposed = _at(box.select(position), stripes[position])
            elif query > 0:
                side = side_px(query, spec, *images.shape[2:])
                drawn = squares[query - 2, position]
                proposed = _with_square(proposed, box.select(position), drawn, side)
            logits = model(proposed.clone())  # which it may overwrite
            if query == 0:
                check_logits(logits, labels, image_ids, data_classes(model))
            right = (logits.argmax(1) == labels[position]).flatten(1).sum(1)  # never where ignored
            found.offer(position, proposed, torch.where(right == 0, torch.inf, -right.double()))
            passes[position] += 1
    passes = passes.cpu()
    unknown = torch.full_like(passes, torch.nan, dtype=torch.float64)
    return AttackResult(found.images, passes, torch.zeros_like(passes), unknown)


def side_px(query: int, spec: SquareSpec, height: int, width: int) -> int:
    """Return the side of the square of a query (from 0), by the paper's schedule of p.

    ASSUME: an image is covered as far as its shorter side lets a square.
    """
    halvings = sum(query * 10_000 > at * spec.iterations for at in HALVED_AT)
    side = round(math.sqrt(spec.p_init / 2**halvings * height * width))
    return min(max(side, 1), height, width)


def _draws(
    images: Tensor, image_ids: list[str], spec: SquareSpec, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the random numbers of stripes (B, C, 1, W) and squares (queries, B, 3 + C).

    They are uniform in [0, 1). Those of an image follow from its id, not from its neighbours in the
    batch, and are drawn on the CPU, so that they are the same on every device.
    """
    channels, width = images.shape[1], images.shape[3]
    stripes, squares = [], []
    for image_id in image_ids:
        generator = torch.Generator().manual_seed(derive_seed(image_id, seed, spec.name))
        draw = partial(torch.rand, generator=generator, device="cpu", dtype=torch.float32)
        stripes.append(draw((channels, 1, width)))
        squares.append(draw((spec.iterations, 3 + channels)))
    return torch.stack(stripes).to(images.device), torch.stack(squares, 1).to(images.device)


def _with_square(images: Tensor, box: Box, drawn: Tensor, side: int) -> Tensor:
    """Return images (b, C, H, W) with a square each; of `drawn` (b, 3 + C) follow place and signs.

    ASSUME: where it would change nothing, one channel, drawn at random, gets the other sign; the
    paper's code draws all again until something changes.
    """
    height, width = images.shape[2:]
    down = _covered(drawn[:, 0], height, side)
    across = _covered(drawn[:, 1], width, side)
    inside = down[:, None, :, None] & across[:, None, None, :]
    signs = drawn[:, 3:, None, None]
    proposed = torch.where(inside, _at(box, signs), images)
    same = (proposed == images).flatten(1).all(1)
    channels = torch.arange(images.shape[1], device=images.device)
    other = same[:, None] & (channels == (drawn[:, 2:3] * len(channels)).long())
    signs = torch.where(other[:, :, None, None], 1 - signs, signs)
    return torch.where(inside, _at(box, signs), images)


def _at(box: Box, signs: Tensor) -> Tensor:
    """Return the upper bound where `signs`, of (b, C, H, W), is above 1/2, else the lower."""
    return torch.where(signs > 0.5, box.upper, box.lower)


def _covered(drawn: Tensor, length: int, side: int) -> Tensor:
    """Return (b, length) bool: `side` in a row, all places that fit being equally likely."""
    start = (drawn * (length - side + 1)).long().clamp_(max=length - side)
    place = torch.arange(length, device=drawn.device) - start[:, None]
    return (place >= 0) & (place < side)
