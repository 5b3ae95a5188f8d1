"""Published weights that do not predict are named, with what they reach and what they should."""

from pathlib import Path

import pytest
import torch

from robustseg.data.arrays import ArrayDataset
from robustseg.errors import RobustsegError
from robustseg.evaluation.accuracy import check_accuracy
from robustseg.evaluation.over_batches import evaluate_clean
from robustseg.evidence.schema import provenance
from robustseg.evidence.writing import write_evidence


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    """Return the evidence of two images, right at 3 of 4 and at 1 of 2 labelled pixels: 62.5 %."""
    labels = torch.tensor([[[0, 0], [0, 1]], [[0, 1], [255, 255]]]).numpy().astype("uint8")
    dataset = ArrayDataset(
        images=torch.zeros(2, 2, 2, 3).numpy().astype("uint8"),
        labels=labels,
        image_ids=["a", "b"],
        class_names=["background", "object"],
        palette=[(0, 0, 0), (1, 1, 1)],
    )

    def model(images: torch.Tensor) -> torch.Tensor:
        return torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(len(images), -1, 2, 2)

    identity = {"dataset": "voc", "model": "m", "training_seed": 0}
    rows = evaluate_clean(model, dataset, batch_size=2, identity=identity)
    path = tmp_path / "clean.parquet"
    write_evidence(path, rows, provenance("0" * 16, "cpu", "float32"))
    return path


def test_the_accuracy_is_the_mean_over_images(evidence: Path) -> None:
    assert check_accuracy(evidence, "m", "weights", 62.5, 90) == 62.5


def test_too_low_an_accuracy_is_refused(evidence: Path) -> None:
    with pytest.raises(RobustsegError) as refusal:
        check_accuracy(evidence, "m", "weights", 62.6, 90)
    sentence = str(refusal.value)
    assert sentence.startswith("m with the weights weights is right at 62.5 % without an attack, ")
    assert "at least 62.6 % is expected (90 % is reported)" in sentence
