"""One forward and one backward pass of the attacked model: all that an iteration costs."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robustseg.attacks.coarse_logits import CoarseLogits, Columns, logits_for
from robustseg.attacks.logits import Labels
from robustseg.attacks.losses import Moment
from robustseg.attacks.pixel_losses import (
    are_finite,
    check_logits,
    loss_and_gradient,
    loss_of_coarse,
    refuse_images,
)
from robustseg.attacks.search_model import exact
from robustseg.errors import FullGpuError, GradientError, first_line, is_of_full_gpu
from robustseg.models.wrap import WrappedModel

NO_GRADIENT = (
    "the model's logits carry no gradient to the image; let it run without torch.no_grad, detach "
    "and NumPy, or attack it with the suite blackbox, which needs none"
)

FIRST = Moment()

Model = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) in [0, 1] to logits (B, K, h, w)."""


@dataclass
class Evaluation:
    """A loss at one iterate of B images.

    Attributes:
        objective: (B,) float64, what is maximised.
        correct: (B,) int64, counted pixels whose largest logit is the label's.
        direction: (B, C, H, W), the sign of the loss's gradient.
        finite: (B,) bool, whether objective and gradient are.
    """

    objective: Tensor
    correct: Tensor
    direction: Tensor
    finite: Tensor


class AttackedModel:
    """The attacked model under one loss.

    The loss's gradient takes the memory of the model's logits, unless the backward pass needs them
    or the model was seen to keep them. On a CPU, logits that a model says it is about to enlarge
    are taken before that, see `coarse_logits`.

    Args:
        model: frozen, see `frozen`.
        loss: one of `losses.LOSSES`.
        labels: (B, h, w) int64, -1 where ignored.
        image_ids: of the B images, for messages.
        scale: (B,) above 0, by which the loss sees an image's logits multiplied; None: as they are.
        class_pixels: N_k of the K classes, for losses that ask for them.
    """

    def __init__(
        self,
        model: Model,
        loss: str,
        labels: Tensor,
        image_ids: list[str],
        scale: Tensor | None = None,
        class_pixels: Sequence[int] | None = None,
    ) -> None:
        self.model, self.loss = model, loss
        self.raw_labels, self.image_ids = labels, image_ids
        self.scale, self.class_pixels = scale, class_pixels
        self.position = torch.arange(len(labels), device=labels.device)
        self.labels: Labels | None = None
        self.overwrite = not _keeps_output(model)

    def focus(self, position: Tensor) -> None:
        """From now on, evaluate the images at `position` (b,) int64 in the batch."""
        self.position, self.labels = position, None

    def __call__(self, images: Tensor, at: Moment = FIRST) -> Evaluation:
        """Evaluate loss and gradient at images (b, C, H, W) in an iteration."""
        images = images.detach().requires_grad_()
        with torch.enable_grad():
            logits = logits_for(self.loss, self.model, images)
        outputs = logits.values if isinstance(logits, Columns) else logits
        if isinstance(outputs, Tensor) and not outputs.requires_grad:
            raise GradientError(NO_GRADIENT)
        objective, correct, weights = self._loss(logits, at)
        try:
            gradient = backward(outputs, images, weights)
        except GradientError as error:
            if not self.overwrite or "inplace" not in str(error):
                raise
            self.overwrite = False  # the model's last operation, or a hook, needs its own output
            return self(images, at)
        if gradient is None:
            raise GradientError(NO_GRADIENT)
        finite = objective.isfinite() & are_finite(gradient)
        # Not in place: APGD keeps it, and CUDA graphs write all gradients to the same memory.
        return Evaluation(objective, correct, gradient.sign(), finite)

    def look(self, images: Tensor) -> Evaluation:
        """Evaluate without a backward pass; the direction is 0."""
        with torch.no_grad():
            logits = logits_for(self.loss, self.model, images)
            objective, correct, _ = self._loss(logits, FIRST)
        return Evaluation(objective, correct, images.new_zeros(()), objective.isfinite())

    def _loss(self, logits: Tensor | Columns, at: Moment) -> tuple[Tensor, Tensor, Tensor]:
        """Return objective, correct pixels and logit gradient, which may overwrite the logits."""
        labels = self.labels or self._check(logits)
        scale = None
        if self.scale is not None:  # of the gradient, only the sign is used
            scale = self.scale[self.position].view(-1, 1, 1, 1)
        if isinstance(logits, Columns):
            coarse = CoarseLogits.of(logits, labels, scale)
            return *loss_of_coarse(self.loss, coarse, at), coarse.gradient
        gradient = logits.detach()
        if not (self.overwrite and _is_dense(logits)):
            gradient = gradient.clone(memory_format=torch.contiguous_format)
        if scale is not None:
            gradient.mul_(scale.to(gradient.dtype))
        return *loss_and_gradient(self.loss, gradient, labels, at), gradient

    def _check(self, logits: Tensor | Columns) -> Labels:
        """Refuse logits that do not fit the labels; return the latter as losses need them."""
        labels = self.raw_labels[self.position]
        ids = [self.image_ids[i] for i in self.position.tolist()]
        values, size = (
            (logits.values, logits.size) if isinstance(logits, Columns) else (logits, None)
        )
        check_logits(values, labels, ids, data_classes(self.model), size)
        self.labels = Labels.of(labels, values.dtype, self.class_pixels)
        return self.labels


