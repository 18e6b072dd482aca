"""The Delsarte-Yudin linear programme, solved on a grid and then certified.

Everything is a function of the angle theta: h(cos theta) is a trigonometric polynomial with
|h''| <= sum_l |c_l| l^2, because P_l(cos theta) is a convex combination of cos(j theta), j <= l.
"""

import dataclasses
import math

import numpy as np
import scipy
from numpy.typing import NDArray

from sphuni.geometry.bounds._checks import evaluate
from sphuni.geometry.bounds._levenshtein import Rule, rule
from sphuni.kernels import GegenbauerSeries, Kernel
from sphuni.special import gegenbauer

__all__ = ["PairBound", "pair_bound"]

_DEGREE_MIN, _DEGREE_MAX = 16, 40
_CELLS = 2048
_CELLS_MAX = 8 * _CELLS
_ROUNDS = 4
_TOLERANCE = 1e-10
_CLEARANCE = 1e8


@dataclasses.dataclass(frozen=True)
class PairBound:
    """A bound on the mean of the kernel over pairs, and the polynomial that proves it."""

    value: float
    degree: int
    coefficients: NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class _Target:
    """The kernel as a function of the angle, and the admitted degrees of h."""

    kernel: Kernel
    d: int
    lines: bool
    degrees: NDArray[np.int64]

    def values(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate the kernel, summed over the two angles of a pair of lines."""
        p, q = 4 * np.sin(theta / 2) ** 2, 4 * np.cos(theta / 2) ** 2
        with np.errstate(all="ignore"):
            total = evaluate(self.kernel, p, q)
            return total + evaluate(self.kernel, q, p) if self.lines else total

    def curvature(self) -> float:
        """Bound the kernel's second derivative in the angle, inf where it is not a series."""
        if not isinstance(self.kernel, GegenbauerSeries) or self.kernel.d != self.d:
            return math.inf
        sizes = np.abs(self.kernel.coefficients)
        return float(sizes @ np.arange(len(sizes)) ** 2.0) * (2 if self.lines else 1)

    def series(self) -> NDArray[np.float64] | None:
        """Return the kernel's coefficients at the admitted degrees, where it is a polynomial."""
        if not isinstance(self.kernel, GegenbauerSeries) or self.kernel.d != self.d:
            return None
        if len(self.kernel.coefficients) > self.degrees[-1] + 1:
            return None
        own = self.kernel.gegenbauer(self.d, int(self.degrees[-1]))[self.degrees]
        return 2 * own if self.lines else own

    def harmonics(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return P_l(cos theta) for the admitted degrees, one column each."""
        return gegenbauer(int(self.degrees[-1]), np.cos(theta), self.d)[self.degrees].T


def pair_bound(n: int, d: int, kernel: Kernel, *, lines: bool) -> PairBound:
    """Bound the mean of K(t) over ordered pairs of n points, of K(t) + K(-t) for lines."""
    levenshtein = rule(min(n, 10_000), d, lines=lines)
    target = _Target(kernel, d, lines, _degrees(levenshtein, kernel, lines=lines))
    theta = np.linspace(0.0, math.pi / 2 if lines else math.pi, _CELLS + 1)
    sampled = _check(target.values(theta), kernel)
    scale = _scale(target, levenshtein, sampled)
    cells = _first_cells(theta, sampled, target)
    grid = theta[:: _CELLS // 256]
    if n == 1:
        return PairBound(0.0, 0, np.zeros(1))
    # of a steep kernel rounding may leave nothing but its least value
    least = np.append(sampled.min(), np.zeros(len(target.degrees) - 1))
    best, *_ = _lowered(target, cells, least, n, _TOLERANCE * abs(least[0]))
    for _ in range(_ROUNDS):
        c = _solve(target, grid, n, scale)
        if c is None:
            break
        found, excess, worst = _lowered(target, cells, c, n, _TOLERANCE * scale)
        best = max(best, found, key=lambda bound: bound.value)
        if excess <= 10 * _TOLERANCE * scale:
            break
        grid = np.unique(np.concatenate([grid, worst]))
    return best


def _lowered(
    target: _Target, cells: "_Cells", c: NDArray[np.float64], n: int, tolerance: float
) -> tuple[PairBound, float, NDArray[np.float64]]:
    """Lower h until it is below K everywhere; also by how much, and where it was above most."""
    excess, worst = _excess(target, cells, c, tolerance)
    full = np.zeros(int(target.degrees[-1]) + 1)
    full[target.degrees] = c
    full[0] -= excess
    return PairBound((n * full[0] - math.fsum(full)) / (n - 1), len(full) - 1, full), excess, worst


def _scale(target: _Target, levenshtein: Rule, sampled: NDArray[np.float64]) -> float:
    """The size of the kernel on the whole, or of points as far apart as n of them can be."""
    nearest = 2 * np.arcsin(np.sqrt(levenshtein.p[-1:]) / 2)
    usual = np.median(np.abs(sampled[np.isfinite(sampled)]))
    size = float(max(usual, *np.abs(target.values(nearest))))
    return size if 0 < size < math.inf else 1.0


def _degrees(levenshtein: Rule, kernel: Kernel, *, lines: bool) -> NDArray[np.int64]:
    """Degrees somewhat above the one of the universal bound; the even ones for lines."""
    strength = levenshtein.strength * (2 if lines else 1)
    highest = min(max(2 * strength + 2, _DEGREE_MIN), _DEGREE_MAX)
    if isinstance(kernel, GegenbauerSeries):
        highest = max(highest, min(len(kernel.coefficients) - 1, 3 * _DEGREE_MAX))
    return np.arange(0, highest + 1, 2 if lines else 1)


def _check(sampled: NDArray[np.float64], kernel: Kernel) -> NDArray[np.float64]:
    """Refuse kernels without a lower bound."""
    inner = sampled[1:-1]
    if np.isnan(inner).any() or np.isneginf(sampled).any():
        raise ValueError(
            f"kernel must be bounded from below on [-1, 1) for an energy bound to exist; "
            f"{kernel.label} is -inf or nan there"
        )
    return np.nan_to_num(sampled, nan=np.inf, posinf=np.inf)


def _solve(
    target: _Target, grid: NDArray[np.float64], n: int, scale: float
) -> NDArray[np.float64] | None:
    """Maximise (n c_0 - h(1)) / (n - 1) subject to h <= K on the grid.

    None where the kernel is so steep that too little of it is within the range of the solver.
    """
    with np.errstate(over="ignore"):
        limits = target.values(grid) / scale
    kept = np.isfinite(limits) & (limits < _CLEARANCE)
    gain = np.full(len(target.degrees), -1.0 / (n - 1))
    gain[0] += n / (n - 1)
    bounds = [(None, None)] + [(0.0, None)] * (len(target.degrees) - 1)
    answer = scipy.optimize.linprog(
        -gain, A_ub=target.harmonics(grid[kept]), b_ub=limits[kept], bounds=bounds, method="highs"
    )
    if answer.x is None:
        return None
    c = np.asarray(answer.x, dtype=np.float64)
    c[1:] = np.maximum(c[1:], 0.0)
    return c * scale


@dataclasses.dataclass(frozen=True)
class _Cells:
    """Intervals of the angle with what is known about the kernel in each."""

    left: NDArray[np.float64]
    right: NDArray[np.float64]
    curvature: NDArray[np.float64]
    """An upper bound of the kernel's second derivative in the angle, inf where unknown."""
    monotone: NDArray[np.bool_]
    """Whether the kernel only falls, or only rises, with the angle there."""

    def halves(self, which: NDArray[np.bool_]) -> "_Cells":
        middle = (self.left[which] + self.right[which]) / 2
        return _Cells(
            np.concatenate([self.left[which], middle]),
            np.concatenate([middle, self.right[which]]),
            np.tile(self.curvature[which], 2),
            np.tile(self.monotone[which], 2),
        )


def _first_cells(
    theta: NDArray[np.float64], sampled: NDArray[np.float64], target: _Target
) -> _Cells:
    """Bound the second derivative in each cell by twice the largest second difference near it.

    That of a series is known, which may oscillate between samples; where the series is short the
    difference h - K is bounded as a whole instead.
    """
    known = 0.0 if target.series() is not None else target.curvature()
    if math.isfinite(known):
        everywhere = np.full(len(theta) - 1, known)
        return _Cells(theta[:-1], theta[1:], everywhere, np.zeros(len(theta) - 1, dtype=bool))
    step = theta[1] - theta[0]
    with np.errstate(invalid="ignore", over="ignore"):
        second = np.full(len(theta), np.nan)
        second[1:-1] = (sampled[2:] - 2 * sampled[1:-1] + sampled[:-2]) / step**2
        step_up = np.nan_to_num(np.diff(sampled), posinf=np.inf, neginf=-np.inf)  # inf - inf: level
        second[0], second[-1] = second[1], second[-2]
        padded = np.pad(second, 1, mode="edge")
        near = np.max([padded[k : k + len(theta) - 1] for k in range(4)], axis=0)
        curvature = np.where(np.isfinite(near), 2 * np.maximum(near, 0.0), np.inf)
    falling, rising = step_up <= 0, step_up >= 0
    falling[:-1] &= falling[1:]
    rising[1:] &= rising[:-1]
    # A cusp at an end (-theta^a, a < 1) has unbounded curvature that no difference shows.
    curvature[0] = np.inf if falling[0] else curvature[0]
    curvature[-1] = np.inf if rising[-1] else curvature[-1]
    return _Cells(theta[:-1], theta[1:], curvature, falling | rising)


def _excess(
    target: _Target, cells: _Cells, c: NDArray[np.float64], tolerance: float
) -> tuple[float, NDArray[np.float64]]:
    """Return a certified bound on max (h - K) and the angles where h exceeds K most."""
    series = target.series()
    known = np.zeros(len(c)) if series is None else series
    own = float(np.abs(c - known) @ target.degrees.astype(np.float64) ** 2)
    best, bound = -math.inf, math.inf
    worst = np.empty(0)
    for depth in range(60):
        ends = np.concatenate([cells.left, cells.right])
        h = target.harmonics(ends) @ c
        limit = np.nan_to_num(target.values(ends), nan=np.inf, posinf=np.inf)
        (h_left, h_right), (k_left, k_right) = np.split(h, 2), np.split(limit, 2)
        width = (cells.right - cells.left) ** 2 / 8
        with np.errstate(invalid="ignore"):  # inf - inf, of which nothing is known
            smooth = np.maximum(h_left - k_left, h_right - k_right)
            smooth = smooth + width * (own + cells.curvature)
        smooth = np.where(np.isnan(smooth), np.inf, smooth)
        monotone = np.maximum(h_left, h_right) + width * own - np.minimum(k_left, k_right)
        above = np.where(cells.monotone, np.minimum(smooth, monotone), smooth)
        best = max(best, float(np.max(h - limit)))
        if depth == 0:
            worst = _local_maxima(h_left - k_left, cells.left)
        open_cells = above > best + tolerance
        bound = float(np.max(above))
        if not open_cells.any():
            break
        cells = cells.halves(open_cells)
        if len(cells.left) > _CELLS_MAX:
            break
    return max(best + tolerance, bound) if open_cells.any() else best + tolerance, worst


def _local_maxima(gap: NDArray[np.float64], theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles at which h - K is positive and locally largest, between grid points by a parabola."""
    middle, before, after = gap[1:-1], gap[:-2], gap[2:]
    peak = np.flatnonzero((middle >= before) & (middle >= after) & (middle > 0)) + 1
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = (
            0.5 * (gap[peak - 1] - gap[peak + 1]) / (gap[peak - 1] - 2 * gap[peak] + gap[peak + 1])
        )
    return np.asarray(theta[peak] + np.nan_to_num(np.clip(shift, -1, 1)) * (theta[1] - theta[0]))
