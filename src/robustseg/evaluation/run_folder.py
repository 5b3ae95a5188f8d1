"""A run's folder: what `evaluate` writes there, and what tables, page and second opinion read."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import ConfigDict, Field

from robustseg.errors import RobustsegError
from robustseg.evaluation.over_batches import EvidenceRow
from robustseg.evaluation.suite_kinds import OwnSuite
from robustseg.evidence.enumerator import EvidenceJob, Read, by_radius, jobs_of_file, radius_of
from robustseg.evidence.findings import SUITE
from robustseg.evidence.schema import hash_settings, provenance, said
from robustseg.evidence.wording import SAME_PERCENT
from robustseg.files import write_text
from robustseg.sections import AtOnce, Count, Name, RadiusOrZero, Section, Seed, Typed, read_section

if TYPE_CHECKING:
    from robustseg.evidence.queries import Evidence
    from robustseg.numbers_shown import Numbers

RECORD = "run-shard{shard}-of-{shards}.json"
"""What a part of a run has done, in the run's folder."""
PICTURES = "gallery/{name}.npz"
"""Attacked images of a model, in the run's folder."""


class Record(Section):
    """What a part of a run has done, and with what."""

    model_config = ConfigDict(extra="ignore")

    name: Name
    dataset: Name
    model: str
    weights: str
    sources: dict[str, Any]
    class_names: list[str] | None
    num_classes: Count
    ignore_index: int | None
    eps_255: Annotated[list[Annotated[RadiusOrZero, Field(gt=0)]], Field(min_length=1)]
    suites: Annotated[dict[Name, OwnSuite], Field(min_length=1)]
    images: Count | None
    class_pixels: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None
    batch_size: Count
    seed: Seed
    device: str
    shard: Annotated[int, Field(ge=0)]
    shards: AtOnce
    warnings: list[str]
    runtime_s: Annotated[float, Field(ge=0)]
    data: str | None = None  # of parts alone, and not of those of earlier versions


AGAIN = "run the same command again, which continues from what is kept"
COMMAND = "command.json"
"""How the model and data of a run of the command line are opened, in the run's folder."""


class Command(Section):
    """What is kept of the options of `attack` that say which model and data a run is of."""

    model_config = ConfigDict(extra="ignore")

    model: Typed
    normalise: Typed
    weights: Typed | None
    classes: Typed | None
    values: Typed | None
    ignore: Typed | None
    ids: Typed | None
    output: Typed | None
    resize: int | None
    divisor: int | None
    scale: float
    data: Annotated[list[Annotated[Typed, Field(min_length=1)]], Field(min_length=1)]
    cwd: Typed


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
    found = _records_in(folder)
    if not found and (folder / "parts").is_dir():
        raise RobustsegError(
            f"the run in {folder} is not finished; repeat its command, which continues where it "
            "stopped, then make the report"
        )
    if not found:
        near = next((one for one in _folders_near(folder) if _records_in(one)), None)
        advice = f"`robustseg attack ... --out {folder}` makes one"
        if near:
            advice = f"there is one in {near}"
        raise RobustsegError(f"{folder} holds no run; {advice}")
    cuts = sorted(set(found.values()))
    if only_shard is None and len(cuts) > 1:
        raise RobustsegError(
            f"{folder} holds parts of runs that were cut into {' and '.join(map(str, cuts))}, "
            "which write to the same files; run all parts of one of them again, which continues "
            "from what is kept"
        )
    shards = cuts[0] if only_shard is None else only_shard[1]
    wanted = range(shards) if only_shard is None else [only_shard[0]]
    paths = [folder / RECORD.format(shard=one, shards=shards) for one in wanted]
    lacking = [one for one, path in zip(wanted, paths, strict=True) if not path.exists()]
    if lacking:
        raise RobustsegError(
            f"{folder} lacks {len(lacking)} of {shards} parts: start with shard "
            f"{lacking[0]}/{shards}; run the same command with it, then make the report again"
        )
    records = [_read_record(path) for path in paths]
    for path, record in zip(paths, records, strict=True):
        if path.name != RECORD.format(**record):
            raise RobustsegError(
                f"{path} is of shard {record['shard']} of {record['shards']}, not of what its name "
                f"says; {AGAIN}"
            )
    own = ("shard", "warnings", "runtime_s", "device")
    for record in records[1:]:
        for key, value in records[0].items():
            if key not in own and record.get(key, value) != value:
                raise RobustsegError(
                    f"{folder}: shard {record['shard']} was run with other {key} than shard "
                    f"{records[0]['shard']}; run both with the same settings"
                )
    return records


def _records_in(folder: Path) -> dict[Path, int]:
    """Return the records in a folder, each with the number of parts that its run was cut into."""
    named = {
        path: re.fullmatch(r"run-shard\d+-of-(\d+)", path.stem) for path in folder.glob("*.json")
    }
    return {path: int(name[1]) for path, name in named.items() if name}


def _folders_near(folder: Path) -> Iterator[Path]:
    """Yield the folders in one, then those that it lies in, for who names the wrong one."""
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if path.is_dir())
    yield from folder.parents


