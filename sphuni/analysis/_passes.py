"""The pass over all pairs of a layer's rows, whole or slab by slab.

A slab is some rows with all rows after them. A report has the same digits whether one process
works on a layer or several, slab by slab.
"""

from torch import Tensor

from sphuni.analysis._energies import energy_kernels
from sphuni.analysis._uniformity import sine_kernel
from sphuni.kernels import Kernel
from sphuni.pairwise import PairScan, ScanPart, block_size, pair_reduce, scan_pairs, scan_part

__all__ = ["kernel_sums", "scan_rows", "scan_slab", "slabs"]

_WHOLE = 4_096
_SLABS = 16


def slabs(n: int) -> list[slice]:
    """Divide n rows; that depends on n alone."""
    if n < _WHOLE:
        return [slice(0, n)]
    tile = block_size(n)
    rows = tile * -(-n // (tile * _SLABS))
    return [slice(start, min(start + rows, n)) for start in range(0, n, rows)]


def scan_slab(points: Tensor, rows: slice) -> ScanPart:
    """Look at the pairs of a row of the slab with the rows after it, and add up the kernels."""
    return scan_part(points, rows, kernels=_kernels(points.shape[1]))


def scan_rows(points: Tensor) -> PairScan:
    """Look at all pairs; `sums` are those of every energy's kernel and, last, of the sine."""
    return scan_pairs(points, kernels=_kernels(points.shape[1]))


def kernel_sums(points: Tensor) -> list[float]:
    """Sums over the pairs of one set of every energy's kernel and, last, of the sine."""
    return pair_reduce(points, kernel=_kernels(points.shape[1])).tolist()


def _kernels(d: int) -> tuple[Kernel, ...]:
    return (*energy_kernels(), sine_kernel(d))
