"""The frame that pictures of configurations share: turned points, two discs, title, legend."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sphuni.configurations.symmetry import PointGroup, point_group
from sphuni.plots._caption import gap_text, group_math, heading, plain, value_text
from sphuni.plots._diagram import Array, Index, rows_of
from sphuni.plots._sphere import BACK, FRONT, Shape, View, draw_globe, shade
from sphuni.plots._style import INK, axes_or_new, ink_on

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

__all__ = ["GREY", "PALE", "Scene", "dots", "facing", "fills", "finish", "key", "lines", "scene"]

PALE = "#eceef1"
GREY = "#8d97a5"
_COLUMNS = 5
_LETTER, _SWATCH, _WIDTH = 6.9, 49.0, 680.0  # points of a legend and of the discs above it
_SETTLED = 1e-6
"""Where the optimum is not a vertex, solvers settle the points to about 1e-8 only."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """Axes with two empty discs, and the points turned so that their main axis faces us."""

    axes: "Axes"
    points: Array
    group: PointGroup | None

    @property
    def views(self) -> tuple[View, View]:
        """The two hemispheres."""
        return FRONT, BACK


def scene(result: Any, ax: "Axes | None", *, loose: Index | None = None) -> Scene:
    """Check and turn the points, prepare the axes; `loose` points don't count for symmetry."""
    points = rows_of(result, least=4)
    axes = axes_or_new(ax, 9.6, 5.4)
    fixed = points if loose is None else np.delete(points, loose, axis=0)
    group = point_group(fixed, tolerance=_SETTLED)
    for view in (FRONT, BACK):
        draw_globe(axes, view, ground=PALE)
    return Scene(axes, points @ facing(fixed, group).T, group)


def fills(scene: Scene, shapes: Sequence[Shape], colors: Sequence[Any], *, rim: float) -> None:
    """Fill shapes and draw their boundaries with lines of width `rim`."""
    from matplotlib.collections import LineCollection, PolyCollection

    for view in scene.views:
        parts = [(shape.fill(view), color) for shape, color in zip(shapes, colors, strict=True)]
        shown = [(part, color) for part, color in parts if part is not None]
        outlines = [outline for shape in shapes if (outline := shape.outline(view)) is not None]
        scene.axes.add_collection(
            PolyCollection(
                [part for part, _ in shown], facecolors=[color for _, color in shown],
                edgecolors="none", zorder=1,
            )
        )  # fmt: skip
        scene.axes.add_collection(
            LineCollection(outlines, colors=INK, linewidths=rim, zorder=2, capstyle="round")
        )


def lines(scene: Scene, paths: Sequence[Array], *, color: str, width: float, order: float) -> None:
    """Draw open paths."""
    from matplotlib.collections import LineCollection

    from sphuni.plots._sphere import visible_arc

    for view in scene.views:
        seen = [part for path in paths if (part := visible_arc(path, view)) is not None]
        scene.axes.add_collection(
            LineCollection(seen, colors=color, linewidths=width, zorder=order, capstyle="round")
        )


def dots(
    scene: Scene, rows: Array, *, size: float, color: str = INK, marker: str = "o", **style: Any
) -> None:
    """Mark points, each on the side on which it is seen."""
    for view in scene.views:
        seen = view.seen(rows)
        marks = view.place(seen[seen[:, 2] >= 0])
        options = {"mec": "white", "mew": 0.5, "zorder": 3.0, **style}
        scene.axes.plot(
            marks[:, 0], marks[:, 1], marker, ms=size, color=color, ls="none", **options
        )


def finish(scene: Scene, result: Any, *, title: str = "", shading: float = 0.42) -> None:
    """Shade the discs, write the title, fix the limits."""
    axes = scene.axes
    for view in scene.views:
        shade(axes, view, strength=shading)
    axes.set(xlim=(-2.12, 2.12), ylim=(-1.22, 1.42), aspect="equal")
    axes.set_axis_off()
    above = title or heading(result, len(scene.points))
    below = [value_text(result), gap_text(result), _group_text(scene.group)]
    options: Any = {"ha": "center", "va": "bottom", "color": ink_on(axes)}
    axes.text(0, 1.25, plain(above), fontsize=17, fontweight="bold", **options)
    axes.text(0, 1.09, "  ·  ".join(filter(None, below)), fontsize=12.5, **options)


def key(scene: Scene, handles: "Sequence[Artist]") -> None:
    """Put a legend below the discs, its second row below the first."""
    columns = _columns([len(str(handle.get_label())) for handle in handles])
    more_rows = (len(handles) - 1) // columns
    scene.axes.legend(
        handles=list(handles), loc="lower center", bbox_to_anchor=(0.5, -0.07 * more_rows),
        ncols=columns, frameon=False, fontsize=12.5, handlelength=1.5, columnspacing=1.6,
        borderaxespad=0,
    )  # fmt: skip


def _columns(letters: Sequence[int]) -> int:
    """As many columns of labels of these lengths as have room side by side."""
    for count in range(_COLUMNS, 1, -1):
        widest = [part.max(initial=0) for part in np.array_split(np.array(letters), count)]
        if sum(widest) * _LETTER + count * _SWATCH <= _WIDTH:
            return count
    return 1


def _group_text(group: PointGroup | None) -> str:
    if group is None:
        return ""
    order = "" if group.order is None else f" (order {group.order})"
    return f"symmetry {group_math(group.name)}{order}"


def facing(points: Array, group: PointGroup | None) -> Array:
    """Rotation that turns the main axis of symmetry to the viewer and a near point to the top."""
    if group is None or group.axis is None:
        return np.eye(3)
    axis = group.axis
    height = points @ axis
    off = np.where(np.abs(height) > 1 - 1e-6, -2.0, height)
    up = points[int(np.argmax(np.round(off, 6)))]
    up = up - (up @ axis) * axis
    length = float(np.linalg.norm(up))
    if length < 1e-6:
        return np.eye(3)
    up /= length
    return np.stack([np.cross(up, axis), up, axis])
