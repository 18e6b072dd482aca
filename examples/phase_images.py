"""Draw digits as they are, by their phases only, and by their magnitudes only.

Run: python examples/phase_images.py [FILE]
"""

import sys

import matplotlib
import torch
from sklearn.datasets import load_digits

from sphuni.training.data import TRANSFORMS

matplotlib.use("Agg")
from matplotlib import pyplot


def main(path: str) -> None:
    """Save a picture with one column per digit."""
    digits = load_digits()
    first = [int((digits.target == number).argmax()) for number in range(10)]
    images = torch.tensor(digits.images[first], dtype=torch.float32)[:, None]
    rows = {"image": images, **{f"{k} only": change(images) for k, change in TRANSFORMS.items()}}
    figure, axes = pyplot.subplots(3, 10, figsize=(9, 3), layout="constrained")
    for (name, pictures), line in zip(rows.items(), axes, strict=True):
        for picture, axis in zip(pictures, line, strict=True):
            axis.imshow(picture[0], cmap="gray_r")
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "phase.png")
