"""Attack some images of a model, at several radii or towards given classes, and keep them."""

from typing import TYPE_CHECKING

from robustseg.workflow_job import choose_device, job
from robustseg.evaluation.adapters import load_pair
from robustseg.evaluation.gallery import attack_gallery, attack_targeted
from robustseg.evidence.attacked_images import save_arrays

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

ATTACKS = {"attack_gallery": attack_gallery, "attack_targeted": attack_targeted}
"""By rule."""

if __name__ == "__main__":
    what = snakemake.rule.replace("_", " ")
    with job(f"{what} of {snakemake.wildcards.model}", snakemake.log[0]) as progress:
        device = choose_device(snakemake.resources.gpu, progress)
        arrays = ATTACKS[snakemake.rule](
            *load_pair(snakemake.input.weights, snakemake.input.val, device, snakemake.params.own),
            snakemake.params.settings,
            snakemake.resources.batch_size,
            progress,
        )
        save_arrays(snakemake.output.shots, arrays)
        progress.say(f"written to {snakemake.output.shots}")
