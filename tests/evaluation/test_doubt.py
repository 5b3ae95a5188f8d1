"""`doubt`: defects are caught by name, honest models are not, and bad input is one sentence."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

import robustseg
from robustseg import doubt, evaluate
from robustseg.attacks import outcomes
from robustseg.cli import _from_here as from_here
from robustseg.cli import main
from robustseg.errors import FullGpuError, RobustsegError, UnwritableError
from robustseg.evaluation.doubting import attacks as doubt_attacks
from robustseg.evaluation.doubting import run as doubting
from robustseg.evaluation.doubting.figure import Figure, choose_images
from robustseg.evaluation.resume import digest_of_weights
from robustseg.evidence.enumerator import doubt_passes
from robustseg.evidence.findings import (
    CHECKS,
    FINDINGS_KEY,
    NOT_RUN,
    NOTED,
    PASSED,
    Opinion,
    from_text,
)
from robustseg.evidence.reading import read_evidence
from robustseg.own_run import report
from robustseg.page.submission import make_submissions
from tests.cli.test_cli import DATA, here  # noqa: F401

pytestmark = pytest.mark.filterwarnings("ignore::robustseg.RobustsegWarning")
FEW: dict[str, Any] = {"iterations": 30, "images": 4, "batch_size": 4, "progress": False}


def network() -> nn.Module:
    """Return a small smooth network that tells colours apart, and grey from nothing."""
    torch.manual_seed(0)
    first, last = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 4, 1, bias=False)
    first.bias.data = -first.weight.data.sum((1, 2, 3)) / 2
    return nn.Sequential(first, nn.Tanh(), last).eval()


NET = network()


def scenes(count: int = 4) -> list[tuple[Tensor, Tensor]]:
    """Return images with the classes that the network gives them."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand((count, 3, 12, 12), generator=generator).mul(255).round() / 255
    with torch.no_grad():
        labels = NET(images).argmax(1)
    return list(zip(images, labels, strict=True))


def opinion(model: Any, eps_255: float = 8, **options: Any) -> Opinion:
    (found,) = doubt(model, scenes(), eps_255, **(FEW | options)).opinions
    return found


def named(found: Opinion) -> set[str]:
    return {one.check for one in found.failed}


def test_what_is_wrong_in_most_images_is_not_said_of_some() -> None:
    found = opinion(lambda images: NET((images * 8).round() / 8))
    assert "finite_differences" in named(found)
    assert "every_image" not in named(found)


def test_an_honest_model_raises_no_alarm() -> None:
    found = opinion(NET)
    assert found.verdict == "no sign of overestimation", str(found)
    assert [one.check for one in found.findings] == list(CHECKS)
    assert 0 < found.acc < 100
    assert found.found <= found.acc


def test_autocast_around_a_doubt_changes_nothing() -> None:
    data = scenes()
    alone = doubt(NET, data, 8, **FEW)
    with torch.autocast("cpu", torch.bfloat16):
        assert doubt(NET, data, 8, **FEW) == alone


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (lambda images: NET(images).detach(), "the model's logits carry no gradient"),
        (lambda images: NET(images)[:, :2], "which is none of the classes"),
        (nn.Conv2d(1, 4, 1), "the model failed"),
    ],
)
def test_what_is_wrong_with_a_source_is_not_taken_for_the_model_s(source: Any, says: str) -> None:
    with pytest.raises(RobustsegError, match=f"the source s cannot be attacked: .*{says}"):
        opinion(NET, sources={"s": source})


def one_hot(images: Tensor) -> Tensor:
    return functional.one_hot(NET(images).argmax(1), 4).permute(0, 3, 1, 2).float()


def jpeg_like(images: Tensor) -> Tensor:
    """Round means and differences of neighbours, as a codec does."""
    left, right = images[..., ::2], images[..., 1::2]
    mean, half = (left + right) / 2, (left - right) / 2
    mean, half = (torch.round(part * 255) / 255 for part in (mean, half))
    return NET(torch.stack([mean + half, mean - half], -1).flatten(-2))


