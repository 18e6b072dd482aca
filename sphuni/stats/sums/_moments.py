"""Sums of a polynomial of the cosine over all pairs, from the moments of the points: O(n)."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from sphuni._typing import Points
from sphuni.special import harmonic_dimension
from sphuni.sphere import unit_rows

__all__ = ["circle_squares", "gegenbauer_pair_sum", "moment_count", "rounding"]

_FLOAT = NDArray[np.float64]
_CHUNK_NUMBERS = 1 << 22
_IN_CACHE = 1 << 14


def moment_count(degree: int, width: int) -> int:
    """How many moments per point a polynomial of this degree takes in R^width."""
    return degree if width == 2 else math.comb(width + degree, degree)


def rounding(coefficients: _FLOAT, d: int) -> float:
    """Rounding error of `gegenbauer_pair_sum` over n, in standard deviations of the sum over n.

    In powers of t a polynomial of high degree has huge coefficients of both signs. On the circle
    complex powers serve, which lose nothing.
    """
    if d == 2:
        return 0.0
    monomial = np.abs(_monomials(coefficients, d))
    order = 0.5 * np.arange(1.0, monomial.size + 1)
    sizes = np.exp(special.betaln(order, 0.5 * (d - 1)) - special.betaln(0.5, 0.5 * (d - 1)))
    dimensions = [float(harmonic_dimension(k, d)) for k in range(coefficients.size)]
    spread = math.sqrt(2.0 * float(np.sum(coefficients**2 / np.array(dimensions))))
    return 2.0 * float(np.finfo(np.float64).eps) * float(monomial @ sizes) / spread


def gegenbauer_pair_sum(points: Points, coefficients: _FLOAT, d: int) -> Tensor:
    r"""Sum over i < j of :math:`\sum_k c_k P_k(t_{ij})` with the polynomials of R^d, in float64.

    Parameters
    ----------
    points : tensor of shape (..., n, k)
        Unit rows.
    coefficients : numpy.ndarray of shape (K + 1,)
        c_0 .. c_K.
    d : int
        Dimension of the polynomials, which are 1 at 1.

    Notes
    -----
    :math:`\sum_{ij} (x_i \cdot x_j)^m` is a weighted sum of squares of the moments of order m.
    """
    n = points.shape[-2]
    if points.dtype != torch.float64:  # norms off by single precision would count n times
        points = unit_rows(points.double())
    if points.shape[-1] == 2 and d == 2:
        powers = circle_squares(points, coefficients.size - 1)
        every = sum(float(c) * s for c, s in zip(coefficients, powers, strict=True))
    else:
        monomial = _monomials(coefficients, d)
        squares = _moment_squares(points, monomial.size - 1)
        every = sum(float(c) * s for c, s in zip(monomial, squares, strict=True))
    return 0.5 * (torch.as_tensor(every) - n * float(coefficients.sum()))


def circle_squares(points: Points, degree: int) -> list[Tensor]:
    """|sum z^k|^2 for k = 0 .. degree, of points (..., n, 2)."""
    totals: list[Tensor] = []
    for part in points.split(_IN_CACHE, dim=-2):
        z = torch.complex(part[..., 0], part[..., 1])
        power, sums = torch.ones_like(z), []
        for _ in range(degree + 1):
            sums.append(power.sum(-1))
            power = power * z
        totals = [a + b for a, b in zip(totals, sums, strict=True)] if totals else sums
    return [total.real.square() + total.imag.square() for total in totals]


def _monomials(coefficients: _FLOAT, d: int) -> _FLOAT:
    """Coefficients in powers of t of a series in P_k."""
    before, now = np.array([1.0]), np.array([0.0, 1.0])
    total = np.zeros(max(coefficients.size, 2))
    total[0] += coefficients[0]
    total[1] += coefficients[1] if coefficients.size > 1 else 0.0
    for k in range(2, coefficients.size):
        scale = 1.0 / (k + d - 3) if k + d > 3 else 1.0
        ahead = np.zeros(k + 1)
        ahead[1:] = (2 * k + d - 4) * scale * now
        ahead[: k - 1] -= (k - 1) * scale * before
        before, now = now, ahead
        total[: k + 1] += coefficients[k] * now
    return total


def _moment_squares(points: Points, degree: int) -> list[Tensor]:
    """Sum over all i, j of t_ij^m for m = 0 .. degree."""
    n, width = points.shape[-2:]
    size = max(1, _CHUNK_NUMBERS // math.comb(width + degree, degree))
    totals: list[Tensor] = []
    for start in range(0, n, size):
        parts = [level.sum(-2) for level in _levels(points[..., start : start + size, :], degree)]
        totals = [a + b for a, b in zip(totals, parts, strict=True)] if totals else parts
    return [
        (total.square() * torch.as_tensor(weights, device=points.device)).sum(-1)
        for total, weights in zip(totals, _multinomials(width, degree), strict=True)
    ]


def _levels(x: Tensor, degree: int) -> list[Tensor]:
    """All monomials of each order; those led by variable j or a later one come last."""
    width = x.shape[-1]
    levels, starts = [torch.ones_like(x[..., :1])], [0] * width
    for _ in range(degree):
        groups: list[Tensor] = []
        offsets = []
        for j in range(width):
            offsets.append(sum(group.shape[-1] for group in groups))
            groups.append(levels[-1][..., starts[j] :] * x[..., j : j + 1])
        levels.append(torch.cat(groups, dim=-1))
        starts = offsets
    return levels


def _multinomials(width: int, degree: int) -> list[_FLOAT]:
    """Multinomial coefficients in the order of `_levels`."""
    exponents, starts = [np.zeros((1, width), dtype=np.int64)], [0] * width
    for _ in range(degree):
        groups: list[NDArray[np.int64]] = []
        offsets = []
        for j in range(width):
            offsets.append(sum(len(group) for group in groups))
            raised = exponents[-1][starts[j] :].copy()
            raised[:, j] += 1
            groups.append(raised)
        exponents.append(np.concatenate(groups))
        starts = offsets
    factorial = np.array([math.factorial(k) for k in range(degree + 1)], dtype=np.float64)
    return [factorial[m] / factorial[power].prod(1) for m, power in enumerate(exponents)]
