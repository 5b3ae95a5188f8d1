"""Memory and speed of attacks and adversarial training at the paper's sizes, on random images.

    python scripts/bench/gpu.py [--device cuda] [--parts attacks training] [--networks 0 5]

Each case of each part and network is measured by itself and written to FOLDER/DEVICE.json at once;
what is there is not measured again. So whoever has a GPU for ten minutes at a time repeats the
command until it has nothing left to do. What fails is written down as well, and tried again by the
next call, after all else. FOLDER/DEVICE.md has the tables, and FOLDER/DEVICE-throughput.json what
`plan` reads instead of measuring. Whatever their order on the command line, parts come in this one:

    throughput  seconds of the three kinds of pass
    attacks     a bare pass over an iteration of APGD, of each loss, and of Mask-CE by batch size;
                and over a pass that leaves logits as small as the network makes them
    training    k attacks' passes and one of an update over an update of k-step AT
    memory      peaks of a bare pass, an attack and a training, as lines through two batch sizes:
                on a GPU as torch's allocator counts them, on a CPU as tensors that are alive
    options     bf16, TF32, the choice of convolutions, the usual memory layout, CUDA graphs,
                compilation: time and effect, on the first network alone

Networks have random weights; labels are such that no attack breaks an image in a few iterations.
An iteration's time has its share of the random start and of the last forward pass in it.
Speed is worth looking at on a GPU alone. Needs neither Snakemake nor pydantic.
"""

import argparse
import copy
import gc
import json
import re
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attacks as efficiency
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from robustseg.attacks import coarse_logits, logit_sums, logits, pixel_losses
from robustseg.attacks.attacked_model import frozen, full_precision
from robustseg.attacks.losses import PAPER_LOSSES, SEA_LOSSES
from robustseg.attacks.outcomes import attack_and_count
from robustseg.attacks.run import run_attack
from robustseg.attacks.search_model import SearchModel
from robustseg.attacks.spec import AttackSpec
from robustseg.errors import RobustsegError, first_line
from robustseg.files import write_text
from robustseg.metrics import mean_accuracy
from robustseg.models import interpolation
from robustseg.models.build import SegmentationModel, build_segmentation_model
from robustseg.plan.memory import Peak, line, peak_of
from robustseg.plan.networks import BIGGER, PAPER, Network
from robustseg.plan.passes import measure_passes
from robustseg.progress import Progress
from robustseg.text_files import read_json
from robustseg.training import inner_attack
from robustseg.training.inner_attack import TrainingAttack, perturb
from robustseg.training.tasks import Segmentation

FOLDER = Path("results", "reference", "paper_sizes")
MEMORIES_GB = (24, 40, 80, 140)
ATTACK_BATCH = 4
ITERATIONS = 20
"""Of an attack: with few, its start and its last forward pass would count for much."""
BATCHES = {1: ITERATIONS, 8: 12, 32: 6}
"""Of Mask-CE, which the other losses do not differ from by more than their passes over logits; and
their iterations."""
COARSE = f"pass to coarse logits, batch {ATTACK_BATCH}"
"""What attacks could gain at most if losses on a GPU read such logits, as those on a CPU do."""
TRAINING_BATCH = 8
STEPS = (2, 5)
BARE = "bare pass"
SEA_ITERATIONS = 300
"""Of each loss (Sec. 2.4)."""
OPTIONS = (
    *("bf16", "TF32 everywhere", "no TF32", "chosen convolutions", "usual layout"),
    *("CUDA graphs", "compiled", "bf16, compiled"),
)
"""Beside passes as they are: float32, though PyTorch lets a GPU's convolutions round to TF32. What
takes minutes to compile, and needs a compiler, comes last."""
ROUNDS = 2

Record = dict[str, Any]
Cases = dict[str, Callable[[], Record]]
"""What measures each case of a part. A part builds its network once, when a case first needs it."""


@cache
def built(network: Network) -> SegmentationModel:
    """Return the network with random weights, which take seconds to draw; do not change it."""
    torch.manual_seed(0)
    return build_segmentation_model(network.architecture, network.decoder, network.num_classes)


def build(network: Network, device: str) -> SegmentationModel:
    """Return a copy of the network on the device."""
    return copy.deepcopy(built(network)).to(device)


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


def throughput(network: Network, device: str) -> Cases:
    """Measure what `plan` asks for."""

    def passes() -> Record:
        model = build(network, device)
        return measure_passes(model, network, device, TRAINING_BATCH)

    return {"passes": passes}


