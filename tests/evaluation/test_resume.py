"""What was kept is taken for the same model alone, and for that whatever rounding does."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustseg import commit, evaluate
from robustseg.attacks.logit_distance import distance, unit_of
from robustseg.errors import FullGpuError
from robustseg.evaluation import resume
from robustseg.evaluation.probing import probe, same
from robustseg.evaluation.resume import digest_of_weights
from tests.evaluation.test_evaluate import FEW, network, pairs

pytestmark = pytest.mark.filterwarnings("ignore::robustseg.RobustsegWarning")


class Rounding(nn.Module):
    """Rounds its images to 8 bits, which hides the gradient unless it is `mended`."""

    def __init__(self, mended: bool) -> None:
        super().__init__()
        self.net, self.mended = network(), mended

    def forward(self, images: Tensor) -> Tensor:
        rounded = torch.round(images * 255) / 255
        return self.net(images + (rounded - images).detach() if self.mended else rounded)


class Windows(nn.Module):
    """Sees windows of an image, each for itself."""

    def __init__(self, side_px: int) -> None:
        super().__init__()
        self.net, self.side_px = network(), side_px

    def forward(self, images: Tensor) -> Tensor:
        rows = [
            torch.cat([self._of(one) for one in row.split(self.side_px, 3)], 3)
            for row in images.split(self.side_px, 2)
        ]
        return torch.cat(rows, 2)

    def _of(self, window: Tensor) -> Tensor:
        return self.net(window - window.mean((2, 3), keepdim=True) + 0.5)


def masked(seed: int, low: float) -> Callable[[Tensor], Tensor]:
    """Return a function that never predicts its last class."""
    net = network(seed)

    def model(images: Tensor) -> Tensor:
        logits = net(images)
        return torch.cat([logits[:, :3], torch.full_like(logits[:, :1], low)], 1)

    return model


ALMOST_ONE = {
    "mended gradient": (Rounding(False), Rounding(True)),
    "gradient that was spoilt": (Rounding(True), Rounding(False)),
    "larger images alone": (Windows(20), Windows(12)),
    "beside a class at -1e4": (masked(0, -1e4), masked(1, -1e4)),
    "beside a class at -1e9": (masked(0, -1e9), masked(1, -1e9)),
    "scaled": (network(), lambda images: 3 * network()(images)),
}


@pytest.mark.parametrize("name", ALMOST_ONE)
def test_what_was_kept_for_a_model_that_is_almost_the_same_is_not_taken(
    name: str, tmp_path: Path
) -> None:
    first, second = ALMOST_ONE[name]
    data = pairs([(12, 12), (12, 12), (20, 20)])
    fresh = evaluate(second, data, 8, batch_size=1, **FEW)
    other = evaluate(first, data, 8, batch_size=1, folder=tmp_path, **FEW)
    assert other.robust != fresh.robust
    kept = evaluate(second, data, 8, batch_size=1, folder=tmp_path, **FEW)
    assert kept.robust == fresh.robust


def test_parts_that_another_commit_left_are_taken_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {"iterations": 4, "folder": tmp_path}
    monkeypatch.setattr(commit, "git_commit", lambda: "this")
    for left_by, said in (("that", 0), ("this", 1), ("this", 1)):
        monkeypatch.setattr(resume, "git_commit", lambda left_by=left_by: left_by)
        evaluate(network(), pairs(), 8, batch_size=1, **few)
        told = capsys.readouterr().err
        sentence = "takes finished parts, which commit that left, and this code is this; "
        assert told.count(sentence) == said
    monkeypatch.setattr(commit, "git_commit", lambda: "that")
    evaluate(network(), pairs(), 8, batch_size=1, **few)
    assert "takes finished parts" not in capsys.readouterr().err


def test_pictures_of_a_mended_model_are_made_again(tmp_path: Path) -> None:
    image, data = tmp_path / "gallery" / "model.npz", pairs()
    evaluate(Rounding(False), data, 8, folder=tmp_path, **FEW)
    before = image.read_bytes()
    evaluate(Rounding(False), data, 8, folder=tmp_path, **FEW)
    assert image.read_bytes() == before
    evaluate(Rounding(True), data, 8, folder=tmp_path, **FEW)
    assert image.read_bytes() != before


def test_other_rounding_is_the_same_model() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 5, 3)
    )  # fmt: skip
    images = torch.rand(2, 3, 24, 24)
    images[:, :, :12] = 0  # equal values, of which rounding chooses the largest
    here = probe(net, images)
    with torch.backends.mkldnn.flags(enabled=False):
        elsewhere = probe(net, images.to(memory_format=torch.channels_last))
    exact = probe(lambda pixels: net.double()(pixels.double()).float(), images)
    assert same(here, elsewhere)
    assert same(here, exact)
    assert here["gradient"] != exact["gradient"]
    assert not same(here, probe(lambda pixels: 1.01 * net.float()(pixels), images))


def test_a_change_in_one_image_of_a_batch_is_another_model() -> None:
    images, net = torch.rand(3, 3, 8, 8) / 2, network()
    images[1, :, 0, 0] = 1

    def other(images: Tensor) -> Tensor:
        return net(images) * torch.where(images[:, :1, :1, :1] == 1, 1.01, 1.0)

    assert not same(probe(net, images), probe(other, images))
    assert same(probe(net, images[:1]), probe(other, images[:1]))


@pytest.mark.parametrize("change", ["shifted", "here up and there down", "at random"])
def test_a_sketch_differs_by_as_much_as_the_logits_do(change: str) -> None:
    logits = torch.rand(1, 2, 32, 32) + torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
    by = {
        "shifted": torch.ones_like(logits),
        "here up and there down": torch.ones_like(logits).view(-1, 2).mul(torch.tensor([1, -1])),
        "at random": torch.randn_like(logits),
    }[change].view_as(logits)
    images = torch.rand(1, 3, 32, 32)
    kept, now = (probe(lambda _, x=x: x, images)["logits"] for x in (logits, logits + 0.01 * by))
    apart = np.sqrt(np.square(np.subtract(kept, now)).mean())
    assert 0.005 < apart < 0.02


def test_what_is_far_below_the_best_may_be_rounded() -> None:
    logits = torch.tensor([3.0, 1.0, -1e9]).view(1, 3, 1, 1)
    rounded = torch.tensor([3.0, 1.0, -1e9 - 64]).view(1, 3, 1, 1)
    assert distance(logits, rounded, unit_of(logits)) == 0
    images = torch.rand(2, 3, 8, 8)
    low = [lambda x, by=by: torch.cat([network()(x), x[:, :1] * by], 1) for by in (-1e9, -1.001e9)]
    assert same(*(probe(model, images) for model in low))


def test_a_random_model_is_taken_for_itself() -> None:
    images, net = torch.rand(2, 3, 8, 8), network()
    state = torch.random.get_rng_state()
    one, other = (probe(lambda x: net(x) + torch.rand(1), images) for _ in range(2))
    assert same(one, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_models_without_a_gradient_are_compared_by_their_logits() -> None:
    images, net = torch.rand(2, 3, 8, 8), network()
    blind = [torch.no_grad()(net), lambda x: net(x).detach(), lambda x: net(x.round())]
    for model in blind:
        found = probe(model, images)
        assert not any(found["gradient"])
        assert same(found, probe(model, images))
    assert not same(probe(blind[0], images), probe(net, images))
    assert not same(probe(blind[0], images), probe(torch.no_grad()(network(1)), images))


def test_weights_of_any_type_have_a_digest() -> None:
    def digest(values: Tensor) -> str:
        module = nn.Module()
        module.register_buffer("values", values)
        return digest_of_weights([module])

    values = torch.tensor([[0.5, -1.0], [0.0, 2.0]])
    assert digest(values) == "b2c48c581694b53660f2b46c55eb5c8a", "runs made before have it"
    change: list[Callable[[Tensor], Tensor]] = [
        lambda v: v,
        lambda v: v.to(torch.int8),
        lambda v: v.bfloat16(),
        lambda v: v.to(torch.float8_e4m3fn),
        lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8),
        lambda v: v.to_sparse(),
        lambda v: torch.complex(v, v + 1).conj(),
        lambda v: torch.complex(v, v + 1).conj().imag,
    ]
    for of in change:
        assert digest(of(values)) == digest(of(values.clone())) != digest(of(values + 3))
    assert len({digest(of(values)) for of in change}) == len(change)


def test_a_full_gpu_is_no_gradient_of_0(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.autograd, "grad", full)
    with pytest.raises(FullGpuError, match="lower batch_size"):
        probe(network(), torch.rand(2, 3, 8, 8))
