"""Coordinates as files for other programs."""

import io
import os
from pathlib import Path

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from sphuni._files import write_bytes, write_text
from sphuni._rows import numpy_rows
from sphuni.geometry._hull import facets

__all__ = ["save_points"]

_FORMATS = (".npz", ".csv", ".xyz", ".obj")


def save_points(points: ArrayLike, path: str | os.PathLike[str]) -> None:
    """Write a configuration; the suffix of the name chooses the format.

    Parameters
    ----------
    points : array_like of shape (n, d)
        Unit rows.
    path : path-like
        Ends in ``.npz`` (one array, ``points``), ``.csv`` (a header x1..xd, one point a row, 17
        digits), ``.xyz`` (molecule viewers, d = 3) or ``.obj`` (the convex hull as a mesh, d = 3).
        The file is replaced in one step.

    Raises
    ------
    TypeError
        If the first argument is a name: the points come first.
    ValueError
        If the suffix is none of these, the format needs d = 3, or a coordinate is not finite.
    """
    if isinstance(points, str | os.PathLike):
        raise TypeError(
            f"points must be an array of shape (n, d); got the name {os.fspath(points)!r}. "
            "The points come first: save_points(points, path)"
        )
    rows = numpy_rows(points, unit=False)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        row = int(finite.argmin())
        raise ValueError(f"points must be finite; row {row} is {rows[row].tolist()}. Drop it first")
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise ValueError(f"path must end in one of {', '.join(_FORMATS)}; got {str(path)!r}")
    if suffix in (".xyz", ".obj") and rows.shape[1] != 3:
        raise ValueError(f"{suffix} needs points in R^3; got d = {rows.shape[1]}. Use .npz or .csv")
    if suffix == ".npz":
        stream = io.BytesIO()
        np.savez(stream, points=rows)
        write_bytes(path, stream.getvalue())
    else:
        write_text(path, {".csv": _csv, ".xyz": _xyz, ".obj": _obj}[suffix](rows))


def _csv(rows: NDArray[np.float64]) -> str:
    head = ",".join(f"x{k + 1}" for k in range(rows.shape[1]))
    return "\n".join([head, *(",".join(map(_digits, row)) for row in rows)]) + "\n"


def _xyz(rows: NDArray[np.float64]) -> str:
    lines = [f"C {' '.join(map(_digits, row))}" for row in rows]
    return "\n".join([str(len(rows)), "points on the unit sphere", *lines]) + "\n"


def _obj(rows: NDArray[np.float64]) -> str:
    if len(rows) < 4:
        raise ValueError(f"a mesh needs at least 4 points; got {len(rows)}. Use .npz or .csv")
    try:
        triangles = facets(rows)
    except scipy.spatial.QhullError as error:
        raise ValueError("points in one plane have no mesh. Use .npz or .csv") from error
    corners = [f"v {' '.join(map(_digits, row))}" for row in rows]
    sides = [f"f {' '.join(str(k + 1) for k in _outward(rows, side))}" for side in triangles]
    return "\n".join(corners + sides) + "\n"


def _outward(rows: NDArray[np.float64], side: NDArray[np.int64]) -> NDArray[np.int64]:
    """Order a triangle's corners anticlockwise as seen from outside the hull."""
    inside = rows.mean(axis=0)
    return side if np.linalg.det(rows[side] - inside) > 0 else side[::-1]


def _digits(x: float) -> str:
    return f"{x:.17g}"
