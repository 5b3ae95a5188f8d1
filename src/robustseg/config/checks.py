"""What a section of a configuration cannot know by itself: names that refer to one another."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from robustseg.attacks.spec import TRANSFER
from robustseg.config.data import (
    CLASSIFICATION_KINDS,
    SEGMENTATION_KINDS,
    Cifar10,
    Folder,
    Generated,
    Voc,
)
from robustseg.config.known_data import has_background, known_classes, known_images
from robustseg.config.models import (
    FetchedBackbone,
    OwnModel,
    ReleasedModel,
    TrainedBackbone,
    TrainedModel,
    Training,
)
from robustseg.config.schema import Config, Read
from robustseg.data.interface import BACKGROUND, IGNORE_BYTE
from robustseg.data.listing import read_ids
from robustseg.errors import RobustsegError
from robustseg.evaluation.suite_kinds import Alma, Doubt, Objects, Square, Suite, Transfer
from robustseg.evidence.runs import Runs
from robustseg.exhibits import Exhibit
from robustseg.figures.registry import EXHIBITS, PICTURES
from robustseg.models.published import MODELS
from robustseg.models.registry import (
    BACKBONES,
    ResNetSize,
    backbones_for,
    has_auxiliary_head,
    has_batch_norm,
)
from robustseg.names import ADVERSARIAL_SHARE, ROBUST_START, SCHEMES

KEPT = "reference"
"""The folder of results/ that `make reference` fills and that is under version control."""


def cross_checks(config: Config) -> Iterator[tuple[str, str]]:
    """Yield (key, problem) for what no section can know by itself."""
    if config.run.casefold() == KEPT:  # some file systems know no difference
        yield (
            "run",
            f"is {config.run!r}, the folder of results kept with the code; choose another name",
        )
    if config.throughput and not Path(config.throughput).is_file():
        yield (
            "throughput",
            f"is {config.throughput!r}, where no file is; a relative path begins where snakemake "
            f"runs, in {Path.cwd()}",
        )
    problems = [
        *_repeats(config),
        *_folder_problems(config),
        *_training_problems(config),
        *_backbone_problems(config),
        *_model_problems(config),
        *_suite_problems(config),
        *_read_problems(config),
        *_picture_problems(config),
    ]
    yield from problems or _need_problems(config)


def _repeats(config: Config) -> Iterator[tuple[str, str]]:
    lists: list[tuple[str, Sequence[object]]] = [("training_seeds", config.training_seeds)]
    for key, _, read in config.reads():
        lists += [
            (f"{key}.{field}", getattr(read, field)) for field in ("suites", "eps_255", "seeds")
        ]
    for key, values in lists:
        yield from ((key, f"names {value} twice") for value in _twice(values))


def _folder_problems(config: Config) -> Iterator[tuple[str, str]]:
    """Yield the folders of people's own data sets that are not there, and lists that are none."""
    for name, data in config.data.items():
        for key, path in data.paths.items() if isinstance(data, Folder) else ():
            is_list = key.endswith("ids")
            if not (Path(path).is_file() if is_list else Path(path).is_dir()):
                yield (
                    f"data.{name}.{key}",
                    f"is {path!r}, where no {'file' if is_list else 'folder'} is; a relative path "
                    f"begins where snakemake runs, in {Path.cwd()}",
                )
            elif is_list:
                try:
                    read_ids(path)
                except RobustsegError as error:
                    yield f"data.{name}.{key}", f"is refused: {error}"


def _twice(values: Sequence[object]) -> list[object]:
    return sorted({value for value in values if values.count(value) > 1}, key=str)


def _unknown(name: str, section: str, known: Mapping[str, object]) -> str | None:
    """Return a problem if `name` is not one of a section's names."""
    if name in known:
        return None
    return f"is {name!r}, which is not one of `{section}`: {', '.join(known) or 'it is empty'}"


