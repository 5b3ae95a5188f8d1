"""Memory and speed of attacks and adversarial training at the paper's sizes, on random images.

    python scripts/bench/gpu.py [--device cuda] [--batch-size 16] [--out FOLDER]

Memory is measured with one and with two images, which gives what is fixed and what an image adds;
on a GPU as torch's allocator counts it, on a CPU as the tensors that are alive. Speed is that of an
iteration of APGD on Mask-CE, and of an update of 5-step PIR-AT (Table 5's optimizer), and is worth
looking at on a GPU alone. Needs neither Snakemake nor pydantic.
"""

import argparse
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from robustseg.attacks.run import run_attack
from robustseg.attacks.spec import AttackSpec
from robustseg.models import interpolation
from robustseg.models.build import SegmentationModel, build_segmentation_model
from robustseg.plan.memory import Peak, line, peak_of
from robustseg.plan.networks import BIGGER, PAPER, Network
from robustseg.plan.throughput import measure
from robustseg.progress import Progress
from robustseg.training import inner_attack
from robustseg.training.inner_attack import TrainingAttack, perturb
from robustseg.training.tasks import Segmentation

MEMORIES_GB = (24, 40, 80, 140)
ITERATIONS = 20
"""Of APGD, for its speed; the peak of memory is that of any one."""
STEPS = 5


def build(network: Network, device: str) -> SegmentationModel:
    """Return the network with random weights."""
    torch.manual_seed(0)
    model = build_segmentation_model(network.architecture, network.decoder, network.num_classes)
    return model.to(device)


def data(network: Network, images: int, device: str) -> tuple[Tensor, Tensor]:
    """Return random images, and labels of which no attack gets all wrong in a few steps."""
    size = (images, network.size_px, network.size_px)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(network.num_classes, size, generator=generator)
    pictures = torch.rand(images, 3, *size[1:], generator=generator)
    return pictures.to(device), labels.to(device)


def attack(model: SegmentationModel, images: Tensor, labels: Tensor, iterations: int) -> None:
    """Run APGD on Mask-CE."""
    ids = [str(place) for place in range(len(images))]
    spec = AttackSpec("mask_ce", "apgd", "constant", iterations)
    run_attack(model, images, labels, ids, spec, eps_255=4, seed=0)


