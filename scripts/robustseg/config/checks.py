"""What a section of a configuration cannot know by itself: names that refer to one another."""

from collections.abc import Iterator, Mapping, Sequence

from robustseg.config.schema import Backbone, Config, Model
from robustseg.errors import RobustsegError


def cross_checks(config: Config) -> Iterator[tuple[str, str]]:
    """Yield (key, problem) for what no section can know by itself."""
    yield from _repeats(config)
    yield from _backbone_problems(config)
    yield from _model_problems(config)
    yield from _shard_problems(config)
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


def _shard_problems(config: Config) -> Iterator[tuple[str, str]]:
    images = {
        model.dataset: config.data[model.dataset].val_images
        for model in config.models.values()
        if model.dataset in config.data
    }
    for dataset, count in images.items():
        if config.attacks.shards > count:
            yield "attacks.shards", f"is more than the {count} validation images of {dataset}"


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
        twice = [name for name in names if name in owner or names.count(name) > 1]
        if twice:
            where = owner.get(twice[0], key)
            yield key, f"names the attack {twice[0]}, which is already in {where}"
        owner |= dict.fromkeys(names, key)


def _read_problems(config: Config) -> Iterator[tuple[str, str]]:
    suites = config.attacks.suites
    for key, read in config.reads():
        if problem := _unknown(read.model, "models", config.models):
            yield f"{key}.model", problem
        for name in read.suites:
            if problem := _unknown(name, "attacks.suites", suites):
                yield f"{key}.suites", problem
            elif suites[name].optimizer == "pgd":
                steps = suites[name].step_size or {}
                lacking = [f"{eps:g}" for eps in read.eps_255 if eps not in steps]
                if lacking:
                    yield (
                        f"{key}.eps_255",
                        f"asks for {', '.join(lacking)}, for which "
                        f"attacks.suites.{name}.step_size has no step",
                    )
