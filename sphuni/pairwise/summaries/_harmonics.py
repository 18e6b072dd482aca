"""Pair sums of the Legendre polynomials on S^2 by spherical harmonics, which need no pairs."""

import math

import torch
from torch import Tensor

from sphuni._typing import Points

__all__ = ["degree_sums_by_harmonics", "repays"]

_POINTS_PER_DEGREE = 8
_HIGHEST = 1500
"""Up to here no harmonic of a rounding's size grows out of a power of the sine that underflows."""
_NUMBERS_TOGETHER = 1 << 17
"""Of a table of harmonics; smaller ones cost more by their number."""


def repays(points: Points, highest: int) -> bool:
    """Whether the harmonics of degree up to `highest` cost less than the pairs of points."""
    n, d = points.shape[-2:]
    return d == 3 and highest <= _HIGHEST and n >= _POINTS_PER_DEGREE * highest


def degree_sums_by_harmonics(points: Points, highest: int) -> Tensor:
    """Sums over i < j of P_1 .. P_highest of the cosines of one set (n, 3); O(n highest^2).

    By the addition theorem: the sum of P_l over all ordered pairs is that of the squares of the
    sums of the 2 l + 1 harmonics of degree l over the points.
    """
    totals = points.new_zeros(highest, highest + 1, 2)
    for some in points.split(max(1, _NUMBERS_TOGETHER // (highest + 1))):
        _add_harmonics(totals, some)
    return 0.5 * (totals.square().sum((1, 2)) - len(points))


def _add_harmonics(totals: Tensor, points: Points) -> None:
    """Add the sums of cosine and sine harmonics (highest, orders, 2) of some points.

    Their parts of the latitude, scaled such that the squares of one degree add up to 1, follow

        S_lm = ((2 l - 1) z S_(l-1)m - sqrt((l - 1)^2 - m^2) S_(l-2)m) / sqrt(l^2 - m^2)

    from S_mm, a multiple of the m-th power of the sine.
    """
    highest = len(totals)
    z, (sectors, waves) = points[:, 2], _sectors(points, highest)
    order = torch.arange(highest + 1, dtype=z.dtype, device=z.device)[:, None]
    before, now = torch.zeros_like(sectors), torch.zeros_like(sectors)
    now[0] = 1.0
    for degree in range(1, highest + 1):
        below = slice(0, degree)
        scale = (degree**2 - order[below].square()).rsqrt()
        drop = ((degree - 1) ** 2 - order[below].square()).clamp_min(0).sqrt()
        before[below].mul_(-scale * drop).addcmul_((2 * degree - 1) * scale * z, now[below])
        before[degree] = sectors[degree]
        before, now = now, before
        upto = slice(0, degree + 1)
        totals[degree - 1, upto] += (waves[upto] @ now[upto, :, None])[..., 0]


def _sectors(points: Points, highest: int) -> tuple[Tensor, Tensor]:
    """S_mm (orders, n), and cosine and sine of m times the longitude (orders, 2, n)."""
    sine = torch.linalg.vector_norm(points[:, :2], dim=-1)
    direction = torch.view_as_complex(points[:, :2].contiguous())
    direction = torch.where(sine > 0, direction / sine, 1.0)
    orders = range(1, highest + 1)
    steps = [1.0, *(1.0 if m == 1 else math.sqrt((2 * m - 1) / (2 * m)) for m in orders)]
    powers = torch.stack([torch.ones_like(sine), *(steps[m] * sine for m in orders)])
    turns = torch.stack([torch.ones_like(direction), *(direction for _ in orders)]).cumprod(0)
    return powers.cumprod(0), torch.view_as_real(turns).mT.contiguous()
