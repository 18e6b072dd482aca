"""Raise the least of many smooth functions of the points: sequential linear programming."""

import dataclasses
import math
import time

import numpy as np
from scipy import optimize, sparse

from sphuni.configurations._clock import OutOfTimeError, keeping, late, room_for
from sphuni.configurations.maxmin._members import (
    Array,
    Family,
    Members,
    attempt,
    margin_of,
    near,
    unturned,
)
from sphuni.configurations.maxmin._tied import (
    dense_fits,
    dense_seconds,
    even_out,
    multipliers,
    settle,
    tied_seconds,
    tied_step,
)

__all__ = ["Ascent", "ascend"]

_LINEAR = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
_SMALLEST_RADIUS = 1e-13
_LARGEST_RADIUS = 0.3
_ROUNDING = 4e-15
_DUAL = 1e-9
_NEAR = 1e-4
_AT_BOUND = 0.99
_LEAST_SECONDS = 1.0
_TIED, _SETTLED = 1e-9, 1e-8
_STATIONARY = 1e-9
_SETTLING = 3
"""How many steps settling takes, as a rule."""


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
    deadline: float = math.inf,
) -> Ascent:
    """Maximise the least member by linear programmes in a trust region, then by Newton steps.

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
    deadline : float, optional
        Of the monotonic clock; no programme begins later, and none takes a second more.

    Returns
    -------
    Ascent

    Raises
    ------
    OutOfTimeError
        If there is time left, but not enough for the next step.

    Notes
    -----
    The programme is posed in units of the radius, so the solver's tolerances shrink with the
    steps; the radius grows only while it holds a point back that carries weight, so that the
    programmes stay small. Where as many members as unknowns are tied (rigid optima) they converge
    quadratically; elsewhere a step of Newton's method for the members that carry weight is tried
    as well, and the better of the two is taken. Rotations of the whole set, which the programme
    leaves undetermined, are taken out of every step: to first order only they change nothing, and
    their curvature would spoil convergence.

    References
    ----------
    R. Fletcher, E. Sainz de la Maza, "Nonlinear programming and nonsmooth optimization by
    successive linear programming", Mathematical Programming 43 (1989) 235-256,
    doi:10.1007/BF01582292.
    R. H. Byrd, N. I. M. Gould, J. Nocedal, R. A. Waltz, "An algorithm for nonlinear optimization
    using linear programming and equality constrained subproblems", Mathematical Programming 100
    (2004) 27-48, doi:10.1007/s10107-003-0485-4.
    """
    members = near(family, points, radius)
    least = float(members.values.min())
    used, rigid = 0, True
    while used < iterations and not late(deadline):
        used += 1
        move, promised, weights = _linear_step(members, least, radius, deadline)
        if move is None or promised <= precision:
            break
        first = radius * unturned(points, move)
        margin = 2 * margin_of(members, radius)
        with keeping(points):
            trials = [attempt(family, points, first, margin)]
        held = np.unique(members.jacobian[weights > 0].indices)
        rigid = bool(np.count_nonzero(weights) + _turns(points) > len(held))
        close = promised < _NEAR * max(1.0, abs(least))
        if close and not rigid and dense_fits(*points.shape):
            if not room_for(tied_seconds(points), deadline):
                raise OutOfTimeError(points)
            second = tied_step(points, members, weights, radius)
            with keeping(points):
                trials.append(attempt(family, points, second, margin))
        ratio = (trials[0].least - least) / promised
        value, trial, seen = max(trials, key=lambda one: one.least)
        gain = value - least
        if gain > 0:
            points, least, members = trial, value, seen
        if ratio < 0.1:
            radius *= 0.5
        elif ratio > 0.7 and np.abs(first.ravel()[held]).max(initial=0.0) > _AT_BOUND * radius:
            radius = min(2 * radius, _LARGEST_RADIUS)
        stuck = gain < _ROUNDING * max(1.0, abs(least))
        if radius < _SMALLEST_RADIUS or (stuck and close and promised < 1e-9):
            break
    tied = members.values <= least + _TIED
    if not late(deadline) and dense_fits(*points.shape, count=int(tied.sum())):
        if not room_for(dense_seconds(tied, points), deadline):
            raise OutOfTimeError(points)
        if not rigid and multipliers(family(points, _TIED))[1] > _STATIONARY:
            if not room_for(_SETTLING * tied_seconds(points), deadline):
                raise OutOfTimeError(points)
            with keeping(points):
                points, least = settle(family, points, least, _SETTLED)
        with keeping(points):
            points, least = even_out(family, points, least)
    return Ascent(points, least, used)


def _turns(points: Array) -> int:
    """Dimension of the rotations."""
    d = points.shape[1]
    return d * (d - 1) // 2


def _linear_step(
    members: Members, least: float, radius: float, deadline: float
) -> tuple[Array | None, float, Array]:
    """Maximise tau subject to values - least + radius J u >= tau and |u| <= 1.

    Members that a step cannot make the least are left out. The move u is in units of the radius.
    """
    rows = np.flatnonzero(members.values <= least + margin_of(members, radius))
    jacobian = members.jacobian[rows]
    width = jacobian.shape[1]
    ones = sparse.csr_matrix(np.ones((len(rows), 1)))
    constraints = sparse.hstack([-jacobian, ones], format="csr")
    cost = np.zeros(width + 1)
    cost[-1] = -1.0
    bounds = np.column_stack([np.full(width + 1, -1.0), np.ones(width + 1)])
    bounds[-1] = (0.0, np.inf)
    offsets = (members.values[rows] - least) / radius
    seconds = max(_LEAST_SECONDS, deadline - time.monotonic())
    options = _LINEAR if seconds == math.inf else {**_LINEAR, "time_limit": seconds}
    found = optimize.linprog(  # type: ignore[call-overload]  # the stubs know no sparse A_ub
        cost, A_ub=constraints, b_ub=offsets, bounds=bounds, method="highs-ds", options=options
    )
    weights = np.zeros(len(members.values))
    if found.x is None:
        return None, 0.0, weights
    duals = -found.ineqlin.marginals
    weights[rows] = np.where(duals > _DUAL, duals, 0.0)
    move, rise = np.asarray(found.x[:-1]), float(found.x[-1])
    return move, radius * rise, weights / max(weights.sum(), 1e-300)
