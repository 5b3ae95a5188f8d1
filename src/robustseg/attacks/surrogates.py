"""Models to attack in place of one whose gradients are hidden or random.

What is found on them is counted on the model itself, so it only ever lowers a robustness figure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from robustseg.attacks.attacked_model import Model, frozen
from robustseg.attacks.search_model import exact
from robustseg.errors import RobustsegError

ROUNDING = ("round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside")
DIVIDING = ("floor_divide", "__floordiv__")
REMAINING = ("remainder", "fmod", "__mod__")
UNSEEN = ("bucketize", "searchsorted", "tolist")
"""Hide gradients in a way that no other takes the place of."""
COMPARISONS = ("gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal")
COMPARING = ("__gt__", "__ge__", "__lt__", "__le__")
CASTS = ("to", "type", "byte", "char", "short", "int", "long", "float", "double", "half", "type_as")
RANDOM = (
    *("dropout", "dropout2d", "dropout1d", "alpha_dropout", "feature_alpha_dropout"),
    *("rand", "rand_like", "randn", "randn_like", "randint", "normal", "normal_", "uniform_"),
    *("bernoulli", "bernoulli_", "randperm", "multinomial"),
)


class _Through(torch.autograd.Function):
    """The value of the second argument, exactly, with the gradient of the first."""

    @staticmethod
    def forward(context: Any, soft: Tensor, hard: Tensor) -> Tensor:
        return hard.to(soft.dtype, copy=True)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class StraightThrough(TorchFunctionMode):
    """Lets gradients through what hides them, as if it were not there, and notes what that was.

    Rounding, thresholds, casts to whole numbers and back, one-hot predictions, `detach`, `.data`,
    `torch.no_grad` and a way through NumPy keep their values and get the gradient of the identity
    (of the softmax, for predictions). The straight-through estimator of arXiv 1308.3432, as the
    attack BPDA of arXiv 1802.00420 uses it. What TorchScript or an extension runs is not seen.

    Attributes:
        hidden: what was let through, by the names that torch has for it.
        random: what draws at random.
        nearest: whether something is resized to the nearest pixel.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hidden: dict[str, None] = {}
        self.random: dict[str, None] = {}
        self.nearest = False
        self._scores: dict[int, tuple[Tensor, Tensor, int]] = {}
        self._soft: dict[int, tuple[Tensor, Tensor]] = {}
        self._to_numpy: Tensor | None = None
        self._whole: torch.dtype | None = None  # that values would have been cast to by now

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run one function of torch."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        first = args[0] if args else None
        if name == "_set_grad_enabled":
            return self._keep_gradients(func, args)
        if name in RANDOM and (name[:4] != "drop" or _drops(args, kwargs)):
            self.random[name] = None
        if name == "interpolate" and "nearest" in str(kwargs.get("mode", args[3:4] or "nearest")):
            self.nearest = True
        if not isinstance(first, Tensor):
            return func(*args, **kwargs)
        if self._to_numpy is not None and not first.requires_grad:
            first = self._back(first)
            args = (first, *args[1:])
        if name == "detach" or (name == "__get__" and _is_data(func)):
            return self._through("detach" if name == "detach" else ".data", first, first)
        if name == "detach_":
            self.hidden["detach"] = None
            return first
        if name == "numpy":
            self.hidden["numpy"], self._to_numpy = None, first
            with torch._C.DisableTorchFunction():
                return first.detach().to(self._whole or first.dtype).numpy()
        return self._of_tensor(name, func, first, args, kwargs)

    def _of_tensor(
        self, name: str, func: Callable[..., Any], first: Tensor, args: Any, kwargs: Any
    ) -> Any:
        plain = name.removesuffix("_")
        other = args[1] if len(args) > 1 else kwargs.get("other")
        index = args[2] if len(args) > 2 else kwargs.get("index")
        if plain in ROUNDING and first.is_floating_point():
            rounded = func(first.detach().clone(), *args[1:], **kwargs)
            if name != plain:
                self.hidden[plain] = None
                return first.add_((rounded - first).detach())
            return self._through(name, first, rounded)
        if name in DIVIDING and first.is_floating_point():
            return self._through("floor_divide", first / other, func(*args, **kwargs))
        if name in REMAINING and first.is_floating_point() and first.requires_grad:
            self.hidden["remainder"] = None
            return func(first.detach(), *args[1:], **kwargs)
        if name in UNSEEN and first.requires_grad:
            self.hidden[name] = None
        if name in COMPARISONS + COMPARING and first.is_floating_point() and first.requires_grad:
            found = func(*args, **kwargs)
            sign = 1 if name.strip("_")[0] == "g" else -1
            self._soft[id(found)] = (found, sign * (first - other))
            return found
        if name == "argmax" and first.requires_grad:
            found = func(*args, **kwargs)
            dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
            if dim is not None:
                self._scores[id(found)] = (found, first, dim)
            return found
        if name == "max" and first.requires_grad and not isinstance(other, Tensor):
            found = func(*args, **kwargs)
            if isinstance(found, tuple):
                dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
                self._scores[id(found[1])] = (found[1], first, dim)
            return found
        one_hot = name == "one_hot" and id(first) in self._scores
        looked_up = name == "__getitem__" and id(other) in self._scores
        if one_hot or looked_up:
            _, scores, dim = self._scores[id(first if one_hot else other)]
            hard = func(*args, **kwargs)
            soft = scores.softmax(dim).movedim(dim, -1)
            if hard.shape == soft.shape:
                return self._through("argmax", soft, hard.to(soft.dtype))
            return hard
        if name == "unsqueeze" and id(first) in self._scores:
            found = func(*args, **kwargs)
            self._scores[id(found)] = (found, *self._scores[id(first)][1:])
            return found
        if name in ("scatter", "scatter_") and id(index) in self._scores:
            _, scores, dim = self._scores[id(index)]
            hard = func(*args, **kwargs)
            soft = scores.softmax(dim)
            return self._through("argmax", soft, hard) if hard.shape == soft.shape else hard
        found = func(*args, **kwargs)
        if name in CASTS and isinstance(found, Tensor):
            return self._cast(first, found)
        return found

    def _cast(self, first: Tensor, found: Tensor) -> Tensor:
        """Keep the gradient of a cast to whole numbers, and of a condition cast to a number."""
        if id(first) in self._soft and found.is_floating_point():
            soft = self._soft[id(first)][1]
            return self._through("comparison", soft, found) if soft.shape == found.shape else found
        if first.is_floating_point() and not found.is_floating_point() and first.requires_grad:
            self._whole = found.dtype
            return self._through(f"to {str(found.dtype).removeprefix('torch.')}", first, found)
        return found

    def _through(self, name: str, soft: Tensor, hard: Tensor) -> Tensor:
        """Return the value of `hard` with the gradient of `soft`."""
        self.hidden[name] = None
        if hard is soft:
            return soft
        with torch._C.DisableTorchFunction():
            through: Tensor = _Through.apply(soft, hard.detach())
        return through

    def _back(self, found: Tensor) -> Tensor:
        """Return what comes back from NumPy, if `found` does, with the gradient of what went."""
        went = self._to_numpy
        if went is None or went.shape != found.shape:
            return found
        self._to_numpy = None
        return self._through("numpy", went, found)

    def _keep_gradients(self, func: Callable[..., Any], args: Any) -> Any:
        """Leave gradients on where the model switches them off."""
        if args and args[0] is False:
            self.hidden["no_grad"] = None
            return None
        return func(*args)


