# Reproduces "Towards Reliable Evaluation and Fast Training of Robust Semantic Segmentation Models"
# (arXiv 2306.12941), from data to tables, figures and a page.

import difflib
import gc
import os
import re
import sys
from pathlib import Path

# This file's own folder, also where another workflow uses it as a module.
HERE = str(workflow.current_basedir)
if re.search("[{}]", HERE):
    raise WorkflowError(
        f"the folder {HERE} has braces in its name, which Snakemake takes for wildcards; rename it"
    )

# The library needs no installation. In jobs, an installed one would come before this checkout's but
# for PYTHONPATH; a job that finds another all the same says so and stops (`workflow_job`).
SOURCE = f"{HERE}/src"
sys.path.insert(0, SOURCE)
os.environ["ROBUSTSEG_SOURCE"] = SOURCE
os.environ["PYTHONPATH"] = os.pathsep.join(
    dict.fromkeys([SOURCE, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
)


envvars:
    "PYTHONPATH",
    "ROBUSTSEG_SOURCE",


# Jobs inherit this: glibc otherwise returns the memory of every pass to the system and faults it in
# again. Measured on a CPU: 0 to 18 % of an attack's time, about 14 % of a training's.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "4294967296")
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "17179869184")

# Planning makes some million objects that all stay; to look for garbage among them again and again
# took a tenth of its time.
gc.set_threshold(200_000, 20, 100)

from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod
from robustseg.clusters import (
    ask,
    check_image,
    check_slurm,
    explain,
    left_jobs,
    too_long,
    work_of,
)
from robustseg.bounds import LARGEST_SEED
from robustseg.claims.language import read_claims
from robustseg.config import load_config
from robustseg.config.data import Camvid, Downloaded
from robustseg.data.archives import ARCHIVES
from robustseg.data.listing import settings_fingerprint
from robustseg.data.splits import archives_of
from robustseg.errors import RobustsegError
from robustseg.evidence.enumerator import (
    CLEAN_FILE,
    CLEAN_SUITE,
    EVIDENCE_FILE,
    RADII_IN_PATH,
    jobs_of_file,
    radii_of_path,
    radii_to_path,
)
from robustseg.figures.registry import EXHIBITS, FIGURES, PICTURES
from robustseg.files import refuse_from_the_future, refuse_unwritable
from robustseg.gpus import CLUSTER, SLOTS, check_shares, seem_there
from robustseg.plan.limits import (
    attack_minutes,
    clean_minutes,
    memory_mb,
    training_minutes,
    training_priority,
)
from robustseg.plan.makespan import TRAINING
from robustseg.tables.registry import TABLES

# In a job that was sent to a cluster. Not in `onstart`, which Snakemake leaves out where another
# workflow uses this file as a module.
if workflow.remote_exec:
    os.environ[CLUSTER] = "1"


# A configuration named on the command line replaces the default instead of being merged into it.
# Both are looked at before Snakemake reads them: profiles/default/config.yaml.
if not workflow.overwrite_configfiles:

    configfile: f"{HERE}/config/config.yaml"


# A wrong configuration or claim stops the workflow before any job runs.
try:
    refuse_unwritable([".snakemake/log"])  # without, Snakemake ends in a traceback
    CONFIG = load_config(
        config,
        workflow.configfiles,
        workflow.config_settings.config_args or (),
        workflow.config_settings.config,
    )
    read_claims(f"{HERE}/config/claims.yaml")
except RobustsegError as error:
    raise WorkflowError(str(error)) from None


# Snakemake keeps a copy of what a download may replace at `.snakemake/backups/PATH`: with ".." in the
# path in some other folder of the person's, where it would replace and then remove what is there.
DOWNLOADS = CONFIG.downloads.folder
if ".." in Path(DOWNLOADS).parts:
    DOWNLOADS = os.path.abspath(DOWNLOADS)


pathvars:
    results=f"results/{CONFIG.run}",
    logs=f"results/{CONFIG.run}/logs",
    benchmarks=f"results/{CONFIG.run}/benchmarks",
    downloads=DOWNLOADS,


# The first page of `snakemake --report report.zip`.
report: "rules/captions/workflow.rst"


# Where Apptainer is asked for, jobs run in this container. It shows them the working directory, and by
# APPTAINER_BIND the library, which may be elsewhere.
IMAGE = f"{HERE}/robustseg.sif"
IN_CONTAINER = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
if IN_CONTAINER:
    os.environ.update(APPTAINER_BIND=",".join(filter(None, [HERE, os.getenv("APPTAINER_BIND")])))

    container: IMAGE


wildcard_constraints:
    dataset="|".join(CONFIG.data),
    backbone="|".join(CONFIG.backbones),
    model="|".join(CONFIG.models),
    suite="|".join(CONFIG.attacks.suites),
    table="|".join(TABLES),
    figure="|".join(FIGURES),
    training_seed=r"\d+",
    eps_255=RADII_IN_PATH,
    seed=r"\d+",
    shard=r"\d+",


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/backbones.smk"
include: "rules/models.smk"
include: "rules/attacks.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/gallery.smk"
include: "rules/claims.smk"
include: "rules/report.smk"
include: "rules/plan.smk"


# What a person can mend about the machine, said before jobs are sent and after they failed.


onstart:
    to_run = list(workflow.dag.needrun_jobs())
    if workflow.local_exec:
        if "gpu" in workflow.global_resources:
            os.environ[SLOTS] = str(workflow.global_resources["gpu"].value)
        if not seem_there():
            say_without_gpu(to_run)
    try:
        made = {path for job in to_run for path in job.output}
        refuse_unwritable(sorted(made))
        refuse_from_the_future(sorted({path for job in to_run for path in job.input} - made))
        if not workflow.local_exec or seem_there():
            check_trainings(to_run)
        if workflow.executor_plugin.name == "slurm":
            to_send = sent(to_run)
            check_slurm(sorted({partitions for _, partitions, _ in to_send if partitions}))
            say_left(left_jobs(workflow.workdir_init, CONFIG.run, comments_of(to_run)))
            logger.info(work_of(CONFIG.run))
            limits = ask("sinfo", "--noheader", "--format=%P %l")
            for sentence in too_long(to_send, limits):
                print(f"[run] {sentence}", file=sys.stderr)
        if IN_CONTAINER:
            check_image(IMAGE)
    except RobustsegError as error:
        raise WorkflowError(str(error)) from None


onerror:
    for sentence in explain(log):
        print(f"[run] error: {sentence}", file=sys.stderr)


# What may be asked for: `snakemake TARGET`.


rule data:
    input:
        [path for dataset in CONFIG.data for path in splits_of(dataset).values()],
    localrule: True
    message:
        "The data sets are there"


rule backbones:
    input:
        expand(
            rules.pretrain_backbone.output.weights,
            backbone=CONFIG.backbones,
            training_seed=CONFIG.training_seeds[0],
        ),
    localrule: True
    message:
        "The backbones are there"


rule models:
    input:
        expand(
            rules.train_model.output.weights,
            model=[*TRAINED_MODELS, *RELEASED_MODELS],
            training_seed=CONFIG.training_seeds[0],
        ),
    localrule: True
    message:
        "The models are there"


rule attacks:
    input:
        evidence_of(*SHOWN_TABLES, *CONFIG.figures),
    localrule: True
    message:
        "The evidence of all tables and figures is there"


rule backbone_accuracy:
    input:
        checks_of(
            CONFIG.training_seeds[0],
            *(name for name in FETCHED_BACKBONES if CONFIG.backbones[name].dataset),
        ),
    localrule: True
    message:
        "The fetched backbones that have a data set predict as they should"


rule tables:
    input:
        expand(rules.make_table.output, table=SHOWN_TABLES),
    localrule: True
    message:
        f"The tables are in results/{CONFIG.run}/tables"


rule figures:
    input:
        expand(rules.make_figure.output, figure=CONFIG.figures),
        expand(rules.make_picture.output, figure=CONFIG.pictures),
    localrule: True
    message:
        f"The figures are in results/{CONFIG.run}/figures"


rule gallery:
    input:
        expand(rules.attack_gallery.output, model=CONFIG.gallery.eps_255 if CONFIG.gallery else []),
    localrule: True
    message:
        f"The attacked images are in results/{CONFIG.run}/gallery"


rule claims:
    input:
        rules.make_claims.output,
    localrule: True
    message:
        f"The claims are in results/{CONFIG.run}/claims"


rule report:
    input:
        rules.make_page.output.page,
    localrule: True
    message:
        f"The page is results/{CONFIG.run}/report/index.html"


if CONFIG.seeds:

    rule seeds:
        input:
            expand(rules.make_table_over_seeds.output, table=TABLES_OVER_SEEDS),
            expand(rules.make_figure_over_seeds.output, figure=FIGURES_OVER_SEEDS),
            rules.make_claims_over_seeds.output,
            rules.make_page_over_seeds.output.page,
        localrule: True
        message:
            f"The page is results/{CONFIG.run}/report/seeds.html"


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.claims.input if claimed() else [],
        rules.report.input,
    localrule: True
    message:
        f"Everything is there; the page is results/{CONFIG.run}/report/index.html"


for table in CONFIG.tables:

    rule:
        name:
            table
        input:
            expand(rules.make_table.output, table=table),
        localrule: True
        message:
            "The table is {input[0]}, and beside it in other formats"


for figure in [*CONFIG.figures, *CONFIG.pictures]:

    rule:
        name:
            figure
        input:
            expand(
                rules.make_picture.output if figure in PICTURES else rules.make_figure.output,
                figure=figure,
            ),
        localrule: True
        message:
            "The figure is {input[0]}, and beside it in other formats"


refuse_unknown(asked_for())