def nearest(images: Tensor) -> Tensor:
    small = functional.interpolate(images, scale_factor=0.5, mode="nearest")
    return NET(functional.interpolate(small, scale_factor=2, mode="nearest"))


class WithGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied."""

    @staticmethod
    def forward(context: Any, images: Tensor, factor: Any) -> Tensor:
        context.factor = factor
        return images.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * context.factor, None


def where_attacked(images: Tensor, there: float) -> Tensor:
    """Return 1 for the images of `scenes`, and a number for those more than 1/255 from all."""
    known = torch.stack([image for image, _ in scenes()])
    away = (images.detach()[:, None] - known).abs().flatten(2).amax(2).amin(1) > 1 / 255
    return torch.where(away, there, 1.0).view(-1, 1, 1, 1)


def at_the_edge(images: Tensor, there: float) -> Tensor:
    """Return 1, and a number for images of `scenes` of which most values are moved by about 8/255.

    A random point of the ball is not there, nor is what an attack without a radius finds.
    """
    known = torch.stack([image for image, _ in scenes()])
    moved = (images.detach()[:, None] - known).abs().flatten(2)
    moved = moved[torch.arange(len(moved)), moved.amax(2).argmin(1)]
    is_there = ((moved > 7.5 / 255).double().mean(1) > 0.5) & (moved.amax(1) < 20 / 255)
    return torch.where(is_there, there, 1.0).view(-1, 1, 1, 1)


class InTurn(nn.Module):
    """The network, and in each second pass the network of images that are a little darker."""

    passes = 0

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        return NET(images if self.passes % 2 else images - 0.05)


def another_with_gradients(images: Tensor) -> Tensor:
    return NET(images.flip(-1)).flip(-1) if torch.is_grad_enabled() else NET(images)


def film(images: Tensor) -> Tensor:
    """Mix in the image before."""
    logits = NET(images)
    return torch.cat([logits[:1], (logits[1:] + logits[:-1]) / 2])


def small_values_reversed(images: Tensor) -> Tensor:
    """Hand back 38 % of the gradient's values with another sign, and too small to be missed."""
    generator = torch.Generator().manual_seed(5)
    some = torch.rand(images.shape[1:], generator=generator) < 0.38
    return NET(WithGradient.apply(images, torch.where(some, -1e-3, 1.0)))


def test_autocast_around_an_evaluation_does_not_spoil_a_source() -> None:
    first, data = NET[0], scenes()

    def large(images: Tensor) -> Tensor:
        """Have sums on the way that are beyond half precision."""
        return first(images * 1e6)[:, :4] / 1e6

    def found() -> Any:
        settings: dict[str, Any] = {"suites": ["transfer"], "iterations": 3, "progress": False}
        return evaluate(NET, data, 8, sources={"s": large}, **settings).robust

    alone = found()
    with torch.autocast("cpu", torch.float16):
        assert found() == alone


def in_the_first(images: Tensor, there: float) -> Tensor:
    """Return a number for the first image of `scenes` wherever it is moved to, 1 for the others."""
    known = torch.stack([image for image, _ in scenes()])
    nearest = (images.detach()[:, None] - known).abs().flatten(2).mean(2).argmin(1)
    return torch.where(nearest == 0, there, 1.0).view(-1, 1, 1, 1)


def broken_root(images: Tensor) -> Tensor:
    return NET(images + torch.sqrt((images - images.detach()) ** 2))


