"""A configuration as one HTML page: a sphere to turn, without external files."""

import functools
import os
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from sphuni._files import write_text
from sphuni._pages import page_environment, render_page
from sphuni.configurations.symmetry import PointGroup, point_group
from sphuni.plots._caption import cell_kinds, gap_text, heading, value_text
from sphuni.plots._diagram import Array, Diagram, closest_pairs, diagram, loose_points, rows_of
from sphuni.plots._facts import facts
from sphuni.plots._potential import worst_poles
from sphuni.plots._scene import facing

__all__ = ["interactive", "render_interactive"]

_FOLDER = Path(__file__).parent / "templates"
_MOST = 20_000
_TOLERANCE = 1e-6
_FIRST = {
    "tammes": {"points", "contacts", "caps"},
    "covering": {"points", "facets", "holes"},
    "polarization": {"points", "facets", "holes"},
}


def interactive(result: Any, path: str | os.PathLike[str], /, *, title: str | None = None) -> None:
    """Write a configuration as an HTML page with a sphere to turn.

    Parameters
    ----------
    result : OptimizeResult or array_like of shape (n, 3)
        Unit rows, at most 20,000. Of lines both ends are shown.
    path : path-like
        File to write, replaced in one step.
    title : str, optional
        Heading. Default: problem and size.

    Raises
    ------
    ValueError
        If the points are not unit rows in R^3, or are too many.

    Notes
    -----
    One file, about 0.2 KB per point, that asks nothing of any network. It shows points, Voronoi
    cells by number of neighbours, facets of the convex hull by depth, the graph of the closest
    pairs with their caps, and the deepest holes or worst poles. Dark mode follows the system.
    """
    write_text(path, render_interactive(result, title=title))


def render_interactive(result: Any, /, *, title: str | None = None) -> str:
    """Return the page that `interactive` writes.

    Parameters
    ----------
    result : OptimizeResult or array_like of shape (n, 3)
        Unit rows, at most 20,000.
    title : str, optional
        Heading. Default: problem and size.

    Returns
    -------
    str
        The same arguments give the same text, byte for byte.
    """
    points = rows_of(result)
    if len(points) > _MOST:
        raise ValueError(
            f"points must be at most {_MOST:,} for a page that turns smoothly; got "
            f"{len(points):,}. Use sphuni.plots.configuration"
        )
    loose = loose_points(result)
    fixed = np.delete(points, loose, axis=0)
    group = point_group(fixed, tolerance=_TOLERANCE)
    found = _diagram(points)
    pairs, angle = _contacts(points)
    pairs = pairs[~np.isin(pairs, loose).any(axis=1)]
    holes = _holes(result, points, found)
    scene = {
        "points": points.tolist(),
        "corners": [] if found is None else np.round(found.corners, 7).tolist(),
        "cells": [] if found is None else [cell.tolist() for cell in found.cells],
        "facets": [] if found is None else [found.facets[k].tolist() for k in found.inner],
        "depths": _depths(found),
        "beyond": found is not None and len(found.inner) < len(found.facets),
        "contacts": pairs.tolist(),
        "angle": angle,
        "holes": np.round(holes, 7).tolist(),
        "view": np.round(facing(fixed, group), 9).tolist(),
    }
    return _page(
        title=heading(result, len(points)) if title is None else title,
        lead=" · ".join(filter(None, [value_text(result), gap_text(result)])),
        group=_group(group),
        layers=_layers(result, scene),
        kinds=[] if found is None else _kinds(found),
        facts=facts(result, points, found, pairs, angle),
        scene=scene,
    )


def _diagram(points: Array) -> Diagram | None:
    try:
        return diagram(points)
    except ValueError:
        return None


def _contacts(points: Array) -> tuple[np.ndarray, float]:
    if len(points) < 2:
        return np.empty((0, 2), dtype=np.int64), 0.0
    return closest_pairs(points, tolerance=_TOLERANCE)


def _holes(result: Any, points: Array, found: Diagram | None) -> Array:
    """Worst poles of a polarization, else the deepest holes."""
    s = getattr(result, "s", None)
    if getattr(result, "problem", None) == "polarization" and s is not None:
        return worst_poles(points, float(s), 1e-7)[0]
    if found is None:
        return np.empty((0, 3))
    return found.corners[found.radii >= found.radii.max() - _TOLERANCE]


def _depths(found: Diagram | None) -> list[float]:
    """Depths of the facets that are drawn, from 0 (shallowest) to 1."""
    if found is None:
        return []
    low, high = float(found.radii.min()), float(found.radii.max())
    low = min(low, 0.75 * high)
    return np.round((found.radii[found.inner] - low) / (high - low), 3).tolist()


def _layers(result: Any, scene: dict[str, Any]) -> list[dict[str, Any]]:
    """Checkboxes of what there is to show."""
    problem = str(getattr(result, "problem", ""))
    first = _FIRST.get(problem, {"points", "cells"})
    if not scene["cells"]:
        first = {"points", "contacts"}
    hole = "worst poles" if problem == "polarization" else "deepest holes"
    names = {
        "points": ("points", "points"),
        "cells": ("Voronoi cells", "cells"),
        "facets": ("hull facets, by depth", "facets"),
        "holes": (f"{hole} ({len(scene['holes'])})", "holes"),
        "contacts": (f"closest pairs ({len(scene['contacts'])})", "contacts"),
        "caps": ("caps of half the smallest angle", "contacts"),
    }
    return [
        {"key": key, "name": name, "on": key in first}
        for key, (name, needed) in names.items()
        if scene[needed]
    ]


def _kinds(found: Diagram) -> list[dict[str, Any]]:
    """Cells by number of sides, with their colours."""
    return [{"shade": shade, "name": text} for shade, text in cell_kinds(found.sides)]


def _group(group: PointGroup | None) -> dict[str, Any] | None:
    if group is None:
        return None
    return {"letter": group.name[0], "suffix": group.name[1:], "order": group.order}


@functools.cache
def _template() -> jinja2.Template:
    return page_environment(_FOLDER).get_template("sphere.html")


def _page(**values: Any) -> str:
    style, script = _FOLDER / "sphere.css", _FOLDER / "sphere.js"
    return render_page(_template(), style=style, script=script, **values)
