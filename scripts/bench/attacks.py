"""Attack efficiency: time of a bare forward and backward pass over that of an attack iteration.

Both are of the same model on the same batch, measured in turn in one run, so that whatever else the
machine does hits both. The bare pass is `logits = model(images)` and a backward pass of a fixed
tensor to the images, without parameter gradients, as in the attack. An attack iteration is the time
of a whole APGD run over its iterations: start, extra last forward pass and bookkeeping included.

    python scripts/bench/attacks.py [--classes 21 151] [--losses ce js] [--rounds 5]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustseg.attacks.attacked_model import frozen
from robustseg.attacks.losses import PAPER_LOSSES
from robustseg.attacks.run import run_attack
from robustseg.attacks.spec import AttackSpec
from robustseg.progress import Progress


@dataclass
class Efficiency:
    """Measurements of one loss and number of classes; milliseconds per pass or iteration."""

    loss: str
    classes: int
    bare_ms: list[float]
    attack_ms: list[float]

    @property
    def ratios(self) -> list[float]:
        """Bare pass over attack iteration, of each round."""
        return [bare / attack for bare, attack in zip(self.bare_ms, self.attack_ms, strict=True)]

    def line(self) -> str:
        """Return the row of the Markdown table."""
        ratios = self.ratios
        return (
            f"| {self.loss} | {self.classes} | {statistics.median(ratios):.3f} "
            f"| {min(ratios):.3f} | {max(ratios):.3f} | {statistics.median(self.bare_ms):.1f} "
            f"| {statistics.median(self.attack_ms):.1f} |"
        )


HEADER = (
    "| loss | classes | efficiency (median) | min | max | bare pass, ms | attack iteration, ms |\n"
    "|---|---|---|---|---|---|---|"
)


def measure(
    model: nn.Module, images: Tensor, loss: str, iterations: int, rounds: int
) -> Efficiency:
    """Measure one loss on a model, in `rounds` of bare passes, an attack, and bare passes again.

    Labels are `half_right`, so that no image is broken and leaves the batch.
    """
    with frozen(model):
        logits = model(images)
    labels = half_right(logits)
    fixed = torch.randn_like(logits)
    ids = [str(place) for place in range(len(images))]
    spec = AttackSpec(loss, "apgd", "constant", iterations)

    def bare() -> None:
        inputs = images.detach().requires_grad_()
        with frozen(model):
            for _ in range(iterations // 2):
                torch.autograd.grad(model(inputs), inputs, fixed)

    def attack() -> None:
        result = run_attack(model, images, labels, ids, spec, eps_255=4, seed=0)
        if (result.backward_passes < iterations).any():
            raise AssertionError("an image left the batch, so that iterations cannot be compared")

    bare_ms, attack_ms = [], []
    for warm_up in [True] + [False] * rounds:
        before, during, after = (timed(step, images.device) for step in (bare, attack, bare))
        if not warm_up:
            bare_ms.append((before + after) / (iterations // 2 * 2) * 1e3)
            attack_ms.append(during / iterations * 1e3)
    return Efficiency(loss, logits.shape[1], bare_ms, attack_ms)


def half_right(logits: Tensor) -> Tensor:
    """Return labels (B, H, W): the prediction in every other row, the least likely class elsewhere.

    So an attack has something to lose, and as random weights are, no image gets all wrong soon.
    """
    labels = logits.argmax(1)
    labels[:, ::2] = logits.argmin(1)[:, ::2]
    return labels


def timed(step: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that a step takes: on a CPU of processor time, all threads together.

    So other processes on the machine count only as far as they compete for its memory.
    """
    if device.type == "cpu":
        start = time.process_time()
        step()
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    step()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def main() -> None:
    """Print the table of efficiencies of the demo's model."""
    parser = argparse.ArgumentParser(description="Attack efficiency on the demo's model.")
    parser.add_argument("--classes", type=int, nargs="+", default=[21, 151])
    parser.add_argument("--losses", nargs="+", default=[*PAPER_LOSSES, "tsallis", "js@10"])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--size-px", type=int, default=48)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    from robustseg.models.build import build_segmentation_model  # timm takes seconds: after --help

    torch.set_num_threads(args.threads)
    progress = Progress("bench")
    rows = []
    for classes in args.classes:
        torch.manual_seed(0)
        model = build_segmentation_model("convnext_demo", "upernet_demo", classes)
        model = model.eval().to(args.device)
        images = torch.rand(args.batch_size, 3, args.size_px, args.size_px, device=args.device)
        for loss in args.losses:
            rows.append(measure(model, images, loss, args.iterations, args.rounds))
            progress.say(rows[-1].line())
    print(f"torch {torch.__version__}, {args.device}, {args.threads} thread(s), batch of ", end="")
    print(f"{args.batch_size} at {args.size_px} px, {args.iterations} iterations of APGD\n")
    print(HEADER, *(row.line() for row in rows), sep="\n")


if __name__ == "__main__":
    main()
