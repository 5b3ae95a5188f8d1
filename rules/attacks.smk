# Attacks: evidence, one row for each image and attack.


def images_to_attack(wildcards):
    """Return the images of a model's validation split."""
    return splits_of(CONFIG.models[wildcards.model].dataset)["val"]


rule evaluate_clean:
    input:
        weights=rules.train_model.output.weights,
        val=images_to_attack,
    output:
        evidence="<results>/attacks/clean/{model}/seed{training_seed}/eps0/seed0-shard0.parquet",
    log:
        "<logs>/attacks/clean-{model}-seed{training_seed}.log",
    benchmark:
        "<benchmarks>/attacks/clean-{model}-seed{training_seed}.tsv"
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
        gpu=1,
        batch_size=CONFIG.attacks.batch_size,
    params:
        dataset=lambda wildcards: CONFIG.models[wildcards.model].dataset,
        lineage=lambda wildcards: CONFIG.lineage_of(wildcards.model),
    message:
        "Evaluate {wildcards.model}, seed {wildcards.training_seed}, without an attack"
    script:
        "../scripts/evaluate_clean.py"


# The batch size is a resource, not a parameter: it suits the memory of a machine, and changing it
# makes no evidence out of date.
rule attack_model:
    input:
        weights=rules.train_model.output.weights,
        val=images_to_attack,
    output:
        evidence="<results>/attacks/{suite}/{model}/seed{training_seed}/eps{eps_255}/seed{seed}-shard{shard}.parquet",
    log:
        "<logs>/attacks/{suite}-{model}-seed{training_seed}-eps{eps_255}-seed{seed}-shard{shard}.log",
    benchmark:
        "<benchmarks>/attacks/{suite}-{model}-seed{training_seed}-eps{eps_255}-seed{seed}-shard{shard}.tsv"
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
        gpu=1,
        batch_size=CONFIG.attacks.batch_size,
    params:
        dataset=lambda wildcards: CONFIG.models[wildcards.model].dataset,
        lineage=lambda wildcards: CONFIG.lineage_of(wildcards.model),
        suite=lambda wildcards: CONFIG.attacks.suites[wildcards.suite].at(float(wildcards.eps_255)),
        shards=CONFIG.attacks.shards,
    message:
        "Attack {wildcards.model}, seed {wildcards.training_seed}, with {wildcards.suite} at {wildcards.eps_255}/255, seed {wildcards.seed}"
    script:
        "../scripts/attack_model.py"


def evidence_of(*names):
    """Return the evidence that tables and figures read, each file once."""
    paths = []
    for name in names:
        training_seeds = CONFIG.training_seeds_of(name)
        for read in CONFIG.reads_of(name):
            paths += expand(
                rules.evaluate_clean.output.evidence,
                model=read.model,
                training_seed=training_seeds,
            )
            paths += expand(
                rules.attack_model.output.evidence,
                suite=read.suites,
                model=read.model,
                training_seed=training_seeds,
                eps_255=[f"{eps:g}" for eps in read.eps_255],
                seed=read.seeds,
                shard=range(CONFIG.attacks.shards),
            )
    return list(dict.fromkeys(paths))
