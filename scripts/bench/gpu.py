"""Memory and speed of attacks and adversarial training at the paper's sizes, on random images.

    python scripts/bench/gpu.py [--device cuda] [--parts attacks training] [--networks 0 5]

Each part of each network is measured by itself and written to FOLDER/DEVICE.json at once; what is
there is not measured again. So whoever has a GPU for ten minutes at a time repeats the command
until it has nothing left to do. FOLDER/DEVICE.md has the tables, and FOLDER/DEVICE-throughput.json
what `plan` reads instead of measuring.

    memory      peaks of a bare pass, an attack and a training, from batches of 2 and of 3 images:
                on a GPU as torch's allocator counts them, on a CPU as tensors that are alive
    attacks     a bare pass over an iteration of APGD, of each loss, and of Mask-CE by batch size
    training    k attacks' passes and one of an update over an update of k-step AT
    options     bf16, compilation, CUDA graphs, the usual memory layout, no TF32: time and effect
    throughput  seconds of the three kinds of pass

Networks have random weights; labels are such that no attack breaks an image in a few iterations.
Speed is worth looking at on a GPU alone. Needs neither Snakemake nor pydantic.
"""

import argparse
import json
import re
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attacks as efficiency
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from robustseg.attacks import logit_sums
from robustseg.attacks.attacked_model import frozen, full_precision
from robustseg.attacks.losses import PAPER_LOSSES, SEA_LOSSES
from robustseg.attacks.outcomes import attack_and_count
from robustseg.attacks.run import run_attack
from robustseg.attacks.search_model import SearchModel
from robustseg.attacks.spec import AttackSpec
from robustseg.errors import RobustsegError
from robustseg.files import atomic_path
from robustseg.metrics import mean_accuracy
from robustseg.models import interpolation
from robustseg.models.build import SegmentationModel, build_segmentation_model
from robustseg.plan.memory import Peak, line, peak_of
from robustseg.plan.networks import BIGGER, PAPER, Network
from robustseg.plan.throughput import measure
from robustseg.progress import Progress
from robustseg.text_files import read_json
from robustseg.training import inner_attack
from robustseg.training.inner_attack import TrainingAttack, perturb
from robustseg.training.tasks import Segmentation

FOLDER = Path("results", "reference", "paper_sizes")
MEMORIES_GB = (24, 40, 80, 140)
ATTACK_BATCH = 4
BATCHES = (1, 8, 32)
"""Of Mask-CE, which the other losses do not differ from by more than their passes over logits."""
TRAINING_BATCH = 8
STEPS = (2, 5)
SEA_ITERATIONS = 300
"""Of each loss (Sec. 2.4)."""
OPTIONS = "compiled", "CUDA graphs", "bf16", "bf16, compiled", "usual layout", "no TF32"
"""Beside passes as they are: float32, though PyTorch lets a GPU's convolutions round to TF32."""
ROUNDS = 2

Record = dict[str, Any]


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


def names(images: Tensor) -> list[str]:
    """Return an id for each image."""
    return [str(place) for place in range(len(images))]


def memory(network: Network, device: str) -> Record:
    """Measure the peaks of an attack and of a training, and each loss's over a bare pass's."""
    few, more = 2, 3  # BatchNorm needs two
    bare_mb = pass_peak_mb(network, few, device, None)
    of_loss = {loss: pass_peak_mb(network, few, device, loss) for loss in PAPER_LOSSES}
    of_more = pass_peak_mb(network, more, device, "mask_ce")
    of_training = [(images, training_peak_mb(network, images, device)) for images in (few, more)]
    return {
        "attack": asdict(line((few, of_loss["mask_ce"]), (more, of_more))),
        "training": asdict(line(*of_training)),
        "attack_over_bare": {loss: found_mb / bare_mb for loss, found_mb in of_loss.items()},
    }


def pass_peak_mb(network: Network, images: int, device: str, loss: str | None) -> float:
    """Return the peak of an attack on a loss, or of a bare pass.

    Logits are gone through as on a GPU also on a CPU, whose sweeps need no memory.
    """
    model, batch = build(network, device), data(network, images, device)
    with (
        patch.object(logit_sums, "is_swept", lambda logits: False),
        peak_of(model, torch.device(device)) as found_mb,
    ):
        if loss is None:
            bare_pass(model, batch[0])
        else:
            attack(model, batch, loss)
    return found_mb()


def bare_pass(model: SegmentationModel, images: Tensor) -> None:
    """Go forward, and back to the images with a fixed gradient."""
    inputs = images.detach().requires_grad_()
    with frozen(model):
        logits = model(inputs)
        torch.autograd.grad(logits, inputs, torch.ones_like(logits))


def attack(model: SegmentationModel, batch: tuple[Tensor, Tensor], loss: str) -> None:
    """Run two iterations of APGD: from the second on, it keeps all that it ever does."""
    spec = AttackSpec(loss, "apgd", "constant", 2)
    run_attack(model, *batch, names(batch[0]), spec, eps_255=4, seed=0)


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
        with peak_of(model, torch.device(device)) as found_mb:
            for _ in range(2):  # from the second on, the optimizer keeps its means
                update(*batch)
    interpolation._matrix.cache_clear()  # which may hold matrices without values
    return found_mb()


