"""The law of a sum over pairs that a few close pairs may rule."""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from sphuni.stats.laws._tails import Law, Tails, Values

__all__ = ["PairSums", "pair_sums"]

_FLOAT = NDArray[np.float64]
_POINTS = 1 << 20
_STEPS = 1024
_RARE = 0.3
_STEEPEST = 0.6
_JOIN = 1e-8
_NORMAL_BELOW = 8
_DEAD = -45.0
_LEAST_STEPS = 600
_LARGEST_COUNT = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class PairSums:
    """Tabulated tails on a grid; beyond 1e-8 those of `far`, joined on.

    Attributes
    ----------
    mean, variance : float
        Of the statistic; NaN or inf where they are.
    places : numpy.ndarray of shape (G,)
        Ascending values of the statistic.
    log_upper, log_lower : numpy.ndarray of shape (G,)
        Log probabilities of at least and of at most each value.
    far : Law or None
        Law whose upper tail falls at the right rate; None for that of a single close pair.
    pair_places, pair_logs : numpy.ndarray
        Ascending contributions of one pair, and the log of the expected number of pairs above.
    heaviness : float
        Excess kurtosis from the pairs that are not too rare: small where many pairs add up.
    """

    mean: float
    variance: float
    places: _FLOAT
    log_upper: _FLOAT
    log_lower: _FLOAT
    far: Law | None
    pair_places: _FLOAT
    pair_logs: _FLOAT
    heaviness: float

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
        flat = np.asarray(x, dtype=np.float64)
        upper = np.interp(flat, self.places, self.log_upper)
        lower = np.interp(flat, self.places, self.log_lower)
        low, high = self.places[0], self.places[-1]
        upper = np.where(flat > high, self.log_upper[-1] + self._beyond(flat, high), upper)
        # the lower tail of a sum of many pairs falls at least like a normal one
        depth = np.minimum((flat - low) / (self.places[1] - low), 0.0)
        fall = (self.log_lower[1] - self.log_lower[0]) * depth
        lower = np.where(flat < low, self.log_lower[0] + fall, lower)
        return Tails(
            np.where(np.isnan(flat), np.nan, upper), np.where(np.isnan(flat), np.nan, lower)
        )

    def _beyond(self, x: _FLOAT, join: float) -> _FLOAT:
        """Log of the ratio of the upper tail at `x` to that at `join`."""
        past = np.maximum(x, join)
        if self.far is not None:
            start = float(self.far.tails(np.array([join])).log_upper[0])
            return np.asarray(self.far.tails(past.ravel()).log_upper.reshape(past.shape) - start)
        start = float(np.interp(join, self.pair_places, self.pair_logs))
        # near the closest pairs listed the rate is cut off; it goes on as a power instead
        place, log = self.pair_places[[-6000, -4000]], self.pair_logs[[-6000, -4000]]
        power = (log[1] - log[0]) / math.log(place[1] / place[0])
        listed = np.interp(np.minimum(past, place[1]), self.pair_places, self.pair_logs)
        return np.asarray(listed + power * np.log(np.maximum(past / place[1], 1.0)) - start)