def _training_problems(config: Config) -> Iterator[tuple[str, str]]:
    for name, training in config.training.items():
        key = f"training.{name}"
        for optimizer, field in (("adamw", "betas"), ("sgd", "momentum")):
            given = getattr(training, field) is not None
            if given != (training.optimizer == optimizer):
                wanted = "has no" if given else "needs"
                yield key, f"{wanted} {field} with the optimizer {training.optimizer}"
        if training.batch_size % (training.images_per_pass or 1):
            yield (
                f"{key}.images_per_pass",
                f"must divide the batch_size {training.batch_size}: "
                f"{training.images_per_pass} does not",
            )
        for dataset, images in _training_images(config, name).items():
            if training.batch_size > images:
                yield (
                    f"{key}.batch_size",
                    f"is {training.batch_size}, more than the {images} training images of "
                    f"{dataset}, which it trains on",
                )
        yield from _single_image_problems(config, name)


def _users(config: Config, training: str) -> list[TrainedBackbone | TrainedModel]:
    """Return the backbones and models that are trained with some settings."""
    every = [*config.backbones.values(), *config.models.values()]
    trained = [one for one in every if isinstance(one, TrainedBackbone | TrainedModel)]
    return [one for one in trained if one.training == training]


def _training_images(config: Config, training: str) -> dict[str, int]:
    """Return how many images there are, by data set of known size that a training is used on."""
    names = {one.dataset for one in _users(config, training)} & set(config.data)
    counts = {name: known_images(config.data[name])[0] for name in sorted(names)}
    return {name: count for name, count in counts.items() if count is not None}


def _single_image_problems(config: Config, name: str) -> Iterator[tuple[str, str]]:
    """Yield why a training that sends single images through the network cannot be done."""
    training, users = config.training[name], _users(config, name)
    images = training.images_per_pass or training.batch_size
    cases: list[tuple[str, list[TrainedBackbone | TrainedModel]]] = []
    if images == 1:
        cases = [("has passes of one image", users)]
    elif training.attack_mode == "train":
        alone = [one for one in users if _attacked(one, images) == 1]
        cases = [(f"attacks one of {images} images of a pass, in the mode train", alone)]
    for said, some in cases:
        parts = {part for one in some if (part := _needs_several(config, one))}
        if parts:
            yield (
                f"training.{name}",
                f"{said}, but BatchNorm, in {', '.join(sorted(parts))}, needs at least two: raise "
                "images_per_pass, or the batch_size",
            )
    schemes = {one.scheme for one in users if isinstance(one, TrainedModel)}
    for scheme in sorted(schemes, key=SCHEMES.index):
        share = ADVERSARIAL_SHARE[scheme]
        if share and not round(share * images):
            part = f"{images} images" if images > 1 else "one image"
            yield (
                f"training.{name}",
                f"has passes of {part}, of which the scheme {scheme} cannot attack {share:.0%}",
            )


def _attacked(one: TrainedBackbone | TrainedModel, images: int) -> int:
    """Return how many images of a pass are attacked."""
    share = ADVERSARIAL_SHARE[one.scheme] if isinstance(one, TrainedModel) else 1.0
    return round(share * images) if one.steps else 0


def _needs_several(config: Config, one: TrainedBackbone | TrainedModel) -> str | None:
    """Return the part of a network whose BatchNorm would see one value a channel, if there is one.

    In a decoder that is behind the pool of the whole image, in a ResNet at the end if the image is
    small.
    """
    if isinstance(one, TrainedModel):
        return one.decoder if has_batch_norm(one.decoder) else None
    data = config.data.get(one.dataset)
    small = isinstance(data, Generated | Cifar10) and data.size_px <= RESNET_STRIDE
    resnet = isinstance(BACKBONES[one.architecture], ResNetSize)
    return one.architecture if resnet and small else None


RESNET_STRIDE = 32
"""Of a ResNet that classifies: an image of this size ends as one pixel."""


