# Segmentation models: clean training, AT and PIR-AT, or weights that others have released.


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
    wildcard_constraints:
        model=any_of(TRAINED_MODELS),
    priority: lambda wildcards: training_priority(CONFIG, wildcards.model)
    conda:
        "../envs/robustseg.yaml"
    threads: training_threads
    resources:
        mem_mb=lambda wildcards, attempt: memory_mb(CONFIG, wildcards.model, attempt),
        runtime=lambda wildcards, attempt: training_minutes(CONFIG, wildcards.model, attempt),
        gpu=1,
    params:
        model=lambda wildcards: CONFIG.model_of(wildcards.model),
        training=lambda wildcards: CONFIG.training_of(CONFIG.models[wildcards.model]),
    message:
        "Train the model {wildcards.model}, seed {wildcards.training_seed}"
    script:
        "../scripts/train_model.py"


rule convert_model:
    input:
        file=published_file,
    output:
        weights="<results>/models/{model}/seed{training_seed}/weights.safetensors",
        report="<results>/models/{model}/seed{training_seed}/keys.json",
    log:
        "<logs>/models/{model}-seed{training_seed}.log",
    benchmark:
        "<benchmarks>/models/{model}-seed{training_seed}.tsv"
    wildcard_constraints:
        model=any_of(RELEASED_MODELS),
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=10,
        gpu=0,
    params:
        name=lambda wildcards: wildcards.model,
        weights=lambda wildcards: CONFIG.models[wildcards.model].weights,
        sha256=lambda wildcards, input: expected_hash(input.file),
        checked_later=True,  # by check_accuracy
    message:
        "Convert the released weights of {wildcards.model}"
    script:
        "../scripts/convert_weights.py"
