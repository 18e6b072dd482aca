"""Cost of every regularizer against one training step of ResNet-18, in one run.

The network is the ResNet-18 for 32 x 32 images (3 x 3 stem without pooling, widths 64 to 512,
0.56 billion multiplications per image), batch 128, SGD with momentum, float32. A round is one
training step and one call of every regularizer with its backward pass (of add_gradients where it
says decoupled), which adds to the gradients of the step; every method of a round is divided by the
step of the same round, and the table gives the median of these ratios over the rounds. Times are
processor seconds of one thread, so that other work on the machine counts for less.

Run: python -m benchmarks training_cost
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import sphuni.nn as snn
from benchmarks.measure import peak_memory

__all__ = ["resnet18", "run"]

ROUNDS = 7
BATCH = 128
ASKED = {
    "mhe": 4.5,
    "hs-mhe": 6.0,
    "rp-comhe, k=30, C=1": 1.0,
    "rp-comhe, k=30, C=1, decoupled": 1.0,
    "hs-mhe, rows=128": 1.0,
    "hs-mhe, rows=128, decoupled": 1.0,
    "hs-mhe, every=10": 0.5,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "mhe": ("mhe", {}),
    "hs-mhe": ("hs-mhe", {}),
    "rp-comhe, k=30, C=1": ("rp-comhe", {"k": 30, "C": 1}),
    "rp-comhe, k=30, C=1, decoupled": ("rp-comhe", {"k": 30, "C": 1, "mode": "decoupled"}),
    "rp-comhe, k=30, C=20": ("rp-comhe", {"k": 30, "C": 20}),
    "hs-mhe, rows=128": ("hs-mhe", {"rows": 128}),
    "hs-mhe, rows=128, decoupled": ("hs-mhe", {"rows": 128, "mode": "decoupled"}),
    "hs-mhe, every=10": ("hs-mhe", {"every": 10}),
    "hs-mhs": ("hs-mhs", {}),
    "hs-mgd": ("hs-mgd", {}),
    "so": ("so", {}),
}


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + self.shortcut(x)).relu()


def resnet18(classes: int = 10) -> nn.Sequential:
    """ResNet-18 for 32 x 32 images."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 3, 1, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
    ]
    channels_in = 64
    for channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(channels_in, channels, stride), Block(channels, channels, 1)]
        channels_in = channels
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes)]
    return nn.Sequential(*layers, *pool)


def run() -> list[dict[str, Any]]:
    """Return one row per method, and one on memory at n = 16,384."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = resnet18()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    x, y = torch.randn(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    regularizers = {
        name: snn.regularize(model, method, **options) for name, (method, options) in CASES.items()
    }
    ratios: dict[str, list[float]] = {name: [] for name in CASES}
    steps: list[float] = []
    for round_ in range(ROUNDS + 1):
        steps.append(_seconds(step))
        for name, reg in regularizers.items():
            calls = reg.every
            cost = sum(_seconds(lambda reg=reg: _penalise(reg)) for _ in range(calls)) / calls
            ratios[name].append(100 * cost / steps[-1])
        if round_ == 0:  # the first round warms up
            steps.clear()
            for values in ratios.values():
                values.clear()
    rows = [
        {
            "case": name,
            "percent_of_step": statistics.median(values),
            "least": min(values),
            "most": max(values),
            "asked_percent": ASKED.get(name, ""),
            "step_seconds": statistics.median(steps),
            "rounds": ROUNDS,
            "threads": torch.get_num_threads(),
        }
        for name, values in ratios.items()
    ]
    return [*rows, _memory()]


def _penalise(reg: snn.Regularizer) -> None:
    if reg.mode == "decoupled":
        reg.add_gradients()
        return
    value = reg()
    if value.requires_grad:
        value.backward()


def _seconds(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _memory() -> dict[str, Any]:
    """Peak memory of hs-mhe and its gradient for 16,384 rows; their n x n matrix takes 1 GiB."""
    weight = torch.randn(16_384, 64, requires_grad=True)
    work = lambda: snn.mhe(weight, half_space=True).backward()  # noqa: E731
    work()
    weight.grad = None
    return {"case": "hs-mhe, n=16384, d=64", "peak_mib": peak_memory(work) / 2**20}
