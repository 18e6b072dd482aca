"""Generative adversarial networks with a regularized discriminator.

The loss is the non-saturating one, log(1 + exp(.)). The score is that of Salimans et al., exp of
the mean divergence of class probabilities from their mean, but by a small classifier trained on
the same images (`judge`), not by an Inception network: compare it within one experiment only.
"""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from sphuni.training import data, ranks
from sphuni.training.build import (
    build_model,
    build_optimizer,
    build_regularizer,
    descend,
    set_rates,
)
from sphuni.training.checkpoint import read_checkpoint, write_checkpoint
from sphuni.training.config import DataConfig, ModelConfig, Settings, Transform
from sphuni.training.data import Splits
from sphuni.training.diagnose import DivergedError
from sphuni.training.layers import measure_objectives
from sphuni.training.models import build
from sphuni.training.models.adversarial import Adversaries
from sphuni.training.runner import CHECKPOINT, Task
from sphuni.training.streams import seeded

__all__ = ["judge", "run", "score"]

_SAMPLES = 2000
_JUDGE_EPOCHS = 4
_JUDGE_BATCH = 64
Row = dict[str, Any]


def run(task: Task, *, report: Callable[[list[Row]], None]) -> list[Row]:
    """Train one pair of networks; rows have both losses, at the end score and energy.

    Raises
    ------
    ValueError
        If the settings ask for what is done for classifiers only.
    """
    _refuse_unused(task.settings)
    splits = _splits(task.settings.data, task.data, task.seed)
    game = _Game(task.settings, splits, task.seed, task.device)
    checkpoint = task.folder / CHECKPOINT
    if checkpoint.exists():
        game.load_state(read_checkpoint(checkpoint, task.settings))
        report(game.rows)
    saved = time.monotonic()
    while game.epoch < task.settings.training.epochs:
        game.run_epoch()
        waited = time.monotonic() - saved >= task.settings.training.checkpoint_seconds
        if waited and ranks.is_first():
            write_checkpoint(checkpoint, game.state(), task.settings)
            saved = time.monotonic()
        report(game.rows)
    network = judge(task.settings.data, task.data)
    game.rows[-1] |= game.results(network)
    return game.rows


def score(probabilities: Tensor) -> float:
    """Return exp of the mean Kullback-Leibler divergence from the mean, between 1 and classes.

    Examples
    --------
    >>> import torch
    >>> round(score(torch.eye(4)), 6), round(score(torch.full((3, 4), 0.25)), 6)
    (4.0, 1.0)
    """
    p = probabilities.double().clamp_min(1e-12)
    mean = p.mean(dim=0, keepdim=True)
    return float((p * (p.log() - mean.log())).sum(dim=1).mean().exp())


@functools.lru_cache(maxsize=2)
def _judge(
    name: str,
    train: int,
    pool: int,
    transform: Transform,
    folder: Path | None,
    of: tuple[str | int, ...],
) -> nn.Module:
    config = DataConfig(name=name, train=train, pool=pool, transform=transform)
    splits = _splits(config, folder, 0)
    with seeded(0, "judge"):
        network = build("cnn-3", inputs=splits.shape, classes=splits.classes, width=0.25)
        optimizer = torch.optim.Adam(network.parameters(), 2e-3)
        for _ in range(_JUDGE_EPOCHS):
            for index in torch.randperm(len(splits.train)).split(_JUDGE_BATCH):
                batch = splits.train.take(index)
                optimizer.zero_grad()
                functional.cross_entropy(network(batch.inputs), batch.targets).backward()
                optimizer.step()
    return network.eval()


def judge(config: DataConfig, folder: Path | None = None) -> nn.Module:
    """Return the classifier that scores images, trained on the same data; kept for later calls."""
    of = data.stamp(config.name, folder)
    return _judge(config.name, config.train, config.pool, config.transform, folder, of)


