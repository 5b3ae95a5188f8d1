"""Read CIFAR-10 and write its splits."""

from pathlib import Path
from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.data.cifar10 import prepare_cifar10

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    with job(f"data {snakemake.wildcards.dataset}", snakemake.log[0]) as progress:
        prepare_cifar10(
            snakemake.params.settings,
            Path(snakemake.params.root, *snakemake.params.folders.values()),
            dict(snakemake.output.items()),
            progress,
        )
