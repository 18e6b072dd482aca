"""From weights to directions: unit rows, with a seeded kick where a direction is lost.

Two equal rows repel each other along no direction, so their gradient is zero and they stay
together for ever. Such rows are therefore evaluated a small tangent step apart, in fixed
pseudo-random directions, which makes the gradient push them apart; zero rows, which have no
direction at all, are given one. Weights are never changed by this, only the point of evaluation.
"""

import functools
from typing import Any

import torch
from torch import Tensor

from sphuni.sphere import unit_rows

__all__ = ["KICK", "directions", "lost", "parted", "unit_and_inverse"]

KICK = 1e-3
_SAME = 1e-6
_SEED = 20_240_607
_SMALLEST, _LARGEST = 1e-15, 1e15


def directions(weight: Tensor, *, half_space: bool = False) -> Tensor:
    """Return unit rows; rows closer than 1e-6 to another (or its antipode) are kicked apart."""
    rows, inverse = _Unit.apply(weight)
    with torch.no_grad():
        shift = _shift(rows.detach(), inverse[..., 0], half_space)
    return rows if shift is None else unit_rows(rows + shift)


def parted(weight: Tensor) -> Tensor:
    """Return the weight, in which rows on the line of another are kicked apart."""
    with torch.no_grad():
        rows, inverse = unit_and_inverse(weight.detach())
        shift = _shift(rows, inverse[..., 0], True)
        if shift is None:
            return weight
        lengths = torch.linalg.vector_norm(weight.detach(), dim=-1, keepdim=True)
    return weight + shift * lengths


def lost(rows: Tensor, inverse: Tensor, *, half_space: bool, apart: bool) -> bool:
    """Whether rows that `unit_and_inverse` gave need a kick; `apart` says that none coincide."""
    if apart:
        return _zero(rows.reshape(-1, *rows.shape[-2:]), inverse[..., 0]) is not None
    return _shift(rows, inverse[..., 0], half_space) is not None


def _shift(rows: Tensor, inverse: Tensor, half_space: bool) -> Tensor | None:
    """What to add to the rows that are zero or coincide with another; None if none do."""
    flat = rows.reshape(-1, *rows.shape[-2:])
    zero = _zero(flat, inverse)
    same = _coincident(flat, half_space)
    if zero is None and same is None:
        return None
    noise = unit_rows(_noise(rows.shape[-2], rows.shape[-1]).to(flat))
    shift = torch.zeros_like(flat)
    if same is not None:
        tangent = noise - (flat * noise).sum(-1, keepdim=True) * flat
        shift = torch.where(same[..., None], KICK * unit_rows(tangent), shift)
    if zero is not None:
        shift = torch.where(zero[..., None], noise.expand_as(flat), shift)
    return shift.reshape(rows.shape)


def _zero(flat: Tensor, inverse: Tensor) -> Tensor | None:
    """Mark zero rows; None if there are none."""
    suspect = inverse.reshape(flat.shape[:-1]) == 1  # what zero rows have, and few others
    if not bool(suspect.any()):
        return None
    zero = suspect & (torch.linalg.vector_norm(flat, dim=-1) < 0.5)
    return zero if bool(zero.any()) else None


def _coincident(flat: Tensor, half_space: bool) -> Tensor | None:
    """Mark rows that coincide with another: neighbours in the order of one random projection."""
    count, n, d = flat.shape
    if n < 2:
        return None
    key = flat @ _noise(1, d)[0].to(flat)
    key, order = (key.abs() if half_space else key).sort(dim=-1)
    gaps, least = key.diff(dim=-1), 2 * _SAME * d**0.5
    if float(gaps.amin()) > least:
        return None
    batch, place = torch.nonzero(gaps <= least, as_tuple=True)
    first, second = order[batch, place], order[batch, place + 1]
    left, right = flat[batch, first], flat[batch, second]
    gap = (left - right).square().sum(-1)
    if half_space:
        gap = torch.minimum(gap, (left + right).square().sum(-1))
    found = gap <= _SAME**2
    if not bool(found.any()):
        return None
    marked = torch.zeros(count, n, dtype=torch.bool, device=flat.device)
    marked[batch[found], first[found]] = True
    marked[batch[found], second[found]] = True
    return marked


@functools.lru_cache(maxsize=64)
def _noise(n: int, d: int) -> Tensor:
    generator = torch.Generator().manual_seed(_SEED)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


class _Unit(torch.autograd.Function):
    """`unit_rows` in two passes over the weight, and its gradient in three."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Any:
        """Return the unit rows and the inverse norms, which are one for zero rows."""
        rows, inverse = unit_and_inverse(weight)
        ctx.mark_non_differentiable(inverse)
        ctx.save_for_backward(weight, rows, inverse)
        return rows, inverse

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        weight, rows, inverse = ctx.saved_tensors
        gradient = upstream[0]
        if torch.is_grad_enabled():
            rows = unit_rows(weight)
            inverse = (weight * rows).sum(-1, keepdim=True)
            inverse = torch.where(inverse == 0, 1.0, inverse).reciprocal()
        radial = (gradient * rows).sum(-1, keepdim=True)
        return (gradient - radial * rows) * inverse


def unit_and_inverse(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Unit rows and inverse norms (..., n, 1); norms too large to square go the long way."""
    norm = torch.linalg.vector_norm(weight, dim=-1, keepdim=True)
    low, high = torch.aminmax(norm)
    if float(low) > _SMALLEST and float(high) < _LARGEST:
        inverse = norm.reciprocal()
        return weight * inverse, inverse
    largest = weight.abs().amax(dim=-1, keepdim=True)
    scaled = weight / torch.where(largest == 0, 1.0, largest)
    norm = largest * torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return unit_rows(weight), torch.where(largest == 0, 1.0, norm.reciprocal())
