"""Pair sums of the Gegenbauer polynomials of every degree."""

from collections.abc import Iterator

import torch
from torch import Tensor

from sphuni._typing import Points
from sphuni.pairwise.summaries._harmonics import degree_sums_by_harmonics, repays
from sphuni.pairwise.tiles._schedule import Task, run_tiles
from sphuni.pairwise.tiles._tiles import degree_zero

__all__ = ["degree_sums"]

_BLOCK, _COPIES = 256, 5
"""Rows of a tile: the recurrence goes over three of them, which should stay in the cache."""


def degree_sums(points: Points, highest: int) -> Tensor:
    """Sums over i < j of P_1 .. P_highest of the cosines, (..., highest), without a gradient.

    P_l are the Gegenbauer polynomials of R^d with P_l(1) = 1. By one recurrence a tile,
    O(n^2 (d + highest)), or for many points in d = 3 by harmonics, O(n highest^2).
    """
    x = degree_zero(points.detach().reshape(-1, *points.shape[-2:]))
    sums = _by_harmonics(x, highest) if repays(x, highest) else _by_tiles(x, highest)
    return sums.reshape(*points.shape[:-2], highest)


def _by_harmonics(x: Tensor, highest: int) -> Tensor:
    return torch.stack([degree_sums_by_harmonics(one, highest) for one in x])


def _by_tiles(x: Tensor, highest: int) -> Tensor:
    b, n, d = x.shape
    sums = x.new_zeros(b, n, highest)  # by first row of a tile

    def work(task: Task) -> None:
        left, right = x[task.batch, task.left], x[task.batch, task.right]
        total = sums[task.batch, task.left.start]
        for degree, values in enumerate(_polynomials(left @ right.mT, highest, d)):
            found = values.sum((-2, -1))
            # a tile of rows with themselves has both orders and the rows' own ones
            total[:, degree] += 0.5 * (found - left.shape[-2]) if task.own else found

    run_tiles(work, x, None, block=_BLOCK, copies=_COPIES)
    return sums.sum(1)


def _polynomials(t: Tensor, highest: int, d: int) -> Iterator[Tensor]:
    """P_1 .. P_highest of a tile, each in place of the one before the last."""
    before, now = torch.ones_like(t), t.clone()
    for degree in range(1, highest + 1):
        yield now
        scale = 1.0 / (degree + d - 2)
        before.mul_(-degree * scale).addcmul_(t, now, value=(2 * degree + d - 2) * scale)
        before, now = now, before
