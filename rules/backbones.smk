# Backbones: classifiers that segmentation models start from.


def backbone_data(wildcards):
    """Return both splits of the data set that a backbone is trained on."""
    return splits_of(CONFIG.backbones[wildcards.backbone].dataset)


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
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
        gpu=1,
    params:
        backbone=lambda wildcards: CONFIG.backbones[wildcards.backbone].model_dump(),
        training=lambda wildcards: CONFIG.training_of(CONFIG.backbones[wildcards.backbone]),
    message:
        "Pretrain the backbone {wildcards.backbone}, seed {wildcards.training_seed}"
    script:
        "../scripts/pretrain_backbone.py"
