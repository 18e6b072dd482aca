"""The orthogonal maps that permute a point set."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["symmetry_order"]

_MOST_TRIALS = 200_000


def symmetry_order(points: ArrayLike, *, tolerance: float = 1e-7) -> int | None:
    """Return how many orthogonal maps, reflections included, permute the points.

    Parameters
    ----------
    points : array_like of shape (n, d)
        Unit rows.
    tolerance : float, default 1e-7
        Inner products that differ by less are taken as equal.

    Returns
    -------
    int or None
        Order of the point group; None if the points do not span R^d (the group is infinite) or
        the search was given up.

    Notes
    -----
    The order is the product of orbit sizes along a chain of stabilisers of d spanning points; an
    image of a point is in its orbit if a partial map by inner products extends to all points.
    A generic set costs O(n^2 log n).

    Examples
    --------
    >>> from sphuni.configurations import construct
    >>> symmetry_order(construct("icosahedron")), symmetry_order(construct("E8_roots"))
    (120, 696729600)
    """
    rows = np.asarray(points, dtype=np.float64)
    search = _Search(rows, tolerance)
    if search.frame is None:
        return None
    order = 1
    fixed: list[int] = []
    for point in search.frame:
        orbit = 0
        for image in search.candidates([*fixed, point], fixed):
            extends = search.extends([*fixed, image])
            if extends is None:
                return None
            orbit += extends
        order *= orbit
        fixed.append(point)
    return order


class _Search:
    """Backtracking over the images of a frame."""

    def __init__(self, rows: NDArray[np.float64], tolerance: float) -> None:
        self.rows, self.tolerance, self.trials = rows, tolerance, 0
        self.gram = rows @ rows.T
        self.profile = np.sort(self.gram, axis=1)
        self.frame = self._choose_frame()

    def candidates(self, source: list[int], images: list[int]) -> list[int]:
        """Points that the last of `source` may go to when the others go to `images`."""
        last = source[-1]
        alike = np.abs(self.profile - self.profile[last]).max(axis=1) <= self.tolerance
        for a, b in zip(source[:-1], images, strict=True):
            alike &= np.abs(self.gram[:, b] - self.gram[last, a]) <= self.tolerance
        return [int(index) for index in np.flatnonzero(alike)]

    def extends(self, images: list[int]) -> bool | None:
        """Whether the frame's first points can go to `images`; None when given up."""
        assert self.frame is not None
        self.trials += 1
        if self.trials > _MOST_TRIALS:
            return None
        depth = len(images)
        if depth == len(self.frame):
            return self._permutes(images)
        for image in self.candidates(self.frame[: depth + 1], images):
            found = self.extends([*images, image])
            if found is not False:
                return found
        return False

    def _permutes(self, images: list[int]) -> bool:
        """Whether the linear map of the frame to `images` sends the set to itself."""
        map_ = np.linalg.solve(self.rows[self.frame], self.rows[images])
        cosines = (self.rows @ map_) @ self.rows.T
        nearest = cosines.argmax(axis=1)
        moved = self.rows @ map_ - self.rows[nearest]
        slack = 100 * self.tolerance
        return bool(np.abs(moved).max() <= slack and len(np.unique(nearest)) == len(nearest))

    def _choose_frame(self) -> list[int] | None:
        """Pick d spanning points, the first with as few look-alikes as possible."""
        d = self.rows.shape[1]
        rounded = np.round(self.profile / (10 * self.tolerance)).astype(np.int64)
        _, kind, count = np.unique(rounded, axis=0, return_inverse=True, return_counts=True)
        order = np.argsort(count[kind.ravel()], kind="stable")
        frame: list[int] = [int(order[0])]
        rest = self.rows - np.outer(self.rows @ self.rows[frame[0]], self.rows[frame[0]])
        while len(frame) < d:
            lengths = np.linalg.norm(rest, axis=1)
            if lengths.max() < 1e-3:
                return None
            near = np.flatnonzero(lengths > 0.5 * lengths.max())
            chosen = int(near[np.argmin(count[kind.ravel()][near])])
            frame.append(chosen)
            axis = rest[chosen] / lengths[chosen]
            rest = rest - np.outer(rest @ axis, axis)
        return frame
