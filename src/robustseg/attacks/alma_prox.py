"""ALMA prox, the minimal-norm attack that the paper compares SEA with (Appendix C.4, Figure 6).

Rony, Pesquet, Ben Ayed, "Proximal Splitting Adversarial Attacks for Semantic Segmentation",
arXiv 2206.07179: minimise the l_inf norm of the perturbation under one constraint a pixel, that its
margin be negative. An augmented Lagrangian weighs the constraints, a proximal step in a diagonal
metric shrinks the norm. Written from its description; no random numbers.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustseg.attacks.attacked_model import (
    NO_GRADIENT,
    Model,
    backward,
    data_classes,
    frozen,
    full_precision,
    refuse_gradients,
)
from robustseg.attacks.pixel_losses import are_finite, check_logits, refuse_images
from robustseg.attacks.run import check_batch
from robustseg.data.interface import IGNORE_LABEL
from robustseg.errors import GradientError, RobustsegError

DEFAULT_THRESHOLD = 0.99


@dataclass(frozen=True)
class AlmaSettings:
    """The symbols of arXiv 2206.07179, with the values that its authors ship.

    Attributes:
        step: the first lambda, gradient step and weight of the norm; on the [0, 1] scale.
        step_decay: the last lambda over the first.
        mu, rho: first multiplier and first penalty of each pixel.
        check_every: M, iterations between two looks at whether a constraint improves.
        tau: it does if it falls below tau times its value at the last look.
        gamma: the penalty of a pixel that neither does nor was fooled meanwhile grows so.
        alpha: smoothing of the multipliers and of the squared gradients.
        w, w_min, w_max, w_rate: scale of an image's constraints, its bounds, its rate of change
            (down while the threshold is reached, up while it is not).
        kappa: added to the margin of logits, so that a tie between classes is no success.
        exact_slope: see `penalty_slope`.
    """

    step: float = 1e-3
    step_decay: float = 0.1
    mu: float = 1.0
    rho: float = 0.01
    check_every: int = 10
    tau: float = 0.95
    gamma: float = 2.0
    alpha: float = 0.8
    w: float = 1.0
    w_min: float = 0.1
    w_max: float = 1.0
    w_rate: float = 0.02
    kappa: float = 1e-4
    exact_slope: bool = False


@dataclass(frozen=True)
class AlmaResult:
    """What was found for each of B images.

    Attributes:
        adversarial: (B, 3, H, W) in [0, 1], the clean image where the threshold was never reached.
        linf: (B,) float64, the norm of its perturbation on the [0, 1] scale; inf where not reached.
        share: (B,) float64, misclassified share of the counted pixels of `adversarial`; NaN where
            all pixels are ignored, in which case the threshold is reached with a norm of 0.
        forward_passes, backward_passes: (B,) int64.
    """

    adversarial: Tensor
    linf: Tensor
    share: Tensor
    forward_passes: Tensor
    backward_passes: Tensor

    @property
    def found(self) -> Tensor:
        """(B,) bool, whether the threshold was reached."""
        return self.linf.isfinite()


def alma_prox(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    steps: int = 500,
    image_ids: list[str] | None = None,
    settings: AlmaSettings = AlmaSettings(),
) -> AlmaResult:
    """Return, for each image, the smallest perturbation seen that misclassifies enough pixels.

    Each image has its own multipliers, scale and step: its result does not depend on the batch.

    Args:
        model: images -> logits (B, K, H, W), K >= 3, deterministic.
        images: (B, 3, H, W) float32 in [0, 1].
        labels: (B, H, W) int64; pixels of label -1 are neither attacked nor counted.
        threshold: share of the counted pixels to misclassify, in (0, 1].
        steps: iterations, each a forward pass and, but for the last, a backward pass.
        image_ids: names in error messages; default: positions in the batch.
        settings: everything else.

    Raises:
        RobustsegError: threshold or steps out of range, or logits that do not fit the labels.
    """
    ids = image_ids or [str(i) for i in range(len(images))]
    counted = labels != IGNORE_LABEL
    pixels = counted.flatten(1).sum(1)
    check_batch(images, labels, ids, eps_255=255)
    if not 0 < threshold <= 1 or steps < 1:
        raise RobustsegError(
            f"ALMA prox needs a threshold in (0, 1] and a step or more; got {threshold}, {steps}"
        )
    needed = (threshold * pixels.double() - 1e-6).ceil().long()
    best = _Best(images, needed, steps)
    # A success is often a pixel or two above the threshold: judge it as the record will.
    with frozen(model), full_precision(images.device.type):
        _descend(model, images, labels, ids, steps, settings, best)
    passes = torch.full_like(pixels, steps)
    share = best.fooled / pixels.double()
    return AlmaResult(best.adversarial, best.linf, share, passes, passes - 1)


def _descend(
    model: Model,
    images: Tensor,
    labels: Tensor,
    image_ids: list[str],
    steps: int,
    o: AlmaSettings,
    best: "_Best",
) -> None:
    """Run the iterations and show each iterate to `best`; arguments of `alma_prox`."""
    counted = labels != IGNORE_LABEL
    index = torch.where(counted, labels, 0)[:, None]
    constraints = _Constraints(counted, counted.flatten(1).sum(1) - best.needed, o)
    w = images.new_full((len(images), 1, 1), o.w)
    delta = torch.zeros_like(images, dtype=torch.float64)
    square = torch.zeros_like(delta)
    for t in range(steps):
        adversarial = (images + delta.to(images)).clamp_(0, 1).requires_grad_()
        with torch.enable_grad():
            logits = model(adversarial.clone())
            if t == 0:
                check_logits(logits.detach(), labels, image_ids, data_classes(model))
            margin = relative_margin(logits, index, o.kappa)
        fooled = (logits.gather(1, index)[:, 0] < logits.amax(1)) & counted
        reached = best.update(adversarial.detach(), fooled.flatten(1).sum(1), t)
        if t == steps - 1:
            return
        rate = torch.where(reached, 1 + o.w_rate, 1 - o.w_rate)[:, None, None]
        w = (w / rate.to(w)).clamp_(o.w_min, o.w_max)
        slope = constraints.update((w * margin.detach()).double(), fooled, t, t / (steps - 1))
        gradient = _gradient(margin, adversarial, slope * w)
        broken = ~are_finite(gradient)
        if broken.any():
            nothing = ~are_finite(logits.detach())
            refuse_images(nothing, image_ids, "got logits that are not finite under attack")
            refuse_gradients(broken, image_ids)
        square = o.alpha * square + (1 - o.alpha) * gradient.square()
        metric = (square / (1 - o.alpha ** (t + 1))).sqrt_().clamp_(min=1e-8)
        step = o.step * _decay(t, best.first, steps, o.step_decay)
        forward = delta - step[:, None, None, None] * gradient / metric
        delta = prox_linf(forward, step, metric, -images, 1 - images)


def prox_linf(delta: Tensor, step: Tensor, metric: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Return argmin_p step ||p||_inf + 1/2 sum_i metric_i (p_i - delta_i)^2, lower <= p <= upper.

    Given the norm r of p, the best p is delta clipped to its box and to [-r, r]. What remains is
    convex in r: bisect for the r beyond which the clipped entries gain less than the step costs.

    Args:
        delta: (B, ...).
        step: (B,), at least 0.
        metric: like delta, above 0.
        lower, upper: like delta, lower <= 0 <= upper.
    """
    boxed = delta.clamp(lower, upper)
    size, target, weight = (x.flatten(1) for x in (boxed.abs(), delta.abs(), metric))
    low, high = torch.zeros_like(size[:, 0]), size.amax(1)
    for _ in range(36):
        r = (low + high) / 2
        gain = (weight * (target - r[:, None]) * (size > r[:, None])).sum(1)
        low, high = torch.where(gain > step, r, low), torch.where(gain > step, high, r)
    r = high.view(-1, *[1] * (delta.ndim - 1))
    return boxed.clamp(-r, r)


