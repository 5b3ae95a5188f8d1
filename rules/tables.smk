# Tables: queries over evidence.


# Memory here and in the rules of figures, claims and pages: `make bench-report` measures it at the
# paper's size (1.1 GB for the largest table, 0.9 GB for the claims).
rule make_table:
    input:
        evidence=lambda wildcards: evidence_of(wildcards.table),
        reported=REPORTED,
        manifests=lambda wildcards: expand(
            rules.prepare_data.output.manifest, dataset=datasets_of(wildcards.table)
        ),
    output:
        parquet="<results>/tables/{table}.parquet",
        csv="<results>/tables/{table}.csv",
        md="<results>/tables/{table}.md",
        tex="<results>/tables/{table}.tex",
        json="<results>/tables/{table}.json",
        html=report(
            "<results>/tables/{table}.html",
            caption="captions/numbers.rst",
            category=lambda wildcards: TABLES[wildcards.table].question.title,
            labels=lambda wildcards: {"result": TABLES[wildcards.table].label},
        ),
    log:
        "<logs>/tables/{table}.log",
    localrule: True
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=10,
        gpu=0,
    params:
        reads=lambda wildcards: CONFIG.reads_of(wildcards.table),
        models=lambda wildcards: CONFIG.models_of(wildcards.table),
        shows=lambda wildcards: TABLES[wildcards.table].shows,
        datasets=lambda wildcards: datasets_of(wildcards.table),
    message:
        "Make {wildcards.table} from evidence"
    script:
        "../scripts/make_table.py"


use rule make_table as make_table_over_seeds with:
    input:
        evidence=lambda wildcards: evidence_of(wildcards.table, over_seeds=True),
        reported=REPORTED,
        manifests=lambda wildcards: expand(
            rules.prepare_data.output.manifest, dataset=datasets_of(wildcards.table)
        ),
    output:
        parquet="<results>/seeds/{table}.parquet",
        csv="<results>/seeds/{table}.csv",
        md="<results>/seeds/{table}.md",
        tex="<results>/seeds/{table}.tex",
        json="<results>/seeds/{table}.json",
        html=report(
            "<results>/seeds/{table}.html",
            caption="captions/numbers.rst",
            category="Over all training seeds",
            labels=lambda wildcards: {"result": TABLES[wildcards.table].label},
        ),
    log:
        "<logs>/seeds/{table}.log",
    params:
        reads=lambda wildcards: CONFIG.reads_of(wildcards.table, over_seeds=True),
        models=lambda wildcards: CONFIG.models_of(wildcards.table, over_seeds=True),
    message:
        "Make {wildcards.table} from evidence of all training seeds"
