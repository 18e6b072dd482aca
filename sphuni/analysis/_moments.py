"""First and second moments of a layer's rows, which its tests and its spectrum share."""

from typing import NamedTuple

import torch
from torch import Tensor

from sphuni._typing import Points

__all__ = ["Moments", "moments_of"]

_TOGETHER = 8_192


class Moments(NamedTuple):
    """Sums over n rows of R^d, in float64.

    `total` is the sum of the rows and `side` the smaller of X^T X and X X^T, which have the same
    eigenvalues besides zero.
    """

    n: int
    d: int
    total: Tensor
    side: Tensor


def moments_of(points: Points) -> Moments:
    """Add up the rows and their products, block by block, in float64."""
    n, d = points.shape
    if n <= d:
        wide = points.double()
        return Moments(n, d, wide.sum(dim=0), wide @ wide.T)
    total = points.new_zeros(d, dtype=torch.float64)
    side = points.new_zeros(d, d, dtype=torch.float64)
    for block in points.split(_TOGETHER):
        wide = block.double()
        total += wide.sum(dim=0)
        side += wide.T @ wide
    return Moments(n, d, total, side)
