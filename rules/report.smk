# The page of a run, and the one over all training seeds.


rule make_page:
    input:
        tables=expand(rules.make_table.output.json, table=SHOWN_TABLES),
        figures=expand(rules.make_figure.output.svg, figure=SHOWN_FIGURES),
        words=expand(rules.make_figure.output.json, figure=SHOWN_FIGURES),
        numbers=numbers_of(*claimed(), *(name for name in SHOWN_TABLES if TABLES[name].tell)),
        headlines=CLAIMS_FILE if claimed() else [],
        claims=rules.make_claims.output.parquet if claimed() else [],
        gallery=expand(
            rules.attack_gallery.output.shots,
            model=CONFIG.gallery.eps_255 if CONFIG.gallery else [],
        ),
        evidence=lambda wildcards: evidence_of(*SHOWN_TABLES, *CONFIG.figures),
    output:
        page=report(
            "<results>/report/index.html",
            caption="captions/page.rst",
            category="All on one page",
            labels={"result": "This run"},
        ),
    log:
        "<logs>/report/index.log",
    localrule: True
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=10,
        gpu=0,
    params:
        tables=SHOWN_TABLES,
        figures=SHOWN_FIGURES,
        gallery=list(CONFIG.gallery.eps_255) if CONFIG.gallery else [],
        config=CONFIG.to_show()
        | {"models": {name: CONFIG.model_of(name) for name in CONFIG.models}},
        benchmarks=lambda wildcards: benchmarks_of(*SHOWN_TABLES, *SHOWN_FIGURES),
        over_seeds=False,
    message:
        "Put tables and figures together in {output.page}"
    script:
        "../scripts/make_page.py"


use rule make_page as make_page_over_seeds with:
    input:
        tables=expand(rules.make_table_over_seeds.output.json, table=TABLES_OVER_SEEDS),
        figures=expand(rules.make_figure_over_seeds.output.svg, figure=FIGURES_OVER_SEEDS),
        words=expand(rules.make_figure_over_seeds.output.json, figure=FIGURES_OVER_SEEDS),
        numbers=numbers_of(*claimed(over_seeds=True), over_seeds=True),
        headlines=CLAIMS_FILE,
        claims=rules.make_claims_over_seeds.output.parquet,
        gallery=[],
        evidence=lambda wildcards: evidence_of(*CONFIG.seeds, over_seeds=True),
    output:
        page=report(
            "<results>/report/seeds.html",
            caption="captions/page.rst",
            category="All on one page",
            labels={"result": "All training seeds"},
        ),
    log:
        "<logs>/report/seeds.log",
    params:
        tables=TABLES_OVER_SEEDS,
        figures=FIGURES_OVER_SEEDS,
        gallery=[],
        benchmarks=lambda wildcards: benchmarks_of(*CONFIG.seeds, over_seeds=True),
        over_seeds=True,
