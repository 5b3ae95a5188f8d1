# The page of a run (index), and the one over all training seeds (seeds).

PAGE_TABLES = {"index": list(CONFIG.tables), "seeds": ["seeds"]}
PAGE_FIGURES = {"index": [*CONFIG.figures, *CONFIG.pictures], "seeds": []}
PAGE_EVIDENCE = {"index": list(CONFIG.figures), "seeds": []}
PAGE_GALLERY = {"index": list(CONFIG.gallery.eps_255) if CONFIG.gallery else [], "seeds": []}
PAGE_CLAIMS = {"index": [rules.make_claims.output.html], "seeds": []}


rule make_page:
    input:
        tables=lambda wildcards: expand(
            rules.make_table.output.html, table=PAGE_TABLES[wildcards.page]
        ),
        figures=lambda wildcards: expand(
            rules.make_figure.output.svg, figure=PAGE_FIGURES[wildcards.page]
        ),
        claims=lambda wildcards: PAGE_CLAIMS[wildcards.page],
        gallery=lambda wildcards: expand(
            rules.attack_gallery.output.shots, model=PAGE_GALLERY[wildcards.page]
        ),
        evidence=lambda wildcards: evidence_of(
            *PAGE_TABLES[wildcards.page], *PAGE_EVIDENCE[wildcards.page]
        ),
    output:
        page=report(
            "<results>/report/{page}.html",
            caption="captions/page.rst",
            category="All on one page",
            labels=lambda wildcards: {
                "result": "All training seeds" if wildcards.page == "seeds" else "This run"
            },
        ),
    log:
        "<logs>/report/{page}.log",
    localrule: True
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=10,
        gpu=0,
    params:
        tables=lambda wildcards: PAGE_TABLES[wildcards.page],
        figures=lambda wildcards: PAGE_FIGURES[wildcards.page],
        gallery=lambda wildcards: PAGE_GALLERY[wildcards.page],
        config=CONFIG.model_dump()
        | {"models": {name: CONFIG.model_of(name) for name in CONFIG.models}},
        benchmarks=f"results/{CONFIG.run}/benchmarks",
    message:
        "Put tables and figures together in {output.page}"
    script:
        "../scripts/make_page.py"
