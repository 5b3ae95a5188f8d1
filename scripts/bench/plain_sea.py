"""SEA of this library against the same attack written down plainly, as the paper describes it.

The plain one knows nothing of the library: a loss is a formula that autograd differentiates, each
iteration counts accuracy and IoU anew, class by class, and every image stays to the end. Both
attack the same images of the same model with the same radii and iterations, in turn, several
rounds. Their accuracies must agree, which checks the library as well.

    python scripts/bench/plain_sea.py [--classes 21 151] [--iterations 60] [--rounds 3]
"""

import argparse
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from attacks import timed
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from robustseg.attacks.ensemble import sea
from robustseg.progress import Progress

Loss = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]
"""Logits (B, K, H, W), labels, share of iterations done: what to differentiate, what to compare."""


def mask_ce(logits: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy of pixels that are right (Sec. 2.2.4); compared by that of all (B.1)."""
    ce = F.cross_entropy(logits, labels, reduction="none")
    right = logits.argmax(1) == labels
    return (ce * right).mean((1, 2)), ce.mean((1, 2))


def bal_ce(logits: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Right pixels weigh 1 - lambda(t), wrong ones lambda(t) (Sec. 2.2.1)."""
    ce = F.cross_entropy(logits, labels, reduction="none")
    lam = share / 2
    right = (logits.argmax(1) == labels).to(ce.dtype)
    return (ce * ((1 - lam) * right + lam * (1 - right))).mean((1, 2)), ce.mean((1, 2))


def js(logits: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Jensen-Shannon divergence of softmax and label (Sec. 2.2.3), as two KL divergences."""
    p = logits.softmax(1)
    q = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(p.dtype)
    middle = (p + q) / 2
    kl_p = (p * (p.clamp_min(1e-30).log() - middle.clamp_min(1e-30).log())).sum(1)
    kl_q = (q * (q.clamp_min(1e-30).log() - middle.clamp_min(1e-30).log())).sum(1)
    value = ((kl_p + kl_q) / 2).mean((1, 2))
    return value, value


def mask_sph(logits: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Minus the cosine of logits and label, of pixels that are right (Sec. 2.2.5)."""
    cosine = logits.gather(1, labels[:, None])[:, 0] / logits.norm(dim=1)
    right = logits.argmax(1) == labels
    return -(cosine * right).mean((1, 2)), -cosine.mean((1, 2))


LOSSES: tuple[Loss, ...] = (mask_ce, bal_ce, js, mask_sph)


def accuracy_and_iou(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return each image's pixel accuracy and mean IoU, (B,) each."""
    predicted, ious = logits.argmax(1), []
    for k in range(logits.shape[1]):
        here, there = predicted == k, labels == k
        union = (here | there).sum((1, 2))
        ious.append(torch.where(union > 0, (here & there).sum((1, 2)) / union, torch.nan))
    accuracy = (predicted == labels).double().mean((1, 2))
    return accuracy, torch.stack(ious).nanmean(0)


def apgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    loss: Loss,
    eps: float,
    start: Tensor,
    iterations: int,
) -> tuple[Tensor, Tensor]:
    """Return the iterate of lowest accuracy and its accuracy (arXiv 2003.01690, Algorithm 1)."""
    marks, p = [], [0.0, 0.22]
    while p[-1] <= 1:
        marks.append(math.ceil(round(p[-1] * iterations, 6)))
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))

    def project(x: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(x, images - eps), images + eps).clamp(0, 1)

    def pick(which: Tensor, one: Tensor, other: Tensor) -> Tensor:
        return torch.where(which.view(-1, *[1] * (one.ndim - 1)), one, other)

    def evaluate(x: Tensor, t: int) -> tuple[Tensor, Tensor, Tensor]:
        x = x.detach().requires_grad_()
        logits = model(x)
        value, compared = loss(logits, labels, t / iterations)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        accuracy, _ = accuracy_and_iou(logits.detach(), labels)
        return gradient, compared.detach(), accuracy

    x = project(start)
    gradient, value, accuracy = evaluate(x, 0)
    best, best_gradient, best_value = x, gradient, value
    found, lowest = x, accuracy
    step = torch.full((len(images), 1, 1, 1), 2 * eps)
    previous, previous_value = x, value
    increases, at_mark = torch.zeros(len(images)), value
    halved, last_mark = torch.zeros(len(images), dtype=torch.bool), 0
    for t in range(1, iterations + 1):
        z = project(x + step * gradient.sign())
        new = z if t == 1 else project(x + 0.75 * (z - x) + 0.25 * (x - previous))
        previous, x = x, new
        previous_value = value
        gradient, value, accuracy = evaluate(x, t)
        found, lowest = pick(accuracy <= lowest, x, found), torch.minimum(accuracy, lowest)
        increases += value > previous_value
        better = value > best_value
        best, best_gradient = pick(better, x, best), pick(better, gradient, best_gradient)
        best_value = torch.maximum(value, best_value)
        if t in marks:
            stuck = (increases < 0.75 * (t - last_mark)) | (~halved & (best_value <= at_mark))
            step = step * torch.where(stuck, 0.5, 1.0).view(-1, 1, 1, 1)
            x, gradient = pick(stuck, best, x), pick(stuck, best_gradient, gradient)
            value = torch.where(stuck, best_value, value)
            increases.zero_()
            at_mark, halved, last_mark = best_value, stuck, t
    return found, lowest


