"""A law read from splines of its log tails, for many values."""

import math

import numpy as np
import scipy
from numpy.typing import NDArray

from sphuni.stats.laws._tails import Law, Tails, Values

__all__ = ["Tabulated"]

_NODES = 161
_DEEPEST = -30.0


class Tabulated:
    """The tails of `law` between its quantiles of e^-30, good to about 1e-4; exact beyond them.

    Parameters
    ----------
    law : Law
        A continuous law.
    lowest : float
        Where its support begins; nodes are evenly spaced in the log distance from there.
    """

    def __init__(self, law: Law, lowest: float) -> None:
        self.law, self.lowest = law, lowest
        self.mean, self.variance = law.mean, law.variance
        centre = math.log(law.mean - lowest)
        low = self._edge(centre, -1.0)
        high = self._edge(centre, 1.0)
        self._places = np.linspace(low, high, _NODES)
        tails = law.tails(np.exp(self._places) + lowest)
        self._upper = scipy.interpolate.CubicSpline(self._places, tails.log_upper)
        self._lower = scipy.interpolate.CubicSpline(self._places, tails.log_lower)

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
        flat = np.atleast_1d(np.asarray(x, dtype=np.float64))
        with np.errstate(divide="ignore", invalid="ignore"):
            place = np.log(flat - self.lowest)
        inside = (place >= self._places[0]) & (place <= self._places[-1])
        upper, lower = np.empty_like(flat), np.empty_like(flat)
        upper[inside] = np.minimum(self._upper(place[inside]), 0.0)
        lower[inside] = np.minimum(self._lower(place[inside]), 0.0)
        if not inside.all():
            beyond = self.law.tails(flat[~inside])
            upper[~inside], lower[~inside] = beyond.log_upper, beyond.log_lower
        return Tails(upper.reshape(np.shape(x)), lower.reshape(np.shape(x)))

    def _edge(self, centre: float, side: float) -> float:
        """Log distance at which the tail on this side is e^-30."""

        def excess(step: float) -> float:
            tails = self.law.tails(np.array([math.exp(centre + side * step) + self.lowest]))
            log_p: NDArray[np.float64] = tails.log_upper if side > 0 else tails.log_lower
            return max(float(log_p[0]), -1e4) - _DEEPEST

        far = 1.0
        while excess(far) > 0 and far < 256:
            far *= 2.0
        if excess(far) > 0:
            return centre + side * far
        return centre + side * float(scipy.optimize.brentq(excess, 0.0, far, rtol=1e-2))
