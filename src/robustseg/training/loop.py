"""The training loop: clean, adversarial or half of each, resumable between any two updates."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from robustseg.data.batching import batches_of, labelled_images
from robustseg.data.interface import IGNORE_LABEL, Dataset
from robustseg.errors import FullGpuError, RobustsegError, is_of_full_gpu
from robustseg.gpus import check_shares
from robustseg.names import amount
from robustseg.progress import Progress
from robustseg.seeds import derive_seed
from robustseg.training.batch_norm import RunningStatistics
from robustseg.training.batches import Loader, Pass, batches_per_epoch, epoch_passes
from robustseg.training.checkpoint import check_state, load_checkpoint, save_checkpoint
from robustseg.training.inner_attack import autocast, perturb
from robustseg.training.optimizers import build_optimizer, set_learning_rate
from robustseg.training.processes import ProcessGroup
from robustseg.training.ramps import learning_rate_factor, radius_factor
from robustseg.training.settings import TrainingSettings
from robustseg.training.stopping import stop_on_sigterm
from robustseg.training.tasks import Task

ROBUST_VAL_IMAGES = 128
"""Validation images that are attacked for a row of metrics: a glance at the progress, no result."""
TRAINED_PER_SCORED = 3
"""Images trained on, at least, for each image of the validation split that is scored: after each
epoch of a small training split, that would take as long as the training."""
SAVING_SHARE = 0.05
"""Checkpoints of large models are written less often, so as to take this share of the time."""
RAREST_SAVES = 30
"""How many times less often at most."""


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
        group: the processes that train together.
        settings: all that the weights depend on, as text; see `save_checkpoint`.
        checkpoint: file for the unfinished state.
        checkpoint_every_s: least seconds between two checkpoints; no effect on the weights.
        loaders: threads that load images; no effect on the weights.
        progress: where to say how far it is.

    Raises:
        RobustsegError: fewer images than a batch, a split of which no pixel counts, processes that
            cannot share a batch, or an optimizer that lacks a setting.
    """

    def __init__(
        self,
        task: Task,
        recipe: TrainingSettings,
        train: Dataset,
        val: Dataset,
        *,
        group: ProcessGroup,
        settings: str,
        checkpoint: Path,
        checkpoint_every_s: float,
        loaders: int,
        progress: Progress,
    ) -> None:
        self.task, self.recipe, self.train_set, self.val_set = task, recipe, train, val
        self.group, self.device = group, group.device
        self.settings, self.checkpoint, self.progress = settings, checkpoint, progress
        self.checkpoint_every_s = checkpoint_every_s
        self.batches = batches_per_epoch(train, recipe.batch_size)
        self._first_labelled("training", train)
        self.first_val = self._first_labelled("validation", val)
        check_shares(group.size, recipe.batch_size, recipe.images_per_pass)
        self.loader = Loader(train, recipe.training_seed, loaders)
        self.view_size_px = self.loader.view_size_px()
        self.optimizer = build_optimizer(task.model, recipe)
        self.statistics = RunningStatistics(task.model)
        self.place = Place()
        self.losses: list[float] = []
        self.rows: list[dict[str, Any]] = []
        self.stopping = False
        self.scored = monotonic()

    def _first_labelled(self, name: str, split: Dataset) -> int:
        """Return the place of the first image that something can be learnt or measured on."""
        first = next(labelled_images(split), None)
        if first is not None:
            return first
        background = "" if self.recipe.background else ", or train with `background: true`"
        raise RobustsegError(
            f"no pixel of the {name} split's {len(split)} images counts: all are ignored; correct "
            f"its masks, or what its data set ignores{background}"
        )

    def run(self) -> list[dict[str, Any]]:
        """Train to the end, from the checkpoint if there is one, and return the rows of metrics.

        Raises:
            RobustsegError: damaged checkpoint, full disk, loss or outputs that are not finite, too
            little memory of a GPU, SIGTERM.
        """
        self._resume()
        self._meet()
        self._say_batch()
        total = self.batches * self.recipe.epochs
        done = self.place.epoch * self.batches + self.place.batch
        due = monotonic() + self.checkpoint_every_s
        with stop_on_sigterm() as asked, self._within_memory():
            updates = self._updates(asked)
            for _ in self.progress.track(updates, total, "batches", before=done):
                # Whoever is asked to stop after the last update has nothing left to continue.
                stopping = self.stopping and self.place.epoch < self.recipe.epochs
                if monotonic() >= due or stopping:
                    due = self._save()
                if stopping:
                    self._stop()
        return self.rows

    @contextmanager
    def _within_memory(self) -> Iterator[None]:
        """Say what to change where a GPU has too little memory, in an update or in validation."""
        try:
            yield
        except RuntimeError as error:
            if not is_of_full_gpu(error):
                raise
            raise FullGpuError(
                "a GPU has too little memory to train with passes of "
                f"{self.recipe.images_per_pass} images; lower images_per_pass (a divisor of the "
                f"batch_size {self.recipe.batch_size}), or crop_px and resize_px of the data set"
            ) from error

    def _say_batch(self) -> None:
        """Say how a batch becomes an update on this machine."""
        recipe, size = self.recipe, self.group.size
        if recipe.passes == 1:
            return
        turns = recipe.passes // size
        after = f", {turns} of them one after the other" if turns > 1 else ""
        self.progress.say(
            f"each update is of {recipe.batch_size} images, in {recipe.passes} passes of "
            f"{recipe.images_per_pass} on {amount(size, 'process', 'processes')}{after}"
        )

    def _updates(self, asked: Callable[[], bool]) -> Iterator[None]:
        """Do one update after the other; `place` is always the next one."""
        passes = self.loader.load(self._plan(self.place.epoch, self.place.batch))
        while self.place.epoch < self.recipe.epochs:
            self._update(islice(passes, self.recipe.passes // self.group.size), asked)
            self.place.batch += 1
            if self.place.batch == self.batches:
                self._finish_epoch()
            yield

    def _plan(self, epoch: int, batch: int) -> Iterator[Pass]:
        """Yield this process's passes of the whole training, from a batch of an epoch on."""
        recipe, group = self.recipe, self.group
        sizes = recipe.batch_size, recipe.images_per_pass, recipe.training_seed
        for number in range(epoch, recipe.epochs):
            first = batch if number == epoch else 0
            yield from epoch_passes(self.train_set, *sizes, number, first, group.rank, group.size)

    def _update(
        self, passes: Iterable[tuple[Pass, Tensor, Tensor]], asked: Callable[[], bool]
    ) -> None:
        """Take one step on the mean gradient of all counted pixels of a batch, none without any."""
        step = self.place.epoch * self.batches + self.place.batch
        total = self.batches * self.recipe.epochs
        factor = learning_rate_factor(step, total, self.recipe.warmup, self.recipe.power)
        set_learning_rate(self.optimizer, self.recipe.learning_rate * factor)
        radius = radius_factor(step, total, self.recipe.eps_ramp)
        self.optimizer.zero_grad()
        if not self.task.model.training:  # it would be said to each module again
            self.task.model.train()
        if self.recipe.passes == 1:
            ((one, images, labels),) = passes
            counts = bool((labels != IGNORE_LABEL).any())
            loss = self._pass(one, images, labels, radius) if counts else None
            self.stopping = asked()
        else:
            loss = self._accumulate(passes, radius, asked)
        if loss is None:
            return
        parameters = chain(*(group["params"] for group in self.optimizer.param_groups))
        gradients = [one.grad for one in parameters if one.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        values = torch.stack((loss.double(), norm.double())).tolist()  # waits for the device
        self.losses.append(self._finite(values[0]))
        self._finite(values[1], "norm of the gradient")
        self.optimizer.step()

    def _accumulate(
        self,
        passes: Iterable[tuple[Pass, Tensor, Tensor]],
        radius: float,
        asked: Callable[[], bool],
    ) -> Tensor | None:
        """Leave the gradient of a batch in the parameters and return its loss, None if none counts.

        Passes weigh as much as they have counted pixels, so that the sum is the gradient of the
        whole batch, BatchNorm apart. # RELEASED CODE: GPUs weigh the same; without ignored pixels
        that is no difference.
        """
        sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        weights = 0.0
        self.statistics.begin()
        for one, images, labels in passes:
            weight = float((labels != IGNORE_LABEL).float().mean())
            if weight:
                sums[0] += weight * self._pass(one, images, labels, radius, weight).double()
                weights += weight
            self.statistics.end_pass()
        sums[1], sums[2] = weights, asked()
        gradients = [_gradient(parameter) for parameter in self.task.model.parameters()]
        self.group.add([*gradients, sums])
        _, weights, stopping = sums.tolist()
        self.stopping = bool(stopping)
        if not weights:
            return None
        self.statistics.finish(self.group)
        for gradient in gradients:
            gradient /= weights
        total: Tensor = sums[0] / weights
        return total

    def _pass(
        self, one: Pass, images: Tensor, labels: Tensor, radius: float, weight: float = 1.0
    ) -> Tensor:
        """Attack a pass as the recipe says, add its gradients times `weight`, return its loss."""
        recipe = self.recipe
        images, labels = images.to(self.device), labels.to(self.device)
        with self._drawing("layers", one):
            images = self._attack_share(one, images, labels, radius, weight)
            with autocast(self.device, recipe.precision):
                loss = self.task.training_loss(images, labels)
            (loss * weight).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    @contextmanager
    def _drawing(self, what: str, one: Pass) -> Iterator[None]:
        """Let random layers draw from the pass's own seed; the global state stays."""
        seed = derive_seed(what, self.recipe.training_seed, one.epoch, one.number)
        devices = [self.device] if self.device.type == "cuda" else []
        # On a CPU alone: torch.manual_seed takes half a millisecond to leave word for each device.
        set_seed = torch.manual_seed if devices else torch.default_generator.manual_seed
        with torch.random.fork_rng(devices=devices):
            set_seed(seed)
            yield

    def _attack_share(
        self, one: Pass, images: Tensor, labels: Tensor, radius: float, weight: float
    ) -> Tensor:
        """Perturb the last images of a pass, as many as the scheme attacks."""
        recipe = self.recipe
        clean = len(images) - recipe.attacked
        if clean == len(images):
            return images
        seed = derive_seed("start", recipe.training_seed, one.epoch, one.number)
        attacked = self._attack(images[clean:], labels[clean:], radius, seed, weight)
        return torch.cat([images[:clean], attacked])

    def _attack(
        self, images: Tensor, labels: Tensor, radius: float, seed: int, weight: float
    ) -> Tensor:
        """Run the training's PGD at a share of its radius."""
        attack = replace(self.recipe.attack, epsilon=self.recipe.attack.epsilon * radius)
        model, precision = self.task.model, self.recipe.precision
        return perturb(model, images, labels, attack, seed=seed, weight=weight, precision=precision)

    def _finite(self, value: float, what: str = "training loss") -> float:
        """Return the loss, or another value, or stop the training."""
        if not math.isfinite(value):
            raise RobustsegError(
                f"the {what} is {value} in epoch {self.place.epoch + 1}, batch "
                f"{self.place.batch + 1}; lower the learning_rate {self.recipe.learning_rate:g} "
                "or lengthen the warm-up"
            )
        return value

    def _finish_epoch(self) -> None:
        """Move on to the next epoch, and note metrics where they are due."""
        epoch = self.place.epoch + 1
        every = math.ceil(TRAINED_PER_SCORED * len(self.val_set) / len(self.train_set))
        self.place = Place(epoch)
        if epoch % every and epoch < self.recipe.epochs:
            return
        waited = self.loader.waited() / max(monotonic() - self.scored, 1e-9)
        if self.group.first:
            row = self._metrics(epoch)
            self.rows.append(row)
            scores = ", ".join(
                f"{name} {row[name]:.3f}"
                for name in ("loss", "accuracy", "robust_accuracy")
                if row[name] is not None
            )
            self.progress.say(
                f"epoch {row['epoch']} of {self.recipe.epochs}: {scores}; "
                f"{waited:.0%} of the time spent waiting for images"
            )
        self.losses, self.scored = [], monotonic()

    def _metrics(self, epoch: int) -> dict[str, Any]:
        """Score the model on the validation split, without and with the training's attack."""
        size, every = self.recipe.images_per_pass, range(len(self.val_set))
        batches = self._val_batches(every)
        clean = self.task.scores(self.val_set, batches, attack=lambda images, labels: images)
        robust = None
        if self.recipe.adversarial_share:
            # Of images without a label there may be many at the beginning, and no figure.
            first = every[self.first_val :][: max(1, ROBUST_VAL_IMAGES // size) * size]
            some = self._val_batches(first)
            robust = self.task.scores(self.val_set, some, self._validation_attack)
        return {
            "epoch": epoch,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "loss": sum(self.losses) / len(self.losses) if self.losses else None,
            "accuracy": clean.accuracy,
            "miou": clean.miou,
            "robust_accuracy": robust and robust.accuracy,
            "robust_miou": robust and robust.miou,
        }

    def _val_batches(self, indices: Sequence[int]) -> list[list[int]]:
        """Cut validation images into batches of no more pixels than a pass of the training has.

        Whole photographs may be many times as large as the views that are trained on, and would not
        fit the memory that these fill.
        """
        batches = batches_of(self.val_set, indices, self.recipe.images_per_pass)
        sizes = getattr(self.val_set, "sizes_px", None)
        view_px, cut = math.prod(self.view_size_px), []
        for batch in batches:
            own_px = math.prod(sizes[batch[0]]) if sizes else view_px
            most = max(1, self.recipe.images_per_pass * view_px // own_px)
            cut += [batch[at : at + most] for at in range(0, len(batch), most)]
        return cut

    def _validation_attack(self, images: Tensor, labels: Tensor) -> Tensor:
        """Run the training's PGD without a trace in the model, in full precision."""
        attack = replace(self.recipe.attack, mode="eval", contaminates=False)
        seed = derive_seed("validation", self.recipe.training_seed)
        return perturb(self.task.model, images, labels, attack, seed=seed)

    def _stop(self) -> None:
        """End an unfinished training that was asked to."""
        raise RobustsegError(
            f"stopped by SIGTERM before batch {self.place.batch + 1} of epoch "
            f"{self.place.epoch + 1}; what is done is kept in {self.checkpoint}: "
            "run the same again to continue"
        )

    def _save(self) -> float:
        """Write the checkpoint and return when the next one is due, on the monotonic clock."""
        started = monotonic()
        if self.group.first:
            self._write_checkpoint()
        now = monotonic()
        least, wanted = self.checkpoint_every_s, (now - started) / SAVING_SHARE
        return now + max(least, min(wanted, RAREST_SAVES * least))

    def _write_checkpoint(self) -> None:
        """Write all that the rest of the training depends on."""
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
        model, end = self.task.model, (self.recipe.epochs, self.batches)
        check_state(self.checkpoint, state, model, self.optimizer, end)
        model.load_state_dict(state["model"])
        # Groups follow from the settings. A clone shares no memory, whatever the file says.
        moments = {
            place: {name: value.clone() for name, value in kept.items()}
            for place, kept in state["optimizer"]["state"].items()
        }
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.place = Place(state["epoch"], state["batch"])
        self.losses, self.rows = state["losses"], state["rows"]

    def _meet(self) -> None:
        """Wait for the other processes, which must have read the same checkpoint.

        Without that, the first one may end a training that was done, and remove its checkpoint,
        before another one looks for it.
        """
        places = torch.zeros(self.group.size, dtype=torch.int64, device=self.device)
        places[self.group.rank] = self.place.epoch * self.batches + self.place.batch
        self.group.add([places])
        if len(set(places.tolist())) > 1:
            raise RobustsegError(
                f"the processes of the training found different states in {self.checkpoint} "
                f"(updates done: {', '.join(map(str, places.tolist()))}); let all of them see the "
                "same file, in a folder that their machines share"
            )


def _gradient(parameter: Tensor) -> Tensor:
    """Return a parameter's gradient, 0 if no pass has left one."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
