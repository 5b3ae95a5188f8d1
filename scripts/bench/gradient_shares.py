"""Where the gradient of a loss goes: to pixels that an attack can turn, or to others.

Pixels of the clean images are told apart by what an attack does with them: those that fall, those
that stay right, and those that are wrong already. Printed is the share of the logits' gradient (its
l_1 norm) that each kind gets on the clean images, by the mean margin to which logits are scaled.

    DEMO=results/demo
    python scripts/bench/gradient_shares.py --models $DEMO/models --val $DEMO/data/scenes/val.npz
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from robustseg.attacks.logits import Labels
from robustseg.attacks.losses import Moment
from robustseg.attacks.pixel_losses import loss_and_gradient
from robustseg.attacks.run import logit_scale, run_attack
from robustseg.attacks.spec import AttackSpec
from robustseg.evaluation.adapters import load_pair

MARGINS = (None, 3.0, 5.0, 10.0, 20.0)


def shares(loss: str, logits: Tensor, labels: Tensor, kinds: list[Tensor]) -> list[float]:
    """Return what share of a loss's gradient each kind of pixels (B, H, W) bool gets."""
    gradient = logits.clone()
    loss_and_gradient(loss, gradient, Labels.of(labels, logits.dtype), Moment())
    size = gradient.abs().sum(1).double()
    return [float((size * kind).sum() / size.sum()) for kind in kinds]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=Path, required=True, help="folder of trained models")
    parser.add_argument("--names", nargs="+", default=["pir_at_5", "at_5_long", "half_at_3"])
    parser.add_argument("--val", required=True)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--eps-255", type=float, nargs="+", default=[4, 12])
    parser.add_argument("--losses", nargs="+", default=["js", "mask_ce"])
    args = parser.parse_args()
    print("| model | ε∞ | loss | mean margin | of pixels that fall | stay right | are wrong |")
    print("|---|---:|---|---:|---:|---:|---:|")
    for name in args.names:
        weights = args.models / name / "seed0" / "weights.safetensors"
        model, dataset = load_pair(str(weights), args.val, "cpu")
        images, labels, ids = dataset.batch(range(args.images))
        with torch.no_grad():
            logits = model(images)
        right = logits.argmax(1) == labels
        for eps_255 in args.eps_255:
            spec = AttackSpec("js@10", "apgd", "reduced", 48)
            found = run_attack(model, images, labels, ids, spec, eps_255, 0).adversarial
            with torch.no_grad():
                falls = right & (model(found).argmax(1) != labels)
            kinds = [falls, right & ~falls, ~right]
            cells = " | ".join(f"{100 * float(kind.double().mean()):.0f} %" for kind in kinds)
            print(f"| {name} | {eps_255:g}/255 | *pixels* | | {cells} |")
            for loss in args.losses:
                for margin in MARGINS:
                    factor = torch.ones(len(images))
                    if margin is not None:
                        factor = logit_scale(model, images, labels, ids, margin).float()
                    scaled = factor.view(-1, 1, 1, 1) * logits
                    parts = shares(loss, scaled, labels, kinds)
                    cells = " | ".join(f"{100 * part:.0f} %" for part in parts)
                    told = "as it is" if margin is None else f"{margin:g}"
                    print(f"| {name} | {eps_255:g}/255 | {loss} | {told} | {cells} |")


if __name__ == "__main__":
    main()
