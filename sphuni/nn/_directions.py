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

from sphuni.nn._precision import bounded, widen
from sphuni.sphere import unit_rows

__all__ = ["KICK", "directions", "lost", "parted", "unit", "unit_and_inverse"]

KICK = 1e-3
_SAME = 1e-6
_SEED = 20_240_607
_SMALLEST, _LARGEST = 1e-15, 1e15
_SHORTEST = {torch.float32: 1e-30, torch.float64: 1e-250}  # shorter rows: gradients as at this


def directions(weight: Tensor, *, half_space: bool = False) -> Tensor:
    """Return unit rows; rows closer than 1e-6 to another (or its antipode) are kicked apart."""
    rows, inverse = _Unit.apply(weight)
    with torch.no_grad():
        shift = _shift(rows.detach(), inverse[..., 0], half_space)
    return rows if shift is None else unit_rows(rows + shift)


def unit(weight: Tensor) -> Tensor:
    """`unit_rows` in at least float32, with a gradient that is finite for rows of any length."""
    return unit_rows(bounded(widen(weight)))


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
    marks = [_zero(flat, inverse), _coincident(flat, half_space)]
    found = [mark for mark in marks if mark is not None]
    if not found:
        return None
    batch, row = torch.nonzero(torch.stack(found).any(dim=0), as_tuple=True)
    numbers, place = row.unique(return_inverse=True)
    noise, at = _noise(numbers, rows.shape[-1]).to(flat)[place], flat[batch, row]
    # tangents of different lengths, so that no two agree even where there are two directions only
    tangent = KICK * (noise - (at * noise).sum(-1, keepdim=True) * at)
    empty = torch.linalg.vector_norm(at, dim=-1, keepdim=True) < 0.5
    shift = torch.zeros_like(flat)
    shift[batch, row] = torch.where(empty, noise, tangent)
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
    key = flat @ _line(d).to(flat)
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
def _line(d: int) -> Tensor:
    """The vector that rows are projected on to find those that coincide."""
    generator = torch.Generator("cpu").manual_seed(_SEED)
    return torch.randn(d, generator=generator, dtype=torch.float64, device="cpu")


def _noise(numbers: Tensor, d: int) -> Tensor:
    """A direction for each row number; it does not depend on the others that are asked for."""
    generator = torch.Generator("cpu")
    noise = torch.empty(len(numbers), d, dtype=torch.float32)
    for row, number in zip(noise, numbers.tolist(), strict=True):
        row.normal_(generator=generator.manual_seed(_SEED + 1 + number))
    return unit_rows(noise)


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
            inverse = _inverse((weight * rows).sum(-1, keepdim=True))
        radial = (gradient * rows).sum(-1, keepdim=True)
        return (gradient - radial * rows) * inverse


def unit_and_inverse(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Unit rows and inverse norms (..., n, 1); norms too extreme to square go the long way."""
    norm = torch.linalg.vector_norm(weight, dim=-1, keepdim=True)
    inverse = norm.reciprocal()
    least, most = torch.stack(torch.aminmax(norm)).tolist()
    if least >= _SMALLEST and most <= _LARGEST:
        return weight * inverse, inverse
    largest = weight.abs().amax(dim=-1, keepdim=True)
    scaled = weight / torch.where(largest == 0, 1.0, largest)
    return unit_rows(weight), _inverse(
        largest * torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    )


def _inverse(norm: Tensor) -> Tensor:
    """Inverse norms, which are one for zero rows and bounded for those that are nearly zero."""
    return torch.where(norm == 0, 1.0, norm.clamp_min(_SHORTEST[norm.dtype])).reciprocal()