def pair_sums(
    contributions: _FLOAT,
    rates: _FLOAT,
    weights: _FLOAT,
    degrees: _FLOAT,
    *,
    offset: float,
    mean: float,
    variance: float,
    whole: _FLOAT,
    far: Law | None,
) -> PairSums:
    r"""Law of :math:`c + \sum_k w_k (\chi^2_{m_k} - m_k) + \sum_p y_p`, pairs p independent.

    Parameters
    ----------
    contributions, rates : numpy.ndarray of shape (P,)
        What a pair adds, y, and the expected number of such pairs.
    weights, degrees : numpy.ndarray of shape (K,)
        The part of the lowest harmonics, which pairs share and which is not among `contributions`.
    offset, mean, variance : float
        c, and moments to report.
    whole : numpy.ndarray of shape (P,)
        What a pair adds with the lowest harmonics included.
    far : Law or None
        See `PairSums`.

    Raises
    ------
    ValueError
        If the sum is ruled by its largest term, so that no even grid resolves its law.

    Notes
    -----
    High harmonics of different pairs are nearly independent, so their sum is compound Poisson;
    low ones tend to chi-squares. The characteristic function of the whole is known and inverted
    by one fast Fourier transform. The two parts are uncorrelated but not independent, because a
    close pair adds to both: the values are moved so that the third cumulant is right (Cornish and
    Fisher), the largest by no more than what one pair adds to the shared part.
    """
    ordinary, fourth, count = _ordinary(contributions, rates)
    if count > _LARGEST_COUNT * ordinary:
        raise ValueError("a single pair rules the sum: all but a few pairs add the same")
    spread = ordinary + 2.0 * float(weights**2 @ degrees)
    scale = math.sqrt(spread)
    if not scale > 1e-100:
        raise ValueError("a single pair rules the sum")
    step = scale / _STEPS
    half = step * _POINTS / 2
    kept = np.abs(contributions) < half
    # a pair beyond the grid moves the mean, but not the places of all the samples without it
    drift = float(rates[kept] @ contributions[kept])
    log_phi = _compound(contributions[kept], rates[kept], step)
    u = 2.0 * math.pi * np.fft.rfftfreq(_POINTS, step)
    for weight, degree in zip(weights, degrees, strict=True):
        alive = np.flatnonzero(log_phi.real > _DEAD)
        s = 2j * u[alive] * weight
        log_phi[alive] -= 0.5 * degree * (np.log(1.0 - s) + s)
    mass = np.fft.irfft(np.exp(np.conj(log_phi)), _POINTS)
    mass = np.maximum(np.fft.fftshift(mass), 0.0)
    heaviness = fourth / spread**2
    z = (np.arange(_POINTS) - _POINTS // 2) / _STEPS
    own, joint = _third_cumulants(contributions, rates, whole)
    skew = (own + 8.0 * float(weights**3 @ degrees)) / scale**3
    kurtosis = heaviness + 48.0 * float(weights**4 @ degrees) / spread**2
    most = float(np.abs(whole - contributions).max()) / scale
    z = z + _shift(z, skew, kurtosis, joint / scale**3, most)
    places = np.asarray(scale * z + drift + offset)
    return _tabulate(places, mass, contributions, rates, whole, mean, variance, far, heaviness)


def _ordinary(contributions: _FLOAT, rates: _FLOAT) -> tuple[float, float, float]:
    """Second and fourth moment from the pairs that are not too rare to count on.

    With them the part of the second that comes from the number of pairs, which is random in a
    compound Poisson sum and fixed in a sample.
    """
    often = _not_rare(contributions, rates)
    rate, place = rates[often], contributions[often]
    square = place**2
    count = float(rate @ place) ** 2 / float(rate.sum())
    return float(rate @ square), float(rate @ square**2), count


def _not_rare(contributions: _FLOAT, rates: _FLOAT) -> NDArray[np.int64]:
    """Indices of all pairs but the largest, of which a sample seldom has one."""
    order = np.argsort(-np.abs(contributions))
    return np.asarray(order[np.cumsum(rates[order]) > _RARE])


def _third_cumulants(contributions: _FLOAT, rates: _FLOAT, whole: _FLOAT) -> tuple[float, float]:
    """Of what pairs add by themselves, and of what comes to it as they add to the shared part."""
    often = _not_rare(contributions, rates)
    own, total = rates[often] @ contributions[often] ** 3, rates[often] @ whole[often] ** 3
    return float(own), float(total - own)


def _shift(z: _FLOAT, skew: float, kurtosis: float, more: float, most: float) -> _FLOAT:
    """How far standardised values of this law move for a third cumulant larger by `more`.

    By a multiple of z^2 - skew z - 1, which leaves mean and variance; the move is constant below
    the place where that would turn the order of values, and above that where it exceeds `most`.
    """
    # products of positive-definite kernels have a positive mean: below 0 there is but rounding
    bend = max(more, 0.0) / (3.0 * (2.0 + kurtosis - skew * skew))
    if bend == 0.0:
        return np.zeros_like(z)
    low = 0.5 * (skew - _STEEPEST / bend)
    high = 0.5 * (skew + math.sqrt(skew * skew + 4.0 * (1.0 + most / bend)))
    inside = np.clip(z, low, high)
    return np.asarray(bend * (inside * inside - skew * inside - 1.0))


def _compound(y: _FLOAT, rates: _FLOAT, step: float) -> NDArray[np.complex128]:
    """Log characteristic function of the centred compound Poisson sum at the FFT's frequencies."""
    u = 2.0 * math.pi * np.fft.rfftfreq(_POINTS, step)
    small = np.abs(y) < _NORMAL_BELOW * step
    normal = float(rates[small] @ y[small] ** 2)
    y, rates = y[~small], rates[~small]
    place = y / step
    index = np.floor(place).astype(np.int64)
    share = place - index
    measure = np.bincount(index % _POINTS, rates * (1.0 - share), minlength=_POINTS)
    measure += np.bincount((index + 1) % _POINTS, rates * share, minlength=_POINTS)
    # sharing a pair between two places adds to the variance what is taken away here
    normal -= step * step * float(rates @ (share * (1.0 - share)))
    log_phi = np.conj(np.fft.rfft(measure)) - measure.sum() - 1j * u * float(rates @ y)
    log_phi -= 0.5 * normal * u * u
    return np.asarray(np.minimum(log_phi.real, 0.0) + 1j * log_phi.imag)


def _tabulate(
    places: _FLOAT,
    mass: _FLOAT,
    contributions: _FLOAT,
    rates: _FLOAT,
    whole: _FLOAT,
    mean: float,
    variance: float,
    far: Law | None,
    heaviness: float,
) -> PairSums:
    half = 0.5 * (places[-1] - places[0])
    big = float(rates[contributions >= half].sum())
    mass = mass / mass.sum()
    upper = np.minimum(np.cumsum(mass[::-1])[::-1] - 0.5 * mass + big, 1.0)
    lower = np.minimum(np.cumsum(mass) - 0.5 * mass, 1.0)
    if np.diff(np.searchsorted(lower, [0.01, 0.5])) < _LEAST_STEPS:
        raise ValueError("a single pair rules the sum: the grid does not resolve the lower tail")
    high = int(np.searchsorted(-upper, -max(_JOIN, 2.0 * big)))
    low = int(np.searchsorted(lower, _JOIN))
    keep = _thin(low, min(high, places.size - 2), upper, lower)
    order = np.argsort(whole)
    count = np.cumsum(rates[order][::-1])[::-1]
    return PairSums(
        mean, variance, places[keep], np.log(upper[keep]), np.log(lower[keep]), far,
        whole[order], np.log(np.maximum(count, 1e-300)), heaviness,
    )  # fmt: skip


def _thin(low: int, high: int, upper: _FLOAT, lower: _FLOAT) -> NDArray[np.int64]:
    """Grid points at which either log tail has moved by about 1/200."""
    part = slice(low, high + 1)
    travel = np.log(lower[part]) - np.log(upper[part])
    wanted = np.arange(travel[0], travel[-1], 0.005)
    chosen = np.unique(np.searchsorted(np.maximum.accumulate(travel), wanted))
    return np.unique(np.append(np.minimum(chosen, high - low), high - low)) + low
