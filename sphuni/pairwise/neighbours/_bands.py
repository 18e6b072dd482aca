"""Nearest neighbours on S^2 in cells: bands of equal height, cut into cells as wide as high.

A point's nearest neighbour lies in a few cells about it, whatever the number of points, where a
tree is climbed anew for each. Points that crowd into few cells are left to the tree.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni._jit import native_jit
from sphuni._threads import side_by_side
from sphuni._typing import Points
from sphuni.pairwise.loops._scalar import compile_loops

__all__ = ["nearest_in_bands", "repays"]

_FLOAT = NDArray[np.float64]
_INDEX = NDArray[np.int64]

_FEWEST = 5_000
"""Points below which a tree is done before the loops are read from the cache."""
_POINTS_PER_CELL = 1
_CROWD = 16
"""Points that share a cell with the average point from which on a tree is faster."""
_QUERIES_TOGETHER = 1 << 14


def repays(points: Points) -> bool:
    """Whether the loops serve such points, and sooner than a tree."""
    n, d = points.shape
    return d == 3 and n >= _FEWEST and points.device.type == "cpu" and native_jit() is not None


def nearest_in_bands(points: Points, *, mirrored: bool = False) -> tuple[Tensor, Tensor] | None:
    """For every point, or its antipode, the nearest other point, and the squared distance.

    Parameters
    ----------
    points : float64 tensor of shape (n, 3)
        Unit rows.
    mirrored : bool, default False
        Look about -x, where x itself does not count either.

    Returns
    -------
    tensors of shape (n,), or None if the points crowd

    Notes
    -----
    O(n) time for points that are not much denser anywhere than on average. Distances are taken by
    differences; of equal ones the first point counts.
    """
    if not math.isfinite(points.sum()):
        return None  # a tree says so
    bands = _bands_for(len(points))
    colatitude, longitude = _angles(points)
    order, starts = bands.sort(colatitude, longitude)
    if float(np.square(np.diff(starts)).sum()) > _CROWD * len(points):
        return None
    rows, thetas, phis = points.numpy()[order], colatitude[order], longitude[order]
    queries = (-rows, np.pi - thetas, phis + np.pi) if mirrored else (rows, thetas, phis)
    index, squares = np.empty(len(points), dtype=np.int64), np.empty(len(points))

    loops = _compiled()

    def work(start: int) -> None:
        stop = min(start + _QUERIES_TOGETHER, len(points))
        loops(*queries, start, stop, order, rows, starts, *bands, index, squares)

    for _ in side_by_side(work, range(0, len(points), _QUERIES_TOGETHER)):
        pass
    return torch.from_numpy(index), torch.from_numpy(squares)


class _Bands(NamedTuple):
    """Bands of the sphere, all as high, and the numbers of their first cells."""

    first: _INDEX
    height: float

    def sort(self, colatitude: _FLOAT, longitude: _FLOAT) -> tuple[_INDEX, _INDEX]:
        """The points in the order of their cells, and where the points of each cell start."""
        band = np.minimum((colatitude / self.height).astype(np.int64), len(self.first) - 2)
        count = self.first[band + 1] - self.first[band]
        place = (longitude * (count / (2 * math.pi))).astype(np.int64)
        cells, n = self.first[band] + np.minimum(place, count - 1), len(band)
        # a matrix with a point to each row, by columns: a sort that counts, in linear time
        entries = np.ones(n, dtype=np.int8), cells, np.arange(n + 1)
        table = scipy.sparse.csr_array(entries, shape=(n, int(self.first[-1]))).tocsc()
        return table.indices.astype(np.int64), table.indptr.astype(np.int64)


def _bands_for(n: int) -> _Bands:
    count = max(3, round(math.sqrt(math.pi * n / (4 * _POINTS_PER_CELL))))
    widths = 2 * count * np.sin((np.arange(count) + 0.5) * math.pi / count)
    first = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.maximum(1, widths).astype(np.int64), out=first[1:])
    return _Bands(first, math.pi / count)


def _angles(points: Points) -> tuple[_FLOAT, _FLOAT]:
    """Colatitudes in [0, pi] and longitudes in [0, 2 pi]."""
    x, y, z = points.T.contiguous()
    longitude = torch.atan2(-y, -x) + math.pi
    return torch.atan2(torch.hypot(x, y), z).numpy(), longitude.numpy()


_LOOPS = (
    """def within(row, own, theta, phi, reach, order, rows, starts, first, height, best, found):
    reach, turn, bands = reach + slack, dtype(2 * np.pi), first.size - 1
    low = max(0, int((theta - reach) / height))
    high = min(bands - 1, int((theta + reach) / height))
    # longitudes differ most where a meridian touches the cap; arcsin(u) < u + 0.6 u^3
    u = np.sin(reach) / max(tiny, sqrt(row[0] * row[0] + row[1] * row[1]))
    polar = u >= one or reach >= turn / 4
    spread = (u + dtype(0.6) * u * u * u + slack) / turn
    for band in range(low, high + 1):
        cells = first[band + 1] - first[band]
        left, right = 0, cells - 1
        if not polar:
            middle = phi / turn
            left = int(np.floor((middle - spread) * cells))
            right = min(left + cells - 1, int(np.floor((middle + spread) * cells)))
        for wrapped in (0, -cells if right >= cells else cells):
            begin, end = max(0, left + wrapped), min(cells, right + 1 + wrapped)
            if begin >= end:
                continue
            for k in range(starts[first[band] + begin], starts[first[band] + end]):
                x, y, z = row[0] - rows[k, 0], row[1] - rows[k, 1], row[2] - rows[k, 2]
                square, other = x * x + y * y + z * z, order[k]
                if other != own and (square < best or (square == best and other < found)):
                    best, found = square, other
    return best, found
""",
    """def nearest(
    queries, thetas, phis, start, stop, order, rows, starts, first, height, index, squares
):
    near = 4 * np.sin(height / 2) ** 2
    for k in range(start, stop):
        own, reach, best, found = order[k], height, np.inf, order.size
        while best == np.inf:
            best, found = within(
                queries[k], own, thetas[k], phis[k], reach, order, rows, starts, first, height,
                best, found,
            )
            reach = 2 * reach
        if best > near:  # another may be nearer, beyond the cells that were looked at
            reach = 2 * np.arcsin(min(one, sqrt(best) / 2))
            best, found = within(
                queries[k], own, thetas[k], phis[k], reach, order, rows, starts, first, height,
                best, found,
            )
        index[own], squares[own] = found, best
""",
)


@functools.lru_cache(maxsize=1)
def _compiled() -> Callable[..., None]:
    # far more than roundings of angles, far less than a cell
    return compile_loops(_LOOPS, (), np.dtype(np.float64), slack=1e-12)
