"""Generate both splits of an embedded data set."""

from collections.abc import Mapping
from typing import Any

from robustseg.jobs import job
from robustseg.progress import Progress


def generate_data(
    settings: Mapping[str, Any], outputs: Mapping[str, str], progress: Progress
) -> None:
    """Write the splits `train` and `val` of a data set.

    Args:
        settings: the data set's section of the configuration.
        outputs: the file of each split.
        progress: says how far it is.
    """
    from robustseg.data.datasets import generate

    for split, path in outputs.items():
        progress.say(f"{settings[f'{split}_images']} images for {path}")
        generate(settings, split, path)


if __name__ == "__main__":
    with job(f"data {snakemake.wildcards.dataset}", snakemake.log[0]) as progress:
        generate_data(snakemake.params.settings, dict(snakemake.output.items()), progress)
