"""Train the same small CNN on handwritten digits with and without half-space MHE.

    python examples/train_digits.py [--out examples/checkpoints] [--epochs 40]

Both networks start from the same weights and see the same batches. The regularizer is the mean
half-space Riesz energy (s = 2) of every hidden layer's neurons, the coefficients are those of the
paper (1 for hidden layers, 10 for the classifier, which stays full-space). Takes about a minute.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save
from sklearn.datasets import load_digits
from torch import Tensor, nn

import sphuni
from sphuni._files import write_bytes

BATCH, LEARNING_RATE, WEIGHT_DECAY, SEED = 100, 0.05, 5e-4, 0


def build() -> nn.Sequential:
    """Three convolutions and two dense layers; the first layer has more neurons than dimensions."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 128), nn.ReLU(),
        nn.Linear(128, 10),
    )  # fmt: skip


def half_space_energy(model: nn.Sequential) -> Tensor:
    """MHE of all layers: neurons are taken as lines, but for the classifier's."""
    *hidden, classifier = [layer for layer in model if isinstance(layer, nn.Conv2d | nn.Linear)]
    total = 10.0 * energy(classifier, antipodal=False)
    for layer in hidden:
        total = total + energy(layer, antipodal=True)
    return total


def energy(layer: nn.Conv2d | nn.Linear, *, antipodal: bool) -> Tensor:
    """Mean Riesz energy of one layer's neurons as points on the sphere."""
    points = sphuni.normalize(layer.weight.flatten(1))
    return sphuni.riesz_energy(points, s=2, antipodal=antipodal)


def train(data: dict[str, Tensor], *, regularize: bool, epochs: int) -> tuple[nn.Module, float]:
    """Train one network; return it with its test accuracy."""
    torch.manual_seed(SEED)
    model = build()
    optimizer = torch.optim.SGD(
        model.parameters(), LEARNING_RATE, momentum=0.9, weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    order = torch.Generator().manual_seed(SEED)
    for _ in range(epochs):
        for index in torch.randperm(len(data["x"]), generator=order).split(BATCH):
            loss = nn.functional.cross_entropy(model(data["x"][index]), data["y"][index])
            if regularize:
                loss = loss + half_space_energy(model)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    with torch.no_grad():
        right = model(data["test_x"]).argmax(1) == data["test_y"]
    return model, float(right.float().mean())


def main() -> None:
    """Train both networks and write their checkpoints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "checkpoints")
    parser.add_argument("--epochs", type=int, default=40)
    arguments = parser.parse_args()
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target)
    data = {
        "x": images[:1000],
        "y": labels[:1000],
        "test_x": images[1000:],
        "test_y": labels[1000:],
    }
    for name, regularize in (("digits_plain", False), ("digits_hs_mhe", True)):
        model, accuracy = train(data, regularize=regularize, epochs=arguments.epochs)
        path = arguments.out / f"{name}.safetensors"
        write_bytes(path, save(model.state_dict(), {"accuracy": f"{accuracy:.4f}"}))
        print(f"{path}: test accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
