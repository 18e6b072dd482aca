"""Kernels that are polynomials of degree at most two in the cosine: O(n d) or O(n d^2) by moments.

The moments are those of the points less their mean, in which no digits cancel however close the
points lie. With y = x - mean and a = |y|^2,

    sum_{i<j} |x_i - x_j|^2 = n sum a,
    sum_{i<j} |x_i - x_j|^4 = n sum a^2 + (sum a)^2 + 2 |sum y y'|_F^2.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sphuni.kernels import Antipodal, GegenbauerSeries, Kernel, Riesz
from sphuni.pairwise._tiles import degree_zero

__all__ = ["repays", "supports", "total"]

_BLOCK = 8192
_FEWEST = 256


class _Quadratic(NamedTuple):
    """The kernel c0 + c1 p + c2 p^2 of the squared distance p."""

    c0: float
    c1: float
    c2: float


def supports(x: Tensor, y: Tensor | None, kernels: Sequence[Kernel], op: str) -> str | None:
    """Return the reason for refusing a call, or None."""
    if op != "sum" or y is not None:
        return "it computes sums over the pairs of one unweighted set only"
    if all(_quadratic(kernel) is not None for kernel in kernels):
        return None
    return "the kernel is not a polynomial of degree at most two in the cosine"


def repays(x: Tensor, kernels: Sequence[Kernel]) -> bool:
    """Whether moments are cheaper than pairs, for kernels that they serve."""
    n, d = x.shape[-2:]
    found = [_quadratic(kernel) for kernel in kernels]
    if None in found:
        return False
    spread = any(one is not None and one.c2 != 0 for one in found)
    return n >= max(_FEWEST, 2 * d if spread else 0)


def total(x: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    """Sum over i < j of each kernel: (b, n, d) -> (b, k), float64."""
    found = [quadratic for quadratic in map(_quadratic, kernels) if quadratic is not None]
    n = x.shape[1]
    squared, fourth = _distance_sums(x, with_fourth=any(kernel.c2 != 0 for kernel in found))
    sums = [k.c0 * 0.5 * n * (n - 1) + k.c1 * squared + k.c2 * fourth for k in found]
    return torch.stack(sums, dim=-1)


def _distance_sums(x: Tensor, *, with_fourth: bool) -> tuple[Tensor, Tensor]:
    """Sums (b,) over i < j of the squared distance and of its square (zero if not asked for)."""
    b, n, d = x.shape
    blocks = [degree_zero(block) for block in x.split(_BLOCK, dim=1)]
    mean = sum((block.sum(1, dtype=torch.float64) for block in blocks), x.new_zeros(b, d).double())
    mean = (mean / max(n, 1))[:, None]
    radii = x.new_zeros(b, dtype=torch.float64)
    squares, second = torch.zeros_like(radii), x.new_zeros(b, d, d, dtype=torch.float64)
    for block in blocks:
        centred = block.double() - mean
        a = centred.square().sum(dim=-1)
        radii = radii + a.sum(dim=-1)
        if with_fourth:
            squares = squares + a.square().sum(dim=-1)
            second = second + centred.mT @ centred
    fourth = n * squares + radii.square() + 2 * second.square().sum(dim=(-2, -1))
    return n * radii, fourth if with_fourth else torch.zeros_like(radii)


@functools.lru_cache(maxsize=256)
def _quadratic(kernel: Kernel) -> _Quadratic | None:
    """The polynomial that a kernel is, from its values at three distances."""
    if not _is_quadratic(kernel):
        return None
    p = torch.tensor([0.0, 2.0, 4.0], dtype=torch.float64)
    at_0, at_2, at_4 = kernel.value(p, 4 - p).tolist()
    c2 = (at_0 - 2 * at_2 + at_4) / 8
    return _Quadratic(at_0, (at_2 - at_0) / 2 - 2 * c2, c2)


def _is_quadratic(kernel: Kernel) -> bool:
    if isinstance(kernel, Antipodal):
        return _is_quadratic(kernel.base)
    if isinstance(kernel, Riesz):
        return kernel.metric == "chordal" and kernel.s in (-2.0, -4.0)
    return isinstance(kernel, GegenbauerSeries) and len(kernel.coefficients) <= 3
