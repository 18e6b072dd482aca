"""One look at every cosine: nearest neighbours, the most aligned pairs, a histogram."""

import dataclasses
import threading

import torch
from torch import Tensor

from sphuni.pairwise._schedule import Task, block_size, run_tiles

__all__ = ["PairScan", "scan_pairs"]

_COUNTED_PAIRS = 1 << 25


@dataclasses.dataclass(frozen=True)
class PairScan:
    """What a pass over all pairs of one set saw.

    Attributes
    ----------
    nearest : integer tensor (n,)
        For every point the index of the other point with the largest cosine.
    aligned : tuple of (i, j, cosine)
        The pairs of largest absolute cosine, largest first, i < j.
    counts : tensor (bins,)
        Pairs per bin of the cosine on [-1, 1].
    counted : int
        How many pairs were counted: all of them, or those of evenly spread tiles.
    """

    nearest: Tensor
    aligned: tuple[tuple[int, int, float], ...]
    counts: Tensor
    counted: int


def scan_pairs(points: Tensor, /, *, bins: int = 200, aligned: int = 10) -> PairScan:
    """Look once at the cosines of all pairs of one set of points.

    Parameters
    ----------
    points : tensor of shape (n, d)
        Unit rows (not checked here), n >= 2.
    bins : int, default 200
        Equal bins of the cosine on [-1, 1]. Beyond about 8,000 points the histogram counts an
        evenly spread part of the tiles; everything else is exact.
    aligned : int, default 10
        How many of the most aligned (or opposite) pairs are returned.

    Returns
    -------
    PairScan

    Notes
    -----
    Cosines are those of the working precision: recompute the angle of a pair that matters by
    differences. O(n^2 d) time, O(n + tile) memory.
    """
    if aligned < 1 or bins < 1:
        raise ValueError(f"aligned and bins must be at least 1; got {aligned} and {bins}")
    n = points.shape[0]
    best = points.new_full((n,), -torch.inf)
    index = torch.zeros(n, dtype=torch.long, device=points.device)
    top = _Aligned(aligned)
    every = -(-n * n // (2 * _COUNTED_PAIRS))

    size = block_size(n)
    counts = points.new_zeros(-(-n // size), bins, dtype=torch.float64)

    def work(task: Task) -> None:
        gram = points[task.left] @ points[task.right].T
        if task.diagonal is not None:
            gram.fill_diagonal_(-torch.inf)
        _keep_nearest(best, index, gram, task.left, task.right.start)
        if task.diagonal is None:
            _keep_nearest(best, index, gram.T, task.right, task.left.start)
        seen = gram.flatten() if task.diagonal is None else gram[_upper(gram)]
        top.add(seen, gram, task)
        if (task.left.start + task.right.start) // size % every == 0:
            counts[task.left.start // size] += torch.histc(seen.clamp(-1, 1).float(), bins, -1, 1)

    run_tiles(work, points[None], None)
    total = counts.sum(dim=0)
    return PairScan(index, top.pairs(), total, int(total.sum()))


class _Aligned:
    """The pairs of largest absolute cosine among the tiles seen so far, on any thread."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._found: list[tuple[int, int, float]] = []
        self._lock = threading.Lock()

    def add(self, cosines: Tensor, gram: Tensor, task: Task) -> None:
        """Take in a tile; one without a pair above the present limit costs one pass."""
        if cosines.numel() == 0:
            return
        low, high = torch.aminmax(cosines)
        if max(-float(low), float(high)) <= self._limit():
            return
        size = gram.abs() if task.diagonal is None else gram.abs().masked_fill(~_upper(gram), -1.0)
        flat = size.flatten().topk(min(self._count, cosines.numel())).indices
        rows = (flat // gram.shape[1] + task.left.start).tolist()
        columns = (flat % gram.shape[1] + task.right.start).tolist()
        found = zip(rows, columns, gram.flatten()[flat].tolist(), strict=True)
        with self._lock:
            merged = [*self._found, *found]
            self._found = sorted(merged, key=lambda pair: (-abs(pair[2]), pair))[: self._count]

    def pairs(self) -> tuple[tuple[int, int, float], ...]:
        """The pairs, most aligned first."""
        return tuple(self._found)

    def _limit(self) -> float:
        full = len(self._found) == self._count
        return abs(self._found[-1][2]) if full else -1.0


def _upper(gram: Tensor) -> Tensor:
    return torch.ones_like(gram, dtype=torch.bool).triu_(1)


def _keep_nearest(best: Tensor, index: Tensor, gram: Tensor, rows: slice, offset: int) -> None:
    """Take a tile's best columns where they are better; of equal ones the first in the set."""
    hopeful = torch.nonzero(gram.amax(1) >= best[rows])[:, 0]
    if len(hopeful) == 0:
        return
    value, place = gram[hopeful].max(dim=1)
    place, hopeful = place + offset, hopeful + rows.start
    better = (value > best[hopeful]) | (place < index[hopeful])
    best[hopeful[better]] = value[better]
    index[hopeful[better]] = place[better]
