"""The jobs behind each table and figure, and the passes through a network that each job takes.

Counted are images times passes, as the code spends them when no image leaves its attack early
(an image without a right pixel does), so the figures are upper bounds.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from robustseg.attacks.spec import SCHEDULES, AttackSpec, images_of_shard
from robustseg.config.data import AnyData, Camvid, Cifar10, Downloaded, Folder, Generated, ImageNet
from robustseg.config.models import TrainedBackbone, TrainedModel
from robustseg.config.schema import Config
from robustseg.data.listing import mean_side_px
from robustseg.data.splits import CAMVID_SIZE_PX
from robustseg.evaluation.suite_kinds import Alma, AnySuite, Doubt, Objects, Square, Transfer
from robustseg.evidence.enumerator import CLEAN_SUITE, doubt_passes
from robustseg.figures.registry import PICTURES
from robustseg.names import ADVERSARIAL_SHARE
from robustseg.plan.networks import OWN, Network, Work

IMAGENET_VAL_IMAGES = 50_000
GALLERY = "gallery"
"""The target that is all attacked images that are kept for the page."""


@dataclass(frozen=True)
class PlannedJob:
    """One job of the workflow: its rule, the values of the rule's wildcards, and its work."""

    rule: str
    wildcards: tuple[tuple[str, str], ...]
    work: tuple[Work, ...]


def jobs_of(config: Config, name: str, over_seeds: bool = False) -> list[PlannedJob]:
    """Return the jobs on a GPU that a table or figure needs, each once.

    Args:
        config: the whole configuration.
        name: of a table, of a figure of numbers or of attacked images, or `GALLERY`.
        over_seeds: what it needs over all training seeds.
    """
    if name == GALLERY or name in config.pictures:
        return list(dict.fromkeys(_picture_jobs(config, name)))
    return list(dict.fromkeys(_evidence_jobs(config, name, over_seeds)))


def _evidence_jobs(config: Config, name: str, over_seeds: bool) -> Iterator[PlannedJob]:
    """Yield trainings, clean evaluations and attacks of a table or figure of numbers."""
    for job in config.evidence_of(name, over_seeds):
        if job.suite == CLEAN_SUITE:
            yield from _training_jobs(config, job.model, job.training_seed)
            yield _clean_job(config, job.model, job.training_seed)
            continue
        for model in (job.model, *config.sources_of(job.suite)):
            yield from _before_attacks(config, model, job.training_seed)
        work = attack_work(config, job.model, job.suite, job.shard or 0)
        work *= len(config.radii_with(job))
        doubts = isinstance(config.attacks.suites[job.suite], Doubt)
        rule = "doubt_model" if doubts else "attack_model"
        yield PlannedJob(rule, tuple(config.wildcards_of(job).items()), work)


def _picture_jobs(config: Config, name: str) -> Iterator[PlannedJob]:
    """Yield trainings and attacks of a figure of attacked images, or of the gallery."""
    training_seed = config.training_seeds[0]
    kept = config.gallery.eps_255 if config.gallery else {}
    for model in kept if name == GALLERY else config.pictures[name]:
        yield from _before_attacks(config, model, training_seed)
        network = network_of(config, model)
        if name != GALLERY and PICTURES[name].targeted:
            targeted = config.targeted
            assert targeted is not None  # checked with the configuration
            runs = targeted.images * len(targeted.classes)
            work = _attack_work(network, runs, targeted.iterations, "reduced")
            yield PlannedJob("attack_targeted", (("model", model),), (work,))
        else:
            gallery = config.gallery
            assert gallery is not None
            runs = gallery.images * len(gallery.eps_255[model])
            work = _attack_work(network, runs, gallery.iterations, gallery.schedule)
            yield PlannedJob("attack_gallery", (("model", model),), (work,))


def network_of(config: Config, name: str, training: bool = False) -> Network:
    """Return the network of a model or a backbone, on the images of its data set.

    Args:
        config: the whole configuration.
        name: of the model or backbone.
        training: on the images that it is trained on, which may have another size.
    """
    data = config.data[config.dataset_of(name)]
    settings = config.model_of(name)
    decoder = OWN if settings["scheme"] == "own" else settings.get("decoder", "")
    return Network(settings["architecture"], decoder, data.num_classes, _size_px(data, training))


def _size_px(data: AnyData, training: bool) -> int:
    """Return height and width of the images; of a square as large where they differ."""
    if isinstance(data, Generated | Cifar10):
        return data.size_px
    if isinstance(data, Folder) and not (training and data.crop_px):
        return mean_side_px(data.images, data.ids, data.resize_px)
    if isinstance(data, Camvid) and not training:
        height, width = CAMVID_SIZE_PX
        return round(data.resize_px * math.sqrt(width / height))
    assert data.crop_px is not None  # of Folder alone
    return data.crop_px


def images_in(data: AnyData) -> tuple[int, int]:
    """Return the images of the training and of the validation split, as published.

    Parts of VOC's validation split are counted as the whole: how many images they have is known
    only from the files. A person's own are counted where they lie.

    Raises:
        RobustsegError: the folder of a person's own is missing.
    """
    if isinstance(data, Downloaded):
        return data.published_images
    if isinstance(data, ImageNet):
        return 0, data.images or IMAGENET_VAL_IMAGES
    if isinstance(data, Folder):
        return data.images_there()
    return data.train_images, data.val_images


