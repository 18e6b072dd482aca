"""Separation: how close the closest points are."""

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from sphuni._arrays import check_points, result_function, widen
from sphuni._result import Result
from sphuni._typing import Array, Metric
from sphuni.pairwise import nearest, nearest_index
from sphuni.sphere import angles

__all__ = ["SeparationResult", "nearest_distances", "separation"]

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
    The pair is found by sorted angles (d = 2), by a KD-tree (d <= 7), both O(n log n), or by tiles
    of inner products (O(n^2 d)); its distance is then computed from differences, so it is accurate
    to a few units in the last place at any closeness. The gradient is that of the closest pair
    (Danskin); at coincident points it is zero.

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
    index = nearest_index(points, antipodal=antipodal)
    n, d = points.shape[-2:]
    few = max(1, _NUMBERS_TOGETHER // d)
    parts = [
        _angles_to(points, index, slice(start, start + few), antipodal=antipodal)
        for start in range(0, n, few)
    ]
    return torch.cat(parts, dim=-1), index[..., 0]


def _angles_to(points: Tensor, index: Tensor, rows: slice, *, antipodal: bool) -> Tensor:
    """Angles of some rows to the points (..., n, 1) of `index`."""
    here, chosen = points[..., rows, :], index[..., rows, :]
    there = points.gather(-2, chosen.expand(here.shape))
    if antipodal:
        flip = (here * there).sum(dim=-1, keepdim=True).detach() < 0
        there = torch.where(flip, -there, there)
    return angles(here, there)
