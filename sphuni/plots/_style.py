"""Colours and frames that the pictures share."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

__all__ = [
    "DISCS",
    "INK",
    "MARKERS",
    "OBSERVED",
    "axes_or_new",
    "figure_of",
    "ground_of",
    "ink_on",
    "key_within",
    "new_figure",
    "tidy",
]

OBSERVED = "#1f6fb2"
INK = "#1c2430"
_LIGHT_INK = "#e3e7ec"
DISCS = ((1.0, -1.06), (-1.0, 1.06))
"""Side of the last axis and centre on the page of the two hemispheres."""
MARKERS = {
    "dead neurons": ("X", "#2f3640"),
    "collapsed pair": ("D", "#c3321a"),
    "few directions": ("_", "#8a2b6b"),
    "common direction": ("^", "#d9731a"),
    "clustered": ("s", "#b88a0b"),
    "more regular than random": ("p", "#1f6fb2"),
    "uniform": ("o", "#0b8a79"),
}
"""Marker and colour of each verdict, told apart by shape alone."""


def new_figure(width: float, height: float) -> "Figure":
    """Make an empty figure, in inches, that belongs to no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def axes_or_new(ax: "Axes | None", width: float, height: float) -> "Axes":
    """Return the given axes, or those of a new figure of that size, in inches.

    Raises
    ------
    TypeError
        If they are no axes, or those of a projection: 3d, polar, a map.
    """
    if ax is None:
        return new_figure(width, height).add_subplot()
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes) or ax.name != "rectilinear":
        projection = f" (projection={ax.name!r})" if isinstance(ax, Axes) else ""
        raise TypeError(
            "ax must be one plain Axes, as figure.add_subplot() makes without a projection; got "
            f"{type(ax).__name__}{projection}. Leave ax out for a new figure"
        )
    return ax


def figure_of(axes: "Axes") -> "Figure":
    """Return the figure that axes lie in."""
    from matplotlib.figure import Figure

    figure = axes.get_figure(root=True)
    if not isinstance(figure, Figure):
        raise TypeError(f"ax must lie in a Figure; got {type(figure).__name__}")
    return figure


def ground_of(axes: "Axes") -> tuple[float, float, float]:
    """Red, green and blue of what lies behind axes: their face if it is drawn, on the figure's."""
    from matplotlib.colors import to_rgba

    ground, faces = np.ones(3), [figure_of(axes).get_facecolor()]
    if axes.axison and axes.patch.get_visible():
        faces.append(axes.get_facecolor())
    for face in faces:
        *color, alpha = to_rgba(face)
        ground = alpha * np.array(color) + (1.0 - alpha) * ground
    red, green, blue = ground.tolist()
    return red, green, blue


def ink_on(axes: "Axes") -> str:
    """`INK`, or on the ground of a dark style a light ink."""
    brightness = float(np.dot(ground_of(axes), (0.299, 0.587, 0.114)))
    return INK if brightness > 0.5 else _LIGHT_INK


def key_within(axes: "Axes") -> "Legend":
    """Put a legend where there is most room, on a pale ground: curves may pass behind it."""
    return axes.legend(framealpha=0.75, edgecolor="none", fontsize="small")


def tidy(axes: "Axes", *, left: bool = False) -> None:
    """Keep only the lower spine, and the left one where its numbers are to be read."""
    for side in ("top", "right", *(() if left else ("left",))):
        axes.spines[side].set_visible(False)
    if not left:
        axes.set_yticks([])