def _read_record(path: Path) -> dict[str, Any]:
    return read_section(path, Record, AGAIN)


def refuse_to_hide(folder: Path, **asked: Sequence[Any]) -> None:
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
        RobustsegError: one of them is missing, or of another run than the records.
    """
    from robustseg.evidence.enumerator import jobs_read
    from robustseg.evidence.reading import read_provenance

    jobs = dict.fromkeys(job for read in reads_of(records, suites) for job in jobs_read(read, 0))
    files = [folder / job._replace(shard=one["shard"]).path for job in jobs for one in records]
    missing = [path for path in files if not path.exists()]
    if missing:
        raise RobustsegError(
            f"{len(missing)} of {len(files)} files of evidence are missing, first {missing[0]}; "
            f"{AGAIN}"
        )
    for path, record in zip(files, itertools.cycle(records)):
        made_by, where = read_provenance(path), folder / RECORD.format(**record)
        if made_by.get("config_hash") != _hash_of(record):
            raise RobustsegError(
                f"{path} is of another run than {where}, of other weights, images or settings: it "
                f"was copied here, or a run was stopped while it was writing; {AGAIN}"
            )
        if made_by.get("warnings") != said(record["warnings"]).get("warnings"):
            raise RobustsegError(f"{path} has other warnings than {where}; {AGAIN}")
    return files


def _hash_of(record: Mapping[str, Any]) -> str:
    """Return the hash that the evidence of a part of a run has of what it follows from."""
    as_read = json.loads(json.dumps(record))  # numbers as keys are text there
    return hash_settings(
        {key: value for key, value in as_read.items() if key not in ("warnings", "runtime_s")}
    )


def doubt_file(record: Mapping[str, Any], eps_255: float) -> str:
    """Return where the evidence of a second opinion lies in a run's folder."""
    return EvidenceJob(SUITE, record["name"], 0, eps_255, record["seed"], 0).path


def doubt_files(folder: Path, records: Sequence[Mapping[str, Any]]) -> dict[float, Path]:
    """Return the evidence of the second opinions on a run that are there, by radius in 1/255.

    Raises:
        RobustsegError: one doubts another figure than the run's.
    """
    from robustseg.evaluation.doubting.figure import Figure
    from robustseg.evidence.reading import read_evidence, read_opinions

    first = records[0]
    paths = {eps_255: folder / doubt_file(first, eps_255) for eps_255 in first["eps_255"]}
    found = {eps_255: path for eps_255, path in paths.items() if path.exists()}
    if not found:
        return found
    suites = [name for name, suite in first["suites"].items() if radius_of(suite) is None]
    frame = read_evidence(evidence_files(folder, records, suites), counts=False)
    for eps_255, path in found.items():
        looked_at = read_evidence([path], counts=False)["image_id"].unique()
        acc = Figure.of(frame, suites, eps_255).accuracy_on(looked_at)
        doubted = [one.acc for one in read_opinions(path) if one.eps_255 == eps_255]
        if not any(isclose(one, acc, abs_tol=SAME_PERCENT) for one in doubted):
            raise RobustsegError(
                f"the second opinion {path} is on another figure than that of the run in {folder}; "
                f"repeat `robustseg doubt {folder}`, or delete the file"
            )
    return found


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


def write_run(root: Path, rows: Sequence[EvidenceRow], record: Mapping[str, Any]) -> None:
    """Write the rows, a file for each suite and radius, then what was run.

    Records of a run that was cut into another number of parts are removed first: its files have the
    same names, and no clock says which of both they are, where machines share a folder. Before them
    goes its evidence of parts that this run has not, or who reads all of a suite counts it too;
    without such a record, evidence is of others, like a workflow whose folder this is.
    """
    from robustseg.evidence.writing import write_evidence

    made_by = provenance(_hash_of(record), record["device"], "float32") | said(record["warnings"])
    others = [path for path, cut in _records_in(root).items() if cut != record["shards"]]
    own = root.glob(f"attacks/*/{record['name']}/seed0/*/*.parquet") if others else ()
    for path in own:
        if any((job.shard or 0) >= record["shards"] for job in jobs_of_file(path)):
            path.unlink(missing_ok=True)
    for path in others:
        path.unlink(missing_ok=True)
    by_job: dict[EvidenceJob, list[EvidenceRow]] = {}
    for row in rows:
        job = EvidenceJob(
            row["suite"], row["model"], 0, row["eps_255"], row["seed"], record["shard"]
        )
        by_job.setdefault(job, []).append(row)
    for job, some in by_job.items():
        before = _rows_in(root / job.path)
        write_evidence(root / job.path, some, made_by, record["class_names"])
        if before != _rows_in(root / job.path):  # it was of another figure
            (root / doubt_file(record, job.eps_255)).unlink(missing_ok=True)
    path = root / RECORD.format(shard=record["shard"], shards=record["shards"])
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _rows_in(path: Path) -> Any:
    """Return the rows of an evidence file, without what made them; None if there is none."""
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path).replace_schema_metadata(None)
    except (OSError, ValueError):  # damaged: it is written anew
        return None
