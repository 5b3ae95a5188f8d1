"""Attack some images of a model at several radii, and keep them to be shown."""

from robustseg.attacks.gallery import attack_gallery, save_arrays
from robustseg.attacks.views import load_pair
from robustseg.jobs import choose_device, job

if __name__ == "__main__":
    with job(f"gallery of {snakemake.wildcards.model}", snakemake.log[0]) as progress:
        device = choose_device(snakemake.resources.gpu, progress)
        arrays = attack_gallery(
            *load_pair(snakemake.input.weights, snakemake.input.val, device),
            snakemake.params.gallery,
            snakemake.resources.batch_size,
        )
        save_arrays(snakemake.output.shots, arrays)
        progress.say(f"written to {snakemake.output.shots}")
