"""What the training harness costs over a loop written by hand, on the same network and data.

Both train CNN-9 at quarter width on random images of 16 x 16, evaluate on 1,000 images after every
epoch and take the same batches; the harness also writes a checkpoint and a line of its log per
epoch. Rounds alternate; a cost is that of the summed processor times of one thread, which other
work on the machine hardly changes. "batches alone" is the share of drawing, cropping and flipping
all batches, "harness with analysis" adds the measurement of all layers before and after training.

Run: python -m benchmarks training
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from sphuni.training import models
from sphuni.training.config import (
    EvaluationConfig,
    ModelConfig,
    OptimizerConfig,
    Settings,
    TrainingConfig,
)
from sphuni.training.data import Samples, Splits, augment
from sphuni.training.loop import train

__all__ = ["run"]

ROUNDS = 5
ASKED = {"harness": 5.0}
EPOCHS, BATCH, TRAIN, TEST, SIZE = 2, 100, 2000, 1000, 16
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.02, 0.9, 5e-4
NAME, WIDTH = "cnn-9-mhe", 0.25


def by_hand(splits: Splits) -> None:
    """Train as everyone would write it."""
    torch.manual_seed(0)
    model = models.build(NAME, inputs=splits.shape, classes=10, width=WIDTH)
    optimizer = torch.optim.SGD(
        model.parameters(), LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    for _ in range(EPOCHS):
        model.train()
        total = 0.0
        for index in torch.randperm(TRAIN).split(BATCH):
            inputs, targets = splits.train.inputs[index], splits.train.targets[index]
            loss = nn.functional.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            scores = model(splits.test.inputs)
            nn.functional.cross_entropy(scores, splits.test.targets).item()
            (scores.argmax(1) == splits.test.targets).float().mean().item()


def by_harness(splits: Splits, track: Literal["none", "ends"] = "none") -> None:
    """Train with the harness, a checkpoint after every epoch."""
    settings = Settings(
        model=ModelConfig(name=NAME, width=WIDTH),
        optimizer=OptimizerConfig(lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY),
        training=TrainingConfig(epochs=EPOCHS, batch_size=BATCH),
        evaluation=EvaluationConfig(track=track),
    )
    with tempfile.TemporaryDirectory() as folder:
        train(settings, splits, seed=0, checkpoint=Path(folder) / "checkpoint.pt")


def batches_only(splits: Splits) -> None:
    """Draw, crop and flip all batches of a run, and train nothing."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(EPOCHS):
        for index in torch.randperm(TRAIN, generator=generator).split(BATCH):
            augment(splits.train.take(index).inputs, ("crop", "flip"), generator)


def run() -> list[dict[str, Any]]:
    """Time all of them in turn; costs are in per cent over the loop by hand."""
    torch.set_num_threads(1)
    splits = _data()
    kinds: dict[str, Callable[[Splits], None]] = {
        "by hand": by_hand,
        "harness": by_harness,
        "batches alone": batches_only,
        "harness with analysis": lambda splits: by_harness(splits, "ends"),
    }
    spent = dict.fromkeys(kinds, 0.0)
    for turn in range(ROUNDS + 1):
        for name, function in kinds.items():
            started = time.process_time()
            function(splits)
            if turn:
                spent[name] += time.process_time() - started
    return [_row(name, spent[name] / ROUNDS, spent["by hand"] / ROUNDS) for name in kinds]


def _row(name: str, seconds: float, by_hand: float) -> dict[str, Any]:
    whole = name.startswith("harness")
    cost = 100 * (seconds / by_hand - whole) if name != "by hand" else 0.0
    return {
        "case": name,
        "seconds": round(seconds, 4),
        "cost_percent": round(cost, 2),
        "asked_percent": ASKED.get(name),
        "speed_ratio": round(by_hand / seconds, 3) if whole else None,
    }


def _data() -> Splits:
    generator = torch.Generator().manual_seed(0)

    def samples(size: int) -> Samples:
        inputs = torch.randn(size, 3, SIZE, SIZE, generator=generator)
        return Samples(inputs, torch.randint(10, (size,), generator=generator))

    return Splits(samples(TRAIN), samples(0), samples(TEST), 10, (3, SIZE, SIZE))