def trainer(model: SegmentationModel, steps: int) -> Callable[[Tensor, Tensor], None]:
    """Return a function that does one update of adversarial training."""
    task = Segmentation(model, auxiliary_weight=0.4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    pgd = TrainingAttack("ce", 4 / 255, steps, 0.01)

    def update(images: Tensor, labels: Tensor) -> None:
        perturbed = perturb(model, images, labels, pgd)
        model.train()
        optimizer.zero_grad()
        task.training_loss(perturbed, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return update


def memory(network: Network, device: str) -> tuple[Peak, Peak]:
    """Return the peaks of an attack and of a training, from batches of 2 and of 3 images."""
    attacks, trainings = [], []
    for images in (2, 3):  # BatchNorm needs two
        model, batch = build(network, device), data(network, images, device)
        with peak_of(model, torch.device(device)) as peak_mb:
            attack(model, *batch, iterations=1)
        attacks.append((images, peak_mb()))
        del model, batch
        trainings.append((images, training_peak_mb(network, images, device)))
    return line(*attacks), line(*trainings)


def training_peak_mb(network: Network, images: int, device: str) -> float:
    """Return the peak of an update; on a CPU with tensors that have sizes, but no values."""
    model, sizes_alone = build(network, device), FakeTensorMode(allow_non_fake_inputs=True)
    if device == "cpu":
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        model._apply(sizes_alone.from_tensor)  # type: ignore[no-untyped-call]
    # Without values there are none that are not finite.
    unasked = patch.object(inner_attack, "_refuse", lambda broken: None)
    with ExitStack() as contexts:
        if device == "cpu":
            contexts.enter_context(sizes_alone)
            contexts.enter_context(unasked)
        batch = data(network, images, device)
        update = trainer(model, steps=1)
        with peak_of(model, torch.device(device)) as peak_mb:
            for _ in range(2):  # from the second on, the optimizer keeps its means
                update(*batch)
    interpolation._matrix.cache_clear()  # which may hold matrices without values
    return peak_mb()


def speed(network: Network, device: str, batch_size: int) -> dict[str, float]:
    """Return images and iterations a second of an attack, and images a second of a training."""
    model, batch = build(network, device), data(network, batch_size, device)
    update = trainer(model, STEPS)
    attack_s = seconds(lambda: attack(model, *batch, ITERATIONS), device)
    update_s = seconds(lambda: update(*batch), device)
    return {
        "sea_image_iterations_per_s": batch_size * ITERATIONS / attack_s,
        "pir_at_5_images_per_s": batch_size / update_s,
    }


def seconds(step: Callable[[], None], device: str) -> float:
    """Return the least time of a step in three, after one to warm up."""
    times = []
    for _ in range(4):
        start = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def row(network: Network, peaks: tuple[Peak, Peak], rates: dict[str, float]) -> str:
    """Return the row of the Markdown table."""
    cells = [f"{peak.image_mb:.0f} | {peak.fixed_mb:.0f}" for peak in peaks]
    batches = [
        " / ".join(str(peak.largest_batch(memory_gb)) for memory_gb in MEMORIES_GB)
        for peak in peaks
    ]
    return (
        " | ".join([f"| {network}", *cells, *batches, *(f"{rate:.1f}" for rate in rates.values())])
        + " |"
    )


def header(rates: bool) -> str:
    """Return the head of the Markdown table."""
    names = ["network"]
    names += [
        f"{what}, MB {kind}" for what in ("attack", "training") for kind in ("an image", "fixed")
    ]
    fits = " / ".join(f"{memory_gb}" for memory_gb in MEMORIES_GB)
    names += [f"largest {what} batch on {fits} GB" for what in ("attack", "training")]
    names += ["attack, image iterations/s", "5-step PIR-AT, images/s"] if rates else []
    return "| " + " | ".join(names) + " |\n|---" + "|---:" * (len(names) - 1) + "|"


def main() -> None:
    """Print the table and write its numbers."""
    parser = argparse.ArgumentParser(description="Memory and speed at the paper's sizes.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch-size", type=int, default=16, help="for the speed on a GPU")
    parser.add_argument(
        "--networks",
        type=int,
        nargs="+",
        default=list(range(len(PAPER))),
        help="places in plan/networks.py; those behind the paper's are the bigger ones",
    )
    parser.add_argument("--out", type=Path, help="folder for throughput.json and memory.json")
    args = parser.parse_args()
    progress, on_gpu = Progress("bench"), args.device == "cuda"
    name = torch.cuda.get_device_name() if on_gpu else "cpu"
    rows, record, throughputs = [], {}, {}
    for network in progress.track(
        [(*PAPER, *BIGGER)[i] for i in args.networks], len(args.networks), "networks"
    ):
        peaks = memory(network, args.device)
        rates = speed(network, args.device, args.batch_size) if on_gpu else {}
        rows.append(row(network, peaks, rates))
        record[str(network)] = {"attack": asdict(peaks[0]), "training": asdict(peaks[1]), **rates}
        if on_gpu:
            throughputs[str(network)] = asdict(measure(network, args.device, args.batch_size))
    print(f"torch {torch.__version__}, {name}, batch of {args.batch_size} for the speed\n")
    print(header(on_gpu), *rows, sep="\n")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        about: dict[str, Any] = {"device": name, "torch": torch.__version__}
        write(args.out / "memory.json", about | {"networks": record})
        if on_gpu:
            about |= {"batch_size": args.batch_size, "networks": throughputs}
            write(args.out / "throughput.json", about)


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a record as JSON."""
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
