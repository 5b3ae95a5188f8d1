# Tables: queries over evidence.

# The paper's printed numbers, shown beside measured ones of the paper's own models and data sets.
REPORTED_FOLDER = f"{workflow.basedir}/config/paper"


def leaking(table):
    """Return the data sets whose manifests a table reads: those of the table `leak`."""
    models = [read.model for read in CONFIG.leak] if table == "leak" else []
    return sorted({CONFIG.dataset_of(model) for model in models})


# Memory here and in the rules of figures, claims and pages: `make bench-report` measures it at the
# paper's size (0.7 GB for the largest table, 1.2 GB for the claims).
rule make_table:
    input:
        evidence=lambda wildcards: evidence_of(wildcards.table),
        reported=sorted(Path(REPORTED_FOLDER).glob("*.csv")),
        manifests=lambda wildcards: expand(
            rules.prepare_data.output.manifest, dataset=leaking(wildcards.table)
        ),
    output:
        parquet="<results>/tables/{table}.parquet",
        csv="<results>/tables/{table}.csv",
        md="<results>/tables/{table}.md",
        tex="<results>/tables/{table}.tex",
        html=report(
            "<results>/tables/{table}.html",
            caption="captions/numbers.rst",
            category=lambda wildcards: question_of(wildcards.table),
            labels=lambda wildcards: {"result": label_of(wildcards.table)},
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
        reads=lambda wildcards: CONFIG.settings_of(wildcards.table),
        models=lambda wildcards: CONFIG.models_of(wildcards.table),
        reported=REPORTED_FOLDER,
        datasets=lambda wildcards: leaking(wildcards.table),
        recipes=lambda wildcards: CONFIG.recipes() if wildcards.table == "table5" else {},
    message:
        "Make {wildcards.table} from evidence"
    script:
        "../scripts/make_table.py"
