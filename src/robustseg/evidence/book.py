"""What all tables and figures share: evidence, models' names, numbers in print, captions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustseg.errors import RobustsegError
from robustseg.evidence.enumerator import check_files
from robustseg.evidence.queries import (
    Evidence,
    Outcomes,
    Run,
    interval,
    mean_interval,
    score,
    worst_case,
)
from robustseg.evidence.records import Counts, read_evidence, read_provenance
from robustseg.evidence.reported import read_reported
from robustseg.names import SCHEME_LABELS, SEA_LOSSES
from robustseg.tables.layout import Cell

if TYPE_CHECKING:
    import pandas as pd

Reads = Sequence[Mapping[str, Any]]
Models = Mapping[str, Mapping[str, Any]]
Ids = NDArray[np.object_]
Flags = NDArray[np.bool_]

LONG_COLUMNS = (
    "table",
    "dataset",
    "model",
    "training_seed",
    "suites",
    "attack",
    "eps_255",
    "metric",
    "value",
    "std",
    "images",
    "low",
    "high",
)
"""Long form of tables and figures. `value`, `std`, `low`, `high` are in percent; `metric` is acc or
miou, and `attack` is in the words of config/paper/README.md where the paper has it. `std` is over
attack seeds; `low` and `high` are the ends of the 95 % bootstrap interval over images."""

METRICS = ("ACC", "mIoU")
"""In print."""

ACC_ALONE = ("table6", "table9", "table10", "figure2", "figure6", "seeds")
"""Tables and figures without mIoU: for them counts of classes are not read."""

DECODER_LABELS = {
    "upernet": "UPerNet",
    "upernet_demo": "UPerNet",
    "upernet_mini": "UPerNet",
    "pspnet": "PSPNet",
    "segmenter": "Segmenter",
}
ARCHITECTURE_LABELS = {
    "convnext_demo": "ConvNeXt (demo size)",
    "convnext_mini": "ConvNeXt (mini)",
    "convnext_tiny": "ConvNeXt-T",
    "convnext_small": "ConvNeXt-S",
    "resnet50": "ResNet-50",
    "vit_small": "ViT-S",
}
HALF_AT_NOTE = (
    "half-clean AT: adversarial training on half clean and half adversarial inputs with few weak "
    "steps, trained here as the nearest relative of DDC-AT (Xu et al., 2021); it is not DDC-AT."
)


def percent(fraction: float) -> float:
    """Turn a fraction in [0, 1] into a percentage: the only place where this is done.

    Rounded to 9 decimals, so that files do not depend on the order of a library's sums.
    """
    return round(100.0 * fraction, 9)


def printed(value: float) -> str:
    """Return a percentage as it is printed: one decimal."""
    return f"{value:.1f}"


def radius(eps_255: float) -> str:
    """Return a radius as the paper prints it: 0 or a multiple of 1/255."""
    return f"{eps_255:g}/255" if eps_255 else "0"


def a_model_of(label: str) -> str:
    """Return a training scheme with its article: "a clean model", "an AT model"."""
    return f"{'an' if label[0] in 'AEIOU' else 'a'} {label} model"


@dataclass
class Book:
    """Everything a builder of one table or figure needs, and the numbers it has used so far.

    Attributes:
        name: of the table or figure.
        evidence: what it reads.
        models: the configuration's models.
        metrics: those that it prints; only they are recorded and get intervals.
        reported: the paper's printed numbers by (dataset, model, attack, eps_255, metric), see
            `reported_numbers`; cells of the paper's own models show them.
        long: the numbers, in LONG_COLUMNS.
    """

    name: str
    evidence: Evidence
    models: Models
    metrics: Sequence[str] = ("acc", "miou")
    reported: Mapping[tuple[Any, ...], float] = field(default_factory=dict)
    long: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)

    @property
    def training_seed(self) -> int:
        """The one training seed of the evidence.

        Raises:
            RobustsegError: the evidence is of several.
        """
        seeds = self.evidence.training_seeds
        if len(seeds) != 1:
            raise RobustsegError(
                f"{self.name} shows one training seed and was given evidence of {seeds}; "
                "pass that of one (the table `seeds` shows them all)"
            )
        return seeds[0]

    def sea(self, **criteria: Any) -> list[Run]:
        """Return SEA's runs of one model, radius and seed: red-eps APGD on each of its losses."""
        return [
            self.evidence.one(loss=loss, optimizer="apgd", schedule="reduced", **criteria)
            for loss in SEA_LOSSES
        ]

    def worst(self, runs: Sequence[Run]) -> Outcomes:
        """Return the image-wise worst case over runs."""
        return worst_case([self.evidence.outcomes(run) for run in runs])

    def cells(self, attack: str, runs: Sequence[Run]) -> tuple[Cell, Cell]:
        """Record the worst case over runs as `attack`, and return the cells of ACC and mIoU."""
        attacked = self.worst(runs)
        value, (low, high) = score(attacked), interval(attacked, self.metrics)
        return (
            self._cell(attack, runs, "acc", value.acc, low.acc, high.acc),
            self._cell(attack, runs, "miou", value.miou, low.miou, high.miou),
        )

    def _cell(
        self, attack: str, runs: Sequence[Run], metric: str, share: float, low: float, high: float
    ) -> Cell:
        text = printed(percent(share))
        if metric not in self.metrics:
            return Cell(text)
        images = self.evidence.images(runs[0])
        ends = {"low": percent(low), "high": percent(high)}
        self.record(attack, runs, metric, percent(share), images=images, **ends)
        interval_text = f"95 % interval over images: {' to '.join(map(printed, ends.values()))}"
        return Cell(
            text,
            note="\n".join([interval_text, *self.behind(runs)]),
            reported=self.paper_says(attack, runs[0], metric),
        )

    def share(self, attack: str, run: Run, metric: str, image_ids: Ids, held: Flags) -> None:
        """Record the share of images (N,) for which something holds, with its interval."""
        low, high = map(percent, mean_interval(held))
        value = percent(float(held.mean()))
        self.record(attack, [run], metric, value, images=len(image_ids), low=low, high=high)

    def behind(self, runs: Sequence[Run]) -> list[str]:
        """Return, in a few lines, the evidence that a number was made from."""
        images = self.evidence.images(runs[0])
        forward, backward = self.evidence.passes(runs)
        jobs = list(dict.fromkeys(run.job.path for run in runs))
        more = f" and {len(jobs) - 4} more" if len(jobs) > 4 else ""
        return [
            f"{images} images of {runs[0].dataset}, model {runs[0].model}",
            f"suite {_words(run.suite for run in runs)}: {_words(run.attack for run in runs)}",
            f"training seed {runs[0].training_seed}, attack seed {_words(r.seed for r in runs)}",
            f"{forward:,} forward and {backward:,} backward passes of single images",
            f"evidence: {', '.join(jobs[:4])}{more}",
        ]

    def paper_says(self, attack: str, run: Run, metric: str) -> float | None:
        """Return the number that the paper prints for this cell, in percent, if it has one."""
        return self.reported.get((run.dataset, run.model, attack, run.eps_255, metric))

    def record(
        self, attack: str, runs: Sequence[Run], metric: str, value: float, **rest: Any
    ) -> None:
        """Add one number, in percent, to the long form; the same number twice is there once."""
        first = runs[0]
        what = {
            "table": self.name,
            "dataset": first.dataset,
            "model": first.model,
            "training_seed": first.training_seed,
            "suites": " ".join(sorted({run.suite for run in runs})),
            "attack": attack,
            "eps_255": first.eps_255,
            "metric": metric,
        }
        self.long[tuple(what.values())] = what | {"value": value} | rest

    def frame(self) -> pd.DataFrame:
        """Return the long form, with LONG_COLUMNS."""
        import pandas as pd

        return pd.DataFrame(list(self.long.values()), columns=list(LONG_COLUMNS))

    def clean(self, model: str) -> tuple[Cell, Cell]:
        """Return ACC and mIoU without an attack."""
        return self.cells("clean", [self.evidence.clean(model, self.training_seed)])

    def radii(self, model: str) -> list[float]:
        """Return the radii at which the model was attacked, ascending."""
        return sorted({run.eps_255 for run in self.evidence.find(model=model) if run.eps_255})

    def read_models(self) -> list[str]:
        """Return the models that are read, in the order of the configuration's models."""
        present = {run.model for run in self.evidence.runs}
        unknown = present - set(self.models)
        if unknown:
            raise RobustsegError(
                f"{self.name}: evidence of {sorted(unknown)[0]}, which is no model of this "
                "configuration; use the evidence of this run"
            )
        return [model for model in self.models if model in present]

    def training(self, model: str) -> str:
        """Return a model's training in words, for example "PIR-AT, 5 steps, 50 epochs"."""
        settings = self.models[model]
        steps = f", {settings['steps']} steps" if settings.get("steps") else ""
        aimed = f", trained for {radius(settings['eps_255'])}" if settings.get("eps_255") else ""
        label = SCHEME_LABELS[settings["scheme"]]
        return f"{label}{steps}, {settings['epochs']} epochs{aimed}"

    def architecture(self, model: str) -> str:
        """Return a model's decoder and backbone in words."""
        settings = self.models[model]
        backbone = settings.get("architecture", settings["backbone"])
        decoder = DECODER_LABELS.get(settings["decoder"], settings["decoder"])
        return f"{decoder} + {ARCHITECTURE_LABELS.get(backbone, backbone)}"

    def title(self, model: str) -> str:
        """Return what a model is: its data set, if it is not alone, architecture and training."""
        return f"{self.data_set(model)}{self.architecture(model)}, {self.training(model)}"

    def data_set(self, model: str) -> str:
        """Return a model's data set with a comma, or nothing if all that is read is on one."""
        several = len({run.dataset for run in self.evidence.runs}) > 1
        return f"{self.models[model]['dataset']}, " if several else ""

    def notes(self) -> tuple[str, ...]:
        """Return what must be said of the models shown."""
        shown = {name: self.models[name] for name in self.read_models()}
        half = any(settings["scheme"] == "half_at" for settings in shown.values())
        published = (
            f"{name}: weights published by {settings['publisher']}, not trained here."
            for name, settings in shown.items()
            if settings.get("publisher")
        )
        return (*((HALF_AT_NOTE,) if half else ()), *published)

    def about(self) -> str:
        """Return what the numbers are: metrics, images, seeds, read from the evidence itself."""
        said = {
            "acc": "ACC is the mean over images of the pixel accuracy of each image, in percent.",
            "miou": "mIoU sums intersections and unions of each class over images, in percent.",
        }
        runs = self.evidence.runs
        attack_seeds = sorted({run.seed for run in runs if run.eps_255})
        images = {run.dataset: self.evidence.images(run) for run in runs if not run.eps_255}
        sets = " and ".join(f"{count} images of {name}" for name, count in images.items())
        seeds = "; ".join(
            [
                _seeds("training seed", self.evidence.training_seeds),
                *([_seeds("attack seed", attack_seeds)] if attack_seeds else []),
            ]
        )
        return " ".join(
            [*(said[m] for m in self.metrics), f"{sets}; {seeds}.", self._inherited()]
        ).strip()

    def _inherited(self) -> str:
        """Return what to know of images that an earlier attack of a suite had brought to 0 %."""
        inherited, rows = self.evidence.inherited()
        if not inherited:
            return ""
        return (
            f"{percent(inherited / rows):.1f} % of the attacks on an image were not run, since an "
            "earlier attack of the suite had brought it to 0 %, and count as 0 %: worst cases are "
            "exact, later single losses may look stronger than they are."
        )