def relative_margin(logits: Tensor, index: Tensor, kappa: float) -> Tensor:
    """Return the margin of the label over the spread of the three largest logits, (B, H, W).

    Above 0 where the label wins (or ties); but for kappa the scale of the logits cancels.

    Args:
        logits: (B, K, H, W).
        index: (B, 1, H, W) int64 labels.
        kappa: added to the margin.

    Raises:
        RobustsegError: fewer than three classes.
    """
    if logits.shape[1] < 3:
        raise RobustsegError(
            f"ALMA prox needs a model of 3 classes or more; this one has {logits.shape[1]}"
        )
    top = logits.topk(3, dim=1).values
    others = logits.scatter(1, index, -math.inf).amax(1)
    return (logits.gather(1, index)[:, 0] - others + kappa) / (top[:, 0] - top[:, 2] + 1e-8)


def penalty_slope(c: Tensor, rho: Tensor, mu: Tensor, exact: bool) -> Tensor:
    """Return the derivative by c of the penalty that stands for the constraint c <= 0.

    P(c) = mu c + mu rho c^2 + rho^2 c^3 / 6 for c >= 0 (violated), else mu c / (1 - max(rho, 1) c).
    RELEASED CODE: that of arXiv 2206.07179 has, for c >= 0, mu c where the derivative has mu, in
    all its versions. This is the attack that users of it run; `exact` takes the derivative.
    """
    first = mu if exact else mu * c
    violated = first + 2 * mu * rho * c + 0.5 * rho.square() * c.square()
    satisfied = mu / (1 - rho.clamp(min=1) * c.clamp(max=0)).square()
    return torch.where(c >= 0, violated, satisfied)


