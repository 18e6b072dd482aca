"""Tails of a weighted sum of chi-square variables, accurate relative to themselves."""

import dataclasses
import functools
import math

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import special

from sphuni.stats.laws._tails import Tails, Values

__all__ = ["WeightedChi2"]

_FLOAT = NDArray[np.float64]
_STEP = 0.1
_NODES = 160
_MOST_NODES = 5120
_CHUNK = 1 << 21
_MANY = 513
_SERIES_BELOW = 0.2
_SERIES_TERMS = 23
_HALVINGS = 18
_FEW = 8
_LEAST_LOG = -650.0
_CLOSEST = 1e-13
_SMALL, _ROUGH = 0.05, 0.01
_POLISHINGS = 2
_RISE, _LEAN = 1.0, 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class WeightedChi2:
    r"""The law of :math:`c + \sum_k w_k \chi^2_{m_k}` with real degrees of freedom.

    Parameters
    ----------
    weights : numpy.ndarray of shape (K,)
        Positive weights w_k.
    degrees : numpy.ndarray of shape (K,)
        Degrees of freedom m_k, positive, not necessarily whole.
    mean : float, optional
        Mean of the law, :math:`c + \sum_k w_k m_k`; c = 0 by default.

    Notes
    -----
    Both tails come from the inversion integral of the cumulant generating function K,

    .. math:: P(Y > x) = \frac{1}{2 \pi i} \int e^{K(z) - z x} \frac{dz}{z},

    taken by the trapezoidal rule along a parabola through the saddle point of the integrand, on
    the positive side of the pole for the upper tail and on the negative side for the lower one.
    The path follows steepest descent, so nothing cancels: the relative error is about 1e-12
    down to probabilities of 1e-300 and beyond (the logarithm is returned), in either tail. More
    than 513 values in one call are read from a spline through 513 of them, which costs digits:
    the logarithms are then good to about 1e-7.

    References
    ----------
    J. P. Imhof, "Computing the distribution of quadratic forms in normal variables", Biometrika
    48 (1961) 419-426, doi:10.1093/biomet/48.3-4.419.

    R. Lugannani, S. Rice, "Saddle point approximation for the distribution of the sum of
    independent random variables", Advances in Applied Probability 12 (1980) 475-490,
    doi:10.2307/1426607.

    Examples
    --------
    >>> import numpy as np
    >>> law = WeightedChi2(np.array([1.0]), np.array([2.0]))
    >>> float(law.tails(np.array(1400.0)).log_upper)  # exp(-x / 2)
    -700.00000
    """

    weights: _FLOAT
    degrees: _FLOAT
    mean: float = math.nan

    def __post_init__(self) -> None:
        if math.isnan(self.mean):
            object.__setattr__(self, "mean", float(self.weights @ self.degrees))

    @property
    def lowest(self) -> float:
        """The constant c, where the support begins."""
        return self.mean - float(self.weights @ self.degrees)

    @functools.cached_property
    def variance(self) -> float:
        """Variance."""
        return self.cumulant(2)

    def cumulant(self, order: int) -> float:
        """Cumulant of order 2 or more."""
        factor = 2.0 ** (order - 1) * math.factorial(order - 1)
        return factor * float(np.sum(self.weights**order * self.degrees))

    def tails(self, x: Values) -> Tails:
        """Log probabilities of at least and of at most `x`, of the shape of `x`."""
        flat = np.atleast_1d(np.asarray(x, dtype=np.float64)).ravel() - self.mean
        upper, lower = self._chunked(flat) if flat.size <= _MANY else self._interpolated(flat)
        return Tails(upper.reshape(np.shape(x)), lower.reshape(np.shape(x)))

    def _chunked(self, x: _FLOAT) -> tuple[_FLOAT, _FLOAT]:
        upper, lower = np.empty_like(x), np.empty_like(x)
        size = max(1, _CHUNK // (_NODES * self.weights.size))
        for start in range(0, x.size, size):
            part = slice(start, start + size)
            upper[part], lower[part] = self._both(x[part])
        return upper, lower

    def _interpolated(self, x: _FLOAT) -> tuple[_FLOAT, _FLOAT]:
        """Splines of both log tails in the log distance from the lowest value."""
        start = self.mean - self.lowest
        regular = np.isfinite(x) & (x + start > 0)
        upper, lower = np.empty_like(x), np.empty_like(x)
        upper[~regular], lower[~regular] = self._chunked(x[~regular])
        if regular.any():
            place = np.log(x[regular] + start)
            # equal values need a grid too, whose steps are not lost in rounding
            margin = 1e-12 * max(1.0, float(np.abs(place).max()))
            grid = np.linspace(place.min() - margin, place.max() + margin, _MANY)
            known = self._chunked(np.exp(grid) - start)
            upper[regular], lower[regular] = (
                np.minimum(scipy.interpolate.CubicSpline(grid, side)(place), 0.0) for side in known
            )
        return upper, lower

    def _both(self, x: _FLOAT) -> tuple[_FLOAT, _FLOAT]:
        """Integrate the smaller tail of each value and take the other as its complement."""
        upper = x > 0
        inside = (x > self.lowest - self.mean) & np.isfinite(x)
        small = np.full_like(x, -np.inf)
        if inside.any():
            small[inside] = self._log_tail(x[inside], upper[inside])
        large = np.log1p(-np.exp(np.minimum(small, -1e-300)))
        both = np.where(upper, small, large), np.where(upper, large, small)
        nan = np.isnan(x)
        return np.where(nan, np.nan, both[0]), np.where(nan, np.nan, both[1])

    def _log_tail(self, x: _FLOAT, upper: NDArray[np.bool_]) -> _FLOAT:
        """Integrate; values whose integrand has not died out yet get a longer path."""
        if self.weights.size == 1:
            known = self._log_single(x, upper)
            left = ~(known > _LEAST_LOG)
            if left.any():
                known[left] = self._integrated(x[left], upper[left])
            return known
        return self._integrated(x, upper)

    def _log_single(self, x: _FLOAT, upper: NDArray[np.bool_]) -> _FLOAT:
        """One chi-square, by the incomplete gamma functions."""
        half, shape = 0.5 * x / self.weights[0], 0.5 * self.degrees[0]
        side = np.where(
            upper, special.gammaincc(shape, shape + half), special.gammainc(shape, shape + half)
        )
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(side))

    def _integrated(self, x: _FLOAT, upper: NDArray[np.bool_]) -> _FLOAT:
        # closer to the lowest value than this the rounding of the exponent is all there is
        x = np.maximum(x, (1.0 - _CLOSEST) * (self.lowest - self.mean))
        centre = self._saddle(x, upper)
        answer = np.empty_like(x)
        todo, nodes = np.arange(x.size), _NODES
        while todo.size:
            value, left = self._integral(x[todo], centre[todo], nodes)
            answer[todo] = value
            todo = todo[left > 1e-16] if nodes < _MOST_NODES else todo[:0]
            nodes *= 2
        return answer

    def _integral(self, x: _FLOAT, centre: _FLOAT, nodes: int) -> tuple[_FLOAT, _FLOAT]:
        """Log of the integral along the path, and the relative size of the integrand at its end."""
        width, bend = self._path(centre)
        height = self._exponent(centre, x)
        u = _STEP * np.arange(nodes)
        step = 1j * u + bend[:, None] * u**2
        slope = 1j + 2 * bend[:, None] * u
        rise = self._exponent(centre[:, None] + width[:, None] * step, x[:, None])
        rise -= height[:, None]
        risen = (rise.real > _RISE).any(axis=1)
        if risen.any():
            step[risen], slope[risen] = _hyperbola(u, bend[risen, None])
            flat = centre[risen, None] + width[risen, None] * step[risen]
            rise[risen] = self._exponent(flat, x[risen, None]) - height[risen, None]
        z = centre[:, None] + width[:, None] * step
        rough = self._rounding(centre, x) > _ROUGH
        rise[rough] = 0.0
        integrand = np.exp(rise) * slope / z
        # by symmetry the lower half of the path is the conjugate of the upper half
        total = (integrand.imag.sum(axis=1) - 0.5 * integrand[:, 0].imag) * _STEP * width / np.pi
        left = np.abs(integrand[:, -1]) / np.abs(integrand[:, 0])
        # where the rounding of a huge exponent hides its shape, the saddle point alone
        saddle = np.log(width / np.abs(centre)) - 0.5 * math.log(2.0 * math.pi)
        factor = np.where(rough, saddle, np.log(np.abs(total)))
        return np.asarray(height + factor), np.where(rough, 0.0, left)

    def _rounding(self, centre: _FLOAT, x: _FLOAT) -> _FLOAT:
        """Rounding error of the exponent about the saddle, from the sizes of its terms."""
        s = 2.0 * np.abs(centre)[:, None] * self.weights
        sizes = np.where(s < _SMALL, 0.25 * s * s, 0.5 * s) @ self.degrees
        return np.asarray(np.finfo(np.float64).eps * (sizes + np.abs(centre * x)))

    def _exponent(self, z: Values, x: _FLOAT) -> Values:
        """K(z) - z x of the centred law."""
        reach = 2.0 * float(np.abs(z).max())
        large = reach * self.weights > _SERIES_BELOW
        weights, degrees = self.weights[large], self.degrees[large]
        total = -0.5 * _log1p_less(-2.0 * z[..., None] * weights) @ degrees - z * x
        if large.all():
            return total
        # the many small weights together are a power series in z
        twice, count = 2.0 * self.weights[~large], self.degrees[~large]
        series = np.zeros_like(z)
        for r in range(_SERIES_TERMS, 1, -1):
            series = series * z + float(twice**r @ count) / r
        return total + 0.5 * series * z * z

    def _slope(self, z: _FLOAT, x: _FLOAT) -> _FLOAT:
        """Derivative of K(z) - z x - log |z| on the real axis; increasing in z."""
        twice = 2.0 * z[..., None] * self.weights
        return np.asarray(self.weights * twice / (1.0 - twice) @ self.degrees - x - 1.0 / z)

    def _saddle(self, x: _FLOAT, upper: NDArray[np.bool_]) -> _FLOAT:
        """Search for the minimum of the integrand on the real axis, and polish it by Newton.

        With very many degrees of freedom the saddle is much narrower than the steps of the search.
        """
        wall = 0.5 / float(self.weights.max())
        low, width = np.full_like(x, -230.0), np.where(upper, 264.0, 460.0)
        # few values take fewer and wider steps: it is the number of calls that costs them time
        parts = 64 if x.size <= _FEW else 2
        for _ in range(round(_HALVINGS / math.log2(parts))):
            width = width / parts
            inner = low + width * np.arange(1.0, parts)[:, None]
            low = low + width * (self._slope(self._real(inner, upper, wall), x) < 0).sum(0)
        centre = self._real(low + 0.5 * width, upper, wall)
        for _ in range(_POLISHINGS):
            moved = centre - self._slope(centre, x) / self._bend(centre)
            centre = np.where((moved * centre > 0) & (moved < wall), moved, centre)
        return np.asarray(centre)

    def _bend(self, z: _FLOAT) -> _FLOAT:
        """Second derivative of K(z) - z x - log |z| on the real axis."""
        ratio = self.weights / (1.0 - 2.0 * z[:, None] * self.weights)
        return np.asarray(2.0 * ratio**2 @ self.degrees + z**-2.0)

    @staticmethod
    def _real(place: _FLOAT, upper: NDArray[np.bool_], wall: float) -> _FLOAT:
        """Where on the real axis: upper tails run through (0, wall), lower ones through z < 0."""
        reach = np.exp(-place)
        return np.asarray(np.where(upper, wall / (1.0 + reach), -wall * reach))

    def _path(self, centre: _FLOAT) -> tuple[_FLOAT, _FLOAT]:
        """Width of the saddle and bend of the path of steepest descent through it."""
        ratio = self.weights / (1.0 - 2.0 * centre[:, None] * self.weights)
        second = self._bend(centre)
        third = 8.0 * ratio**3 @ self.degrees
        width = second**-0.5
        # a path that opens to the right decays by e^(-z x) even where few degrees of freedom do not
        least = 0.02 * min(1.0, self.cumulant(3) / self.variance**1.5)
        return width, np.clip(third * width / (6.0 * second), least, 0.5)


def _hyperbola(u: Values, bend: _FLOAT) -> tuple[Values, Values]:
    """A path that begins as the parabola of this bend and keeps steep, and its derivative.

    Beside few degrees of freedom very many are nearly normal, and the integrand of a normal law
    grows where a path leans to the right by more than it rises.
    """
    square = (bend / _LEAN * u) ** 2
    root = np.sqrt(1.0 + square)
    slope = 1j + bend * u * (2.0 + square) / root**3
    return np.asarray(1j * u + bend * u**2 / root), np.asarray(slope)


def _log1p_less(s: Values) -> Values:
    """log(1 + s) - s for complex or real s, accurate relative to itself for small s."""
    result = np.log(1.0 + s) - s
    small = np.abs(s) < _SMALL
    t = s[small]
    series = np.full_like(t, -1.0 / 14.0)
    for k in range(13, 1, -1):
        series = series * t + (-1.0) ** (k + 1) / k
    result[small] = series * t * t
    return result
