# What rules share: groups of names, and functions from wildcards to files. Rules that are named here
# are looked up when a function is called.

from functools import cache
from inspect import signature

# Groups of names.

GENERATED = [name for name, data in CONFIG.data.items() if data.kind in ("scenes", "shapes")]
DOWNLOADED = [name for name, data in CONFIG.data.items() if isinstance(data, (Downloaded, Camvid))]
CIFAR10 = [name for name, data in CONFIG.data.items() if data.kind == "cifar10"]
FOLDERS = [name for name, data in CONFIG.data.items() if data.kind == "folder"]
TRAINED_BACKBONES = [name for name, one in CONFIG.backbones.items() if one.kind == "trained"]
FETCHED_BACKBONES = [name for name, one in CONFIG.backbones.items() if one.kind == "fetched"]
TRAINED_MODELS = [name for name, one in CONFIG.models.items() if one.kind == "trained"]
RELEASED_MODELS = [name for name, one in CONFIG.models.items() if one.kind == "released"]
OWN_MODELS = [name for name, one in CONFIG.models.items() if one.kind == "own"]

# Suites of attacks, and second opinions on their figures.
DOUBTS = [name for name, suite in CONFIG.attacks.suites.items() if suite.kind == "doubt"]
ATTACKS = [name for name in CONFIG.attacks.suites if name not in DOUBTS]

# Backbones are attacked as models are: they are models of one pixel an image. Snakemake reads the
# patterns of a rule several times for each of its jobs, so those of attacks allow any name, and
# `refuse_unknown` looks for those that are none.
VICTIMS = [*CONFIG.models, *CONFIG.backbones]
VICTIM = "[^/]+"

# What is made unless it is asked for by name alone.
SHOWN_TABLES = [table for table in CONFIG.tables if not TABLES[table].on_request]
SHOWN_FIGURES = [*CONFIG.figures, *CONFIG.pictures]
TABLES_OVER_SEEDS = [name for name in CONFIG.seeds if name in TABLES]
FIGURES_OVER_SEEDS = [name for name in CONFIG.seeds if name in FIGURES]

# The paper's claims, and its printed numbers, shown beside measured ones of its own models and data.
CLAIMS_FILE = f"{HERE}/config/claims.yaml"
REPORTED = sorted(Path(HERE, "config", "paper").glob("*.csv"))


def any_of(names):
    """Return a pattern of one of these names, or of nothing."""
    return "|".join(names) or "(?!)"


def of(*words):
    """Turn a function of some wildcards' values into one of the wildcards, called once for each.

    Snakemake asks for the signature of a function several times a job; so it is kept.
    """

    def decorate(function):
        known = cache(function)

        def of_wildcards(wildcards):
            return known(*(getattr(wildcards, word) for word in words))

        of_wildcards.__signature__ = signature(of_wildcards)
        return of_wildcards

    return decorate


# Data and weights.


def downloaded(archive):
    """Return the file of an archive."""
    return rules.download_archive.output.file.format(file=ARCHIVES[archive].file)


def archives_input(wildcards):
    """Return what a data set is made of, nothing if it is a person's own copy."""
    data = CONFIG.data[wildcards.dataset]
    needed = [] if data.root else archives_of(data.model_dump())
    return [
        (
            rules.unpack_archive.output.done.format(archive=name)
            if ARCHIVES[name].wanted
            else downloaded(name)
        )
        for name in needed
    ]


def files_of(dataset):
    """Return digits that change with the files of a person's own data set."""
    return settings_fingerprint(CONFIG.data[dataset].model_dump())


def rule_of(dataset):
    """Return the rule that makes both splits of a data set."""
    if dataset in GENERATED:
        return rules.generate_data
    if dataset in CIFAR10:
        return rules.prepare_cifar10
    return rules.prepare_folder if dataset in FOLDERS else rules.prepare_data


def splits_of(dataset):
    """Return the files of a data set by split."""
    if CONFIG.data[dataset].kind == "imagenet":
        return {"val": rules.list_images.output.val.format(dataset=dataset)}
    made = rule_of(dataset)
    paths = dict(made.output.items())
    return {split: paths[split].format(dataset=dataset) for split in ("train", "val")}


def backbone_data(wildcards):
    """Return both splits of the data set that a backbone is trained on."""
    return splits_of(CONFIG.backbones[wildcards.backbone].dataset)


def weights_source(weights_file):
    """Return the addresses of a file of published weights, and what is expected of it."""
    return CONFIG.downloads.source_of_weights(weights_file)


