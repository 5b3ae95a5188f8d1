# Claims: which of the paper's claims hold on the tables of this run, and on the paper's own numbers.

CLAIMS_FILE = f"{workflow.basedir}/config/claims.yaml"

# A wrong claim stops the workflow before any job runs.
try:
    read_claims(CLAIMS_FILE)
except RobustsegError as error:
    raise WorkflowError(str(error)) from None


def claimed(over_seeds=False):
    """Return the tables and figures of numbers that claims are about: the paper's."""
    return [name for name in CONFIG.exhibits(over_seeds) if ({**TABLES, **FIGURES})[name].in_paper]


def claimed_numbers(over_seeds=False):
    """Return the files of their numbers."""
    table, figure = (
        (rules.make_table_over_seeds, rules.make_figure_over_seeds)
        if over_seeds
        else (rules.make_table, rules.make_figure)
    )
    return [
        (
            table.output.parquet.format(table=name)
            if name in TABLES
            else figure.output.parquet.format(figure=name)
        )
        for name in claimed(over_seeds)
    ]


rule make_claims:
    input:
        claims=CLAIMS_FILE,
        reported=sorted(Path(REPORTED_FOLDER).glob("*.csv")),
        numbers=claimed_numbers(),
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
        reported=REPORTED_FOLDER,
    message:
        "Check the paper's claims on the tables of this run"
    script:
        "../scripts/make_claims.py"


use rule make_claims as make_claims_over_seeds with:
    input:
        numbers=claimed_numbers(over_seeds=True),
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
