"""What the tied members of a family say: multipliers, the second-order step, evening out."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from sphuni.configurations._dense import least_squares, power_of_two, singular_values
from sphuni.configurations.maxmin._members import Array, Family, Members, attempt, rotations

__all__ = [
    *("SecondOrder", "corrected", "dense_fits", "dense_seconds", "even_out", "evidence"),
    *("multipliers", "second_order", "settle", "tied_seconds", "tied_step"),
]

_RIDGE = 1e-3
_CARRYING = 1e-4
_NEAR = 1e-4
_ROUNDING = 4e-15
_LOSS = 1e-11
"""Ratio of smallest to largest eigenvalue from which on normal equations keep enough digits."""
_FLAT = 1e-8
_LARGEST_HESSIAN = 1_200
_PIECES, _SHORTEST = 100, 1e-8
_SECONDS = 6e-10
_LARGEST_DENSE = 1 << 25  # numbers, 268 MB, of which some copies are made


class SecondOrder(NamedTuple):
    """Second-order conditions at a Karush-Kuhn-Tucker point of a max-min problem."""

    moves: int | None
    """Dimension of the moves, rotations of the whole set left out, that keep the tie; None if the
    Hessian is too large."""
    smallest_eigenvalue: float | None
    """Of minus the Lagrangian's Hessian on these moves; None if there are none."""
    flat: int | None
    """Eigenvalues below 1e-8 of the Hessian's norm."""


def dense_fits(n: int, d: int, count: int = 0) -> bool:
    """Whether n points have few enough unknowns for dense matrices of them and of `count` members.

    Whatever the memory of the machine, on which an answer must not depend.
    """
    unknowns = n * (d - 1)
    return unknowns * max(unknowns, count) <= _LARGEST_DENSE


def dense_seconds(active: NDArray[Any], points: Array) -> float:
    """Roughly the seconds of `multipliers` or `even_out`, which nothing interrupts."""
    unknowns, count = points.shape[0] * (points.shape[1] - 1), np.count_nonzero(active)
    return _SECONDS * unknowns * count * max(unknowns, count)


def tied_seconds(points: Array) -> float:
    """Roughly those of `tied_step`, however few the members."""
    return float(_SECONDS * (points.shape[0] * (points.shape[1] - 1)) ** 3)


def evidence(
    points: Array, members: Members, seconds: float
) -> tuple[Array | None, float, SecondOrder]:
    """Multipliers, remainder and second order.

    None, nan and None where `seconds` are too few, or the points too many.
    """
    in_time = dense_seconds(members.values, points) <= seconds
    if not (in_time and dense_fits(*points.shape, count=len(members.values))):
        return None, math.nan, SecondOrder(None, None, None)
    weights, residual = multipliers(members)
    return weights, residual, second_order(points, members, weights)


def multipliers(members: Members) -> tuple[Array, float]:
    """Weights >= 0 with sum 1 that make the members' gradients cancel best, and the remainder.

    The remainder is the largest entry of the weighted sum of the gradients: zero at a
    Karush-Kuhn-Tucker point. Where the weights are not unique, nearly those of least norm are
    returned, so that every member that can carry weight does. They do not depend on the unit of
    the members.
    """
    gradients = members.jacobian.toarray().T
    unit = power_of_two(float(np.linalg.norm(gradients, axis=0).max()))
    gradients = gradients / unit
    even = _weights(gradients, _RIDGE)
    carrying = even > _CARRYING * even.max()
    inner = gradients[:, carrying]
    fixed = even[carrying] - least_squares(inner, inner @ even[carrying])
    weights = np.zeros_like(even)
    weights[carrying] = fixed
    if fixed.min() < 0 or fixed.sum() < 0.5:
        weights = _weights(gradients, 0.0)
    weights = weights / weights.sum()
    return weights, unit * float(np.abs(gradients @ weights).max(initial=0.0))


def tied_step(points: Array, members: Members, weights: Array, reach: float) -> Array:
    """Newton's step (n, d - 1) to the optimum of the members that carry weight, all kept equal.

    A least-norm step evens their values; in the moves that keep them equal, Newton's method for
    the Lagrangian follows, turned uphill where its curvature has the wrong sign. No coordinate
    exceeds `reach`.
    """
    active = weights > 0
    gradients = members.jacobian[active].toarray()
    values = members.values[active]
    level, kernel = _split(points, gradients, values)
    hessian = members.curvature(weights)
    slope = kernel.T @ (weights[active] @ gradients + hessian @ level)
    curve, vectors = np.linalg.eigh(kernel.T @ hessian @ kernel)
    steep = np.abs(curve) > _FLAT * max(np.abs(hessian).max(), 1e-300)
    scale = np.where(steep, 1 / np.where(steep, np.abs(curve), 1.0), 0.0)
    move = level + kernel @ (vectors @ (scale * (vectors.T @ slope)))
    return np.asarray(move * min(1.0, reach / max(np.abs(move).max(), 1e-300))).reshape(
        len(points), -1
    )


def corrected(members: Members, weights: Array, move: Array, trial: Array) -> Array:
    """The move (n, d - 1), changed by as little as keeps the carrying members together.

    A move unties them by its square: `trial`, the points where it led, shows by how much. Where
    that costs more than the move gains, steps would have to be tiny (the Maratos effect).
    """
    assert members.elsewhere is not None
    active = weights > 0
    gradients = members.jacobian[active].toarray()
    foreseen = members.values[active] + gradients @ move.ravel()
    excess = members.elsewhere(trial)[active] - foreseen
    back = least_squares(gradients - gradients.mean(0), excess.mean() - excess)
    return np.asarray(move + back.reshape(move.shape))


