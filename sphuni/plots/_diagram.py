"""Voronoi cells, hull facets and contacts of points on S^2. Numbers only."""

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import QhullError, cKDTree

from sphuni._numbers import finite
from sphuni._rows import numpy_directions
from sphuni.geometry._hull import facets

__all__ = [
    "Array",
    "Diagram",
    "Index",
    "check_tolerance",
    "closest_pairs",
    "diagram",
    "loose_points",
    "rows_of",
]

Array = NDArray[np.float64]
Index = NDArray[np.int64]
_MERGED = 1e-6
_HALF = 0.5 * np.pi - 1e-6


@dataclasses.dataclass(frozen=True)
class Diagram:
    """The Voronoi diagram of points on S^2 and its dual, the facets of their convex hull.

    Corners closer than 1e-6 are one, so a square facet is one facet of four points.
    """

    points: Array
    corners: Array
    radii: Array
    """Angles from each corner to its nearest points."""
    cells: tuple[Index, ...]
    """Indices of the corners around each point."""
    facets: tuple[Index, ...]
    """Indices of the points around each corner."""
    edges: Index
    """Pairs of points (m, 2) whose cells share a side."""

    @property
    def sides(self) -> Index:
        """Number of sides of each cell."""
        return np.array([len(cell) for cell in self.cells], dtype=np.int64)

    @property
    def inner(self) -> Index:
        """Facets less deep than 90 degrees.

        The others, of points within a half sphere, lie below these: all that these leave free is
        theirs together.
        """
        return np.flatnonzero(self.radii < _HALF)


def check_tolerance(tolerance: Any) -> float:
    """Return a tolerance as a number; infinity marks all there is."""
    if tolerance == math.inf:
        return math.inf
    return finite("tolerance", tolerance, 0.0)


def rows_of(result: Any, *, least: int = 1) -> Array:
    """Points (n, 3) of a result or an array; of lines, both ends.

    Raises
    ------
    ValueError
        If they are not at least `least` unit rows in R^3.
    """
    lines = getattr(result, "antipodal", False)
    fewest = -(-least // 2) if lines else least
    points = numpy_directions(getattr(result, "points", result), d=3, least=fewest)
    return np.vstack([points, -points]) if lines else points


def diagram(points: Array) -> Diagram:
    """Compute cells and facets of points that do not lie in one plane.

    Raises
    ------
    ValueError
        If they do, are fewer than 4, or coincide.
    """
    if len(points) < 4:
        raise ValueError(f"points must be at least 4 to have cells with corners; got {len(points)}")
    try:
        triangles = facets(points)
    except QhullError:
        raise ValueError(
            "points must not lie in one plane: their Voronoi cells have no corners"
        ) from None
    normals = _outward(points, triangles)
    label = _merged(normals)
    corners = np.zeros((int(label.max()) + 1, 3))
    np.add.at(corners, label, normals)
    corners /= np.linalg.norm(corners, axis=1, keepdims=True)
    members = np.unique(np.column_stack([np.repeat(label, 3), triangles.ravel()]), axis=0)
    sides = _groups(members[:, 0], members[:, 1], len(corners))
    by_point = members[np.lexsort(members.T)]
    cells = _groups(by_point[:, 1], by_point[:, 0], len(points))
    lost = [k for k, cell in enumerate(cells) if len(cell) < 3]
    if lost:
        raise ValueError(f"points must be distinct; row {lost[0]} coincides with another")
    sides = [side[_around(corners[k], points[side])] for k, side in enumerate(sides)]
    cells = [cell[_around(points[k], corners[cell])] for k, cell in enumerate(cells)]
    first = points[[side[0] for side in sides]]
    chords = np.linalg.norm(first - corners, axis=1)
    radii = 2 * np.arcsin(np.minimum(0.5 * chords, 1.0))
    pairs = np.vstack([np.column_stack([side, np.roll(side, 1)]) for side in sides])
    edges = np.unique(np.sort(pairs, axis=1), axis=0)
    return Diagram(points, corners, radii, tuple(cells), tuple(sides), edges)


def closest_pairs(points: Array, *, tolerance: float) -> tuple[Index, float]:
    """Pairs (m, 2) at the least distance, up to a relative tolerance, and its angle."""
    tree = cKDTree(points)
    least = float(np.asarray(tree.query(points, k=2)[0])[:, 1].min())
    pairs = tree.query_pairs(least * (1 + tolerance), output_type="ndarray")
    angle = 2 * float(np.arcsin(min(1.0, 0.5 * least)))
    return np.unique(np.sort(pairs, axis=1), axis=0).astype(np.int64), angle


def loose_points(result: Any) -> Index:
    """Points of a packing that no contact with a positive multiplier holds."""
    certificate = getattr(result, "certificate", None)
    none = np.empty(0, dtype=np.int64)
    if getattr(result, "problem", None) != "tammes" or certificate is None:
        return none
    if certificate.active is None or certificate.multipliers is None:
        return none
    held = np.unique(certificate.active[certificate.multipliers > 0])
    loose = np.setdiff1d(np.arange(result.n), held)
    if len(held) < 3:
        return none
    return np.concatenate([loose, loose + result.n]) if result.antipodal else loose


def _outward(points: Array, triangles: Index) -> Array:
    """Outer unit normals of the hull's triangles."""
    a, b, c = np.moveaxis(points[triangles], 1, 0)
    normals = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    outside = ((a - points.mean(axis=0)) * normals).sum(1)
    return np.asarray(np.where(outside[:, None] < 0, -normals, normals))


def _merged(normals: Array) -> Index:
    """Label normals so that near-equal ones share a label."""
    pairs = cKDTree(normals).query_pairs(_MERGED, output_type="ndarray")
    size = len(normals)
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _groups(keys: Index, values: Index, size: int) -> list[Index]:
    """Values by key, for sorted keys."""
    return np.split(values, np.searchsorted(keys, np.arange(1, size)))


def _around(axis: Array, rows: Array) -> Index:
    """Order rows anticlockwise around an axis, seen from outside."""
    first = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    second = np.cross(axis, first)
    return np.argsort(np.arctan2(rows @ second, rows @ first))
