"""Energies of arc lengths: two opposite points sit in a kink of the energy, and stay opposite.

The arc theta between x and y falls at unit rate on every way out of y = -x, so a potential that
falls with theta has a cone there, of slope c = -f'(pi). Opposite pairs are therefore tied: one
point moves, the other is its mirror image, and on such sets the energy is smooth. The force F that
the others exert on a tied pair, to part it, must not exceed c.
"""

import dataclasses
import math
from typing import NamedTuple

import torch
from torch import Tensor

from sphuni._typing import Points
from sphuni.configurations._clock import OutOfTimeError, late
from sphuni.configurations.descent.polish import (
    Polished,
    Smooth,
    exact_sum,
    newton,
    pair_derivatives,
    squared_distances,
    tangent_basis,
)
from sphuni.kernels import Riesz

__all__ = ["Ties", "polish", "state_of", "ties_of"]

_OPPOSITE, _ROUNDING = 1e-9, 1e-14
_TRIED = (0.3, 0.03, 1e-3, 1e-5)


class Ties(NamedTuple):
    """Point i is sign[i] times representative owner[i]."""

    owner: Tensor
    sign: Tensor

    def points(self, representatives: Tensor) -> Tensor:
        """Put every point in its place."""
        return self.sign[:, None] * representatives[self.owner]

    @property
    def pairs(self) -> Tensor:
        """Tied pairs (k, 2)."""
        first = torch.nonzero(self.sign > 0)[:, 0]
        second = torch.nonzero(self.sign < 0)[:, 0]
        by_owner = torch.full((int(self.owner.max()) + 1,), -1)
        by_owner[self.owner[first]] = first
        return torch.stack([by_owner[self.owner[second]], second], 1)


def ties_of(points: Points, within: float = _OPPOSITE) -> tuple[Ties, Tensor]:
    """Tie the pairs nearest to opposite, |x_i + x_j| < `within`, and return representatives."""
    apart = squared_distances(points)[1].sqrt()  # by differences: exact zeros
    near = torch.nonzero(torch.triu(apart < within, 1))
    near = near[apart[near[:, 0], near[:, 1]].argsort()]
    partner: dict[int, int] = {}
    for i, j in near.tolist():
        if i not in partner and j not in partner:
            partner[i], partner[j] = j, i
    owner = torch.empty(len(points), dtype=torch.long)
    sign = torch.ones(len(points), dtype=points.dtype)
    rows: list[Tensor] = []
    for i in range(len(points)):
        j = partner.get(i, i)
        if j < i:
            owner[i], sign[i] = owner[j], -1.0
            continue
        owner[i] = len(rows)
        rows.append(points[i] if j == i else points[i] - points[j])
    chosen = torch.stack(rows)
    return Ties(owner, sign), chosen / torch.linalg.vector_norm(chosen, dim=1, keepdim=True)


def polish(kernel: Riesz, points: Points, deadline: float = math.inf) -> Tensor:
    """Tie the pairs that should be, and apply Newton's method to what remains smooth.

    Of energies that differ by rounding only the better balanced set is kept: descent alone comes
    as low as that long before its gradient vanishes.
    """
    best, least, size = points, exact_sum(kernel, points), math.inf
    for tried, within in enumerate(_TRIED):
        if tried and late(deadline):
            break
        ties, rows = ties_of(points, within)
        try:
            found = newton(_tied(kernel, ties), rows, deadline=deadline)
        except OutOfTimeError as stopped:
            raise OutOfTimeError(best.numpy()) from stopped
        candidate = ties.points(found.points)
        energy = exact_sum(kernel, candidate)
        residual = _out_of_balance(kernel, ties, found)
        equal = abs(least - energy) <= _ROUNDING * max(1.0, abs(least))
        if math.isfinite(energy) and (residual < size if equal else energy < least):
            best, least, size = candidate, energy, residual
    return best


def state_of(kernel: Riesz, points: Points) -> Polished:
    """Gradient and Hessian on the sets with these ties; forces beyond the cone's count as well."""
    ties, rows = ties_of(points)
    state = newton(_tied(kernel, ties), rows, iterations=0)
    return dataclasses.replace(state, gradient=_out_of_balance(kernel, ties, state))


def _out_of_balance(kernel: Riesz, ties: Ties, state: Polished) -> float:
    """Largest gradient of one point of sets with these ties, or force beyond the cone's slope."""
    i, j = ties.pairs.T
    if not len(i):
        return state.gradient
    gradient, _ = _derivatives(kernel, ties, ties.points(state.points))
    force = torch.linalg.vector_norm(0.5 * (gradient[i] + gradient[j]), dim=1)
    excess = float((force - _slope_at_opposite(kernel)).max())
    return max(state.gradient, excess)


def _slope_at_opposite(kernel: Riesz) -> float:
    """-df/dtheta at theta = pi."""
    s = kernel.s
    return (abs(s) if s != 0 else 1.0) * math.pi ** (-s - 1)


def _tied(kernel: Riesz, ties: Ties) -> Smooth:
    """Derivatives in the representatives; pairs that are tied have a constant energy."""
    count = int(ties.owner.max()) + 1

    def derivatives(rows: Tensor) -> tuple[Tensor, Tensor]:
        points = ties.points(rows)
        gradient, hessian = _derivatives(kernel, ties, points)
        force = torch.zeros_like(rows).index_add_(0, ties.owner, ties.sign[:, None] * gradient)
        here, there = tangent_basis(points), tangent_basis(rows)[ties.owner]
        maps = ties.sign[:, None, None] * torch.einsum("nde,ndf->nef", here, there)
        n, k = maps.shape[:2]
        wide = maps.new_zeros(n, k, count, k)
        wide[torch.arange(n), :, ties.owner, :] = maps
        change = wide.reshape(n * k, count * k)
        return force, change.T @ hessian @ change

    return derivatives


def _derivatives(kernel: Riesz, ties: Ties, points: Points) -> tuple[Tensor, Tensor]:
    """Those of all points, without the pairs that are tied."""
    p, q = squared_distances(points)
    tied = ties.owner[:, None] == ties.owner[None]
    slope = kernel.derivative(p, q).masked_fill(tied, 0.0)
    curvature = kernel.second(p, q).masked_fill(tied, 0.0)
    return pair_derivatives(points, slope, curvature)