DEFECTS: dict[str, tuple[Callable[[Tensor], Tensor], str, str, bool]] = {
    "8-bit rounding": (
        lambda x: NET(torch.round(x * 255) / 255), "zero_gradients", "hidden by round", True,
    ),
    "uint8": (lambda x: NET((x * 255).byte() / 255), "zero_gradients", "to uint8", True),
    "argmax": (one_hot, "zero_gradients", "hidden by argmax", True),
    "detached": (lambda x: NET(x.detach()), "zero_gradients", "hidden by detach", True),
    "logits times 1e6": (lambda x: 1e6 * NET(x), "saturated", "scale", False),
    "input noise": (
        lambda x: NET(x + 0.05 * torch.randn_like(x)), "deterministic", "randn_like", False,
    ),
    "dropout": (
        lambda x: NET(functional.dropout(x, 0.1, training=True)), "deterministic", "dropout", False,
    ),
    "JPEG-like rounding": (jpeg_like, "zero_gradients", "hidden by round", True),
    "nearest neighbour": (nearest, "zero_gradients", "nearest pixel", False),
    "shattered": (
        lambda x: NET(x + 0.002 * torch.sin(2000 * x)), "finite_differences", "shattered", True,
    ),
    "no gradient": (lambda x: NET(WithGradient.apply(x, 0)), "zero_gradients", "are 0", False),
    "no gradient where attacked": (
        lambda x: NET(WithGradient.apply(x, where_attacked(x, 0))),
        *("zero_gradients", "are 0", False),
    ),
    "reversed where attacked": (
        lambda x: NET(WithGradient.apply(x, where_attacked(x, -1))),
        *("finite_differences", "another function", False),
    ),
    "8-bit rounding where attacked": (
        lambda x: NET(torch.where(where_attacked(x, 0) == 0, torch.round(x * 31) / 31, x)),
        *("zero_gradients", "hidden by round", True),
    ),
    "reversed in one image of four": (
        lambda x: NET(WithGradient.apply(x, in_the_first(x, -1))),
        *("every_image", "another function", False),
    ),
    "reversed at the edge": (
        lambda x: NET(WithGradient.apply(x, at_the_edge(x, -1))),
        *("finite_differences", "another function", False),
    ),
    "rounding at the edge": (
        lambda x: NET(torch.where(at_the_edge(x, 0) == 0, torch.round(x * 31) / 31, x)),
        *("straight_through", "hidden by round", True),
    ),
    "two networks in turn": (InTurn(), "deterministic", "two passes", False),
    "another network with gradients": (
        another_with_gradients, "finite_differences", "another function", False,
    ),
    "film": (film, "alone", "in its batch", False),
    "small values reversed": (
        small_values_reversed, "finite_differences", "another function", False,
    ),
    "certain where attacked": (
        lambda x: NET(x) * where_attacked(x, 1e5), "saturated", "probability 1", True,
    ),
    "tiny logits where attacked": (
        lambda x: NET(x) * where_attacked(x, 1e-6), "logit_scale", "scale", True,
    ),
    "NaN": (broken_root, "finite_gradients", "not finite", False),
    "probabilities": (lambda x: NET(x).softmax(1), "logits", "before softmax", False),
}  # fmt: skip
"""What is wrong; the check that says so, a word it says, and whether the amount is found."""


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_caught_by_name(name: str) -> None:
    model, check, word, amount = DEFECTS[name]
    found = opinion(model, iterations=100 if name in ("shattered", "argmax") else 30)
    assert check in named(found), str(found)
    assert word in str(found)
    assert "overestimated" in found.verdict
    if amount:
        true = opinion(NET).found
        assert found.acc > true + 5, "the defect does not matter here"
        assert found.found < true + 6, str(found)


def test_training_mode_behind_a_function_is_caught() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1))
    found = opinion(lambda images: net(images))
    assert "alone" in named(found)
    assert {one.check: one for one in found.findings}["eval_mode"].status == NOTED


def test_scaled_logits_are_found_where_the_run_does_not_scale() -> None:
    """At 1e6 all attacks of SEA are blind, and the margin of 10 sees again."""
    found = opinion(lambda images: 1e6 * NET(images), suites=["sea"], iterations=100)
    assert {"saturated", "logit_scale"} <= named(found)
    assert found.points > 3


def test_a_run_of_few_iterations_is_doubted_too() -> None:
    """Its own attacks are no longer than short ones, so that a scale ahead is tried just once."""
    found = opinion(lambda images: 1e6 * NET(images), suites=["sea"], iterations=3)
    assert "logit_scale" in named(found)


