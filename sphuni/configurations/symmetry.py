"""The orthogonal maps that permute a point set, and the name of their group in space."""

import dataclasses
import math
from collections.abc import Iterator
from time import monotonic

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sphuni._result import Result
from sphuni._rows import numpy_directions
from sphuni.configurations.starts._orbits import axis_of

__all__ = ["PointGroup", "point_group", "symmetry_order"]

_LONGEST = 10.0
"""Seconds after which a search is given up."""
_SECONDS_A_PAIR, _SECONDS_AN_AXIS = 2e-7, 4e-9
"""Roughly those of setting a search up: n^2 products to sort, n d^2 numbers to find the span."""
_LARGEST = 4_000
_ROUNDING = 1e-15
_MIX = np.uint64(0x9E3779B97F4A7C15)
_POLYHEDRAL = {(12, 3): "T", (24, 4): "O", (60, 5): "I"}
"""Rotations and highest fold of the groups with more than one main axis."""

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, repr=False)
class PointGroup(Result):
    """The group of the orthogonal maps of R^3 that permute a point set.

    Attributes
    ----------
    name : str
        In Schoenflies' notation, such as ``"Ih"``, ``"D5h"``, ``"C1"``; ``"C∞v"`` and ``"D∞h"``
        for points on one line.
    order : int or None
        Number of maps, reflections included; None where it is infinite.
    rotations : int or None
        How many of them are rotations, the identity included.
    fold : int
        Order of the rotation by the smallest angle, 1 where there is none, 0 where it is infinite.
    axis : array (3,) or None
        Axis of that rotation, a unit vector of either sign; None where there is none.
    """

    name: str
    order: int | None
    rotations: int | None
    fold: int
    axis: Array | None


def symmetry_order(
    points: ArrayLike, *, tolerance: float = 1e-7, time_limit: float = _LONGEST
) -> int | None:
    """Return how many orthogonal maps, reflections included, permute the points.

    Parameters
    ----------
    points : array_like of shape (n, d)
        Unit rows.
    tolerance : float, default 1e-7
        Inner products that differ by less are taken as equal; below 1. Points whose heights above
        a hyperplane through the centre have squares below it lie in that hyperplane.
    time_limit : float, default 10
        Seconds after which the search is given up; never more than ten.

    Returns
    -------
    int or None
        Order of the point group; None if it is infinite (the points span less than d - 1
        dimensions), or the search was given up, as it is at the time limit, where n^2 or n d^2 is
        so large that the set-up would take longer, and beyond 4,000 points.

    Raises
    ------
    ValueError
        If the points are not unit rows, or the tolerance is not in [0, 1).

    Notes
    -----
    The order is the product of orbit sizes along a chain of stabilisers of d spanning points; an
    image of a point is in its orbit if a partial map by inner products extends to all points.
    Points of a hyperplane have twice the maps of the plane: the reflection in it. A generic set
    costs O(n^2 log n).

    Examples
    --------
    >>> from sphuni.configurations import construct
    >>> symmetry_order(construct("icosahedron")), symmetry_order(construct("E8_roots"))
    (120, 696729600)
    """
    rows = numpy_directions(points)
    allowed = _allowed(tolerance)
    if len(rows) > _LARGEST:
        return None
    try:
        search = _Search(rows, allowed, time_limit)
    except _GivenUpError:
        return None
    missing = rows.shape[1] - len(search.basis)
    order = _chain(search) if missing <= 1 else None
    return None if order is None else order * (1 + missing)


def point_group(points: ArrayLike, *, tolerance: float = 1e-7) -> PointGroup | None:
    """Name the point group of points on S^2.

    Parameters
    ----------
    points : array_like of shape (n, 3)
        Unit rows.
    tolerance : float, default 1e-7
        Inner products that differ by less are taken as equal; below 1. Points whose heights above
        a hyperplane through the centre have squares below it lie in that hyperplane.

    Returns
    -------
    PointGroup or None
        None if the search was given up, as it is after some ten seconds and beyond 4,000 points.

    Raises
    ------
    ValueError
        If the points are not unit rows in R^3, or the tolerance is not in [0, 1).

    Notes
    -----
    All maps are listed; the number of rotations, the highest fold, the presence of the inversion
    and the number of mirrors fix the name.

    References
    ----------
    M. Tinkham, "Group Theory and Quantum Mechanics", McGraw-Hill (1964), chapter 4.

    Examples
    --------
    >>> from sphuni.configurations import construct
    >>> group = point_group(construct("cube_3"))
    >>> group.name, group.order, group.fold
    ('Oh', 48, 4)
    """
    rows = numpy_directions(points)
    allowed = _allowed(tolerance)
    if rows.shape[1] != 3:
        raise ValueError(
            f"points must lie in R^3 for a Schoenflies name; got d = {rows.shape[1]}. "
            "symmetry_order takes any d"
        )
    if len(rows) > _LARGEST:
        return None
    search = _Search(rows, allowed, _LONGEST)
    if len(search.basis) == 1:
        both = len(np.unique(np.sign(search.rows))) == 2
        return PointGroup("D∞h" if both else "C∞v", None, None, 0, search.basis[0])
    try:
        maps = np.stack(list(search.maps([])))
    except _GivenUpError:
        return None
    return _named(_in_space(maps, search.basis))


