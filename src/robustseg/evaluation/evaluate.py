"""Evaluate anybody's model on anybody's data: from a loader to evidence and a table."""

from __future__ import annotations

import json
import math
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from robustseg.attacks.inputs import check_counts, is_whole
from robustseg.attacks.outcomes import Batch, Outcome
from robustseg.attacks.spec import UNBOUNDED_255, ask_for_class_pixels, check_radius
from robustseg.attacks.warning_signs import WEIGHED_BY_EVALUATION, WarningSigns, warn
from robustseg.bounds import (
    LARGEST_SEED,
    MOST_AT_ONCE,
    MOST_LETTERS,
    MOST_PASSES,
    SMALLEST_RADIUS_255,
)
from robustseg.errors import RobustsegError, shown
from robustseg.evaluation.anybodys_data import (
    ALL_IGNORED,
    counted_pixels,
    source_of,
    unless_ignored,
    without_repetition,
)
from robustseg.evaluation.first_pictures import First, attack_to_show, keep_pictures
from robustseg.evaluation.over_batches import EvidenceRow, Planned, clean_row, rows_of_batches
from robustseg.evaluation.resume import FinishedParts, digest_of_weights
from robustseg.evaluation.standard_suites import Suite, losses_of, named_suites
from robustseg.evaluation.suites import planned_attacks
from robustseg.evidence.enumerator import CLEAN_SUITE, EvidenceJob, Read, by_radius, radius_of
from robustseg.evidence.findings import SUITE
from robustseg.evidence.schema import device_name, hash_settings, provenance, said
from robustseg.files import atomic_path
from robustseg.models.wrap import WrappedModel, with_num_classes, wrap
from robustseg.names import amount
from robustseg.progress import Progress
from robustseg.text_files import read_keys

if TYPE_CHECKING:
    from robustseg.evidence.queries import Evidence, Score
    from robustseg.numbers_shown import Numbers

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
FLOAT32_NOISE = 2.0**-23
"""By which share of it float32 may change a number."""
RECORD = "run-shard{shard}-of-{shards}.json"
"""What a part of a run has done, in the run's folder."""
PICTURES = "gallery/{name}.npz"
"""Attacked images of a model, in the run's folder."""
RECORDED: dict[str, Any] = {
    **dict.fromkeys(("name", "dataset", "model", "weights", "device"), str),
    **dict.fromkeys(("seed", "shard", "shards", "batch_size", "num_classes"), int),
    **dict.fromkeys(("class_names", "class_pixels"), list | None),
    **dict.fromkeys(("images", "ignore_index"), int | None),
    **{"runtime_s": int | float, "suites": dict, "sources": dict},
    **dict.fromkeys(("eps_255", "warnings"), list),
}
"""What it must say, and in which types."""


@dataclass
class Evaluation:
    """What was found of one model; printing it shows the table. Scores are fractions in [0, 1].

    Attributes:
        folder: of the run; None if none was kept.
        name: of the model.
        numbers: of the table that is printed, each with its interval and the runs behind it.
        clean: ACC and mIoU without an attack.
        robust: ACC and mIoU in the worst case over all attacks and the clean image, by radius; none
            if no attack had a radius.
        warnings: what makes them doubtful, in a sentence each.
        runtime_s: of all parts together.
    """

    folder: Path | None
    name: str
    numbers: Numbers
    clean: Score
    robust: dict[float, Score]
    warnings: list[str] = field(default_factory=list)
    runtime_s: float = 0.0

    def __str__(self) -> str:
        from robustseg.tables.layout import to_markdown
        from robustseg.tables.robustness import TABLE

        _, table = to_markdown(TABLE.layout(self.numbers)).split("\n\n", 1)
        count = next(iter(self.numbers.images.values()))
        lines = [table, f"{amount(count, 'image')}, {self.runtime_s:.0f} s."]
        lines += [f"Warning: {sentence}." for sentence in self.warnings]
        if self.folder:
            lines.append(
                f"Evidence is in {self.folder}; `robustseg report {self.folder}` shows it."
            )
        return "\n".join(lines)


