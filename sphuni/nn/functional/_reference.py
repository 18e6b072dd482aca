"""What the authors' TensorFlow code computes, on the n x n matrix of cosines.

Squared distances are kept some units of rounding inside [0, 4], without which the code returns NaN
for weights of large norm; nothing else is changed.
"""

import torch
from torch import Tensor

from sphuni._typing import Metric

__all__ = ["energy", "separation", "softened", "squared_distances"]

_NORM_EPS = 1e-4
_UNITS = 8


def softened(weight: Tensor) -> Tensor:
    """Rows divided by sqrt(|w|^2 + 1e-4)."""
    return weight / (weight.square().sum(-1, keepdim=True) + _NORM_EPS).sqrt()


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """2 - 2 c for every pair of rows."""
    least = _UNITS * torch.finfo(x.dtype).eps
    return (2 - 2 * x @ y.mT).clamp(least, 4 - least)


def energy(weight: Tensor, *, s: float, metric: Metric, half_space: bool) -> Tensor:
    """Mean energy over the pairs i < j of the n rows, or of the 2n rows {w, -w}."""
    if s not in (0, 1, 2):
        raise ValueError(f"s must be 0, 1 or 2 with preset='reference'; got {s}")
    rows = softened(weight)
    n = rows.shape[-2]
    near = _kernel(squared_distances(rows, rows), s, metric)
    total = near.triu(1).sum(dim=(-2, -1))
    if not half_space:
        return total / max(1, n * (n - 1) // 2)
    far = _kernel(squared_distances(rows, -rows), s, metric)
    total = 2 * (total + far.triu(1).sum(dim=(-2, -1))) + far.diagonal(dim1=-2, dim2=-1).sum(-1)
    return total / (n * (2 * n - 1))


def separation(weight: Tensor, *, half_space: bool) -> Tensor:
    """Minus the smallest squared distance, once for every pair that attains it."""
    rows = softened(weight)
    if half_space:
        rows = torch.cat([rows, -rows], dim=-2)
    first, second = torch.triu_indices(rows.shape[-2], rows.shape[-2], 1, device=rows.device)
    pairs = squared_distances(rows, rows)[..., first, second]
    least = pairs.detach().amin(dim=-1, keepdim=True)
    return -torch.where(pairs == least, pairs, 0.0).sum(-1)


def _kernel(p: Tensor, s: float, metric: Metric) -> Tensor:
    if metric == "chordal":
        return -p.log() if s == 0 else p ** (-s / 2)
    angle = 2 * torch.atan2(p.sqrt(), (4 - p).sqrt()) / torch.pi + 1e-4
    return -angle.log() if s == 0 else angle**-s
