"""What faster passes of attacks gain, and what they do to the accuracy that is left.

Each option attacks the same images of a trained model in turn, several rounds, so that whatever
else the machine does hits all. Counts are in full precision, as always.

    python scripts/bench/options.py [--eps-255 8] [--iterations 48] [--device cuda]

It needs a finished `make demo`, or `--weights` and `--val` of another run.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch import nn

from robustseg.attacks.outcomes import attack_and_count
from robustseg.attacks.search_model import SearchModel
from robustseg.attacks.spec import AttackSpec
from robustseg.evaluation.adapters import load_pair
from robustseg.metrics import mean_accuracy
from robustseg.progress import Progress

DEMO = Path("results", "demo")
OPTIONS = {
    "fp32": ("fp32", False),
    "bf16": ("bf16", False),
    "compiled": ("fp32", True),
    "bf16, compiled": ("bf16", True),
}


def main() -> None:
    """Print the table of options."""
    parser = argparse.ArgumentParser(description="Gain and effect of faster passes.")
    parser.add_argument("--weights", default=DEMO / "models/pir_at_5/seed0/weights.safetensors")
    parser.add_argument("--val", default=DEMO / "data/scenes/val.npz")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--eps-255", type=float, default=8)
    parser.add_argument("--iterations", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    model, dataset = load_pair(args.weights, args.val, args.device)
    images, labels, ids = dataset.batch(range(min(args.images, len(dataset))))
    batch = images.to(args.device), labels.to(args.device), ids
    spec = AttackSpec("mask_ce", "apgd", "reduced", args.iterations)

    def attack(option: nn.Module) -> tuple[float, float]:
        """Return the seconds that an attack takes, and the accuracy that it leaves, in percent."""
        start = time.perf_counter()
        outcome = attack_and_count(option, spec, args.eps_255, 0, batch)
        counts = outcome.counts
        acc = 100 * mean_accuracy(counts.pixels, counts.pixels_correct)
        return time.perf_counter() - start, acc

    options = {name: SearchModel(model, *settings) for name, settings in OPTIONS.items()}
    times: dict[str, list[float]] = {name: [] for name in options}
    accs, progress = {}, Progress("bench")
    first = {name: attack(option)[0] for name, option in options.items()}
    for _ in progress.track(range(args.rounds), args.rounds, "rounds"):
        for name, option in options.items():
            seconds, accs[name] = attack(option)
            times[name].append(seconds)
    print(f"torch {torch.__version__}, {args.device}, {torch.get_num_threads()} threads, ", end="")
    print(f"{len(ids)} images, {spec.name} at {args.eps_255:g}/255\n")
    print("| passes | time over fp32 (median of rounds) | first attack, s | ACC left, % |")
    print("|---|---:|---:|---:|")
    for name, rounds in times.items():
        pairs = zip(rounds, times["fp32"], strict=True)
        ratio = statistics.median(one / full for one, full in pairs)
        print(f"| {name} | {ratio:.2f} | {first[name]:.1f} | {accs[name]:.2f} |")


if __name__ == "__main__":
    main()
