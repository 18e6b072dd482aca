"""The best few partners of every row, gathered from tiles of scores."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sphuni._jit import native_jit
from sphuni.pairwise.loops._scalar import DTYPES, compile_loops

__all__ = ["keep_best"]


def keep_best(
    score: Tensor, index: Tensor, tile: Tensor, rows: slice, columns: slice, *, native: bool = True
) -> float | None:
    """Merge a tile of scores into the best of its rows and of its columns.

    Returns the largest absolute score of the tile, -inf aside, where native loops saw it on the
    way, else None.

    Parameters
    ----------
    score, index : tensors (n, k)
        The k best scores of every row so far, best first, and the partners that have them; of
        equal ones the first in the set. Changed in place. -inf stands for none.
    tile : tensor (r, c)
        Scores of `rows` with `columns`. A tile of some rows with themselves is whole, with -inf
        on its diagonal, and counts for its rows only.
    native : bool, default True
        Whether loops that take a second to compile are worth it.
    """
    both = rows != columns
    if native and tile.device.type == "cpu" and native_jit() is not None:
        # made here: numpy's functions inside a loop take a fifth of a second to load with it
        least = np.full(tile.shape[1], np.inf, DTYPES[tile.dtype])
        arrays = score.numpy(), index.numpy(), tile.numpy(), least
        return float(_compiled(DTYPES[tile.dtype])(*arrays, rows.start, columns.start, both))
    _plain(score[rows], index[rows], tile, columns.start)
    if both:
        _plain(score[columns], index[columns], tile.T, rows.start)
    return None


def _plain(score: Tensor, index: Tensor, tile: Tensor, offset: int) -> None:
    """For the rows of a tile; few find anything better once some tiles have passed."""
    k = score.shape[1]
    hopeful = torch.nonzero(tile.amax(1) >= score[:, -1])[:, 0]
    if len(hopeful) == 0:
        return
    value, place = tile[hopeful].sort(dim=1, descending=True, stable=True)
    value = torch.cat([score[hopeful], value[:, :k]], dim=1)
    place = torch.cat([index[hopeful], place[:, :k] + offset], dim=1)
    first = place.argsort(dim=1)
    value, order = value.gather(1, first).sort(dim=1, descending=True, stable=True)
    score[hopeful] = value[:, :k]
    index[hopeful] = place.gather(1, first).gather(1, order[:, :k])


_LOOPS = (
    """def hopes(scores, least, column):
    found, top, none = zero, dtype(np.inf).view(integer), integer(0)
    reach = none  # as integers, since the largest of floats that may be NaN is no vector code
    for j in range(scores.size):
        score = scores[j]
        found += one if score >= min(least, column[j]) else zero
        size = dtype(abs(score)).view(integer)
        reach = max(reach, size if size < top else none)
    return found, reach
""",
    """def insert(score, index, value, place):
    at = score.size
    while at > 0 and value >= score[at - 1]:
        if value == score[at - 1] and place >= index[at - 1]:
            break
        at -= 1
    for k in range(score.size - 1, at, -1):
        score[k], index[k] = score[k - 1], index[k - 1]
    if at < score.size:
        score[at], index[at] = value, place
    return score[score.size - 1]
""",
    """def outer(score, index, tile, column, first_row, first_column, both):
    if both:
        for j in range(tile.shape[1]):
            column[j] = score[first_column + j, score.shape[1] - 1]
    farthest = integer(0)
    for i in range(tile.shape[0]):
        row = first_row + i
        least = score[row, score.shape[1] - 1]
        found, reach = hopes(tile[i], least, column)
        farthest = max(farthest, reach)
        if found == zero:
            continue
        for start in range(0, tile.shape[1], 32):
            stop = min(start + 32, tile.shape[1])
            found, reach = hopes(tile[i, start:stop], least, column[start:stop])
            if found == zero:
                continue
            for j in range(start, stop):
                value, other = tile[i, j], first_column + j
                if value >= least:
                    least = insert(score[row], index[row], value, other)
                if value >= column[j]:
                    column[j] = insert(score[other], index[other], value, row)
    return integer(farthest).view(dtype)
""",
)


@functools.lru_cache(maxsize=2)
def _compiled(dtype: np.dtype[Any]) -> Callable[..., Any]:
    return compile_loops(_LOOPS, (), dtype)
