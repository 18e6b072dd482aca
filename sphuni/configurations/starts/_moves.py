"""Moves from one local optimum to the neighbourhood of another."""

import numpy as np
from scipy.spatial import QhullError

from sphuni.configurations.maxmin._holes import circumcentres
from sphuni.configurations.maxmin._members import Array

__all__ = ["into_a_hole", "shake_a_cap", "turn_a_cap"]

_GREED = 0.35


def into_a_hole(points: Array, rng: np.random.Generator, heat: Array | None = None) -> Array:
    """Move a point into one of the deepest holes that the others leave.

    The point is a random one, or one of those of greatest `heat` (n,).
    """
    n = len(points)
    leaving = int(rng.integers(n))
    if heat is not None:
        leaving = int(np.argsort(-heat, kind="stable")[_rank(n, rng)])
    rest = np.delete(points, leaving, axis=0)
    try:
        centres, depth = circumcentres(rest)
    except QhullError:  # the others lie in a plane: nothing is farther from them than its normal
        return np.vstack([rest, np.linalg.svd(rest)[2][-1]])
    return np.vstack([rest, centres[np.argsort(-depth, kind="stable")[_rank(len(depth), rng)]]])


def shake_a_cap(points: Array, rng: np.random.Generator, size: float) -> Array:
    """Displace the points of a random cap by normal deviates of standard deviation `size`."""
    inside = _cap(points, _direction(points.shape[1], rng), rng)
    moved = points + inside[:, None] * (size * rng.standard_normal(points.shape))
    return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True))


def turn_a_cap(points: Array, rng: np.random.Generator) -> Array:
    """Rotate the points of a random cap by a random angle about its centre."""
    d = points.shape[1]
    frame, _ = np.linalg.qr(rng.standard_normal((d, min(d, 3))))
    inside = _cap(points, frame[:, 0], rng)
    if d < 3:
        return np.where(inside[:, None], points * [1.0, -1.0], points)
    angle = rng.uniform(0, 2 * np.pi)
    plane = frame[:, 1:]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    rotation = np.eye(d) + plane @ (turn - np.eye(2)) @ plane.T
    return np.where(inside[:, None], points @ rotation.T, points)


def _cap(points: Array, centre: Array, rng: np.random.Generator) -> np.ndarray:
    """Whether each point lies in the cap that holds a random tenth to half of them."""
    along = points @ centre
    return np.asarray(along >= np.quantile(along, rng.uniform(0.5, 0.9)))


def _direction(d: int, rng: np.random.Generator) -> Array:
    v = rng.standard_normal(d)
    return v / np.linalg.norm(v)


def _rank(count: int, rng: np.random.Generator) -> int:
    return min(count, int(rng.geometric(_GREED))) - 1