def iterations(runs: Iterable[Run]) -> str:
    """Return the iterations of runs, for example "300", or "50/100" where they differ."""
    return "/".join(str(count) for count in sorted({run.iterations for run in runs}))


def open_book(
    name: str,
    evidence_paths: Iterable[str | Path],
    reads: Reads,
    models: Models,
    reported_folder: str | Path | None = None,
) -> Book:
    """Read the evidence of one table or figure and check that it is complete."""
    paths = list(evidence_paths)
    check_files(name, paths)
    frame = read_evidence(paths, counts=False)
    evidence = Evidence(frame, reads, name, paths, None if name in ACC_ALONE else Counts())
    reported = reported_numbers(name, reported_folder) if reported_folder else {}
    return Book(name, evidence, models, reported=reported)


def reported_numbers(table: str, folder: str | Path) -> dict[tuple[Any, ...], float]:
    """Return what the paper prints in one table, by (dataset, model, attack, eps_255, metric)."""
    rows = read_reported(folder)
    rows = rows[rows["table"] == table]
    keys = rows[["dataset", "model", "attack", "eps_255", "metric"]].itertuples(index=False)
    return dict(zip(map(tuple, keys), rows["value"], strict=True))


def merged_provenance(paths: Iterable[str | Path]) -> dict[str, list[str]]:
    """Return each provenance key with the different values that the files give it, sorted."""
    merged: dict[str, set[str]] = {}
    for path in paths:
        for key, value in read_provenance(path).items():
            merged.setdefault(key, set()).add(value)
    return {key: sorted(values) for key, values in sorted(merged.items())}


def _words(values: Iterable[Any]) -> str:
    return ", ".join(map(str, dict.fromkeys(values)))


def _seeds(what: str, seeds: Sequence[int]) -> str:
    return f"{what}{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