def expected_hash(path):
    return weights_source(Path(path).name)["expected"]["sha256"]


def published_file(wildcards):
    """Return the file that a published backbone's or model's weights are in."""
    name = wildcards.get("backbone") or wildcards.model
    return rules.fetch_weights.output.file.format(weights_file=CONFIG.published_of(name).file)


def conversion_report(wildcards):
    """Return what became of the keys of a published backbone's or model's weights."""
    is_backbone = wildcards.model in CONFIG.backbones
    output = rules.convert_backbone.output if is_backbone else rules.convert_model.output
    return output.report.replace("{backbone}", "{model}").format(**wildcards)


def model_inputs(wildcards):
    """Return both splits of the data set that a model is trained on, and its backbone."""
    model = CONFIG.models[wildcards.model]
    backbone = rules.pretrain_backbone.output.weights.format(
        backbone=model.backbone, training_seed=wildcards.training_seed
    )
    return {**splits_of(model.dataset), "backbone": backbone}


def training_threads(wildcards):
    """Return the threads of a training: several read and augment photographs, 14 ms each."""
    return 1 if CONFIG.data[CONFIG.dataset_of(wildcards.model)].kind == "scenes" else 8


# Attacks and evidence.


def weights_of(name, training_seed):
    """Return the weights of a model or a backbone, trained here or by others.

    Of a model of one's own these are the files that it is made of, as far as they are known.
    """
    if name in OWN_MODELS:
        return CONFIG.models[name].files
    if name in CONFIG.backbones:
        path = rules.pretrain_backbone.output.weights
        return path.format(backbone=name, training_seed=training_seed)
    return rules.train_model.output.weights.format(model=name, training_seed=training_seed)


def val_of(model):
    """Return the images of a model's validation split."""
    return splits_of(CONFIG.dataset_of(model))["val"]


@of("model", "training_seed")
def victim(model, training_seed):
    """Return the weights of a model and the images that it is attacked on."""
    return {"weights": weights_of(model, training_seed), "val": val_of(model)}


@of("model", "training_seed", "suite")
def around_attack(model, training_seed, suite):
    """Return what a suite asks for beside the attacked model and its images.

    These are the weights of the models that it carries its attacks over from, or the files of models
    of one's own; the pixels of each class, if a loss asks for them; and the checks of weights by
    others.
    """
    sources = CONFIG.sources_of(suite)
    pixels = rules.count_classes.output.pixels.format(dataset=CONFIG.dataset_of(model))
    return {
        "sources": [weights_of(name, training_seed) for name in sources if name not in OWN_MODELS],
        "class_pixels": [pixels] if CONFIG.asks_for_class_pixels(suite) else [],
        "own_sources": [
            file for name in sources if name in OWN_MODELS for file in CONFIG.models[name].files
        ],
        "checked": checks_of(training_seed, model, *sources),
    }


def checks_of(training_seed, *names):
    """Return the checks that must pass before models are attacked, of those by others."""
    return expand(
        rules.check_accuracy.output.checked,
        model=[name for name in names if CONFIG.published_of(name)],
        training_seed=training_seed,
    )


@of("suite")
def lineages_of_sources(suite):
    """Return what the models follow from that a suite carries its attacks over from."""
    return {name: CONFIG.lineage_of(name) for name in CONFIG.sources_of(suite)}


@of("suite", "eps_255")
def suite_at(suite, eps_255):
    """Return the settings of a suite at the radii that a path names."""
    return CONFIG.attacks.suites[suite].at(*radii_of_path(eps_255))


@cache
def attack_runtime(model, suite, eps_255, attempt):
    """Return the minutes of the largest shard of a suite at the radii that a path names."""
    return attack_minutes(CONFIG, model, suite, attempt, len(radii_of_path(eps_255)))


def evidence_of(*names, over_seeds=False):
    """Return the evidence that tables and figures read, each file once."""
    jobs = [job for name in names for job in CONFIG.evidence_of(name, over_seeds)]
    return list(dict.fromkeys(map(evidence_file, dict.fromkeys(jobs))))


def evidence_file(job):
    """Return where the evidence of a job lies."""
    made_by = rules.doubt_model if job.suite in DOUBTS else rules.attack_model
    if job.suite == CLEAN_SUITE:
        made_by = rules.evaluate_clean
    return made_by.output.evidence.format(**CONFIG.wildcards_of(job))


def first_job(wildcards):
    """Return what the file of some wildcards holds, at the first of its radii."""
    return jobs_of_file(EVIDENCE_FILE.format(**dict(wildcards.items())))[0]