def trainer(model: SegmentationModel, steps: int) -> Callable[[Tensor, Tensor], None]:
    """Return a function that does one update of adversarial training (Table 5's optimizer)."""
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


def attacks(network: Network, device: str) -> Record:
    """Measure efficiency and milliseconds of an iteration and image, by loss and by batch size."""
    model, found = build(network, device).eval(), {}
    cases = [(loss, ATTACK_BATCH, 6) for loss in PAPER_LOSSES]
    cases += [("mask_ce", size, 4) for size in BATCHES]
    for loss, size, iterations in cases:
        images, _ = data(network, size, device)
        one = efficiency.measure(model, images, loss, iterations, rounds=ROUNDS)
        found[f"{loss}, batch {size}"] = {
            "efficiency": statistics.median(one.ratios),
            "image_iteration_ms": statistics.median(one.attack_ms) / size,
        }
    return found


def training(network: Network, device: str) -> Record:
    """Measure images a second, and what passes alone would take over what an update takes."""
    passes, found = measure(network, device, TRAINING_BATCH), {}
    batch = data(network, TRAINING_BATCH, device)
    for steps in STEPS:
        update = partial(trainer(build(network, device), steps), *batch)
        update_s = seconds(update, device) / TRAINING_BATCH
        least_s = steps * passes.attack_s + passes.update_s
        found[f"{steps} steps"] = {"efficiency": least_s / update_s, "images_per_s": 1 / update_s}
    return found


def seconds(step: Callable[[], object], device: str) -> float:
    """Return the median time of a step, after one to warm up."""
    rounds = [efficiency.timed(step, torch.device(device)) for _ in range(ROUNDS + 1)]
    return statistics.median(rounds[1:])


