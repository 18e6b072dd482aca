"""Local searches for deep holes and low poles where enumeration does not fit."""

from collections.abc import Callable

import torch
from torch import Tensor

from sphuni.sphere import unit_rows

__all__ = ["deep_holes", "descend", "starting_poles"]

_STARTS = 64
_SEED = 20_240_601
_BLOCK_ELEMENTS = 1 << 24


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


def deep_holes(points: Tensor, starts: Tensor, *, steps: int = 400) -> Tensor:
    """Move each start to a nearby local maximum of the distance to the nearest point.

    Descent on a soft maximum of the cosines whose temperature falls, in blocks of points; the
    candidates are only as good as the best of them, and each certifies a lower bound by itself.
    """
    poles = starts
    for stage in range(6):
        sharpness = 8.0 * 4.0**stage

        def soft_maximum(z: Tensor, sharpness: float = sharpness) -> Tensor:
            parts = [
                torch.logsumexp(sharpness * (z @ block.T), dim=-1)
                for block in points.split(max(1, _BLOCK_ELEMENTS // max(1, z.shape[0])))
            ]
            return torch.logsumexp(torch.stack(parts), dim=0) / sharpness

        poles = descend(soft_maximum, poles, steps=steps // 6, step=1.0 / sharpness**0.5)
    return _snap(points, poles)


def _snap(points: Tensor, poles: Tensor) -> Tensor:
    """Move the best poles to the point equidistant from the points they touch."""
    top = (poles @ points.T).amax(dim=1) if points.shape[0] < 50_000 else None
    order = poles if top is None else poles[top.argsort()[:8]]
    snapped = [order]
    for pole in order[:8]:
        cosines = points @ pole
        for slack in (1e-2, 1e-3):
            touched = points[cosines > cosines.max() - slack]
            if touched.shape[0] < points.shape[1]:
                continue
            ones = touched.new_ones(touched.shape[0], 1)
            normal = torch.linalg.lstsq(touched, ones, driver="gelsd" if touched.is_cpu else None)
            snapped.append(unit_rows(normal.solution.T))
    return torch.cat(snapped)


def descend(
    objective: Callable[[Tensor], Tensor], poles: Tensor, *, steps: int, step: float
) -> Tensor:
    """Minimise `objective`, one value per row, over unit rows, by adaptive gradient steps."""
    z = poles
    sizes = torch.full_like(z[:, :1], step)
    value, direction = _value_and_tangent(objective, z)
    for _ in range(steps):
        trial = unit_rows(z - sizes * direction)
        trial_value, trial_direction = _value_and_tangent(objective, trial)
        better = (trial_value < value)[:, None]
        z = torch.where(better, trial, z)
        value = torch.where(better[:, 0], trial_value, value)
        direction = torch.where(better, trial_direction, direction)
        sizes = torch.where(better, sizes * 1.5, sizes * 0.4).clamp_max(1.0)
    return z


def _value_and_tangent(objective: Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    """Values and unit tangent directions of steepest ascent (zero at stationary poles)."""
    with torch.enable_grad():
        leaf = z.detach().requires_grad_()
        value = objective(leaf)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    tangent = gradient - (gradient * z).sum(dim=-1, keepdim=True) * z
    return value.detach(), unit_rows(tangent)
