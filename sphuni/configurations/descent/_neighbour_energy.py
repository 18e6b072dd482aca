"""The packing energy log(sum r^-2a) / a of many points, from the pairs that are near enough.

The other pairs of thousands of points are nearly all of the work, and for a >= 8 nothing of the
sum. The pairs are listed with a margin, and anew once a point has moved by half of it.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from sphuni.configurations.maxmin._contacts import many, pairs_within
from sphuni.configurations.maxmin._members import Array
from sphuni.configurations.starts._random import spacing
from sphuni.special import cap_measure

__all__ = ["LEAST_EXPONENT", "NeighbourEnergy", "pairs_listed", "worth_listing"]

LEAST_EXPONENT = 8.0

_SHARE = 0.04
"""Of all pairs: with more, native loops over all take no longer."""
_WIDER = 1.1
"""What the closest pair may gain before the pairs left out are felt."""
_NEGLIGIBLE = 1e-8
_SKIN = 0.3


def worth_listing(n: int, d: int, *, lines: bool) -> bool:
    """Whether the pairs that are near are few enough."""
    return many(n, d) and pairs_listed(n, d, lines=lines) <= _SHARE * n**2 / 2


def pairs_listed(n: int, d: int, *, lines: bool) -> float:
    """Roughly how many pairs a list has, at most."""
    ends = 2 * n if lines else n
    usual = spacing(ends, d)
    chord = _reach(usual, LEAST_EXPONENT) + _SKIN * usual
    return n * ends / 2 * float(cap_measure(2 * math.asin(min(1.0, chord / 2)), d))


def _reach(closest: float, a: float) -> float:
    return _WIDER * closest * _NEGLIGIBLE ** (-0.5 / a)


class _Listed(NamedTuple):
    """Pairs near at some points: `differences` (pairs, n) takes x to x_i - x_j, or x_i + x_j."""

    points: Array
    differences: sparse.csr_matrix


class NeighbourEnergy:
    """An objective of `minimize` whose parameters are the exponents, scales and numbers of lanes.

    The exponents of a lane must not change, and its points not start elsewhere.
    """

    def __init__(self, lines: bool) -> None:
        self._lines = lines
        self._listed: dict[int, _Listed] = {}

    def __call__(self, x: Tensor, a: Tensor, p0: Tensor, lane: Tensor) -> tuple[Tensor, Tensor]:
        """Value and gradient from planes (d, n, b)."""
        rows = x.permute(2, 1, 0).contiguous().numpy()
        values, gradients = np.empty(len(rows)), np.empty_like(rows)
        for k, (points, *numbers) in enumerate(zip(rows, a.tolist(), p0.tolist(), strict=True)):
            differences = self._differences(int(lane[k]), points, *numbers)
            values[k], gradients[k] = _energy(differences, points, *numbers)
        return torch.from_numpy(values), torch.from_numpy(gradients).permute(2, 1, 0).contiguous()

    def _differences(self, lane: int, points: Array, a: float, p0: float) -> sparse.csr_matrix:
        usual = spacing((2 if self._lines else 1) * len(points), points.shape[1])
        listed = self._listed.get(lane)
        if listed is None or not _longest(points - listed.points) <= _SKIN * usual / 2:
            reach = _reach(max(math.sqrt(p0), usual), a) + _SKIN * usual
            listed = _Listed(points, _pairs(points, reach, lines=self._lines))
            self._listed[lane] = listed
        return listed.differences


def _energy(
    differences: sparse.csr_matrix, points: Array, a: float, p0: float
) -> tuple[float, Array]:
    apart = differences @ points
    squares = (apart**2).sum(1)
    with np.errstate(all="ignore"):  # coincident points: the line search turns back
        near = np.exp(-a * np.log(squares / p0))
        total = float(near.sum())
        pull = (-2 / total) * near / squares
    return float(np.log(total)) / a, np.asarray(differences.T @ (pull[:, None] * apart))


def _pairs(points: Array, reach: float, *, lines: bool) -> sparse.csr_matrix:
    first, second, sign = pairs_within(points, reach, lines=lines)
    columns = np.column_stack([first, second]).ravel()
    entries = np.column_stack([np.ones(len(sign)), -sign]).ravel()
    starts = 2 * np.arange(len(sign) + 1)
    return sparse.csr_matrix((entries, columns, starts), shape=(len(sign), len(points)))


def _longest(rows: Array) -> float:
    return math.sqrt(float((rows**2).sum(1).max()))