def test_another_model_may_find_what_its_own_gradients_do_not() -> None:
    blind = DEFECTS["no gradient"][0]
    found = opinion(blind, sources={"sound": NET})
    transfer = next(one for one in found.findings if one.check == "transfer")
    assert transfer.figure > 5
    assert "overestimated by at least" in found.verdict


def test_findings_do_not_depend_on_the_size_of_batches() -> None:
    one, other = (
        doubt(NET, scenes(6), 8, iterations=10, images=6, batch_size=size, progress=False)
        for size in (2, 6)
    )
    for found, expected in zip(one.opinions[0].findings, other.opinions[0].findings, strict=True):
        assert (found.check, found.status) == (expected.check, expected.status)
        if found.figure is not None:
            assert found.figure == pytest.approx(expected.figure, abs=1e-3)


def test_a_small_radius_is_not_rounded() -> None:
    found = {one.check: one for one in opinion(NET, eps_255=0.5).findings}
    assert found["rounded_to_8_bits"].status == NOT_RUN
    assert {one.check: one for one in opinion(NET).findings}["rounded_to_8_bits"].status == PASSED


def only_off_the_grid(images: Tensor) -> Tensor:
    """See images of 8 bits as the nearest of `scenes`, and all others as they are."""
    known, seen = torch.stack([image for image, _ in scenes()]), images.detach()
    nearest = (seen[:, None] - known).abs().flatten(2).amax(2).argmin(1)
    off = (255 * seen - (255 * seen).round()).abs().flatten(1).amax(1) > 1e-3
    return NET(images + torch.where(off.view(-1, 1, 1, 1), 0, known[nearest] - seen))


def test_an_attack_that_no_image_file_holds_is_seen() -> None:
    found = {one.check: one for one in opinion(only_off_the_grid).findings}["rounded_to_8_bits"]
    assert found.figure is not None
    assert found.figure > 10


# Beside a run.


def test_it_lies_beside_the_run_and_quotes_it(tmp_path: Path) -> None:
    few: dict[str, Any] = {"suites": ["sea_plus"], "iterations": 30, "progress": False}
    result = evaluate(NET, scenes(6), [1, 2], folder=tmp_path, **few)
    found = doubt(NET, scenes(6), folder=tmp_path, images=6, progress=False)
    assert [one.eps_255 for one in found.opinions] == [1, 2]
    assert found.opinions[1].acc == pytest.approx(100 * result.robust[2.0].acc)
    assert not found.overestimated
    path = tmp_path / "attacks/doubt/model/seed0/eps2/seed0-shard0.parquet"
    rows = read_evidence([path])
    assert set(rows["suite"]) == {"doubt"}
    assert rows["attack"].astype(str).str.startswith("doubt-").all()
    assert (rows["linf_255"] <= 2.001).all()
    kept = pq.read_metadata(path).metadata[FINDINGS_KEY.encode()].decode()
    assert from_text(kept) == [found.opinions[1]]
    lowest = rows.groupby("image_id", observed=True)["pixels_correct"].min() / 144
    assert found.opinions[1].found <= 100 * lowest.mean() + 1e-6


def test_all_checks_of_the_figure_read_the_evidence(tmp_path: Path) -> None:
    evaluate(NET, scenes(), [1, 2], folder=tmp_path, iterations=20, progress=False)
    files = sorted(tmp_path.glob("attacks/*/model/seed0/eps*/*.parquet"))
    frame = read_evidence(files, counts=False)
    figure = Figure.of(frame, ["sea"], 2.0)
    assert figure.outside_255 <= 1e-3
    assert set(figure.by_radius["sea/apgd-js-reduced-20"]) == {1.0, 2.0}
    assert figure.strongest.iterations == 20
    frame.loc[frame["eps_255"] == 2.0, "pixels_correct"] = 140
    frame.loc[frame["eps_255"] == 1.0, "linf_255"] = 1.5
    odd = Figure.of(frame, ["sea"], 2.0)
    assert odd.outside_255 == pytest.approx(0.5)
    assert odd.by_radius["sea/apgd-js-reduced-20"][2.0] == pytest.approx(100 * 140 / 144)
    with pytest.raises(RobustsegError, match=r"no attack at 3/255 .*at 1/255, 2/255"):
        Figure.of(frame, ["sea"], 3.0)


