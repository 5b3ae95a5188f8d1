# Attacks: evidence, one row for each image and attack.


rule evaluate_clean:
    input:
        unpack(victim),
    output:
        evidence=f"<results>/{CLEAN_FILE}",
    log:
        "<logs>/attacks/clean-{model}-seed{training_seed}.log",
    benchmark:
        "<benchmarks>/attacks/clean-{model}-seed{training_seed}.tsv"
    wildcard_constraints:
        model=VICTIM,
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: memory_mb(CONFIG, wildcards.model, attempt),
        runtime=lambda wildcards, attempt: clean_minutes(CONFIG, wildcards.model, attempt),
        gpu=1,
        batch_size=CONFIG.attacks.batch_size,
    params:
        dataset=of("model")(CONFIG.dataset_of),
        lineage=of("model")(CONFIG.lineage_of),
        own=of("model")(CONFIG.own_of),
    message:
        "Evaluate {wildcards.model}, seed {wildcards.training_seed}, without an attack"
    script:
        "../scripts/evaluate_clean.py"


# What others have trained must predict before it is attacked: weights may be loaded without a
# complaint and still be wrong for their network or its images.
rule check_accuracy:
    input:
        evidence=rules.evaluate_clean.output.evidence,
        report=conversion_report,
    output:
        checked="<results>/attacks/clean/{model}/seed{training_seed}/eps0/accuracy.json",
    log:
        "<logs>/attacks/accuracy-{model}-seed{training_seed}.log",
    wildcard_constraints:
        model=any_of([*RELEASED_MODELS, *FETCHED_BACKBONES]),
    localrule: True
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
        gpu=0,
    params:
        weights=lambda wildcards: CONFIG.model_of(wildcards.model)["weights"],
        least=lambda wildcards: CONFIG.min_clean_accuracy_of(wildcards.model),
        reported=lambda wildcards: CONFIG.published_of(wildcards.model).clean_accuracy,
        file=published_file,
        sha256=lambda wildcards: expected_hash(published_file(wildcards)),
    message:
        "Check that {wildcards.model} predicts as it should"
    script:
        "../scripts/check_accuracy.py"


# The batch size is a resource, not a parameter: it suits the memory of a machine, and changing it
# makes no evidence out of date.
rule attack_model:
    input:
        unpack(victim),
        unpack(around_attack),
    output:
        evidence=f"<results>/{EVIDENCE_FILE}",
    log:
        "<logs>/attacks/{suite}-{model}-seed{training_seed}-eps{eps_255}-seed{seed}-shard{shard}.log",
    benchmark:
        "<benchmarks>/attacks/{suite}-{model}-seed{training_seed}-eps{eps_255}-seed{seed}-shard{shard}.tsv"
    wildcard_constraints:
        model=VICTIM,
        suite=any_of(ATTACKS),
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: memory_mb(CONFIG, wildcards.model, attempt),
        runtime=lambda wildcards, attempt: attack_runtime(
            wildcards.model, wildcards.suite, wildcards.eps_255, attempt
        ),
        gpu=1,
        batch_size=CONFIG.attacks.batch_size,
    params:
        dataset=of("model")(CONFIG.dataset_of),
        lineage=of("model")(CONFIG.lineage_of),
        own=of("model")(CONFIG.own_of),
        suite=suite_at,
        sources=lineages_of_sources,
        precision=CONFIG.attacks.precision,
        compiled=CONFIG.attacks.compiled,
        cut=of("suite", "model")(CONFIG.cut_of),
    message:
        "Attack {wildcards.model}, seed {wildcards.training_seed}, with {wildcards.suite} at {wildcards.eps_255}/255, seed {wildcards.seed}"
    script:
        "../scripts/attack_model.py"


# A second opinion on the figures of a suite, from its evidence and a model and images again.
rule doubt_model:
    input:
        unpack(victim),
        unpack(around_attack),
        doubted=doubted_evidence,
    output:
        evidence=f"<results>/{EVIDENCE_FILE}",
    log:
        "<logs>/attacks/{suite}-{model}-seed{training_seed}-eps{eps_255}-seed{seed}-shard{shard}.log",
    benchmark:
        "<benchmarks>/attacks/{suite}-{model}-seed{training_seed}-eps{eps_255}-seed{seed}-shard{shard}.tsv"
    wildcard_constraints:
        model=VICTIM,
        suite=any_of(DOUBTS),
        shard="0",
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: memory_mb(CONFIG, wildcards.model, attempt),
        runtime=lambda wildcards, attempt: attack_runtime(
            wildcards.model, wildcards.suite, wildcards.eps_255, attempt
        ),
        gpu=1,
        batch_size=CONFIG.attacks.batch_size,
    params:
        dataset=of("model")(CONFIG.dataset_of),
        lineage=of("model")(CONFIG.lineage_of),
        own=of("model")(CONFIG.own_of),
        suite=lambda wildcards: CONFIG.attacks.suites[wildcards.suite].model_dump(),
        radii=doubted_radii,
        doubted=lambda wildcards: CONFIG.attacks.suites[
            CONFIG.attacks.suites[wildcards.suite].of
        ].at(*doubted_radii(wildcards)),
        sources=lineages_of_sources,
    message:
        "Doubt {wildcards.model}, seed {wildcards.training_seed}, as {wildcards.suite} does, at {wildcards.eps_255}/255, seed {wildcards.seed}"
    script:
        "../scripts/doubt_model.py"
