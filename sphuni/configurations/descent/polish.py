"""Newton's method on the product of spheres: from a good minimum to full double precision."""

import dataclasses
import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from sphuni._typing import Points
from sphuni.configurations._clock import OutOfTimeError, late, room_for
from sphuni.configurations.maxmin._members import rotations, tangents
from sphuni.kernels import Kernel

__all__ = [
    "Polished",
    "Smooth",
    "exact_sum",
    "kernel_derivatives",
    "newton",
    "newton_seconds",
    "pair_derivatives",
    "rotation_modes",
    "squared_distances",
    "tangent_basis",
]

Smooth = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points (n, d) to the tangent gradient (n, d) and the Riemannian Hessian in `tangent_basis`."""

_State = tuple[Points, Tensor, Tensor]
"""Points with these derivatives."""

_FLAT = 1e-9
_TRUST = 0.1
_TRIED, _OF_ROUNDING = 4, 1e-6
_SECONDS = 5e-10
_NUMBERS_TOGETHER = 1 << 22  # differences of coordinates, 32 MB


@dataclasses.dataclass(frozen=True)
class Polished:
    """A stationary configuration and what its derivatives say about it."""

    points: Points
    gradient: float
    """Largest norm of one point's tangent gradient."""
    hessian: Tensor
    """Riemannian Hessian in `tangent_basis`; not finite where points coincide."""

    @property
    def smallest_eigenvalue(self) -> float:
        """Of the Hessian, rotations of the whole set left out; nan if there is no other."""
        kept = self._values[: len(self._values) - self._turns]
        return float(kept[0]) if len(kept) else math.nan

    @property
    def flat_modes(self) -> int:
        """Eigenvalues below 1e-9 of the largest, rotations left out."""
        values = self._values.abs()
        return int((values[: len(values) - self._turns] <= _FLAT * values.max()).sum())

    @functools.cached_property
    def _values(self) -> Tensor:
        """Eigenvalues, found when they are asked for: they cost as much as a step."""
        if not bool(torch.isfinite(self.hessian).all()):
            return self.hessian.new_full((1 + self._turns,), math.nan)
        return _spectrum(self.points, self.hessian)[0]

    @functools.cached_property
    def _turns(self) -> int:
        return rotation_modes(self.points).shape[1]


def newton(
    derivatives: Smooth, points: Points, *, iterations: int = 20, deadline: float = math.inf
) -> Polished:
    """Polish a local minimum by Newton steps in the complement of the rotations.

    Parameters
    ----------
    derivatives : callable
        See `Smooth`.
    points : tensor of shape (n, d)
        Unit rows close to a minimum.
    iterations : int, default 20
        At most so many times the gradient is to shrink, by a step or up to four.
    deadline : float, optional
        Of the monotonic clock; no step begins later, or is begun that ends much later.

    Returns
    -------
    Polished

    Raises
    ------
    OutOfTimeError
        If there is time left, but not enough for the next step.

    Notes
    -----
    It ends when the gradient no longer shrinks. A direction of negative curvature is descended, a
    flat one (below 1e-9 of the largest eigenvalue) is left alone. O((n d)^3) per step, about
    `newton_seconds`.
    """
    best = points
    gradient, hessian = derivatives(best)
    size = _longest(gradient)
    if not bool(torch.isfinite(hessian).all()):  # coincident points
        return Polished(best, size, hessian)
    for _ in range(iterations):
        if late(deadline):
            break
        if not room_for(newton_seconds(len(hessian)), deadline):
            raise OutOfTimeError(best.numpy())
        found = _shrunk(derivatives, (best, gradient, hessian), deadline)
        if found is None:
            break
        best, gradient, hessian = found
        size = _longest(gradient)
    return Polished(best, size, hessian)


def _shrunk(derivatives: Smooth, state: _State, deadline: float) -> _State | None:
    """Where the gradient is shorter after a step, or after a few; None if it is not.

    Where a minimum is flat to second order, as log energies of simplices in perpendicular spaces
    are, a long step along the flat moves leaves the others out of balance, and the next ones
    mend that. Steps that rounding may have made have no second.
    """
    size = _longest(state[1])
    for _ in range(_TRIED):
        step = _newton_step(*state)
        trial = state[0] + step
        trial = trial / torch.linalg.vector_norm(trial, dim=-1, keepdim=True)
        state = (trial, *derivatives(trial))
        if not bool(torch.isfinite(state[2]).all()):
            break
        if _longest(state[1]) < size:
            return state
        if _longest(step) < _OF_ROUNDING or late(deadline):
            break
        if not room_for(newton_seconds(len(state[2])), deadline):
            break
    return None