def _is_data(func: Callable[..., Any]) -> bool:
    return getattr(getattr(func, "__self__", None), "__name__", "") == "data"


def _drops(args: Any, kwargs: Any) -> bool:
    """Return whether a call of dropout drops anything."""
    training = kwargs.get("training", args[2] if len(args) > 2 else True)
    return bool(training) and (kwargs.get("p", args[1] if len(args) > 1 else 0.5) or 0) > 0


class StraightThroughModel(nn.Module):
    """A model whose hidden gradients are let through; see `StraightThrough` for what is noted."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.net = exact(model)
        self.noted = StraightThrough()

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to the model's own logits (B, K, h, w)."""
        if not torch.is_grad_enabled():
            return self.net(images)
        with StraightThrough() as self.noted:
            return self.net(images)


class AveragedModel(nn.Module):
    """The mean of a model's logits over draws, of its own or of noise on the image.

    For random models the expectation over their draws (EOT, arXiv 1707.07397); for gradients that
    change within a fraction of 1/255, the slope over a distance that matters to an attack.

    Args:
        model: images to logits.
        draws: forward passes that are averaged.
        noise: half the width of uniform noise on the image, in [0, 1] image units; 0: none.
    """

    def __init__(self, model: Model, draws: int, noise: float = 0.0) -> None:
        super().__init__()
        self.net, self.draws, self.noise = exact(model), draws, noise

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, K, h, w)."""
        total: Tensor | None = None
        for _ in range(self.draws):
            shift = (2 * torch.rand_like(images) - 1) * self.noise if self.noise else 0
            logits = self.net((images + shift).clamp(0, 1) if self.noise else images)
            total = logits if total is None else total + logits
        assert total is not None
        return total / self.draws


class ScaledModel(nn.Module):
    """A model with its logits multiplied: the same predictions, other losses.

    Args:
        model: images to logits.
        factor: above 0.
    """

    def __init__(self, model: Model, factor: float) -> None:
        super().__init__()
        self.net, self.factor = exact(model), factor

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, K, h, w)."""
        return self.net(images) * self.factor


class LevelledModel(nn.Module):
    """A model with the logits of each image scaled to one mean margin, anew in every pass.

    So that no temperature has a say that differs between the clean image and where an attack goes.

    Args:
        model: images to logits.
        margin: by which the best class is ahead of the second, on average over the pixels.
    """

    def __init__(self, model: Model, margin: float) -> None:
        super().__init__()
        self.net, self.margin = exact(model), margin

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, K, h, w)."""
        logits: Tensor = self.net(images)
        two = logits.topk(min(2, logits.shape[1]), dim=1).values
        mean = (two[:, :1] - two[:, -1:]).mean((2, 3), keepdim=True)
        return logits * torch.where(mean > 0, self.margin / mean, 1.0)


def hiding(model: Model, images: Tensor) -> StraightThrough:
    """Return what in a forward pass hides gradients or draws at random: images (B, C, H, W).

    Nothing is known of a model that bears no other gradients than its own.
    """
    surrogate = StraightThroughModel(model)
    try:
        with frozen(model), torch.enable_grad():
            surrogate(images.detach().requires_grad_())
    except (RuntimeError, TypeError, ValueError, RobustsegError):
        return StraightThrough()
    return surrogate.noted
