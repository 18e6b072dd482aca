"""Pair sums of many kernels at once: moments of the pairs in fine cells of the cosine.

The kernels of all tests of one sample are functions of the same cosines. Here each pair is put into
a cell of artanh(t) and adds the powers of its place in the cell; what a kernel adds up to is then
its polynomial in every cell times these moments. The pass costs as much as one kernel.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni._typing import Points
from sphuni.kernels import Kernel
from sphuni.pairwise.summaries._cell_loops import Cells, Tally, fill
from sphuni.pairwise.tiles._products import product
from sphuni.pairwise.tiles._schedule import block_size, run_rounds

__all__ = ["cell_sums", "has_cells", "interpolated_sums"]

_FLOAT = NDArray[np.float64]
_INDEX = NDArray[np.int64]

_CELLS = Cells(8192, 10.0)  # pairs nearer than a chord of 0.013 are out of reach
_DEGREE = 4
_TOLERANCE = 1e-10
_MOST_ROUGH = 64
_GATHERED = 1 << 21
_SIDE_BY_SIDE = 8
_NATIVE_FROM = 1 << 23
_SETS_AT_ONCE = 1 << 18


class _Table(NamedTuple):
    """Coefficients (cells, degree + 1) of a kernel, and the cells in which it is no polynomial."""

    coefficients: _FLOAT
    rough: _INDEX


def has_cells(kernel: Kernel) -> bool:
    """Whether the kernel is smooth in all cells but a few."""
    return _table(kernel).rough.size <= _MOST_ROUGH


def cell_sums(points: Points, kernels: Sequence[Kernel]) -> Tensor:
    r"""Sums over i < j of kernels for which `has_cells`: (..., n, d) -> (..., K), float64.

    Notes
    -----
    The polynomials are good to 1e-10 of the kernel or of its spread, whichever is larger; pairs
    that are nearly coincident or opposite and pairs in cells with a corner of some kernel are
    computed one by one, by differences. O(n^2 d) time, O(n d) memory.
    """
    flat = points.detach().double().reshape(-1, *points.shape[-2:])
    flat = flat / torch.linalg.vector_norm(flat, dim=-1, keepdim=True)
    sums = [_OneSet(rows, kernels).sums() for rows in flat]
    return torch.from_numpy(np.stack(sums)).reshape(*points.shape[:-2], len(kernels))


def interpolated_sums(points: Points, cells: Cells, values: _FLOAT) -> tuple[_FLOAT, _FLOAT]:
    """Sums over i < j of sets (b, n, d), of kernels known by `values` (cells + 1, K) at the edges.

    Kernels are interpolated linearly in each cell; cosines out of reach count at the last edge.
    Returns the sums (b, K) and the smallest and the largest cosine of each set (b, 2).
    """
    b, n = points.shape[:2]
    sums, extremes = np.empty((b, values.shape[1])), np.full((b, 2), [np.inf, -np.inf])
    table = np.stack([0.5 * (values[1:] + values[:-1]), values[1:] - values[:-1]], axis=1)
    table = table.reshape(2 * cells.size, -1)
    size = max(1, _SETS_AT_ONCE // max(n * n, cells.size))
    native = b * n * (n - 1) // 2 >= _NATIVE_FROM

    def work(part: slice) -> None:
        gram = points[part] @ points[part].mT
        moments = np.zeros((gram.shape[0], cells.size, 2))
        tally = Tally(moments, extremes[part], np.zeros(0, dtype=bool))
        fill(gram, tally, cells, alone=True, native=native)
        sums[part] = moments.reshape(gram.shape[0], -1) @ table

    run_rounds(work, [[slice(k, min(k + size, b)) for k in range(0, b, size)]], parallel=native)
    return sums, extremes


class _OneSet:
    """Sums over the pairs of one set, by strips: a block of rows against all rows after it.

    Strips run side by side, and each writes to a tally of its own; the tallies are added up in
    their order, so that the digits are the same for any number of threads.
    """

    def __init__(self, rows: Tensor, kernels: Sequence[Kernel]) -> None:
        self._rows, self._kernels = rows, kernels
        self._tables = [_table(kernel) for kernel in kernels]
        self._rough = np.zeros(_CELLS.size, dtype=bool)
        for table in self._tables:
            self._rough[table.rough] = True
        self._size = block_size(rows.shape[0])
        self._native = rows.shape[0] * (rows.shape[0] - 1) // 2 >= _NATIVE_FROM

    def sums(self) -> _FLOAT:
        """Sums (k,) of the kernels."""
        strips = range(-(-self._rows.shape[0] // self._size))
        lanes = min(len(strips), _SIDE_BY_SIDE)
        moments = np.zeros((lanes, 1, _CELLS.size, _DEGREE + 1))
        single = np.zeros((len(strips), len(self._kernels)))

        def work(k: int) -> None:
            single[k] = self._strip(k * self._size, moments[k % lanes])

        rounds = [strips[start : start + lanes] for start in strips[::lanes]]
        run_rounds(work, rounds, parallel=self._native)
        total = moments.sum(axis=(0, 1))
        total[self._rough] = 0.0
        smooth = [float(np.sum(total * table.coefficients)) for table in self._tables]
        return np.asarray(np.array(smooth) + single.sum(axis=0))

    def _strip(self, top: int, moments: _FLOAT) -> _FLOAT:
        """Add the pairs of a block of rows with those after it; return the sums one by one."""
        n = self._rows.shape[0]
        left = self._rows[top : top + self._size]
        tally = Tally(moments, np.zeros((0, 2)), self._rough)
        single, waiting = np.zeros(len(self._kernels)), np.zeros(0, dtype=np.int64)
        most = max(1, _GATHERED // self._rows.shape[1])
        for start in range(top, n, self._size):
            right = self._rows[start : start + self._size]
            gram = product(left, right)[None]
            flat = fill(gram, tally, _CELLS, alone=start == top, native=self._native)
            rows, columns = np.divmod(flat, right.shape[0])
            waiting = np.concatenate([waiting, (rows + top) * n + columns + start])
            while waiting.size > most:
                single += self._one_by_one(waiting[:most])
                waiting = waiting[most:]
        return single + self._one_by_one(waiting) if waiting.size else single

    def _one_by_one(self, numbers: _INDEX) -> _FLOAT:
        """Sums over the pairs n i + j, with the limits where a kernel has one."""
        i, j = (torch.from_numpy(part) for part in np.divmod(numbers, self._rows.shape[0]))
        x, y = self._rows[i], self._rows[j]
        near, far = (x - y).square().sum(-1), (x + y).square().sum(-1)
        coincident, opposite = near == 0.0, far == 0.0
        near, far = torch.where(coincident, 2.0, near), torch.where(opposite, 2.0, far)
        sums = []
        for kernel in self._kernels:
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
    quarter = _CELLS.size // 4
    scale = np.maximum(np.abs(truth).max(axis=0), truth[:, quarter:-quarter].std())
    rough = np.flatnonzero(~(error <= _TOLERANCE * scale))
    return _Table(np.ascontiguousarray(coefficients.T), rough)


def _at(kernel: Kernel, offsets: _FLOAT) -> _FLOAT:
    """Values (offsets, cells) of a kernel at the same places of every cell."""
    place = _CELLS.middle(offsets[:, None])
    near, far = (4.0 / (1.0 + np.exp(sign * place)) for sign in (1.0, -1.0))
    value = kernel.value(torch.from_numpy(near), torch.from_numpy(far))
    return np.asarray(torch.broadcast_to(value, near.shape).numpy())