def evaluate(
    model: Any,
    data: Any,
    eps_255: float | Sequence[float],
    *,
    num_classes: int | None = None,
    ignore_index: int | None = 255,
    folder: str | Path | None = None,
    suites: Sequence[str] | Mapping[str, Suite] = ("sea",),
    iterations: int | None = None,
    batch_size: int = 8,
    images: int | None = None,
    pictures: int = 4,
    seed: int = 0,
    shard: tuple[int, int] = (0, 1),
    sources: Mapping[str, Any] | None = None,
    class_pixels: Sequence[int] | None = None,
    name: str = "model",
    dataset: str = "data",
    class_names: Sequence[str] | None = None,
    progress: bool = True,
) -> Evaluation:
    """Attack a segmentation model on a whole data set, one batch in memory at a time.

    With a `folder`, the same call goes on where an interrupted one stopped, to the same evidence;
    what was kept for a model that computes something else is not used. A folder is of one run: a
    call that would leave out its name, seed, a radius or a suite is refused, one that adds some
    is not.

    Example:
        >>> import torch
        >>> from robustseg import evaluate
        >>> model = torch.nn.Conv2d(3, 2, kernel_size=1)
        >>> pairs = [(torch.rand(3, 8, 8), torch.randint(2, (8, 8))) for _ in range(4)]
        >>> result = evaluate(model, pairs, eps_255=[4, 8], iterations=3, progress=False)
        >>> result.robust[8.0].acc <= result.clean.acc
        True

    Args:
        model: as for `sea`; a module is put in eval mode meanwhile.
        data: a loader, a data set or list of pairs (image, label), or two arrays; images and labels
            as for `sea`, and of different sizes if not in one batch. See `anybodys_data`.
        eps_255: one radius or several, in 1/255.
        num_classes: K of the data; outputs from K on are no class of it. None: all outputs.
        ignore_index: label of pixels that are neither attacked nor counted; None: there are none.
        folder: where evidence is kept; made if need be.
        suites: names of `standard_suites.STANDARD_SUITES`, or "transfer" with `sources`; or suites
            of your own by name, in the words of a configuration (docs/config.md, Suite).
        iterations: of every attack, instead of the suites' own (300 for SEA).
        batch_size: images at a time, where the data does not say.
        images: only the first so many; None: all.
        pictures: so many of the first images are kept in `folder` as attacked at each radius, for
            the page of `robustseg report`; by one attack, on Mask-CE where a suite has it.
        seed: of the random starts.
        shard: (i, n): attack the i-th of n parts of the images, counted from 0, so that several
            machines share the work; the result is of the parts that are there.
        sources: models by name, that perturbations are carried over from.
        class_pixels: pixels of each class in the training set, for losses that weigh by class;
            None: those of the evaluation labels, with a warning.
        name, dataset: what model and data are called in evidence and tables.
        class_names: K names, for tables; None: those of the data, or numbers.
        progress: whether to say how far it is, and how long it will take.

    Raises:
        RobustsegError: input that does not fit, or logits or gradients that are not finite, naming
            the image.
    """
    started = time.monotonic()
    radii = radii_of(eps_255)
    _check_names(name=name, dataset=dataset)
    check_counts(batch_size=batch_size, at_most=MOST_AT_ONCE)
    if images is not None:
        check_counts(images=images)
    if iterations is not None:
        check_counts(iterations=iterations, at_most=MOST_PASSES)
    if not is_whole(pictures) or pictures < 0:
        raise RobustsegError(f"pictures must be a whole number of at least 0; got {pictures!r}")
    _check_seed(seed)
    _check_shard(shard)
    # Numbers of NumPy could not be written when all is done.
    seed, batch_size, pictures = int(seed), int(batch_size), int(pictures)
    images = None if images is None else int(images)
    shard = (int(shard[0]), int(shard[1]))
    class_names = None if class_names is None else list(map(str, class_names))
    if class_names and len(set(class_names)) < len(class_names):
        raise RobustsegError(f"class_names must differ; got {', '.join(class_names)}")
    wrapped = with_num_classes(wrap(model), num_classes)
    if not isinstance(sources, Mapping | None):
        raise RobustsegError("sources must be a dict: models by name")
    others = {key: wrap(one) for key, one in (sources or {}).items()}
    budget = None if iterations is None else int(iterations)
    chosen = named_suites(_names_or_suites(suites), budget, list(others))
    opened = partial(
        source_of,
        data,
        batch_size=batch_size,
        ignore_index=ignore_index,
        shard=shard,
        images=images,
    )
    source = opened()
    batches = source.batches
    if not isinstance(data, Iterator):  # of which the end will tell
        batches = unless_ignored(batches, lambda: opened().batches)
    signs = WarningSigns(wrapped, radii, ignore_index, losses_of(chosen))
    signs.said += source.warnings
    if class_pixels is None and ask_for_class_pixels(
        member for suite in chosen.values() for member in suite.get("losses", ())
    ):
        class_pixels = counted_pixels(data, ignore_index=ignore_index, images=images)
        signs.said.append(WEIGHED_BY_EVALUATION)
    identity: dict[str, str | int] = {"dataset": dataset, "model": name, "training_seed": 0}
    attacks = [
        (clean_row(identity), signs.look),
        *_attacks_of(chosen, wrapped, radii, seed, identity, others, class_pixels),
    ]
    with tempfile.TemporaryDirectory() as temporary, torch.inference_mode(False):
        root = Path(folder or temporary)
        if root.exists() and not root.is_dir():
            raise RobustsegError(f"{root} is a file; name a folder for the evidence")
        _refuse_to_hide(root, name=[name], eps_255=radii, suites=list(chosen), seed=[seed])
        known = list(signs.said)
        warn(known)
        told = Progress(f"evaluate {name}") if progress else None
        kept = FinishedParts(root / "parts", [wrapped, *others.values()], class_pixels, told)
        first = First(batches, pictures if folder and shard[0] == 0 else 0)
        rows = _run(attacks, wrapped, first, source.total, kept, signs, told)
        names = _class_names(class_names or source.class_names, rows)
        if class_names and names is None:
            signs.said.append(
                f"there are {len(class_names)} class_names and {len(rows[0]['union'])} classes, "
                "so tables number the classes"
            )
        record: dict[str, Any] = {
            "name": name,
            "dataset": dataset,
            "model": _described(wrapped),
            "weights": digest_of_weights([wrapped]),
            "sources": {key: digest_of_weights([one]) for key, one in others.items()},
            "class_names": names,
            "num_classes": len(rows[0]["union"]),
            "ignore_index": ignore_index,
            "eps_255": radii,
            "suites": chosen,
            "images": images,
            "class_pixels": None if class_pixels is None else [int(n) for n in class_pixels],
            "batch_size": batch_size,
            "seed": seed,
            "device": device_name(str(signs.device)),
            "shard": shard[0],
            "shards": shard[1],
            "warnings": signs.found(),
            "runtime_s": round(time.monotonic() - started, 1),
        }
        if shard[0] == 0:
            path, attack = root / PICTURES.format(name=name), attack_to_show(chosen)
            called = names or list(map(str, range(len(rows[0]["union"]))))
            keep_pictures(path, wrapped, first.batches, called, attack, radii, seed, kept, told)
        _write(root, rows, record)
        result = read_evaluation(root, only_shard=shard)
        result.folder = Path(folder) if folder else None
    warn([sentence for sentence in result.warnings if sentence not in known], result)
    return result


