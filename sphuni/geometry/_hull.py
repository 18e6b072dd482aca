"""The only caller of Qhull: facets of the convex hull of points on the sphere."""

import functools
import math

import numpy as np
import scipy
from numpy.typing import NDArray

__all__ = [
    *("ALWAYS_LISTED", "MOST_LISTED"),
    *("can_be_listed", "deepest_facet", "facets", "fits", "hull_bytes", "hull_seconds"),
    *("most_facets", "typical_facets"),
]

_LARGEST = {3: 1_000_000, 4: 100_000, 5: 10_000, 6: 3_000, 7: 500, 8: 240}
"""Points for which one hull takes 10 to 20 seconds, by dimension."""
ALWAYS_LISTED, MOST_LISTED = 8, 100_000
"""The largest dimension in which all facets may be gone over, and how many beyond it."""
_FLAT_FACET = 1e-9
_OUTSIDE = 1e-13  # roundings of a depth of 0
_NODES, _SETTLED = 20_000, 100_000
_SECONDS = 2.5e-6
"""Roughly those of a facet of typical points in a hull, by dimension."""


def fits(n: int, d: int) -> bool:
    """Whether the hull of n points in R^d is a matter of seconds."""
    return n > d and n <= _LARGEST.get(d, 0)


def most_facets(n: int, d: int) -> int:
    """The most facets that a hull of n points in R^d can have: those of the cyclic polytope.

    P. McMullen, "The maximum numbers of faces of a convex polytope", Mathematika 17 (1970) 179-184,
    doi:10.1112/S0025579300002850.
    """
    upper, lower = (d + 1) // 2, d // 2
    return math.comb(n - upper, lower) + math.comb(n - lower - 1, upper - 1)


def can_be_listed(n: int, d: int) -> bool:
    """Whether a search may go over all facets of the hull of any n points in R^d."""
    return d <= ALWAYS_LISTED or n <= d or most_facets(n, d) <= MOST_LISTED


@functools.lru_cache(maxsize=64)
def typical_facets(n: int, d: int) -> float:
    r"""How many facets the hull of n uniform points on the sphere of R^d has on average.

    d of the points span a plane whose distance h from the centre has a density in proportion to
    (1 - h^2)^((d^2 - 2 d - 1) / 2). It holds a facet if the others lie on one side:
    2 C(n, d) E[F(h)^(n - d)], F(h) the measure of the cap <x, u> <= h. Beyond 100,000 points the
    number grows like n.

    Z. Kabluchko, D. Temesvari, C. Thäle, "Expected intrinsic volumes and facet numbers of random
    beta-polytopes", Mathematische Nachrichten 292 (2019) 79-105, doi:10.1002/mana.201700255.
    """
    if n <= d:
        return 0.0
    few = min(n, _SETTLED)
    theta = (np.arange(_NODES) + 0.5) * (np.pi / _NODES)
    log_sine = np.log(np.sin(theta))
    tail = 0.5 * scipy.special.betainc(0.5 * (d - 1), 0.5, np.sin(theta) ** 2)
    log_cap = np.log(np.maximum(np.where(theta < 0.5 * np.pi, 1 - tail, tail), 1e-300))
    log_density = d * (d - 2) * log_sine  # of theta = arccos h
    log_share = scipy.special.logsumexp(log_density + (few - d) * log_cap)
    log_share -= scipy.special.logsumexp(log_density)
    choices = [scipy.special.gammaln(k + 1) for k in (few, d, few - d)]
    return float(2 * n / few * np.exp(choices[0] - choices[1] - choices[2] + log_share))


def hull_seconds(n: int, d: int) -> float:
    """Roughly the seconds of the hull of n even points in R^d, which nothing interrupts."""
    return _SECONDS * d * typical_facets(n, d)


def hull_bytes(n: int, d: int, *, matrices: bool = True) -> int:
    """Roughly the memory of that hull, and of one matrix (d, d) for every facet."""
    return int((300 + 32 * d + (8 * d * d if matrices else 0)) * typical_facets(n, d))


def facets(points: np.ndarray, *, spanning: bool = False) -> NDArray[np.int64]:
    """Vertices (m, d) of the hull's facets, slivers of triangulated flat facets left out.

    With `spanning` those in whose plane the origin lies are left out too: their vertices are
    linearly dependent.

    Raises
    ------
    scipy.spatial.QhullError
        If the points do not span a body.
    """
    hull = _hull(points, "Qt Q12")
    corners = points[hull.simplices]
    if spanning:
        volumes = np.abs(np.linalg.det(corners))
    else:
        volumes = _volumes(corners, hull.equations[:, :-1])
    return np.asarray(hull.simplices[volumes > _FLAT_FACET * volumes.max()], dtype=np.int64)


def deepest_facet(points: np.ndarray) -> np.ndarray | None:
    """Indices (d,) of the vertices of a facet nearest to the origin; None if no hull holds that.

    The facet's outer normal is the deepest hole: its angle to the facet's vertices is the
    covering radius, provided the origin lies in the hull. Among the simplices of equal depth,
    into which a facet with many vertices is cut, the best conditioned one is returned.
    """
    try:
        hull = _hull(points, "Qt Q12" if points.shape[1] > 4 else "Qt")
    except scipy.spatial.QhullError:
        return None
    depth = -hull.equations[:, -1]
    if depth.min() < -_OUTSIDE:
        return None
    tied = np.flatnonzero(depth <= depth.min() + 1e-12)[:64]
    volumes = _volumes(points[hull.simplices[tied]], hull.equations[tied, :-1])
    return np.asarray(hull.simplices[tied[int(volumes.argmax())]], dtype=np.int64)


def _hull(points: np.ndarray, options: str) -> "scipy.spatial.ConvexHull":
    """The hull; where it began with a flat simplex, as of symmetric sets, from the fattest."""
    try:
        return scipy.spatial.ConvexHull(points, qhull_options=options)
    except scipy.spatial.QhullError:
        return scipy.spatial.ConvexHull(points, qhull_options=f"{options} Qs")


def _volumes(corners: np.ndarray, normals: np.ndarray) -> NDArray[np.float64]:
    """Volumes, up to a constant, of simplices (m, d, d) with unit normals (m, d).

    Not those of the cones over the origin, which may lie in the plane of a facet.
    """
    edges = corners[:, 1:] - corners[:, :1]
    whole = np.concatenate([edges, normals[:, None]], axis=1)
    return np.asarray(np.abs(np.linalg.det(whole)))