def second_order(points: Array, members: Members, weights: Array) -> SecondOrder:
    """Curvature of the Lagrangian on the moves that keep the carrying members equal."""
    if points.shape[0] * (points.shape[1] - 1) > _LARGEST_HESSIAN:
        return SecondOrder(None, None, None)
    active = weights > 0
    gradients = members.jacobian[active].toarray()
    _, kernel = _split(points, gradients, members.values[active])
    hessian = members.curvature(weights)
    if kernel.shape[1] == 0:
        return SecondOrder(0, None, 0)
    curve = np.linalg.eigvalsh(-kernel.T @ hessian @ kernel)
    flat = np.abs(curve) <= _FLAT * max(np.abs(hessian).max(), 1e-300)
    return SecondOrder(kernel.shape[1], float(curve[0]), int(flat.sum()))


def settle(family: Family, points: Array, least: float, width: float) -> tuple[Array, float]:
    """Newton's method for the tied members while their gradients cancel better and better.

    A step unties the members to second order, and may lose value by it; the next ties them again.
    So every step is taken, and those are kept that have not lost any.
    """
    members = family(points, width)
    weights, residual = multipliers(members)
    trial = points
    for _ in range(6):
        step = tied_step(trial, members, weights, _NEAR)
        value, trial, members = attempt(family, trial, step, width)
        weights, remaining = multipliers(members)
        if remaining >= residual:
            break
        if value >= least - _ROUNDING * max(1.0, abs(least)):
            points, least, residual = trial, value, remaining
    return points, least


def even_out(family: Family, points: Array, least: float) -> tuple[Array, float]:
    """Make the tied members equal to the last digit by least-norm Newton steps."""
    for _ in range(4):
        members = family(points, 1e-9)
        weights, _ = multipliers(members)
        tied = weights > 0
        values = members.values[tied]
        system = np.hstack([members.jacobian[tied].toarray(), -np.ones((int(tied.sum()), 1))])
        move = least_squares(system, values.mean() - values)[:-1]
        trial = attempt(family, points, move.reshape(len(points), -1), 0.0)
        if trial.least <= least:
            break
        least, points = trial.least, trial.points
    return points, least


def _split(points: Array, gradients: Array, values: Array) -> tuple[Array, NDArray[np.float64]]:
    """Return the least-norm step that makes the values equal, and the moves that keep them so."""
    turn = rotations(points)
    centred = gradients - gradients.mean(0)
    u, s, vt, rank = singular_values(np.vstack([centred, turn.T]))
    offsets = np.concatenate([values.mean() - values, np.zeros(turn.shape[1])])
    level = vt[:rank].T @ ((u[:, :rank].T @ offsets) / s[:rank])
    return level, vt[rank:].T


def _weights(gradients: Array, ridge: float) -> Array:
    """Non-negative least squares for a vanishing combination with sum 1.

    Where all weights of the problem without signs are positive, as those of a code are, they are
    the answer: non-negative least squares takes in one after the other, of thousands for minutes.
    So it does of facets cut into simplices, some of whose weights vanish.
    """
    unknowns, count = gradients.shape
    if ridge**2 > _LOSS * (gradients**2).sum():
        weights, many = _signless(gradients, ridge), count > unknowns
        if many and weights.min() <= 0:
            weights = _of_many(gradients, ridge)
        if many or weights.min() > 0:
            return np.asarray(weights / weights.sum())
    system = np.vstack([gradients, np.ones((1, count))])
    if ridge > 0:
        system = np.vstack([system, ridge * np.eye(count)])
    target = np.zeros(len(system))
    target[unknowns] = 1.0
    weights, _ = optimize.nnls(system, target, maxiter=50 * count)
    return np.asarray(weights / weights.sum())


def _of_many(gradients: Array, ridge: float) -> Array:
    """The same weights where they outnumber the unknowns, times a positive number.

    By Newton's method for the remainder v = t - A w, of which w = max(0, A'v) / r^2: it is where
    |v|^2 / 2 + |max(0, A'v)|^2 / (2 r^2) - v't is least, a convex function with quadratic pieces.
    """
    rows = np.vstack([gradients, np.ones((1, gradients.shape[1]))])
    target = np.eye(len(rows))[-1]

    def excess(v: Array) -> float:
        return float(0.5 * v @ v + 0.5 * ((np.maximum(rows.T @ v, 0) / ridge) ** 2).sum() - v[-1])

    left = target
    for _ in range(_PIECES):
        pull = rows.T @ left
        active = rows[:, pull > 0] / ridge
        slope = left + rows @ np.maximum(pull, 0) / ridge**2 - target
        curvature = np.eye(len(rows)) + active @ active.T
        step = -linalg.solve(curvature, slope, assume_a="pos")
        size, before, rise = 1.0, excess(left), float(slope @ step)
        while size > _SHORTEST and excess(left + size * step) > before + 1e-4 * size * rise:
            size *= 0.5
        left = left + size * step
        if size == 1.0 and bool(((rows.T @ left > 0) == (pull > 0)).all()):
            break
    return np.asarray(np.maximum(rows.T @ left, 0))


def _signless(gradients: Array, ridge: float) -> Array:
    """The same least squares without the condition on signs, times a positive number.

    They are r^2 (G'G + r^2)^-1 1 = 1 - G' (G G' + r^2)^-1 G 1, of which the smaller system is
    solved; the row of ones in G would only change the factor.
    """
    ones = np.ones(gradients.shape[1])
    unknowns, count = gradients.shape
    if count <= unknowns:
        gram = gradients.T @ gradients + ridge**2 * np.eye(count)
        return np.asarray(ridge**2 * linalg.solve(gram, ones, assume_a="pos"))
    gram = gradients @ gradients.T + ridge**2 * np.eye(unknowns)
    return np.asarray(ones - gradients.T @ linalg.solve(gram, gradients @ ones, assume_a="pos"))
