"""Stop before any attack if published weights predict wrongly; else record their hash."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.downloads import record_hash
from robustseg.evaluation.accuracy import check_accuracy
from robustseg.files import write_text

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    model, params = snakemake.wildcards.model, snakemake.params
    with job(f"clean accuracy of {model}", snakemake.log[0]) as progress:
        accuracy = check_accuracy(
            snakemake.input.evidence, model, params.weights, params.least, params.reported
        )
        progress.say(f"{accuracy:.1f} %, at least {params.least:g} % is expected")
        if params.sha256 is None:
            file = Path(params.file)
            report = json.loads(Path(snakemake.input.report).read_text(encoding="utf-8"))
            record_hash(file, report["sha256"], file.with_name("hashes.json"), progress)
        result = {"accuracy": accuracy, "least": params.least, "reported": params.reported}
        write_text(snakemake.output.checked, json.dumps(result) + "\n")
