# Gallery: attacked images that are kept, and the figures that show them.


rule attack_gallery:
    input:
        weights=lambda wildcards: weights_of(wildcards.model, CONFIG.training_seeds[0]),
        val=of("model")(val_of),
        checked=lambda wildcards: checks_of(CONFIG.training_seeds[0], wildcards.model),
    output:
        shots="<results>/gallery/{model}.npz",
    log:
        "<logs>/gallery/{model}.log",
    benchmark:
        "<benchmarks>/gallery/{model}.tsv"
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: memory_mb(CONFIG, wildcards.model, attempt),
        runtime=lambda wildcards, attempt: 60 * attempt,
        gpu=1,
        batch_size=CONFIG.attacks.batch_size,
    params:
        settings=lambda wildcards: CONFIG.gallery.of(wildcards.model),
        own=lambda wildcards: CONFIG.own_of(wildcards.model),
    message:
        "Attack images of {wildcards.model} to be shown"
    script:
        "../scripts/attack_gallery.py"


rule attack_targeted:
    input:
        weights=rules.attack_gallery.input.weights,
        val=of("model")(val_of),
        checked=rules.attack_gallery.input.checked,
    output:
        shots="<results>/gallery/targeted/{model}.npz",
    log:
        "<logs>/gallery/targeted-{model}.log",
    benchmark:
        "<benchmarks>/gallery/targeted-{model}.tsv"
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: memory_mb(CONFIG, wildcards.model, attempt),
        runtime=lambda wildcards, attempt: 60 * attempt,
        gpu=1,
        batch_size=CONFIG.attacks.batch_size,
    params:
        settings=CONFIG.targeted and CONFIG.targeted.model_dump(),
        own=lambda wildcards: CONFIG.own_of(wildcards.model),
    message:
        "Attack images of {wildcards.model} towards given classes"
    script:
        "../scripts/attack_gallery.py"


rule make_picture:
    input:
        shots=lambda wildcards: shots_of(wildcards.figure),
    output:
        pdf="<results>/figures/{figure}.pdf",
        png="<results>/figures/{figure}.png",
        svg=report(
            "<results>/figures/{figure}.svg",
            caption="captions/picture.rst",
            category=lambda wildcards: PICTURES[wildcards.figure].question.title,
            labels=lambda wildcards: {"result": PICTURES[wildcards.figure].label},
        ),
        json="<results>/figures/{figure}.json",
        csv="<results>/figures/{figure}.csv",
    log:
        "<logs>/figures/{figure}.log",
    wildcard_constraints:
        figure=any_of(CONFIG.pictures),
    localrule: True
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=10,
        gpu=0,
    params:
        shows=lambda wildcards: PICTURES[wildcards.figure].shows,
        models=lambda wildcards: {
            model: CONFIG.model_of(model) for model in CONFIG.pictures[wildcards.figure]
        },
    message:
        "Draw {wildcards.figure} from attacked images"
    script:
        "../scripts/make_picture.py"