def _allowed(tolerance: float) -> float:
    """The tolerance, checked and not below rounding."""
    if not 0 <= tolerance < 1:
        raise ValueError(
            f"tolerance must be in [0, 1), as it is one of inner products of unit rows; got "
            f"{tolerance}. The default is 1e-7"
        )
    return max(float(tolerance), _ROUNDING)


def _basis(rows: Array, tolerance: float) -> Array:
    """Orthonormal basis (k, d) of the space that the rows span.

    Dropping an axis changes inner products by the square of the heights along it.
    """
    left, values, axes = np.linalg.svd(rows, full_matrices=False)
    heights = np.abs(left * values).max(axis=0)
    basis = axes[heights**2 > tolerance * heights.max() ** 2]
    return np.eye(rows.shape[1]) if len(basis) == rows.shape[1] else basis


def _in_space(maps: Array, basis: Array) -> Array:
    """Maps (m, 3, 3) from those of the span; of a plane, with and without the reflection in it."""
    if len(basis) == 3:
        return maps
    normal = np.cross(basis[0], basis[1])
    flat = np.einsum("ka,mkl,lb->mab", basis, maps, basis)
    across = np.outer(normal, normal)
    return np.concatenate([flat + across, flat - across])


def _named(maps: Array) -> PointGroup:
    """Classify a finite group by determinants and traces."""
    proper = np.linalg.det(maps) > 0
    trace = np.trace(maps, axis1=1, axis2=2)
    rotations, order = int(proper.sum()), len(maps)
    turns = np.flatnonzero(proper & (trace < 3 - 1e-7))
    fold, axis = 1, None
    if turns.size:
        finest = maps[turns[trace[turns].argmax()]]
        fold = round(2 * math.pi / math.acos(max(-1.0, (float(np.trace(finest)) - 1) / 2)))
        axis = _upward(axis_of(finest))
    inversion = bool((trace < -3 + 1e-5).any())
    mirrors = int((~proper & (np.abs(trace - 1) < 1e-5)).sum())
    name = _name(rotations, fold, order, mirrors, inversion=inversion)
    return PointGroup(name, order, rotations, fold, axis)


def _name(rotations: int, fold: int, order: int, mirrors: int, *, inversion: bool) -> str:
    """Schoenflies' name from the counts of elements."""
    improper = order > rotations
    polyhedral = _POLYHEDRAL.get((rotations, fold))
    if polyhedral:
        suffix = "d" if polyhedral == "T" and not inversion else "h"
        return polyhedral + (suffix if improper else "")
    if rotations == fold == 1 and improper:
        return "Ci" if inversion else "Cs"
    if rotations == fold:
        if not improper:
            return f"C{fold}"
        return {0: f"S{2 * fold}", 1: f"C{fold}h"}.get(mirrors, f"C{fold}v")
    if not improper:
        return f"D{fold}"
    return f"D{fold}h" if inversion == (fold % 2 == 0) else f"D{fold}d"


def _upward(axis: Array) -> Array:
    """The axis with its first large coordinate positive."""
    return np.asarray(axis * np.sign(axis[np.abs(axis) > 1e-6][0]))


def _chain(search: "_Search") -> int | None:
    """Order of the group as the product of orbit sizes along a chain of stabilisers."""
    order = 1
    fixed: list[int] = []
    try:
        for depth, point in enumerate(search.frame):
            images = search.stabilised(depth)
            order *= sum(search.extends([*fixed, image]) for image in images)
            fixed.append(point)
    except _GivenUpError:
        return None
    return order


class _GivenUpError(Exception):
    """The search took too long."""