class _Game:
    """Both networks, their optimizers and the log."""

    def __init__(self, settings: Settings, splits: Splits, seed: int, device: str = "cpu") -> None:
        self.settings, self.seed, self.device = settings, seed, device
        self.images = splits.train.inputs.to(device)
        model: ModelConfig = settings.model
        networks = build_model(model, inputs=splits.shape, classes=splits.classes, seed=seed)
        if not isinstance(networks, Adversaries):
            raise ValueError(
                "kind 'gan' needs a network that generates and judges, 'dcgan' or 'sn-dcgan'; "
                f"got model.name = {model.name!r}"
            )
        self.networks = networks.to(device)
        count = len(self.images)
        self.size = min(settings.training.batch_size or count, count)
        self.steps = count // self.size
        parts = (self.networks.generator, self.networks.discriminator)
        self.optimizers = [build_optimizer([part], settings.optimizer) for part in parts]
        self.regularizer = build_regularizer(
            self.networks.discriminator, settings.regularizer, seed=seed, has_classifier=False
        )
        self.epoch, self.rows = 0, list[Row]()

    def run_epoch(self) -> None:
        """Take one step of both networks per batch."""
        self.epoch += 1
        losses = []
        with seeded(self.seed, "gan", self.epoch):
            batches = torch.randperm(len(self.images)).to(self.device).split(self.size)
            for k, index in enumerate(batches[: self.steps]):
                losses.append(self._step(k, self.images[index]))
        real, fake = torch.tensor(losses).mean(dim=0).tolist()
        self.rows.append(
            {
                "event": "epoch",
                "epoch": self.epoch,
                "discriminator.loss": real,
                "generator.loss": fake,
            }
        )

    def results(self, network: nn.Module) -> Row:
        """Score generated images and measure the discriminator."""
        self.networks.eval()
        with torch.no_grad(), seeded(self.seed, "score"):
            images = self.networks(self._noise(_SAMPLES))
            probabilities = functional.softmax(network(images.cpu()), dim=1)
        found = measure_objectives(self.networks.discriminator)
        objectives = {f"objective.{k}": v for k, v in found.items() if v is not None}
        return {"test.score": score(probabilities), **objectives}

    def state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "rows": self.rows,
            "networks": self.networks.state_dict(),
            "optimizers": [one.state_dict() for one in self.optimizers],
            "regularizer": None if self.regularizer is None else self.regularizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.epoch, self.rows = state["epoch"], list(state["rows"])
        self.networks.load_state_dict(state["networks"])
        for one, saved in zip(self.optimizers, state["optimizers"], strict=True):
            one.load_state_dict(saved)
        if self.regularizer is not None:
            self.regularizer.load_state_dict(state["regularizer"])

    def _step(self, k: int, images: Tensor) -> tuple[float, float]:
        """One step of both; returns their losses before it."""
        settings, step = self.settings, (self.epoch - 1) * self.steps + k
        for optimizer in self.optimizers:
            share = step / (self.steps * settings.training.epochs)
            set_rates(optimizer, settings.schedule, share)
        generator, discriminator = self.networks.generator, self.networks.discriminator
        fakes = generator(self._noise(len(images)))
        judged, faked = discriminator(images), discriminator(fakes.detach())
        loss = functional.softplus(-judged).mean() + functional.softplus(faked).mean()
        penalty = loss.new_zeros(()) if self.regularizer is None else self.regularizer()
        self._descend(1, loss + penalty, step)
        fooled = functional.softplus(-discriminator(fakes)).mean()
        self._descend(0, fooled, step)
        return loss.item(), fooled.item()

    def _noise(self, count: int) -> Tensor:
        """What images are made from, the same numbers on every device."""
        return torch.randn(count, self.networks.latent).to(self.device)

    def _descend(self, which: int, loss: Tensor, step: int) -> None:
        if not bool(torch.isfinite(loss)):
            name = ("generator", "discriminator")[which]
            raise DivergedError(f"the loss of the {name}", step, self.epoch)
        descend(self.optimizers[which], loss, max_norm=self.settings.training.max_norm)


_UNUSED = {
    "data": ("augment",),
    "loss": ("name", "label_smoothing", "center", "contrastive", "triplet", "options"),
    "training": ("precision", "compile"),
    "evaluation": ("recall", "parameters"),
}
"""Keys that classifiers alone follow, by section."""


def _refuse_unused(settings: Settings) -> None:
    usual = Settings()
    for section, keys in _UNUSED.items():
        for key in keys:
            value, default = (getattr(getattr(one, section), key) for one in (settings, usual))
            if value != default:
                raise ValueError(
                    f"kind 'gan' does not follow {section}.{key}; got {value!r}. Leave it out"
                )


def _splits(config: DataConfig, folder: Path | None, seed: int) -> Splits:
    """Images in [-1, 1] on a grid whose sides are multiples of eight."""
    splits = data.draw(data.load(config.name, folder), config, seed=seed)
    inputs = splits.train.inputs
    low, high = inputs.amin(), inputs.amax()
    inputs = 2 * (inputs - low) / (high - low) - 1
    pad = [-side % 8 for side in inputs.shape[-1:-3:-1]]
    edges = [part for side in pad for part in (side // 2, side - side // 2)]
    inputs = functional.pad(inputs, edges, value=-1.0)
    train = type(splits.train)(inputs, splits.train.targets)
    shape = tuple(inputs.shape[1:])
    return Splits(train, splits.validation, splits.test, splits.classes, shape)
