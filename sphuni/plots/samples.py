"""Pictures of samples of points: on the circle, and on the sphere in two projections."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sphuni._rows import numpy_directions
from sphuni.plots._style import DISCS, OBSERVED, axes_or_new, figure_of, ground_of, ink_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["circle", "mollweide", "sphere"]

_FLOAT = NDArray[np.float64]
_GRID = "#c9ced6"
_PAPER = "#f6f7f9"
_STACK = 0.045


def circle(
    points: Any, /, *, antipodal: bool = False, color: str = OBSERVED, ax: "Axes | None" = None
) -> "Figure":
    """Draw points of the circle, those that would cover each other stacked outwards.

    Parameters
    ----------
    points : array_like of shape (n, 2)
        Unit rows.
    antipodal : bool, default False
        Draw -x too, hollow.
    color : str, optional
        Any matplotlib colour.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    The arrow is the mean of the points: its length is the mean resultant length, 1 if all agree.
    From about 300 points on the stacks are a histogram.
    """
    x = numpy_directions(points, d=2)
    axes = axes_or_new(ax, 4.0, 4.0)
    axes.set_axis_off()
    ink = ink_on(axes)
    around = np.linspace(0, 2 * np.pi, 361)
    axes.plot(np.cos(around), np.sin(around), color=_GRID, lw=1.2, zorder=1)
    angles = np.arctan2(x[:, 1], x[:, 0])
    behind = _stacked(axes, angles + np.pi, color, filled=False) if antipodal else 1.0
    reach = max(behind, _stacked(axes, angles, color, filled=True))
    if not antipodal:
        mean = x.mean(axis=0)
        axes.annotate(
            "", xy=(mean[0], mean[1]), xytext=(0, 0), arrowprops={"arrowstyle": "-|>", "color": ink}
        )
    axes.plot(0, 0, ".", color=ink, ms=4)
    for degrees in (0, 90, 180, 270):
        turn = np.radians(degrees)
        axes.text(
            0.8 * np.cos(turn), 0.8 * np.sin(turn), f"{degrees}°",
            ha="center", va="center", fontsize="small", color=ink,
            bbox={"facecolor": ground_of(axes), "edgecolor": "none", "pad": 1.0}, zorder=0,
        )  # fmt: skip
    limit = reach + 0.05
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    return figure_of(axes)


def sphere(
    points: Any, /, *, antipodal: bool = False, color: str = OBSERVED, ax: "Axes | None" = None
) -> "Figure":
    """Draw both hemispheres of points of the sphere, in an equal-area projection.

    Parameters
    ----------
    points : array_like of shape (n, 3)
        Unit rows.
    antipodal : bool, default False
        Draw -x too, hollow.
    color : str, optional
        Any matplotlib colour.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    Lambert's azimuthal equal-area projection, from +z (left) and from -z (right, mirrored as seen
    from there): uniform points are uniform in both discs. Circles are 30 degrees apart.
    """
    x = numpy_directions(points, d=3)
    axes = axes_or_new(ax, 7.2, 3.7)
    axes.set_axis_off()
    around = np.linspace(0, 2 * np.pi, 361)
    for side, shift in DISCS:
        axes.fill(shift + np.cos(around), np.sin(around), color=_PAPER, zorder=0)
        for degrees in (30, 60, 90):
            radius = np.sqrt(2) * np.sin(np.radians(degrees) / 2)
            width = 1.2 if degrees == 90 else 0.6
            axes.plot(
                shift + radius * np.cos(around), radius * np.sin(around), color=_GRID, lw=width
            )
        for turn in np.arange(0, np.pi, np.pi / 6):
            ray = np.array([-1.0, 1.0])
            axes.plot(shift + ray * np.cos(turn), ray * np.sin(turn), color=_GRID, lw=0.6)
        for rows, filled in ((-x, False), (x, True)) if antipodal else ((x, True),):
            place = _lambert(rows[rows[:, 2] * side >= 0], side, shift)
            _dots(axes, place, len(x), color, filled=filled)
        axes.text(
            shift, -1.12, "+z" if side > 0 else "−z", ha="center", va="top", color=ink_on(axes)
        )
    axes.set(xlim=(-2.1, 2.1), ylim=(-1.25, 1.04), aspect="equal")
    return figure_of(axes)


def mollweide(
    points: Any, /, *, antipodal: bool = False, color: str = OBSERVED, ax: "Axes | None" = None
) -> "Figure":
    """Draw points of the sphere as one map of equal areas, longitude 0 in the middle.

    Parameters
    ----------
    points : array_like of shape (n, 3)
        Unit rows; the last axis points north, the first to longitude 0.
    antipodal : bool, default False
        Draw -x too, hollow.
    color : str, optional
        Any matplotlib colour.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    Mollweide's projection: uniform points are uniform in the ellipse. Lines are 30 degrees apart.
    """
    x = numpy_directions(points, d=3)
    axes = axes_or_new(ax, 6.4, 3.4)
    axes.set_axis_off()
    turn = np.linspace(-np.pi, np.pi, 181)
    quarter = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 181)
    axes.fill(2 * np.cos(2 * quarter), np.sin(2 * quarter), color=_PAPER, zorder=0)
    for degrees in range(-60, 61, 30):
        line = _mollweide(turn, np.full_like(turn, np.radians(degrees)))
        axes.plot(line[:, 0], line[:, 1], color=_GRID, lw=0.6, zorder=1)
        axes.text(
            line[0, 0] - 0.05 - 0.06 * abs(line[0, 1]), line[0, 1], f"{degrees}°".replace("-", "−"),
            ha="right", va="center", fontsize="small", color=ink_on(axes),
        )  # fmt: skip
    for degrees in range(-180, 181, 30):
        line = _mollweide(np.full_like(quarter, np.radians(degrees)), quarter)
        width = 1.2 if abs(degrees) == 180 else 0.6
        axes.plot(line[:, 0], line[:, 1], color=_GRID, lw=width, zorder=1)
    for rows, filled in ((-x, False), (x, True)) if antipodal else ((x, True),):
        longitude = np.arctan2(rows[:, 1], rows[:, 0])
        place = _mollweide(longitude, np.arcsin(np.clip(rows[:, 2], -1, 1)))
        _dots(axes, place, len(x), color, filled=filled)
    axes.set(xlim=(-2.3, 2.1), ylim=(-1.04, 1.04), aspect="equal")
    return figure_of(axes)


def _stacked(axes: "Axes", angles: _FLOAT, color: str, *, filled: bool) -> float:
    """Draw dots at their angles, each beyond those before it in the same bin; the outer radius."""
    bins = 120
    width = 2 * np.pi / bins
    # whole multiples of the width, where round angles lie, are in the middle of their bins
    place = np.rint(np.mod(angles, 2 * np.pi) / width).astype(int) % bins
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], place[order])
    rank = np.empty(len(angles))
    rank[order] = np.arange(len(angles)) - starts
    step = min(_STACK, 0.9 / max(rank.max(), 1.0))
    shown = angles if rank.max() < 3 else place * width
    radius = 1.0 + step * rank
    axes.plot(
        radius * np.cos(shown), radius * np.sin(shown), "o", color=color, zorder=3,
        ms=4.5 * step / _STACK + 0.5, mew=0.8, mfc=color if filled else "white", ls="none",
    )  # fmt: skip
    return float(radius.max())


def _lambert(rows: _FLOAT, side: float, shift: float) -> _FLOAT:
    """Azimuthal equal-area map of a hemisphere onto the unit disc."""
    flat = rows[:, :2] * (side, 1.0)
    scale = 1.0 / np.sqrt(1.0 + np.abs(rows[:, 2:]))
    return np.asarray(flat * scale + np.array([shift, 0.0]))


def _mollweide(longitude: _FLOAT, latitude: _FLOAT) -> _FLOAT:
    """Map onto the ellipse of half axes 2 and 1 by Newton's method."""
    target = np.pi * np.sin(latitude)
    auxiliary = latitude.copy()
    for _ in range(12):
        slope = 2.0 + 2.0 * np.cos(2.0 * auxiliary)
        residual = 2.0 * auxiliary + np.sin(2.0 * auxiliary) - target
        auxiliary -= np.where(slope > 1e-9, residual / np.maximum(slope, 1e-9), 0.0)
        auxiliary = np.clip(auxiliary, -0.5 * np.pi, 0.5 * np.pi)
    return np.stack([2.0 / np.pi * longitude * np.cos(auxiliary), np.sin(auxiliary)], axis=1)


def _dots(axes: "Axes", place: _FLOAT, n: int, color: str, *, filled: bool) -> None:
    size = float(np.clip(60.0 / np.sqrt(n), 0.8, 6.0))
    axes.plot(
        place[:, 0], place[:, 1], "o", ms=size, mfc=color if filled else "white", mec=color,
        mew=0.0 if filled else 0.7, alpha=0.75 if n > 50 else 1.0, ls="none", zorder=3,
    )  # fmt: skip
