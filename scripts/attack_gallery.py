"""Attack some images of a model, at several radii or towards given classes, and keep them."""

from typing import TYPE_CHECKING

from robustseg.workflow_job import choose_device, job
from robustseg.evaluation.adapters import load_pair
from robustseg.evaluation.gallery import attack_gallery, attack_targeted
from robustseg.evidence.attacked_images import save_arrays

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    params = snakemake.params
    attack = attack_targeted if "classes" in params.settings else attack_gallery
    what = attack.__name__.replace("_", " ")
    with job(f"{what} of {snakemake.wildcards.model}", snakemake.log[0]) as progress:
        device = choose_device(snakemake.resources.gpu, progress)
        arrays = attack(
            *load_pair(snakemake.input.weights, snakemake.input.val, device, params.own),
            params.settings,
            snakemake.resources.batch_size,
            progress,
        )
        save_arrays(snakemake.output.shots, arrays)
        progress.say(f"written to {snakemake.output.shots}")