def attacks(network: Network, device: str) -> Cases:
    """Measure efficiency and milliseconds of an iteration and image, by loss and by batch size."""
    model = cache(lambda: build(network, device).eval())

    def case(loss: str, size: int, iterations: int) -> Record:
        images, _ = data(network, size, device)
        one = efficiency.measure(model(), images, loss, iterations, rounds=ROUNDS)
        return {
            "efficiency": statistics.median(one.ratios),
            "image_iteration_ms": statistics.median(one.attack_ms) / size,
        }

    def coarse() -> Record:
        images, _ = data(network, ATTACK_BATCH, device)
        few = partial(passes_ms, images=images, iterations=ITERATIONS)
        whole_ms, coarse_ms = few(model()), few(lambda inputs: model().coarse(inputs).maps)
        return {"efficiency": whole_ms / coarse_ms, "image_iteration_ms": coarse_ms / ATTACK_BATCH}

    def passes_ms(passes: Callable[[Tensor], Tensor], images: Tensor, iterations: int) -> float:
        def several() -> None:
            with frozen(model()):
                for _ in range(iterations):
                    bare_pass(passes, images)

        return 1000 * seconds(several, device) / iterations

    cases = [(loss, ATTACK_BATCH, ITERATIONS) for loss in PAPER_LOSSES]
    cases += [("mask_ce", size, iterations) for size, iterations in BATCHES.items()]
    by_loss = {f"{loss}, batch {size}": partial(case, loss, size, n) for loss, size, n in cases}
    return {**by_loss, COARSE: coarse}


def training(network: Network, device: str) -> Cases:
    """Measure images a second, and what passes alone would take over what an update takes."""
    model = cache(lambda: build(network, device))
    passes = cache(lambda: measure_passes(model(), network, device, TRAINING_BATCH))

    def case(steps: int) -> Record:
        least_s = steps * passes()["attack_s"] + passes()["update_s"]
        update = partial(trainer(model(), steps), *data(network, TRAINING_BATCH, device))
        update_s = seconds(update, device) / TRAINING_BATCH
        return {"efficiency": least_s / update_s, "images_per_s": 1 / update_s}

    return {f"{steps} steps": partial(case, steps) for steps in STEPS}


def memory(network: Network, device: str) -> Cases:
    """Measure the peaks of an attack and of a training by batch size, and of a pass by loss."""
    model = cache(lambda: build(network, device))
    few, more = (2, 3) if device == "cpu" else (2, 6)  # BatchNorm needs two; a CPU takes minutes

    def of_attack() -> Record:
        peaks = [
            (images, pass_peak_mb(model(), network, images, "mask_ce")) for images in (few, more)
        ]
        return asdict(line(*peaks))

    def of_training() -> Record:
        return asdict(line(*training_peaks_mb(model(), network, (few, more))))

    def of_pass(loss: str | None) -> Record:
        return {"peak_mb": pass_peak_mb(model(), network, few, loss)}

    by_loss = {loss: partial(of_pass, loss) for loss in PAPER_LOSSES}
    # Training comes last: on a CPU the weights lose their values.
    return {"attack": of_attack, BARE: partial(of_pass, None), **by_loss, "training": of_training}


