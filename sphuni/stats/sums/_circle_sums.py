"""Pair sums of smooth kernels on the circle in O(n log n): cells, their far field by FFT.

Kernels of few harmonics are summed from the Fourier sums of the points. For others there is a fast
multipole method of one level: points of a cell act on distant cells through polynomial
interpolation at Chebyshev nodes, which is a circular convolution for every pair of nodes; pairs in
neighbouring cells are taken one by one.
"""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni._typing import Points
from sphuni.kernels import Kernel
from sphuni.stats.kernels._angular import CircleAndersonDarling
from sphuni.stats.sums._moments import circle_squares
from sphuni.stats.sums._sorted import turns_of

__all__ = ["circle_sums", "has_circle_form"]

_FLOAT = NDArray[np.float64]
_INDEX = NDArray[np.int64]

_NODES = 9
_REACH = 3
_POINTS_PER_CELL = 4
_MOST_WAVES = 64
_LEAST_WAVE = 1e-14
_MOST_NEAR = 100


def has_circle_form(kernel: Kernel) -> bool:
    """Whether the kernel is smooth on the circle but at distance 0."""
    return isinstance(kernel, CircleAndersonDarling) or not kernel.singular_opposite


def circle_sums(rows: Tensor, kernels: Sequence[Kernel]) -> Tensor | None:
    """Sums over i < j of kernels for which `has_circle_form`, (n, 2) -> (K,) in float64.

    None where points crowd so much in few places that too many pairs are near. The interpolation
    is good to about 1e-11 of the kernel.
    """
    x = rows.detach().cpu().double()
    x = x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    waves = {kernel: found for kernel in kernels if (found := _waves(kernel)) is not None}
    rest = [kernel for kernel in kernels if kernel not in waves]
    near_and_far = _cell_sums(x, rest) if rest else np.zeros(0)
    if near_and_far is None:
        return None
    sums = dict(zip(rest, near_and_far.tolist(), strict=True)) | _wave_sums(x, waves)
    return torch.tensor([sums[kernel] for kernel in kernels], dtype=torch.float64)


@functools.lru_cache(maxsize=256)
def _waves(kernel: Kernel) -> _FLOAT | None:
    """Fourier coefficients in cos(k theta), where few are enough."""
    half = np.pi * np.arange(1, 2 * _MOST_WAVES) / (4 * _MOST_WAVES)
    near, far = (torch.from_numpy(4.0 * wave(half) ** 2) for wave in (np.sin, np.cos))
    between = kernel.value(near, far).numpy()
    values = np.concatenate([[kernel.at_one], between, [kernel.at_minus_one]])
    if not np.isfinite(values).all():
        return None
    found = np.fft.rfft(np.concatenate([values, between[::-1]])).real / (4 * _MOST_WAVES)
    found[1:-1] *= 2.0
    large = np.flatnonzero(np.abs(found) > _LEAST_WAVE * np.abs(found).sum())
    return found[: large[-1] + 1] if large[-1] < _MOST_WAVES else None


def _wave_sums(x: Tensor, waves: dict[Kernel, _FLOAT]) -> dict[Kernel, float]:
    """Sums of kernels given by their Fourier coefficients."""
    if not waves:
        return {}
    degree = max(found.size for found in waves.values()) - 1
    squares = np.array([float(square) for square in circle_squares(x, degree)])
    return {
        kernel: 0.5 * float(found @ squares[: found.size] - len(x) * found.sum())
        for kernel, found in waves.items()
    }


def _cell_sums(x: Tensor, kernels: Sequence[Kernel]) -> _FLOAT | None:
    """Sums by cells: near pairs one by one, far ones by interpolation."""
    turns = turns_of(x[:, 0].contiguous(), x[:, 1].contiguous())
    order = torch.argsort(turns)
    place, points = turns[order].numpy(), x[order]
    count = 1 << max(6, round(np.log2(place.size / _POINTS_PER_CELL)))
    cell = np.minimum((place * count).astype(np.int64), count - 1)
    near = _near_sums(points, cell, count, kernels)
    if near is None:
        return None
    weights = _anterpolated(place * count - cell - 0.5, cell, count)
    far = [_far_sum(weights, kernel) for kernel in kernels]
    return np.asarray(near + np.array(far))


def _near_sums(
    points: Points, cell: _INDEX, count: int, kernels: Sequence[Kernel]
) -> _FLOAT | None:
    """Sums over pairs at most `_REACH` cells apart, each point with those ahead of it."""
    n = cell.size
    active, seen = np.arange(n), 0
    sums = np.zeros(len(kernels))
    for step in range(1, n):
        ahead = (active + step) % n
        close = (cell[ahead] - cell[active]) % count <= _REACH
        active, ahead = active[close], ahead[close]
        seen += active.size
        if active.size == 0:
            return sums
        if seen > _MOST_NEAR * n:
            return None
        x, y = points[torch.from_numpy(active)], points[torch.from_numpy(ahead)]
        near = (x - y).square().sum(-1)
        apart = torch.where(near > 0.0, near, 2.0)
        for k, kernel in enumerate(kernels):
            value = torch.where(near > 0.0, kernel.value(apart, 4.0 - apart), kernel.at_one)
            sums[k] += float(value.sum())
    return None


def _nodes() -> _FLOAT:
    """Chebyshev's nodes on [-1/2, 1/2]."""
    return np.asarray(0.5 * np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES))


def _anterpolated(offset: _FLOAT, cell: _INDEX, count: int) -> _FLOAT:
    """Weights (nodes, cells) that stand for the points of each cell."""
    degrees = np.arange(_NODES)[:, None]
    at_nodes = np.cos(degrees * np.arccos(2.0 * _nodes()))
    share = np.full((_NODES, 1), 2.0 / _NODES)
    share[0] = 1.0 / _NODES
    values = np.cos(degrees * np.arccos(np.clip(2.0 * offset, -1.0, 1.0)))
    moments = np.stack([np.bincount(cell, row, minlength=count) for row in values])
    return np.asarray((at_nodes * share).T @ moments)


def _far_sum(weights: _FLOAT, kernel: Kernel) -> float:
    """Sum over pairs of points in cells more than `_REACH` apart, each once."""
    count, nodes = weights.shape[1], _nodes()
    waves = np.fft.rfft(weights, axis=1)
    share = np.full(waves.shape[1], 2.0 / count)
    share[[0, -1]] = 1.0 / count
    steps = np.arange(count)
    far = (steps > _REACH) & (steps < count - _REACH)
    total = 0.0
    for r in range(_NODES):
        for s in range(r, _NODES):
            sine = np.sin(np.pi / count * (steps[far] + nodes[s] - nodes[r]))
            squared = torch.from_numpy(4.0 * sine * sine)
            values = np.zeros(count)
            values[far] = kernel.value(squared, 4.0 - squared).numpy()
            product = waves[r] * np.fft.rfft(values) * waves[s].conj()
            total += (0.5 if r == s else 1.0) * float(share @ product.real)
    return total
