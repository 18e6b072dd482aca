"""Raise the least of the minima of a function over the sphere: sequential quadratic programming."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import distance

from sphuni.configurations._clock import OutOfTimeError, keeping, late, room_for
from sphuni.configurations._dense import singular_values
from sphuni.configurations.maxmin._members import (
    Array,
    Family,
    Members,
    attempt,
    margin_of,
    near,
    unturned,
)
from sphuni.configurations.maxmin._quadratic import best_rise
from sphuni.configurations.maxmin._slp import Ascent
from sphuni.configurations.maxmin._tied import (
    corrected,
    dense_seconds,
    even_out,
    multipliers,
    settle,
    tied_seconds,
    tied_step,
)

__all__ = ["climb"]

_SMALLEST_RADIUS = 1e-13
_LARGEST_RADIUS = 0.3
_ROUNDING = 4e-15
_PRECISION = 1e-11
_CLOSE = 1e-2
_CLOSER = 1e-3
_AS_PROMISED = 0.5
_LEAST_WEIGHT = 1e-5
_TINY_WEIGHT = 1e-6
_FLATTEST = 1e-5
_TIED = (1e-8, 1e-10)
_SECONDS = 5e-9
_SETTLING = 6
"""How many steps settling takes, for both widths."""


def climb(
    family: Family,
    points: Array,
    *,
    radius: float,
    iterations: int = 200,
    deadline: float = math.inf,
) -> Ascent:
    """Maximise the least member, each being a minimum over the sphere with a place of its own.

    Parameters
    ----------
    family : callable
        See `Family`; its members have `places` and values `elsewhere`.
    points : ndarray of shape (n, d)
        Unit rows.
    radius : float
        First bound on each tangent coordinate of a step.
    iterations : int, default 200
        Quadratic programmes.
    deadline : float, optional
        Of the monotonic clock; no programme begins later.

    Returns
    -------
    Ascent

    Raises
    ------
    OutOfTimeError
        If there is time left, but not enough for the next programme.

    Notes
    -----
    A minimum that moves with the points bends its value so much that linear programmes need tiny
    steps. Here the curvature of the Lagrangian enters, with the multipliers of the step before,
    which are handed on from each place to the nearest new one. The curvature is made positive
    apart on the moves that keep the carrying members equal and on those that do not, without
    mixed terms: near the optimum the former alone decide. There a step of Newton's method for the
    tied members is tried as well, and a step that gains less than it promised is tried once more,
    corrected for how it unties them; the best of these is taken. Without the correction, kernels
    that hold the points to a curved surface, as those near -r^2 hold their sum to zero, would
    allow tiny steps only.

    References
    ----------
    J. Nocedal, S. J. Wright, "Numerical Optimization" (2006), chapter 18,
    doi:10.1007/978-0-387-40065-5.
    """
    members = near(family, points, radius)
    least = float(members.values.min())
    if not room_for(dense_seconds(_lower(members), points), deadline):
        raise OutOfTimeError(points)
    weights = _first_weights(members)
    used, last = 0, 0.0
    while used < iterations and radius > _SMALLEST_RADIUS:
        if late(deadline):
            return Ascent(points, least, used)
        if not room_for(_programme_seconds(members), deadline):
            raise OutOfTimeError(points)
        used += 1
        jacobian = members.jacobian.toarray()
        curvature = _convex(jacobian, weights, -members.curvature(weights))
        rise = best_rise((members.values - least) / radius, jacobian, radius * curvature)
        bend = float(rise.move @ curvature @ rise.move)
        promised = radius * (rise.level - 0.5 * radius * bend)
        margin = 2 * margin_of(members, radius)
        move = radius * unturned(points, rise.move)
        carried = _prominent(rise.weights, _LEAST_WEIGHT)
        size = max(1.0, abs(least))
        with keeping(points):
            trials = [attempt(family, points, move, margin)]
        if promised < _CLOSER * size and trials[0].least - least < _AS_PROMISED * promised:
            again = corrected(members, carried, move, trials[0].points)
            with keeping(points):
                trials.append(attempt(family, points, again, margin))
        if promised < _CLOSE * size:
            second = tied_step(points, members, carried, radius)
            with keeping(points):
                trials.append(attempt(family, points, second, margin))
        value, trial, seen = max(trials, key=lambda one: one[0])
        gain = value - least
        ratio = float(gain / max(promised, 1e-300))
        nearest = seen if gain > 0 else members
        weights = _handed_on(members, rise.weights, nearest)
        if gain > 0:
            points, least, members = trial, value, seen
        size = max(1.0, abs(least))
        if max(gain, last) < _ROUNDING * size and promised < _PRECISION * size:
            break
        last = gain
        longest = float(np.abs(rise.move).max())
        if ratio < 0.1:
            radius *= 0.3 * longest
        elif ratio > 0.7 and longest > 0.9:
            radius = min(2 * radius, _LARGEST_RADIUS)
    if late(deadline):
        return Ascent(points, least, used)
    if not room_for(_SETTLING * tied_seconds(points), deadline):
        raise OutOfTimeError(points)
    for width in _TIED:
        with keeping(points):
            points, least = settle(family, points, least, width * max(1.0, abs(least)))
    with keeping(points):
        points, least = even_out(family, points, least)
    return Ascent(points, least, used)


def _programme_seconds(members: Members) -> float:
    """Roughly those of a quadratic programme, whose unknowns take long however few the members."""
    count, unknowns = members.jacobian.shape
    return float(_SECONDS * (count + unknowns) * unknowns**2)


def _first_weights(members: Members) -> Array:
    """Multipliers of the lower half of the members."""
    low = _lower(members)
    weights = np.zeros(len(low))
    lower = members._replace(values=members.values[low], jacobian=members.jacobian[low])
    weights[low] = multipliers(lower)[0]
    return weights


def _lower(members: Members) -> NDArray[np.bool_]:
    return np.asarray(members.values <= np.median(members.values))


def _handed_on(members: Members, weights: Array, new: Members) -> Array:
    """Give the weight of every place to the nearest new one."""
    assert members.places is not None
    assert new.places is not None
    nearest = distance.cdist(members.places, new.places, "sqeuclidean").argmin(1)
    handed = np.zeros(len(new.values))
    np.add.at(handed, nearest, weights)
    return _prominent(handed, _TINY_WEIGHT)


def _prominent(weights: Array, least: float) -> Array:
    """Drop weights below a fraction of the largest; sum 1."""
    kept = np.where(weights > least * weights.max(), weights, 0.0)
    return np.asarray(kept / kept.sum())


def _convex(jacobian: Array, weights: Array, hessian: Array) -> Array:
    """Positive parts of a Hessian where the carrying members stay equal and where they do not.

    The flattest is a part of the steepest of the same moves: the two may differ by many powers.
    """
    gradients = jacobian[weights > 0]
    _, _, vt, rank = singular_values(gradients - gradients.mean(0))
    total = np.zeros_like(hessian)
    for basis in (vt[:rank].T, vt[rank:].T):
        if basis.shape[1]:
            curve, vectors = np.linalg.eigh(basis.T @ hessian @ basis)
            outer = basis @ vectors
            floor = _FLATTEST * max(float(np.abs(curve).max()), 1e-300)
            total += (outer * np.maximum(curve, floor)) @ outer.T
    return total
