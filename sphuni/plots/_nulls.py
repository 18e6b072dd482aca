"""What uniform random rows would show, for every picture of a layer. Numbers only."""

import numpy as np

from sphuni.special import cap_measure, cosine_density

__all__ = ["cosine_curve", "nearest_curve", "rebin", "spread"]


def rebin(counts: np.ndarray, edges: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Drop empty bins at both ends and merge neighbours until at most `most` bins are left."""
    filled = np.flatnonzero(counts > 0)
    if filled.size == 0:
        return counts[:0], edges[:1]
    first, last = int(filled[0]), int(filled[-1]) + 1
    counts, edges = counts[first:last].astype(np.float64), edges[first : last + 1]
    step = -(-counts.size // most)
    starts = np.arange(0, counts.size, step)
    return np.add.reduceat(counts, starts), np.append(edges[starts], edges[-1])


def spread(d: int, deviations: float) -> float:
    """So many standard deviations of the cosine of two uniform points, at most 1."""
    return float(min(1.0, deviations / np.sqrt(d)))


def cosine_curve(d: int, low: float, high: float, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Density of the cosine of two uniform points on S^(d-1), on a grid within [low, high].

    For d = 2 the density is infinite at both ends; the grid then stops short of them.
    """
    bound = 1.0 if d > 2 else 1.0 - 1e-3
    half = spread(d, 6.0)
    near = np.linspace(-half, half, size)
    t = np.concatenate([[max(low, -bound)], near, [min(high, bound)]])
    t = np.unique(np.clip(t, max(low, -bound), min(high, bound)))
    return t, np.asarray(cosine_density(t, max(d, 2)))


def nearest_curve(n: int, d: int, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Density, per degree, of the angle from one of n uniform points to its nearest other.

    The angle exceeds theta with probability (1 - cap(theta))^(n - 1), exactly.
    """
    theta = np.linspace(0.0, np.pi, 20 * size + 1)
    inside = np.clip(np.asarray(cap_measure(theta, max(d, 2))), 0.0, 1.0)
    with np.errstate(divide="ignore"):
        survival = np.exp((n - 1) * np.log1p(-inside))
    kept = (survival > 1e-6) & (survival < 1.0 - 1e-6)
    low, high = (theta[kept][0], theta[kept][-1]) if kept.any() else (0.0, np.pi)
    grid = np.linspace(low, high, size + 1)
    values = np.interp(grid, theta, survival)
    middle = 0.5 * (grid[1:] + grid[:-1])
    return np.degrees(middle), -np.diff(values) / np.degrees(grid[1] - grid[0])
