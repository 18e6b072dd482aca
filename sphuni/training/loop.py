"""The training loop: the same batches for the same seed, a checkpoint after every epoch."""

import contextlib
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from sphuni.training import ranks
from sphuni.training.build import (
    build_model,
    build_optimizer,
    build_regularizer,
    descend,
    set_rates,
)
from sphuni.training.checkpoint import read_checkpoint, write_checkpoint
from sphuni.training.config import Settings
from sphuni.training.data import Samples, Splits, augment
from sphuni.training.diagnose import DivergedError, find_layer
from sphuni.training.evaluate import check_counts, evaluate
from sphuni.training.layers import measure_layers, measure_objectives, rounded
from sphuni.training.learner import Learner
from sphuni.training.models.adversarial import Adversaries
from sphuni.training.streams import generator, seeded

__all__ = ["Row", "Trainer", "train"]

Row = dict[str, Any]
_START: dict[str, Row] = {}
"""The last measurement of initial weights, by what they depend on."""


def train(
    settings: Settings,
    splits: Splits,
    *,
    seed: int,
    evaluate_on: tuple[str, ...] = ("test",),
    device: str = "cpu",
    checkpoint: Path | None = None,
    on_row: Callable[[list[Row]], None] | None = None,
    network: Callable[[], nn.Module] | None = None,
) -> tuple[nn.Module, list[Row]]:
    """Train one network.

    Parameters
    ----------
    settings : Settings
    splits : Splits
    seed : int
        Of everything: initial weights, batches, augmentation, dropout, regularizer.
    evaluate_on : tuple of {"test", "validation"}
    device : str
    checkpoint : Path, optional
        Written after every epoch; if it exists already, training goes on from there.
    on_row : callable, optional
        Called with all rows so far after each epoch.
    network : callable, optional
        Makes the network, in place of the one that `settings` name.

    Returns
    -------
    network, rows
        The trained network, and the log: one row per epoch (``event`` "epoch", numbers by name)
        and the measurements of layers (``event`` "layers").

    Raises
    ------
    DivergedError
        If the loss is no longer finite.
    """
    trainer = Trainer(
        settings, splits, seed=seed, evaluate_on=evaluate_on, device=device, network=network
    )
    if checkpoint is not None and checkpoint.exists():
        trainer.load_state(read_checkpoint(checkpoint, settings))
        if on_row is not None and ranks.is_first():
            on_row(trainer.rows)  # as no later epoch may end
    saved = time.monotonic()
    while trainer.epoch < settings.training.epochs:
        trainer.run_epoch()
        waited = time.monotonic() - saved >= settings.training.checkpoint_seconds
        if checkpoint is not None and waited and ranks.is_first():
            write_checkpoint(checkpoint, trainer.state(), settings)
            saved = time.monotonic()
        if on_row is not None and ranks.is_first():
            on_row(trainer.rows)
    return trainer.learner.network, trainer.rows


