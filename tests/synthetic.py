"""Made-up evidence for any list of reads: numbers of plausible size that no model ever produced."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from robustseg.attacks.losses import PAPER_LOSSES, SEA_LOSSES
from robustseg.evidence.enumerator import DOUBT, attacks_of, random_corners_of
from robustseg.evidence.findings import (
    CHECKS,
    FINDINGS_KEY,
    SUITE,
    Finding,
    Opinion,
    judged,
    not_run,
    to_text,
)
from robustseg.evidence.schema import HASH_KEY
from robustseg.evidence.writing import write_evidence
from robustseg.seeds import derive_seed

PROVENANCE = {
    "robustseg": "0.0-synthetic",
    "git_commit": "unknown",
    "config_hash": "synthetic",
    "torch": "0.0",
    "timm": "0.0",
    "numpy": "0.0",
    "device": "none, made up for a test",
    "precision": "float32",
}

MODELS: dict[str, dict[str, Any]] = {
    "fake_clean": {"scheme": "clean", "epochs": 5},
    "fake_half_3": {"scheme": "half_at", "epochs": 5, "eps_255": 8, "steps": 3},
    "fake_at_2": {"scheme": "at", "epochs": 5, "eps_255": 4, "steps": 2},
    "fake_pir_2": {"scheme": "pir_at", "epochs": 5, "eps_255": 4, "steps": 2},
    "fake_at_5_long": {"scheme": "at", "epochs": 10, "eps_255": 4, "steps": 5},
    "fake_pir_5": {"scheme": "pir_at", "epochs": 5, "eps_255": 4, "steps": 5},
}
for _name, _model in MODELS.items():
    _kind = "robust" if _model["scheme"] == "pir_at" else "clean"
    _model |= {
        "decoder": "upernet",
        "backbone": f"fake_{_kind}",
        "architecture": "convnext_demo",
        "dataset": "fake_scenes",
        "training": "upernet",
    }

SUITES: dict[str, dict[str, Any]] = {
    "sea": {"losses": SEA_LOSSES, "schedules": ["reduced"], "iterations": [30]},
    "losses": {"losses": PAPER_LOSSES, "schedules": ["constant"], "iterations": [10]},
    "baselines": {"losses": ["cossim_ce", "bal_ce"], "optimizer": "pgd", "iterations": [30]},
    "baselines_100": {"losses": ["bal_ce", "cossim_ce"], "optimizer": "pgd", "iterations": [10]},
    "schedules": {
        "losses": SEA_LOSSES,
        "schedules": ["constant", "restarts"],
        "iterations": [30],
    },
    "iterations": {"losses": SEA_LOSSES, "schedules": ["reduced"], "iterations": [5, 10, 50]},
    "scaled": {
        "losses": ["bal_ce@10", "js@3", "js@10", "tsallis:0:0", "tsallis:0:0@10", "tsallis@10"],
        "schedules": ["reduced"],
        "iterations": [30],
    },
    "open": {
        "losses": ["bal_ce", "js"],
        "schedules": ["reduced"],
        "iterations": [30],
        "choices": ["lambda_whole", "checkpoints_floor"],
    },
    "eccv": {"losses": ["mask_ce_balanced"], "schedules": ["reduced"], "iterations": [30]},
}

READS: dict[str, list[dict[str, Any]]] = {
    "table1": [
        {"model": "fake_half_3", "suites": ["baselines", "sea"], "eps_255": [2, 4]},
        {"model": "fake_pir_5", "suites": ["baselines", "sea"], "eps_255": [4, 8, 12]},
    ],
    "table2": [
        {"model": "fake_clean", "suites": ["losses"], "eps_255": [0.25, 0.5]},
        {"model": "fake_pir_5", "suites": ["losses"], "eps_255": [4, 8, 12]},
    ],
    "table3": [
        {"model": "fake_half_3", "suites": ["sea"], "eps_255": [4, 8]},
        {"model": "fake_at_5_long", "suites": ["sea"], "eps_255": [4, 8]},
        {"model": "fake_pir_5", "suites": ["sea"], "eps_255": [4, 8]},
    ],
    "table4": [
        {"model": "fake_at_2", "suites": ["sea"], "eps_255": [4, 8]},
        {"model": "fake_pir_2", "suites": ["sea"], "eps_255": [4, 8]},
        {"model": "fake_at_5_long", "suites": ["sea"], "eps_255": [4, 8]},
    ],
    "table7": [
        {"model": "fake_pir_5", "suites": ["baselines_100", "losses"], "eps_255": [4, 8]},
    ],
    "table8": [
        {"model": "fake_clean", "suites": ["losses"], "eps_255": [0.25, 0.5]},
        {"model": "fake_pir_5", "suites": ["losses"], "eps_255": [4, 8, 12]},
    ],
    "table9": [{"model": "fake_pir_5", "suites": ["sea"], "eps_255": [4, 8]}],
    "table10": [{"model": "fake_pir_5", "suites": ["sea"], "eps_255": [4, 8], "seeds": [0, 1, 2]}],
    "leave_one_out": [{"model": "fake_pir_5", "suites": ["sea"], "eps_255": [4, 8]}],
    "by_class": [{"model": "fake_pir_5", "suites": ["sea"], "eps_255": [4, 8]}],
    "by_size": [{"model": "fake_pir_5", "suites": ["sea"], "eps_255": [4, 8]}],
    "worst_miou": [{"model": "fake_pir_5", "suites": ["losses", "sea"], "eps_255": [4, 8]}],
    "eccv_2024": [{"model": "fake_pir_5", "suites": ["sea", "eccv"], "eps_255": [4, 8]}],
    "each_attack": [{"model": "fake_pir_5", "suites": ["losses", "sea"], "eps_255": [4, 8]}],
    "figure2": [{"model": "fake_pir_5", "suites": ["schedules", "sea"], "eps_255": [8, 12]}],
    "figure3": [{"model": "fake_pir_5", "suites": ["schedules", "sea"], "eps_255": [8, 12]}],
    "figure4": [{"model": "fake_clean", "suites": ["schedules", "sea"], "eps_255": [0.5]}],
    "figure5": [{"model": "fake_pir_5", "suites": ["iterations", "sea"], "eps_255": [8, 12]}],
}

UNSCALED = {"logit_margin": 0.0, "choice": "default"}

STRENGTH = {
    "ce": 0.8,
    "cossim_ce": 0.85,
    "bal_ce": 1.0,
    "js": 1.05,
    "mask_ce": 1.1,
    "mask_sph": 1.0,
    "mask_ce_balanced": 1.05,
}
HALF_LIFE_255 = {"clean": 0.6, "half_at": 3.0, "at": 6.0, "pir_at": 10.0}


def synthetic_rows(
    model: str,
    suite: str,
    eps_255: float,
    *,
    training_seed: int = 0,
    seed: int = 0,
    images: int = 6,
    classes: int = 4,
    pixels: int = 400,
) -> list[dict[str, Any]]:
    """Return the rows of one job: accuracy falls with the radius, faster for weaker training."""
    return [
        row
        for attack in _attacks(suite, eps_255)
        for row in _attack_rows(
            {
                "dataset": MODELS[model]["dataset"],
                "model": model,
                "training_seed": training_seed,
                "suite": suite,
                **attack,
                "eps_255": float(eps_255),
                "seed": seed,
            },
            images,
            classes,
            pixels,
        )
    ]


def slow_acc(rows: Iterable[Mapping[str, Any]]) -> float:
    """Return the mean over images of the lowest accuracy over attacks, in percent: a plain loop."""
    lowest: dict[str, float] = {}
    for row in rows:
        share = row["pixels_correct"] / row["pixels"]
        lowest[row["image_id"]] = min(share, lowest.get(row["image_id"], 1.0))
    return 100 * sum(lowest.values()) / len(lowest)


def _attacks(suite: str, eps_255: float) -> Iterable[dict[str, Any]]:
    if suite == "clean":
        none = {"loss": "none", "optimizer": "none", "schedule": "none", "iterations": 0}
        return [{"attack": "clean", **none, **UNSCALED}]
    settings = {"kind": "white_box", "schedules": ["constant"]} | SUITES[suite]
    step_size = {eps_255: 0.01} if settings.get("optimizer") == "pgd" else None
    attacks = attacks_of(settings | {"step_size": step_size}, eps_255)
    return [attack._asdict() for attack in attacks]


def _attack_rows(
    run: dict[str, Any], images: int, classes: int, pixels: int
) -> list[dict[str, Any]]:
    named = [value for key, value in run.items() if key not in UNSCALED]
    generator = np.random.default_rng(derive_seed("synthetic", *named))
    label_generator = np.random.default_rng(derive_seed("labels", run["dataset"]))
    labelled = label_generator.multinomial(pixels, np.full(classes, 1 / classes), images)
    strength = STRENGTH.get(run["loss"], 0.0) * (1 - 0.3 / max(run["iterations"], 1))
    strength *= {"pgd": 0.9, "apgd": 1.0, "none": 0.0}[run["optimizer"]]
    strength *= 1.05 if run["schedule"] == "reduced" else 1.0
    half_life = HALF_LIFE_255[MODELS[run["model"]]["scheme"]]
    typical = 0.92 * np.exp2(-(((strength * run["eps_255"]) / half_life) ** 2))
    accuracies = np.clip(typical + generator.normal(0, 0.04, images), 0, 1)
    return [
        run
        | _counts(accuracy, labelled[index], generator)
        | {
            "image_id": f"fake_{index:04d}",
            "linf_255": run["eps_255"],
            "forward_passes": run["iterations"] + 1,
            "backward_passes": run["iterations"],
        }
        for index, accuracy in enumerate(accuracies)
    ]


def _counts(
    accuracy: float, labelled: np.ndarray, generator: np.random.Generator
) -> dict[str, Any]:
    """Return the counts of one image with about this accuracy, all from one confusion matrix."""
    pixels = labelled.sum()
    correct = round(float(accuracy) * pixels)
    intersection = generator.multivariate_hypergeometric(labelled, correct)
    return {
        "pixels": pixels,
        "pixels_correct": correct,
        "labelled": labelled,
        "intersection": intersection,
        "union": labelled + np.roll(labelled - intersection, 1),
    }


def write_jobs(
    folder: Path,
    reads: Sequence[Mapping[str, Any]],
    training_seeds: Sequence[int] = (0,),
    **size: int,
) -> list[Path]:
    """Write the evidence that `reads` names, one file a job, and return the files."""
    jobs = dict.fromkeys(
        job
        for training_seed in training_seeds
        for read in reads
        for job in [
            (read["model"], training_seed, "clean", 0.0, 0),
            *(
                (read["model"], training_seed, suite, float(eps), seed)
                for suite in read["suites"]
                for eps in read["eps_255"]
                for seed in read.get("seeds", [0])
            ),
        ]
    )
    paths = []
    for model, training_seed, suite, eps, seed in jobs:
        path = folder / suite / model / f"seed{training_seed}" / f"eps{eps:g}"
        path /= f"seed{seed}-shard0.parquet"
        rows = synthetic_rows(model, suite, eps, training_seed=training_seed, seed=seed, **size)
        write_evidence(path, rows, PROVENANCE)
        paths.append(path)
    return paths


def opinion_of(
    eps_255: float, acc: float = 50.0, found: float = 50.0, **figures: float | None
) -> Opinion:
    """Return an opinion whose checks have passed, but for the figures that are given.

    None is the figure of a check that was not run.
    """

    def finding(check: str) -> Finding:
        good = 1.0 if CHECKS[check].fails_below else 0.0
        figure = figures.get(check, good)
        return not_run(check, "no <need>") if figure is None else judged(check, figure, "a <note>")

    return Opinion(eps_255, 3, acc, found, tuple(map(finding, CHECKS)))


def write_doubts(
    folder: Path, model: str, *opinions: Opinion, suite: str = SUITE, seed: int = 0, **size: int
) -> Path:
    """Write second opinions on a model, with attacks on three images each, in one file."""
    corners = random_corners_of(30)._asdict()
    attacks = [corners, {"attack": f"{DOUBT}other_seed-apgd-js-reduced-30"}]
    rows = [
        {**row, **attack, "suite": suite}
        for opinion in opinions
        for attack in attacks
        for row in synthetic_rows(model, "sea", opinion.eps_255, seed=seed, **size)
        if row["loss"] == "js" and row["image_id"] in ("fake_0000", "fake_0002", "fake_0003")
    ]
    radii = ",".join(f"{opinion.eps_255:g}" for opinion in opinions)
    path = folder / suite / model / "seed0" / f"eps{radii}" / f"seed{seed}-shard0.parquet"
    write_evidence(path, rows, PROVENANCE | {FINDINGS_KEY: to_text(opinions)})
    return path


def with_metadata(path: Path, key: bytes, value: bytes) -> None:
    """Put a key into a file's metadata, which from then on has no hash, as that of old files."""
    table = pq.read_table(path)
    about = {**table.schema.metadata, key: value}
    about.pop(HASH_KEY.encode())
    pq.write_table(table.replace_schema_metadata(about), path)