class _Constraints:
    """One constraint c <= 0 a pixel, with multiplier mu and penalty rho, (B, H, W) float64."""

    def __init__(self, counted: Tensor, spare: Tensor, settings: AlmaSettings) -> None:
        """Begin; `spare` (B,) is how many pixels of an image may stay correct."""
        self.counted, self.spare, self.settings = counted, spare, settings
        self.most_spare = int(spare.max())
        self.mu = torch.full_like(counted, settings.mu, dtype=torch.float64)
        self.rho = torch.full_like(self.mu, settings.rho)
        self.previous = torch.zeros_like(self.mu)
        self.fooled_lately = torch.zeros_like(counted)

    def update(self, c: Tensor, fooled: Tensor, t: int, progress: float) -> Tensor:
        """Adapt mu and rho to c of iteration t; return dP/dc, 0 at pixels that are not attacked."""
        o, active = self.settings, self._without_hardest(c, progress)
        self.fooled_lately = self.fooled_lately | fooled
        if t == 0:
            self.previous = c
        elif (t + 1) % o.check_every == 0:
            stuck = active & ~self.fooled_lately & (c > o.tau * self.previous)
            self.rho = torch.where(stuck, o.gamma * self.rho, self.rho)
            self.previous, self.fooled_lately = c, torch.zeros_like(fooled)
        if t > 0:
            slope = active * penalty_slope(c, self.rho, self.mu, o.exact_slope)
            self.mu = self.mu.lerp(slope, 1 - o.alpha).clamp_(1e-12, 1)
        return active * penalty_slope(c, self.rho, self.mu, o.exact_slope)

    def _without_hardest(self, c: Tensor, progress: float) -> Tensor:
        """Leave out the largest constraints: the share `progress` (0 to 1) of those to spare."""
        left_out = (progress * self.spare).long()[:, None]
        c = c.masked_fill(~self.counted, -math.inf).flatten(1)
        # At least as many as any image leaves out; to ask how many would be to wait for a GPU.
        enough = min(int(progress * self.most_spare) + 1, self.most_spare)
        largest = c.topk(enough + 1, dim=1).values
        return self.counted & (c <= largest.gather(1, left_out)).view_as(self.counted)


class _Best:
    """The smallest perturbation of each image that reached the threshold so far."""

    def __init__(self, images: Tensor, needed: Tensor, steps: int) -> None:
        """Begin; `needed` (B,) is how many pixels of an image must be misclassified."""
        self.images, self.needed, self.adversarial = images, needed, images
        self.linf = torch.full_like(needed, math.inf, dtype=torch.float64)
        self.fooled = torch.zeros_like(needed)
        self.first = torch.full_like(needed, steps // 2)
        """The iteration from which the step decays: of the first success, at most half of all."""

    def update(self, adversarial: Tensor, fooled: Tensor, t: int) -> Tensor:
        """Take in the iterates, with `fooled` (B,) pixels each; return which reached (B,) bool."""
        if t == 0:
            self.fooled = fooled  # of the clean image, which stays the answer if nothing is found
        reached = fooled >= self.needed
        linf = (adversarial.double() - self.images.double()).abs().flatten(1).amax(1)
        first_time = reached & self.linf.isinf()
        self.first = torch.where(first_time, self.first.clamp(max=t), self.first)
        better = reached & (linf < self.linf)
        self.linf = torch.where(better, linf, self.linf)
        self.fooled = torch.where(better, fooled, self.fooled)
        self.adversarial = torch.where(better[:, None, None, None], adversarial, self.adversarial)
        return reached


def _gradient(margin: Tensor, images: Tensor, slope: Tensor) -> Tensor:
    """Return the images' gradient of sum(slope * margin), float64: penalties may leave float32."""
    largest = slope.flatten(1).amax(1).clamp(min=1e-12)[:, None, None]
    gradient = backward(margin, images, (slope / largest).to(margin))
    if gradient is None:
        raise GradientError(NO_GRADIENT)
    return gradient.double() * largest[:, None]


def _decay(t: int, first: Tensor, steps: int, last: float) -> Tensor:
    """Return (B,) 1 up to iteration `first` (B,), then along a hyperbola down to `last`."""
    half_life = last / (1 - last) * (steps - first).double()
    return half_life / ((t - first).clamp(min=0) + half_life)