def doubted_evidence(wildcards):
    """Return the evidence that a second opinion is on."""
    jobs = CONFIG.doubted_by(first_job(wildcards))
    return list(dict.fromkeys(map(evidence_file, jobs)))


def doubted_radii(wildcards):
    """Return all radii of the figures that a second opinion is on and of those beside them."""
    return CONFIG.doubted_radii(first_job(wildcards))


def shots_of(figure):
    """Return the attacked images that a figure shows, one file a model."""
    kept = rules.attack_targeted if PICTURES[figure].targeted else rules.attack_gallery
    return expand(kept.output.shots, model=CONFIG.pictures[figure])


# Tables, claims, plan.


def datasets_of(table):
    """Return the data sets whose manifests a table reads."""
    models = [read.model for read in CONFIG.tables[table]] if TABLES[table].of_splits else []
    return sorted({CONFIG.dataset_of(model) for model in models})


def claimed(over_seeds=False):
    """Return the tables and figures of numbers that claims are about: the paper's."""
    return [name for name in CONFIG.exhibits(over_seeds) if EXHIBITS[name].in_paper]


def numbers_of(*names, over_seeds=False):
    """Return the files of the numbers of tables and figures."""
    table, figure = (
        (rules.make_table_over_seeds, rules.make_figure_over_seeds)
        if over_seeds
        else (rules.make_table, rules.make_figure)
    )
    return [
        (
            table.output.parquet.format(table=name)
            if name in TABLES
            else figure.output.parquet.format(figure=name)
        )
        for name in names
    ]


def benchmarks_of(*names, over_seeds=False):
    """Return where the time and memory of the jobs behind tables and figures are measured."""
    from robustseg.plan.costs import jobs_of  # only here: every job reads this file

    jobs = [job for name in names for job in jobs_of(CONFIG, name, over_seeds)]
    files = [getattr(rules, job.rule).benchmark.format(**dict(job.wildcards)) for job in jobs]
    made = [
        rule_of(name).benchmark.format(dataset=name)
        for name, data in CONFIG.data.items()
        if data.kind != "imagenet"
    ]
    return list(dict.fromkeys([*made, *files]))


def jobs_by_target():
    """Return the jobs of every table and figure, and of the attacked images that the page shows."""
    from robustseg.plan.costs import GALLERY, jobs_of  # only here: every job reads this file

    names = [*CONFIG.tables, *CONFIG.figures, *CONFIG.pictures]
    names += [GALLERY] if CONFIG.gallery else []
    return {name: jobs_of(CONFIG, name) for name in names}


def networks(wildcards):
    """Return all networks that are trained or attacked, each once."""
    jobs = {job for some in jobs_by_target().values() for job in some}
    return sorted({work.network for job in jobs for work in job.work})


def outputs(wildcards):
    """Return the jobs by target, each with the file that it makes."""
    made = {
        "pretrain_backbone": rules.pretrain_backbone.output.weights,
        "train_model": rules.train_model.output.weights,
        "evaluate_clean": rules.evaluate_clean.output.evidence,
        "attack_model": rules.attack_model.output.evidence,
        "doubt_model": rules.doubt_model.output.evidence,
        "attack_gallery": rules.attack_gallery.output.shots,
        "attack_targeted": rules.attack_targeted.output.shots,
    }
    return {
        name: [(job, made[job.rule].format(**dict(job.wildcards))) for job in jobs]
        for name, jobs in jobs_by_target().items()
    }


# Said once, before jobs run on a machine without a GPU.


def say_without_gpu(jobs):
    waiting = [job for job in jobs if job.resources.get("gpu")]
    hours = sum(job.resources.get("runtime", 0) for job in waiting) / 60
    if waiting:
        print(
            f"[run] no GPU is visible here: {len(waiting)} jobs that would use one run on the CPU. On "
            f"GPUs they may take {hours:,.1f} hours in all, and here many times that; the target "
            "`plan` measures this machine and says how long (docs/plan.md).",
            file=sys.stderr,
        )


# Said before trainings wait for several GPUs, for which their jobs would then have no use.


def check_trainings(jobs):
    for job in jobs:
        if job.name in TRAINING and job.resources.get("gpu"):
            training = job.params.training
            batch_size = training["batch_size"]
            try:
                check_shares(
                    job.resources.gpu, batch_size, training["images_per_pass"] or batch_size
                )
            except RobustsegError as error:
                raise RobustsegError(
                    f"{job.rule.name} of {'/'.join(job.wildcards)}: {error}"
                ) from None


# What is sent to a cluster.


