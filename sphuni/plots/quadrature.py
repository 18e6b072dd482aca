"""Pictures of point sets that integrate: weights of extremal points, residuals of designs."""

from typing import TYPE_CHECKING, Any

import numpy as np

from sphuni._numbers import whole
from sphuni.plots._caption import gap_text, heading, plain, value_text
from sphuni.plots._diagram import Array, diagram, rows_of
from sphuni.plots._scene import GREY, dots, fills, finish, scene
from sphuni.plots._sphere import polygon
from sphuni.plots._style import OBSERVED, axes_or_new, figure_of, ink_on, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["degree_residuals", "quadrature_weights"]

_ROUNDING = 1e-8
_SINGULAR = 1e-12
_OFF = "#d5581e"


def quadrature_weights(result: Any, /, *, ax: "Axes | None" = None) -> "Figure":
    """Draw the Voronoi cells of (L + 1)^2 points, coloured by their interpolatory weights.

    Parameters
    ----------
    result : OptimizeResult or array_like of shape (n, 3)
        Unit rows, n = (L + 1)^2 >= 4, such that polynomials of degree L are fixed by their values
        there.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If n is not a square, or polynomials of degree L are not fixed by their values.

    Notes
    -----
    The weights w solve G w = 1, G the Gram matrix of the Dirichlet kernel of degree L; the rule
    with these weights is exact for polynomials of degree L. Colours show w / (4 pi / n), white at
    1; extremal points have positive weights in all cases that were computed.

    References
    ----------
    I. H. Sloan, R. S. Womersley, "Extremal systems of points and numerical integration on the
    sphere", Advances in Computational Mathematics 21 (2004) 107-125,
    doi:10.1023/B:ACOM.0000016428.25905.da.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    frame = scene(result, ax)
    cells = diagram(frame.points)
    share = _weights(frame.points) * len(frame.points) / (4 * np.pi)
    spread = max(float(np.abs(share - 1).max()), 0.01)
    colours = ScalarMappable(Normalize(1 - spread, 1 + spread), cmap="PuOr_r")
    shapes = [polygon(cells.corners[cell]) for cell in cells.cells]
    rim = float(np.clip(10 / np.sqrt(len(share)), 0.4, 1.4))
    fills(frame, shapes, list(colours.to_rgba(share)), rim=rim)
    dots(frame, frame.points, size=float(np.clip(36 / np.sqrt(len(share)), 1.5, 6)), mew=0.0)
    n = len(share)
    title = f"Extremal points of degree {round(n**0.5) - 1}: n = {n} points"
    finish(frame, result, title=title if hasattr(result, "problem") else "", shading=0.3)
    figure = figure_of(frame.axes)
    bar = figure.colorbar(colours, ax=frame.axes, shrink=0.75, pad=0.01)
    bar.set_label("weight × n / 4π", fontsize=12.5)
    return figure


def degree_residuals(
    result: Any, /, *, highest: int | None = None, ax: "Axes | None" = None
) -> "Figure":
    """Draw, for each degree, how far a point set is from integrating its polynomials.

    Parameters
    ----------
    result : OptimizeResult or array_like of shape (n, 3)
        Unit rows. Lines, `antipodal` in a result, count with both their ends.
    highest : int, optional
        Last degree shown, at least 1. Default: twice the strength of a design plus 2, or 2 sqrt(n).
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If `highest` is less than 1.

    Notes
    -----
    The residual of degree l is the root of the mean of P_l over all ordered pairs; it is 0 for
    l = 1..t exactly when the set is a spherical t-design. Random points have 1/sqrt(n) at every
    degree (dashed). What is below 1e-8 is rounding and is drawn there.
    """
    from matplotlib.ticker import MaxNLocator

    points = rows_of(result)
    strength = getattr(result, "s", None) if getattr(result, "problem", "") == "design" else None
    if highest is None:
        last = int(2 * strength + 2) if strength else int(2 * len(points) ** 0.5) + 1
    else:
        last = whole("highest", highest, 1, "leave it out for the default")
    axes = axes_or_new(ax, 9.6, 5.4)
    residual = np.maximum(_residuals(points, last), _ROUNDING)
    degrees = np.arange(1, last + 1)
    size = float(np.clip(500 / last, 3, 9))
    good = residual <= 10 * _ROUNDING
    kinds = ((good, OBSERVED, "o", "integrated exactly"), (~good, _OFF, "s", "not integrated"))
    for chosen, color, marker, meaning in kinds:
        axes.vlines(degrees[chosen], _ROUNDING, residual[chosen], color=color, lw=size / 3)
        axes.plot(degrees[chosen], residual[chosen], marker, color=color, ms=size, label=meaning)
    axes.axhline(len(points) ** -0.5, color=GREY, lw=1.2, ls=(0, (5, 4)), label="random points")
    axes.set(yscale="log", ylim=(0.5 * _ROUNDING, 3.0), xlim=(0.4, last + 0.6))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("degree of the polynomials", fontsize=13)
    axes.set_ylabel("residual", fontsize=13)
    tidy(axes, left=True)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, frameon=False, fontsize=12.5
    )
    below = "  ·  ".join(filter(None, [value_text(result), gap_text(result)]))
    above = plain(heading(result, len(points)))
    figure = figure_of(axes)
    if ax is None:
        figure.suptitle(above, fontsize=17, fontweight="bold", color=ink_on(axes))
    axes.set_title(
        below if ax is None else f"{above}\n{below}", fontsize=12.5, color=ink_on(axes), pad=12
    )
    return figure


def _weights(points: Array) -> Array:
    """Interpolatory weights; they sum to 4 pi."""
    from sphuni.kernels import Dirichlet

    n = len(points)
    degree = round(n**0.5) - 1
    if (degree + 1) ** 2 != n:
        raise ValueError(f"points must be (L + 1)^2 in number, such as 9, 16, 25; got {n}")
    import torch

    kernel = Dirichlet(degree=degree)
    gram = torch.from_numpy(2 - 2 * points @ points.T)
    values = kernel.value(gram, 4 - gram).numpy()
    np.fill_diagonal(values, kernel.at_one)
    spectrum = np.linalg.eigvalsh(values)
    if spectrum[0] < _SINGULAR * spectrum[-1]:
        raise ValueError(
            f"points must fix polynomials of degree {degree} by their values, which these do not "
            "(sets that are symmetric in the centre never do): their weights are not unique. "
            "Use sphuni.plots.voronoi_cells"
        )
    return np.asarray(np.linalg.solve(values, np.ones(n)))


def _residuals(points: Array, highest: int) -> Array:
    """Root of the mean of P_l over all ordered pairs, l = 1..highest."""
    import torch

    from sphuni.pairwise import degree_sums

    n = len(points)
    means = (2 * degree_sums(torch.tensor(points), highest).numpy() + n) / n**2
    return np.sqrt(np.maximum(means, 0.0))
