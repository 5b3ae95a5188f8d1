"""The whole configuration, and what follows from it for each table, model and attack."""

from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from robustseg.attacks.spec import ask_for_class_pixels
from robustseg.config.attacks import Attacks, Gallery, Targeted
from robustseg.config.data import AnyData, Downloads, Folder
from robustseg.config.models import (
    NO_ATTACK,
    AnyBackbone,
    AnyModel,
    FetchedBackbone,
    OwnModel,
    ReleasedModel,
    TrainedBackbone,
    TrainedModel,
    Training,
)
from robustseg.data.archives import ARCHIVES
from robustseg.data.splits import archives_of
from robustseg.evaluation.suite_kinds import Doubt
from robustseg.evidence.enumerator import EvidenceJob, by_radius, jobs_read, radii_to_path
from robustseg.evidence.enumerator import Read as EvidenceRead
from robustseg.evidence.runs import Run, planned_runs
from robustseg.exhibits import Exhibit
from robustseg.figures.registry import EXHIBITS, FIGURES, PICTURES
from robustseg.files import sha256
from robustseg.models.published import FILES, MARGIN, MODELS, SegmentationWeights, Weights
from robustseg.sections import FilePath, Name, Radius, RunName, Section, Seed
from robustseg.tables.registry import TABLES


class Read(Section):
    """Evidence that a table or figure reads; the model's clean evaluation always comes with it."""

    model: Name = Field(description="one of `models` or, for a table of backbones, of `backbones`")
    suites: list[Name] = Field(
        [], description="some of `attacks.suites`; none for the clean evaluation alone"
    )
    eps_255: list[Radius] = Field(
        [],
        description="radii of the attack, in 1/255; `alma` and `objects` have one of their own",
    )
    seeds: list[Seed] = Field([0], min_length=1, description="seeds of the attack")


