# The price of the work, before it is begun.


rule measure_throughput:
    output:
        throughput="<results>/plan/throughput.json",
    log:
        "<logs>/plan/throughput.log",
    benchmark:
        "<benchmarks>/plan/throughput.tsv"
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
        gpu=1,
        batch_size=CONFIG.attacks.batch_size,
    params:
        networks=networks,
    message:
        "Measure how fast this machine's device is"
    script:
        "../scripts/measure_throughput.py"


# It has no output that Snakemake knows of: what is done changes from one call to the next.
rule plan:
    input:
        throughput=CONFIG.throughput or rules.measure_throughput.output.throughput,
    log:
        "<logs>/plan/plan.log",
    localrule: True
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
        gpu=0,
    params:
        jobs=outputs,
        plan=f"results/{CONFIG.run}/plan/plan.md",
    message:
        "Price every table and figure"
    script:
        "../scripts/make_plan.py"
