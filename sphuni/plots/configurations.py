"""Pictures of configurations on S^2: which one suits a problem, and Voronoi cells."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sphuni.plots._caption import cell_kinds, shade_of
from sphuni.plots._diagram import diagram, rows_of
from sphuni.plots._scene import dots, fills, finish, key, scene
from sphuni.plots._sphere import polygon
from sphuni.plots._style import INK, figure_of
from sphuni.plots.holes import contact_graph, deepest_holes
from sphuni.plots.potentials import potential_map
from sphuni.plots.quadrature import degree_residuals, quadrature_weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["configuration", "neighbour_counts", "voronoi_cells"]

_COLORS = {3: "#f6d66b", 4: "#b2458f", 5: "#d5581e", 6: "#eceef1", 7: "#3d8fd1", 8: "#6abf8a"}
"""Light enough for points and edges in ink; those of the page, templates/sphere.css."""


def configuration(result: Any, /, *, ax: "Axes | None" = None) -> "Figure":
    """Draw a configuration in the way that suits its problem.

    Parameters
    ----------
    result : OptimizeResult or array_like of shape (n, 3)
        Unit rows, n >= 4, not all in one plane. Of lines both ends are drawn.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the points do not lie in R^3, are fewer than 4 or lie in one plane.

    Notes
    -----
    Energies and bare points: `voronoi_cells`. Packings: `contact_graph`. Coverings:
    `deepest_holes`. Polarization: `potential_map`. Determinants of the Dirichlet kernel:
    `quadrature_weights`. Designs: `degree_residuals`.
    """
    problem = getattr(result, "problem", None)
    if problem == "polarization":
        return potential_map(result, ax=ax)
    if problem == "maxdet" and _is_dirichlet(result):
        return quadrature_weights(result, ax=ax)
    if problem == "design" and ax is None:
        return degree_residuals(result)
    draw = {"tammes": contact_graph, "covering": deepest_holes}.get(str(problem), voronoi_cells)
    return draw(result, ax=ax)


def voronoi_cells(result: Any, /, *, ax: "Axes | None" = None) -> "Figure":
    """Draw the Voronoi cells of both hemispheres, coloured by number of neighbours.

    Parameters
    ----------
    result : OptimizeResult or array_like of shape (n, 3)
        Unit rows, n >= 4, not all in one plane.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    Orthographic views along the main axis of symmetry, from the front (left) and from behind
    (right, mirrored as seen from there). Hexagons are pale, pentagons and heptagons coloured:
    chains of them are scars.

    References
    ----------
    A. R. Bausch et al., "Grain boundary scars and spherical crystallography", Science 299 (2003)
    1716-1718, doi:10.1126/science.1081160.
    """
    from matplotlib.patches import Patch

    frame = scene(result, ax)
    cells = diagram(frame.points)
    sides = cells.sides
    shapes = [polygon(cells.corners[cell]) for cell in cells.cells]
    fills(frame, shapes, [_COLORS[shade_of(k)] for k in sides], rim=_rim(len(sides)))
    dots(frame, frame.points, size=float(np.clip(36 / np.sqrt(len(sides)), 1.2, 6)), mew=0.0)
    finish(frame, result)
    key(
        frame,
        [
            Patch(facecolor=_COLORS[shade], edgecolor=INK, label=text)
            for shade, text in cell_kinds(sides)
        ],
    )
    return figure_of(frame.axes)


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
    return diagram(rows_of(points, least=4)).sides


def _is_dirichlet(result: Any) -> bool:
    """Whether the value is that of the Dirichlet kernel, which has quadrature weights."""
    from sphuni.geometry import gram_logdet
    from sphuni.kernels import Dirichlet

    degree = round(len(result.points) ** 0.5) - 1
    if (degree + 1) ** 2 != len(result.points):
        return False
    value = float(gram_logdet(result.points, kernel=Dirichlet(degree=degree)))
    return abs(value - result.value) <= 1e-6 * max(1.0, abs(value))


def _rim(n: int) -> float:
    return float(np.clip(10 / np.sqrt(n), 0.35, 1.4))