def _trained_problems(
    config: Config, key: str, trained: TrainedBackbone | TrainedModel, kinds: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield what backbones and models have in common: data of the right kind, and a training."""
    if problem := _unknown(trained.training, "training", config.training):
        yield f"{key}.training", problem
    yield from _dataset_problems(config, key, trained.dataset, kinds)
    data = config.data.get(trained.dataset)
    if isinstance(data, Folder) and not data.train_images:
        yield (
            f"{key}.dataset",
            f"is {trained.dataset!r}, which has nothing to train on: give it train_images, "
            "train_masks, crop_px and base_px",
        )


def _dataset_problems(
    config: Config, key: str, name: str, kinds: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield why a data set cannot be that of a backbone or a model."""
    if problem := _unknown(name, "data", config.data):
        yield f"{key}.dataset", problem
    elif (found := config.data[name].kind) not in kinds:
        wanted = " or ".join(kinds)
        fitting = [name for name, data in config.data.items() if data.kind in kinds]
        yield (
            f"{key}.dataset",
            f"is {name!r}, a set of kind {found}, but it needs one of kind {wanted}: "
            f"{', '.join(fitting) or 'there is none in `data`'}",
        )


def _released_problems(config: Config, key: str, model: ReleasedModel) -> Iterator[tuple[str, str]]:
    """Yield why published weights do not fit the data set that they are to be evaluated on."""
    if problem := _unknown(model.dataset, "data", config.data):
        yield f"{key}.dataset", problem
        return
    wanted = MODELS[model.weights].num_classes
    if config.data[model.dataset].num_classes != wanted:
        yield (
            f"{key}.dataset",
            f"is {model.dataset!r}, which has not the {wanted} classes of {model.weights}",
        )


def _own_problems(config: Config, name: str, model: OwnModel) -> Iterator[tuple[str, str]]:
    """Yield what a model of one's own lacks: files that are not there, mean without deviation."""
    key = f"models.{name}"
    yield from _dataset_problems(config, key, model.dataset, SEGMENTATION_KINDS)
    for path in model.files:
        if not Path(path).exists() and not (path == model.weights and config.fetched_of(name)):
            field = "weights" if path == model.weights else "load"
            yield f"{key}.{field}", f"names {path}, which does not exist"
    kind, _, weights = model.load.partition(":")
    if kind == "released":
        yield f"{key}.load", f"is {model.load}: write `kind: released` and `weights: {weights}`"
    if kind == "trained":
        said = model.model_dump(exclude={"kind", "load", "dataset"}, exclude_defaults=True)
        for idle in said:
            yield (
                f"{key}.{idle}",
                f"has no use beside {model.load}, which says it itself: leave it out",
            )
    data = config.data.get(model.dataset)
    known = data.num_classes if data else 0
    for place, label in enumerate(model.classes or ()):
        if known and label is not None and label >= known:
            yield (
                f"{key}.classes[{place}]",
                f"is {label}, but {model.dataset} has the classes 0 to {known - 1}: write null for "
                "an output that is none of them",
            )
    if (model.mean is None) != (model.std is None):
        yield key, "needs both mean and std, or neither"
    if model.mean is not None and model.normalise != "auto":
        yield (
            f"{key}.normalise",
            f"is {model.normalise} beside mean and std: leave it out",
        )


def _backbone_problems(config: Config) -> Iterator[tuple[str, str]]:
    for name, backbone in config.backbones.items():
        key = f"backbones.{name}"
        if name in config.models:
            yield key, "has the name of a model: choose another, since evidence is named by both"
        if isinstance(backbone, FetchedBackbone):
            if backbone.dataset is not None:
                yield from _dataset_problems(config, key, backbone.dataset, ["imagenet"])
            continue
        yield from _trained_problems(config, key, backbone, CLASSIFICATION_KINDS)
        training = config.training.get(backbone.training)
        if training and training.learning_rate_ratio != 1:
            yield (
                f"{key}.training",
                f"is {backbone.training!r}, whose learning_rate_ratio is for a decoder, "
                "which a backbone has not",
            )
        if (backbone.eps_255 > 0) != (backbone.steps > 0):
            yield key, "needs both eps_255 and steps for robust training, or neither for clean"


def _model_problems(config: Config) -> Iterator[tuple[str, str]]:
    for name, model in config.models.items():
        key = f"models.{name}"
        if isinstance(model, ReleasedModel):
            yield from _released_problems(config, key, model)
            continue
        if isinstance(model, OwnModel):
            yield from _own_problems(config, name, model)
            continue
        yield from _trained_problems(config, key, model, SEGMENTATION_KINDS)
        adversarial = model.scheme != "clean"
        if adversarial and not (model.eps_255 > 0 and model.steps > 0):
            yield key, f"needs eps_255 and steps above 0 for the scheme {model.scheme}"
        if not adversarial and (model.eps_255 or model.steps):
            yield key, "has the scheme clean, which takes neither eps_255 nor steps"
        if training := config.training.get(model.training):
            yield from _training_fits(f"{key}.training", model, training)
        if not model.background and _lacks_background(config, model.dataset):
            yield (
                f"{key}.background",
                f"is false, but {model.dataset} has no class {BACKGROUND!r} to ignore: remove it",
            )
        if problem := _unknown(model.backbone, "backbones", config.backbones):
            yield f"{key}.backbone", problem
        elif adversarial and config.backbones[model.backbone].robust != (
            model.scheme in ROBUST_START
        ):
            wanted = "robust" if model.scheme in ROBUST_START else "clean"
            yield (
                f"{key}.backbone",
                f"is {model.backbone!r}, but the scheme {model.scheme} starts from a {wanted} one",
            )
        if model.backbone in config.backbones:
            fitting = backbones_for(model.decoder)
            found = config.backbones[model.backbone].architecture
            if found not in fitting:
                yield (
                    f"{key}.decoder",
                    f"is {model.decoder}, which needs a backbone of one of the architectures "
                    f"{', '.join(fitting)}; {model.backbone} is a {found}",
                )


def _training_fits(key: str, model: TrainedModel, training: Training) -> Iterator[tuple[str, str]]:
    """Yield why a model cannot be trained with the settings that it names."""
    if training.auxiliary_weight and not has_auxiliary_head(model.decoder):
        yield (
            key,
            f"is {model.training!r}, which has an auxiliary_weight, but the decoder "
            f"{model.decoder} has no auxiliary head",
        )


def _lacks_background(config: Config, dataset: str) -> bool:
    """Return whether a data set to segment has no class of the background."""
    data = config.data.get(dataset)
    return data is not None and data.kind in SEGMENTATION_KINDS and not has_background(data)


def _too_many_images(config: Config, images: int, models: Iterable[str]) -> Iterator[str]:
    """Yield why not as many images can be attacked: one problem for each data set of the models."""
    names = {config.models[name].dataset for name in models if name in config.models}
    for name in sorted(names & set(config.data)):
        there = known_images(config.data[name])[1]
        if there is not None and images > there:
            yield f"is {images}, more than the {there} validation images of {name}: lower it"


def _suite_problems(config: Config) -> Iterator[tuple[str, str]]:
    owner: dict[str, str] = {}
    for suite_name, suite in config.attacks.suites.items():
        key = f"attacks.suites.{suite_name}"
        if suite_name == "clean":
            yield key, "has the name of the evaluation without an attack: choose another"
        try:
            prefix = TRANSFER if isinstance(suite, Transfer) else ""
            names = [prefix + attack.name for attack in suite.attacks()]
        except RobustsegError as error:
            yield key, f"is refused: {error}"
            continue
        twice = [name for name in names if name in owner or names.count(name) > 1]
        if twice:
            where = owner.get(twice[0], key)
            yield key, f"names the attack {twice[0]}, which is already in {where}"
        owner |= dict.fromkeys(names, key)
        yield from _unknown_sources(config, f"{key}.sources", config.sources_of(suite_name))
        if isinstance(suite, Doubt):
            yield from _doubted_problems(config, f"{key}.of", suite.of)
        if isinstance(suite, Alma) and suite.images:  # a second opinion takes those that there are
            readers = [read.model for _, _, read in config.reads() if suite_name in read.suites]
            for said in _too_many_images(config, suite.images, readers):
                yield f"{key}.images", said


def _doubted_problems(config: Config, key: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield why there can be no second opinion on a suite."""
    if problem := _unknown(name, "attacks.suites", config.attacks.suites):
        yield key, problem
    elif not isinstance(suite := config.attacks.suites[name], Suite | Square):
        yield (
            key,
            f"is {name!r}, of kind {suite.kind}, but needs one of kind white_box or square",
        )


def _unknown_sources(config: Config, key: str, sources: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield from ((key, f"names {name} twice") for name in _twice(sources))
    for source in sources:
        if problem := _unknown(source, "models", config.models):
            yield key, problem


def _read_problems(config: Config) -> Iterator[tuple[str, str]]:
    sections = (("tables", config.tables), ("figures", config.figures), ("seeds", config.seeds))
    for section, by_name in sections:
        for name, reads in by_name.items():
            if bool(reads) != bool(EXHIBITS[name].select):
                wanted = "reads no evidence: write []" if reads else "reads nothing: name a model"
                yield f"{section}.{name}", wanted
    for key, exhibit, read in config.reads():
        section = "backbones" if exhibit.of_backbones else "models"
        victims: Mapping[str, object] = config.backbones if exhibit.of_backbones else config.models
        if problem := _unknown(read.model, section, victims):
            yield f"{key}.model", problem
        elif problem := _victim_problem(config, key, exhibit, victims[read.model]):
            yield f"{key}.model", f"is {read.model!r}, {problem}"
        for name in read.suites:
            if problem := _unknown(name, "attacks.suites", config.attacks.suites):
                yield f"{key}.suites", problem
            else:
                yield from _attack_problems(config, key, exhibit, read, name)


def _victim_problem(config: Config, key: str, exhibit: Exhibit, victim: object) -> str | None:
    """Return why a table cannot show a model or a backbone."""
    if getattr(victim, "dataset", None) is None:
        return "a fetched backbone that has no dataset"
    if key.startswith("seeds.") and isinstance(victim, ReleasedModel | OwnModel):
        return f"whose {victim.kind} weights are of one training seed"
    data = config.data.get(getattr(victim, "dataset", ""))
    if exhibit.of_splits and not (isinstance(data, Voc) and data.val_split == "val"):
        return "but needs a model on a data set of kind voc whose val_split is val"
    return None


def _need_problems(config: Config) -> Iterator[tuple[str, str]]:
    """Yield what tables and figures need and would not find among the runs that are planned."""
    for over_seeds in (False, True):
        for name in config.exhibits(over_seeds):
            select = EXHIBITS[name].select
            if select is None:
                continue
            section = "seeds" if over_seeds else "tables" if name in config.tables else "figures"
            runs = config.planned_runs(name, over_seeds)
            models = config.models_of(name, over_seeds)
            reads = config.reads_of(name, over_seeds)
            try:
                for _ in select(Runs(name, runs, models, reads)):
                    pass
            except RobustsegError as error:
                yield f"{section}.{name}", str(error).removeprefix(f"{name} ")


def _attack_problems(
    config: Config, key: str, exhibit: Exhibit, read: Read, suite_name: str
) -> Iterator[tuple[str, str]]:
    """Yield why a suite does not fit the model and the radii that it is asked for."""
    suite = config.attacks.suites[suite_name]
    if suite.own_radius is None and not read.eps_255:
        yield f"{key}.eps_255", f"is empty, but {suite_name} needs at least one radius"
    if read.model in config.backbones and not isinstance(suite, Suite):
        yield f"{key}.suites", f"names {suite_name}, which attacks no backbone: it is {suite.kind}"
    if isinstance(suite, Objects) and read.model in config.models:
        dataset = config.models[read.model].dataset
        if _lacks_background(config, dataset):
            yield (
                f"{key}.suites",
                f"names {suite_name}, which leaves out the class {BACKGROUND!r}, and {dataset} has "
                "none: remove it",
            )
    if isinstance(suite, Suite) and suite.optimizer == "pgd":
        steps = suite.step_size or {}
        lacking = [f"{eps:g}" for eps in read.eps_255 if eps not in steps]
        if lacking:
            yield (
                f"{key}.eps_255",
                f"asks for {', '.join(lacking)}, for which "
                f"attacks.suites.{suite_name}.step_size has no step",
            )
    if isinstance(suite, Doubt):
        if not exhibit.of_doubts:
            yield f"{key}.suites", f"names {suite_name}, a second opinion, which it does not show"
        elif suite.of not in read.suites:
            yield f"{key}.suites", f"names {suite_name} without {suite.of}, which it doubts: add it"
    yield from _source_problems(config, f"{key}.suites", read.model, suite_name)


def _source_problems(
    config: Config, key: str, target: str, suite_name: str
) -> Iterator[tuple[str, str]]:
    """Yield why attacks cannot be carried over from the sources of a suite to a model."""
    for source in config.sources_of(suite_name):
        if source == target:
            yield key, f"names {suite_name}, one of whose sources is {target} itself"
        elif {source, target} <= set(config.models):
            found, wanted = config.models[source].dataset, config.models[target].dataset
            if found != wanted:
                yield (
                    key,
                    f"names {suite_name}, whose source {source} is trained on {found} and "
                    f"{target} on {wanted}: both must know the same classes",
                )


def _picture_problems(config: Config) -> Iterator[tuple[str, str]]:
    """Yield what figures of attacked images, and the images kept for them, lack."""
    gallery = config.gallery.eps_255 if config.gallery else {}
    if config.gallery:
        for said in _too_many_images(config, config.gallery.images, gallery):
            yield "gallery.images", said
    if config.targeted:
        shown = [models for name, models in config.pictures.items() if PICTURES[name].targeted]
        for said in _too_many_images(config, config.targeted.images, chain(*shown)):
            yield "targeted.images", said
    for name, radii in gallery.items():
        key = f"gallery.eps_255.{name}"
        if problem := _unknown(name, "models", config.models):
            yield key, problem
        if sorted(set(radii)) != radii:
            yield key, "must ascend, each radius once"
    for name, models in config.pictures.items():
        yield from _shown_problems(config, name, models, gallery)
    kept_of = {model for models in config.pictures.values() for model in models} | set(gallery)
    for model in sorted(kept_of & set(config.models)):
        data = config.data.get(config.models[model].dataset)
        if isinstance(data, Folder) and data.num_classes > IGNORE_BYTE:
            yield (
                f"models.{model}",
                f"is on {data.num_classes} classes, and attacked images are kept with at most "
                f"{IGNORE_BYTE}: leave it out of `gallery` and `pictures`",
            )


def _shown_problems(
    config: Config, name: str, models: Sequence[str], gallery: Mapping[str, object]
) -> Iterator[tuple[str, str]]:
    """Yield why the models that a figure of attacked images shows cannot be shown."""
    key, targeted = f"pictures.{name}", PICTURES[name].targeted
    if targeted and not config.targeted:
        yield key, "needs the section `targeted`"
    if targeted and config.targeted:
        yield from _target_problems(config, models, config.targeted.classes)
    if not models or (len(models) > 1 and not targeted):
        yield key, f"names {len(models)} models; it needs {'some' if targeted else 'one'}"
    for model in models:
        known: Mapping[str, object] = config.models if targeted else gallery
        if problem := _unknown(model, "models" if targeted else "gallery.eps_255", known):
            yield key, problem


def _target_problems(
    config: Config, models: Sequence[str], classes: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield the target classes that data sets whose classes are known have not."""
    names = {config.models[model].dataset for model in models if model in config.models}
    for dataset in sorted(names & set(config.data)):
        known = known_classes(config.data[dataset])
        for name in classes:
            if known and name not in known:
                yield (
                    "targeted.classes",
                    f"is {name!r}, which is not one of the classes of {dataset}: "
                    f"{', '.join(known)}",
                )
