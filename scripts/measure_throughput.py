"""Measure how long passes through the configuration's networks take on the device at hand."""

from typing import TYPE_CHECKING

from robustseg.workflow_job import choose_device, job
from robustseg.evidence.schema import device_name
from robustseg.plan.throughput import write_throughput

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    with job("throughput", snakemake.log[0]) as progress:
        device = choose_device(snakemake.resources.gpu, progress)
        write_throughput(
            snakemake.output.throughput,
            snakemake.params.networks,
            device,
            device_name(device),
            2 if device == "cpu" else snakemake.resources.batch_size,
            progress,
        )