def read_evaluation(folder: Path, only_shard: tuple[int, int] | None = None) -> Evaluation:
    """Return what the evidence in a run's folder says.

    Args:
        folder: of `evaluate`.
        only_shard: (i, n) if other parts may be missing; None: all must be there.

    Raises:
        RobustsegError: no run, parts that are missing or of different settings, damaged evidence.
    """
    from robustseg.evidence.queries import Score

    run = read_run(folder, only_shard)
    name = run.records[0]["name"]

    def score(attack: str, eps_255: float) -> Score:
        found = [run.numbers.get(name, attack, eps_255, metric) for metric in ("acc", "miou")]
        return Score(*(one.value / 100 if one else float("nan") for one in found))

    return Evaluation(
        folder=folder,
        name=name,
        numbers=run.numbers,
        clean=score(CLEAN_SUITE, 0.0),
        robust={eps_255: score("worst", eps_255) for eps_255 in run.radii_255},
        warnings=run.warnings,
        runtime_s=sum(record["runtime_s"] for record in run.records),
    )


class RunRead(NamedTuple):
    """What a run's folder holds.

    Attributes:
        records: of its parts, see `read_records`.
        evidence: of all its suites.
        numbers: of the table of robustness, made from the evidence.
        radii_255: of its attacks, in 1/255, ascending; those without a radius left out.
        warnings: of all parts, each once.
    """

    records: list[dict[str, Any]]
    evidence: Evidence
    numbers: Numbers
    radii_255: list[float]
    warnings: list[str]