class Trainer:
    """One run: everything that an epoch changes, and how it is saved.

    Attributes
    ----------
    epoch : int
        Epochs that are done.
    rows : list of dict
        The log so far.
    """

    def __init__(
        self,
        settings: Settings,
        splits: Splits,
        *,
        seed: int,
        evaluate_on: tuple[str, ...] = ("test",),
        device: str = "cpu",
        network: Callable[[], nn.Module] | None = None,
    ) -> None:
        self.settings, self.seed, self.device = settings, seed, device
        self.evaluate_on = evaluate_on
        self.splits = _on_device(splits, device)
        self.named = network is None
        model = self._model(network)
        if isinstance(model, Adversaries):
            raise ValueError(
                f"model.name = {settings.model.name!r} generates images; give the experiment "
                "kind = 'gan'"
            )
        self.learner = Learner(
            model, settings.loss, classes=splits.classes, graph=self.splits.graph, seed=seed
        ).to(device)
        if settings.evaluation.recall:
            self.learner.watch_features()
        self.regularizer = build_regularizer(
            model,
            settings.regularizer,
            seed=seed,
            has_classifier=self.learner.angular is None,
        )
        parts = [self.learner.network, *self.learner.loss_modules]
        self.optimizer = build_optimizer(parts, settings.optimizer)
        size = len(splits.train)
        self.batch = min(settings.training.batch_size or size, size)
        self.steps = size // self.batch
        if self.batch < ranks.count():
            raise ValueError(
                f"training.batch_size must be at least the number of processes, {ranks.count()}; "
                f"got batches of {self.batch}"
            )
        for part in evaluate_on:
            if len(getattr(splits, part)):
                check_counts(settings.evaluation.recall, len(getattr(splits, part)))
        self.epoch = 0
        self.rows: list[Row] = []
        self.call = self._callable()
        self.precision = _precision(settings.training.precision, device)
        if settings.evaluation.track != "none":
            self._track(0)

    def run_epoch(self) -> None:
        """Train for one epoch, evaluate, and add to the log."""
        started = time.perf_counter()
        self.epoch += 1
        row: Row = {"event": "epoch", "epoch": self.epoch}
        with seeded(self.seed, self._dropout_stream(), self.epoch):
            row |= self._train_epoch()
        row["seconds"] = round(time.perf_counter() - started, 4)
        evaluation, last = self.settings.evaluation, self.epoch == self.settings.training.epochs
        evaluated = last or self.epoch % evaluation.every == 0
        if evaluated:
            row |= self._evaluate()
        self.rows.append(row)
        if (evaluated and evaluation.track == "epochs") or (last and evaluation.track == "ends"):
            self._track(self.epoch)
        if last and evaluation.parameters:
            self.rows.append(self._parameters())

    def _dropout_stream(self) -> str:
        """Processes drop for samples of their own; of a graph, each sees all nodes."""
        alike = ranks.is_first() or self.splits.graph is not None
        return "dropout" if alike else f"dropout {ranks.number()}"

    def _evaluate(self) -> Row:
        """Numbers on the data that are not trained on."""
        row: Row = {}
        for part in self.evaluate_on:
            samples = cast(Samples, getattr(self.splits, part))
            found = evaluate(self.learner, samples, recall=self.settings.evaluation.recall)
            wrong = torch.tensor(not math.isfinite(found["loss"]), device=self.device)
            if len(samples) and ranks.any_of(wrong):
                step = self.epoch * self.steps - 1
                raise DivergedError(f"the loss on {part} data after it", step, self.epoch)
            row |= {f"{part}.{name}": rounded(value) for name, value in found.items()}
        return row

    def _parameters(self) -> Row:
        """Values of the parameters that are to be logged."""
        patterns = self.settings.evaluation.parameters
        values = {
            name: [rounded(value, 5) for value in parameter.detach().flatten().tolist()]
            for name, parameter in self.learner.network.named_parameters()
            if any(re.search(pattern, name) for pattern in patterns)
        }
        return {"event": "parameters", "epoch": self.epoch, "parameters": values}

    def state(self) -> dict[str, Any]:
        """Return everything that a later process needs to go on."""
        return {
            "epoch": self.epoch,
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "regularizer": None if self.regularizer is None else self.regularizer.state_dict(),
            "rows": self.rows,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.learner.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.regularizer is not None:
            self.regularizer.load_state_dict(state["regularizer"])
        self.epoch, self.rows = state["epoch"], list(state["rows"])

    def _model(self, network: Callable[[], nn.Module] | None) -> nn.Module:
        """The network with the initial weights of this seed."""
        if network is not None:
            with seeded(self.seed, "init"):
                return network()
        shape, classes = self.splits.shape, self.splits.classes
        return build_model(self.settings.model, inputs=shape, classes=classes, seed=self.seed)

    def _train_epoch(self) -> Row:
        """All steps of one epoch; the numbers are means over its batches."""
        self.learner.train()
        samples, size = self.splits.train, self.batch
        order = torch.randperm(len(samples), generator=generator(self.seed, "order", self.epoch))
        order = order.to(self.device)
        randomness = generator(self.seed, "augment", self.epoch)
        losses, penalties, wrong = [], [], []
        for k in range(self.steps):
            batch = samples.take(order[k * size : (k + 1) * size])
            # of the whole batch, so that every process draws the numbers of one that is alone
            varied = augment(batch.inputs, self.settings.data.augment, randomness)
            inputs, targets = ranks.share(varied), ranks.share(batch.targets)
            part = self._part(targets)
            loss, penalty, logits = self._step(k, inputs, targets)
            losses.append(part * loss)
            penalties.append(penalty)
            wrong.append(part * (logits.argmax(dim=1) != targets).float().mean())
        if self.device != "cpu":
            self._check(torch.stack(losses), inputs, targets)
        means = [float(ranks.mean(torch.stack(one).double().mean())) for one in (losses, wrong)]
        row = {"train.loss": rounded(means[0]), "train.error": rounded(100 * means[1])}
        if self.regularizer is not None:
            row["train.penalty"] = rounded(float(torch.stack(penalties).double().mean()))
        return row

    def _part(self, targets: Tensor) -> float:
        """Weight of this process, by its samples, in means over processes; 1 for equal ones."""
        return ranks.count() * len(targets) / self.batch

    def _step(self, k: int, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step of the optimizer; returns loss, penalty and logits before it."""
        step = (self.epoch - 1) * self.steps + k
        share = step / (self.steps * self.settings.training.epochs)
        set_rates(self.optimizer, self.settings.schedule, share)
        with self.precision():
            loss, logits = self.call(inputs, targets)
        penalty = loss.new_zeros(()) if self.regularizer is None else self.regularizer()
        total = self._part(targets) * loss + penalty
        if self.device == "cpu":
            self._stop_unless(torch.isfinite(total.detach()), inputs, targets, step)
        descend(self.optimizer, total, max_norm=self.settings.training.max_norm)
        return loss.detach(), penalty.detach(), logits

    def _check(self, losses: Tensor, inputs: Tensor, targets: Tensor) -> None:
        """On a GPU the loss is read once per epoch, so that steps are not held up."""
        finite = torch.isfinite(losses)
        first = self.steps - 1 if finite.all() else int(finite.long().argmin())
        step = (self.epoch - 1) * self.steps + first
        self._stop_unless(finite.all(), inputs, targets, step, " (at the end of the epoch)")

    def _stop_unless(
        self, finite: Tensor, inputs: Tensor, targets: Tensor, step: int, when: str = ""
    ) -> None:
        """Stop all processes together where one has a loss that is not finite."""
        if ranks.any_of(~finite):
            own = "" if finite else find_layer(self.learner, self.regularizer, inputs, targets)
            raise DivergedError(f"{ranks.first_of(own)}{when}", step, self.epoch)

    def _track(self, epoch: int) -> None:
        """Measure all layers; the start is the same for all arms of a seed, so it is kept."""
        settings = self.settings
        shapes = [(n, tuple(value.shape)) for n, value in self.learner.network.state_dict().items()]
        of_data = (self.splits.shape, self.splits.classes, self.seed, self.device)
        key = repr((settings.model, settings.loss.name, *of_data, shapes))
        measured = _START.get(key) if epoch == 0 and self.named else None
        if measured is None:
            network, whole = self.learner.network, self.learner.angular is None
            measured = {
                "layers": measure_layers(network),
                "objectives": measure_objectives(network, has_classifier=whole),
            }
        if epoch == 0 and self.named:
            _START.clear()
            _START[key] = measured
        self.rows.append({"event": "layers", "epoch": epoch, **measured})

    def _callable(self) -> Callable[..., tuple[Tensor, Tensor]]:
        """The learner as it is called: compiled, or spread over ranks, if that is asked for."""
        training = self.settings.training
        wanted = training.channels_last_cpu if self.device == "cpu" else training.channels_last
        if wanted and len(self.splits.shape) == 3:
            cast(Any, self.learner).to(memory_format=torch.channels_last)
        if training.compile:
            self.learner.network.compile()
        return cast("Callable[..., tuple[Tensor, Tensor]]", ranks.spread(self.learner, self.device))


def _precision(name: str, device: str) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    kind = torch.device(device).type
    if name == "bfloat16" or (name == "auto" and kind == "cuda"):
        return lambda: torch.autocast(kind, torch.bfloat16)
    return contextlib.nullcontext


def _on_device(splits: Splits, device: str) -> Splits:
    if device == "cpu":
        return splits
    return Splits(
        splits.train.to(device),
        splits.validation.to(device),
        splits.test.to(device),
        splits.classes,
        splits.shape,
        None if splits.graph is None else splits.graph.to(device),
    )
