"""Runs of attacks, in evidence or as planned, and how tables choose among them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from robustseg.attacks.losses import SEA_LOSSES
from robustseg.attacks.spec import DEFAULT_CHOICE, Member
from robustseg.errors import RobustsegError
from robustseg.evidence.enumerator import (
    ALMA_PROX,
    CLEAN,
    CLEAN_SUITE,
    EvidenceJob,
    Read,
    attacks_of,
    jobs_read,
)

Models = Mapping[str, Mapping[str, Any]]
"""The settings of models by name, as `config.Config.model_of` gives them."""


class Run(NamedTuple):
    """One attack on one model at one radius with one seed: what all its rows share."""

    dataset: str
    model: str
    training_seed: int
    suite: str
    attack: str
    loss: str
    optimizer: str
    schedule: str
    iterations: int
    eps_255: float
    seed: int
    logit_margin: float = 0.0
    choice: str = DEFAULT_CHOICE

    @property
    def job(self) -> EvidenceJob:
        """The job that the run is a part of."""
        return EvidenceJob(self.suite, self.model, self.training_seed, self.eps_255, self.seed)

    @property
    def member_name(self) -> str:
        """The loss as suites name it; of attacks that have one of `losses.LOSSES`."""
        budget = f"-{self.schedule}-{self.iterations}"
        found = re.search(rf"{self.optimizer}-({self.loss}.*?){budget}", self.attack)
        assert found is not None, f"{self.attack} is not named after its loss"
        return found[1]

    @property
    def member(self) -> Member:
        """The loss with all that suites say of it; of attacks that have one of `losses.LOSSES`."""
        return Member.read(self.member_name)


class Selection(NamedTuple):
    """The runs behind some numbers: their image-wise worst case, if nothing else is said.

    Attributes:
        attack: what they are called together, in the words of config/paper/README.md where the
            paper has them.
        runs: at least one, of one model.
        eps_255: the radius that the numbers stand for, in 1/255; None: that of the first run.
    """

    attack: str
    runs: tuple[Run, ...]
    eps_255: float | None = None


class Runs:
    """The runs of one training seed that a table or figure reads.

    Args:
        name: of the table or figure, for messages.
        runs: all of them.
        models: settings of the configuration's models; they are shown in this order.
        reads: what the configuration lists, each suite at its own radius.
    """

    def __init__(
        self, name: str, runs: Iterable[Run], models: Models, reads: Sequence[Read]
    ) -> None:
        self.name, self.settings, self._reads = name, models, reads
        self.all = sorted(runs)
        self._of_model: dict[str, list[Run]] = {}
        for run in self.all:
            self._of_model.setdefault(run.model, []).append(run)

    def find(self, **criteria: Any) -> list[Run]:
        """Return the runs whose fields equal all `criteria`; a tuple means any of its members."""
        model = criteria.get("model")
        among = self._of_model.get(model, []) if isinstance(model, str) else self.all
        return [
            run
            for run in among
            if all(
                getattr(run, field) in (value if isinstance(value, tuple) else (value,))
                for field, value in criteria.items()
            )
        ]

    def one(self, **criteria: Any) -> Run:
        """Return the only run with these fields.

        Raises:
            RobustsegError: there is none, or more than one.
        """
        found = self.find(**criteria)
        if len(found) != 1:
            asked = ", ".join(f"{field} {value}" for field, value in criteria.items())
            names = ", ".join(f"{run.suite}/{run.attack}" for run in found[:3])
            what = "none" if not found else f"{len(found)} ({names})"
            raise self.refusal(
                f"needs one run of {asked} and finds {what}; check the suites that it reads"
            )
        return found[0]

    def sea(self, **criteria: Any) -> tuple[Run, ...]:
        """Return SEA's runs of one model, radius and seed."""
        return self.reduced(SEA_LOSSES, **criteria)

    def reduced(self, losses: Sequence[str], **criteria: Any) -> tuple[Run, ...]:
        """Return the runs of red-eps APGD on each of some losses, with the logits as they are."""
        criteria |= {"logit_margin": 0.0, "choice": DEFAULT_CHOICE}
        return tuple(
            self.one(loss=loss, optimizer="apgd", schedule="reduced", **criteria) for loss in losses
        )

    def clean(self, model: str) -> Run:
        """Return the run without an attack."""
        return self.one(model=model, suite=CLEAN_SUITE)

    def models(self) -> list[str]:
        """Return the models that are read, in the order of the configuration's models."""
        unknown = sorted(set(self._of_model) - set(self.settings))
        if unknown:
            raise self.refusal(
                f"was given evidence of {unknown[0]}, which is not a model of this configuration; "
                "use the evidence of this run"
            )
        return [model for model in self.settings if model in self._of_model]

    def only_model(self) -> str:
        """Return the one model that is read.

        Raises:
            RobustsegError: there are several.
        """
        models = self.models()
        if len(models) != 1:
            raise self.refusal(f"shows one model and reads {', '.join(models)}; name one of them")
        return models[0]

    def radii(self, model: str) -> list[float]:
        """Return the radii at which the model was attacked, ascending."""
        return sorted({run.eps_255 for run in self.find(model=model) if run.eps_255})

    def bounded_radii(self, model: str) -> list[float]:
        """Return the radii of attacks that have one, ascending: not that of ALMA prox.

        Raises:
            RobustsegError: there is none.
        """
        radii = sorted({run.eps_255 for run in self._bounded(model) if run.eps_255})
        if not radii:
            raise self.refusal(f"reads no attack on {model} at a radius; name a suite with one")
        return radii

    def at_radius(self, model: str, eps_255: float) -> list[Run]:
        """Return the runs of attacks that have this radius: not of ALMA prox, which has none."""
        return [run for run in self._bounded(model) if run.eps_255 == eps_255]

    def _bounded(self, model: str) -> list[Run]:
        return [run for run in self.find(model=model) if run.optimizer != ALMA_PROX]

    def suites(self, model: str, eps_255: float) -> list[str]:
        """Return the suites with attacks at a radius, in the order of the configuration."""
        found = {run.suite for run in self.at_radius(model, eps_255)}
        listed = (
            suite
            for read in self._reads
            if read["model"] == model and eps_255 in map(float, read["eps_255"])
            for suite in read["suites"]
        )
        return [suite for suite in dict.fromkeys(listed) if suite in found]

    def attacked(self) -> Iterator[tuple[str, float]]:
        """Yield each model with each of its radii."""
        return ((model, eps_255) for model in self.models() for eps_255 in self.radii(model))

    def refusal(self, problem: str) -> RobustsegError:
        """Return the error that the table or figure cannot be made of these runs."""
        return RobustsegError(f"{self.name} {problem}")


