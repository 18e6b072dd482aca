"""Sums over the pairs of several small sets at once, by few operations: for GPUs.

Starting an operation there takes longer than a small set keeps the device busy. All matrices of
cosines therefore lie in one buffer, which kernels go over once; norms are the roots of their
diagonals, so that rows are only multiplied; and no operation waits for a look at another's numbers.
"""

import functools
import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sphuni._budget import room_for
from sphuni._devices import lacks_float64
from sphuni.kernels import Kernel
from sphuni.pairwise.tiles._tiles import DIRECT_DIMENSION, NEAR_COSINE, sensitive

__all__ = ["JointSums", "joins", "joint_room"]

_MOST = 1 << 24
_LARGEST = 1 << 22  # more pairs keep a GPU busy by themselves
_COPIES = 12
_NORMS = 1e-8, 1e8  # of which no product leaves the range of float32


def joins(rows: Tensor) -> bool:
    """Whether sums of sets (..., n, d) are better taken jointly with those of others."""
    n, d = rows.shape[-2:]
    pairs = rows.numel() // d * n
    beside = rows.device.type != "cpu" and not lacks_float64(rows)
    return beside and d > DIRECT_DIMENSION and n > 1 and pairs <= min(_LARGEST, joint_room(rows))


def joint_room(rows: Tensor) -> int:
    """How many pairs of points of the type of `rows` may be held at a time."""
    return room_for(_MOST, _COPIES * rows.element_size())


class JointSums:
    """Sums of a kernel over the pairs of directions of rows, and their gradients in the rows.

    Parameters
    ----------
    sets : tensors of shape (b, n, d), of one type
        Rows of any length; sets of the same n come one after the other.
    kernel : Kernel
    opposite : bool
        Whether points that are nearly antipodal count as near whatever the kernel is.

    Attributes
    ----------
    sums : tensor of shape (m,)
        For each set of every batch.
    ranges : list of (numbers, least, greatest)
        Numbers (m,): what was computed of a set holds if its numbers are within these bounds, which
        nobody has looked at yet. They say that no two points are near; where a norm is extreme they
        are nan, which no bounds hold.
    """

    def __init__(self, sets: Sequence[Tensor], kernel: Kernel, *, opposite: bool) -> None:
        self._sets = sets
        self._runs = tuple(
            (sum(len(one) for one in run), n)
            for n, run in itertools.groupby(sets, key=lambda one: one.shape[1])
        )
        self._diagonals = _diagonals(self._runs, sets[0].device)
        cosines = self._products()
        outer = self._normalise(cosines)
        close, far = sensitive((kernel,))
        between = -_largest_cosine(far) if opposite or far else -math.inf, _largest_cosine(close)
        self.ranges = [(end, *between) for end in self._ends(cosines)]
        used = kernel.apart if close else kernel
        p = torch.rsub(cosines, 2, alpha=2)
        q = torch.rsub(cosines, 2, alpha=-2) if used.reads_q else p
        value, slope = used.value_and_derivative(p, q)
        value.index_fill_(0, self._diagonals, 0.0)
        added = [matrix.sum((1, 2), dtype=torch.float64) for matrix in self._matrices(value)]
        self.sums = torch.cat(added).mul_(0.5).to(value.dtype)
        self._pull = self._tangent(slope, cosines.mul_(slope)).mul_(outer)

    def gradients(self, go: Tensor) -> list[Tensor]:
        """The gradient of sum(go * sums) in the rows of each set, `go` of shape (m,)."""
        scaled = torch.empty_like(self._pull)
        factors = go.split([count for count, _ in self._runs])
        for pull, factor, into in zip(
            self._matrices(self._pull), factors, self._matrices(scaled), strict=True
        ):
            torch.mul(pull, factor[:, None, None], out=into)
        return [
            torch.bmm(weights, rows)
            for weights, rows in zip(self._of_sets(scaled), self._sets, strict=True)
        ]

    def _products(self) -> Tensor:
        """The inner products of all rows with those of their own sets."""
        flat = self._sets[0].new_empty(sum(count * n * n for count, n in self._runs))
        for rows, into in zip(self._sets, self._of_sets(flat), strict=True):
            torch.bmm(rows, rows.mT, out=into)
        return flat

    def _normalise(self, products: Tensor) -> Tensor:
        """Make cosines of products, 0 on the diagonals; return what they were multiplied by."""
        squares = products.index_select(0, self._diagonals)
        inverse = torch.threshold(squares, _NORMS[0] ** 2, math.nan).rsqrt_()
        inverse = torch.threshold(inverse, 1 / _NORMS[1], math.nan)
        outer = torch.empty_like(products)
        for own, into in zip(self._vectors(inverse), self._matrices(outer), strict=True):
            torch.mul(own[:, :, None], own[:, None, :], out=into)
        products.mul_(outer).index_fill_(0, self._diagonals, 0.0)
        return outer

    def _tangent(self, slope: Tensor, turn: Tensor) -> Tensor:
        """Let products of slopes with directions lack their radial parts, the sums of `turn`."""
        radial = slope.new_empty(sum(count * n for count, n in self._runs))
        for own, matrix in zip(self._vectors(radial), self._matrices(turn), strict=True):
            torch.sum(matrix, dim=-1, out=own)
        return slope.index_copy_(0, self._diagonals, radial.neg_())

    def _ends(self, flat: Tensor) -> list[Tensor]:
        """The least and the greatest number of each matrix."""
        ends = [torch.aminmax(part.flatten(1), dim=1) for part in self._matrices(flat)]
        return [torch.cat(end) for end in zip(*ends, strict=True)]

    def _matrices(self, flat: Tensor) -> list[Tensor]:
        """Views (count, n, n), one for each n."""
        parts = flat.split([count * n * n for count, n in self._runs])
        return [part.view(count, n, n) for part, (count, n) in zip(parts, self._runs, strict=True)]

    def _vectors(self, flat: Tensor) -> list[Tensor]:
        """Views (count, n), one for each n."""
        parts = flat.split([count * n for count, n in self._runs])
        return [part.view(count, n) for part, (count, n) in zip(parts, self._runs, strict=True)]

    def _of_sets(self, flat: Tensor) -> list[Tensor]:
        """Views (b, n, n), one for each of the sets."""
        shapes = [(len(one), one.shape[1]) for one in self._sets]
        parts = flat.split([count * n * n for count, n in shapes])
        return [part.view(count, n, n) for part, (count, n) in zip(parts, shapes, strict=True)]


@functools.lru_cache(maxsize=16)
def _diagonals(runs: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    """Where the diagonals of matrices are, `count` of n rows for each run, one after the other."""
    places, start = [], 0
    for count, n in runs:
        first = torch.arange(start, start + count * n * n, n * n, device="cpu")
        places.append(first[:, None] + torch.arange(0, n * n, n + 1, device="cpu"))
        start += count * n * n
    return torch.cat([one.flatten() for one in places]).to(device)


def _largest_cosine(sensitive: bool) -> float:
    """Up to where cosines serve a kernel, or one that does not mind can tell points apart."""
    return NEAR_COSINE if sensitive else 1 - 2.0**-14
