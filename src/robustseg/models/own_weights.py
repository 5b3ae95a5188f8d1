"""The weights of anybody's network: found in a checkpoint by their names, and loaded strictly."""

import os.path
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from robustseg.errors import RobustsegError, in_one_line, shown
from robustseg.models.inert_pickle import ForeignError, UnreadableError, read_inertly
from robustseg.models.unpickling import read_safetensors, state_in
from robustseg.models.weight_values import check_values
from robustseg.models.wrap import WrappedModel

SAVE_AGAIN = "save it again: torch.save(net.state_dict(), ...)"
WHOLE = "load them all with the library that saved them, then torch.save(net.state_dict(), ...)"
ONE_OF_SEVERAL = re.compile(r"-\d+-of-\d+$")
AROUND = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""What torch puts into names for what is around a network or a part of it: parallel, compiled."""
COUNTERS = {"num_batches_tracked", "n_averaged"}
"""Of BatchNorm and of averaged networks: they count in training alone, and old files lack them."""
DEEPEST = 4
"""Of a state dict in a checkpoint."""

Place = tuple[str, ...]
Names = dict[str, str]


@dataclass(frozen=True)
class Found:
    """Weights in a checkpoint that have all names of a network.

    Attributes:
        place: keys that lead to the state dict.
        front: what these names begin with there, before the network's.
        weights: by the network's names; BatchNorm's counters may be absent.
        others: names behind `front` that are not the network's.
    """

    place: Place
    front: str
    weights: dict[str, Any]
    others: list[str]


def load_weights(net: nn.Module, path: str | Path) -> None:
    """Load a state dict into a network, strictly and without running code of the file.

    It may lie anywhere in a checkpoint, beside objects of any kind, which are not made. Its names
    may have one beginning before the network's, such as `model.`, or lack one that all of the
    network's have. What is around parallel and compiled networks makes no difference.

    Raises:
        RobustsegError: missing, damaged or foreign file, names and shapes that do not fit, several
            different weights that do, or weights that are no finite numbers.
    """
    path = Path(path)
    network = net.net if isinstance(net, WrappedModel) else net
    wanted = network.state_dict()
    tensors = _only_one(read_content(path), wanted, path).weights
    for name, value in wanted.items():
        found = tensors.setdefault(name, value)
        if not isinstance(found, Tensor):
            raise RobustsegError(f"{path} holds no tensor as {name}; it is not a state dict")
        if found.shape != value.shape:
            raise RobustsegError(
                f"the weights in {path} do not fit the model: {name} is {tuple(found.shape)} there "
                f"and {tuple(value.shape)} in the model; is the number of classes right?"
            )
    check_values(tensors, wanted, path)
    network.load_state_dict(tensors)


def read_content(path: str | Path) -> Any:
    """Return what lies in a file of weights; what is neither tensors nor plain data is not made.

    Raises:
        RobustsegError: missing, damaged or foreign file.
    """
    path = Path(path)
    if not path.exists():
        raise RobustsegError(f"the weights {in_one_line(path)} do not exist")
    if path.is_dir():
        raise RobustsegError(f"the weights {in_one_line(path)} are a folder; name the file in it")
    if path.name.endswith(".index.json"):
        raise RobustsegError(f"{path} lists weights that lie in several files; {WHOLE}")
    if path.suffix == ".safetensors":
        return read_safetensors(path, SAVE_AGAIN)[0]
    try:
        try:
            return read_inertly(path)
        except ForeignError:
            # Settings, scores, callbacks are not made; what is left may be weights all the same.
            with suppress(UnreadableError):
                content = read_inertly(path, other_objects=True)
                values = (value for _, state in _states_in(content) for value in state.values())
                if any(isinstance(value, Tensor) for value in values):
                    return content
            raise
    except UnreadableError as error:
        raise RobustsegError(
            f"{path} is not a file of weights that can be read without running its code ({error}); "
            f"{SAVE_AGAIN}"
        ) from error


def _only_one(content: Any, wanted: Mapping[str, Tensor], path: Path) -> Found:
    """Return the weights of a network in a checkpoint, unless there are several or none."""
    states = list(_states_in(content))
    own = _plainly(wanted)
    found = [one for place, state in states for one in _found(place, state, own)]
    inside = os.path.commonprefix(list(own)).rpartition(".")[0]  # noqa: RUF071 (these are no paths)
    if inside and not found:  # the file is of a network that this one only holds
        own = {plain.removeprefix(f"{inside}."): name for plain, name in own.items()}
        found = [one for place, state in states for one in _found(place, state, own)]
    # What a teacher or a backbone of other shapes has is not meant.
    found = [one for one in found if _has_shapes(one, wanted)] or found
    whole = [one for one in found if not one.others]
    if whole:
        differing = [one for one in found if one is not whole[-1] and not _same(one, whole[-1])]
        if not differing:
            return whole[-1]
        several = " and ".join(map(_called, (*differing, whole[-1])))
        raise RobustsegError(
            f"{path} has several weights that fit the model, {several}; save the ones "
            f"you mean to a separate file, for example with {_saving(whole[-1], path)}"
        )
    raise _unfit(content, states, found, wanted, path)


def _unfit(
    content: Any,
    states: Sequence[tuple[Place, dict[str, Any]]],
    found: Sequence[Found],
    wanted: Mapping[str, Tensor],
    path: Path,
) -> RobustsegError:
    """Return what is wrong with the state dict that comes nearest."""
    usual = state_in(content, str(path), SAVE_AGAIN)
    own = _plainly(wanted)
    place, state = max(states, key=lambda one: len(_plainly(one[1]).keys() & own.keys()))
    if not _plainly(state).keys() & own.keys():
        place, state = (), usual
    names = _plainly(state)
    lacking = [name for plain, name in own.items() if plain not in names]
    unknown = [name for plain, name in names.items() if plain not in own]
    if found:  # all of the network's names are there, and too many behind the same beginning
        nearest = min(found, key=lambda one: len(one.others))
        place, lacking, unknown = nearest.place, [], nearest.others
    said = [
        f"{len(some)} {what}, for example {in_one_line(min(some))}"
        for some, what in ((lacking, "are missing"), (unknown, "are unknown to the model"))
        if some
    ]
    inside = "".join(f"[{shown(key)}]" for key in place)
    inside = f" ({inside})" if inside else ""
    if ONE_OF_SEVERAL.search(path.stem):
        said.append(f"it is one of several files: {WHOLE}")
    return RobustsegError(f"the weights in {path}{inside} do not fit the model: {'; '.join(said)}")


def _states_in(content: Any, place: Place = ()) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield what may be a state dict, with the keys that lead there."""
    if not isinstance(content, Mapping):
        return
    if all(isinstance(key, str) for key in content):
        yield place, dict(content)
    if len(place) < DEEPEST:
        for key, value in content.items():
            yield from _states_in(value, (*place, key))


