"""Generate both splits of an embedded data set."""

from robustseg.data.generate import write_dataset
from robustseg.jobs import job

if __name__ == "__main__":
    with job(f"data {snakemake.wildcards.dataset}", snakemake.log[0]) as progress:
        settings = snakemake.params.settings
        progress.say(f"generate {settings['train_images']} + {settings['val_images']} images")
        write_dataset(settings, snakemake.output.train, snakemake.output.val)
