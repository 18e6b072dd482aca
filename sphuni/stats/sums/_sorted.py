"""Pair sums on the circle from sorted angles, for kernels that are polynomials between corners."""

import math

import numpy as np
import torch
from torch import Tensor

from sphuni._typing import Points
from sphuni.kernels import Kernel
from sphuni.stats.kernels._angular import CircleCap, CircleQuartic, CircleSquare
from sphuni.stats.kernels._zonal import Latitude, OneMinusSine

__all__ = ["ascending", "doubled", "has_sorted_form", "sorted_pair_sum", "sorted_turns", "turns_of"]


def has_sorted_form(kernel: Kernel) -> bool:
    """Whether `sorted_pair_sum` knows the kernel."""
    return isinstance(kernel, CircleSquare | CircleQuartic | CircleCap | Latitude | OneMinusSine)


def sorted_pair_sum(u: Tensor, kernel: Kernel) -> Tensor:
    """Sum of a kernel over i < j of sorted turns u (..., n), O(n log n).

    Written in turns x = theta / 2 pi. Pairs within an arc of length c of each other, measured
    forwards, are counted by binary search, and polynomials of their distance by prefix sums.
    """
    n = u.shape[-1]
    pairs = 0.5 * n * (n - 1)
    if isinstance(kernel, CircleSquare):
        return _powers(u)[1] - _powers(u)[0] + pairs / 6.0
    if isinstance(kernel, CircleQuartic):
        first, second, third, fourth = _powers(u)
        quartic = 16.0 * fourth - 32.0 * third + 24.0 * second - 8.0 * first
        return quartic + 0.8 * pairs
    if isinstance(kernel, CircleCap):
        count, total = _within(u, kernel.t)
        return pairs * kernel.t * (1.0 - kernel.t) - (total + kernel.t * (pairs - count))
    if isinstance(kernel, Latitude):
        _, total = _within(u, 0.5, half=True)
        return 0.5 * math.pi * pairs - 2.0 * math.pi * total
    if isinstance(kernel, OneMinusSine):
        return pairs - _sines(u)
    raise TypeError(f"no sorted form of {kernel.label}")


def sorted_turns(points: Points) -> Tensor:
    """Angles as shares of a turn in [0, 1), ascending."""
    x = points.double()
    return ascending(turns_of(x[..., 0].contiguous(), x[..., 1].contiguous()))


def doubled(u: Tensor) -> Tensor:
    """Sorted turns of lines, from those of points on them: a line and its opposite are one."""
    return ascending((2.0 * u).remainder(1.0))


def turns_of(x: Tensor, y: Tensor) -> Tensor:
    """Angles of points (x, y) of the plane, as shares of a turn in [0, 1)."""
    turns = torch.atan2(y, x) / (2.0 * math.pi)
    return turns - torch.floor(turns)


def ascending(x: Tensor) -> Tensor:
    """Sort the last axis; by NumPy, which is several times faster, where no gradient is asked."""
    if x.device.type == "cpu" and not (x.requires_grad and torch.is_grad_enabled()):
        return torch.from_numpy(np.sort(x.detach().numpy(), axis=-1))
    return torch.sort(x, dim=-1).values


def _powers(u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums over i < j of (u_j - u_i)^k, k = 1 .. 4, from centred moments."""
    n = u.shape[-1]
    v = u - u.mean(-1, keepdim=True)
    ranks = torch.arange(n, dtype=u.dtype, device=u.device)
    weight = 2.0 * ranks - (n - 1)
    second, third, fourth = ((v**k).sum(-1) for k in (2, 3, 4))
    square, before = v * v, torch.cumsum(v, -1) - v
    squares_before = torch.cumsum(square, -1) - square
    # sum of (v_j - v_i)^3 = v_j^3 - 3 v_j^2 v_i + 3 v_j v_i^2 - v_i^3
    cubes = (weight * v**3).sum(-1) + 3.0 * (v * squares_before - square * before).sum(-1)
    first = (weight * v).sum(-1)
    quartic = n * fourth + 3.0 * second**2 - 4.0 * third * v.sum(-1)
    return first, n * second, cubes, quartic


def _ahead(u: Tensor, arc: float) -> tuple[Tensor, Tensor, Tensor]:
    """For each point how many others lie at most `arc` ahead, on the doubled circle."""
    n = u.shape[-1]
    twice = torch.cat([u, u + 1.0], dim=-1)
    last = torch.searchsorted(
        twice.detach().contiguous(), (u + arc).detach().contiguous(), right=True
    )
    return last - torch.arange(n, device=u.device) - 1, last, twice


def _within(u: Tensor, arc: float, *, half: bool = False) -> tuple[Tensor, Tensor]:
    """Count and sum of distances of the pairs at most `arc` apart, arc <= 1/2.

    With `half` all pairs are meant and opposite ones, which lie half a turn apart both ways, are
    counted once.
    """
    n = u.shape[-1]
    count, last, twice = _ahead(u, arc)
    sums = torch.cat([torch.zeros_like(u[..., :1]), torch.cumsum(twice, -1)], dim=-1)
    start = torch.arange(1, n + 1, device=u.device).expand(last.shape)
    ahead = sums.gather(-1, last) - sums.gather(-1, start)
    number = count.to(u.dtype).sum(-1)
    total = (ahead - count * u).sum(-1)
    if half:
        total = total - arc * (number - 0.5 * n * (n - 1))
    return number, total


def _sines(u: Tensor) -> Tensor:
    """Sum of |sin(2 pi (u_j - u_i))| over pairs: points up to half a turn ahead, every one once."""
    n = u.shape[-1]
    _, last, _ = _ahead(u, 0.5)
    angle = 2.0 * math.pi * u
    start = torch.arange(1, n + 1, device=u.device).expand(last.shape)
    ahead = []
    for wave in (torch.sin(angle), torch.cos(angle)):
        sums = torch.cat(
            [torch.zeros_like(u[..., :1]), torch.cumsum(torch.cat([wave, wave], -1), -1)], -1
        )
        ahead.append(sums.gather(-1, last) - sums.gather(-1, start))
    return (ahead[0] * torch.cos(angle) - ahead[1] * torch.sin(angle)).sum(-1)
