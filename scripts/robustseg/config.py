"""What a configuration may say: every key with its unit, and the checks across sections.

The only module that imports pydantic. `load_config` is called when the workflow is parsed, so it
imports nothing slow; `docs/config.md` is written from these classes by `describe`.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from robustseg.attacks.spec import AttackSpec
from robustseg.errors import RobustsegError
from robustseg.models.registry import BACKBONES, DECODERS
from robustseg.names import LOSSES, OPTIMIZERS, SCHEDULES, SCHEMES

TABLES = ("table1", "table2", "table3", "table4", "table7", "table8", "table9", "table10")
FIGURES = ("figure2", "figure3", "figure4", "figure5")

Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Seed: TypeAlias = Annotated[int, Field(ge=0)]
Radius: TypeAlias = Annotated[float, Field(gt=0, le=255)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A part of the configuration: no unknown keys, no silent conversion between types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Generated(Section):
    """A data set that the workflow generates itself: `scenes` to segment, `shapes` to classify."""

    kind: Literal["scenes", "shapes"] = Field(
        description="`scenes`: several objects and a label for each pixel; "
        "`shapes`: one object and one label for the image, to pretrain backbones on"
    )
    size_px: int = Field(ge=16, multiple_of=16, description="height and width of an image, pixels")
    train_images: Count = Field(description="images in the training split")
    val_images: Count = Field(description="images in the validation split, which is attacked")
    seed: Seed = Field(description="seed of the generator")


class Training(Section):
    """Settings of an optimizer, shared by the models (or backbones) that name them."""

    optimizer: Literal["adamw"] = Field(description="optimizer")
    learning_rate: Positive = Field(description="highest learning rate, reached after the warm-up")
    weight_decay: float = Field(ge=0, description="decoupled weight decay")
    betas: Annotated[list[Share], Field(min_length=2, max_length=2)] = Field(
        description="decay rates of AdamW's two running means"
    )
    batch_size: Count = Field(description="images in a batch")
    warmup: Share = Field(description="share of all updates during which the learning rate rises")
    power: Positive = Field(description="exponent of the polynomial decay after the warm-up")
    step_size: Positive = Field(
        description="step of PGD inside training, for images in [0, 1] (the paper: 0.01)"
    )
    auxiliary_weight: float = Field(
        0.0, ge=0, description="weight of the auxiliary head's loss (the released code: 0.4)"
    )


class Backbone(Section):
    """A classifier that the workflow trains, robustly if it has a radius, as a start for models."""

    architecture: Literal[tuple(BACKBONES)] = Field(description="network")  # type: ignore[valid-type]
    dataset: Name = Field(description="classification set, one of `data`")
    training: Name = Field(description="optimizer settings, one of `training`")
    epochs: Count = Field(description="passes over the training split")
    eps_255: float = Field(
        0, ge=0, le=255, description="radius of adversarial training, in 1/255; 0: clean training"
    )
    steps: int = Field(0, ge=0, description="PGD steps for each batch; 0: clean training")
    eps_ramp: Share = Field(
        0, description="share of all updates during which the radius rises from 0 to eps_255"
    )

    @property
    def robust(self) -> bool:
        """Whether it is trained adversarially."""
        return self.eps_255 > 0


class Model(Section):
    """A segmentation model and how it is trained."""

    scheme: Literal[SCHEMES] = Field(  # type: ignore[valid-type]
        description="`clean`; `at`: adversarial training from a clean backbone; `pir_at`: the same "
        "from a robust backbone; `half_at`: half of each batch stays clean"
    )
    decoder: Literal[tuple(DECODERS)] = Field(description="decoder")  # type: ignore[valid-type]
    backbone: Name = Field(description="where its backbone starts from, one of `backbones`")
    dataset: Name = Field(description="segmentation set, one of `data`")
    training: Name = Field(description="optimizer settings, one of `training`")
    epochs: Count = Field(description="passes over the training split")
    eps_255: float = Field(0, ge=0, le=255, description="radius of its training, in 1/255")
    steps: int = Field(0, ge=0, description="PGD steps for each batch of its training")


class Suite(Section):
    """A named set of attacks: every loss with every schedule and number of iterations."""

    losses: list[Literal[LOSSES]] = Field(  # type: ignore[valid-type]
        min_length=1, description="objectives, in the order in which the attacks run"
    )
    optimizer: Literal[OPTIMIZERS] = Field(description="`apgd` or `pgd`")  # type: ignore[valid-type]
    schedules: list[Literal[SCHEDULES]] = Field(  # type: ignore[valid-type]
        min_length=1,
        description="radius over the iterations: `constant`; `restarts`: three constant runs of a "
        "third each; `reduced`: 2, 1.5 and 1 times the radius, 3:3:4 of the iterations",
    )
    iterations: list[Count] = Field(
        min_length=1, description="forward and backward passes for each image and attack"
    )
    step_size: dict[Radius, Positive] | None = Field(
        None,
        description="only for `pgd`: the step, for images in [0, 1], by radius in 1/255",
    )

    def attacks(self) -> list[AttackSpec]:
        """Return the suite's attacks; PGD's with the step of the first radius."""
        step_size = next(iter(self.step_size.values())) if self.step_size else None
        return [
            AttackSpec(loss, self.optimizer, schedule, iterations, step_size)
            for loss, schedule, iterations in product(self.losses, self.schedules, self.iterations)
        ]

    def at(self, eps_255: float) -> dict[str, Any]:
        """Return the settings that matter at one radius: without the steps of other radii."""
        steps = self.step_size
        return self.model_dump() | {"step_size": steps and {eps_255: steps[eps_255]}}


class Attacks(Section):
    """How models are attacked."""

    batch_size: Count = Field(
        description="images attacked at a time; changes speed and memory, not results"
    )
    shards: Count = Field(1, description="jobs that share the images of one attack")
    suites: dict[Name, Suite] = Field(description="named sets of attacks")


class Read(Section):
    """Evidence that a table or figure reads; the model's clean evaluation always comes with it."""

    model: Name = Field(description="one of `models`")
    suites: list[Name] = Field(min_length=1, description="some of `attacks.suites`")
    eps_255: list[Radius] = Field(min_length=1, description="radii of the attack, in 1/255")
    seeds: list[Seed] = Field([0], min_length=1, description="seeds of the attack")


