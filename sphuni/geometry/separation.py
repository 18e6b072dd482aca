"""Separation: how close the closest points are."""

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from sphuni._arrays import check_points, result_function, widen
from sphuni._result import Result
from sphuni._typing import Array, Metric
from sphuni.pairwise import nearest, nearest_index
from sphuni.sphere import angles, closer_side

__all__ = ["SeparationResult", "angles_to", "nearest_distances", "separation"]

_NUMBERS_TOGETHER = 1 << 17  # of coordinates, which then stay in the cache


@dataclasses.dataclass(frozen=True, repr=False)
class SeparationResult(Result):
    """The closest pair of a point set.

    Attributes
    ----------
    distance : array (...)
        Smallest distance between two points; higher is better. inf for one point.
    pair : integer array (..., 2)
        Indices of a closest pair, smaller first; (-1, -1) for one point.
    mean_nearest : array (...)
        Mean over the points of the distance to the nearest other point.
    """

    better: ClassVar[str | None] = "higher"

    distance: Array
    pair: Array
    mean_nearest: Array


@result_function()
def separation(
    points: Tensor, /, *, metric: Metric = "geodesic", antipodal: bool = False
) -> SeparationResult:
    """Find the smallest distance between two points, which Tammes' problem maximises.

    Parameters
    ----------
    points : array of shape (..., n, d)
        Unit rows.
    metric : {"geodesic", "chordal"}, default "geodesic"
        Angle in radians, or straight-line distance.
    antipodal : bool, default False
        Take points as lines: distances between the 2n points {x, -x}, the n pairs x, -x left out.

    Returns
    -------
    SeparationResult

    Notes
    -----
    The pair is found by sorted angles (d = 2), in cells of the sphere (d = 3, many points) or by a
    KD-tree (d <= 7), all in O(n log n) at most, or by tiles of inner products (O(n^2 d)); its
    distance is then computed from differences, so it is accurate to a few units in the last place
    at any closeness. The gradient is that of the closest pair (Danskin); at coincident points it is
    zero.

    Examples
    --------
    >>> import numpy as np, sphuni
    >>> float(np.degrees(sphuni.separation(np.vstack([np.eye(3), -np.eye(3)])).distance))
    90.0
    """
    check_points(points)
    if metric not in ("chordal", "geodesic"):
        raise ValueError(f"metric must be 'chordal' or 'geodesic'; got {metric!r}")
    if points.shape[-2] == 1:
        infinite = points.new_full(points.shape[:-2], torch.inf)
        none = torch.full((*points.shape[:-2], 2), -1, dtype=torch.long, device=points.device)
        return SeparationResult(infinite, none, infinite.clone())
    distance, index = nearest_distances(widen(points), metric=metric, antipodal=antipodal)
    first = distance.detach().argmin(dim=-1, keepdim=True)
    pair = torch.cat([first, index.gather(-1, first)], dim=-1).sort(dim=-1).values
    closest, mean = distance.gather(-1, first)[..., 0], distance.mean(dim=-1)
    return SeparationResult(closest.to(points.dtype), pair, mean.to(points.dtype))


def nearest_distances(
    points: Tensor, *, metric: Metric = "geodesic", antipodal: bool = False
) -> tuple[Tensor, Tensor]:
    """Distance from every point to its nearest other point, and that point's index."""
    if metric == "chordal":
        found = nearest(points, antipodal=antipodal)
        return found.distance[..., 0], found.index[..., 0]
    index = nearest_index(points, antipodal=antipodal)[..., 0]
    return angles_to(points, index, antipodal=antipodal), index


def angles_to(
    points: Tensor, index: Tensor, *, antipodal: bool = False, dtype: torch.dtype | None = None
) -> Tensor:
    """Angles (..., n) of all rows to their partners of `index`, in `dtype` or the points' own."""
    few = max(1, _NUMBERS_TOGETHER // points.shape[-1])
    dtype = dtype or points.dtype
    parts = []
    for rows, partners in zip(points.split(few, -2), index.split(few, -1), strict=True):
        here = rows.to(dtype)
        there = points.gather(-2, partners[..., None].expand(rows.shape)).to(dtype)
        parts.append(angles(here, closer_side(here, there) if antipodal else there))
    return torch.cat(parts, dim=-1)
