"""Train a segmentation model, or pretrain a backbone as a classifier: clean or adversarially."""

from pathlib import Path
from typing import TYPE_CHECKING

from robustseg.workflow_job import choose_device, job
from robustseg.training.launch import TrainingJob, run
from robustseg.training.train import Files, Machine

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    wildcards, params = snakemake.wildcards, snakemake.params
    model, backbone = params.get("model"), snakemake.input.get("backbone")
    what = f"train {wildcards.model}" if model else f"pretrain {wildcards.backbone}"
    name = f"{what}, seed {wildcards.training_seed}"
    with job(name, snakemake.log[0]) as progress:
        device = choose_device(snakemake.resources.gpu, progress)
        processes = snakemake.resources.gpu if device == "cuda" else 1
        weights = Path(snakemake.output.weights)
        training = TrainingJob(
            name,
            model or params.backbone,
            params.training,
            Files(
                train=Path(snakemake.input.train),
                val=Path(snakemake.input.val),
                weights=weights,
                metrics=Path(snakemake.output.metrics),
                checkpoint=weights.with_name("checkpoint.pt"),
                backbone=Path(backbone) if backbone else None,
            ),
            int(wildcards.training_seed),
            Machine(max(1, snakemake.threads // processes), device),
        )
        run(training, processes, progress)
