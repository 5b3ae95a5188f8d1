"""Convert published weights of a backbone or a model to the project's format."""

from pathlib import Path
from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.downloads import Expected, record_hash, verify
from robustseg.models.convert import convert, write_report

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    file, params = Path(snakemake.input.file), snakemake.params
    with job(f"convert {params.name}", snakemake.log[0]) as progress:
        record = file.with_name("hashes.json")
        digest = verify(file, Expected(params.sha256), record=record)
        conversion = convert(params.weights, file, snakemake.output.weights, digest)
        write_report(snakemake.output.report, conversion)
        if params.sha256 is None and not params.checked_later:
            record_hash(file, digest, record, progress)
        progress.say(f"{params.weights}: {conversion}; each key is in {snakemake.output.report}")