def clean_and_sea(runs: Runs) -> Iterator[Selection]:
    """Yield each model without an attack and under SEA at each radius: Tables 3 and 4."""
    for model in runs.models():
        yield Selection("clean", (runs.clean(model),))
        for eps_255 in runs.radii(model):
            yield Selection("sea", runs.sea(model=model, eps_255=eps_255))


def clean_and_worst(runs: Runs) -> Iterator[Selection]:
    """Yield each model without an attack, and at each radius the worst of all attacks read there.

    The clean image is a candidate, the last of equals. Attacks without a radius have none to stand
    at.
    """
    for model in runs.models():
        radii, clean = runs.bounded_radii(model), runs.clean(model)
        yield Selection("clean", (clean,))
        for eps_255 in radii:
            yield Selection("worst", (*runs.at_radius(model, eps_255), clean))


def planned_runs(
    reads: Sequence[Read],
    suites: Mapping[str, Mapping[str, Any]],
    datasets: Mapping[str, str],
    training_seed: int,
) -> list[Run]:
    """Return the runs that a table will find once its jobs are done, each once.

    Args:
        reads: what it reads, each suite at its own radius (see `enumerator.by_radius`).
        suites: the configuration's suites, as plain data.
        datasets: the data set of each model.
        training_seed: of the models.
    """
    runs: dict[Run, None] = {}
    for read in reads:
        for job in jobs_read(read, training_seed):
            suite = suites.get(job.suite)
            for attack in attacks_of(suite, job.eps_255) if suite else [CLEAN]:
                run = Run(
                    dataset=datasets[job.model],
                    model=job.model,
                    training_seed=training_seed,
                    suite=job.suite,
                    **attack._asdict(),
                    eps_255=job.eps_255,
                    seed=job.seed,
                )
                runs[run] = None
    return list(runs)
