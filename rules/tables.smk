# Tables: queries over evidence.


rule make_table:
    input:
        evidence=lambda wildcards: evidence_of(wildcards.table),
    output:
        parquet="<results>/tables/{table}.parquet",
        csv="<results>/tables/{table}.csv",
        md="<results>/tables/{table}.md",
        tex="<results>/tables/{table}.tex",
        html="<results>/tables/{table}.html",
    log:
        "<logs>/tables/{table}.log",
    localrule: True
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
        gpu=0,
    params:
        reads=lambda wildcards: CONFIG.settings_of(wildcards.table),
        models=lambda wildcards: CONFIG.models_of(wildcards.table),
    message:
        "Make {wildcards.table} from evidence"
    script:
        "../scripts/make_table.py"
