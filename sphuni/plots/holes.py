"""Pictures of packings and coverings: contact graphs, hull facets, deepest holes."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sphuni._text import plural
from sphuni.plots._diagram import check_tolerance, closest_pairs, diagram, loose_points
from sphuni.plots._scene import Scene, dots, fills, finish, key, lines, scene
from sphuni.plots._sphere import arc, cap, draw_globe, polygon
from sphuni.plots._style import INK, figure_of, ink_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["contact_graph", "deepest_holes"]

_CONTACTS = ("#ffffff", "#fdf6e3", "#fdf0d0", "#fbe3ac", "#f7cd78", "#efb04a", "#dd8f22")
_HOLE = "#c3321a"
_TOLERANCE = 1e-6
_MOST_CIRCLES = 12


def contact_graph(
    result: Any, /, *, tolerance: float = _TOLERANCE, ax: "Axes | None" = None
) -> "Figure":
    """Draw a packing: its equal caps, coloured by contacts, and the graph of the contacts.

    Parameters
    ----------
    result : OptimizeResult or array_like of shape (n, 3)
        Unit rows, n >= 4.
    tolerance : float, default 1e-6
        Pairs whose distance exceeds the least by no more than this, relatively, are in contact.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    Caps have half the smallest angle as radius. White caps are free to move (rattlers): of a
    result, those on which the multipliers of its certificate put no force, whether they touch
    others or not. The symmetry is that of the caps that are held.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    tolerance = check_tolerance(tolerance)
    loose = loose_points(result)
    frame = scene(result, ax, loose=loose)
    points = frame.points
    pairs, angle = closest_pairs(points, tolerance=tolerance)
    pairs = pairs[~np.isin(pairs, loose).any(axis=1)]
    degree = np.bincount(pairs.ravel(), minlength=len(points))
    shapes = [cap(point, 0.5 * angle) for point in points]
    thin = float(np.clip(8 / np.sqrt(len(points)), 0.4, 1.1))
    fills(frame, shapes, [_CONTACTS[min(int(k), 6)] for k in degree], rim=thin)
    paths = [arc(points[a], points[b]) for a, b in pairs]
    lines(frame, paths, color=INK, width=2.6 * min(1.0, 1.4 * thin), order=2.5)
    dots(frame, points[degree > 0], size=float(np.clip(44 / np.sqrt(len(points)), 2.5, 7)))
    finish(frame, result, shading=0.34)
    graph = Line2D([], [], color=ink_on(frame.axes), lw=2.4, label=plural(len(pairs), "contact"))
    present = [int(k) for k in np.unique(degree)]
    caps = [
        Patch(
            facecolor=_CONTACTS[min(k, 6)], edgecolor=INK,
            label=f"{plural(int((degree == k).sum()), 'cap')} {f'with {k}' if k else 'free'}",
        )
        for k in present
    ]  # fmt: skip
    key(frame, [graph, *caps])
    return figure_of(frame.axes)


def deepest_holes(
    result: Any, /, *, tolerance: float = _TOLERANCE, ax: "Axes | None" = None
) -> "Figure":
    """Draw a covering: the facets of the convex hull by depth, the deepest holes marked.

    Parameters
    ----------
    result : OptimizeResult or array_like of shape (n, 3)
        Unit rows, n >= 4, not all in one plane.
    tolerance : float, default 1e-6
        Holes whose radius falls short of the greatest by no more than this, in radians, are
        marked.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    The circle through the corners of a facet holds no point; its radius is the depth of the
    facet, and the greatest is the covering radius. Dashed circles, drawn where the deepest holes
    are few, go through the points around them. Points within a half sphere leave all beyond them
    to facets deeper than 90 degrees, which share it; it has the colour of the deepest.
    """
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    tolerance = check_tolerance(tolerance)
    frame = scene(result, ax)
    found = diagram(frame.points)
    radii = found.radii
    deepest = radii >= radii.max() - tolerance
    low = min(float(radii.min()), 0.75 * float(radii.max()))
    share = (radii - low) / max(float(radii.max()) - low, 1e-12)
    palette = colormaps["Blues"](0.08 + 0.47 * share)
    inner = found.inner
    if len(inner) < len(radii):
        _beyond(frame, palette[deepest.argmax()])
    shapes = [polygon(frame.points[found.facets[k]]) for k in inner]
    rim = float(np.clip(9 / np.sqrt(len(radii)), 0.4, 1.3))
    fills(frame, shapes, list(palette[inner]), rim=rim)
    if deepest.sum() <= _MOST_CIRCLES:
        _circles(frame, found.corners[deepest], float(radii.max()))
    size = float(np.clip(60 / np.sqrt(len(radii)), 3, 9))
    dots(frame, frame.points, size=0.7 * size)
    dots(frame, found.corners[deepest], size=size, color=_HOLE, marker="X", mew=0.8)
    finish(frame, result, shading=0.28)
    depth = math.degrees(float(radii.max()))
    handles = [
        Line2D(
            [], [], color=INK, marker="o", ls="none", ms=7,
            label=plural(len(frame.points), "point"),
        ),
        Line2D(
            [], [], color=_HOLE, marker="X", ls="none", ms=9,
            label=f"{plural(int(deepest.sum()), 'deepest hole')}, radius {depth:.4f}°",
        ),
        Line2D([], [], color=palette[deepest.argmax()], lw=8, label="deep facet"),
    ]  # fmt: skip
    if not deepest.all():
        shallow = palette[radii.argmin()]
        handles.append(Line2D([], [], color=shallow, lw=8, label="shallow facet"))
    key(frame, handles)
    return figure_of(frame.axes)


def _beyond(frame: Scene, color: Any) -> None:
    """Colour both discs, below the facets: what none of them covers."""
    for view in frame.views:
        draw_globe(frame.axes, view, ground=color)


def _circles(frame: Scene, centres: Any, radius: float) -> None:
    """Outline the caps around the deepest holes."""
    from matplotlib.collections import LineCollection

    shapes = [cap(centre, radius) for centre in centres]
    for view in frame.views:
        seen = [path for shape in shapes if (path := shape.outline(view)) is not None]
        frame.axes.add_collection(
            LineCollection(seen, colors=_HOLE, linewidths=0.7, linestyles=(0, (4, 3)), zorder=2.4)
        )