def test_a_doubt_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("whole", "killed"):
        evaluate(NET, scenes(), 2, folder=tmp_path / folder, **(FEW | {"images": None}))
    whole = doubt(NET, scenes(), folder=tmp_path / "whole", images=4, progress=False)
    real, runs = doubt_attacks.random_corners, doubt_attacks.square

    def stop(*given: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(doubt_attacks, "square", stop)
    with pytest.raises(KeyboardInterrupt):
        doubt(NET, scenes(), folder=tmp_path / "killed", images=4, progress=False)
    monkeypatch.setattr(doubt_attacks, "square", runs)
    monkeypatch.setattr(doubt_attacks, "random_corners", stop)  # it is kept
    again = doubt(NET, scenes(), folder=tmp_path / "killed", images=4, progress=False)
    monkeypatch.setattr(doubt_attacks, "random_corners", real)
    assert again.opinions == whole.opinions
    files = [
        tmp_path / folder / "attacks/doubt/model/seed0/eps2/seed0-shard0.parquet"
        for folder in ("whole", "killed")
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_full_disk_is_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be kept ends the doubt; a check that was not run for that would be no opinion."""
    evaluate(NET, scenes(), 2, folder=tmp_path, **FEW)

    @contextmanager
    def full(path: Path) -> Iterator[Path]:
        raise UnwritableError(f"could not write {path}: No space left on device")
        yield path

    monkeypatch.setattr("robustseg.files.atomic_path", full)
    with pytest.raises(UnwritableError, match="No space left"):
        doubt(NET, scenes(), folder=tmp_path, images=4, progress=False)


def test_a_full_gpu_is_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate(NET, scenes(), 2, folder=tmp_path, **FEW)

    def full(*given: Any, **options: Any) -> Any:
        raise FullGpuError("the model ran out of the GPU's memory")

    monkeypatch.setattr(outcomes, "run_attack", full)
    with pytest.raises(FullGpuError, match="the GPU's memory"):
        doubt(NET, scenes(), folder=tmp_path, images=4, progress=False)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Return the passes of attacks from here on; `alone`: of attacks without a gradient."""
    made = {"forward": 0, "backward": 0, "alone": 0}
    real = outcomes.outcome_of

    def counting(target: Any, found: Any, eps_255: float, batch: Any) -> Any:
        made["forward"] += int(found.forward_passes.sum())
        made["backward"] += int(found.backward_passes.sum())
        made["alone"] += int(found.forward_passes[found.backward_passes == 0].sum())
        return real(target, found, eps_255, batch)

    monkeypatch.setattr(outcomes, "outcome_of", counting)
    monkeypatch.setattr(doubt_attacks, "outcome_of", counting)
    return made


def test_it_costs_no_more_than_the_evaluation_of_twice_the_images(
    passes: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in forward and backward passes of an honest model, a forward pass as a third.

    No scale of the logits is taken for ahead, of which two small images tell by chance.
    """
    monkeypatch.setattr(doubt_attacks, "PROBE_POINTS", 100)
    opinion(NET, iterations=300, images=2)
    both = passes["backward"] + (passes["forward"] - passes["backward"]) / 3
    assert both <= 2 * 2 * 4 * 300


class RightAbove(nn.Module):
    """The network, but for the first rows, which no attack changes: no image leaves one early."""

    def forward(self, images: Tensor) -> Tensor:
        above = torch.zeros(4, 12, 1)
        above[0, :3] = 100
        return NET(images) + above


@pytest.mark.parametrize("iterations", [12, 66])
def test_the_passes_that_are_counted_beforehand_are_made(
    iterations: int,
    tmp_path: Path,
    passes: dict[str, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = [(image, RightAbove()(image[None]).argmax(1)[0]) for image, _ in scenes(2)]
    evaluate(RightAbove(), data, 1, iterations=iterations, folder=tmp_path, progress=False)
    passes.update(dict.fromkeys(passes, 0))
    doubt(RightAbove(), data, folder=tmp_path, images=2)
    forward, backward = doubt_passes(iterations)
    assert (passes["alone"], passes["backward"]) == (2 * forward, 2 * backward)
    (said,) = re.findall(r"at most ([\d,]+) forward and backward", capsys.readouterr().err)
    # The scale of the logits may turn out ahead, and is then attacked for as long as the figure.
    assert int(said.replace(",", "")) == pytest.approx(forward / 3 + backward + iterations, abs=1)


def test_an_opinion_of_what_was_there_before_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "attacks/doubt/model/seed0/eps2/seed0-shard0.parquet"
    evaluate(NET, scenes(), 2, folder=tmp_path, iterations=5, progress=False)
    doubt(NET, scenes(), folder=tmp_path, images=2, progress=False)
    evaluate(NET, scenes(), 2, folder=tmp_path, iterations=5, progress=False)
    assert path.exists()  # the same rows
    evaluate(NET, scenes(), 2, folder=tmp_path, iterations=20, progress=False)
    assert not path.exists()


def test_an_opinion_goes_when_a_suite_is_added(tmp_path: Path) -> None:
    path = tmp_path / "attacks/doubt/model/seed0/eps2/seed0-shard0.parquet"
    quick: dict[str, Any] = {"folder": tmp_path, "iterations": 5, "progress": False}
    evaluate(NET, scenes(), 2, suites=["sea"], **quick)
    doubt(NET, scenes(), folder=tmp_path, images=2, progress=False)
    evaluate(NET, scenes(), 2, suites=["sea", "losses"], **quick)
    assert not path.exists()


def test_an_opinion_on_another_run_is_refused(tmp_path: Path) -> None:
    for name, iterations in (("own", 5), ("other", 6)):
        few: dict[str, Any] = {"iterations": iterations, "progress": False}
        evaluate(NET, scenes(), [1, 2], folder=tmp_path / name, **few)
        doubt(NET, scenes(), folder=tmp_path / name, images=3, progress=False)
    own, other = (tmp_path / name / "attacks" / "doubt" for name in ("own", "other"))
    report(tmp_path / "own")
    make_submissions(tmp_path / "own")
    shutil.rmtree(own)
    shutil.copytree(other, own)
    for make in (report, make_submissions):
        with pytest.raises(RobustsegError, match=r"eps1/.* is on another figure than that of the"):
            make(tmp_path / "own")


def test_without_another_image_nothing_is_unbounded(monkeypatch: pytest.MonkeyPatch) -> None:
    attack = Mock()
    monkeypatch.setattr(doubt_attacks.Doubter, "_unbounded", attack)
    alone = doubt(NET, scenes(1), 8, iterations=10, images=1, progress=False).opinions[0]
    attack.assert_not_called()
    monkeypatch.undo()
    found = {one.check: one for one in alone.findings}["unbounded"]
    assert (found.status, found.note) == (NOT_RUN, "no two images are of one size")
    torch.manual_seed(0)
    constant = nn.Conv2d(3, 4, 1)
    constant.bias.data += torch.tensor([9.0, 0, 0, 0])
    said = doubt(constant, scenes(4), 8, iterations=10, images=4, progress=False).opinions[0]
    assert "unbounded" not in named(said)  # another image in its place is as right


@pytest.mark.parametrize("said", [{}, {"num_classes": 4}])
@pytest.mark.parametrize("again", [{}, {"num_classes": 4}])
def test_a_run_knows_its_number_of_classes(
    said: dict[str, int], again: dict[str, int], tmp_path: Path
) -> None:
    quick: dict[str, Any] = FEW | {"iterations": 5}
    del quick["images"]
    evaluate(NET, scenes(), 8, folder=tmp_path, **quick, **said)
    options: dict[str, Any] = {"images": 2, "progress": False, "folder": tmp_path}
    assert len(doubt(NET, scenes(), **options, **again).opinions) == 1


def test_a_scale_is_the_same_as_a_whole_number() -> None:
    whole, real = (robustseg.wrap(NET, scale=scale) for scale in (255, 255.0))
    assert digest_of_weights([whole]) == digest_of_weights([real])


# Bad input.


def test_what_is_not_of_the_run_is_one_sentence(tmp_path: Path) -> None:
    evaluate(NET, scenes(), 2, folder=tmp_path, **(FEW | {"images": None}))
    with pytest.raises(RobustsegError, match="other weights"):
        doubt(nn.Conv2d(3, 4, 1), scenes(), folder=tmp_path, progress=False)
    with pytest.raises(RobustsegError, match="has 4 classes, and the model was given 3"):
        doubt(NET, scenes(), folder=tmp_path, num_classes=3, progress=False)
    with pytest.raises(RobustsegError, match=r"image \d of the run is not in the data"):
        doubt(NET, scenes()[:2], folder=tmp_path, progress=False)
    with pytest.raises(RobustsegError, match="no attack at 4/255"):
        doubt(NET, scenes(), 4, folder=tmp_path, progress=False)
    ignored = [
        (image, label.clone().index_fill_(0, torch.tensor([0]), 255)) for image, label in scenes()
    ]
    with pytest.raises(RobustsegError, match="labelled pixels in the evidence and 132 here"):
        doubt(NET, ignored, folder=tmp_path, progress=False)
    others = [(1 - image, label) for image, label in scenes()]
    with pytest.raises(RobustsegError, match="pass the model, weights, normalisation"):
        doubt(NET, others, folder=tmp_path, progress=False)
    with pytest.raises(RobustsegError, match="images must be"):
        doubt(NET, scenes(), 2, images=0, progress=False)
    with pytest.raises(RobustsegError, match="sources must be a dict"):
        doubt(NET, scenes(), 2, sources=[NET], progress=False)  # type: ignore[arg-type]
    record = tmp_path / "run-shard0-of-1.json"
    kept = json.loads(record.read_text())
    for edit in ({"suites": {"sea": {}}}, {"class_pixels": "x"}, {"eps_255": ["2"]}):
        record.write_text(json.dumps(kept | edit))
        with pytest.raises(
            RobustsegError, match=r"run-shard0-of-1\.json: .*; run the same command"
        ):
            doubt(NET, scenes(), folder=tmp_path, progress=False)
    with pytest.raises(RobustsegError, match="nowhere holds no run, and eps_255 is missing"):
        doubt(NET, scenes(), folder=tmp_path / "nowhere", progress=False)
    with pytest.raises(RobustsegError, match=r"^eps_255 is missing"):
        doubt(NET, scenes(), progress=False)


def test_data_that_come_once_or_in_another_order_are_refused() -> None:
    with pytest.raises(RobustsegError, match="read only once"):
        doubt(NET, iter([]), 2, progress=False)
    shuffled = DataLoader(scenes(), batch_size=2, shuffle=True)
    torch.manual_seed(0)
    with pytest.raises(RobustsegError, match="other images, or another order, each time"):
        doubt(NET, shuffled, 2, iterations=5, progress=False)


def test_a_function_that_is_another_is_noticed(tmp_path: Path) -> None:
    evaluate(lambda x: NET(x), scenes(), 2, folder=tmp_path, **(FEW | {"images": None}))
    with pytest.raises(RobustsegError, match=r"without an attack .* the evidence says 144"):
        doubt(lambda x: NET(x).roll(1, 1), scenes(), folder=tmp_path, progress=False)


def test_images_are_the_same_for_every_model() -> None:
    ids = [f"image{number}" for number in range(50)]
    chosen = choose_images(ids, 8)
    assert chosen == choose_images(ids[::-1], 8)
    assert len(set(chosen)) == 8
    assert choose_images(ids, 99) == sorted(ids)


# The command line.


def attack(*more: str) -> list[str]:
    return ["attack", *more, *DATA, "--eps", "8", "--iterations", "20", "--out", "runs/net"]


def test_a_run_is_doubted_by_its_folder(
    here: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert main(attack("mymodels.py:net")) == 0
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert main(["doubt", "../runs/net", "--images", "4"]) == 0
    said = capsys.readouterr()
    assert "model at 8/255: no sign of overestimation" in said.out
    assert re.search(r"4 images, at most [\d,]+ forward and backward passes of each", said.err)
    assert Path.cwd() == here / "elsewhere"


def test_a_source_is_looked_for_here_and_then_where_the_run_was_made(
    here: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert main(attack("mymodels.py:net")) == 0
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    Path("other.py").write_text("def net(images):\n    return 2 * images\n")
    sources = ("--source", "other.py:net", "--source", "mymodels.py:net")
    assert main(["doubt", "../runs/net", "--images", "1", *sources]) == 0
    assert "transfer-source_1" in capsys.readouterr().err


@pytest.mark.parametrize("named", ["ade20k:ade20k", "trained:trained/w.safetensors"])
def test_a_folder_called_like_a_kind_is_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    kind, _, path = named.partition(":")
    Path(kind).mkdir()
    if path != kind:
        Path(path).write_bytes(b"")
    assert from_here(named) == f"{kind}:{tmp_path / path}"


def test_what_cannot_be_doubted_is_one_sentence(
    here: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(*command: str) -> str:
        capsys.readouterr()
        assert main(["doubt", *command]) == 1
        said = capsys.readouterr().err.strip().splitlines()
        assert not [line for line in said if "Traceback" in line]
        return said[-1]

    assert "holds no run" in refused("nothing")
    assert main(attack("mymodels.py:net")) == 0
    for near in ("runs", "runs/net/attacks", "runs/net/attacks/sea"):
        assert refused(near).endswith(
            f"{near} holds no run; there is one in {here / 'runs' / 'net'}"
        )
    assert "no attack at 3/255" in refused("runs/net", "--eps", "3")
    (here / "mymodels.py").rename(here / "moved.py")
    gone = refused("runs/net")
    assert "mymodels.py:net" in gone
    assert "--model" in gone
    assert main(["doubt", "runs/net", "--model", "moved.py:net", "--images", "2"]) == 0
    assert "other weights" in refused("runs/net", "--model", "moved.py:wrapped")
    command = here / "runs/net/command.json"
    kept = json.loads(command.read_text())
    for content, says in (
        ("{", "is not JSON (Expecting property"),
        (json.dumps(kept | {"scale": None}), ": scale should be a number, not None"),
        (json.dumps(kept | {"cwd": "\0"}), ": cwd should hold no character NUL, not '\\x00'"),
        (json.dumps(kept | {"data": []}), ": data needs at least 1 entry, not []"),
        (json.dumps({name: kept[name] for name in kept if name != "data"}), ": data is missing"),
    ):
        command.write_text(content)
        said = refused("runs/net")
        assert f"command.json{'' if says[0] == ':' else ' '}{says}" in said
        assert said.endswith("; repeat the command that made the run, which resumes")
        assert said.count(";") == 1
    (here / "runs/net/command.json").unlink()
    assert "robustseg.doubt(model, data, folder=" in refused("runs/net")


def test_a_model_without_gradients_is_doubted_too(
    here: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*attack("mymodels.py:hidden"), "--suites", "blackbox"]) == 0
    assert main(["doubt", "runs/net", "--source", "mymodels.py:net"]) == 0
    said = capsys.readouterr().out
    assert "hidden by detach" in said
    assert "doubt" not in json.loads((here / "runs/net/run-shard0-of-1.json").read_text())["suites"]


def test_the_names_of_the_library_lead_here() -> None:
    assert robustseg.doubt is doubting.doubt
    assert robustseg.Doubt is doubting.Doubt
