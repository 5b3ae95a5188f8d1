"""Train a segmentation model, clean or adversarially."""

from pathlib import Path

from robustseg.jobs import choose_device, job
from robustseg.training.train import Files, Machine, train_segmentation

if __name__ == "__main__":
    name = f"{snakemake.wildcards.model}, seed {snakemake.wildcards.training_seed}"
    with job(f"train {name}", snakemake.log[0]) as progress:
        weights = Path(snakemake.output.weights)
        train_segmentation(
            snakemake.params.model,
            snakemake.params.training,
            snakemake.params.model["architecture"],
            Files(
                train=Path(snakemake.input.train),
                val=Path(snakemake.input.val),
                weights=weights,
                metrics=Path(snakemake.output.metrics),
                checkpoint=weights.with_name("checkpoint.pt"),
                backbone=Path(snakemake.input.backbone),
            ),
            int(snakemake.wildcards.training_seed),
            progress,
            Machine(snakemake.threads, choose_device(snakemake.resources.gpu, progress)),
        )
