"""What uniform random rows would show, for every picture of a layer. Numbers only."""

import numpy as np

from sphuni.special import cap_angle, cap_measure, cosine_density

__all__ = [
    "cosine_curve",
    "middle_ranks",
    "nearest_curve",
    "nearest_line",
    "rebin",
    "shown_angles",
    "spread",
]

_FEWEST = 8
_FINE = 32
"""Bins across a law from which on its curve and the tops of the bars agree."""


def rebin(counts: np.ndarray, edges: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Drop empty bins at both ends and merge neighbours until at most `most` bins are left.

    Bins of few values are merged further, to the width of Freedman and Diaconis (1981,
    doi:10.1007/BF01025868): the law would be lost among spikes of single values.
    """
    filled = np.flatnonzero(counts > 0)
    if filled.size == 0:
        return counts[:0], edges[:1]
    first, last = int(filled[0]), int(filled[-1]) + 1
    counts, edges = counts[first:last].astype(np.float64), edges[first : last + 1]
    step = max(-(-counts.size // most), min(_smooth(counts), -(-counts.size // _FEWEST)))
    starts = np.arange(0, counts.size, step)
    return np.add.reduceat(counts, starts), np.append(edges[starts], edges[-1])


def _smooth(counts: np.ndarray) -> int:
    """How many bins are as wide as twice the quartiles' distance over the root of degree 3."""
    below = np.cumsum(counts) / counts.sum()
    low, high = np.searchsorted(below, (0.25, 0.75))
    return int(2 * (high - low + 1) / counts.sum() ** (1 / 3))


def middle_ranks(size: int) -> np.ndarray:
    """Relative ranks of `size` sorted values, each in the middle of its share of [0, 1]."""
    return (np.arange(size) + 0.5) / size


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

    The angle exceeds theta with probability (1 - cap(theta))^(n - 1), exactly. The grid holds all
    but two millionths of the law.
    """
    rare = np.array([-1e-6, np.log(1e-6)])
    low, high = np.asarray(cap_angle(-np.expm1(rare / (n - 1)), d))
    grid = np.linspace(low, high, size + 1)
    # Differences of the survival: the formula of the density is 0 times infinity on the circle.
    half = (high - low) / (32 * size)
    left, right = np.maximum(grid - half, 0.0), np.minimum(grid + half, np.pi)
    mass = _farther(left, n, d) - _farther(right, n, d)
    return np.degrees(grid), mass / np.degrees(right - left)


def nearest_line(
    n: int, d: int, edges: np.ndarray, size: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """What uniform points put above a histogram with these edges in degrees, as a line to draw.

    It is `nearest_curve`, or, where that is a few bins wide and would tower over the bars, the
    height that such bars have in the mean.
    """
    degrees, density = nearest_curve(n, d, size)
    width = float(np.diff(edges).max())  # merging may leave the last bin narrower
    if degrees[-1] - degrees[0] > _FINE * width:
        return degrees, density
    first = edges[0] + width * np.floor((degrees[0] - edges[0]) / width)
    count = int(np.ceil((degrees[-1] - first) / width))
    bins = np.clip(first + width * np.arange(count + 1), 0.0, 180.0)
    heights = -np.diff(_farther(np.radians(bins), n, d)) / width
    return np.repeat(bins, 2), np.concatenate([[0.0], np.repeat(heights, 2), [0.0]])


def shown_angles(edges: np.ndarray, degrees: np.ndarray) -> tuple[float, float]:
    """Range of the axis that holds a histogram's bins and a law's grid, with a margin."""
    low, high = min(edges[0], degrees[0]), max(edges[-1], degrees[-1])
    pad = 0.04 * (high - low)
    return float(max(0.0, low - pad)), float(min(180.0, high + pad))


def _farther(theta: np.ndarray, n: int, d: int) -> np.ndarray:
    """Probability that none of n - 1 uniform points lies within theta."""
    inside = np.minimum(cap_measure(theta, d), 1.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.exp((n - 1) * np.log1p(-inside)))
