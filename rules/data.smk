# Data sets: generated here, or downloaded, unpacked and checked. Downloads are shared by all runs.


rule generate_data:
    output:
        train="<results>/data/{dataset}/train.npz",
        val="<results>/data/{dataset}/val.npz",
    log:
        "<logs>/data/{dataset}.log",
    benchmark:
        "<benchmarks>/data/{dataset}.tsv"
    wildcard_constraints:
        dataset=any_of(GENERATED),
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=10,
        gpu=0,
    params:
        settings=lambda wildcards: CONFIG.data[wildcards.dataset].model_dump(),
    message:
        "Generate the data set {wildcards.dataset}"
    script:
        "../scripts/generate_data.py"


# `update`: a file is not removed first, since another run that shares the folder may have fetched it.
rule download_archive:
    output:
        file=update("<downloads>/{file}"),
    log:
        "<logs>/data/{file}.log",
    wildcard_constraints:
        file="|".join(re.escape(archive.file) for archive in ARCHIVES.values()),
    localrule: True
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=1440,
        gpu=0,
        # No setting: another mirror of the same file makes nothing out of date.
        urls=lambda wildcards: " ".join(CONFIG.downloads.source_of(wildcards.file)["urls"]),
        limit_bytes=lambda wildcards: CONFIG.downloads.source_of(wildcards.file)["limit_bytes"],
    params:
        expected=lambda wildcards: CONFIG.downloads.source_of(wildcards.file)["expected"],
    message:
        "Download {wildcards.file}"
    script:
        "../scripts/download_archive.py"


rule unpack_archive:
    input:
        file=lambda wildcards: downloaded(wildcards.archive),
    output:
        done="<downloads>/{archive}.unpacked",
    log:
        "<logs>/data/unpack-{archive}.log",
    benchmark:
        "<benchmarks>/data/unpack-{archive}.tsv"
    wildcard_constraints:
        archive="|".join(name for name, archive in ARCHIVES.items() if archive.wanted),
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=120,
        gpu=0,
    params:
        folder=lambda wildcards, output: Path(output.done).with_suffix("").as_posix(),
        expected=lambda wildcards, input: CONFIG.downloads.source_of(Path(input.file).name)[
            "expected"
        ],
        wanted=lambda wildcards: ARCHIVES[wildcards.archive].wanted,
        limit_bytes=lambda wildcards: ARCHIVES[wildcards.archive].limit_bytes,
    message:
        "Unpack {wildcards.archive}"
    script:
        "../scripts/unpack_archive.py"


rule prepare_data:
    input:
        archives=archives_input,
    output:
        manifest="<results>/data/{dataset}/manifest.parquet",
        train="<results>/data/{dataset}/train.parquet",
        val="<results>/data/{dataset}/val.parquet",
    log:
        "<logs>/data/{dataset}.log",
    benchmark:
        "<benchmarks>/data/{dataset}.tsv"
    wildcard_constraints:
        dataset=any_of(DOWNLOADED),
    conda:
        "../envs/robustseg.yaml"
    threads: 4
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
        gpu=0,
    params:
        settings=lambda wildcards: CONFIG.data[wildcards.dataset].model_dump(),
        root=lambda wildcards: CONFIG.data[wildcards.dataset].root or CONFIG.downloads.folder,
        folders=lambda wildcards: CONFIG.folders_of(wildcards.dataset),
    message:
        "Check the images of {wildcards.dataset} and list its splits"
    script:
        "../scripts/prepare_data.py"


# Snakemake compares the names and sizes of a person's files with those of the last time, since it
# would take too long to name each file as an input.
rule prepare_folder:
    output:
        manifest="<results>/data/{dataset}/manifest.parquet",
        train="<results>/data/{dataset}/train.parquet",
        val="<results>/data/{dataset}/val.parquet",
    log:
        "<logs>/data/{dataset}.log",
    benchmark:
        "<benchmarks>/data/{dataset}.tsv"
    wildcard_constraints:
        dataset=any_of(FOLDERS),
    conda:
        "../envs/robustseg.yaml"
    threads: 4
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
        gpu=0,
    params:
        settings=lambda wildcards: CONFIG.data[wildcards.dataset].model_dump(),
        files=lambda wildcards: files_of(wildcards.dataset),
    message:
        "Check the images of {wildcards.dataset} and list its splits"
    script:
        "../scripts/prepare_folder.py"


rule prepare_cifar10:
    input:
        archives=archives_input,
    output:
        train="<results>/data/{dataset}/train.npz",
        val="<results>/data/{dataset}/val.npz",
    log:
        "<logs>/data/{dataset}.log",
    benchmark:
        "<benchmarks>/data/{dataset}.tsv"
    wildcard_constraints:
        dataset=any_of(CIFAR10),
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=20,
        gpu=0,
    params:
        settings=lambda wildcards: CONFIG.data[wildcards.dataset].model_dump(),
        root=lambda wildcards: CONFIG.data[wildcards.dataset].root or CONFIG.downloads.folder,
        folders=lambda wildcards: CONFIG.folders_of(wildcards.dataset),
    message:
        "Read CIFAR-10 for {wildcards.dataset}"
    script:
        "../scripts/prepare_cifar10.py"


rule list_images:
    output:
        val="<results>/data/{dataset}/val.classes.parquet",
    log:
        "<logs>/data/{dataset}.log",
    localrule: True
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
        gpu=0,
    params:
        settings=lambda wildcards: CONFIG.data[wildcards.dataset].model_dump(),
    message:
        "List the images of {wildcards.dataset}"
    script:
        "../scripts/list_images.py"


# For losses that weigh pixels by class: of the training set, or where there is none of what is
# evaluated.
rule count_classes:
    input:
        splits=lambda wildcards: list(splits_of(wildcards.dataset).values()),
    output:
        pixels="<results>/data/{dataset}/class_pixels.json",
    log:
        "<logs>/data/{dataset}-class_pixels.log",
    benchmark:
        "<benchmarks>/data/{dataset}-class_pixels.tsv"
    wildcard_constraints:
        dataset=any_of(CONFIG.data),
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
        gpu=0,
    params:
        settings=lambda wildcards: CONFIG.data[wildcards.dataset].model_dump(),
    message:
        "Count the pixels of each class of {wildcards.dataset}"
    script:
        "../scripts/count_classes.py"
