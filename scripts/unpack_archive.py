"""Unpack an archive of a data set, unless that is done."""

from pathlib import Path
from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.data.unpacking import unpack
from robustseg.downloads import Expected, record_hash, verify
from robustseg.files import write_text

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    with job(f"unpack {snakemake.wildcards.archive}", snakemake.log[0]) as progress:
        # A person may have put it there.
        file, expected = Path(snakemake.input.file), Expected(**snakemake.params.expected)
        record = file.with_name("hashes.json")
        digest = verify(file, expected, record=record)
        folder = unpack(
            file,
            snakemake.params.folder,
            wanted=snakemake.params.wanted,
            limit_bytes=snakemake.params.limit_bytes,
            progress=progress,
        )
        if expected.strongest and expected.sha256 is None:
            # Files can be made that have a SHA-1 or MD5 of one's choice.
            record_hash(file, digest, record, progress)
        write_text(snakemake.output.done, f"{folder}\n")
