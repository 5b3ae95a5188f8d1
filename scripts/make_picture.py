"""Draw one figure of attacked images."""

from robustseg.figures.pictures import make_picture

from robustseg.workflow_job import job

if __name__ == "__main__":
    with job(snakemake.wildcards.figure, snakemake.log[0]) as progress:
        make_picture(
            snakemake.wildcards.figure,
            dict(zip(snakemake.params.models, snakemake.input.shots, strict=True)),
            snakemake.params.models,
            dict(snakemake.output.items()),
        )
        progress.say(f"drawn as {snakemake.output.png}")
