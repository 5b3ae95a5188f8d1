"""All numbers of one table or figure, in long form.

What is printed and drawn is made from them alone; claims are checked on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustseg.evidence.numbers import LONG_COLUMNS, Number, Sources, evidence_in, outcome_numbers
from robustseg.evidence.runs import Models, Selection
from robustseg.evidence.wording import (
    HALF_AT_NOTE,
    alike,
    architecture,
    counted,
    mean_and_spread,
    training,
)
from robustseg.exhibits import Exhibit
from robustseg.names import amount

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Numbers:
    """The numbers of one table or figure, and what is known of them in words.

    Attributes:
        exhibit: the table or figure.
        models: settings of the models it shows, in the order in which it shows them.
        entries: the numbers, in the order of the long form.
        images: images of each data set.
        training_seeds, attack_seeds: that they are from.
        reported: the paper's printed numbers by (dataset, model, attack, eps_255, metric).
        others: settings of models that it does not show but names, as sources of attacks.
    """

    exhibit: Exhibit
    models: Models
    entries: tuple[Number, ...]
    images: Mapping[str, int] = field(default_factory=dict)
    training_seeds: tuple[int, ...] = ()
    attack_seeds: tuple[int, ...] = ()
    reported: Mapping[tuple[Any, ...], float] = field(default_factory=dict)
    others: Models = field(default_factory=dict)

    def get(self, model: str, attack: str, eps_255: float, metric: str) -> Number | None:
        """Return one number, None where there is none."""
        return self._by_what.get((model, attack, eps_255, metric))

    def find(
        self, *attacks: str, model: str | None = None, eps_255: float | None = None
    ) -> list[Number]:
        """Return the numbers of some attacks (of all, if none is named), a model and a radius."""
        return [
            one
            for one in self.entries
            if (not attacks or one.attack in attacks)
            and model in (None, one.model)
            and eps_255 in (None, one.eps_255)
        ]

    @cached_property
    def _by_what(self) -> dict[tuple[str, str, float, str], Number]:
        return {one.what: one for one in self.entries}

    def radii(self, model: str | None = None) -> list[float]:
        """Return the radii that there are numbers at, 0 left out, ascending."""
        return sorted({one.eps_255 for one in self.find(model=model) if one.eps_255})

    def iterations(self, *attacks: str) -> str:
        """Return the iterations behind some attacks, "50/100" where they differ."""
        runs = (run for one in self.find(*attacks) for run in one.runs if run.iterations)
        return "/".join(str(count) for count in sorted({run.iterations for run in runs}))

    def data_set(self, model: str) -> str:
        """Return a model's data set with a comma, or nothing if all that is shown is on one."""
        return f"{self.models[model]['dataset']}, " if len(self.images) > 1 else ""

    def title(self, model: str) -> str:
        """Return what a model is: its data set, if it is not alone, architecture and training.

        Where that is the same of two models, their names follow.
        """
        titles = {name: self.title_alone(name) for name in self.models}
        return f"{titles[model]}, {model}" if model in alike(titles) else titles[model]

    def title_alone(self, model: str) -> str:
        """Return a model's title as it is if no other is like it."""
        settings = self.models[model]
        if settings["scheme"] == "own":
            return f"{self.data_set(model)}{model}"
        return f"{self.data_set(model)}{architecture(settings)}, {training(settings)}"

    def trained(self, model: str) -> str:
        """Return a model's title without its architecture."""
        words = {n: f"{self.data_set(n)}{training(one)}" for n, one in self.models.items()}
        return f"{words[model]}, {model}" if model in alike(words) else words[model]

    def notes(self) -> tuple[str, ...]:
        """Return what must be said of the models shown."""
        half = any(settings["scheme"] == "half_at" for settings in self.models.values())
        published = (
            f"{name}: weights published by {settings['publisher']}, not trained here."
            for name, settings in self.models.items()
            if settings.get("publisher")
        )
        return (*((HALF_AT_NOTE,) if half else ()), *published)

    def about(self) -> str:
        """Return what the numbers are: metrics, images, seeds."""
        said = {
            "acc": "ACC is the mean over images of the pixel accuracy of each image, in percent.",
            "miou": "mIoU sums intersections and unions of each class over images, in percent.",
        }
        sets = " and ".join(
            f"{amount(count, 'image')} of {name}" for name, count in self.images.items()
        )
        seeds = [counted("training seed", self.training_seeds)]
        if self.attack_seeds:
            seeds.append(counted("attack seed", self.attack_seeds))
        words = [said[metric] for metric in self.exhibit.metrics if metric in said]
        if len(self.training_seeds) > 1:
            words.append("Mean ± sample standard deviation over the training seeds.")
        return " ".join([*words, f"{sets}; {'; '.join(seeds)}."])

    @property
    def interval_words(self) -> str:
        """What `low` and `high` are."""
        if len(self.training_seeds) > 1:
            return "one standard deviation over training seeds"
        return "95 % interval over images"

    def of_intervals(self, words: str) -> str:
        """Return what a caption says of intervals over images; over several seeds, nothing."""
        return words if len(self.training_seeds) < 2 else ""

    def over_training_seeds(self) -> Numbers:
        """Return the means over training seeds; numbers of one seed stay as they are."""
        if len(self.training_seeds) < 2:
            return self
        by_what: dict[tuple[str, str, float, str], list[Number]] = {}
        for one in self.entries:
            by_what.setdefault(one.what, []).append(one)
        return replace(self, entries=tuple(map(_mean, by_what.values())))

    def frame(self) -> pd.DataFrame:
        """Return the long form, with LONG_COLUMNS."""
        import pandas as pd

        rows = [self._row(one) for one in self.entries]
        return pd.DataFrame(rows, columns=list(LONG_COLUMNS))

    def _row(self, one: Number) -> dict[str, Any]:
        row = {name: getattr(one, name) for name in LONG_COLUMNS if hasattr(one, name)}
        suites = " ".join(sorted({run.suite for run in one.runs})) if one.runs else None
        row |= {"table": self.exhibit.id, "suites": suites}
        return {name: value for name, value in row.items() if value is not None}

    def write(self, path: Path, evidence: Sequence[str], **about: str) -> None:
        """Write the long form, each number with the runs behind it, as Parquet.

        Args:
            path: the file.
            evidence: the files it was made from, which its metadata names with their provenance.
            about: what its metadata says besides.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from robustseg.evidence.reading import merged_provenance

        made_by = {key: ", ".join(values) for key, values in merged_provenance(evidence).items()}
        said = made_by | about | {"evidence": "\n".join(evidence)}
        table = pa.Table.from_pandas(self.frame(), preserve_index=False)
        runs = [[run._asdict() for run in one.runs] for one in self.entries]
        table = table.append_column("runs", pa.array(runs))
        pq.write_table(table.replace_schema_metadata(said), path)


def _mean(numbers: Sequence[Number]) -> Number:
    """Return the mean over training seeds of one number."""
    values = tuple(one.value for one in numbers)
    if len(values) < 2:
        return numbers[0]
    mean, std = mean_and_spread(values)
    return replace(
        numbers[0],
        training_seed=None,
        value=mean,
        std=std,
        low=mean - std,
        high=mean + std,
        by_seed=values,
        runs=tuple(run for one in numbers for run in one.runs),
        passes=(sum(one.passes[0] for one in numbers), sum(one.passes[1] for one in numbers)),
    )


def collect(
    exhibit: Exhibit, sources: Sources, reported: Mapping[tuple[Any, ...], float] | None = None
) -> Numbers:
    """Return the numbers of a table or figure: of what it selects, one training seed after another.

    Args:
        exhibit: the table or figure.
        sources: what they are made from.
        reported: the paper's printed numbers, see `Numbers`.

    Raises:
        RobustsegError: what the table or figure needs is not there; the sentence says what.
    """
    if exhibit.select is None:
        raise AssertionError(f"{exhibit.id} reads no evidence and makes its numbers itself")
    evidence = evidence_in(sources)
    entries: dict[tuple[Any, ...], Number] = {}
    for training_seed in evidence.training_seeds:
        for selection in exhibit.select(evidence.runs(training_seed)):
            for one in _measured(exhibit, sources, selection):
                entries[training_seed, *one.what] = one  # the same number twice is there once
    runs = evidence.all_runs
    shown = evidence.runs(evidence.training_seeds[0]).models()
    return Numbers(
        exhibit,
        {model: sources.models[model] for model in shown},
        tuple(entries.values()),
        images={run.dataset: evidence.images(run) for run in runs if not run.eps_255},
        training_seeds=tuple(evidence.training_seeds),
        attack_seeds=tuple(sorted({run.seed for run in runs if run.eps_255})),
        reported=reported or {},
        others={name: one for name, one in sources.models.items() if name not in shown},
    )


def _measured(exhibit: Exhibit, sources: Sources, selection: Selection) -> Sequence[Number]:
    if exhibit.measure is not None:
        return exhibit.measure(sources, selection)
    evidence = evidence_in(sources)
    attacked = evidence.worst(selection.runs)
    return outcome_numbers(evidence, selection, attacked, exhibit.metrics)
