# Claims: which of the paper's claims hold on the tables of this run, and on the paper's own numbers.


rule make_claims:
    input:
        claims=CLAIMS_FILE,
        reported=REPORTED,
        numbers=numbers_of(*claimed()),
        evidence=lambda wildcards: evidence_of(*claimed()),
    output:
        parquet="<results>/claims/claims.parquet",
        csv="<results>/claims/claims.csv",
        md="<results>/claims/claims.md",
        html=report(
            "<results>/claims/claims.html",
            caption="captions/claims.rst",
            category="Which of the paper's claims hold?",
            labels={"result": "Claims"},
        ),
    log:
        "<logs>/claims/claims.log",
    localrule: True
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=10,
        gpu=0,
    params:
        reads={name: CONFIG.reads_of(name) for name in claimed()},
    message:
        "Check the paper's claims on the tables of this run"
    script:
        "../scripts/make_claims.py"


use rule make_claims as make_claims_over_seeds with:
    input:
        claims=CLAIMS_FILE,
        reported=REPORTED,
        numbers=numbers_of(*claimed(over_seeds=True), over_seeds=True),
        evidence=lambda wildcards: evidence_of(*claimed(over_seeds=True), over_seeds=True),
    output:
        parquet="<results>/seeds/claims.parquet",
        csv="<results>/seeds/claims.csv",
        md="<results>/seeds/claims.md",
        html=report(
            "<results>/seeds/claims.html",
            caption="captions/claims.rst",
            category="Over all training seeds",
            labels={"result": "Claims"},
        ),
    log:
        "<logs>/seeds/claims.log",
    params:
        reads={name: CONFIG.reads_of(name, over_seeds=True) for name in claimed(over_seeds=True)},
    message:
        "Check the paper's claims over all training seeds"
