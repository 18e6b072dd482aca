"""One look at every cosine: nearest neighbours, the most aligned pairs, a histogram, sums."""

import dataclasses
import threading
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sphuni._typing import Points
from sphuni.kernels import Kernel
from sphuni.pairwise.neighbours._best import keep_best
from sphuni.pairwise.summaries._histogram import above_diagonal, count_cosines
from sphuni.pairwise.tiles._products import own_products, product
from sphuni.pairwise.tiles._schedule import block_size, run_rounds
from sphuni.pairwise.tiles._sums import cosine_sums

__all__ = ["PairScan", "ScanPart", "merge_scans", "scan_block", "scan_pairs", "scan_part"]

_COUNTED_PAIRS = 1 << 25
_WORTH_COMPILING = 256
_MANY, _LARGE_BLOCK = 1 << 14, 1024


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
    sums : tensor (k,), float64
        Of each kernel over all pairs.
    """

    nearest: Tensor
    aligned: tuple[tuple[int, int, float], ...]
    counts: Tensor
    counted: int
    sums: Tensor


class ScanPart(NamedTuple):
    """What a pass over the pairs of some rows saw.

    `best` are the cosines of `nearest`, and `sums` (strips, k) those of each block of rows.
    """

    best: Tensor
    nearest: Tensor
    aligned: tuple[tuple[int, int, float], ...]
    counts: Tensor
    sums: Tensor


def scan_block(n: int) -> int:
    """Rows of a tile: of many points more than where forces are gathered too."""
    return _LARGE_BLOCK if n >= _MANY else block_size(n)


def scan_pairs(
    points: Points, /, *, kernels: Sequence[Kernel] = (), bins: int = 200, aligned: int = 10
) -> PairScan:
    """Look once at the cosines of all pairs of one set of points.

    Parameters
    ----------
    points : tensor of shape (n, d)
        Unit rows (not checked here), n >= 2.
    kernels : sequence of Kernel, default ()
        What is summed over the pairs on the way, as `pair_reduce` would in a pass of its own.
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
    every = slice(0, points.shape[0])
    return merge_scans([scan_part(points, every, kernels=kernels, bins=bins, aligned=aligned)])


def scan_part(
    points: Points,
    rows: slice,
    /,
    *,
    kernels: Sequence[Kernel] = (),
    bins: int = 200,
    aligned: int = 10,
) -> ScanPart:
    """Look at the pairs of a row of `rows` with the rows after it, as a part of `scan_pairs`.

    `rows` must begin and end at multiples of the size of a tile, or end with the set: the
    parts of a set then see the same tiles however many they are.
    """
    if aligned < 1 or bins < 1:
        raise ValueError(f"aligned and bins must be at least 1; got {aligned} and {bins}")
    n, size = points.shape[0], scan_block(points.shape[0])
    if rows.start % size or (rows.stop % size and rows.stop != n):
        raise ValueError(f"rows must begin and end at multiples of {size}; got {rows}")
    scan = _Scan(points, tuple(kernels), bins, _Aligned(aligned))
    strips = [slice(k, min(k + size, n)) for k in range(rows.start, rows.stop, size)]
    sums = points.new_zeros(len(strips), len(kernels), dtype=torch.float64)

    def work(k: int) -> None:
        sums[k] = scan.strip(strips[k])

    busy = points.device.type == "cpu" and len(strips) > 1
    run_rounds(work, [range(len(strips))], parallel=busy)
    return ScanPart(scan.best, scan.nearest, scan.top.pairs(), scan.counts, sums)


def merge_scans(parts: Sequence[ScanPart]) -> PairScan:
    """Put the parts of one set together, in their order: the same digits however it was divided."""
    best = parts[0].best, parts[0].nearest
    for part in parts[1:]:
        best = _better(*best, part.best, part.nearest)
    most = max(len(part.aligned) for part in parts)
    found = sorted((pair for part in parts for pair in part.aligned), key=_by_alignment)
    counts = torch.stack([part.counts for part in parts]).sum(dim=0)
    sums = torch.cat([part.sums for part in parts]).sum(dim=0)
    return PairScan(best[1], tuple(found[:most]), counts, int(counts.sum()), sums)


