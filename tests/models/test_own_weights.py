"""Weights of one's own: where a checkpoint may keep them, and what is refused."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from robustseg.errors import RobustsegError
from robustseg.models.own_weights import load_weights
from robustseg.models.wrap import wrap

State = Mapping[str, Tensor]


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1))


def behind(front: str, state: State) -> dict[str, Tensor]:
    return {front + name: value for name, value in state.items()}


FORMS: dict[str, Any] = {
    "alone": lambda state: state,
    "nested": lambda state: {"model": {"state_dict": state}, "epoch": 3},
    "under any key": lambda state: {"network_state_dict": state, "optimizer": {"state": {0: {}}}},
    "parallel twice": lambda state: behind("module.module.", state),
    "compiled": lambda state: behind("_orig_mod.", state),
    "compiled and parallel": lambda state: behind("_orig_mod.module.", state),
    "a part compiled": lambda state: {
        name.replace("0.", "0._orig_mod.", 1): value for name, value in state.items()
    },
    "averaged": lambda state: behind("module.", state) | {"n_averaged": torch.tensor(3)},
    "lightning": lambda state: {"state_dict": behind("model.", state)},
    "lightning with the loss": lambda state: {
        "state_dict": behind("model.", state) | {"criterion.weight": torch.ones(5)}
    },
    "without counters": lambda state: {
        name: value for name, value in state.items() if "num_batches" not in name
    },
    "beside objects": lambda state: {
        "state_dict": state, "args": Namespace(lr=0.1), "best": np.float64(0.7), "out": Path("x"),
    },
    "only averages": lambda state: {"model_ema": state},
    "the same twice": lambda state: {"model": state, "model_ema": dict(state)},
    "beside a teacher of other shapes": lambda state: {
        "model": state, "teacher": {name: torch.ones(7, 7) for name in state}
    },
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("around", [lambda net: net, nn.DataParallel, torch.compile, wrap])
def test_weights_are_found_by_the_names_of_the_network(
    tmp_path: Path, form: str, around: Any
) -> None:
    trained, net = network(), network()
    torch.save(FORMS[form](trained.state_dict()), tmp_path / "w.pth")
    load_weights(around(net), tmp_path / "w.pth")
    assert all(map(torch.equal, net.parameters(), trained.parameters()))


def test_a_network_may_hold_the_one_that_was_saved(tmp_path: Path) -> None:
    trained, net = network(), nn.ModuleDict({"net": network()})
    torch.save({"model": behind("module.", trained.state_dict())}, tmp_path / "w.pth")
    load_weights(net, tmp_path / "w.pth")
    assert all(map(torch.equal, net.parameters(), trained.parameters()))


def test_averaged_networks_as_torch_saves_them(tmp_path: Path) -> None:
    trained, net = network(), network()
    torch.save(AveragedModel(trained).state_dict(), tmp_path / "w.pth")
    load_weights(net, tmp_path / "w.pth")
    assert all(map(torch.equal, net.parameters(), trained.parameters()))


@pytest.mark.parametrize(
    ("form", "named"),
    [
        (lambda raw, mean: {"model": raw, "model_ema": mean}, "['model_ema']"),
        (lambda raw, mean: {"model": raw, "ema": {"module": mean, "decay": 0.9}}, "['module']"),
        (lambda raw, mean: {"state_dict": raw, "state_dict_ema": mean}, "['state_dict_ema']"),
        (lambda raw, mean: {"model": raw, "ema": mean, "args": Namespace(lr=0.1)}, "['ema']"),
        (lambda raw, mean: {"state_dict": behind("net.", raw) | behind("ema.", mean)}, "'ema.'"),
        (lambda raw, mean: behind("", raw) | behind("ema.module.", mean), "'ema.module.'"),
    ],
)
def test_of_several_weights_none_is_chosen_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Any, named: str
) -> None:
    """The advice works when it is followed."""
    raw, mean, net = network(), network(), network()
    monkeypatch.chdir(tmp_path)
    torch.save(form(raw.state_dict(), mean.state_dict()), "w.pth")
    with pytest.raises(RobustsegError, match=r"w\.pth has several weights that fit") as caught:
        load_weights(net, "w.pth")
    said = str(caught.value)
    assert named in said
    exec(said.partition("for example with ")[2])
    load_weights(net, "weights.pth")
    assert all(map(torch.equal, net.parameters(), mean.parameters()))


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (
            lambda state: {**state, "3.weight": torch.ones(1)},
            "1 are unknown to the model, for exam",
        ),
        (
            lambda state: behind("model.", {**state, "aux.weight": torch.ones(1)}),
            r"fit the model: 1 are unknown to the model, for example model\.aux\.weight$",
        ),
        (lambda state: {"net": network(), "epoch": 3}, r"\(its pickle asks for torch\.nn\.modules"),
        (lambda state: {"model": {**state, "x": torch.ones(1)}}, r"\(\['model'\]\) do not fit"),
        (lambda state: behind("x", state), "9 are missing, for example 0.bias; 9 are unknown"),
    ],
)
def test_weights_that_do_not_fit(tmp_path: Path, form: Any, says: str) -> None:
    torch.save(form(network().state_dict()), tmp_path / "w.pth")
    with pytest.raises(RobustsegError, match=says):
        load_weights(network(), tmp_path / "w.pth")


def test_weights_in_several_files_are_told_so(tmp_path: Path) -> None:
    """As transformers and diffusers save large networks."""
    state = network().state_dict()
    part = tmp_path / "model-00001-of-00002.safetensors"
    save_file(dict(list(state.items())[:2]), part)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    for path in (part, tmp_path / "model.safetensors.index.json"):
        with pytest.raises(RobustsegError, match=r"several files[:;] load them all with"):
            load_weights(network(), path)
