"""Families of functions whose least is to be raised, and moves in tangent coordinates."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = [
    *("Array", "Family", "Members", "Trial", "attempt", "both_ends", "in_units", "margin_of"),
    *("near", "rotations", "step_along", "tangents", "unturned"),
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
    elsewhere: Callable[[Array], Array] | None = None
    """Other points to the values of these functions there, at the same places."""


Family = Callable[[Array, float], Members]
"""Points (n, d) and a margin to the members whose value is within the margin of the least."""


def in_units(family: Family, unit: float) -> Family:
    """The family with all its values, and the margin, in a unit."""

    def scaled(points: Array, margin: float) -> Members:
        plain = family(points, margin * unit)
        there = plain.elsewhere
        return plain._replace(
            values=plain.values / unit,
            jacobian=(plain.jacobian / unit).tocsr(),
            curvature=lambda weights: plain.curvature(weights) / unit,
            elsewhere=None if there is None else lambda other: there(other) / unit,
        )

    return scaled


def both_ends(points: Array, *, antipodal: bool) -> Array:
    """The points, or both ends of the lines."""
    return np.vstack([points, -points]) if antipodal else points


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
    frames = tangents(points)
    wide = np.einsum("nde,ne->nd", frames, move.reshape(len(points), -1))
    axes, squares = _axes(points)
    twist = axes.T @ (points.T @ wide - wide.T @ points) @ axes
    turn = np.where(_turning(squares), twist / np.where(_turning(squares), squares, 1.0), 0.0)
    return np.asarray(np.einsum("nde,nd->ne", frames, wide - points @ axes @ turn @ axes.T))


def rotations(points: Array) -> Array:
    """Orthonormal columns spanning the moves, in tangent coordinates, that rotate the set."""
    axes, squares = _axes(points)
    rows, columns = np.nonzero(np.triu(_turning(squares), 1))
    along = points @ axes
    sizes = np.sqrt(squares[rows, columns])
    inner = np.einsum("nde,dk->nke", tangents(points), axes)
    moves = along[:, rows, None] * inner[:, columns] - along[:, columns, None] * inner[:, rows]
    generators = moves / sizes[:, None]
    return np.asarray(generators.transpose(0, 2, 1).reshape(-1, len(rows)))


def _axes(points: Array) -> tuple[Array, Array]:
    """Principal axes (d, d) of the points, columns, and squared lengths (d, d) of the turns.

    In these axes the turns in all coordinate planes are orthogonal to one another: that from
    axis a to b moves the points by as much as their coordinates a and b are long together.
    """
    _, lengths, axes = np.linalg.svd(points, full_matrices=len(points) < points.shape[1])
    squares = np.zeros(points.shape[1])
    squares[: len(lengths)] = lengths**2
    return axes.T, squares[:, None] + squares


def _turning(squares: Array) -> NDArray[np.bool_]:
    """Which turns move the points at all: not those between two directions without any."""
    return np.asarray(squares > 1e-12 * squares.max())
