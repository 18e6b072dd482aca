"""Families of functions whose least is to be raised, and moves in tangent coordinates."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = [
    *("Array", "Family", "Members", "Trial", "attempt", "margin_of", "near", "rotations"),
    *("step_along", "tangents", "unturned"),
]

Array = NDArray[np.float64]


class Members(NamedTuple):
    """The functions of a family that may be the least after a small move."""

    values: Array
    jacobian: sparse.csr_matrix
    """Rows of derivatives with respect to the coordinates in `tangents`."""
    labels: NDArray[np.int64]
    """One row of indices per function: a contact, a facet; may have no columns."""
    curvature: Callable[[Array], Array]
    """Weights of the members to the Riemannian Hessian of the weighted sum, in `tangents`."""
    places: Array | None = None
    """The places (k, d) of functions that speak of one: holes, minima over the sphere."""


Family = Callable[[Array, float], Members]
"""Points (n, d) and a margin to the members whose value is within the margin of the least."""


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


class Trial(NamedTuple):
    """Points after a move, the least member there and the members near it."""

    least: float
    points: Array
    members: Members


def attempt(family: Family, points: Array, move: Array, margin: float) -> Trial:
    """Move the points by tangent coordinates and look at the members within the margin."""
    trial = step_along(points, move)
    members = family(trial, margin)
    return Trial(float(members.values.min()), trial, members)


def near(family: Family, points: Array, radius: float) -> Members:
    """Return the members that a step within the radius can make the least."""
    return family(points, margin_of(family(points, 0.0), radius))


def margin_of(members: Members, radius: float) -> float:
    """How far above the least a member may lie that a step can make the least."""
    return 1.5 * radius * float(abs(members.jacobian).sum(axis=1).max())


def unturned(points: Array, move: Array) -> Array:
    """Take the rotation of the whole set out of a move; tangent coordinates (n, d - 1).

    To first order a rotation changes nothing, and its curvature would spoil convergence.
    """
    turn = rotations(points)
    return (move - turn @ (turn.T @ move)).reshape(len(points), -1)


def rotations(points: Array) -> Array:
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