def pass_peak_mb(
    model: SegmentationModel, network: Network, images: int, loss: str | None
) -> float:
    """Return the peak of an attack on a loss, or of a bare pass."""
    device = next(model.parameters()).device
    batch = data(network, images, str(device))
    interpolation._matrix.cache_clear()  # each peak has the matrices that it needs
    with as_on_a_gpu(), peak_of(model, device) as found_mb:
        if loss is None:
            with frozen(model):
                bare_pass(model, batch[0])
        else:
            attack(model, batch, loss)
    return found_mb()


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Go through logits as on a GPU also on a CPU, whose sweeps and chunks need less memory."""
    questions = [
        (coarse_logits, "may_be_swept"),
        (logit_sums, "is_swept"),
        (pixel_losses, "is_swept"),
        (pixel_losses, "is_on_cpu"),
        (logits, "has_values_at_hand"),
    ]
    with ExitStack() as contexts:
        for module, question in questions:
            contexts.enter_context(patch.object(module, question, lambda *logits: False))
        yield


def bare_pass(passes: Callable[[Tensor], Tensor], images: Tensor) -> None:
    """Go forward, and back to the images with a fixed gradient; the model is frozen."""
    inputs = images.detach().requires_grad_()
    logits = passes(inputs)
    torch.autograd.grad(logits, inputs, torch.ones_like(logits))


def attack(model: SegmentationModel, batch: tuple[Tensor, Tensor], loss: str) -> None:
    """Run two iterations of APGD: from the second on, it keeps all that it ever does."""
    spec = AttackSpec(loss, "apgd", "constant", 2)
    run_attack(model, *batch, names(batch[0]), spec, eps_255=4, seed=0)


def training_peaks_mb(
    model: SegmentationModel, network: Network, sizes: tuple[int, int]
) -> list[tuple[int, float]]:
    """Return batch sizes and peaks of an update; on a CPU of tensors with sizes, but no values."""
    device, peaks = next(model.parameters()).device, []
    with without_values(model) if device.type == "cpu" else nullcontext():
        for images in sizes:
            interpolation._matrix.cache_clear()
            batch = data(network, images, str(device))
            update = trainer(model, steps=1)
            with peak_of(model, device) as found_mb:
                for _ in range(2):  # from the second on, the optimizer keeps its means
                    update(*batch)
            peaks.append((images, found_mb()))
            model.zero_grad()
    return peaks


@contextmanager
def without_values(model: SegmentationModel) -> Iterator[None]:
    """Leave nothing of a model and of tensors that are made but their sizes."""
    sizes_alone = FakeTensorMode(allow_non_fake_inputs=True)
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        model._apply(sizes_alone.from_tensor)  # type: ignore[no-untyped-call]
        # Without values there are none that are not finite.
        with (
            sizes_alone,
            patch.object(inner_attack, "_refuse", lambda broken: None),
            patch.object(coarse_logits, "may_be_swept", lambda *logits: False),
        ):
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
        interpolation._matrix.cache_clear()  # whose matrices have no values either


def trainer(model: SegmentationModel, steps: int) -> Callable[[Tensor, Tensor], None]:
    """Return a function that does one update of adversarial training (Table 5's optimizer)."""
    task = Segmentation(model, auxiliary_weight=0.4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2, fused=True)
    pgd = TrainingAttack("ce", 4 / 255, steps, 0.01)

    def update(images: Tensor, labels: Tensor) -> None:
        perturbed = perturb(model, images, labels, pgd)
        model.train()
        optimizer.zero_grad()
        task.training_loss(perturbed, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return update


def seconds(step: Callable[[], object], device: str) -> float:
    """Return the median time of a step, after one to warm up."""
    rounds = [efficiency.timed(step, torch.device(device)) for _ in range(ROUNDS + 1)]
    return statistics.median(rounds[1:])


def options(network: Network, device: str) -> Cases:
    """Measure what faster passes gain, and what they do to the accuracy that is left."""
    model = cache(lambda: build(network, device).eval())
    spec = AttackSpec("mask_ce", "apgd", "constant", ITERATIONS)

    @cache
    def batch() -> tuple[Tensor, Tensor, list[str]]:
        images, _ = data(network, TRAINING_BATCH, device)
        with frozen(model()), torch.no_grad():
            labels = efficiency.half_right(model()(images))
        return images, labels, names(images)

    def case(name: str) -> Record:
        with option(model(), name, batch()[0]) as passes:
            search = partial(attack_and_count, passes, spec, 4, 0, batch())
            first_s = efficiency.timed(search, torch.device(device))
            attack_s, counts = seconds(search, device), search().counts
        acc_left = 100 * mean_accuracy(counts.pixels, counts.pixels_correct)
        return {"first_s": first_s, "attack_s": attack_s, "acc_left": acc_left}

    return {name: partial(case, name) for name in ("fp32", *OPTIONS)}


@contextmanager
def option(model: SegmentationModel, name: str, images: Tensor) -> Iterator[nn.Module]:
    """Give the model with other passes for the search, of batches as large as this one."""
    with ExitStack() as until_the_end:
        passes: nn.Module = model
        if name == "TF32 everywhere":
            until_the_end.callback(
                torch.set_float32_matmul_precision, torch.get_float32_matmul_precision()
            )
            torch.set_float32_matmul_precision("high")
        elif name == "no TF32":
            device = next(model.parameters()).device
            until_the_end.enter_context(full_precision(device.type))
        elif name == "chosen convolutions":
            until_the_end.callback(setattr, torch.backends.cudnn, "benchmark", False)
            torch.backends.cudnn.benchmark = True
        elif name == "usual layout":
            until_the_end.enter_context(usual_layout(model))
        else:
            precision, compiled = "bf16" if "bf16" in name else "fp32", "compiled" in name
            passes = search = SearchModel(model, precision, compiled)
            if name == "CUDA graphs":  # here no image leaves, so that the size of a batch is fixed
                search._passes, search.compiled = (graphs_of(model, images),), True
            if compiled:  # what is compiled must not be there for the next
                until_the_end.callback(torch.compiler.reset)
        yield passes


def graphs_of(model: nn.Module, images: Tensor) -> Callable[[Tensor], Tensor]:
    """Record the kernels of a forward and a backward pass, to be asked for at once from then on."""
    there = torch.cuda.device_of(images)  # type: ignore[no-untyped-call]  # its stream is recorded
    with there, frozen(model):
        inputs = images.detach().clone().requires_grad_()
        record: Any = torch.cuda.make_graphed_callables
        graphed: Callable[[Tensor], Tensor] = record(lambda batch: model(batch), (inputs,))
        return graphed


@contextmanager
def usual_layout(model: nn.Module) -> Iterator[None]:
    """Keep weights and images as torch does unless it is told otherwise, channels first."""
    contiguous = Tensor.contiguous

    def usual(tensor: Tensor, memory_format: Any = torch.contiguous_format) -> Tensor:
        return contiguous(tensor) if memory_format == torch.contiguous_format else tensor

    model.to(memory_format=torch.contiguous_format)
    try:
        with patch.object(Tensor, "contiguous", usual):
            yield
    finally:
        model.to(memory_format=torch.channels_last)


PARTS: dict[str, Callable[[Network, str], Cases]] = {
    "throughput": throughput,
    "attacks": attacks,
    "training": training,
    "memory": memory,
    "options": options,
}
"""What is worth most comes first; what compiles, and might leave something behind, last."""


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def of_memory(networks: Record) -> str:
    """Return the tables of memory: what fits a GPU, and attacks over bare passes."""
    fits = " / ".join(map(str, MEMORIES_GB))
    head = ["network", "of", "MB an image", "MB fixed", f"largest batch on {fits} GB"]
    rows, over = [], []
    for name, parts in networks.items():
        found = parts["memory"]
        for what in ("attack", "training"):
            if "failed" in found.get(what, {}):
                rows.append([name, what, found[what]["failed"], "", ""])
            elif what in found:
                peak = Peak(**found[what])
                largest = " / ".join(str(peak.largest_batch(gb)) for gb in MEMORIES_GB)
                rows.append([name, what, f"{peak.image_mb:.0f}", f"{peak.fixed_mb:.0f}", largest])
        peaks = {case: one["peak_mb"] for case, one in found.items() if "peak_mb" in one}
        if BARE in peaks:
            ratios = [
                f"{peaks[one] / peaks[BARE]:.2f}" if one in peaks else "" for one in PAPER_LOSSES
            ]
            over.append([name, *ratios])
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
        of_losses = [found.get(f"{loss}, batch {ATTACK_BATCH}", {}) for loss in SEA_LOSSES]
        if all("image_iteration_ms" in one for one in of_losses):
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
    passes = {
        name: one.get("throughput", {}).get("passes", {"failed": "not measured"})
        for name, one in record["networks"].items()
    }
    rates = {name: one for name, one in passes.items() if "failed" not in one}
    of_plan = {"device": record["device"], "batch_size": TRAINING_BATCH, "networks": rates}
    texts = {f"{stem}.json": json.dumps(record, indent=1) + "\n", f"{stem}.md": page(record)}
    if rates:
        texts[f"{stem}-throughput.json"] = json.dumps(of_plan, indent=1) + "\n"
    for name, text in texts.items():
        write_text(folder / name, text)


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


def measure_part(
    part: str,
    network: Network,
    device: str,
    record: Record,
    folder: Path,
    progress: Progress,
    again: bool,
    failed: dict[str, str],
) -> None:
    """Measure and write down each case that the record lacks; or `again` those that failed.

    What fails, and why, is added to `failed`; what is in there is not tried.
    """
    found = record["networks"].setdefault(str(network), {}).setdefault(part, {})
    for name, case in PARTS[part](network, device).items():
        place = f"{part} of {network}, {name}"
        if place in failed or (name in found and not (again and "failed" in found[name])):
            continue
        progress.say(f"{part} of {network}: {name}")
        try:
            found[name] = case()
        except Exception as error:  # one that fails must not cost the others
            reason = f"{type(error).__name__}: {first_line(error)}"[:200]
            found[name] = {"failed": reason}
            failed[place] = reason
        write(folder, record)
        gc.collect()  # also of what an error held
        torch.cuda.empty_cache()


def main() -> None:
    """Measure what is not measured yet, and write it down case by case.

    Raises:
        SystemExit: with a sentence, if a case failed.
    """
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
    record = begun(args.out, torch.cuda.get_device_name(args.device) if on_gpu else "cpu")
    networks = [(*PAPER, *BIGGER)[place] for place in args.networks]
    asked = args.parts or (PARTS if on_gpu else ["memory"])
    work = [
        (part, network)
        for part in PARTS
        if part in asked
        for network in (networks[:1] if part == "options" else networks)
    ]
    # What failed comes last: it may take the process with it, again and again.
    rounds = [(*one, again) for again in (False, True) for one in work]
    failed: dict[str, str] = {}
    for part, network, again in progress.track(rounds, len(rounds), "parts"):
        measure_part(part, network, args.device, record, args.out, progress, again, failed)
    print(page(record))
    if failed:
        reasons = "; ".join(f"{place} ({reason})" for place, reason in failed.items())
        sys.exit(f"failed, and tried again by the next call: {reasons}")


if __name__ == "__main__":
    main()
