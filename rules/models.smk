# Segmentation models: clean training, AT and PIR-AT.


def model_inputs(wildcards):
    """Return both splits of the data set that a model is trained on, and its backbone."""
    model = CONFIG.models[wildcards.model]
    backbone = rules.pretrain_backbone.output.weights.format(
        backbone=model.backbone, training_seed=wildcards.training_seed
    )
    return {**splits_of(model.dataset), "backbone": backbone}


rule train_model:
    input:
        unpack(model_inputs),
    output:
        weights="<results>/models/{model}/seed{training_seed}/weights.safetensors",
        metrics="<results>/models/{model}/seed{training_seed}/metrics.parquet",
    log:
        "<logs>/models/{model}-seed{training_seed}.log",
    benchmark:
        "<benchmarks>/models/{model}-seed{training_seed}.tsv"
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
        gpu=1,
    params:
        model=lambda wildcards: CONFIG.model_of(wildcards.model),
        training=lambda wildcards: CONFIG.training_of(CONFIG.models[wildcards.model]),
    message:
        "Train the model {wildcards.model}, seed {wildcards.training_seed}"
    script:
        "../scripts/train_model.py"
