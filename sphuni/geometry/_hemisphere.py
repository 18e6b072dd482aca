"""Points in a closed hemisphere: the point of least norm of their convex hull, and a pole."""

import dataclasses

import numpy as np
import scipy

__all__ = ["Hemisphere", "closed_hemisphere"]

_ZERO = 1e-9
_DEPENDENT = 1e-12
_SHORT = 1e-2  # below it the combination of least norm has lost two digits of its direction
_SMALL_CAP = 1e-3  # in it cosines lose too many digits to say which rows are the outer ones
_ALONGSIDE = 1e-13
_STEPS, _MORE_STEPS = 10, 100  # far more than it takes, by dimension


@dataclasses.dataclass(frozen=True)
class Hemisphere:
    """A closed hemisphere that holds every point.

    `weights` are those of the convex combination of least norm, which is `norm`; `pole` is a unit
    vector with no cosine above -`norm` to any point, but for what is lost of a short combination.
    """

    weights: np.ndarray
    pole: np.ndarray
    norm: float


def closed_hemisphere(points: np.ndarray) -> Hemisphere | None:
    """Find a closed hemisphere that holds all rows, or None: the origin is inside their hull."""
    weights = _least_norm_weights(points)
    inner = weights @ points
    norm = float(np.linalg.norm(inner))
    if norm > _ZERO:
        pole = -inner / norm if norm > _SHORT else _opposite_pole(points, weights, -inner / norm)
        return Hemisphere(weights, pole, norm)
    pole = _orthogonal_pole(points, weights > _ZERO)
    if pole is None:
        return None
    return Hemisphere(weights, _opposite_pole(points, weights, pole), norm)


def _opposite_pole(points: np.ndarray, weights: np.ndarray, pole: np.ndarray) -> np.ndarray:
    """`pole`, or that of the plane of the rows with a weight where it is farther from all rows."""
    active = points[weights > 0]
    normal = np.linalg.lstsq(active, np.ones(len(active)))[0]
    length = float(np.linalg.norm(normal))
    if not 0 < length < np.inf:
        return pole
    planar = -normal / length
    return min(pole, planar, key=lambda choice: float((points @ choice).max()))


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
    the digits of rows in a small cap, which the rows that it has chosen give back; in a very small
    one it would choose the wrong rows.
    """
    n, d = points.shape
    if float(np.linalg.norm(points.mean(axis=0))) < 1e-14:
        return np.full(n, 1 / n)
    if n <= d and (weights := _equidistant_weights(points)) is not None:
        return weights
    if (weights := _weights_in_small_cap(points)) is not None:
        return weights
    system = np.vstack([points.T, np.ones(n)])
    target = np.zeros(d + 1)
    target[-1] = 1.0
    weights, _ = scipy.optimize.nnls(system, target, maxiter=30 * max(n, d))
    chosen = np.flatnonzero(weights)
    if len(chosen) <= d and (refined := _equidistant_weights(points[chosen])) is not None:
        weights[chosen] = refined
    return np.asarray(weights / weights.sum())


def _weights_in_small_cap(points: np.ndarray) -> np.ndarray | None:
    """The same by differences; None if the rows are far apart, or the steps come to no end.

    The point of least norm is the centre of the smallest ball about the rows. A ball about all of
    them shrinks while its centre walks to that of the circle through the rows on its boundary,
    until another row stops it; rows that do not hold it are let go. Of several the first comes in
    or goes (Bland's rule), so that rows on one circle do not take turns for ever.

    K. Fischer, B. Gärtner, M. Kutz, "Fast smallest-enclosing-ball computation in high dimensions",
    ESA 2003, 630-641, doi:10.1007/978-3-540-39658-1_57.
    """
    n, d = points.shape
    offsets = points - points[0]
    spread = float(np.abs(offsets).max())
    if not 0 < spread <= _SMALL_CAP:
        return None
    offsets /= spread
    centre = offsets[0]
    held = [int(np.einsum("ij,ij->i", offsets, offsets).argmax())]
    for _ in range(_STEPS * d + _MORE_STEPS):
        share = _circle_weights(offsets[held])
        if share is None:
            return None
        step = share @ offsets[held] - centre
        # unit rows that are as far from a centre as d others are so from the whole axis through it
        stop, length = (None, 1.0) if len(held) == d else _first_stop(offsets, centre, step, held)
        centre = centre + length * step
        if stop is not None:
            held.append(stop)
        elif share.min() >= 0:
            weights = np.zeros(n)
            weights[held] = share
            return weights
        else:
            held.remove(min(row for row, own in zip(held, share, strict=True) if own < 0))
    return None


def _first_stop(
    rows: np.ndarray, centre: np.ndarray, step: np.ndarray, held: list[int]
) -> tuple[int | None, float]:
    """The row that a shrinking ball about all `rows` meets first, and at what part of the step.

    The `held` ones are on its boundary all the way.
    """
    closing = 2 * (rows[held[0]] - rows) @ step
    closing[held] = 0.0
    meets = np.flatnonzero(closing > _ALONGSIDE)
    away, edge = rows[meets] - centre, rows[held[0]] - centre
    slack = edge @ edge - np.einsum("ij,ij->i", away, away)
    part = np.where(slack > _ALONGSIDE, slack, 0.0) / closing[meets]
    if len(part) == 0 or part.min() >= 1:
        return None, 1.0
    first = int(part.argmin())
    return int(meets[first]), float(part[first])


def _equidistant_weights(points: np.ndarray) -> np.ndarray | None:
    """`_circle_weights`, but None where one is negative too."""
    weights = _circle_weights(points)
    return weights if weights is not None and weights.min() >= 0 else None


def _circle_weights(points: np.ndarray) -> np.ndarray | None:
    """Weights, of sum 1, of the point of the rows' plane that is equally far from all of them.

    Of unit rows it is the one nearest to the origin, at one angle to all. None where the weights
    are not determined. By differences, as inner products would not tell close rows apart.
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
    return np.append(1 - others.sum(), others)