class Config(Section):
    """The whole configuration."""

    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = Field(
        description="name of the run: everything is written under `results/{run}/`"
    )
    training_seeds: list[Seed] = Field(
        min_length=1,
        description="seeds of training; tables and figures read the first, `seeds` reads all",
    )
    data: dict[Name, Generated] = Field(description="data sets")
    backbones: dict[Name, Backbone] = Field(description="classifiers that models start from")
    training: dict[Name, Training] = Field(description="optimizer settings")
    models: dict[Name, Model] = Field(description="segmentation models")
    attacks: Attacks = Field(description="how models are attacked")
    tables: dict[Literal[TABLES], list[Read]] = Field(  # type: ignore[valid-type]
        description="what each table reads, row by row"
    )
    figures: dict[Literal[FIGURES], list[Read]] = Field(  # type: ignore[valid-type]
        description="what each figure reads"
    )
    seeds: list[Read] = Field(
        [], description="what the table over all training seeds reads (target `seeds`)"
    )

    def reads_of(self, *names: str) -> list[Read]:
        """Return what these tables and figures (or `seeds`) read."""
        known: Mapping[str, list[Read]] = {**self.tables, **self.figures, "seeds": self.seeds}
        return [read for name in names for read in known[name]]

    def training_seeds_of(self, name: str) -> list[int]:
        """Return the training seeds that a table or figure is about."""
        return self.training_seeds if name == "seeds" else self.training_seeds[:1]

    def settings_of(self, name: str) -> list[dict[str, Any]]:
        """Return what a table or figure reads, as plain data."""
        return [read.model_dump() for read in self.reads_of(name)]

    def model_of(self, name: str) -> dict[str, Any]:
        """Return a model's settings as plain data, with the `architecture` of its backbone."""
        model = self.models[name]
        return model.model_dump() | {"architecture": self.backbones[model.backbone].architecture}

    def lineage_of(self, name: str) -> dict[str, dict[str, Any]]:
        """Return all settings that a model's weights follow from, as plain data."""
        model = self.models[name]
        backbone = self.backbones[model.backbone]
        return {
            "model": self.model_of(name),
            "training": self.training_of(model),
            "data": self.data[model.dataset].model_dump(),
            "backbone": backbone.model_dump(),
            "backbone_training": self.training_of(backbone),
            "backbone_data": self.data[backbone.dataset].model_dump(),
        }

    def models_of(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the settings of the models that a table or figure reads."""
        return {read.model: self.model_of(read.model) for read in self.reads_of(name)}

    def training_of(self, trained: Backbone | Model) -> dict[str, Any]:
        """Return the optimizer settings of a backbone or a model as plain data."""
        return self.training[trained.training].model_dump()

    def reads(self) -> Iterator[tuple[str, Read]]:
        """Yield everything that is read, with the key that says so."""
        for section, by_name in (("tables", self.tables), ("figures", self.figures)):
            for name, reads in by_name.items():
                for index, read in enumerate(reads):
                    yield f"{section}.{name}[{index}]", read
        for index, read in enumerate(self.seeds):
            yield f"seeds[{index}]", read


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a mapping that names a key twice, which YAML would let the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise RobustsegError(
                    f"{self.name}, line {key_node.start_mark.line + 1}: "
                    f"the key {key} is there twice; keep one"
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        RobustsegError: a key is there twice, or it is not YAML.
    """
    with Path(path).open(encoding="utf-8") as file:
        try:
            return yaml.load(file, _UniqueKeyLoader)
        except yaml.YAMLError as error:
            raise RobustsegError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def load_config(settings: Mapping[str, Any], files: Sequence[str | Path]) -> Config:
    """Check a configuration and return it with its defaults filled in.

    Args:
        settings: the merged configuration, as Snakemake hands it over.
        files: the files that it came from, later ones win; for messages and duplicate keys.

    Raises:
        RobustsegError: one sentence for each problem, naming file and key.
    """
    sources = {str(path): read_yaml(path) for path in files}
    try:
        config = Config.model_validate(settings)
    except ValidationError as error:
        problems = [(_key(e["loc"]), _explain(e)) for e in error.errors()]
    else:
        problems = list(_cross_checks(config))
        if not problems:
            return config
    raise RobustsegError(
        "\n".join(f"{_source(key, sources)}: {key} {problem}" for key, problem in problems)
    )


def _key(location: tuple[str | int, ...]) -> str:
    """Return a location as a person writes it, for example tables.table1[0].model."""
    key = ""
    for part in location:
        if isinstance(part, int):
            key += f"[{part}]"
        elif part != "[key]":
            key += f".{part}" if key else part
    return key


def _source(key: str, sources: Mapping[str, Any]) -> str:
    """Return the last file that has the key; if none has, it is missing or from `--config`."""
    found = ", ".join(sources) or "--config"
    for path, content in sources.items():
        node = content
        for part in key.replace("]", "").replace("[", ".").split("."):
            if isinstance(node, list):
                node = dict(enumerate(node)).get(int(part))
            else:
                node = node.get(part) if isinstance(node, dict) else None
        if node is not None:
            found = path
    return found


def _explain(error: Any) -> str:
    """Return the predicate of a sentence about one of pydantic's errors."""
    value, kind = error["input"], error["type"]
    if kind == "extra_forbidden":
        known = _known_keys(error["loc"])
        return f"is not a known key; known here: {', '.join(known)}"
    if kind == "missing":
        return "is missing"
    message = error["msg"].replace("Input should", "should", 1).replace("String", "", 1).strip()
    hint = ""
    if kind == "float_type" and isinstance(value, str):
        hint = " (YAML reads 1e-3 as text: write 1.0e-3)"
    return f"{message}, not {value!r}{hint}"


def _known_keys(location: tuple[str | int, ...]) -> list[str]:
    """Return the keys known in the section that holds the key at `location`."""
    section: Any = Config
    for part in location[:-1]:
        fields = getattr(section, "model_fields", None)
        if fields is None or part not in fields:
            continue
        section = _section_in(fields[part].annotation) or section
    return list(section.model_fields)


def _section_in(annotation: Any) -> type[Section] | None:
    """Return the section class inside a type such as dict[str, Section], if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    inside = (_section_in(argument) for argument in getattr(annotation, "__args__", ()))
    return next(filter(None, inside), None)


def _cross_checks(config: Config) -> Iterator[tuple[str, str]]:
    """Yield (key, problem) for what no section can know by itself."""
    yield from _repeats(config)
    yield from _backbone_problems(config)
    yield from _model_problems(config)
    yield from _suite_problems(config)
    yield from _read_problems(config)


def _repeats(config: Config) -> Iterator[tuple[str, str]]:
    lists: list[tuple[str, Sequence[object]]] = [("training_seeds", config.training_seeds)]
    for key, read in config.reads():
        lists += [
            (f"{key}.{field}", getattr(read, field)) for field in ("suites", "eps_255", "seeds")
        ]
    for key, values in lists:
        yield from ((key, f"names {value} twice") for value in _twice(values))


def _twice(values: Sequence[object]) -> list[object]:
    return sorted({value for value in values if values.count(value) > 1}, key=str)


def _unknown(name: str, section: str, known: Mapping[str, object]) -> str | None:
    """Return a problem if `name` is not one of a section's names."""
    if name in known:
        return None
    return f"is {name!r}, which is not one of `{section}`: {', '.join(known) or 'it is empty'}"


def _trained_problems(
    config: Config, key: str, trained: Backbone | Model, kind: str
) -> Iterator[tuple[str, str]]:
    """Yield what backbones and models have in common: data of the right kind, and a training."""
    if problem := _unknown(trained.training, "training", config.training):
        yield f"{key}.training", problem
    if problem := _unknown(trained.dataset, "data", config.data):
        yield f"{key}.dataset", problem
    elif (found := config.data[trained.dataset].kind) != kind:
        fitting = [name for name, data in config.data.items() if data.kind == kind]
        yield (
            f"{key}.dataset",
            f"is {trained.dataset!r}, a set of kind {found}, but it needs one of kind {kind}: "
            f"{', '.join(fitting) or 'there is none in `data`'}",
        )


def _backbone_problems(config: Config) -> Iterator[tuple[str, str]]:
    for name, backbone in config.backbones.items():
        key = f"backbones.{name}"
        yield from _trained_problems(config, key, backbone, "shapes")
        if (backbone.eps_255 > 0) != (backbone.steps > 0):
            yield key, "needs both eps_255 and steps for robust training, or neither for clean"


def _model_problems(config: Config) -> Iterator[tuple[str, str]]:
    for name, model in config.models.items():
        key = f"models.{name}"
        yield from _trained_problems(config, key, model, "scenes")
        adversarial = model.scheme != "clean"
        if adversarial and not (model.eps_255 > 0 and model.steps > 0):
            yield key, f"needs eps_255 and steps above 0 for the scheme {model.scheme}"
        if not adversarial and (model.eps_255 or model.steps):
            yield key, "has the scheme clean, which takes neither eps_255 nor steps"
        if problem := _unknown(model.backbone, "backbones", config.backbones):
            yield f"{key}.backbone", problem
        elif adversarial and config.backbones[model.backbone].robust != (model.scheme == "pir_at"):
            wanted = "robust" if model.scheme == "pir_at" else "clean"
            yield (
                f"{key}.backbone",
                f"is {model.backbone!r}, but the scheme {model.scheme} starts from a {wanted} one",
            )


def _suite_problems(config: Config) -> Iterator[tuple[str, str]]:
    owner: dict[str, str] = {}
    for suite_name, suite in config.attacks.suites.items():
        key = f"attacks.suites.{suite_name}"
        if suite_name == "clean":
            yield key, "has the name of the evaluation without an attack: choose another"
        try:
            names = [attack.name for attack in suite.attacks()]
        except RobustsegError as error:
            yield key, f"is refused: {error}"
            continue
        for name in names:
            if name in owner:
                yield key, f"names the attack {name}, which is already in {owner[name]}"
            owner[name] = key


def _read_problems(config: Config) -> Iterator[tuple[str, str]]:
    suites = config.attacks.suites
    for key, read in config.reads():
        if problem := _unknown(read.model, "models", config.models):
            yield f"{key}.model", problem
        for name in read.suites:
            if problem := _unknown(name, "attacks.suites", suites):
                yield f"{key}.suites", problem
                continue
            steps = suites[name].step_size
            lacking = [f"{eps:g}" for eps in read.eps_255 if steps is not None and eps not in steps]
            if lacking:
                yield (
                    f"attacks.suites.{name}.step_size",
                    f"has no step for the radius {', '.join(lacking)} that {key} asks for",
                )


def describe() -> str:
    """Return the reference of all keys as Markdown: the content of docs/config.md."""
    sections: list[type[Section]] = [Config]
    lines = [
        "# Configuration",
        "",
        "Every key that a configuration file may have, and must have unless a default is given.",
        "Written by `make docs` from `scripts/robustseg/config.py`; do not edit.",
    ]
    for section in sections:  # grows while it is read
        lines += ["", f"## {section.__name__}", "", section.__doc__ or "", ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        for name, field in section.model_fields.items():
            inner = _section_in(field.annotation)
            if inner and inner not in sections:
                sections.append(inner)
            default = "" if field.is_required() else f"`{field.default}`"
            lines.append(
                f"| `{name}` | {_words(field.annotation)} | {default} | {field.description} |"
            )
    return "\n".join(lines) + "\n"


def _words(annotation: Any) -> str:
    """Return a type in words that a reader of YAML understands."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{argument}`" for argument in arguments)
    if origin is list:
        return f"list of {_words(arguments[0])}"
    if origin is dict:
        return f"{_words(arguments[1])} by {_words(arguments[0])}"
    if origin is UnionType:
        return _words(arguments[0])
    if issubclass(annotation, Section):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return {"str": "text", "int": "integer", "float": "number"}[annotation.__name__]
