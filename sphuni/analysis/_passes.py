"""The pass over all pairs of a layer's rows, whole or slab by slab.

A slab is some rows with all rows after them. A report has the same digits whether one process
works on a layer or several, slab by slab.
"""

import itertools

from sphuni._typing import Points
from sphuni.analysis._energies import energy_kernels
from sphuni.analysis._uniformity import sine_kernel
from sphuni.kernels import Kernel
from sphuni.pairwise import PairScan, ScanPart, pair_reduce, scan_block, scan_pairs, scan_part

__all__ = ["kernel_sums", "scan_rows", "scan_slab", "slab_count", "slabs"]

_WHOLE = 4_096
_SLABS = 16


def slab_count(n: int) -> int:
    """How many pieces of work the pairs of a matrix of n rows are."""
    return 1 if n < _WHOLE else _SLABS


def slabs(n: int, count: int) -> list[slice]:
    """Divide n rows, or those of them that are measured, into slabs of whole tiles.

    Some are empty where there are fewer tiles than slabs.
    """
    tile = scan_block(n)
    tiles = -(-n // tile)
    edges = [min(tile * (tiles * k // count), n) for k in range(count + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def scan_slab(points: Points, rows: slice) -> ScanPart:
    """Look at the pairs of a row of the slab with the rows after it, and add up the kernels."""
    return scan_part(points, rows, kernels=_kernels(points.shape[1]))


def scan_rows(points: Points) -> PairScan:
    """Look at all pairs; `sums` are those of every energy's kernel and, last, of the sine."""
    return scan_pairs(points, kernels=_kernels(points.shape[1]))


def kernel_sums(points: Points) -> list[float]:
    """Sums over the pairs of one set of every energy's kernel and, last, of the sine."""
    return pair_reduce(points, kernel=_kernels(points.shape[1])).tolist()


def _kernels(d: int) -> tuple[Kernel, ...]:
    return (*energy_kernels(), sine_kernel(d))
