"""The potential of a configuration over the sphere, and the places where it is least."""

from typing import TYPE_CHECKING, Any

import numpy as np

from sphuni._text import plural
from sphuni.configurations import fibonacci_sphere
from sphuni.plots._diagram import Array, check_tolerance
from sphuni.plots._potential import potential_at, worst_poles
from sphuni.plots._scene import Scene, dots, finish, key, scene
from sphuni.plots._sphere import View
from sphuni.plots._style import INK, figure_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["potential_map"]

_PIXELS = 260
_RANGE = 0.8
_STEEP = 10.0
_LARGEST = 1e150  # beyond it the margins of a logarithmic bar leave the range of numbers
_PLACES = 20_000
_POLE = "#ffffff"


def potential_map(
    result: Any,
    /,
    *,
    s: float | None = None,
    tolerance: float = 1e-7,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw the Riesz potential over both hemispheres, the worst poles marked.

    Parameters
    ----------
    result : OptimizeResult or array_like of shape (n, 3)
        Unit rows, n >= 4. Of lines both ends count.
    s : float, optional
        Exponent, above -2: the sum of r^-s, for 0 of -log r, below 0 of -r^-s. Default: that of
        the result, or 1.
    tolerance : float, default 1e-7
        Local minima that exceed the least by no more than this, relatively, are marked.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    Dark places are badly lit. For s >= 0, where the potential is infinite at the points, the
    colours end at the value that four fifths of the area stay below; below 0 they show all of it.
    They follow the logarithm where that value is more than ten times the least. Lines are level
    curves.
    """
    from matplotlib.lines import Line2D

    exponent, tolerance = _exponent(result, s), check_tolerance(tolerance)
    frame = scene(result, ax)
    poles, least = worst_poles(frame.points, exponent, tolerance)
    _paint(frame, exponent, least)
    size = float(np.clip(46 / np.sqrt(len(frame.points)), 3, 8))
    dots(frame, frame.points, size=size, color=INK, mew=0.9)
    dots(frame, poles, size=1.2 * size, color=_POLE, marker="P", mec=INK, mew=0.7)
    finish(frame, result, shading=0.0)
    key(
        frame,
        [
            Line2D([], [], color=INK, marker="o", ls="none", ms=8, mec="white", label="points"),
            Line2D(
                [], [], color=_POLE, marker="P", ls="none", ms=10, mec=INK,
                label=plural(len(poles), "worst pole"),
            ),
        ],
    )  # fmt: skip
    return figure_of(frame.axes)


def _exponent(result: Any, s: float | None) -> float:
    given = getattr(result, "s", None) if s is None else s
    exponent = 1.0 if given is None else float(given)
    if not -2 < exponent < np.inf:
        raise ValueError(f"s must be finite and above -2; got {exponent}")
    return exponent


def _paint(frame: Scene, s: float, least: float) -> None:
    """Colour both discs by the potential and draw its level curves."""
    from matplotlib.colors import LogNorm, Normalize

    values = {view: _disc(view, frame.points, s) for view in frame.views}
    # Places of equal areas: pixels crowd where the sphere faces us and reach beyond its rim.
    even = potential_at(fibonacci_sphere(_PLACES), frame.points, s)
    top = float(np.quantile(even, _RANGE)) if s >= 0 else float(even.max())
    steep = 0 < _STEEP * least < top < _LARGEST
    norm = (LogNorm if steep else Normalize)(least, top)
    levels = (np.geomspace if steep else np.linspace)(least, top, 9)[1:]
    grid = np.linspace(-1, 1, _PIXELS)
    for view, image in values.items():
        box = (view.shift - 1, view.shift + 1, -1, 1)
        shown = frame.axes.imshow(
            np.ma.masked_invalid(image), extent=box, origin="lower", cmap="magma", zorder=1,
            norm=norm, interpolation="bilinear",
        )  # fmt: skip
        _clip(frame, shown, view)
        curves = frame.axes.contour(
            view.shift + grid, grid, np.ma.masked_invalid(image), levels=levels,
            colors="white", linewidths=0.5, alpha=0.45, zorder=1.2,
        )  # fmt: skip
        _clip(frame, curves, view)
    bar = figure_of(frame.axes).colorbar(
        shown, ax=frame.axes, shrink=0.75, pad=0.01, extend="max" if s >= 0 else "neither"
    )
    bar.set_label("potential", fontsize=12.5)


def _clip(frame: Scene, artist: Any, view: View) -> None:
    from matplotlib.patches import Circle

    artist.set_clip_path(Circle((view.shift, 0.0), 1.0, transform=frame.axes.transData))


def _disc(view: View, points: Array, s: float) -> Array:
    """Potential at the pixels of one disc, a margin beyond the rim included, else nan."""
    grid = np.linspace(-1, 1, _PIXELS)
    x, y = np.meshgrid(grid, grid)
    squared = x**2 + y**2
    reach = np.sqrt(np.maximum(squared, 1.0))
    z = np.sqrt(np.maximum(0.0, 1 - squared))
    inside = squared < 1.06
    places = view.seen(np.stack([x / reach, y / reach, z], axis=-1)[inside])
    image = np.full(x.shape, np.nan)
    image[inside] = potential_at(places, points, s)
    return image
