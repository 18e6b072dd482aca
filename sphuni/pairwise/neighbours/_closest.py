"""The closest and the most opposite pair: by search, the distance by differences."""

import math

import torch
from torch import Tensor

from sphuni._budget import room_for
from sphuni._typing import Points
from sphuni.pairwise.neighbours._nearest import nearest
from sphuni.sphere import closer_side, float64_rows, root

__all__ = ["smallest_distance"]

_DENSE_UP_TO = 512
_MOST_COSINES, _COSINE_BYTES = 1 << 20, 48  # in one table of a part of a batch, with its copies
_CLOSE, _ROUNDING = 1 - 2.0**-16, 2.0**-50
"""Below this cosine, roundings of it change a distance by less than 1e-10 of itself."""


def smallest_distance(
    points: Points, /, *, antipodal: bool = False, opposite: bool = False
) -> Tensor:
    """The smallest |x_i - x_j| over i < j.

    Parameters
    ----------
    points : tensor of shape (..., n, d)
        Unit rows (not checked here), n >= 2.
    antipodal : bool, default False
        Take points as lines: the distance to the closer of y and -y.
    opposite : bool, default False
        The smallest |x_i + x_j| instead.

    Returns
    -------
    float64 tensor of shape (...)
        Its gradient is that of one pair.

    Notes
    -----
    Whole tables of cosines for sets of at most 512 points, some sets of a batch at a time; sorted
    angles for d = 2, else `nearest`. Of pairs whose cosines differ by roundings, the closest by
    differences.
    """
    points = float64_rows(points)
    n, d = points.shape[-2:]
    if n <= _DENSE_UP_TO:
        first, second = _dense(points, antipodal=antipodal, opposite=opposite)
    elif d == 2 and not opposite:
        first, second = _neighbours(points, antipodal=antipodal)
    else:
        found = nearest(points, antipodal=antipodal, opposite=opposite)
        return found.distance.amin((-2, -1))
    if antipodal:
        second = closer_side(first, second)
    apart = first + second if opposite else first - second
    return root(apart.square().sum(-1)).amin(-1)


def _rows(points: Points, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
    """The rows (..., k, d) of indices (..., k)."""
    width = points.shape[-1]
    first, second = (
        points.gather(-2, index[..., None].expand(*index.shape, width)) for index in (i, j)
    )
    return first, second


def _dense(points: Points, *, antipodal: bool, opposite: bool) -> tuple[Tensor, Tensor]:
    """The rows (..., 1, d) of the pair of largest cosine, or of smallest, of small sets."""
    n, d = points.shape[-2:]
    sets = points.detach().reshape(-1, n, d)
    parts = [
        _closest_of_each(rows, antipodal=antipodal, opposite=opposite)
        for rows in sets.split(max(1, room_for(_MOST_COSINES, _COSINE_BYTES) // n**2))
    ]
    place = torch.cat(parts).reshape(*points.shape[:-2], 1)
    return _rows(points, place // n, place % n)


def _closest_of_each(rows: Points, *, antipodal: bool, opposite: bool) -> Tensor:
    """Of sets (b, n, d) the places (b,) of the closest pairs in tables n x n."""
    gram = rows @ (-rows if opposite else rows).mT
    gram = gram.abs_() if antipodal else gram
    gram.diagonal(dim1=-2, dim2=-1).fill_(-torch.inf)
    most, place = gram.flatten(-2).max(-1)
    for one in torch.nonzero(most > _CLOSE)[:, 0].tolist():
        alike = torch.nonzero(gram[one] >= most[one] - _ROUNDING)
        i, j = alike[alike[:, 0] < alike[:, 1]].T
        if len(i) > 1:
            k = _closest_by_differences(rows[one], i, j, antipodal=antipodal, opposite=opposite)
            place[one] = i[k] * rows.shape[1] + j[k]
    return place


def _closest_by_differences(
    rows: Points, i: Tensor, j: Tensor, *, antipodal: bool, opposite: bool
) -> int:
    """Which of the pairs is the closest, some pairs at a time."""
    few, squares = max(1, room_for(_MOST_COSINES, _COSINE_BYTES) // rows.shape[1]), []
    for here, there in zip(i.split(few), j.split(few), strict=True):
        x, y = rows[here], rows[there]
        y = closer_side(x, y) if antipodal else y
        squares.append((x + y if opposite else x - y).square().sum(-1))
    return int(torch.cat(squares).argmin())


def _neighbours(points: Points, *, antipodal: bool) -> tuple[Tensor, Tensor]:
    """All pairs of neighbours on the circle, or of neighbouring lines of the plane."""
    x = points.detach()
    angle = torch.atan2(x[..., 1].contiguous(), x[..., 0].contiguous())
    order = (torch.remainder(angle, math.pi) if antipodal else angle).argsort(-1)
    return _rows(points, order, order.roll(1, -1))