class _Search:
    """Backtracking over the images of a frame, cut where labels do not match.

    Points that coincide are one, told apart from others by their number.
    After k points have images, every point is labelled by its inner products with them; a partial
    map extends only if the labels of the frame's and of the images' side agree as multisets.
    """

    def __init__(self, rows: Array, tolerance: float, seconds: float) -> None:
        n, d = rows.shape
        seconds = min(seconds, _LONGEST)
        if _SECONDS_A_PAIR * n**2 + _SECONDS_AN_AXIS * n * d**2 > seconds:
            raise _GivenUpError
        self.end = monotonic() + seconds
        gram = rows @ rows.T
        classes = _classes(gram, tolerance)
        distinct = np.unique((gram >= np.diagonal(gram) - tolerance).argmax(axis=1))
        self.basis = _basis(rows[distinct], tolerance)
        self.rows, self.tolerance = rows[distinct] @ self.basis.T, tolerance
        self.classes = classes[np.ix_(distinct, distinct)]
        _, kind = np.unique(_scrambled(classes[distinct]).sum(axis=1), return_inverse=True)
        self.kind = kind.astype(np.uint64)
        self.frame = self._choose_frame()
        self.labels = [self.kind]
        for point in self.frame:
            self.labels.append(self._refine(self.labels[-1], point))
        self.orders = [np.argsort(labels) for labels in self.labels]
        self.sorted = [
            labels[order] for labels, order in zip(self.labels, self.orders, strict=True)
        ]
        self.told_apart = [bool((np.diff(labels) > 0).all()) for labels in self.sorted]

    def stabilised(self, depth: int) -> list[int]:
        """Points that the frame's point number `depth` may go to when the earlier ones stay."""
        return self._alike(self.labels[depth], depth)

    def extends(self, images: list[int]) -> bool:
        """Whether the frame's first points can go to `images`."""
        return next(self.maps(images), None) is not None

    def maps(self, images: list[int]) -> Iterator[Array]:
        """All maps, acting on columns, that send the frame's first points to `images`."""
        labels = self.kind
        for image in images:
            labels = self._refine(labels, image)
        pending = [(images, labels)]  # not by recursion: there can be a thousand points to place
        while pending:
            if monotonic() > self.end:
                raise _GivenUpError
            images, labels = pending.pop()
            depth = len(images)
            order = np.argsort(labels)
            if not np.array_equal(labels[order], self.sorted[depth]):
                continue
            if self.told_apart[depth]:
                yield from self._only_map(depth, order)
            elif depth < len(self.frame):
                pending += [
                    ([*images, image], self._refine(labels, image))
                    for image in reversed(self._alike(labels, depth))
                ]
            else:
                map_ = self._map(images)
                if self._permutes(map_, order):
                    yield map_

    def _only_map(self, depth: int, order: NDArray[np.int64]) -> Iterator[Array]:
        """The one map there can be, as labels that all differ say where every point goes.

        Without it a set without symmetry would take a step for each of d dimensions.
        """
        image = np.empty_like(order)
        image[self.orders[depth]] = order
        images = image[self.frame]
        alike = self.classes[np.ix_(image, images)] == self.classes[:, self.frame]
        if alike.all():
            map_ = self._map(images)
            if np.abs(self.rows @ map_.T - self.rows[image]).max() <= 100 * self.tolerance:
                yield map_

    def _map(self, images: ArrayLike) -> Array:
        """The linear map that sends the frame to `images`."""
        return np.asarray(np.linalg.solve(self.rows[self.frame], self.rows[images]).T)

    def _alike(self, labels: NDArray[np.uint64], depth: int) -> list[int]:
        wanted = self.labels[depth][self.frame[depth]]
        return [int(index) for index in np.flatnonzero(labels == wanted)]

    def _refine(self, labels: NDArray[np.uint64], point: int) -> NDArray[np.uint64]:
        """Mix in the inner products with one more point, modulo 2^64."""
        mixed = (labels ^ (labels >> np.uint64(29))) * _MIX
        return np.asarray(mixed + self.classes[point])

    def _permutes(self, map_: Array, order: NDArray[np.int64]) -> bool:
        """Whether a linear map sends the set to itself; `order` sorts the labels of the images.

        Points that share a label may be paired with their images otherwise than by that order.
        """
        moved = self.rows @ map_.T
        slack = 100 * self.tolerance
        if np.abs(moved[self.orders[-1]] - self.rows[order]).max() <= slack:
            return True
        nearest = (moved @ self.rows.T).argmax(axis=1)
        apart = np.abs(moved - self.rows[nearest]).max()
        return bool(apart <= slack and len(np.unique(nearest)) == len(nearest))

    def _choose_frame(self) -> list[int]:
        """Pick spanning points, the first with as few look-alikes as possible."""
        alike = np.bincount(self.kind.astype(np.int64))[self.kind.astype(np.int64)]
        frame: list[int] = []
        rest = self.rows
        for _ in range(self.rows.shape[1]):
            lengths = np.linalg.norm(rest, axis=1)
            near = np.flatnonzero(lengths > 0.5 * lengths.max())
            chosen = int(near[np.argmin(alike[near])])
            frame.append(chosen)
            axis = rest[chosen] / lengths[chosen]
            rest = rest - np.outer(rest @ axis, axis)
        return frame


def _classes(gram: Array, tolerance: float) -> NDArray[np.uint64]:
    """Number the inner products; those that a chain of steps within tolerance joins are one."""
    flat = gram.ravel()
    order = np.argsort(flat)
    new = np.diff(flat[order], prepend=flat[order[0]]) > tolerance
    classes = np.empty(flat.shape, dtype=np.uint64)
    classes[order] = np.cumsum(new)
    return classes.reshape(gram.shape)


def _scrambled(classes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers whose sums, modulo 2^64, tell multisets of classes apart."""
    mixed = (classes + np.uint64(1)) * _MIX
    mixed ^= mixed >> np.uint64(32)
    mixed *= _MIX
    mixed ^= mixed >> np.uint64(29)
    return mixed