def backward(outputs: Tensor, images: Tensor, weights: Tensor | None = None) -> Tensor | None:
    """Return the images' gradient of sum(weights * outputs); None where outputs know no images.

    Raises:
        GradientError: the model's backward pass fails.
        FullGpuError: it runs out of memory.
    """
    if not outputs.requires_grad:
        return None
    try:
        return torch.autograd.grad(outputs, images, weights, allow_unused=True)[0]
    except RuntimeError as error:
        if is_of_full_gpu(error):
            raise FullGpuError(
                "the model's backward pass ran out of the GPU's memory; lower batch_size"
            ) from error
        raise GradientError(f"the model's backward pass failed: {first_line(error)}") from error


def refuse_gradients(wrong: Tensor, image_ids: list[str]) -> None:
    """Refuse gradients that are not finite although the logits are: (B,) bool.

    Their signs would be 0 or arbitrary, and the model would pass for robust.

    Raises:
        GradientError: it names the first image where `wrong` holds.
    """
    refuse_images(
        wrong,
        image_ids,
        "gets a gradient that is not finite, while its logits are: the model's backward pass "
        "breaks (a root or logarithm at 0, a division, overflow in half precision); an attack "
        "cannot use it, and the model would pass for robust",
        GradientError,
    )


def _keeps_output(model: Model) -> bool:
    """Return whether a model, or one inside, was seen to keep what it returned."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    return any(isinstance(one, WrappedModel) and one.keeps_output for one in modules)


def data_classes(model: Model) -> int | None:
    """Return how many of a model's logits are classes of the data; None: all of them."""
    model = exact(model)
    return model.data_classes if isinstance(model, WrappedModel) else None


def _is_dense(tensor: Tensor) -> bool:
    """Return whether the values of a tensor (B, C, H, W) lie one after the other in memory."""
    return tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last)


@dataclass
class _Held:
    """A module or parameter that is frozen, by how many at once, and what it was before."""

    what: nn.Module | nn.Parameter
    before: bool
    times: int = 0


_HELD: dict[int, _Held] = {}
_HOLDING = threading.RLock()


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """Put a module in eval mode without parameter gradients, and restore both afterwards.

    Threads that share modules may do so at the same time: the last one restores. Without parameter
    gradients a backward pass to the image costs about a third less.
    """
    if not isinstance(model, nn.Module):
        yield
        return
    # A network that torch.jit.freeze has made has no mode any more.
    modules = [module for module in model.modules() if hasattr(module, "training")]
    # Parameters of inference mode would not take their gradient back; the model's pass says why.
    parameters = [parameter for parameter in model.parameters() if not parameter.is_inference()]
    all_of_it: list[nn.Module | nn.Parameter] = [*modules, *parameters]
    with _HOLDING:
        for one in all_of_it:
            before = one.training if isinstance(one, nn.Module) else one.requires_grad
            _HELD.setdefault(id(one), _Held(one, before)).times += 1
    try:
        with _HOLDING:
            model.eval()
            for parameter in parameters:
                parameter.requires_grad_(False)
        yield
    finally:
        with _HOLDING:
            for one in all_of_it:
                _let_go(_HELD[id(one)])


def _let_go(held: _Held) -> None:
    """Restore a module or parameter if nobody else holds it."""
    held.times -= 1
    if held.times:
        return
    del _HELD[id(held.what)]
    if isinstance(held.what, nn.Module):
        held.what.training = held.before
    else:
        held.what.requires_grad_(held.before)


def device_of(model: Model, otherwise: torch.device) -> torch.device:
    """Return where a module's parameters are; `otherwise` for a model without any."""
    model = exact(model)
    if isinstance(model, WrappedModel):
        return model.device or otherwise
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), otherwise)


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """Switch off autocast, TF32 and products in half precision, and restore what was set.

    Torch has two ways to set the latter, and to ask by the older what was set by the newer is an
    error. Both are set here, so that a model may ask by either.
    """
    kinds = _kinds_of_products()
    before = [kind.fp32_precision for kind in kinds]
    try:
        older = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:  # set by the newer way
        older = None
    try:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        for kind in kinds:
            kind.fp32_precision = "ieee"
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        if older is not None:
            torch.set_float32_matmul_precision(older[0])
            torch.backends.cudnn.allow_tf32 = older[1]
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = precision


def _kinds_of_products() -> list[Any]:
    """Return where torch keeps how precise products are, of a GPU and a CPU; none before 2.9."""
    libraries = torch.backends.cudnn, torch.backends.mkldnn
    parts = [getattr(one, name, None) for one in libraries for name in ("matmul", "conv", "rnn")]
    return [
        kind for kind in (torch.backends.cuda.matmul, *parts) if hasattr(kind, "fp32_precision")
    ]