def read_run(folder: Path, only_shard: tuple[int, int] | None = None) -> RunRead:
    """Read a run's records and evidence; arguments and errors as of `read_evaluation`."""
    from robustseg.evidence.numbers import Sources
    from robustseg.evidence.queries import Evidence
    from robustseg.numbers_shown import collect
    from robustseg.tables.robustness import TABLE

    records = read_records(folder, only_shard)
    files, models = evidence_files(folder, records), own_models(records)
    evidence = Evidence.open(TABLE.id, files, reads_of(records), models)
    numbers = collect(TABLE, Sources(evidence, models))
    return RunRead(
        records,
        evidence,
        numbers,
        sorted(one.eps_255 for one in numbers.find("worst") if one.metric == "acc"),
        list(dict.fromkeys(one for record in records for one in record["warnings"])),
    )


def read_records(folder: Path, only_shard: tuple[int, int] | None = None) -> list[dict[str, Any]]:
    """Return what the parts of a run say of it, all or just one.

    Raises:
        RobustsegError: there is none, some are missing, or they are of different settings.
    """
    found = sorted(folder.glob("run-shard*-of-*.json"), key=lambda path: path.stat().st_mtime)
    if not found and (folder / "parts").is_dir():
        raise RobustsegError(
            f"the run in {folder} is not finished; repeat its command, which goes on where it was "
            "stopped, then make the report"
        )
    if not found:
        raise RobustsegError(
            f"{folder} holds no run; `robustseg attack ... --out {folder}` makes one"
        )
    newest = _read_record(found[-1])
    shards = newest["shards"] if only_shard is None else only_shard[1]
    wanted = range(shards) if only_shard is None else [only_shard[0]]
    paths = [folder / RECORD.format(shard=one, shards=shards) for one in wanted]
    lacking = [one for one, path in zip(wanted, paths, strict=True) if not path.exists()]
    if lacking:
        raise RobustsegError(
            f"{folder} lacks {len(lacking)} of {shards} parts: start with shard "
            f"{lacking[0]}/{shards}; run the same command with it, then make the report again"
        )
    records = [_read_record(path) for path in paths]
    own = ("shard", "warnings", "runtime_s", "device")
    for record in records[1:]:
        for key, value in records[0].items():
            if key not in own and record.get(key) != value:
                raise RobustsegError(
                    f"{folder}: shard {record['shard']} was run with another {key} than shard "
                    f"{records[0]['shard']}; run both with the same settings"
                )
    return records


def _read_record(path: Path) -> dict[str, Any]:
    advice = "run the same command again, which goes on from what is kept"
    record = read_keys(path, RECORDED, advice)
    for key, value in record.items():
        if value is not None and not _is_possible(key, value, record):
            raise RobustsegError(f"{path}: {key} is {shown(value)}; {advice}")
    return record


def _refuse_to_hide(folder: Path, **asked: Sequence[Any]) -> None:
    """Refuse a run after which a folder held evidence that no record names, and no report shows.

    Args:
        folder: of runs before this one.
        asked: what files of evidence are named by, in this run.
    """
    for path in folder.glob(RECORD.format(shard="*", shards="*")):
        try:
            record = _read_record(path)
        except RobustsegError:  # damaged: it is written anew
            continue
        for key, values in asked.items():
            there = record[key] if isinstance(record[key], list | dict) else [record[key]]
            hidden = [str(one) for one in there if one not in values]
            if hidden:
                both = ", or ask for both at once" * (key in ("eps_255", "suites"))
                raise RobustsegError(
                    f"{folder} holds a run with {key} {', '.join(hidden)}, which this one would "
                    f"hide; evaluate into a new folder{both}"
                )


def _is_possible(key: str, value: Any, record: Mapping[str, Any]) -> bool:
    """Return whether a value of a record, of the right type, may have been written."""
    match key:
        case "runtime_s":
            return bool(0 <= value < math.inf)
        case "class_pixels":
            return bool(value) and all(is_whole(n) and n >= 0 for n in value)
        case "warnings" | "class_names":
            return all(isinstance(one, str) for one in value)
    checks: dict[str, Callable[[Any], object]] = {
        **dict.fromkeys(("name", "dataset"), lambda name: _check_names(name=name)),
        **dict.fromkeys(
            ("shard", "shards"), lambda _: _check_shard((record["shard"], record["shards"]))
        ),
        **dict.fromkeys(("images", "batch_size", "num_classes"), lambda n: check_counts(n=n)),
        "seed": _check_seed,
        "eps_255": _check_radii,
        "suites": lambda suites: named_suites(suites, None, []),
    }
    try:
        checks.get(key, str)(value)
    except RobustsegError:
        return False
    return True


