"""Local searches for deep holes and low poles where enumeration does not fit."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sphuni._budget import room_for
from sphuni._typing import Points
from sphuni.kernels import Kernel
from sphuni.sphere import unit_rows

__all__ = [
    "Height",
    "blocks",
    "cosine_height",
    "deep_holes",
    "descend",
    "potential_height",
    "starting_poles",
]

Height = Callable[[Tensor], tuple[Tensor, Tensor]]
"""What poles (m, d) descend on: its values (m,) and its gradients (m, d)."""

_STARTS = 64
_SEED = 20_240_601
_STAGES, _STEPS_A_STAGE = 6, 66
_BLOCK_ELEMENTS, _BLOCK_BYTES = 1 << 18, 128  # of a stated limit for each, some copies of it


def starting_poles(points: Tensor, *, antipodal: bool) -> Tensor:
    """Fixed starts (m, d): opposite the mean, opposite some points, and random directions."""
    n, d = points.shape
    generator = torch.Generator().manual_seed(_SEED)
    random = torch.randn(_STARTS, d, generator=generator, dtype=torch.float64).to(points)
    chosen = torch.linspace(0, n - 1, min(n, _STARTS // 2), dtype=torch.float64).long()
    starts = [random, -points[chosen.to(points.device)]]
    mean = points.mean(dim=0, keepdim=True)
    if not antipodal and bool(mean.norm() > 1e-9):
        starts.append(-mean)
    return unit_rows(torch.cat(starts))


def deep_holes(points: Tensor, starts: Tensor) -> Tensor:
    """Move each start to a nearby local maximum of the distance to the nearest point.

    Descent on a soft maximum of the cosines whose temperature falls; the candidates are only as
    good as the best of them, and each certifies a lower bound by itself.
    """
    poles = starts
    for stage in range(_STAGES):
        sharpness = 8.0 * 4.0**stage
        height = cosine_height(points, sharpness)
        poles = descend(height, poles, steps=_STEPS_A_STAGE, step=1.0 / sharpness**0.5)
    return _snap(points, poles)


def _snap(points: Tensor, poles: Tensor) -> Tensor:
    """Move the best poles to the point equidistant from the points they touch."""
    best = poles[_largest_cosines(points, poles).argsort()[:8]]
    snapped = [best]
    for pole in best:
        cosines = points @ pole
        for slack in (1e-2, 1e-3):
            touched = points[cosines > cosines.max() - slack]
            if touched.shape[0] < points.shape[1]:
                continue
            ones = touched.new_ones(touched.shape[0], 1)
            normal = torch.linalg.lstsq(touched, ones, driver="gelsd" if touched.is_cpu else None)
            snapped.append(unit_rows(normal.solution.T))
    return torch.cat(snapped)


def potential_height(points: Points, kernel: Kernel) -> Height:
    """The potential sum_j K(<z, x_j>) of the points, finite at the points themselves."""

    def height(poles: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = poles.new_zeros(len(poles)), torch.zeros_like(poles)
        least = 8 * torch.finfo(poles.dtype).eps
        for block in blocks(points, len(poles)):
            cosines = poles @ block.T
            p = (2 - 2 * cosines).clamp_min_(least)
            q = (2 + 2 * cosines).clamp_min_(least) if kernel.reads_q else p
            values, slopes = kernel.value_and_derivative(p, q)
            value += values.sum(dim=1)
            gradient += slopes @ block
        return value, gradient

    return height


def cosine_height(points: Points, sharpness: float) -> Height:
    """log(sum_j exp(sharpness <z, x_j>)) / sharpness: at least the largest cosine."""

    def height(poles: Tensor) -> tuple[Tensor, Tensor]:
        largest = _largest_cosines(points, poles)
        total, gradient = torch.zeros_like(largest), torch.zeros_like(poles)
        for block in blocks(points, len(poles)):
            weights = _exp((poles @ block.T).sub_(largest[:, None]).mul_(sharpness))
            total += weights.sum(dim=1)
            gradient += weights @ block
        return largest + total.log() / sharpness, gradient / total[:, None]

    return height


def _exp(powers: Tensor) -> Tensor:
    """exp(powers), which are used up; subnormal results, which take longest, are 0."""
    tiny = torch.finfo(powers.dtype).tiny
    return torch.threshold(powers.clamp_min_(math.log(tiny)).exp_(), 2 * tiny, 0.0)


def _largest_cosines(points: Points, poles: Tensor) -> Tensor:
    return torch.stack([(poles @ b.T).amax(dim=1) for b in blocks(points, len(poles))]).amax(dim=0)


def blocks(points: Points, width: int) -> tuple[Tensor, ...]:
    """The points in parts for which matrices of that many columns are small."""
    together = room_for(_BLOCK_ELEMENTS, _BLOCK_BYTES)
    return points.split(max(1, together // max(1, width)))


def descend(height: Height, poles: Tensor, *, steps: int, step: float) -> Tensor:
    """Minimise `height` over unit rows by adaptive gradient steps."""
    z = poles
    sizes = torch.full_like(z[:, :1], step)
    value, direction = _value_and_tangent(height, z)
    for _ in range(steps):
        trial = unit_rows(z - sizes * direction)
        trial_value, trial_direction = _value_and_tangent(height, trial)
        better = (trial_value < value)[:, None]
        z = torch.where(better, trial, z)
        value = torch.where(better[:, 0], trial_value, value)
        direction = torch.where(better, trial_direction, direction)
        sizes = torch.where(better, sizes * 1.5, sizes * 0.4).clamp_max(1.0)
    return z


def _value_and_tangent(height: Height, z: Tensor) -> tuple[Tensor, Tensor]:
    """Values and unit tangent directions of steepest ascent (zero at stationary poles)."""
    value, gradient = height(z)
    tangent = gradient - (gradient * z).sum(dim=-1, keepdim=True) * z
    return value, unit_rows(tangent)
