"""Made-up evidence and attacked images of the paper's size, for report.py."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robustseg.attacks.losses import PAPER_LOSSES, SEA_LOSSES
from robustseg.attacks.spec import TRANSFER
from robustseg.evidence.enumerator import EvidenceJob, jobs_read
from robustseg.evidence.schema import SCHEMA, SCHEMA_VERSION, VERSION_KEY
from robustseg.evidence.writing import STORED
from robustseg.files import atomic_path

DATASETS = {"voc": (1449, 21), "ade20k": (2000, 151), "imagenet": (5000, 1000)}
"""Images and classes."""
SIZES_PX = {"voc": 473, "ade20k": 512}
EPS_255 = (4.0, 8.0, 12.0, 16.0)
PIXELS = 512 * 512
CLASSES_AN_IMAGE = 8
ALMA_IMAGES = 160
KEPT_IMAGES, TARGETED_IMAGES = 8, 1

Spec = tuple[str, str, str, int]
"""Loss, optimizer, schedule and iterations of an attack."""

SUITES: dict[str, list[Spec]] = {
    "clean": [("none", "none", "none", 0)],
    "objects": [("none", "none", "none", 0)],
    "sea": [(loss, "apgd", "reduced", 300) for loss in SEA_LOSSES],
    "losses": [(loss, "apgd", "constant", 100) for loss in PAPER_LOSSES],
    "baselines": [(loss, "pgd", "constant", 300) for loss in ("cossim_ce", "bal_ce")],
    "baselines_100": [(loss, "pgd", "constant", 100) for loss in ("bal_ce", "cossim_ce")],
    "schedules": [
        (loss, "apgd", schedule, 300)
        for loss in SEA_LOSSES
        for schedule in ("constant", "restarts")
    ],
    "iterations": [
        (loss, "apgd", "reduced", count) for loss in SEA_LOSSES for count in (50, 100, 500)
    ],
    "transfer": [("mask_ce", "apgd", "reduced", 300)],
    "alma": [("margin", "alma_prox", "none", 500)],
    "blackbox": [("right_pixels", "square", "none", 5000)],
    "classifier": [("ce", "apgd", "reduced", 300)],
}
BACKBONES = ("clean_net", "robust_net")
PICTURES = {
    "figure1": ["at_5_voc", "pir_at_5_voc"],
    "figure7": ["at_5_voc"],
    "figure8": ["pir_at_5_voc"],
    "figure9": ["at_5_ade20k"],
    "figure10": ["pir_at_5_ade20k"],
}
"""Models that figures of attacked images show."""


def models() -> dict[str, dict[str, Any]]:
    """Return 20 models, ten a data set, in pairs of AT and PIR-AT, and the backbones of Table 6."""
    settings = {"decoder": "upernet", "backbone": "convnext_tiny", "eps_255": 4, "epochs": 50}
    segmenting = {
        f"{scheme}_{steps}_{dataset}": {
            **settings,
            "dataset": dataset,
            "scheme": scheme,
            "steps": steps,
        }
        for dataset in SIZES_PX
        for scheme in ("at", "pir_at")
        for steps in (1, 2, 3, 5, 7)
    }
    classifying = {
        name: {"architecture": "convnext_tiny", "dataset": "imagenet", "scheme": "at"}
        for name in BACKBONES
    }
    return segmenting | classifying


def reads() -> dict[str, list[dict[str, Any]]]:
    """Return what each table and figure reads: those over losses and SEA all 20 models."""

    def of(names: Iterable[str], *suites: str, eps_255: Any = EPS_255, **rest: Any) -> list[Any]:
        return [{"model": m, "suites": list(suites), "eps_255": eps_255, **rest} for m in names]

    every = [name for name in models() if name not in BACKBONES]
    both, one = ["pir_at_5_voc", "pir_at_5_ade20k"], ["pir_at_5_ade20k"]
    return {
        "table1": of(both, "baselines", "sea"),
        **{name: of(every, "losses") for name in ("table2", "table8")},
        **{name: of(every, "sea") for name in ("table3", "table4", "table9")},
        "table5": [],
        "table6": of(BACKBONES, "classifier", eps_255=(4.0,)),
        "table7": of(both, "baselines_100", "losses"),
        "table10": of(both, "sea", seeds=[0, 1, 2, 3, 4]),
        "table11": of(both, "transfer", "sea"),
        "appendix_c3": of(every, "objects", eps_255=(0.0,)),
        "black_box": of(both, "blackbox", "sea"),
        **{name: of(both, "sea") for name in ("by_class", "by_size", "worst_miou")},
        "each_attack": of(both, "losses"),
        **{name: of(one, "schedules", "sea") for name in ("figure2", "figure3", "figure4")},
        "figure5": of(one, "iterations", "sea"),
        "figure6": [*of(both, "sea"), *of(both, "alma", eps_255=(255.0,))],
    }


def jobs(read: Mapping[str, Any]) -> Iterator[EvidenceJob]:
    """Yield the jobs that one entry of `reads` names, each of one shard."""
    return jobs_read(read, training_seed=0, shards=lambda suite, model: 1)


def attacks_of(suite: str, dataset: str) -> dict[str, Spec]:
    """Return the attacks of a suite by name; transfer has one for each of two sources."""
    if suite == "transfer":
        sources = (f"at_5_{dataset}", f"pir_at_2_{dataset}")
        return {
            f"{TRANSFER}{source}-apgd-mask_ce-reduced-300": SUITES[suite][0] for source in sources
        }
    names = {
        "clean": "clean",
        "objects": "clean_objects",
        "alma": "alma_prox-0.99-500",
        "blackbox": "square-right_pixels-3.2-5000",
    }
    return {
        names.get(suite, f"{optimizer}-{loss}-{schedule}-{count}"): (
            loss,
            optimizer,
            schedule,
            count,
        )
        for loss, optimizer, schedule, count in SUITES[suite]
    }


def write_job(path: Path, job: EvidenceJob, index: int) -> None:
    """Write one file: all attacks of a suite on all images."""
    suite, model, _, eps_255, seed, _ = job
    dataset = str(models()[model]["dataset"])
    images, classes = DATASETS[dataset]
    images = ALMA_IMAGES if suite == "alma" else images
    draw = np.random.default_rng(index)
    tables = []
    for name, (loss, optimizer, schedule, iterations) in attacks_of(suite, dataset).items():
        strength = 60.0 if suite == "alma" else eps_255
        counts = _counts(draw, images, classes, strength)
        words: dict[str, Any] = {
            "dataset": dataset, "model": model, "training_seed": 0, "suite": suite,
            "attack": name, "loss": loss, "optimizer": optimizer, "schedule": schedule,
            "iterations": iterations, "logit_margin": 0.0, "choice": "default",
            "eps_255": eps_255, "seed": seed, "pixels": PIXELS,
            "forward_passes": iterations + 1, "backward_passes": iterations,
        }  # fmt: skip
        columns: dict[str, Any] = {word: [value] * images for word, value in words.items()}
        columns["image_id"] = [f"{dataset}_{number:06d}" for number in range(images)]
        columns["linf_255"] = (
            list(draw.gamma(2, 4, images)) if suite == "alma" else [eps_255] * images
        )
        columns |= counts
        tables.append(pa.table({field.name: columns[field.name] for field in SCHEMA}, SCHEMA))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        table = pa.concat_tables(tables).replace_schema_metadata({VERSION_KEY: SCHEMA_VERSION})
        pq.write_table(table, temporary, **STORED)


def _counts(draw: np.random.Generator, images: int, classes: int, eps_255: float) -> dict[str, Any]:
    """Return the columns of counts of images with a few classes each."""
    share = np.clip(draw.normal(0.9 * 0.8 ** (eps_255 / 4), 0.1, images), 0, 1)
    correct = np.rint(share * PIXELS).astype(np.int64)
    present = np.argsort(draw.random((images, classes)), axis=1)[:, :CLASSES_AN_IMAGE]
    even = np.full(CLASSES_AN_IMAGE, 1 / CLASSES_AN_IMAGE)
    right = draw.multinomial(correct, even)
    wrong = draw.multinomial(PIXELS - correct, even)
    intersection = np.zeros((images, classes), dtype=np.int32)
    labelled, union = np.zeros_like(intersection), np.zeros_like(intersection)
    np.put_along_axis(intersection, present, right, axis=1)
    np.put_along_axis(labelled, present, right + wrong, axis=1)
    np.put_along_axis(union, present, right + wrong + np.roll(wrong, 1, axis=1), axis=1)
    lists = {"labelled": labelled, "intersection": intersection, "union": union}
    return {"pixels_correct": correct, **{name: list(values) for name, values in lists.items()}}


def write_shots(path: Path, model: str, targets: bool) -> None:
    """Write attacked images: smooth pictures with noise, perturbations of signs, maps of blocks."""
    dataset = str(models()[model]["dataset"])
    size, classes = SIZES_PX[dataset], DATASETS[dataset][1]
    images, layers = (TARGETED_IMAGES, 2) if targets else (KEPT_IMAGES, 1 + len(EPS_255))
    draw = np.random.default_rng(size)

    def blocks(*shape: int) -> Any:
        side = -(-size // 16)
        coarse = draw.integers(0, classes, (*shape, 16, 16), dtype=np.uint8)
        return coarse.repeat(side, -1).repeat(side, -2)[..., :size, :size]

    waves = np.sin(np.arange(size) / 40 + np.arange(3 * images).reshape(images, 3, 1))
    smooth = np.einsum("nch,ncw->nhwc", waves, waves) * 80 + 128
    pictures = smooth + draw.normal(0, 4, smooth.shape)
    kept = {
        "image_ids": np.array([f"{dataset}_{number:06d}" for number in range(images)]),
        "labels": blocks(images),
        "images": pictures.clip(0, 255).astype(np.uint8),
        "perturbation": draw.choice(np.array([-4, 4], np.float16), (layers, *smooth.shape)),
        "prediction": blocks(layers, images),
        "class_names": np.array([f"class {number}" for number in range(classes)]),
        "palette": draw.integers(0, 256, (classes, 3), dtype=np.uint8),
    }
    shares = draw.random((layers, images))
    if targets:
        kept |= {"targets": np.array(["class 1", "class 2"]), "eps_255": np.array(4.0)}
        kept |= {"share": shares, "clean_share": shares}
    else:
        kept |= {"eps_255": np.array([0.0, *EPS_255]), "accuracy": shares}
        kept |= {"loss": np.array("mask_ce")}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, allow_pickle=False, **kept)


def shots_of(folder: Path, figure: str) -> dict[str, Path]:
    """Return the files of attacked images of one figure, by model."""
    kind = "targeted" if figure == "figure1" else "gallery"
    return {model: folder / kind / f"{model}.npz" for model in PICTURES[figure]}