def reads_of(
    records: Sequence[Mapping[str, Any]], suites: Sequence[str] | None = None
) -> list[Read]:
    """Return what tables read of a run's suites (None: of all), each at its own radius."""
    first = records[0]
    read = {
        "model": first["name"],
        "suites": list(first["suites"] if suites is None else suites),
        "eps_255": first["eps_255"],
        "seeds": [first["seed"]],
    }
    return by_radius([read], first["suites"])


def evidence_files(
    folder: Path, records: Sequence[Mapping[str, Any]], suites: Sequence[str] | None = None
) -> list[Path]:
    """Return the files of evidence of a run's suites; None: of all.

    Raises:
        RobustsegError: one of them is missing.
    """
    from robustseg.evidence.enumerator import jobs_read

    jobs = dict.fromkeys(job for read in reads_of(records, suites) for job in jobs_read(read, 0))
    files = [folder / job._replace(shard=one["shard"]).path for job in jobs for one in records]
    missing = [path for path in files if not path.exists()]
    if missing:
        raise RobustsegError(
            f"{len(missing)} of {len(files)} files of evidence are missing, first {missing[0]}; "
            "run the same command again, which goes on from what is kept"
        )
    return files


def doubt_file(record: Mapping[str, Any], eps_255: float) -> str:
    """Return where the evidence of a second opinion lies in a run's folder."""
    return EvidenceJob(SUITE, record["name"], 0, eps_255, record["seed"], 0).path


def own_models(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the settings of a run's model, as tables want them."""
    first = records[0]
    return {
        first["name"]: {
            "kind": "own",
            "scheme": "own",
            "decoder": "",
            "backbone": first["model"],
            "dataset": first["dataset"],
            "epochs": None,
        }
    }


def _attacks_of(
    suites: Mapping[str, Suite],
    model: WrappedModel,
    radii: Sequence[float],
    seed: int,
    identity: Mapping[str, str | int],
    sources: Mapping[str, WrappedModel],
    class_pixels: Sequence[int] | None,
) -> list[Planned]:
    """Return the attacks of all suites, each at the radii asked for or at its own."""
    planned: list[Planned] = []
    for name, suite in suites.items():
        own = radius_of(suite)
        for radius in radii if own is None else [own]:
            planned += planned_attacks(
                suite,
                model,
                eps_255=radius,
                seed=seed,
                identity={**identity, "suite": name},
                sources=sources,
                class_pixels=class_pixels,
            )
    return planned


def _run(
    attacks: Sequence[Planned],
    model: WrappedModel,
    batches: Iterable[Batch],
    total: int | None,
    kept: FinishedParts,
    signs: WarningSigns,
    progress: Progress | None,
) -> list[EvidenceRow]:
    """Run all attacks on all batches; the clean look, which comes first, is never kept."""

    def watch(outcome: Outcome) -> None:
        signs.gradients(outcome.unexplained_zeros)

    once = without_repetition(batches)
    rows = rows_of_batches(attacks, model, once, total, kept, progress, watch)
    if not rows:
        raise RobustsegError("there are no images in the data, or none in this shard")
    if not any(row["pixels"] for row in rows):
        raise RobustsegError(ALL_IGNORED)
    for name, acc, clean_acc in _means(rows):
        signs.attacked(name, acc, clean_acc)
    return rows


def _means(rows: Sequence[EvidenceRow]) -> Iterator[tuple[str, float, float]]:
    """Yield of each attack with a radius its name, and the accuracy with and without it."""
    shares: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["pixels"] and row["eps_255"] < UNBOUNDED_255:
            name = f"{row['attack']} at {row['eps_255']:g}/255" if row["eps_255"] else CLEAN_SUITE
            shares.setdefault(name, {})[row["image_id"]] = row["pixels_correct"] / row["pixels"]
    clean = shares.pop(CLEAN_SUITE)
    for name, of_image in shares.items():
        yield name, fmean(of_image.values()), fmean(clean[one] for one in of_image)


def _write(root: Path, rows: Sequence[EvidenceRow], record: Mapping[str, Any]) -> None:
    """Write the rows, a file for each suite and radius, then what was run."""
    from robustseg.evidence.writing import write_evidence

    about = {key: value for key, value in record.items() if key not in ("warnings", "runtime_s")}
    made_by = provenance(hash_settings(about), record["device"], "float32") | said(
        record["warnings"]
    )
    by_job: dict[EvidenceJob, list[EvidenceRow]] = {}
    for row in rows:
        job = EvidenceJob(
            row["suite"], row["model"], 0, row["eps_255"], row["seed"], record["shard"]
        )
        by_job.setdefault(job, []).append(row)
    for job, some in by_job.items():
        before = _rows_in(root / job.path)
        write_evidence(root / job.path, some, made_by, record["class_names"])
        if before is not None and before != _rows_in(root / job.path):  # it was of another figure
            (root / doubt_file(record, job.eps_255)).unlink(missing_ok=True)
    path = root / RECORD.format(shard=record["shard"], shards=record["shards"])
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _rows_in(path: Path) -> Any:
    """Return the rows of an evidence file, without what made them; None if there is none."""
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path).replace_schema_metadata(None)
    except (OSError, ValueError):  # damaged: it is written anew
        return None


