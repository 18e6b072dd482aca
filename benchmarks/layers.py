"""All layers of ResNet-18 at once: hyperspherical energy and its gradient in every weight."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import sphuni.nn as snn
from benchmarks.entry import Answer, Entry, Peer, rows_of
from benchmarks.training_cost import resnet18

__all__ = ["ENTRIES", "run"]


def run(only: str = "") -> Iterator[dict[str, Any]]:
    """One row per method."""
    return rows_of(__name__, ENTRIES, only)


def network() -> nn.Module:
    """The same network whoever asks."""
    torch.manual_seed(0)
    return resnet18()


def ours(model: nn.Module) -> Answer:
    """The regularizer of the package, which visits layers of one shape together."""
    return _answer(model, lambda: snn.regularize(model, "mhe", weight=1.0, output_weight=1.0)())


def naive(model: nn.Module) -> Answer:
    """Layer after layer: normalise, torch.cdist, mean of r^-2, autograd."""

    def energy() -> Tensor:
        return sum(_mean_energy(weight.flatten(1)) for weight in _hidden(model))

    return _answer(model, energy)


def gram(model: nn.Module) -> Answer:
    """Layer after layer from the Gram matrix, as the papers' code does."""

    def energy() -> Tensor:
        return sum(_gram_energy(weight.flatten(1)) for weight in _hidden(model))

    return _answer(model, energy)


def exact(model: nn.Module) -> Answer:
    """Layer after layer from float64 distances."""
    return naive(network().double())


def _mean_energy(rows: Tensor) -> Tensor:
    unit = nn.functional.normalize(rows, dim=1)
    distances = torch.pdist(unit) if rows.dtype == torch.float64 else _distances(unit)
    return distances.pow(-2).mean()


def _distances(unit: Tensor) -> Tensor:
    upper = torch.triu_indices(len(unit), len(unit), 1)
    return torch.cdist(unit, unit)[upper[0], upper[1]]


def _gram_energy(rows: Tensor) -> Tensor:
    unit = nn.functional.normalize(rows, dim=1)
    n = len(unit)
    squared = (2 - 2 * unit @ unit.T).clamp_min(1e-6) + torch.eye(n, dtype=unit.dtype)
    inverse = (1 / squared).masked_fill(torch.eye(n, dtype=torch.bool), 0.0)
    return inverse.sum() / (n * (n - 1))


def _hidden(model: nn.Module) -> list[Tensor]:
    return [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def _answer(model: nn.Module, energy: Any) -> Answer:
    for weight in model.parameters():
        weight.grad = None
    value = energy()
    value.backward()
    gradients = [weight.grad.flatten() for weight in _hidden(model)]
    return {
        "value": float(value.detach()),
        "gradient": torch.cat(gradients).double().numpy().astype(np.float64),
    }


ENTRIES = (
    Entry(
        name="mhe of ResNet-18, all layers, float32",
        setup=network,
        run=ours,
        reference=exact,
        peers={
            "torch.cdist, layer by layer": Peer(naive),
            "Gram matrix, layer by layer": Peer(gram),
        },
        tolerance={"value": 1e-5, "gradient": 1e-3},
        repeats=5,
    ),
)
