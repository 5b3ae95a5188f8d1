"""What an attack holds at once does not grow with the images of the data."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustseg import evaluate
from robustseg.plan.memory import peak_of

BATCH_SIZE = 2


class Drawn:
    """Images and labels of noise that are made when they are asked for."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(place)
        image = torch.rand(3, 32, 32, generator=generator)
        return image, torch.randint(3, (32, 32), generator=generator)


@pytest.mark.parametrize("kept", [True, False])
def test_it_is_a_batch_however_many_there_are(tmp_path: Path, kept: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))

    def peak_mb(images: int) -> float:
        with peak_of(model, torch.device("cpu")) as found_mb:
            evaluate(
                model,
                Drawn(images),
                [4, 8],
                iterations=3,
                batch_size=BATCH_SIZE,
                folder=tmp_path / str(images) if kept else None,
                pictures=BATCH_SIZE,
                progress=False,
            )
        return found_mb()

    few = peak_mb(2 * BATCH_SIZE)  # one is attacked and one has just been
    assert peak_mb(12 * BATCH_SIZE) == pytest.approx(few, rel=0.01)