def newton_seconds(size: int) -> float:
    """Roughly the seconds of the eigenvectors of a Hessian (size, size), which none interrupts."""
    return _SECONDS * size**3


def tangent_basis(points: Points) -> Tensor:
    """Orthonormal bases (n, d, d - 1) of the tangent spaces, those that `rotation_modes` is in."""
    return torch.from_numpy(tangents(points.numpy()))


def rotation_modes(points: Points) -> Tensor:
    """Orthonormal columns (n (d - 1), k) spanning the moves that rotate the whole set."""
    return torch.from_numpy(rotations(points.numpy()))


def kernel_derivatives(kernel: Kernel) -> Smooth:
    """Gradient and Hessian of the energy sum over i < j of a zonal kernel."""

    def derivatives(points: Points) -> tuple[Tensor, Tensor]:
        p, q = squared_distances(points)
        return pair_derivatives(points, kernel.derivative(p, q), kernel.second(p, q))

    return derivatives


def exact_sum(kernel: Kernel, points: Points) -> float:
    """Sum a kernel over i < j, by differences of coordinates and rounded once."""
    i, j = torch.triu_indices(len(points), len(points), 1)
    few = max(1, _NUMBERS_TOGETHER // points.shape[1])
    values: list[float] = []
    for here, there in zip(i.split(few), j.split(few), strict=True):
        p = (points[here] - points[there]).square().sum(-1)
        q = (points[here] + points[there]).square().sum(-1)
        values += kernel.value(p, q).tolist()
    return math.fsum(values)


def squared_distances(points: Points) -> tuple[Tensor, Tensor]:
    """|x_i - x_j|^2 and |x_i + x_j|^2 by differences; 2 on the diagonal."""
    p = (points[:, None] - points[None]).square().sum(-1).fill_diagonal_(2.0)
    q = (points[:, None] + points[None]).square().sum(-1).fill_diagonal_(2.0)
    return p, q


def pair_derivatives(points: Points, slope: Tensor, curvature: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian of a sum over i < j from its derivatives in the cosines t_ij.

    The diagonals of `slope` and `curvature` (n, n) are ignored.
    """
    n, d = points.shape
    p, q = squared_distances(points)
    slope, curvature = slope.clone().fill_diagonal_(0.0), curvature.clone().fill_diagonal_(0.0)
    flip = torch.where(q < p, -1.0, 1.0).to(p)
    pull = slope[..., None] * (points[None] - flip[..., None] * points[:, None])
    gradient = pull.sum(1)
    gradient = gradient - (gradient * points).sum(-1, keepdim=True) * points
    basis = tangent_basis(points)
    along = torch.einsum("ide,jd->ije", basis, points)
    hessian = torch.einsum("ide,ij,jdf->iejf", basis, slope, basis)
    hessian += torch.einsum("ije,ij,jif->iejf", along, curvature, along)
    own = torch.einsum("ije,ij,ijf->ief", along, curvature, along)
    own -= (0.25 * slope * (q - p)).sum(1)[:, None, None] * torch.eye(d - 1, dtype=p.dtype)
    index = torch.arange(n)
    hessian[index, :, index, :] += own
    return gradient, hessian.reshape(n * (d - 1), n * (d - 1))


def _newton_step(points: Points, gradient: Tensor, hessian: Tensor) -> Tensor:
    values, vectors = _spectrum(points, hessian)
    basis = tangent_basis(points)
    projected = torch.einsum("nd,nde->ne", gradient, basis).reshape(-1)
    flat = values.abs() <= _FLAT * values.abs().max()
    scale = torch.where(flat, 0.0, 1 / torch.where(flat, 1.0, values.abs()))
    move = -(vectors * scale) @ (vectors.T @ projected)
    step = torch.einsum("nde,ne->nd", basis, move.reshape(len(points), -1))
    return step * min(1.0, _TRUST / max(_longest(step), 1e-300))


def _spectrum(points: Points, hessian: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenpairs, ascending, with the rotations moved to the upper end."""
    modes = rotation_modes(points)
    scale = 10 * torch.linalg.matrix_norm(hessian, ord=1).clamp_min(1e-300)
    inner = hessian - modes @ (modes.T @ hessian)
    inner = inner - (inner @ modes) @ modes.T
    pair = torch.linalg.eigh(0.5 * (inner + inner.T) + scale * modes @ modes.T)
    return pair.eigenvalues, pair.eigenvectors


def _longest(rows: Tensor) -> float:
    return float(torch.linalg.vector_norm(rows, dim=-1).max())
