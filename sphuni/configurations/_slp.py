"""Raise the least of many smooth functions of the points: sequential linear programming."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

__all__ = ["Ascent", "Family", "Members", "ascend", "multipliers", "step_along", "tangents"]

Array = NDArray[np.float64]


class Members(NamedTuple):
    """The functions of a family that may be the least after a small move."""

    values: Array
    jacobian: sparse.csr_matrix
    """Rows of derivatives with respect to the coordinates in `tangents`."""
    labels: NDArray[np.int64]
    """One row of indices per function: a contact, a facet; may have no columns."""


Family = Callable[[Array, float], Members]
"""Points (n, d) and a margin to the members whose value is within the margin of the least."""

_LINEAR = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
_SMALLEST_RADIUS = 1e-13
_ROUNDING = 4e-15
_RIDGE = 1e-3
_CARRYING = 1e-4


@dataclasses.dataclass(frozen=True)
class Ascent:
    """Where an ascent ended."""

    points: Array
    value: float
    iterations: int


def ascend(
    family: Family,
    points: Array,
    *,
    radius: float,
    iterations: int = 200,
    precision: float = 1e-16,
) -> Ascent:
    """Maximise the least member by linear programmes in a trust region, then even out.

    Parameters
    ----------
    family : callable
        See `Family`.
    points : ndarray of shape (n, d)
        Unit rows.
    radius : float
        First bound on each tangent coordinate of a step.
    iterations : int, default 200
        Linear programmes.
    precision : float, default 1e-16
        Ends when the programme promises no more than this.

    Returns
    -------
    Ascent

    Notes
    -----
    The programme is posed in units of the radius, so the solver's tolerances shrink with the
    steps; convergence is quadratic where as many members as unknowns are tied (rigid optima).
    Rotations of the whole set, which the programme leaves undetermined, are taken out of every
    step: to first order only they change nothing, and their curvature would spoil convergence.

    References
    ----------
    R. Fletcher, E. Sainz de la Maza, "Nonlinear programming and nonsmooth optimization by
    successive linear programming", Mathematical Programming 43 (1989) 235-256,
    doi:10.1007/BF01582292.
    """
    n, d = points.shape
    members = family(points, 0.0)
    least = float(members.values.min())
    used = 0
    while used < iterations:
        used += 1
        members = family(points, 1.5 * radius * _steepest(members))
        move, promised = _linear_step((members.values - least) / radius, members.jacobian)
        if move is None or promised * radius <= precision:
            break
        turn = _rotations(points)
        move = move - turn @ (turn.T @ move)
        trial = step_along(points, radius * move.reshape(n, d - 1))
        value = float(family(trial, 0.0).values.min())
        ratio = (value - least) / (promised * radius)
        if value > least:
            points, least = trial, value
        if ratio < 0.2:
            radius *= 0.3
        elif ratio > 0.75:
            radius = min(2 * radius, 0.3)
        hopeless = promised * radius < _ROUNDING * max(1.0, abs(least)) and ratio < 0.5
        if radius < _SMALLEST_RADIUS or hopeless:
            break
    points, least = _even_out(family, points, least)
    return Ascent(points, least, used)


def multipliers(members: Members) -> tuple[Array, float]:
    """Weights >= 0 with sum 1 that make the members' gradients cancel best, and the remainder.

    The remainder is the largest entry of the weighted sum of the gradients: zero at a
    Karush-Kuhn-Tucker point. Where the weights are not unique, nearly those of least norm are
    returned, so that every member that can carry weight does.
    """
    gradients = members.jacobian.toarray().T
    even = _weights(gradients, _RIDGE)
    carrying = even > _CARRYING * even.max()
    inner = gradients[:, carrying]
    fixed = even[carrying] - np.linalg.lstsq(inner, inner @ even[carrying], rcond=1e-10)[0]
    weights = np.zeros_like(even)
    weights[carrying] = fixed
    if fixed.min() < 0 or fixed.sum() < 0.5:
        weights = _weights(gradients, 0.0)
    weights = weights / weights.sum()
    return weights, float(np.abs(gradients @ weights).max(initial=0.0))


def _weights(gradients: Array, ridge: float) -> Array:
    """Non-negative least squares for a vanishing combination with sum 1."""
    count = gradients.shape[1]
    system = np.vstack([gradients, np.ones((1, count)), ridge * np.eye(count)])
    target = np.zeros(len(system))
    target[len(gradients)] = 1.0
    weights, _ = optimize.nnls(system, target, maxiter=50 * count)
    return np.asarray(weights / weights.sum())


def tangents(points: Array) -> Array:
    """Orthonormal bases (n, d, d - 1) of the tangent spaces, by Householder reflections."""
    d = points.shape[1]
    v = points.copy()
    v[:, -1] += np.where(points[:, -1] < 0, -1.0, 1.0)
    outer = v[:, :, None] * v[:, None, :] / (v * v).sum(1)[:, None, None]
    return np.asarray((np.eye(d) - 2 * outer)[:, :, : d - 1])


def step_along(points: Array, move: Array) -> Array:
    """Move every point by tangent coordinates (n, d - 1) and return to the sphere."""
    moved = points + np.einsum("nde,ne->nd", tangents(points), move)
    return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True))


def _rotations(points: Array) -> Array:
    """Orthonormal columns spanning the moves, in tangent coordinates, that rotate the set."""
    d = points.shape[1]
    rows, columns = np.triu_indices(d, 1)
    index = np.arange(len(rows))
    moves = np.zeros((len(rows), *points.shape))
    moves[index, :, rows] = points[:, columns].T
    moves[index, :, columns] = -points[:, rows].T
    generators = np.einsum("knd,nde->kne", moves, tangents(points)).reshape(len(rows), -1).T
    u, s, _ = np.linalg.svd(generators, full_matrices=False)
    return np.asarray(u[:, s > 1e-6 * s.max()])


def _steepest(members: Members) -> float:
    """Largest change of a member in a step of unit coordinates."""
    return float(abs(members.jacobian).sum(axis=1).max())


def _linear_step(offsets: Array, jacobian: sparse.csr_matrix) -> tuple[Array | None, float]:
    """Maximise tau subject to offsets + J u >= tau and |u| <= 1."""
    count, width = jacobian.shape
    ones = sparse.csr_matrix(np.ones((count, 1)))
    constraints = sparse.hstack([-jacobian, ones], format="csr")
    cost = np.zeros(width + 1)
    cost[-1] = -1.0
    bounds = np.column_stack([np.full(width + 1, -1.0), np.ones(width + 1)])
    bounds[-1] = (0.0, np.inf)
    found = optimize.linprog(  # type: ignore[call-overload]  # the stubs know no sparse A_ub
        cost, A_ub=constraints, b_ub=offsets, bounds=bounds, method="highs-ds", options=_LINEAR
    )
    if found.x is None:
        return None, 0.0
    return np.asarray(found.x[:-1]), float(found.x[-1])


def _even_out(family: Family, points: Array, least: float) -> tuple[Array, float]:
    """Make the tied members equal to the last digit by least-norm Newton steps."""
    for _ in range(4):
        members = family(points, 1e-9)
        weights, _ = multipliers(members)
        tied = weights > 0
        values = members.values[tied]
        system = np.hstack([members.jacobian[tied].toarray(), -np.ones((int(tied.sum()), 1))])
        move = np.linalg.lstsq(system, values.mean() - values, rcond=1e-10)[0][:-1]
        trial = step_along(points, move.reshape(len(points), -1))
        value = float(family(trial, 0.0).values.min())
        if value <= least:
            break
        points, least = trial, value
    return points, least
