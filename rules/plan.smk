# The price of the work, before it is begun.


def jobs_by_target():
    """Return the jobs of every table and figure."""
    from robustseg.plan.costs import jobs_of  # only here: every job reads this file

    names = [*CONFIG.tables, *CONFIG.figures, *CONFIG.pictures]
    return {name: jobs_of(CONFIG, name) for name in names}


def networks(wildcards):
    """Return all networks that are trained or attacked, each once."""
    jobs = {job for some in jobs_by_target().values() for job in some}
    return sorted({work.network for job in jobs for work in job.work})


def outputs(wildcards):
    """Return the jobs by target, each with the file that it makes."""
    made = {
        "pretrain_backbone": rules.pretrain_backbone.output.weights,
        "train_model": rules.train_model.output.weights,
        "evaluate_clean": rules.evaluate_clean.output.evidence,
        "attack_model": rules.attack_model.output.evidence,
        "attack_gallery": rules.attack_gallery.output.shots,
        "attack_targeted": rules.attack_targeted.output.shots,
    }
    return {
        name: [(job, made[job.rule].format(**dict(job.wildcards))) for job in jobs]
        for name, jobs in jobs_by_target().items()
    }


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
