# Claims: which of the paper's claims hold on the tables of this run, and on the paper's own numbers.

CLAIMS_FILE = f"{workflow.basedir}/config/claims.yaml"

# Claims are about the paper's tables.
CLAIMED = [table for table in CONFIG.tables if table not in ABLATIONS]

# A wrong claim stops the workflow before any job runs.
try:
    read_claims(CLAIMS_FILE)
except RobustsegError as error:
    raise WorkflowError(str(error)) from None


rule make_claims:
    input:
        claims=CLAIMS_FILE,
        reported=sorted(Path(REPORTED_FOLDER).glob("*.csv")),
        tables=expand(rules.make_table.output.parquet, table=CLAIMED),
        figures=expand(rules.make_figure.output.csv, figure=CONFIG.figures),
        evidence=lambda wildcards: evidence_of(*CLAIMED, *CONFIG.figures),
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
        reads={name: CONFIG.settings_of(name) for name in [*CLAIMED, *CONFIG.figures]},
        models={name: CONFIG.model_of(name) for name in [*CONFIG.models, *CONFIG.backbones]},
        reported=REPORTED_FOLDER,
    message:
        "Check the paper's claims on the tables of this run"
    script:
        "../scripts/make_claims.py"
