"""Potentials of points on S^2 and their lowest places. Numbers only."""

import numpy as np

from sphuni.plots._diagram import Array

__all__ = ["potential_at", "worst_poles"]

_CHUNK = 4_000_000


def worst_poles(points: Array, s: float, tolerance: float) -> tuple[Array, float]:
    """Local minima within a relative tolerance of the least potential, and the least."""
    import torch

    from sphuni.configurations._poles import lowest_poles
    from sphuni.kernels import Riesz

    rows = torch.from_numpy(np.ascontiguousarray(points))
    lowest = lowest_poles(rows, Riesz(s), 0.0).numpy()
    least = float(potential_at(lowest[:1], points, s)[0])
    return lowest_poles(rows, Riesz(s), tolerance * abs(least)).numpy(), least


def potential_at(places: Array, points: Array, s: float) -> Array:
    """Sum of r^-s, for s = 0 of -log r, for s < 0 of -r^-s, at places (m, 3), by pieces."""
    import torch

    from sphuni.kernels import Riesz

    step = max(1, _CHUNK // len(points))
    parts = []
    for start in range(0, len(places), step):
        squared = np.maximum(2 - 2 * places[start : start + step] @ points.T, 1e-12)
        p = torch.from_numpy(squared)
        parts.append(Riesz(s).value(p, p).sum(dim=1).numpy())
    return np.concatenate(parts)
