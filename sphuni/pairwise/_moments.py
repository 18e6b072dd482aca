"""Kernels that are polynomials of degree at most two in the cosine: O(n d) or O(n d^2) by moments.

The moments are those of the points less their mean, in which no digits cancel however close the
points lie. With y = x - mean and a = |y|^2,

    sum_{i<j} |x_i - x_j|^2 = n sum a,
    sum_{i<j} |x_i - x_j|^4 = n sum a^2 + (sum a)^2 + 2 |sum y y'|_F^2,

and the gradients at x_i, which sum to zero, are

    2 n y_i    and    4 (n a_i + sum a) y_i + 8 (sum y y') y_i - 4 sum a y.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sphuni.kernels import Antipodal, GegenbauerSeries, Kernel, Riesz
from sphuni.pairwise._autograd import connect, wants_gradient
from sphuni.pairwise.tiles._tiles import degree_zero, tangent

__all__ = ["repays", "supports", "total"]

_BLOCK_ELEMENTS = 1 << 16
"""Of a block of rows, small enough to stay in a cache while it is used."""

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
    if n < _FEWEST:
        return False
    found = [_quadratic(kernel) for kernel in kernels]
    spread = any(one is not None and one.c2 != 0 for one in found)
    return None not in found and (n >= 2 * d or not spread)


def total(x: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    """Sum over i < j of each kernel: (b, n, d) -> (b, k), float64."""
    found = [quadratic for quadratic in map(_quadratic, kernels) if quadratic is not None]
    moments = _moments_of(x.detach(), spread=any(kernel.c2 != 0 for kernel in found))
    sums = _combine(found, x.shape[1], moments.radii, moments.squares, moments.second)
    if not wants_gradient(x):
        return sums
    gradients = _gradients(x.detach(), found, moments)
    return connect(
        x,
        sums,
        gradients,
        functools.partial(_second, found),
        recompute=lambda x: _gradients(x, found, moments),
    )


class _Moments(NamedTuple):
    """Of y = x - mean and a = |y|^2: sums of a, a^2, a y and y y'; the last three may be zero."""

    mean: Tensor
    radii: Tensor
    squares: Tensor
    pull: Tensor
    second: Tensor


def _moments_of(x: Tensor, *, spread: bool) -> _Moments:
    """Block by block in float64, so that memory does not grow with n."""
    b, n, d = x.shape
    blocks = x.split(_block_rows(d), dim=1)
    mean, pull, second = (x.new_zeros(b, rows, d, dtype=torch.float64) for rows in (1, 1, d))
    radii, squares = (x.new_zeros(b, dtype=torch.float64) for _ in range(2))
    for block in blocks:
        mean += block.sum(1, keepdim=True, dtype=torch.float64) / max(n, 1)
    for block in blocks:
        y = block.double() - mean
        a = torch.linalg.vector_norm(y, dim=-1).square()
        radii += a.sum(dim=-1)
        if spread:
            squares += a.square().sum(dim=-1)
            pull += a[:, None] @ y
            second.baddbmm_(y.mT, y)
    return _Moments(mean, radii, squares, pull, second)


def _gradients(x: Tensor, kernels: Sequence[_Quadratic], moments: _Moments) -> Tensor:
    """Tangent gradients (k, b, n, d)."""
    n, step = x.shape[1], _block_rows(x.shape[2])
    gradients = x.new_empty(len(kernels), *x.shape)
    for rows, found in zip(x.split(step, dim=1), gradients.split(step, dim=2), strict=True):
        block = rows.double()
        y = block - moments.mean
        a = torch.linalg.vector_norm(y, dim=-1, keepdim=True).square()
        for kernel, gradient in zip(kernels, found, strict=True):
            pull = y * (2 * n * kernel.c1 + 4 * kernel.c2 * (n * a + moments.radii[:, None, None]))
            if kernel.c2:
                pull.baddbmm_(y, moments.second, alpha=8 * kernel.c2)
                pull.sub_(moments.pull, alpha=4 * kernel.c2)
            gradient.copy_(tangent(block, pull))
    return gradients


def _block_rows(d: int) -> int:
    """Not fewer than d: for few rows the second moments would be read and written too often."""
    return max(d, _BLOCK_ELEMENTS // d)


def _second(kernels: Sequence[_Quadratic], x: Tensor, go: Tensor) -> Tensor:
    """The gradient of sum(go * sums) by plain operations, differentiable once more."""
    wide = degree_zero(x).double()
    y = wide - wide.mean(dim=1, keepdim=True)
    a = y.square().sum(dim=-1)
    sums = _combine(kernels, x.shape[1], a.sum(-1), a.square().sum(-1), y.mT @ y)
    (gradient,) = torch.autograd.grad(sums, x, go, create_graph=True)
    return gradient


def _combine(
    kernels: Sequence[_Quadratic], n: int, radii: Tensor, squares: Tensor, second: Tensor
) -> Tensor:
    """The sums over i < j (b, k) that the moments make."""
    squared = n * radii
    fourth = n * squares + radii.square() + 2 * second.square().sum(dim=(-2, -1))
    sums = [k.c0 * 0.5 * n * (n - 1) + k.c1 * squared + k.c2 * fourth for k in kernels]
    return torch.stack(sums, dim=-1)


@functools.lru_cache(maxsize=256)
def _quadratic(kernel: Kernel) -> _Quadratic | None:
    """The polynomial that a kernel is, from its values at three distances."""
    if not _is_quadratic(kernel):
        return None
    p = torch.tensor([0.0, 2.0, 4.0], dtype=torch.float64, device="cpu")
    at_0, at_2, at_4 = kernel.value(p, 4 - p).tolist()
    c2 = (at_0 - 2 * at_2 + at_4) / 8
    return _Quadratic(at_0, (at_2 - at_0) / 2 - 2 * c2, c2)


def _is_quadratic(kernel: Kernel) -> bool:
    if isinstance(kernel, Antipodal):
        return _is_quadratic(kernel.base)
    if isinstance(kernel, Riesz):
        return kernel.metric == "chordal" and kernel.s in (-2.0, -4.0)
    return isinstance(kernel, GegenbauerSeries) and len(kernel.coefficients) <= 3
