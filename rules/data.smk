# Data sets. Others that are downloaded get rules of their own here, with the same outputs.


rule generate_data:
    output:
        train="<results>/data/{dataset}/train.npz",
        val="<results>/data/{dataset}/val.npz",
    log:
        "<logs>/data/{dataset}.log",
    benchmark:
        "<benchmarks>/data/{dataset}.tsv"
    conda:
        "../envs/robustseg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=10,
        gpu=0,
    params:
        settings=lambda wildcards: CONFIG.data[wildcards.dataset].model_dump(),
    message:
        "Generate the data set {wildcards.dataset}"
    script:
        "../scripts/generate_data.py"


def splits_of(dataset):
    """Return the files of a data set by split."""
    return {
        split: path.format(dataset=dataset) for split, path in rules.generate_data.output.items()
    }
