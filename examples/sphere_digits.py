"""Train a small CNN and its SphereNet conversion on the digits, with paired seeds.

Run: python examples/sphere_digits.py [SEEDS]
"""

import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import sphuni.nn as snn

EPOCHS, TRAIN = 6, 600


def network(batch_norm: bool) -> nn.Sequential:
    """Build the plain network."""
    blocks: list[nn.Module] = []
    for channels_in, channels in ((1, 16), (16, 32)):
        blocks.append(nn.Conv2d(channels_in, channels, 3, padding=1, bias=False))
        blocks += [nn.BatchNorm2d(channels)] if batch_norm else []
        blocks += [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(128, 10))


def errors(seed: int, *, sphere: bool, batch_norm: bool, batch: int) -> list[float]:
    """Return the test error in percent after every epoch."""
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(seed))
    x = torch.tensor(digits.images, dtype=torch.float32)[order, None] / 8 - 1
    y = torch.tensor(digits.target)[order]
    torch.manual_seed(seed)
    model = network(batch_norm)
    if sphere:
        snn.convert_to_sphere(model, kind="sigmoid", k=0.3)
    optimizer = torch.optim.Adam(snn.no_decay_groups(model, 5e-4), lr=1e-3)
    shuffle, curve = torch.Generator().manual_seed(seed), []
    for _ in range(EPOCHS):
        for rows in torch.randperm(TRAIN, generator=shuffle).split(batch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            wrong = model(x[TRAIN:]).argmax(1) != y[TRAIN:]
        model.train()
        curve.append(100 * wrong.double().mean().item())
    return curve


def main(seeds: int) -> None:
    """Print mean errors and the paired difference with its standard error."""
    print("batch norm  batch  epoch   plain  sphere   sphere - plain")
    for batch_norm in (False, True):
        for batch in (8, 128):
            runs = [
                [
                    errors(seed, sphere=sphere, batch_norm=batch_norm, batch=batch)
                    for sphere in (False, True)
                ]
                for seed in range(seeds)
            ]
            for epoch in (0, EPOCHS - 1):
                plain, sphere = np.array(runs)[:, :, epoch].T
                gap = sphere - plain
                spread = gap.std(ddof=1) / seeds**0.5 if seeds > 1 else float("nan")
                print(
                    f"{batch_norm!s:>10} {batch:6d} {epoch + 1:6d} {plain.mean():7.2f} "
                    f"{sphere.mean():7.2f} {gap.mean():9.2f} +- {spread:.2f}"
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