def _found(place: Place, state: dict[str, Any], own: Names) -> Iterator[Found]:
    """Yield weights of a state dict that have all names of a network, given as _plainly does."""
    names = _plainly(state)
    needed = {plain for plain in own if not _counts(plain)}
    longest = max(needed, key=len, default="")
    for one in names if longest else ():
        front = one.removesuffix(longest)
        if front == one or (front and not front.endswith(".")):
            continue
        behind = {
            plain.removeprefix(front): name
            for plain, name in names.items()
            if plain.startswith(front)
        }
        if needed <= behind.keys():
            weights = {own[plain]: state[behind[plain]] for plain in own.keys() & behind.keys()}
            theirs = [behind[plain] for plain in sorted(needed)]
            common = os.path.commonprefix(theirs)  # noqa: RUF071 (these are no paths)
            others = sorted(
                name for plain, name in behind.items() if not (plain in own or _counts(plain))
            )
            yield Found(place, common.rpartition(".")[0] if front else "", weights, others)


def _plainly(names: Iterable[str]) -> Names:
    """Return names by themselves without what is AROUND; as they are where two would be one."""
    names = list(names)
    plain = {
        ".".join(part for part in name.split(".") if part not in AROUND): name for name in names
    }
    return plain if len(plain) == len(names) else {name: name for name in names}


def _counts(name: str) -> bool:
    return name.rpartition(".")[2] in COUNTERS


def _has_shapes(found: Found, wanted: Mapping[str, Tensor]) -> bool:
    return all(
        isinstance(value, Tensor) and value.shape == wanted[name].shape
        for name, value in found.weights.items()
    )


def _same(found: Found, other: Found) -> bool:
    """Return whether two are the same numbers."""
    return found.weights.keys() == other.weights.keys() and all(
        value is other.weights[name] or bool(value.equal(other.weights[name]))
        for name, value in found.weights.items()
    )


def _called(found: Found) -> str:
    """Return where weights lie, as one writes it."""
    place = "".join(f"[{shown(key)}]" for key in found.place) or "names of the file"
    return f"{place} from {shown(found.front + '.')} on" if found.front else place


def _saving(found: Found, path: Path) -> str:
    """Return the code that saves these weights alone."""
    state = f"read_content({shown(str(path))})" + "".join(f"[{shown(key)}]" for key in found.place)
    if found.front:
        state = f"{{k: v for k, v in {state}.items() if k.startswith({shown(found.front + '.')})}}"
    imports = "import torch; from robustseg.models.own_weights import read_content"
    return f"{imports}; torch.save({state}, 'weights.pth')"
