"""Both hemispheres of the sphere side by side: orthographic views of convex shapes and arcs."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from sphuni.plots._diagram import Array
from sphuni.plots._style import DISCS, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BACK",
    "FRONT",
    "Shape",
    "View",
    "arc",
    "cap",
    "draw_globe",
    "polygon",
    "shade",
    "visible_arc",
]

_STEP = 0.06
_LIGHT = (-0.45, 0.55, 0.70)


@dataclasses.dataclass(frozen=True)
class View:
    """A hemisphere as seen from outside, its centre moved sideways."""

    side: float
    shift: float

    def seen(self, rows: Array) -> Array:
        """Coordinates in which the viewer looks down the last axis; the back is mirrored."""
        return rows * np.array([self.side, 1.0, self.side])

    def place(self, rows: Array) -> Array:
        """Project rows of `seen` onto the page."""
        return rows[:, :2] + np.array([self.shift, 0.0])


FRONT, BACK = (View(side, shift) for side, shift in DISCS)


@dataclasses.dataclass(frozen=True)
class Shape:
    """A convex region: closed boundary (k, 3), and where inside(x) = normals @ x >= offset."""

    path: Array
    normals: Array
    offset: float

    def fill(self, view: View) -> Array | None:
        """Outline (m, 2) of the part that is seen, closed along the rim; None if hidden."""
        run, closed = _visible(view.seen(self.path))
        if len(run) < 2:
            return None
        if not closed:
            run = np.vstack([run, self._along_rim(run[-1], run[0], view)])
        return view.place(run)

    def outline(self, view: View) -> Array | None:
        """Boundary (m, 2) that is seen; None if hidden."""
        run, closed = _visible(view.seen(self.path))
        if len(run) < 2:
            return None
        return view.place(np.vstack([run, run[:1]]) if closed else run)

    def _along_rim(self, start: Array, end: Array, view: View) -> Array:
        """Rim from start to end, on the side where it lies inside the shape."""
        first, last = np.arctan2(start[1], start[0]), np.arctan2(end[1], end[0])
        ways = [(last - first) % (2 * np.pi), (last - first) % (2 * np.pi) - 2 * np.pi]
        middle = np.array([first + 0.5 * way for way in ways])
        rim = np.column_stack([np.cos(middle), np.sin(middle), np.zeros(2)])
        depth = (view.seen(rim) @ self.normals.T - self.offset).min(axis=1)
        way = ways[int(depth.argmax())]
        angles = first + way * np.linspace(0, 1, 2 + int(abs(way) / _STEP))
        return np.column_stack([np.cos(angles), np.sin(angles), np.zeros(len(angles))])


def polygon(corners: Array) -> Shape:
    """Convex spherical polygon, its corners anticlockwise as seen from outside."""
    following = np.roll(corners, -1, axis=0)
    path = np.vstack([arc(a, b)[:-1] for a, b in zip(corners, following, strict=True)])
    normals = np.cross(corners, following)
    middle = corners.mean(axis=0)
    normals = np.where((normals @ middle)[:, None] < 0, -normals, normals)
    return Shape(path, normals, 0.0)


def cap(centre: Array, radius: float) -> Shape:
    """Spherical cap of an angular radius."""
    first = np.cross(centre, np.eye(3)[np.abs(centre).argmin()])
    first /= np.linalg.norm(first)
    around = np.linspace(0, 2 * np.pi, 120, endpoint=False)[:, None]
    ring = np.cos(around) * first + np.sin(around) * np.cross(centre, first)
    path = np.cos(radius) * centre + np.sin(radius) * ring
    return Shape(path, centre[None], float(np.cos(radius)))


def arc(a: Array, b: Array) -> Array:
    """Points (k, 3) along the great circle from a to b, both included."""
    steps = 2 + int(2 * np.arcsin(min(1.0, 0.5 * float(np.linalg.norm(a - b)))) / _STEP)
    part = np.linspace(0, 1, steps)[:, None]
    path = a * (1 - part) + b * part
    return np.asarray(path / np.linalg.norm(path, axis=1, keepdims=True))


def visible_arc(path: Array, view: View) -> Array | None:
    """Part of an open path that is seen, on the page."""
    seen = _crossings(view.seen(path), closed=False)
    seen = seen[seen[:, 2] >= 0]
    return view.place(seen) if len(seen) > 1 else None


def shade(axes: "Axes", view: View, *, strength: float = 0.42) -> None:
    """Darken a disc away from the light, so that it reads as a sphere."""
    from matplotlib.patches import Circle

    grid = np.linspace(-1, 1, 200)
    x, y = np.meshgrid(grid, grid)
    z = np.sqrt(np.maximum(0.0, 1 - x**2 - y**2))
    lit = np.clip(x * _LIGHT[0] + y * _LIGHT[1] + z * _LIGHT[2], 0, 1)
    image = np.zeros((*x.shape, 4))
    image[..., 3] = np.round(strength * (1 - lit) ** 1.6, 2)
    shown = axes.imshow(
        image, extent=(view.shift - 1, view.shift + 1, -1, 1), origin="lower", zorder=1.5,
        interpolation="bilinear",
    )  # fmt: skip
    shown.set_clip_path(Circle((view.shift, 0.0), 1.0, transform=axes.transData))


def draw_globe(axes: "Axes", view: View, *, ground: str) -> None:
    """Fill a disc and draw its rim."""
    from matplotlib.patches import Circle

    centre = (view.shift, 0.0)
    axes.add_patch(Circle(centre, 1.0, facecolor=ground, edgecolor="none", zorder=0.5))
    axes.add_patch(Circle(centre, 1.0, facecolor="none", edgecolor=INK, lw=1.2, zorder=4))


def _visible(path: Array) -> tuple[Array, bool]:
    """Run of a closed path in front of the page, from rim to rim, and whether it is all of it."""
    path = _crossings(path, closed=True)
    front = path[:, 2] >= 0
    if front.all():
        return path, True
    if not front.any():
        return path[:0], False
    starts = np.flatnonzero(front & ~np.roll(front, 1))
    runs = []
    for start in starts:
        turned = np.roll(path, -start, axis=0)
        hidden = np.flatnonzero(turned[:, 2] < 0)
        runs.append(turned[: hidden[0]])
    return max(runs, key=len), False


def _crossings(path: Array, *, closed: bool) -> Array:
    """Add the points at which a path meets the rim."""
    following = np.roll(path, -1, axis=0)
    cross = np.flatnonzero(path[:, 2] * following[:, 2] < 0)
    if not closed:
        cross = cross[cross < len(path) - 1]
    a, b = path[cross], following[cross]
    at = a * b[:, 2:] - b * a[:, 2:]
    at *= np.sign(b[:, 2:] - a[:, 2:])
    at[:, 2] = 0.0
    at /= np.linalg.norm(at, axis=1, keepdims=True)
    return np.insert(path, cross + 1, at, axis=0)
