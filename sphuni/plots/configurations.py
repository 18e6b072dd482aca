"""Pictures of point sets on the sphere S^2: Voronoi cells, contacts, deepest holes."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sphuni.plots._style import INK, figure_of, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["configuration", "neighbour_counts"]

_COLORS = {3: "#3b0f4a", 4: "#7a1f5c", 5: "#d95f3b", 6: "#e9eaec", 7: "#3f7fb5", 8: "#173f6b"}
_NAMES = {3: "triangles", 4: "squares", 5: "pentagons", 6: "hexagons", 7: "heptagons"}
_MERGED = 1e-6
_ARC = 12


def configuration(result: Any, /, *, ax: "Axes | None" = None) -> "Figure":
    """Draw both hemispheres of a configuration, its cells coloured by number of neighbours.

    Parameters
    ----------
    result : OptimizeResult or array_like of shape (n, 3)
        Unit rows, n >= 4, not all in one half-sphere. The active set of a result's certificate is
        drawn too: contacts of a packing, triangles around the deepest holes of a covering.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the points do not lie in R^3 or are fewer than 4.

    Notes
    -----
    Orthographic views from +z (left) and from -z (right, mirrored as seen from there). Hexagons
    are pale, pentagons and heptagons coloured: chains of them are scars.

    References
    ----------
    A. R. Bausch et al., "Grain boundary scars and spherical crystallography", Science 299 (2003)
    1716-1718, doi:10.1126/science.1081160.
    """
    points = _points(result)
    cells = _cells(points)
    axes = new_figure(7.2, 4.1).add_subplot() if ax is None else ax
    for side, shift in ((1.0, -1.08), (-1.0, 1.08)):
        _hemisphere(axes, points, cells, side, shift)
        _edges(axes, points, _active_pairs(result), side, shift)
    axes.set(xlim=(-2.2, 2.2), ylim=(-1.35, 1.12), aspect="equal")
    axes.set_axis_off()
    _legend(axes, [len(cell) for cell in cells])
    return figure_of(axes)


def neighbour_counts(points: Any, /) -> NDArray[np.int64]:
    """Count the sides of every point's Voronoi cell on S^2.

    Parameters
    ----------
    points : array_like of shape (n, 3)
        Unit rows, n >= 4.

    Returns
    -------
    integer array of shape (n,)
        Corners closer than 1e-6 count once. If no four cells meet, the sum of 6 - count is 12.

    Examples
    --------
    >>> from sphuni.configurations import construct
    >>> neighbour_counts(construct("icosahedron")).tolist()
    [5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5]
    """
    return np.array([len(cell) for cell in _cells(_points(points))], dtype=np.int64)


def _points(result: Any) -> NDArray[np.float64]:
    given = getattr(result, "points", result)
    given = given.detach().cpu().numpy() if hasattr(given, "detach") else given
    points = np.asarray(given, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < 4:
        raise ValueError(f"points must have shape (n, 3) with n >= 4; got {points.shape}")
    if getattr(result, "antipodal", False):
        points = np.vstack([points, -points])
    return points


def _cells(points: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Corners (k, 3) of every cell in order, near-equal ones merged."""
    from scipy.spatial import SphericalVoronoi

    voronoi: Any = SphericalVoronoi(points, threshold=1e-9)
    voronoi.sort_vertices_of_regions()
    cells = []
    for region in voronoi.regions:
        corners = voronoi.vertices[region]
        apart = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1) > _MERGED
        cells.append(corners[apart])
    return cells


def _hemisphere(
    axes: "Axes",
    points: NDArray[np.float64],
    cells: list[NDArray[np.float64]],
    side: float,
    shift: float,
) -> None:
    from matplotlib.collections import PolyCollection

    outlines, colors = [], []
    for cell in cells:
        outline = _arcs(cell)
        if (outline[:, 2] * side).max() > 0:
            outlines.append(_project(outline, side, shift))
            colors.append(_COLORS[min(max(len(cell), 3), 8)])
    axes.add_collection(
        PolyCollection(outlines, facecolors=colors, edgecolors=INK, linewidths=0.5, zorder=1)
    )
    seen = points[points[:, 2] * side > 0]
    marks = _project(seen, side, shift)
    size = min(3.0, 40 / np.sqrt(len(points)))
    axes.plot(marks[:, 0], marks[:, 1], ".", color=INK, ms=size, zorder=3)


def _arcs(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sample the great-circle arcs between successive corners."""
    steps = np.linspace(0, 1, _ARC, endpoint=False)[None, :, None]
    path = corners[:, None] * (1 - steps) + np.roll(corners, -1, axis=0)[:, None] * steps
    path = path.reshape(-1, 3)
    return np.asarray(path / np.linalg.norm(path, axis=1, keepdims=True))


def _project(path: NDArray[np.float64], side: float, shift: float) -> NDArray[np.float64]:
    """Orthographic view; what lies beyond the rim is moved onto it."""
    flat = path[:, :2] * (side, 1.0)
    beyond = path[:, 2] * side < 0
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    flat = np.where(beyond[:, None], flat / np.maximum(norms, 1e-12), flat)
    return np.asarray(flat + np.array([shift, 0.0]))


def _active_pairs(result: Any) -> NDArray[np.int64]:
    """Pairs of points joined by the certificate's active functions."""
    active = getattr(getattr(result, "certificate", None), "active", None)
    if active is None or getattr(result, "antipodal", False):
        return np.empty((0, 2), dtype=np.int64)
    columns = range(active.shape[1])
    pairs = [active[:, [a, b]] for a in columns for b in columns if a < b]
    return np.unique(np.sort(np.vstack(pairs), axis=1), axis=0)


def _edges(
    axes: "Axes",
    points: NDArray[np.float64],
    pairs: NDArray[np.int64],
    side: float,
    shift: float,
) -> None:
    for pair in pairs:
        arc = _arcs(points[pair])[: _ARC + 1]
        arc = arc[arc[:, 2] * side >= 0]
        if len(arc) > 1:
            view = _project(arc, side, shift)
            axes.plot(view[:, 0], view[:, 1], color=INK, lw=1.6, zorder=2)


def _legend(axes: "Axes", counts: list[int]) -> None:
    from matplotlib.patches import Patch

    present = sorted(set(counts))
    handles = [
        Patch(
            facecolor=_COLORS[min(max(k, 3), 8)],
            edgecolor=INK,
            label=f"{counts.count(k)} {_NAMES.get(k, f'cells with {k} sides')}",
        )
        for k in present
    ]
    axes.legend(handles=handles, loc="lower center", ncols=4, frameon=False, fontsize="small")
