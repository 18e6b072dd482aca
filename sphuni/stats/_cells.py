"""Pair sums of many kernels at once: moments of the pairs in fine cells of the cosine.

The kernels of all tests of one sample are functions of the same cosines. Here each pair is put into
a cell of artanh(t) and adds the powers of its place in the cell; what a kernel adds up to is then
its polynomial in every cell times these moments. The pass costs as much as one kernel.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni.kernels import Kernel

__all__ = ["cell_sums", "has_cells"]

_FLOAT = NDArray[np.float64]
_INDEX = NDArray[np.int64]

_CELLS = 8192
_DEGREE = 4
_REACH = 10.0  # of 2 artanh(t): pairs nearer than a chord of 0.013 are summed one by one
_TOLERANCE = 1e-10
_MOST_ROUGH = 64
_ROWS = 256
_TILE = 1 << 18
_GATHERED = 1 << 21


class _Table(NamedTuple):
    """Coefficients (cells, degree + 1) of a kernel, and the cells in which it is no polynomial."""

    coefficients: _FLOAT
    rough: _INDEX


def has_cells(kernel: Kernel) -> bool:
    """Whether the kernel is smooth in all cells but a few."""
    return _table(kernel).rough.size <= _MOST_ROUGH


def cell_sums(points: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    r"""Sums over i < j of kernels for which `has_cells`: (..., n, d) -> (..., K), float64.

    Notes
    -----
    The polynomials are good to 1e-10 of the kernel or of its spread, whichever is larger; pairs
    that are nearly coincident or opposite and pairs in cells with a corner of some kernel are
    computed one by one, by differences. O(n^2 d) time, O(n d) memory.
    """
    flat = points.detach().double().reshape(-1, *points.shape[-2:])
    flat = flat / torch.linalg.vector_norm(flat, dim=-1, keepdim=True)
    sums = torch.stack([_one_set(rows, kernels) for rows in flat])
    return sums.reshape(*points.shape[:-2], len(kernels))


def _one_set(rows: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    tables = [_table(kernel) for kernel in kernels]
    apart = np.zeros(_CELLS, dtype=bool)
    for table in tables:
        apart[table.rough] = True
    moments, single = np.zeros((_DEGREE + 1, _CELLS)), np.zeros(len(kernels))
    most, waiting = max(1, _GATHERED // rows.shape[1]), np.zeros(0, dtype=np.int64)
    for numbers, cosines in _tiles(rows):
        waiting = np.concatenate([waiting, numbers(_add(cosines, moments, apart))])
        while waiting.size > most:
            single += _one_by_one(rows, waiting[:most], kernels)
            waiting = waiting[most:]
    single += _one_by_one(rows, waiting, kernels)
    moments[:, apart] = 0.0
    sums = [float(np.sum(moments * table.coefficients)) for table in tables]
    return torch.from_numpy(np.asarray(sums) + single)


class _Numbers(NamedTuple):
    """Turns places in a flat tile into the numbers n i + j of their pairs."""

    n: int
    top: int
    left: int
    width: int
    upper: _INDEX | None = None

    def __call__(self, places: _INDEX) -> _INDEX:
        flat = places if self.upper is None else self.upper[places]
        rows, columns = np.divmod(flat, self.width)
        return np.asarray((rows + self.top) * self.n + columns + self.left)


def _tiles(rows: Tensor) -> Iterator[tuple[_Numbers, Tensor]]:
    """Cosines of all pairs i < j, flat, tile by tile, with their numbers."""
    n = rows.shape[0]
    for top in range(0, n, _ROWS):
        block = rows[top : top + _ROWS]
        size = block.shape[0]
        upper = _upper(size)
        own = (block @ block.T).reshape(-1)[torch.from_numpy(upper)]
        yield _Numbers(n, top, top, size, upper), own
        for left in range(top + size, n, _TILE // _ROWS):
            right = rows[left : left + _TILE // _ROWS]
            yield _Numbers(n, top, left, right.shape[0]), (block @ right.T).reshape(-1)


def _add(cosines: Tensor, moments: _FLOAT, apart: NDArray[np.bool_]) -> _INDEX:
    """Add a tile's pairs to the moments; return those to be summed one by one."""
    ratio = (1.0 + cosines).div_(1.0 - cosines)
    place = torch.log(ratio).mul_(_CELLS / (2.0 * _REACH)).add_(0.5 * _CELLS)
    outside = ~((place >= 0.0) & (place < _CELLS)).numpy()
    if outside.any():
        place = torch.where(torch.from_numpy(outside), 0.5 * _CELLS, place)
    cell = place.long()
    offset = place.sub_(cell).sub_(0.5).numpy()
    index = cell.numpy()
    extra = outside | apart[index] if apart.any() else outside
    if outside.any():
        index, offset = index[~outside], offset[~outside]
    moments[0] += np.bincount(index, minlength=_CELLS)
    power = offset.copy()
    for degree in range(1, _DEGREE + 1):
        moments[degree] += np.bincount(index, power, minlength=_CELLS)
        if degree < _DEGREE:
            power *= offset
    return np.flatnonzero(extra)


def _one_by_one(rows: Tensor, numbers: _INDEX, kernels: Sequence[Kernel]) -> _FLOAT:
    """Sums of kernels over the pairs of these numbers, with the limits where a kernel has one."""
    i, j = (torch.from_numpy(part) for part in np.divmod(numbers, rows.shape[0]))
    x, y = rows[i], rows[j]
    near, far = (x - y).square().sum(-1), (x + y).square().sum(-1)
    coincident, opposite = near == 0.0, far == 0.0
    near, far = torch.where(coincident, 2.0, near), torch.where(opposite, 2.0, far)
    sums = []
    for kernel in kernels:
        value = torch.where(coincident, kernel.at_one, kernel.value(near, far))
        sums.append(float(torch.where(opposite, kernel.at_minus_one, value).sum()))
    return np.array(sums)


@functools.lru_cache(maxsize=64)
def _table(kernel: Kernel) -> _Table:
    """Interpolate at Chebyshev's nodes of every cell, and compare in between."""
    count = _DEGREE + 1
    nodes = 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)
    known = _at(kernel, nodes)
    coefficients = np.linalg.solve(np.vander(nodes, increasing=True), known)
    between = 0.5 * np.cos(np.pi * np.arange(count + 1) / count)
    truth = _at(kernel, between)
    error = np.abs(np.vander(between, count, increasing=True) @ coefficients - truth).max(axis=0)
    scale = np.maximum(np.abs(truth).max(axis=0), truth[:, _CELLS // 4 : -_CELLS // 4].std())
    rough = np.flatnonzero(~(error <= _TOLERANCE * scale))
    return _Table(np.ascontiguousarray(coefficients), rough)


def _at(kernel: Kernel, offsets: _FLOAT) -> _FLOAT:
    """Values (offsets, cells) of a kernel at the same places of every cell."""
    place = (np.arange(_CELLS) + 0.5 + offsets[:, None]) * (2.0 * _REACH / _CELLS) - _REACH
    near, far = (4.0 / (1.0 + np.exp(sign * place)) for sign in (1.0, -1.0))
    value = kernel.value(torch.from_numpy(near), torch.from_numpy(far))
    return np.asarray(torch.broadcast_to(value, near.shape).numpy())


@functools.lru_cache(maxsize=4)
def _upper(size: int) -> _INDEX:
    """Flat indices of the pairs i < j of a block."""
    rows, columns = np.triu_indices(size, 1)
    return np.asarray(rows * size + columns)
