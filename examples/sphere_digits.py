"""Train a small CNN and its SphereNet conversion on the digits, with paired seeds.

Both networks of a pair start from the same weights and see the same images in the same order; the
table gives test errors and the mean paired difference with its 95 % interval (Student's t).

Run: python examples/sphere_digits.py [--seeds 5] [--epochs 30] [--picture curves.png]
"""

import argparse
import itertools

import numpy as np
import torch
from scipy.stats import t as student
from sklearn.datasets import load_digits
from torch import nn

import sphuni.nn as snn

TRAIN = 600
BATCHES = (8, 128)


def network(batch_norm: bool) -> nn.Sequential:
    """Build the plain network."""
    blocks: list[nn.Module] = []
    for channels_in, channels in ((1, 16), (16, 32)):
        blocks.append(nn.Conv2d(channels_in, channels, 3, padding=1, bias=False))
        blocks += [nn.BatchNorm2d(channels)] if batch_norm else []
        blocks += [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(128, 10))


def errors(seed: int, *, sphere: bool, batch_norm: bool, batch: int, epochs: int) -> list[float]:
    """Return the test error in percent after every epoch."""
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(seed))
    x = torch.tensor(digits.images, dtype=torch.float32)[order, None] / 8 - 1
    y = torch.tensor(digits.target)[order]
    torch.manual_seed(seed)
    model = network(batch_norm)
    if sphere:
        model = snn.convert_to_sphere(model, kind="sigmoid", k=0.3)
    optimizer = torch.optim.Adam(snn.no_decay_groups(model, 5e-4), lr=1e-3)
    shuffle, curve = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
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


def interval(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over axis 0 and half the width of its 95 % interval."""
    count = len(differences)
    if count < 2:
        return differences.mean(0), np.full(differences.shape[1:], np.nan)
    spread = differences.std(0, ddof=1) / count**0.5
    return differences.mean(0), student.ppf(0.975, count - 1) * spread


def draw(runs: dict[tuple[bool, int], np.ndarray], path: str) -> None:
    """Draw mean test error against epoch, with 95 % bands, one panel per setting."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    figure, axes = pyplot.subplots(
        2, 2, figsize=(8, 6), sharex=True, sharey=True, layout="constrained"
    )
    for ((batch_norm, batch), curves), axis in zip(runs.items(), axes.flat, strict=True):
        epoch = np.arange(1, curves.shape[2] + 1)
        for column, name in enumerate(("plain", "sphere")):
            mean, half = interval(curves[:, column])
            (line,) = axis.plot(epoch, mean, label=name)
            axis.fill_between(epoch, mean - half, mean + half, alpha=0.2, color=line.get_color())
        gap, half = interval(curves[:, 1, -1] - curves[:, 0, -1])
        title = f"{'with' if batch_norm else 'without'} batch norm, batch {batch}"
        axis.set_title(f"{title}\nlast epoch: sphere - plain = {gap:.2f} ± {half:.2f}", fontsize=9)
        axis.set(yscale="log", xlabel="epoch", ylabel="test error, %")
        axis.yaxis.set(
            major_locator=FixedLocator([1, 2, 5, 10, 20, 50, 100]),
            minor_locator=NullLocator(),
            major_formatter=ScalarFormatter(),
        )
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train all pairs, print the table and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--picture")
    options = parser.parse_args()
    shown = sorted({1, min(5, options.epochs), options.epochs})
    runs = {}
    print("batch norm  batch  epoch   plain  sphere   sphere - plain (95 %)")
    for batch_norm, batch in itertools.product((False, True), BATCHES):
        setting = {"batch_norm": batch_norm, "batch": batch, "epochs": options.epochs}
        curves = np.array(
            [
                [errors(seed, sphere=sphere, **setting) for sphere in (False, True)]
                for seed in range(options.seeds)
            ]
        )
        runs[batch_norm, batch] = curves
        for epoch in shown:
            plain, sphere = curves[:, :, epoch - 1].T
            gap, half = interval(sphere - plain)
            print(
                f"{batch_norm!s:>10} {batch:6d} {epoch:6d} {plain.mean():7.2f} "
                f"{sphere.mean():7.2f} {gap:9.2f} +- {half:.2f}",
                flush=True,
            )
    if options.picture:
        draw(runs, options.picture)


if __name__ == "__main__":
    main()