def options(network: Network, device: str) -> Record:
    """Measure what faster passes gain, and what they do to the accuracy that is left."""
    model = build(network, device).eval()
    images, labels = data(network, TRAINING_BATCH, device)
    batch = images, labels, names(images)
    spec = AttackSpec("mask_ce", "apgd", "constant", 6)
    found: Record = {}
    for name in ("fp32", *OPTIONS):
        try:
            with option(model, name) as passes:
                search = partial(attack_and_count, passes, spec, 4, 0, batch)
                first_s = efficiency.timed(search, torch.device(device))
                attack_s, counts = seconds(search, device), search().counts
                acc_left = 100 * mean_accuracy(counts.pixels, counts.pixels_correct)
                found[name] = {"first_s": first_s, "attack_s": attack_s, "acc_left": acc_left}
        except Exception as error:  # one that fails must not cost the others
            found[name] = {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
    return found


@contextmanager
def option(model: SegmentationModel, name: str) -> Iterator[nn.Module]:
    """Give the model with other passes for the search."""
    if name == "no TF32":
        with full_precision(next(model.parameters()).device.type):
            yield model
        return
    if name == "usual layout":
        contiguous = Tensor.contiguous

        def usual(tensor: Tensor, memory_format: Any = torch.contiguous_format) -> Tensor:
            return contiguous(tensor) if memory_format == torch.contiguous_format else tensor

        model.to(memory_format=torch.contiguous_format)
        try:
            with patch.object(Tensor, "contiguous", usual):
                yield model
        finally:
            model.to(memory_format=torch.channels_last)
        return
    search = SearchModel(model, "bf16" if "bf16" in name else "fp32", "compiled" in name)
    if name == "CUDA graphs":
        search._passes = (torch.compile(model, mode="reduce-overhead"),)
    yield search


def throughput(network: Network, device: str) -> Record:
    """Measure what `plan` asks for."""
    return asdict(measure(network, device, TRAINING_BATCH))


PARTS: dict[str, Callable[[Network, str], Record]] = {
    "throughput": throughput,
    "attacks": attacks,
    "training": training,
    "memory": memory,
    "options": options,
}


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def of_memory(networks: Record) -> str:
    """Return the tables of memory: what fits a GPU, and attacks over bare passes."""
    fits = " / ".join(map(str, MEMORIES_GB))
    head = ["network"]
    head += [
        f"{what}, MB {kind}" for what in ("attack", "training") for kind in ("an image", "fixed")
    ]
    head += [f"largest {what} batch on {fits} GB" for what in ("attack", "training")]
    rows, over = [], []
    for name, parts in networks.items():
        peaks = [Peak(**parts["memory"][what]) for what in ("attack", "training")]
        cells = [f"{mb:.0f}" for peak in peaks for mb in (peak.image_mb, peak.fixed_mb)]
        largest = [" / ".join(str(peak.largest_batch(gb)) for gb in MEMORIES_GB) for peak in peaks]
        rows.append([name, *cells, *largest])
        over.append(
            [name, *(f"{parts['memory']['attack_over_bare'][one]:.2f}" for one in PAPER_LOSSES)]
        )
    return (
        f"{table(head, rows)}\n\nPeak of an attack over that of a bare pass, two images:\n\n"
        f"{table(['network', *PAPER_LOSSES], over)}"
    )


def of_figures(part: str, figures: dict[str, str]) -> Callable[[Record], str]:
    """Return what makes the table of a part whose cases have these figures, in this form."""

    def tables(networks: Record) -> str:
        rows = []
        for name, parts in networks.items():
            for case, found in parts[part].items():
                shown = [form.format(found[key]) for key, form in figures.items() if key in found]
                shown = shown or [found["failed"], *[""] * (len(figures) - 1)]
                rows.append([name, case, *shown])
        return table(["network", "case", *figures], rows)

    return tables


def of_attacks(networks: Record) -> str:
    """Return the table of attacks, and how long SEA takes for an image."""
    figures = {"efficiency": "{:.3f}", "image_iteration_ms": "{:.2f}"}
    passes = len(SEA_LOSSES) * SEA_ITERATIONS
    rows = []
    for name, parts in networks.items():
        found = parts["attacks"]
        of_losses = [found[f"{loss}, batch {ATTACK_BATCH}"] for loss in SEA_LOSSES]
        ms = statistics.mean(one["image_iteration_ms"] for one in of_losses)
        rows.append([name, f"{passes * ms / 1000:.1f}"])
    return (
        f"{of_figures('attacks', figures)(networks)}\n\nSEA for one image, if none breaks early: "
        f"{len(SEA_LOSSES)} losses, {SEA_ITERATIONS} iterations each, at the speed above.\n\n"
        f"{table(['network', 'seconds an image'], rows)}"
    )


TABLES: dict[str, tuple[str, Callable[[Record], str]]] = {
    "attacks": ("Attack iterations", of_attacks),
    "training": (
        f"Updates of adversarial training, batch of {TRAINING_BATCH}",
        of_figures("training", {"efficiency": "{:.3f}", "images_per_s": "{:.1f}"}),
    ),
    "memory": ("Memory", of_memory),
    "options": (
        f"Faster passes for the search, batch of {TRAINING_BATCH}",
        of_figures("options", {"attack_s": "{:.3f}", "first_s": "{:.1f}", "acc_left": "{:.2f}"}),
    ),
}


def page(record: Record) -> str:
    """Return the tables of all that is measured so far."""
    text = f"# The paper's sizes on {record['device']}\n\n"
    text += "`python scripts/bench/gpu.py`, networks with random weights, random images; "
    text += f"torch {record['torch']}.\n"
    for part, (title, make) in TABLES.items():
        have = {name: parts for name, parts in record["networks"].items() if part in parts}
        text += f"\n## {title}\n\n{make(have)}\n" if have else ""
    return text


def stem_of(device: str) -> str:
    """Return how the files about a device begin."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower())


def write(folder: Path, record: Record) -> None:
    """Write the record, its page, and the throughputs."""
    stem = stem_of(record["device"])
    rates = {
        name: one["throughput"] for name, one in record["networks"].items() if "throughput" in one
    }
    of_plan = {"device": record["device"], "batch_size": TRAINING_BATCH, "networks": rates}
    texts = {f"{stem}.json": json.dumps(record, indent=1) + "\n", f"{stem}.md": page(record)}
    if rates:
        texts[f"{stem}-throughput.json"] = json.dumps(of_plan, indent=1) + "\n"
    for name, text in texts.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def begun(folder: Path, device: str) -> Record:
    """Return the record of a device, empty if there is none.

    Raises:
        RobustsegError: it was made with another torch.
    """
    path = folder / f"{stem_of(device)}.json"
    if not path.exists():
        return {"device": device, "torch": torch.__version__, "networks": {}}
    record: Record = read_json(path)
    if record["torch"] != torch.__version__:
        raise RobustsegError(
            f"{path} was measured with torch {record['torch']}, and this is {torch.__version__}; "
            "move it away, or name another --out"
        )
    return record


def main() -> None:
    """Measure what is not measured yet, and write it down part by part."""
    parser = argparse.ArgumentParser(description="Memory and speed at the paper's sizes.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, help="all of them on a GPU, memory on a CPU"
    )
    parser.add_argument(
        "--networks",
        type=int,
        nargs="+",
        default=list(range(len(PAPER))),
        help="places in plan/networks.py; those behind the paper's are the bigger ones",
    )
    parser.add_argument("--out", type=Path, default=FOLDER, help=f"folder; {FOLDER} if not given")
    args = parser.parse_args()
    on_gpu, progress = args.device != "cpu", Progress("bench")
    record = begun(args.out, torch.cuda.get_device_name() if on_gpu else "cpu")
    chosen = [(*PAPER, *BIGGER)[place] for place in args.networks]
    work = [
        (network, part)
        for part in args.parts or (PARTS if on_gpu else ["memory"])
        for network in (chosen[:1] if part == "options" else chosen)
        if part not in record["networks"].get(str(network), {})
    ]
    for network, part in progress.track(work, len(work), "parts"):
        progress.say(f"{part} of {network}")
        of_network = record["networks"].setdefault(str(network), {})
        of_network[part] = PARTS[part](network, args.device)
        write(args.out, record)
    print(page(record))


if __name__ == "__main__":
    main()
