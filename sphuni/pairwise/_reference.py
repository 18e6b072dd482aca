"""The slow and obvious engine: every pair by differences, autograd for every derivative.

It is the truth that the other engines are held to, and it needs O(n^2 d) memory.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sphuni._budget import require
from sphuni._typing import Weights
from sphuni.kernels import Kernel
from sphuni.pairwise.tiles._tiles import degree_zero, met

__all__ = ["rows", "supports", "total"]


def supports(x: Tensor, y: Tensor | None, kernels: Sequence[Kernel], op: str) -> str | None:
    """Return None: the reference serves every call that fits into memory."""
    return None


def total(x: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    """Sum over i < j of each kernel: (b, n, d) -> (b, k)."""
    _check_room(x, x)
    x = degree_zero(x)
    first, second = torch.triu_indices(x.shape[-2], x.shape[-2], offset=1, device=x.device)
    values = _values(x[:, first], x[:, second], kernels)
    return values.sum(dim=-2)


def rows(x: Tensor, y: Tensor | None, weights: Weights | None, kernels: Sequence[Kernel]) -> Tensor:
    """sum_j w_j K(x_i, y_j): (b, n, k); with y None over the other points of x."""
    x = degree_zero(x)
    other = x if y is None else degree_zero(y)
    _check_room(x, other)
    values = _values(x[:, :, None], other[:, None], kernels)
    if y is None:
        keep = ~torch.eye(x.shape[-2], dtype=torch.bool, device=x.device)
        values = torch.where(keep[None, :, :, None], values, torch.zeros_like(values))
    if weights is not None:
        w = weights[:, None, :, None]
        values = values.masked_fill((w == 0) & values.isinf(), 0.0) * w
    return values.sum(dim=-2)


def _check_room(x: Tensor, y: Tensor) -> None:
    """Differences and sums of every pair, and what autograd keeps of them."""
    pairs = x.shape[0] * x.shape[1] * y.shape[1]
    require(
        4 * pairs * x.shape[2] * x.element_size(),
        None,
        what=f"engine='reference' for {x.shape[1]} x {y.shape[1]} points",
        remedy="use engine='auto'",
    )


def _values(x: Tensor, y: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    p = (x - y).square().sum(dim=-1)
    q = (x + y).square().sum(dim=-1)
    return torch.stack([_value(kernel, p, q) for kernel in kernels], dim=-1)


def _value(kernel: Kernel, p: Tensor, q: Tensor) -> Tensor:
    """K with its limit, and a zero gradient, where it is singular."""
    close = met(p) & kernel.singular
    opposite = met(q) & kernel.singular_opposite
    two = torch.full_like(p, 2.0)
    inside = kernel.value(
        torch.where(close | opposite, two, p), torch.where(close | opposite, two, q)
    )
    inside = inside.masked_fill(close, kernel.at_one)
    return inside.masked_fill(opposite, kernel.at_minus_one)