def comments_of(jobs):
    """Return the comments by which Snakemake's plugin for SLURM tells jobs apart."""
    return {
        "_wildcards_".join(filter(None, (f"rule_{job.name}", "_".join(job.wildcards))))
        for job in jobs
    }


def sent(jobs):
    """Return rule, partitions and minutes of the jobs that are sent to a cluster."""
    return [
        (
            job.name,
            job.resources.get("slurm_partition") or "",
            job.resources.get("runtime") or 0,
        )
        for job in jobs
        if not job.is_local
    ]


def say_left(jobs):
    """Say that jobs are sent which an earlier Snakemake has sent and left; each has its run's name."""
    if jobs:
        names = ",".join(sorted(set(jobs)))
        print(
            f"[run] an earlier Snakemake was killed, and {len(jobs)} of its jobs, which are now sent "
            f"again, still wait or run (squeue --name={names}). The new ones wait until these have "
            f"ended. `scancel --name={names}` ends them at once and loses nothing that is finished.",
            file=sys.stderr,
        )


# What is asked for and is none.


def asked_for():
    """Return the targets on the command line; none where it is not a person's, or another workflow's."""
    from snakemake.cli import get_argument_parser  # only here: every job reads this file

    called = Path(sys.argv[0])
    by_hand = called.stem == "snakemake" or called.parts[-2:] == ("snakemake", "__main__.py")
    if not (by_hand and workflow.is_main_process and workflow.modifier.is_main_snakefile()):
        return []
    named, _ = get_argument_parser().parse_known_args()
    return list(named.targets)


def refuse_unknown(targets):
    """End with a sentence about the first target that nothing makes, or that cannot be made.

    It ends by itself: Snakemake would say that no rule produces it, and add lines of its own.
    """
    by_name = {one.name: one for one in workflow.rules}
    named = [one.name for one in workflow.rules if not one.output]
    for target in targets:
        path = os.path.normpath(target) if target else ""
        asked = by_name.get(target)
        if asked and asked.has_wildcards():
            said = "is a rule, not a target: ask for one of the files that it makes, or"
            sys.exit(f"{target!r} {said} for one of {', '.join(named)}")
        of_nobody = any(job.model not in VICTIMS for job in jobs_of_file(path))
        if not asked and (of_nobody or not any(one.is_producer(path) for one in workflow.rules)):
            inside = os.path.relpath(path) if os.path.isabs(path) else path
            if inside != path and any(one.is_producer(inside) for one in workflow.rules):
                sys.exit(
                    f"{target} is not a target: paths begin where snakemake runs; ask for {inside}"
                )
            known = [*named, *CONFIG.models, *CONFIG.attacks.suites, *CONFIG.data]
            words = re.split(r"[/.]", target.removeprefix(f"results/{CONFIG.run}/"))
            words = [word for word in words if not re.fullmatch(r"(seed|eps|shard)\d.*", word)]
            near = dict.fromkeys(
                one
                for word in words
                for one in difflib.get_close_matches(word, known, n=2, cutoff=0.7)
                if word not in known
            )
            hint = f"; perhaps you meant {' or '.join(near)}" if near else ""
            sys.exit(
                f"{target or 'an empty word'} is not a target; known are {', '.join(named)}, "
                f"and the files under results/{CONFIG.run}{hint}"
            )
        if not asked and (problem := impossible(path)):
            sys.exit(f"{target} cannot be made: {problem}")


def impossible(path):
    """Return why a file cannot be made whose path has the form of one that can; None if it can."""
    for digits in re.findall(r"(?<=/seed)\d+", path):
        if int(digits) > LARGEST_SEED or str(int(digits)) != digits:
            return f"seed{digits} should be seed0 to seed{LARGEST_SEED}"
    jobs = jobs_of_file(path)
    if not jobs or jobs[0].suite == CLEAN_SUITE:
        return None
    suite, radii = CONFIG.attacks.suites[jobs[0].suite], [job.eps_255 for job in jobs]
    if any(radius != suite.own_radius and not 0 < radius <= 255 for radius in radii):
        return "radii are above 0 and at most 255, in 1/255"
    words = jobs[0].wildcards | {"eps_255": radii_to_path(set(radii))}
    if not path.endswith(wanted := EVIDENCE_FILE.format(**words)):
        return f"its name should end in {wanted}"
    shards, _ = CONFIG.cut_of(jobs[0].suite, jobs[0].model)
    if jobs[0].shard >= shards:
        return f"shards count from 0, and attacks.shards leads to {shards}"
    return None