class _Scan:
    """What has been seen, strip by strip: a block of rows against itself and all rows after it.

    Strips may run on several threads: nearest partners, extremes and counts do not depend on the
    order in which tiles are met, and sums are added up within a strip. A strip goes on from the
    nearest partners that were known when it began.
    """

    def __init__(
        self, points: Points, kernels: tuple[Kernel, ...], bins: int, top: "_Aligned"
    ) -> None:
        n = points.shape[0]
        self.best = points.new_full((n,), -torch.inf)
        self.nearest = torch.zeros(n, dtype=torch.long, device=points.device)
        self.counts = points.new_zeros(bins, dtype=torch.float64)
        self.top = top
        self._points, self._kernels = points, kernels
        self._size = scan_block(n)
        self._every = -(-n * n // (2 * _COUNTED_PAIRS))
        self._lock = threading.Lock()

    def strip(self, left: slice) -> Tensor:
        """Look at the tiles of one strip; return its sums of each kernel (k,), float64."""
        points = self._points
        sums = points.new_zeros(len(self._kernels), dtype=torch.float64)
        counts = torch.zeros_like(self.counts)
        with self._lock:
            best, nearest = self.best[:, None].clone(), self.nearest[:, None].clone()
        room = points.new_empty((left.stop - left.start) * self._size)
        worth = points.shape[0] > _WORTH_COMPILING
        for start in range(left.start, points.shape[0], self._size):
            right = slice(start, min(start + self._size, points.shape[0]))
            gram = _cosines(points[left], points[right], room, own=left == right)
            counted = (left.start + right.start) // self._size % self._every == 0
            if left == right:
                gram.fill_diagonal_(-torch.inf)
            reach = keep_best(best, nearest, gram, left, right)
            if counted:
                count_cosines(counts, gram, own=left == right, native=worth)
            if left == right:
                gram.fill_diagonal_(0.0)
            if reach is None:
                reach = max(float(gram.amax()), -float(gram.amin()))
            self.top.add(gram, left, right, reach)
            if self._kernels:
                sums += self._sums(gram, left, right)
        with self._lock:
            self.counts += counts
            known = self.best, self.nearest
            self.best, self.nearest = _better(*known, best[:, 0], nearest[:, 0])
        return sums

    def _sums(self, gram: Tensor, left: slice, right: slice) -> Tensor:
        """Sums (k,) over one tile, whose cosines are used up."""
        x, y = self._points[None, left], self._points[None, right]
        return cosine_sums(gram[None], x, y, self._kernels, own=left == right)[0]


def _cosines(x: Tensor, y: Tensor, room: Tensor, *, own: bool) -> Tensor:
    """Inner products (r, c), in `room` if they are not of some rows with themselves."""
    if own:
        return own_products(x[None])[0]
    gram = room[: len(x) * len(y)].view(len(x), len(y))
    return product(x, y, out=gram)


def _better(best: Tensor, nearest: Tensor, other: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Of two partners of every row the better; of equal ones the first in the set."""
    better = (other > best) | ((other == best) & (place < nearest))
    return torch.where(better, other, best), torch.where(better, place, nearest)


def _by_alignment(pair: tuple[int, int, float]) -> tuple[float, tuple[int, int, float]]:
    return -abs(pair[2]), pair


class _Aligned:
    """The pairs of largest absolute cosine among the tiles seen so far, on any thread."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._found: list[tuple[int, int, float]] = []
        self._lock = threading.Lock()

    def add(self, gram: Tensor, left: slice, right: slice, reach: float) -> None:
        """Take in a tile whose largest absolute cosine is `reach`.

        That of some rows with themselves has zeros on its diagonal.
        """
        own = left == right
        pairs = len(gram) * (len(gram) - 1) // 2 if own else gram.numel()
        if pairs == 0 or reach < self._limit():
            return
        size = gram.abs().masked_fill(~above_diagonal(gram), -1.0) if own else gram.abs()
        # the largest stand in the rows that have the largest
        top = size.amax(dim=1).topk(min(self._count, len(size))).indices
        flat = size[top].flatten().topk(min(self._count, pairs)).indices
        i, j = top[flat // gram.shape[1]], flat % gram.shape[1]
        rows, columns = (i + left.start).tolist(), (j + right.start).tolist()
        found = zip(rows, columns, gram[i, j].tolist(), strict=True)
        with self._lock:
            merged = [*self._found, *found]
            self._found = sorted(merged, key=_by_alignment)[: self._count]

    def pairs(self) -> tuple[tuple[int, int, float], ...]:
        """The pairs, most aligned first."""
        return tuple(self._found)

    def _limit(self) -> float:
        full = len(self._found) == self._count
        return abs(self._found[-1][2]) if full else -1.0
