# Backbones: classifiers that segmentation models start from, trained here or by others.


rule pretrain_backbone:
    input:
        unpack(backbone_data),
    output:
        weights="<results>/backbones/{backbone}/seed{training_seed}/weights.safetensors",
        metrics="<results>/backbones/{backbone}/seed{training_seed}/metrics.parquet",
    log:
        "<logs>/backbones/{backbone}-seed{training_seed}.log",
    benchmark:
        "<benchmarks>/backbones/{backbone}-seed{training_seed}.tsv"
    wildcard_constraints:
        backbone=any_of(TRAINED_BACKBONES),
    priority: lambda wildcards: training_priority(CONFIG, wildcards.backbone)
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: memory_mb(CONFIG, wildcards.backbone, attempt),
        runtime=lambda wildcards, attempt: training_minutes(CONFIG, wildcards.backbone, attempt),
        gpu=1,
    params:
        backbone=lambda wildcards: CONFIG.backbones[wildcards.backbone].model_dump(),
        training=lambda wildcards: CONFIG.training_of(CONFIG.backbones[wildcards.backbone]),
    message:
        "Pretrain the backbone {wildcards.backbone}, seed {wildcards.training_seed}"
    script:
        "../scripts/train_model.py"


# Kept for all runs. A hash that is not known is recorded beside the file once the weights have proved
# to be right, and expected from then on.
# `update`: a file is not removed first, since another run that shares the folder may have fetched it.
rule fetch_weights:
    output:
        file=update("<downloads>/weights/{weights_file}"),
    log:
        "<logs>/weights/{weights_file}.log",
    wildcard_constraints:
        weights_file=any_of(map(re.escape, CONFIG.weights_files())),
    localrule: True
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=1440,
        gpu=0,
        # No setting: another mirror of the same file makes nothing out of date.
        urls=lambda wildcards: " ".join(weights_source(wildcards.weights_file)["urls"]),
    params:
        expected=lambda wildcards: weights_source(wildcards.weights_file)["expected"],
    message:
        "Fetch {wildcards.weights_file}"
    script:
        "../scripts/fetch_weights.py"


rule convert_backbone:
    input:
        file=published_file,
    output:
        weights="<results>/backbones/{backbone}/seed{training_seed}/weights.safetensors",
        report="<results>/backbones/{backbone}/seed{training_seed}/keys.json",
    log:
        "<logs>/backbones/{backbone}-seed{training_seed}.log",
    benchmark:
        "<benchmarks>/backbones/{backbone}-seed{training_seed}.tsv"
    wildcard_constraints:
        backbone=any_of(FETCHED_BACKBONES),
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=10,
        gpu=0,
    params:
        name=lambda wildcards: wildcards.backbone,
        weights=lambda wildcards: CONFIG.backbones[wildcards.backbone].weights,
        sha256=lambda wildcards, input: expected_hash(input.file),
        # By check_accuracy, where there are images to check it on.
        checked_later=lambda wildcards: CONFIG.backbones[wildcards.backbone].dataset is not None,
    message:
        "Convert the published weights of the backbone {wildcards.backbone}"
    script:
        "../scripts/convert_weights.py"