def _training_jobs(config: Config, name: str, training_seed: int) -> Iterator[PlannedJob]:
    """Yield the training of a model, and that of the backbone it starts from."""
    wildcards: tuple[tuple[str, str], ...]
    if name in config.backbones:
        backbone = config.backbones[name]
        wildcards = (("backbone", name), ("training_seed", str(training_seed)))
        if isinstance(backbone, TrainedBackbone):
            yield PlannedJob("pretrain_backbone", wildcards, (training_work(config, name),))
        return
    model = config.models[name]
    if isinstance(model, TrainedModel):
        yield from _training_jobs(config, model.backbone, training_seed)
        wildcards = (("model", name), ("training_seed", str(training_seed)))
        yield PlannedJob("train_model", wildcards, (training_work(config, name),))


def _before_attacks(config: Config, model: str, training_seed: int) -> Iterator[PlannedJob]:
    """Yield the training of a model; of weights by others the evaluation that they must pass."""
    yield from _training_jobs(config, model, training_seed)
    if config.published_of(model):
        yield _clean_job(config, model, training_seed)


def _clean_job(config: Config, model: str, training_seed: int) -> PlannedJob:
    wildcards = (("model", model), ("training_seed", str(training_seed)))
    return PlannedJob("evaluate_clean", wildcards, (clean_work(config, model),))


def training_work(config: Config, name: str) -> Work:
    """Return the passes of a training: k attack steps and one update for each image and epoch.

    Its glance at the validation images after each epoch is counted without their attack. Of each
    pass a whole number of images is attacked.
    """
    trained = (config.models.get(name) or config.backbones[name]).model_dump()
    training = config.training[trained["training"]]
    together = training.images_per_pass or training.batch_size
    share = round(ADVERSARIAL_SHARE[config.model_of(name)["scheme"]] * together) / together
    train, val = images_in(config.data[trained["dataset"]])
    seen = trained["epochs"] * train
    return Work(
        network_of(config, name, training=True),
        forward=trained["epochs"] * val,
        attack=round(share * seen * trained["steps"]),
        update=seen,
    )


def clean_work(config: Config, model: str) -> Work:
    """Return the passes of a clean evaluation: one for each image."""
    images = images_in(config.data[config.dataset_of(model)])[1]
    return Work(network_of(config, model), forward=images)


def attack_work(config: Config, model: str, suite: str, shard: int = -1) -> tuple[Work, ...]:
    """Return the passes of one shard of a suite; the last one has the most batches."""
    section = config.attacks.suites[suite]
    images = images_in(config.data[config.dataset_of(model)])[1]
    images = min(images, getattr(section, "images", None) or images)
    shards, unit = config.cut_of(suite, model)
    own = len(images_of_shard(images, shard % shards, shards, unit))
    return _work_on(config, model, suite, own)


@lru_cache(maxsize=10_000)
def _work_on(config: Config, model: str, suite: str, images: int) -> tuple[Work, ...]:
    """Return the passes that a suite spends on some images: the same for nearly all its shards."""
    return tuple(_suite_work(config, model, config.attacks.suites[suite], images))


def _suite_work(config: Config, model: str, section: AnySuite, images: int) -> Iterator[Work]:
    network = network_of(config, model)
    if isinstance(section, Objects):
        yield Work(network, forward=images)
    elif isinstance(section, Alma):
        # The last pass looks at the last iterate; one more counts.
        yield Work(network, forward=2 * images, attack=images * (section.iterations - 1))
    elif isinstance(section, Square):
        yield Work(network, forward=images * (section.iterations + 1))
    elif isinstance(section, Doubt):
        yield from _doubt_work(config, network, section, images)
    elif isinstance(section, Transfer):
        for source in section.sources:
            for spec in section.attacks():
                yield _attack_work(
                    network_of(config, source), images, *_budget(spec), more=_scaling(spec)
                )
                yield Work(network, forward=images)
    else:
        for spec in section.attacks():
            yield _attack_work(network, images, *_budget(spec), more=_scaling(spec) + 1)


def _doubt_work(config: Config, network: Network, section: Doubt, images: int) -> Iterator[Work]:
    """Yield the passes of a second opinion, see `enumerator.doubt_passes`."""
    forward, attack = doubt_passes(section.iterations)
    yield Work(network, forward=images * forward, attack=images * attack)
    for source in section.sources:
        yield _attack_work(
            network_of(config, source), images, section.iterations, "reduced", more=0
        )
        yield Work(network, forward=images)


def _budget(spec: AttackSpec) -> tuple[int, str]:
    return spec.iterations, spec.schedule


def _scaling(spec: AttackSpec) -> int:
    """Return the passes over the clean image that the scale of its logits takes."""
    return int(spec.margin is not None)


def _attack_work(
    network: Network, images: int, iterations: int, schedule: str, more: int = 1
) -> Work:
    """Return the passes of one attack: one forward pass more for each part of its schedule.

    Args:
        network: the attacked one.
        images: how many.
        iterations: of the attack.
        schedule: a name of `spec.SCHEDULES`.
        more: forward passes besides: for the counts on record, and for the scale of the logits.
    """
    looks = len(SCHEDULES[schedule].shares) + more
    return Work(network, forward=images * looks, attack=images * iterations)
