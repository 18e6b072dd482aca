"""Pairs sorted into even cells of artanh(t): counts and moments of their places, tile by tile."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni._jit import native_jit
from sphuni.pairwise.loops._scalar import compile_loops

__all__ = ["Cells", "Tally", "fill"]

_FLOAT = NDArray[np.float64]
_INDEX = NDArray[np.int64]


class Cells(NamedTuple):
    """`size` even cells of 2 artanh(t) on [-reach, reach]."""

    size: int
    reach: float

    def middle(self, offsets: _FLOAT) -> _FLOAT:
        """2 artanh(t) at `offsets` from the middle of each cell, in cells."""
        width = 2.0 * self.reach / self.size
        return np.asarray((np.arange(self.size) + 0.5 + offsets) * width - self.reach)


class Tally(NamedTuple):
    """What is added up of b sets.

    Attributes
    ----------
    moments : array (b, cells, degree + 1)
        Powers of each pair's place in its cell, in cells from the middle.
    extremes : array (b, 2)
        Smallest and largest cosine; empty if not wanted.
    rough : boolean array (cells,)
        Cells whose pairs, and those out of reach, are listed for one set to be dealt with one by
        one. Empty: nothing is listed, and pairs out of reach go to the edge of the last cell.
    """

    moments: _FLOAT
    extremes: _FLOAT
    rough: NDArray[np.bool_]


def fill(gram: Tensor, tally: Tally, cells: Cells, *, alone: bool, native: bool) -> _INDEX:
    """Add a tile of cosines (b, r, c), float64; with `alone` those of i < j only.

    Returns the flat places of the pairs that are listed. `native` loops take a second to compile.
    """
    scale = cells.size / (2.0 * cells.reach)
    if not native or native_jit() is None:
        return _plain(gram, tally, scale, alone)
    places = np.empty(gram.numel() if tally.rough.size else 0, dtype=np.int64)
    found = _compiled(tally.moments.shape[2])(gram.numpy(), *tally, scale, alone, places)
    return places[:found]


def _plain(gram: Tensor, tally: Tally, scale: float, alone: bool) -> _INDEX:
    """By operations on whole tiles."""
    b, count = tally.moments.shape[:2]
    upper = _upper(gram.shape[1]) if alone else None
    flat = gram.flatten(1)
    cosines = flat if upper is None else flat.index_select(1, torch.from_numpy(upper))
    if tally.extremes.size and cosines.numel():
        low, high = (part.numpy() for part in torch.aminmax(cosines, dim=-1))
        np.minimum(tally.extremes[:, 0], low, out=tally.extremes[:, 0])
        np.maximum(tally.extremes[:, 1], high, out=tally.extremes[:, 1])
    place = torch.log((1.0 + cosines).div_(1.0 - cosines)).mul_(scale).add_(0.5 * count)
    outside = ~((place >= 0.0) & (place < count))
    lost = bool(outside.any())
    if lost and tally.rough.size:
        place.masked_fill_(outside, 0.0)
    elif lost:
        place.masked_fill_(outside & (cosines > 0.0), float(count))
        place.masked_fill_(outside & ~(cosines > 0.0), 0.0)
    cell = place.long().clamp_(max=count - 1)
    offset = place.sub_(cell).sub_(0.5)
    listed = np.zeros(0, dtype=np.int64)
    if tally.rough.size:
        apart = (
            outside.numpy() | tally.rough[cell.numpy()] if tally.rough.any() else outside.numpy()
        )
        listed = np.flatnonzero(apart)
        if lost:
            cell, offset = cell[~outside], offset[~outside]
    else:
        cell += count * torch.arange(b, device="cpu")[:, None]
    _add_powers(tally.moments, cell.flatten().numpy(), offset.flatten().numpy())
    return listed if upper is None else upper[listed]


def _add_powers(moments: _FLOAT, index: _INDEX, offset: _FLOAT) -> None:
    size = moments.shape[0] * moments.shape[1]
    rows = moments.reshape(size, -1)
    rows[:, 0] += np.bincount(index, minlength=size)
    power = offset.copy()
    for degree in range(1, rows.shape[1]):
        rows[:, degree] += np.bincount(index, power, minlength=size)
        power *= offset


@functools.lru_cache(maxsize=4)
def _upper(size: int) -> _INDEX:
    """Flat indices of the pairs i < j of a block."""
    rows, columns = np.triu_indices(size, 1)
    return np.asarray(rows * size + columns)


@functools.lru_cache(maxsize=4)
def _compiled(powers: int) -> Callable[..., int]:
    """Native loops for moments of degree 0 to `powers` - 1."""
    sums = "".join(_SUM.format(degree=degree) for degree in range(powers))
    return compile_loops([_LOOPS + sums + _END], (), np.dtype(np.float64))


_LOOPS = """
def fill_cells(gram, moments, extremes, rough, scale, alone, places):
    sets, rows, columns = gram.shape
    count, found = moments.shape[1], 0
    place = np.empty(columns)
    for s in range(sets):
        low, high = np.inf, -np.inf
        for i in range(rows):
            first = i + 1 if alone else 0
            line = gram[s, i]
            for j in range(first, columns):
                t = line[j]
                place[j] = log((1.0 + t) / (1.0 - t)) * scale + 0.5 * count
            if extremes.size > 0:
                for j in range(first, columns):
                    low, high = min(low, line[j]), max(high, line[j])
            for j in range(first, columns):
                at = place[j]
                within = at >= 0.0 and at < count
                cell = int(at) if within else (count - 1 if line[j] > 0.0 else 0)
                offset = at - cell - 0.5 if within else (0.5 if line[j] > 0.0 else -0.5)
                if rough.size > 0 and (rough[cell] or not within):
                    places[found] = i * columns + j
                    found += 1
                    if not within:
                        continue
                power = 1.0
"""

_SUM = """
                moments[s, cell, {degree}] += power
                power *= offset
"""

_END = """
        if extremes.size > 0:
            extremes[s, 0] = min(extremes[s, 0], low)
            extremes[s, 1] = max(extremes[s, 1], high)
    return found
"""
