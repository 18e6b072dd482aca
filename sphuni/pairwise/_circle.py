"""The circle, d = 2: sums of distances from sorted angles, series by Fourier moments.

O(n log n) for chordal and geodesic distances (Riesz s = -1), O(n L) for series of degree L.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sphuni.kernels import Antipodal, GegenbauerSeries, Kernel, Riesz

__all__ = ["repays", "supports", "total"]

_FEWEST = 256
_ALIKE = 1e-14
"""Angles nearer than this differ by rounding only."""


def supports(x: Tensor, y: Tensor | None, kernels: Sequence[Kernel], op: str) -> str | None:
    """Return the reason for refusing a call, or None."""
    if x.shape[-1] != 2:
        return f"it serves d = 2 only, and d = {x.shape[-1]}"
    if op != "sum" or y is not None:
        return "it computes sums over the pairs of one unweighted set only"
    if all(_is_served(kernel) for kernel in kernels):
        return None
    return "it knows Riesz kernels with s = -1 and Gegenbauer series"


def repays(x: Tensor, kernels: Sequence[Kernel]) -> bool:
    """Whether angles are cheaper than pairs, for kernels that they serve."""
    if x.shape[-1] != 2 or not all(map(_is_served, kernels)):
        return False
    series = (base for base in map(_base, kernels) if isinstance(base, GegenbauerSeries))
    degree = max((len(base.coefficients) for base in series), default=0)
    return x.shape[-2] >= max(_FEWEST, 8 * degree)


def total(x: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    """Sum over i < j of each kernel: (b, n, 2) -> (b, k), float64."""
    wide = x.double()
    angles = torch.atan2(wide[..., 1], wide[..., 0])
    return torch.stack([_sum(angles, kernel) for kernel in kernels], dim=-1)


def _base(kernel: Kernel) -> Kernel:
    return kernel.base if isinstance(kernel, Antipodal) else kernel


def _is_series(kernel: Kernel) -> bool:
    return isinstance(kernel, GegenbauerSeries) and kernel.d == 2


def _is_served(kernel: Kernel) -> bool:
    base = _base(kernel)
    return _is_series(base) or (isinstance(base, Riesz) and base.s == -1.0)


def _sum(angles: Tensor, kernel: Kernel) -> Tensor:
    """Sum over i < j; of {x, -x} it is half of that over all pairs but x, -x."""
    if isinstance(kernel, Antipodal):
        both = torch.cat([angles, angles + math.pi], dim=-1)
        return 0.5 * (_sum(both, kernel.base) - angles.shape[-1] * kernel.base.at_minus_one)
    if isinstance(kernel, GegenbauerSeries):
        return _series(angles, kernel)
    turn = 2 * math.pi
    u = torch.sort(angles - turn * torch.floor(angles.detach() / turn), dim=-1).values
    chordal = isinstance(kernel, Riesz) and kernel.metric == "chordal"
    distances = _chords(u) if chordal else _arcs(u)
    return -(distances - _pull_of_singular(u, opposite=not chordal))


def _series(angles: Tensor, kernel: GegenbauerSeries) -> Tensor:
    """P_l of R^2 is cos(l theta), so that a pair sum is a squared Fourier coefficient."""
    n = angles.shape[-1]
    result = angles.new_full(angles.shape[:-1], 0.5 * n * (n - 1) * kernel.coefficients[0])
    for degree, coefficient in enumerate(kernel.coefficients[1:], start=1):
        waves = (torch.cos(degree * angles).sum(-1), torch.sin(degree * angles).sum(-1))
        if coefficient:
            result = result + 0.5 * coefficient * (waves[0].square() + waves[1].square() - n)
    return result


def _chords(u: Tensor) -> Tensor:
    """Sum over i < j of 2 sin((u_j - u_i)/2), for ascending u in [0, 2 pi]."""
    sine, cosine = torch.sin(0.5 * u), torch.cos(0.5 * u)
    before = [torch.cumsum(wave, dim=-1) - wave for wave in (sine, cosine)]
    return 2 * (sine * before[1] - cosine * before[0]).sum(dim=-1)


def _arcs(u: Tensor) -> Tensor:
    """Sum over i < j of the shorter arc: u_j - u_i, or what it lacks of a turn."""
    n = u.shape[-1]
    fixed = u.detach().contiguous()
    last = torch.searchsorted(fixed, fixed + math.pi, right=True)
    sums = torch.cat([torch.zeros_like(u[..., :1]), torch.cumsum(u, dim=-1)], dim=-1)
    to_last, whole = sums.gather(-1, last), sums[..., -1:]
    near = last - torch.arange(1, n + 1, device=u.device)
    far = n - last
    ahead = to_last - sums[..., 1:] - near * u
    behind = far * (2 * math.pi + u) - (whole - to_last)
    return (ahead + behind).sum(dim=-1)


def _pull_of_singular(u: Tensor, *, opposite: bool) -> Tensor:
    """Zero, with the gradient that singular pairs have in the sums above and are to have none of.

    Coincident points are singular in both sums, opposite ones in that of the arcs.
    """
    if not (u.requires_grad and torch.is_grad_enabled()):
        return torch.zeros_like(u[..., 0])
    fixed = u.detach().contiguous()
    n, turn = u.shape[-1], 2 * math.pi
    places = torch.arange(n, device=u.device)
    before = places - torch.searchsorted(fixed, fixed - _ALIKE)
    after = torch.searchsorted(fixed, fixed + _ALIKE, right=True) - places - 1
    a_turn_ahead = n - torch.searchsorted(fixed, fixed + (turn - _ALIKE))
    a_turn_behind = torch.searchsorted(fixed, fixed - (turn - _ALIKE), right=True)
    pull = before - after + a_turn_ahead - a_turn_behind
    if opposite:
        across = fixed + math.pi
        pull = pull + _balance(across, fixed) + _balance(fixed, across, right=True)
    return (pull * (u - u.detach())).sum(dim=-1)


def _balance(ascending: Tensor, at: Tensor, *, right: bool = False) -> Tensor:
    """Of the places within rounding of each `at`, how many are above it less those below.

    A place equal to `at` is above it, with `right` below: the sum of arcs takes a pair for near
    if u_j <= u_i + pi.
    """
    below = torch.searchsorted(ascending, at - _ALIKE)
    middle = torch.searchsorted(ascending, at, right=right)
    above = torch.searchsorted(ascending, at + _ALIKE, right=True)
    return above - 2 * middle + below
