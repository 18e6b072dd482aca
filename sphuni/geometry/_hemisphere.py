"""Points in a closed hemisphere: the point of least norm of their convex hull, and a pole."""

import dataclasses

import numpy as np
import scipy

__all__ = ["Hemisphere", "closed_hemisphere"]

_ZERO = 1e-9
_DEPENDENT = 1e-12


@dataclasses.dataclass(frozen=True)
class Hemisphere:
    """A closed hemisphere that holds every point.

    `weights` are those of the convex combination of least norm; `pole` is a unit vector with no
    positive cosine to any point. `on_boundary` says that the least norm is 0.
    """

    weights: np.ndarray
    pole: np.ndarray
    on_boundary: bool


def closed_hemisphere(points: np.ndarray) -> Hemisphere | None:
    """Find a closed hemisphere that holds all rows, or None: the origin is inside their hull."""
    weights = _least_norm_weights(points)
    inner = weights @ points
    norm = float(np.linalg.norm(inner))
    if norm > _ZERO:
        return Hemisphere(weights, -inner / norm, on_boundary=False)
    pole = _orthogonal_pole(points, weights > _ZERO)
    return None if pole is None else Hemisphere(weights, pole, on_boundary=True)


def _orthogonal_pole(points: np.ndarray, active: np.ndarray) -> np.ndarray | None:
    """A pole with no positive cosine when a positive combination of the active rows is zero.

    Such a pole is orthogonal to the active rows, so the question goes to their complement.
    """
    _, values, basis = np.linalg.svd(points[active], full_matrices=True)
    complement = basis[int((values > _ZERO).sum()) :]
    if len(complement) == 0:
        return None
    rest = points[~active] @ complement.T
    norms = np.linalg.norm(rest, axis=1)
    rest = rest[norms > _ZERO] / norms[norms > _ZERO, None]
    if len(rest) == 0:
        return np.asarray(complement[0])
    smaller = closed_hemisphere(rest)
    return None if smaller is None else np.asarray(smaller.pole @ complement)


def _least_norm_weights(points: np.ndarray) -> np.ndarray:
    """Weights of the convex combination of rows that has the least norm.

    Minimising |X^T u|^2 + (sum u - 1)^2 over u >= 0 gives a multiple of those weights. Where the
    unconstrained combination of independent rows is already non-negative (nearly orthogonal rows,
    the usual case for n <= d) one factorisation replaces the active-set search. That search loses
    the digits of rows in a small cap, which the rows that it has chosen give back.
    """
    n, d = points.shape
    if float(np.linalg.norm(points.mean(axis=0))) < 1e-14:
        return np.full(n, 1 / n)
    if n <= d and (weights := _equidistant_weights(points)) is not None:
        return weights
    system = np.vstack([points.T, np.ones(n)])
    target = np.zeros(d + 1)
    target[-1] = 1.0
    weights, _ = scipy.optimize.nnls(system, target, maxiter=30 * max(n, d))
    chosen = np.flatnonzero(weights)
    if len(chosen) <= d and (refined := _equidistant_weights(points[chosen])) is not None:
        weights[chosen] = refined
    return np.asarray(weights / weights.sum())


def _equidistant_weights(points: np.ndarray) -> np.ndarray | None:
    """Weights, of sum 1, of the point of the rows' plane that is nearest to the origin.

    It is at one angle to all rows. None where a weight is negative, or not determined. By
    differences of unit rows, whose inner products would not tell close ones apart.
    """
    chords = points[1:] - points[0]
    factor = np.linalg.qr(chords.T, mode="r")
    pivots = np.abs(np.diagonal(factor))
    if np.any(pivots <= _DEPENDENT * pivots.max(initial=0.0)):
        return None
    half = 0.5 * np.einsum("ij,ij->i", chords, chords)  # minus the cosines of chords and first row
    others = half
    for trans in ("T", "N"):
        others = scipy.linalg.solve_triangular(factor, others, trans=trans)
    weights = np.append(1 - others.sum(), others)
    return weights if weights.min() >= 0 else None
