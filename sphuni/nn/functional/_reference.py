"""What the authors' code computes, pair by pair.

Squared distances of directions are kept some units of rounding inside [0, 4], without which the
code returns NaN for weights of large norm. The code forms n x n matrices; here they are cut into
blocks of rows that the backward pass computes again. Nothing else is changed.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sphuni._typing import Metric
from sphuni.sphere import root, unit_rows

__all__ = [
    "coherence",
    "cosine_gap",
    "energy",
    "entropy",
    "log_gaussian_mean",
    "separation",
    "softened",
    "squared_distances",
]

_NORM_EPS = 1e-4
_UNITS = 8
_TILE = 1 << 21  # numbers of a block
_DISTANCE_EPS = 1e-6  # of torch.nn.PairwiseDistance, which the code of KoLeo uses


def softened(weight: Tensor) -> Tensor:
    """Rows divided by sqrt(|w|^2 + 1e-4)."""
    return weight / (weight.square().sum(-1, keepdim=True) + _NORM_EPS).sqrt()


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """2 - 2 c for every pair of rows."""
    return _bounded(2 - 2 * x @ y.mT)


def energy(
    weight: Tensor, *, s: float, metric: Metric, half_space: bool, population: int | None = None
) -> Tensor:
    """Mean energy over the pairs i < j of the n rows, or of the 2n rows {w, -w}.

    With `population` the rows are a sample from so many, whose mean is estimated.
    """
    if s not in (0, 1, 2):
        raise ValueError(f"s must be 0, 1 or 2 with preset='reference'; got {s}")
    rows = softened(weight)
    n = rows.shape[-2]
    pairs = max(1, n * (n - 1) // 2)
    near = _sum_of_pairs(rows, rows, lambda p: _kernel(p, s, metric)) / pairs
    if not half_space:
        return near
    far = _sum_of_pairs(rows, -rows, lambda p: _kernel(p, s, metric)) / pairs
    own = _kernel(_bounded(2 + 2 * rows.square().sum(-1)), s, metric).mean(-1)
    whole = n if population is None else population
    return ((whole - 1) * (near + far) + own) / (2 * whole - 1)


def separation(weight: Tensor, *, half_space: bool) -> Tensor:
    """Minus the smallest squared distance, once for every pair that attains it.

    Pairs that differ by a few units of rounding attain it together: which of them come out equal to
    the last bit, such as (x, y) and (-x, -y), depends on the processor and on the blocks.
    """
    rows = softened(weight)
    if half_space:
        rows = torch.cat([rows, -rows], dim=-2)

    def smallest(block: Tensor, start: int) -> Tensor:
        p = squared_distances(block, rows)
        return p.masked_fill(~_later(p, start), torch.inf).amin(dim=(-2, -1))

    with torch.no_grad():
        least = torch.stack(_blocks(smallest, rows)).amin(dim=0)[..., None, None]
        most = least + _UNITS * torch.finfo(rows.dtype).eps
    return -_sum_of_pairs(rows, rows, lambda p: torch.where(p <= most, p, 0.0))


def coherence(weight: Tensor) -> Tensor:
    """The largest absolute entry of W W^T - I."""

    def largest(block: Tensor, start: int) -> Tensor:
        gram = block @ weight.mT
        return (gram - _own(gram, start).to(gram.dtype)).abs().amax(dim=(-2, -1))

    return torch.stack(_blocks(largest, weight)).amax(dim=0)


def log_gaussian_mean(rows: Tensor, t: float) -> Tensor:
    """Log of the mean of exp(-t |x - y|^2) over the pairs of rows, which are not normalised."""
    n = rows.shape[-2]

    def total(block: Tensor, start: int) -> Tensor:
        p = torch.cdist(block, rows, compute_mode="donot_use_mm_for_euclid_dist").square()
        exponents = (-t * p).masked_fill(~_later(p, start), -torch.inf).flatten(-2)
        return torch.logsumexp(exponents, dim=-1)

    parts = torch.stack(_blocks(total, rows))
    return torch.logsumexp(parts, dim=0) - math.log(n * (n - 1) / 2)


def entropy(rows: Tensor) -> Tensor:
    """Minus the mean of log(n rho), rho to the row of largest inner product, not normalised."""

    def closest(block: Tensor, start: int) -> Tensor:
        products = block @ rows.mT
        return products.masked_fill(_own(products, start), -torch.inf).argmax(dim=-1)

    with torch.no_grad():
        index = torch.cat(_blocks(closest, rows), dim=-1)
    other = rows.gather(-2, index[..., None].expand(rows.shape))
    rho = root((rows - other + _DISTANCE_EPS).square().sum(-1))
    return -(rows.shape[-2] * rho).log().mean(dim=-1)


def cosine_gap(x: Tensor, y: Tensor) -> Tensor:
    """Frobenius norm of the difference of the cosines between the rows of x and those of y."""
    both = torch.cat([unit_rows(x), unit_rows(y)], dim=-1)
    d = x.shape[-1]

    def squared(block: Tensor, start: int) -> Tensor:
        before = block[..., :d] @ both[..., :d].mT
        after = block[..., d:] @ both[..., d:].mT
        return (before - after).square().sum(dim=(-2, -1))

    return root(torch.stack(_blocks(squared, both)).sum(dim=0))


def _blocks(function: Callable[[Tensor, int], Tensor], rows: Tensor) -> list[Tensor]:
    """`function` of every block of rows and the number of its first row."""
    n, batch = rows.shape[-2], rows[..., 0, 0].numel()
    size = max(1, _TILE // (n * batch))
    if n <= size:
        return [function(rows, 0)]
    return [
        checkpoint(function, rows[..., start : start + size, :], start, use_reentrant=False)
        for start in range(0, n, size)
    ]


def _sum_of_pairs(x: Tensor, y: Tensor, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """Sum of a kernel of the squared distances from row i of `x` to row j > i of `y`."""

    def total(block: Tensor, start: int) -> Tensor:
        return kernel(squared_distances(block, y)).triu(start + 1).sum(dim=(-2, -1))

    return torch.stack(_blocks(total, x)).sum(dim=0)


def _later(block: Tensor, start: int) -> Tensor:
    """Which entries of a block of rows from `start` on are pairs i < j."""
    return torch.ones_like(block, dtype=torch.bool).triu(start + 1)


def _own(block: Tensor, start: int) -> Tensor:
    """Which entries of a block of rows from `start` on are a row with itself."""
    return torch.ones_like(block, dtype=torch.bool).triu(start).tril(start)


def _kernel(p: Tensor, s: float, metric: Metric) -> Tensor:
    if metric == "chordal":
        return -p.log() if s == 0 else p ** (-s / 2)
    angle = 2 * torch.atan2(p.sqrt(), (4 - p).sqrt()) / torch.pi + 1e-4
    return -angle.log() if s == 0 else angle**-s


def _bounded(p: Tensor) -> Tensor:
    least = _UNITS * torch.finfo(p.dtype).eps
    return p.clamp(least, 4 - least)
