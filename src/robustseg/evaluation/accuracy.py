"""Whether published weights predict as well as their publisher says."""

from pathlib import Path

from robustseg.errors import RobustsegError
from robustseg.evidence.reading import read_evidence
from robustseg.metrics import mean_accuracy


def check_accuracy(
    evidence: str | Path, model: str, weights: str, least: float, reported: float
) -> float:
    """Return a model's clean accuracy in percent.

    Args:
        evidence: of its clean evaluation.
        model: its name in the configuration.
        weights: name of its weights.
        least: percent that it must reach.
        reported: percent that is reported for it.

    Raises:
        RobustsegError: it reaches less: the weights were loaded, but do not predict.
    """
    rows = read_evidence([evidence], counts=False)
    pixels, correct = rows["pixels"].to_numpy(), rows["pixels_correct"].to_numpy()
    accuracy = 100 * mean_accuracy(pixels, correct)
    if accuracy < least:
        raise RobustsegError(
            f"{model} with the weights {weights} is right at {accuracy:.1f} % without an attack, "
            f"but at least {least:g} % is expected ({reported:g} % is reported), so it is not "
            "attacked: check the data set's images and labels, fetch other weights "
            "(docs/weights.md, Mirrors), or lower min_clean_accuracy"
        )
    return accuracy
