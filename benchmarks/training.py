"""What the training harness costs over a loop written by hand, on the same network and data.

    python -m benchmarks.training [--rounds 5] [--out benchmarks/results/training.csv]

Both train CNN-9 at quarter width on random images of 16 x 16, evaluate on 1,000 images after every
epoch and take the same batches; the harness also writes a checkpoint and a line of its log per
epoch. Rounds alternate; the ratio is that of the summed processor times, which other work on the
machine hardly changes. "batches alone" is the share of drawing, cropping and flipping all batches,
"with analysis" adds the measurement of all layers before and after training.
"""

import argparse
import csv
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

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


def by_harness(splits: Splits, track: str = "none") -> None:
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


def measure(rounds: int) -> list[dict[str, float | str]]:
    """Time all of them in turn."""
    splits = _data()
    kinds: dict[str, Callable[[Splits], None]] = {
        "by hand": by_hand,
        "harness": by_harness,
        "batches alone": batches_only,
        "harness with analysis": lambda splits: by_harness(splits, "ends"),
    }
    spent = dict.fromkeys(kinds, 0.0)
    for turn in range(rounds + 1):
        for name, function in kinds.items():
            started = time.process_time()
            function(splits)
            if turn:
                spent[name] += time.process_time() - started
    base = spent["by hand"]
    return [
        {"loop": name, "seconds": round(value / rounds, 4), "ratio": round(value / base, 4)}
        for name, value in spent.items()
    ]


def _data() -> Splits:
    generator = torch.Generator().manual_seed(0)
    parts = [
        Samples(
            torch.randn(size, 3, SIZE, SIZE, generator=generator),
            torch.randint(10, (size,), generator=generator),
        )
        for size in (TRAIN, 0, TEST)
    ]
    return Splits(*parts, 10, (3, SIZE, SIZE))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(arguments.rounds)
    for row in rows:
        print(f"{row['loop']:<24}{row['seconds']:>9} s  x {row['ratio']}")
    if arguments.out:
        with arguments.out.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
