"""The training loop: clean, adversarial or half of each, resumable between any two updates."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustseg.data.datasets import Dataset
from robustseg.errors import RobustsegError
from robustseg.progress import Progress
from robustseg.training.batches import batches_per_epoch, epoch_batches
from robustseg.training.checkpoint import load_checkpoint, save_checkpoint
from robustseg.training.pgd import perturb
from robustseg.training.recipe import Recipe
from robustseg.training.schedules import learning_rate_factor, radius_factor
from robustseg.training.tasks import Task, cross_entropy

ROBUST_VAL_IMAGES = 128
"""Validation images that are attacked after each epoch: a glance at the progress, no result."""


@dataclass
class Place:
    """Where a training stands: `batch` of `epoch` comes next."""

    epoch: int = 0
    batch: int = 0


class Trainer:
    """Trains a task's model in place.

    Args:
        task: model and loss.
        recipe: settings.
        train: training split.
        val: validation split, only for the metrics.
        settings: all that the weights depend on, as text; see `save_checkpoint`.
        checkpoint: file for the unfinished state.
        checkpoint_every_s: seconds between two checkpoints; no effect on the weights.
        progress: where to say how far it is.
    """

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        train: Dataset,
        val: Dataset,
        *,
        settings: str,
        checkpoint: Path,
        checkpoint_every_s: float,
        progress: Progress,
    ) -> None:
        self.task, self.recipe, self.train_set, self.val_set = task, recipe, train, val
        self.settings, self.checkpoint, self.progress = settings, checkpoint, progress
        self.checkpoint_every_s = checkpoint_every_s
        self.device = next(task.model.parameters()).device
        self.batches = batches_per_epoch(train, recipe.batch_size)
        self.optimizer = torch.optim.AdamW(
            task.model.parameters(),
            lr=recipe.learning_rate,
            betas=recipe.betas,
            weight_decay=recipe.weight_decay,  # ASSUME: on all parameters, biases and norms too
        )
        self.place = Place()
        self.losses: list[float] = []
        self.rows: list[dict[str, Any]] = []

    def run(self) -> list[dict[str, Any]]:
        """Train to the end, from the checkpoint if there is one, and return a row an epoch.

        Raises:
            RobustsegError: damaged checkpoint, full disk, loss that is not finite.
        """
        self._resume()
        total = self.batches * self.recipe.epochs
        done = self.place.epoch * self.batches + self.place.batch
        saved = time.monotonic()
        for _ in self.progress.track(self._updates(), total - done, "batches"):
            if time.monotonic() - saved >= self.checkpoint_every_s:
                self._save()
                saved = time.monotonic()
        return self.rows

    def _updates(self) -> Iterator[None]:
        """Do one update after the other; `place` is always the next one."""
        recipe = self.recipe
        while self.place.epoch < recipe.epochs:
            batches = epoch_batches(
                self.train_set,
                recipe.batch_size,
                recipe.training_seed,
                self.place.epoch,
                self.place.batch,
            )
            for images, labels in batches:
                self._update(images.to(self.device), labels.to(self.device))
                self.place.batch += 1
                if self.place.batch == self.batches:
                    self._finish_epoch()
                yield

    def _update(self, images: Tensor, labels: Tensor) -> None:
        """Attack the batch as the recipe says and take one step on it."""
        step = self.place.epoch * self.batches + self.place.batch
        total = self.batches * self.recipe.epochs
        factor = learning_rate_factor(step, total, self.recipe.warmup, self.recipe.power)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * factor
        self.task.model.train()
        radius = radius_factor(step, total, self.recipe.eps_ramp)
        images = self._attack_share(images, labels, radius)
        loss = self.task.training_loss(images, labels)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.losses.append(self._finite(loss.item()))

    def _attack_share(self, images: Tensor, labels: Tensor, radius: float) -> Tensor:
        """Perturb the last images of the batch, as many as the scheme attacks."""
        clean = len(images) - round(self.recipe.adversarial_share * len(images))
        if clean == len(images):
            return images
        return torch.cat([images[:clean], self._attack(images[clean:], labels[clean:], radius)])

    def _attack(self, images: Tensor, labels: Tensor, radius: float = 1.0) -> Tensor:
        """Run the training's PGD at a share of its radius."""
        recipe, epsilon = self.recipe, self.recipe.epsilon * radius
        return perturb(
            self.task.model, cross_entropy, images, labels, epsilon, recipe.steps, recipe.step_size
        )

    def _finite(self, loss: float) -> float:
        """Return the loss, or stop the training."""
        if not math.isfinite(loss):
            raise RobustsegError(
                f"the training loss is {loss} in epoch {self.place.epoch + 1}, batch "
                f"{self.place.batch + 1}; lower the learning_rate {self.recipe.learning_rate:g} "
                "or lengthen the warm-up"
            )
        return loss

    def _finish_epoch(self) -> None:
        """Note the epoch's metrics and move on to the next."""
        row = self._metrics()
        self.rows.append(row)
        scores = ", ".join(
            f"{name} {row[name]:.3f}"
            for name in ("loss", "accuracy", "robust_accuracy")
            if row[name] is not None
        )
        self.progress.say(f"epoch {row['epoch']} of {self.recipe.epochs}: {scores}")
        self.place, self.losses = Place(self.place.epoch + 1), []

    def _metrics(self) -> dict[str, Any]:
        """Score the model on the validation split, without and with the training's attack."""
        size, count = self.recipe.batch_size, len(self.val_set)
        indices = [list(range(at, min(at + size, count))) for at in range(0, count, size)]
        clean = self.task.scores(self.val_set, indices, attack=lambda images, labels: images)
        robust = None
        if self.recipe.adversarial_share:
            some = indices[: max(1, ROBUST_VAL_IMAGES // size)]
            robust = self.task.scores(self.val_set, some, self._attack)
        return {
            "epoch": self.place.epoch + 1,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "loss": sum(self.losses) / len(self.losses),
            "accuracy": clean.accuracy,
            "miou": clean.miou,
            "robust_accuracy": robust and robust.accuracy,
            "robust_miou": robust and robust.miou,
        }

    def _save(self) -> None:
        """Write the checkpoint."""
        state = {
            "epoch": self.place.epoch,
            "batch": self.place.batch,
            "losses": self.losses,
            "rows": self.rows,
            "model": self.task.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        save_checkpoint(self.checkpoint, state, self.settings)

    def _resume(self) -> None:
        """Go to where the checkpoint says, if there is one of the same settings."""
        state, sentence = load_checkpoint(self.checkpoint, self.settings)
        self.progress.say(sentence)
        if state is None:
            return
        self.task.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.place = Place(state["epoch"], state["batch"])
        self.losses, self.rows = state["losses"], state["rows"]
