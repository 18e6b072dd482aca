"""One look at every cosine: nearest neighbours, the most aligned pairs, a histogram."""

import dataclasses
import heapq
from collections.abc import Sequence

import torch
from torch import Tensor

from sphuni.pairwise._lanes import Task, run_lanes, tasks

__all__ = ["PairScan", "scan_pairs"]

_COUNTED_TILES = 256


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
        Equal bins of the cosine on [-1, 1]. Beyond 256 tiles (about 8,000 points) the histogram
        counts an evenly spread part of them; everything else is exact.
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
    todo = tasks(points[None], None)
    step = -(-len(todo) // _COUNTED_TILES)
    counted = {(task.left.start, task.right.start) for task in todo[::step]}
    parts = run_lanes(lambda lane: _lane(points, lane, counted, bins, aligned), todo, points.device)
    best = torch.stack([part[0] for part in parts])
    index = torch.stack([part[1] for part in parts])
    lane = best.argmax(dim=0, keepdim=True)
    counts = torch.stack([part[3] for part in parts]).sum(0)
    pairs = heapq.nlargest(aligned, torch.cat([p[2] for p in parts]).tolist(), key=lambda p: abs(p[2]))
    return PairScan(
        index.gather(0, lane)[0],
        tuple((int(i), int(j), float(cosine)) for i, j, cosine in pairs),
        counts,
        int(counts.sum()),
    )


def _lane(
    points: Tensor, lane: Sequence[Task], counted: set[tuple[int, int]], bins: int, aligned: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    n = points.shape[0]
    best = points.new_full((n,), -torch.inf)
    index = torch.zeros(n, dtype=torch.long, device=points.device)
    pairs = points.new_empty(0, 3, dtype=torch.float64)
    counts = points.new_zeros(bins, dtype=torch.float64)
    for task in lane:
        gram = points[task.left] @ points[task.right].T
        if task.diagonal:
            gram.fill_diagonal_(-torch.inf)
        _keep_nearest(best, index, gram, task.left, task.right.start)
        if not task.diagonal:
            _keep_nearest(best, index, gram.T, task.right, task.left.start)
        else:
            gram.masked_fill_(torch.ones_like(gram, dtype=torch.bool).tril_(), torch.nan)
        if (task.left.start, task.right.start) in counted:
            seen = gram[~gram.isnan()] if task.diagonal else gram
            counts += torch.histc(seen.clamp(-1, 1).float(), bins, -1.0, 1.0).double()
        pairs = _keep_aligned(pairs, gram.nan_to_num_(0.0), task, aligned)
    return best, index, pairs, counts


def _keep_nearest(best: Tensor, index: Tensor, gram: Tensor, rows: slice, offset: int) -> None:
    value, place = gram.max(dim=1)
    better = value > best[rows]
    best[rows] = torch.where(better, value, best[rows])
    index[rows] = torch.where(better, place + offset, index[rows])


def _keep_aligned(pairs: Tensor, gram: Tensor, task: Task, aligned: int) -> Tensor:
    """Merge a tile's most aligned pairs into the list, skipping tiles that have none."""
    low, high = torch.aminmax(gram)
    threshold = float(pairs[-1, 2].abs()) if len(pairs) == aligned else -1.0
    if max(abs(float(low)), abs(float(high))) <= threshold:
        return pairs
    size = gram.abs()
    count = min(aligned, size.numel() - (len(size) * (len(size) + 1) // 2 if task.diagonal else 0))
    if count < 1:
        return pairs
    flat = size.flatten().topk(count).indices
    i, j = flat // gram.shape[1], flat % gram.shape[1]
    found = torch.stack([i + task.left.start, j + task.right.start, gram.flatten()[flat]], dim=1)
    merged = torch.cat([pairs, found.double()])
    return merged[merged[:, 2].abs().argsort(descending=True, stable=True)[:aligned]]