def plain_sea(
    model: nn.Module, images: Tensor, labels: Tensor, eps: float, iterations: int
) -> Tensor:
    """Return each image's lowest accuracy over the four losses, (B,) in [0, 1]."""
    with torch.no_grad():
        lowest, _ = accuracy_and_iou(model(images), labels)
    for loss in LOSSES:
        start = images + 2 * eps * (2 * torch.rand_like(images) - 1)
        for scale, share in ((2.0, 0.3), (1.5, 0.3), (1.0, 0.4)):
            slot = round(share * iterations)
            start, accuracy = apgd(model, images, labels, loss, scale * eps, start, slot)
        lowest = torch.minimum(lowest, accuracy)
    return lowest


@dataclass
class Comparison:
    """Processor seconds of each round, and the accuracy that both leave, in percent."""

    classes: int
    plain_s: list[float]
    sea_s: list[float]
    plain_acc: float
    sea_acc: float

    def row(self) -> str:
        """Return the row of the Markdown table."""
        ratios = [plain / ours for plain, ours in zip(self.plain_s, self.sea_s, strict=True)]
        return (
            f"| {self.classes} | {statistics.median(self.plain_s):.1f} "
            f"| {statistics.median(self.sea_s):.1f} | {statistics.median(ratios):.2f} "
            f"| {min(ratios):.2f} | {max(ratios):.2f} | {self.plain_acc:.1f} | {self.sea_acc:.1f} |"
        )


def compare(
    model: nn.Module, images: Tensor, eps_255: float, iterations: int, rounds: int
) -> Comparison:
    """Attack images whose labels are the model's own predictions, plainly and by the library."""
    with torch.no_grad():
        logits = model(images)
    labels = logits.argmax(1)
    found = Comparison(logits.shape[1], [], [], 0, 0)

    def plain() -> None:
        left = plain_sea(model, images, labels, eps_255 / 255, iterations)
        found.plain_acc = 100 * float(left.mean())

    def ours() -> None:
        found.sea_acc = 100 * sea(model, images, labels, eps_255, iterations=iterations).acc

    for _ in range(rounds):
        found.plain_s.append(timed(plain, images.device))
        found.sea_s.append(timed(ours, images.device))
    return found


def main() -> None:
    """Print seconds, their ratio and the accuracies that both leave, for each number of classes."""
    from robustseg.models.build import build_segmentation_model  # timm takes seconds: after --help

    parser = argparse.ArgumentParser(description="SEA against a plain version of it.")
    parser.add_argument("--classes", type=int, nargs="+", default=[21, 151])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--size-px", type=int, default=128)
    parser.add_argument("--eps-255", type=float, default=0.25)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    progress = Progress("bench")
    print(
        f"torch {torch.__version__}, cpu, {args.threads} thread(s), {args.images} images of "
        f"{args.size_px} px at {args.eps_255:g}/255, {args.iterations} iterations for each loss\n\n"
        "| classes | plain, s | SEA, s | ratio (median) | min | max | plain ACC | SEA ACC |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    for classes in args.classes:
        torch.manual_seed(0)
        model = build_segmentation_model("convnext_demo", "upernet_demo", classes).eval()
        images = torch.rand(args.images, 3, args.size_px, args.size_px)
        print(compare(model, images, args.eps_255, args.iterations, args.rounds).row(), flush=True)
        progress.say(f"{classes} classes done")


if __name__ == "__main__":
    main()