def radii_of(eps_255: float | Sequence[float]) -> list[float]:
    """Return radii in 1/255, ascending, each once.

    Raises:
        RobustsegError: none, 0, more than six digits, or what is no radius.
    """
    plain: Any = eps_255.tolist() if hasattr(eps_255, "tolist") else eps_255  # of NumPy, torch
    values = list(plain) if isinstance(plain, Iterable) and not isinstance(plain, str) else [plain]
    _check_radii(values)
    return sorted({_in_six_digits(float(value)) for value in values})


def _check_radii(values: list[Any]) -> None:
    if not values:
        raise RobustsegError("eps_255 is empty; name at least one radius, in 1/255")
    for value in values:
        check_radius(value)
        if value == 0:
            raise RobustsegError("eps_255 is 0: the clean score is always taken; name a radius")
        if value < SMALLEST_RADIUS_255:
            raise RobustsegError(f"eps_255 must be at least {SMALLEST_RADIUS_255}; got {value!r}")


def _in_six_digits(value: float) -> float:
    """Return a radius as names of files have it; what float32 adds to it is no digit.

    Raises:
        RobustsegError: it has more digits.
    """
    named = float(f"{value:g}")
    if math.isclose(value, named, rel_tol=FLOAT32_NOISE):
        return named
    over = round(value * 255)
    is_share = value <= 1 and math.isclose(value * 255, over)
    meant = f", or {over} if {over}/255 was meant" if is_share else ""
    raise RobustsegError(
        f"eps_255 is {value!r}, of which names have six digits; write {named:g}{meant}: radii are "
        "in 1/255"
    )


def _check_seed(seed: Any) -> None:
    if not is_whole(seed) or not 0 <= seed <= LARGEST_SEED:
        raise RobustsegError(f"seed must be a whole number from 0 to {LARGEST_SEED}; got {seed!r}")


def _check_names(**names: str) -> None:
    for what, name in names.items():
        if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > MOST_LETTERS:
            raise RobustsegError(
                f"{what} is {shown(name)}; use at most {MOST_LETTERS} letters, digits and _ only, "
                "beginning with a letter"
            )


def _check_shard(shard: tuple[int, int]) -> None:
    if not (isinstance(shard, Sequence) and len(shard) == 2 and all(map(is_whole, shard))):
        raise RobustsegError(f"shard must be (i, n): the i-th of n parts, from 0; got {shard!r}")
    own, parts = shard
    if parts > MOST_AT_ONCE:
        raise RobustsegError(f"shard is one of {parts} parts; at most {MOST_AT_ONCE} make sense")
    if not 0 <= own < parts:
        raise RobustsegError(f"shard is {own} of {parts}; shards of {parts} are 0..{parts - 1}")


def _names_or_suites(
    suites: Sequence[str] | Mapping[str, Suite],
) -> Mapping[str, Suite] | list[str]:
    if isinstance(suites, Mapping):
        _check_names(**{f"suite {name}": name for name in suites})
        if CLEAN_SUITE in suites:
            raise RobustsegError(f"a suite may not be called {CLEAN_SUITE}; choose another name")
        return suites
    if not isinstance(suites, Iterable):
        raise RobustsegError(f"suites must be names, or a dict of suites by name; got {suites!r}")
    return [suites] if isinstance(suites, str) else list(suites)


def _class_names(names: Sequence[str] | None, rows: Sequence[EvidenceRow]) -> list[str] | None:
    classes = len(rows[0]["union"])
    return list(names) if names is not None and len(names) == classes else None


def _described(model: WrappedModel) -> str:
    name = getattr(model.net, "__name__", type(model.net).__name__)
    return f"{name} ({model.extra_repr()})"
