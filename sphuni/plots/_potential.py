"""Potentials of points on S^2 and their lowest places. Numbers only."""

import numpy as np

from sphuni.distributions import random_points
from sphuni.plots._diagram import Array

__all__ = ["potential_at", "worst_poles"]

_ANY_PLACES, _SEED = 16, 104_729  # a seed that is hardly that of the points themselves


def worst_poles(points: Array, s: float, tolerance: float) -> tuple[Array, float]:
    """Local minima within a relative tolerance of the least potential, and the least."""
    import torch

    from sphuni.configurations.maxmin._poles import lowest_poles
    from sphuni.kernels import Riesz

    # the least lies between that of points all opposite to the place and that at any places
    floor = len(points) * Riesz(s).at_minus_one
    somewhere = potential_at(random_points(_ANY_PLACES, 3, rng=_SEED), points, s).min()
    margin = tolerance * max(abs(floor), abs(float(somewhere)))
    rows = torch.from_numpy(np.ascontiguousarray(points))
    lowest = lowest_poles(rows, Riesz(s), margin).numpy()
    values = potential_at(lowest, points, s)
    least = float(values[0])
    return lowest[values - least <= tolerance * abs(least)], least


def potential_at(places: Array, points: Array, s: float) -> Array:
    """Sum of r^-s, for s = 0 of -log r, for s < 0 of -r^-s, at places (m, 3); inf at a point."""
    import torch

    from sphuni.kernels import Riesz
    from sphuni.pairwise import pair_reduce

    where, rows = (torch.from_numpy(np.ascontiguousarray(a)) for a in (places, points))
    return np.asarray(pair_reduce(where, rows, kernel=Riesz(s), op="rows").numpy())