class Config(Section):
    """The whole configuration."""

    run: RunName = Field(
        description="name of the run: everything is written under `results/{run}/`"
    )
    training_seeds: list[Seed] = Field(
        [0],
        min_length=1,
        description="seeds of training; tables and figures read the first, those of `seeds` all",
    )
    data: dict[Name, AnyData] = Field(description="data sets")
    downloads: Downloads = Field(
        Downloads(), description="where archives come from and where they are kept"
    )
    backbones: dict[Name, AnyBackbone] = Field({}, description="classifiers that models start from")
    training: dict[Name, Training] = Field({}, description="optimizer settings")
    models: dict[Name, AnyModel] = Field(description="segmentation models")
    attacks: Attacks = Field(Attacks.model_validate({}), description="how models are attacked")
    tables: dict[Literal[tuple(TABLES)], list[Read]] = Field(  # type: ignore[valid-type]
        {},
        description="what each table reads, row by row; [] for one that shows the configuration",
    )
    figures: dict[Literal[tuple(FIGURES)], list[Read]] = Field(  # type: ignore[valid-type]
        {}, description="what each figure reads"
    )
    seeds: dict[Literal[tuple(EXHIBITS)], list[Read]] = Field(  # type: ignore[valid-type]
        {},
        description="tables and figures to make over all training seeds too, and what each reads "
        "there (target `seeds`)",
    )
    gallery: Gallery | None = Field(None, description="attacked images to keep")
    targeted: Targeted | None = Field(None, description="targeted attacks")
    pictures: dict[Literal[tuple(PICTURES)], list[Name]] = Field(  # type: ignore[valid-type]
        {},
        description="models that figures of attacked images show: a figure of targeted attacks "
        "some of `models`, the others one each of `gallery`",
    )
    throughput: FilePath | None = Field(
        None,
        description="for the target `plan`: a file of throughputs that was measured elsewhere "
        "(docs/plan.md); by default the device at hand is measured",
    )

    def __hash__(self) -> int:
        """Tell configurations apart for caches: they do not change once they are read."""
        return id(self)

    def exhibits(self, over_seeds: bool = False) -> list[str]:
        """Return the tables and figures of numbers, or those over all training seeds."""
        return list(self.seeds) if over_seeds else [*self.tables, *self.figures]

    def reads_of(self, name: str, over_seeds: bool = False) -> list[EvidenceRead]:
        """Return what a table or figure reads, as plain data, each suite at its own radius.

        Args:
            name: of the table or figure.
            over_seeds: what it reads over all training seeds.
        """
        known: Mapping[str, list[Read]] = (
            self.seeds if over_seeds else {**self.tables, **self.figures}
        )
        return by_radius([read.model_dump() for read in known[name]], self._suites())

    def _suites(self) -> dict[str, dict[str, Any]]:
        return {name: suite.model_dump() for name, suite in self.attacks.suites.items()}

    def evidence_of(self, name: str, over_seeds: bool = False) -> list[EvidenceJob]:
        """Return the jobs whose evidence a table or figure reads, each shard by itself, once."""
        training_seeds = self.training_seeds if over_seeds else self.training_seeds[:1]
        jobs = (
            job
            for training_seed in training_seeds
            for read in self.reads_of(name, over_seeds)
            for job in jobs_read(read, training_seed, lambda *what: self.cut_of(*what)[0])
        )
        return list(dict.fromkeys(jobs))

    def radii_with(self, job: EvidenceJob) -> list[float]:
        """Return the radii that the workflow attacks at in one job with this one, ascending."""
        if self.attacks.radii == "apart":
            return [job.eps_255]
        return sorted(self._radii_together[job._replace(eps_255=0.0)])

    def wildcards_of(self, job: EvidenceJob) -> dict[str, str]:
        """Return the words of the path that the evidence of a job lies at."""
        return job.wildcards | {"eps_255": radii_to_path(self.radii_with(job))}

    def doubted_radii(self, job: EvidenceJob) -> list[float]:
        """Return the radii at which the figures that a second opinion is on are doubted, ascending.

        All of them, whether in one job or in several, since figures are compared between radii.
        """
        return sorted(self._radii_together.get(job._replace(eps_255=0.0), {job.eps_255}))

    def doubted_by(self, job: EvidenceJob) -> list[EvidenceJob]:
        """Return the jobs whose evidence a second opinion is on, the clean evaluation first."""
        suite = self.attacks.suites[job.suite]
        assert isinstance(suite, Doubt)
        read = {
            "model": job.model, "suites": [suite.of], "seeds": [job.seed],
            "eps_255": self.doubted_radii(job),
        }  # fmt: skip
        return list(jobs_read(read, job.training_seed, lambda *what: self.cut_of(*what)[0]))

    @cached_property
    def _radii_together(self) -> dict[EvidenceJob, set[float]]:
        """All radii that are read, by jobs without theirs."""
        radii: dict[EvidenceJob, set[float]] = {}
        for over_seeds in (False, True):
            for name in self.exhibits(over_seeds):
                for job in self.evidence_of(name, over_seeds):
                    radii.setdefault(job._replace(eps_255=0.0), set()).add(job.eps_255)
        return radii

    def planned_runs(self, name: str, over_seeds: bool = False) -> list[Run]:
        """Return the runs of one training seed that a table or figure will find."""
        reads = self.reads_of(name, over_seeds)
        datasets = {read["model"]: self.dataset_of(read["model"]) for read in reads}
        return planned_runs(reads, self._suites(), datasets, self.training_seeds[0])

    def data_of(self, name: str) -> dict[str, Any]:
        """Return what the images and labels of a data set follow from, not where they lie."""
        return self.data[name].model_dump(exclude={"root", "check_counts", "check_pixels"})

    def to_show(self) -> dict[str, Any]:
        """Return the configuration without the places where copies of data and weights lie.

        Nothing follows from these, and a page that shows it may be passed on.
        """
        return self.model_dump(exclude={"downloads": True, "data": {"__all__": {"root"}}})

    def folders_of(self, name: str) -> dict[str, str]:
        """Return the folder of each archive of a data set, relative to its root."""
        data = self.data[name]
        settings = data.model_dump()
        return {
            archive: "" if settings["root"] or not ARCHIVES[archive].wanted else archive
            for archive in archives_of(settings)
        }

    def dataset_of(self, name: str) -> str:
        """Return the data set of a model or a backbone."""
        dataset = (self.models.get(name) or self.backbones[name]).dataset
        assert dataset is not None, f"{name} is to be evaluated and has no data set"
        return dataset

    def published_of(self, name: str) -> Weights | None:
        """Return what is known of a model's or backbone's weights, if others have trained it."""
        return getattr(self.models.get(name) or self.backbones[name], "published", None)

    def weights_files(self) -> list[str]:
        """Return the files of published weights that this configuration needs."""
        names = [*self.backbones, *self.models]
        files = [weights.file for name in names if (weights := self.published_of(name))]
        return list(dict.fromkeys([*files, *filter(None, map(self.fetched_of, self.models))]))

    def fetched_of(self, name: str) -> str | None:
        """Return the published file that holds the weights of a model of one's own, if one does.

        It does if the model names the place where the workflow keeps this file once it is fetched.
        """
        model = self.models[name]
        if not isinstance(model, OwnModel) or model.weights is None:
            return None
        path = Path(model.weights)
        kept = Path(self.downloads.folder, "weights", path.name)
        return path.name if path.name in FILES and path == kept else None

    def min_clean_accuracy_of(self, name: str) -> float | None:
        """Return the percentage that published weights must reach to be attacked; else None."""
        published = self.published_of(name)
        if published is None:
            return None
        entry = self.models.get(name) or self.backbones[name]
        own: float | None = getattr(entry, "min_clean_accuracy", None)
        return published.clean_accuracy - MARGIN if own is None else own

    def own_of(self, name: str) -> dict[str, Any] | None:
        """Return how a model of one's own is made, as plain data; None for all others."""
        model = self.models.get(name)
        if not isinstance(model, OwnModel):
            return None
        return model.model_dump() | {"contents": self._contents_of(name, model)}

    def _contents_of(self, name: str, model: OwnModel) -> dict[str, str]:
        """Return the SHA-256 of each file that a model of one's own is made of.

        A file may be exchanged for one that is older than the evidence, which its time does not
        tell. Of a published file, which is fetched, the workflow itself expects the hash.
        """
        fetched = self.fetched_of(name) and model.weights
        return {
            path: _content(path, about.st_size, about.st_mtime_ns)
            for path in model.files
            if path != fetched and Path(path).is_file()
            for about in (Path(path).stat(),)
        }

    def sources_of(self, suite: str) -> list[str]:
        """Return the other models that a suite's perturbations are found on."""
        return getattr(self.attacks.suites[suite], "sources", [])

    def asks_for_class_pixels(self, suite: str) -> bool:
        """Return whether a loss of a suite, or of the one that it doubts, asks for class pixels."""
        section = self.attacks.suites[suite]
        if isinstance(section, Doubt):
            section = self.attacks.suites[section.of]
        losses = getattr(section, "losses", [])
        return ask_for_class_pixels(losses)

    def cut_of(self, suite: str, victim: str) -> tuple[int, int]:
        """Return how many shards a suite's images are cut into, and the unit that they are cut at.

        What is not cut has the unit 1, so that its evidence does not depend on `batch_size`. A
        second opinion is one job.
        """
        unit = self.attacks.batch_size
        if self.attacks.shards == 1 or isinstance(self.attacks.suites[suite], Doubt):
            return 1, 1
        data = self.data[self.dataset_of(victim)]
        counts = (
            data.images_there()[1] if isinstance(data, Folder) else data.val_images,
            getattr(self.attacks.suites[suite], "images", None),
        )
        batches = [-(-count // unit) for count in counts if count]
        shards = min([self.attacks.shards, *batches])
        return (shards, unit) if shards > 1 else (1, 1)

    def model_of(self, name: str) -> dict[str, Any]:
        """Return the settings of a model, or a backbone, as plain data.

        A model has the `architecture` of its backbone, a backbone the `scheme` of its training.
        """
        if name in self.backbones:
            backbone = self.backbones[name]
            settings = _settings(backbone) | {"architecture": backbone.architecture}
            if isinstance(backbone, FetchedBackbone):
                settings["eps_255"] = TABLE6_EPS_255 if backbone.robust else 0
                settings["publisher"] = backbone.published.publisher
            return settings | {"scheme": "at" if backbone.robust else "clean"}
        model = self.models[name]
        if isinstance(model, ReleasedModel):
            return _settings(model) | _published_settings(MODELS[model.weights])
        if isinstance(model, OwnModel):
            return _settings(model) | _own_settings(model)
        return model.model_dump() | {"architecture": self.backbones[model.backbone].architecture}

    def lineage_of(self, name: str) -> dict[str, Any]:
        """Return all settings that a model's or backbone's weights follow from, as plain data."""
        if name in self.backbones:
            return self._lineage_of_backbone(name)
        model = self.models[name]
        lineage = {"model": self.model_of(name), "data": self.data_of(model.dataset)}
        if isinstance(model, ReleasedModel):
            return lineage | {"file": model.published.file}
        if isinstance(model, OwnModel):
            return lineage | {"contents": self._contents_of(name, model)}
        training = {"training": self.training_of(model)}
        return lineage | training | self._lineage_of_backbone(model.backbone)

    def _lineage_of_backbone(self, name: str) -> dict[str, Any]:
        backbone = self.backbones[name]
        lineage: dict[str, Any] = {"backbone": _settings(backbone)}
        if isinstance(backbone, FetchedBackbone):
            return lineage | {"backbone_file": backbone.published.file}
        return lineage | {
            "backbone_training": self.training_of(backbone),
            "backbone_data": self.data_of(backbone.dataset),
        }

    def models_of(self, name: str, over_seeds: bool = False) -> dict[str, dict[str, Any]]:
        """Return the settings of the models that a table or figure reads, and of their sources.

        One that shows how models are trained gets them with their trainings and, if it reads no
        evidence, all of them.
        """
        exhibit = EXHIBITS[name]
        reads = self.reads_of(name, over_seeds)
        targets = [read["model"] for read in reads]
        sources = [s for read in reads for suite in read["suites"] for s in self.sources_of(suite)]
        if exhibit.of_settings:
            trainings = self.trainings()
            names = [*targets, *sources] if exhibit.select else trainings
            return {model: trainings[model] for model in names}
        return {model: self.model_of(model) for model in [*targets, *sources]}

    def trainings(self) -> dict[str, Any]:
        """Return how everything is trained, as plain data: what Table 5 shows."""
        every: dict[str, Section] = {**self.backbones, **self.models}
        trained = {
            name: one
            for name, one in every.items()
            if isinstance(one, TrainedBackbone | TrainedModel)
        }
        return {
            name: {
                **self.training[one.training].model_dump(),
                **self.model_of(name),
                "training": one.training,
                "data": self.data_of(one.dataset),
            }
            for name, one in trained.items()
        }

    def training_of(self, trained: TrainedBackbone | TrainedModel) -> dict[str, Any]:
        """Return the optimizer settings of a backbone or a model as plain data.

        What cannot change its weights is as if it had not been set, so that no training is repeated
        for it: the attack's settings where nothing is attacked, a pass of the whole batch, and what
        decays where nothing does.
        """
        training = self.training[trained.training]
        settings = training.model_dump()
        if training.images_per_pass == training.batch_size:
            settings["images_per_pass"] = None
        if not training.weight_decay:
            settings["weight_decay_of"] = "all"
        return settings if trained.steps else settings | NO_ATTACK

    def reads(self) -> Iterator[tuple[str, Exhibit, Read]]:
        """Yield everything that is read, with the key that says so and what reads it."""
        sections = (("tables", self.tables), ("figures", self.figures), ("seeds", self.seeds))
        for section, by_name in sections:
            for name, reads in by_name.items():
                for index, read in enumerate(reads):
                    yield f"{section}.{name}[{index}]", EXHIBITS[name], read


TABLE6_EPS_255 = 4
"""Radius for which all robust classifiers of Table 6 were trained, in 1/255."""


@lru_cache
def _content(path: str, size_bytes: int, mtime_ns: int) -> str:
    """Return the SHA-256 of a file, read once for each state that it is seen in."""
    return sha256(path)


def _settings(section: Section) -> dict[str, Any]:
    """Return a section as plain data, without what changes no result."""
    return section.model_dump(exclude={"min_clean_accuracy"})


def _own_settings(model: OwnModel) -> dict[str, Any]:
    """Return what tables and the page say of a model of one's own."""
    described = {"decoder": "", "backbone": model.load, "architecture": model.load}
    return described | {"scheme": "own", "epochs": None, "background": True}


def _published_settings(weights: SegmentationWeights) -> dict[str, Any]:
    """Return how others have trained a model, in the words of a model that is trained here."""
    return {
        "scheme": weights.scheme,
        "decoder": weights.decoder,
        "backbone": weights.architecture,
        "architecture": weights.architecture,
        "epochs": weights.epochs,
        "eps_255": weights.eps_255,
        "steps": weights.steps,
        "background": True,
        "publisher": weights.publisher,
    }
