# Figures: drawings of evidence.


rule make_figure:
    input:
        evidence=lambda wildcards: evidence_of(wildcards.figure),
    output:
        pdf="<results>/figures/{figure}.pdf",
        png="<results>/figures/{figure}.png",
        svg=report(
            "<results>/figures/{figure}.svg",
            caption="captions/numbers.rst",
            category=lambda wildcards: FIGURES[wildcards.figure].question.title,
            labels=lambda wildcards: {"result": FIGURES[wildcards.figure].label},
        ),
        json="<results>/figures/{figure}.json",
        csv="<results>/figures/{figure}.csv",
        parquet="<results>/figures/{figure}.parquet",
    log:
        "<logs>/figures/{figure}.log",
    localrule: True
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=10,
        gpu=0,
    params:
        reads=lambda wildcards: CONFIG.reads_of(wildcards.figure),
        models=lambda wildcards: CONFIG.models_of(wildcards.figure),
        shows=lambda wildcards: FIGURES[wildcards.figure].shows,
    message:
        "Draw {wildcards.figure} from evidence"
    script:
        "../scripts/make_figure.py"


use rule make_figure as make_figure_over_seeds with:
    input:
        evidence=lambda wildcards: evidence_of(wildcards.figure, over_seeds=True),
    output:
        pdf="<results>/seeds/{figure}.pdf",
        png="<results>/seeds/{figure}.png",
        svg=report(
            "<results>/seeds/{figure}.svg",
            caption="captions/numbers.rst",
            category="Over all training seeds",
            labels=lambda wildcards: {"result": FIGURES[wildcards.figure].label},
        ),
        json="<results>/seeds/{figure}.json",
        csv="<results>/seeds/{figure}.csv",
        parquet="<results>/seeds/{figure}.parquet",
    log:
        "<logs>/seeds/{figure}.log",
    params:
        reads=lambda wildcards: CONFIG.reads_of(wildcards.figure, over_seeds=True),
        models=lambda wildcards: CONFIG.models_of(wildcards.figure, over_seeds=True),
    message:
        "Draw {wildcards.figure} from evidence of all training seeds"
