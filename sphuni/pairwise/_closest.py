"""The closest and the most opposite pair: by search, the distance by differences."""

import math

import torch
from torch import Tensor

from sphuni._typing import Points
from sphuni.pairwise._nearest import nearest
from sphuni.sphere import closer_side, float64_rows, root

__all__ = ["smallest_distance"]

_DENSE_UP_TO = 512
_MOST_COSINES = 1 << 25


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
    Whole tables of cosines for sets of at most 512 points, as long as a batch of them holds no more
    than 2^25 numbers; sorted angles for d = 2, else `nearest`.
    """
    points = float64_rows(points)
    n, d = points.shape[-2:]
    if n <= _DENSE_UP_TO and points.numel() // max(d, 1) * n <= _MOST_COSINES:
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
    rows = points.detach()
    n = rows.shape[-2]
    gram = rows @ (-rows if opposite else rows).mT
    gram = gram.abs_() if antipodal else gram
    gram.diagonal(dim1=-2, dim2=-1).fill_(-torch.inf)
    place = gram.flatten(-2).argmax(-1)[..., None]
    return _rows(points, place // n, place % n)


def _neighbours(points: Points, *, antipodal: bool) -> tuple[Tensor, Tensor]:
    """All pairs of neighbours on the circle, or of neighbouring lines of the plane."""
    x = points.detach()
    angle = torch.atan2(x[..., 1].contiguous(), x[..., 0].contiguous())
    order = (torch.remainder(angle, math.pi) if antipodal else angle).argsort(-1)
    return _rows(points, order, order.roll(1, -1))
