"""Pretrain a backbone as a classifier, clean or robust."""

from pathlib import Path

from robustseg.jobs import choose_device, job
from robustseg.training.train import Files, Machine, train_classifier

if __name__ == "__main__":
    name = f"{snakemake.wildcards.backbone}, seed {snakemake.wildcards.training_seed}"
    with job(f"pretrain {name}", snakemake.log[0]) as progress:
        weights = Path(snakemake.output.weights)
        train_classifier(
            snakemake.params.backbone,
            snakemake.params.training,
            Files(
                train=Path(snakemake.input.train),
                val=Path(snakemake.input.val),
                weights=weights,
                metrics=Path(snakemake.output.metrics),
                checkpoint=weights.with_name("checkpoint.pt"),
            ),
            int(snakemake.wildcards.training_seed),
            progress,
            Machine(snakemake.threads, choose_device(snakemake.resources.gpu, progress)),
        )
