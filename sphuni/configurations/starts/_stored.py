"""Starts from the stored optima of one point more and one point fewer."""

import zipfile
from importlib import resources

import numpy as np
from scipy.spatial import QhullError, distance

from sphuni.configurations.maxmin._holes import circumcentres
from sphuni.configurations.maxmin._members import Array

__all__ = ["stored_neighbours"]


def stored_neighbours(name: str, n: int, d: int) -> list[Array]:
    """Sets of n points made from the package's optima of n + 1 and n - 1 points, if stored.

    Parameters
    ----------
    name : str
        Name of the coordinates without the number of points, such as "thomson_d3".
    n, d : int
    """
    larger, smaller = (_stored(f"{name}_n{size}") for size in (n + 1, n - 1))
    made = []
    if larger is not None:
        made.append(_without_the_hottest(larger))
    if smaller is not None and n - 1 > d:
        try:
            centres, depth = circumcentres(smaller)
            made.append(np.vstack([smaller, centres[depth.argmax()]]))
        except QhullError:  # the points lie in a plane
            pass
    return made


def _stored(name: str) -> Array | None:
    file = resources.files("sphuni.configurations").joinpath("data/atlas/points.npz")
    if not file.is_file():
        return None
    with file.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        if f"{name}.npy" not in archive.namelist():
            return None
        with archive.open(f"{name}.npy") as array:
            return np.asarray(np.lib.format.read_array(array), dtype=np.float64)


def _without_the_hottest(points: Array) -> Array:
    """Take out the point of greatest energy in the field of the others."""
    apart = distance.squareform(distance.pdist(points))
    np.fill_diagonal(apart, np.inf)
    return np.delete(points, (1 / apart).sum(1).argmax(), axis=0)
