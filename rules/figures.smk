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
            category=lambda wildcards: question_of(wildcards.figure),
            labels=lambda wildcards: {"result": label_of(wildcards.figure)},
        ),
        csv="<results>/figures/{figure}.csv",
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
        reads=lambda wildcards: CONFIG.settings_of(wildcards.figure),
        models=lambda wildcards: CONFIG.models_of(wildcards.figure),
    message:
        "Draw {wildcards.figure} from evidence"
    script:
        "../scripts/make_figure.py"
