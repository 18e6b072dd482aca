"""The law of the smallest distance among random points."""

import dataclasses
import math

import numpy as np
from scipy import special

from sphuni.stats.laws._tails import Tails, Values

__all__ = ["SmallestDistance", "log_cap_tail"]


@dataclasses.dataclass(frozen=True)
class SmallestDistance:
    r"""The law of `-p`, p the smallest squared chord among n uniform points on S^(d-1).

    Parameters
    ----------
    n, d : int
        Number of points, at least 2, and ambient dimension.
    antipodal : bool
        Whether points are lines, so that p is the smaller of the chords to y and -y.
    pairs : bool
        Take pairs as independent on the circle too, where the smallest gap has an exact law but
        the gap to the nearest antipode has not.

    Notes
    -----
    On the circle the law of the smallest gap is exact: :math:`P(\min > g) = (1 - n g/2\pi)^{n-1}`
    (with gaps of twice the angle for lines). Elsewhere cosines of different pairs are pairwise
    independent, the number of pairs closer than p is close to Poisson, and
    :math:`P(\min \le p) = 1 - (1 - q)^{n(n-1)/2}` with q the exact probability for one pair.
    """

    n: int
    d: int
    antipodal: bool = False
    pairs: bool = False

    @property
    def mean(self) -> float:
        """Not known in closed form."""
        return math.nan

    @property
    def variance(self) -> float:
        """Not known in closed form."""
        return math.nan

    def tails(self, x: Values) -> Tails:
        """Both tails at `x` = -(smallest squared chord)."""
        p = np.clip(-np.asarray(x, dtype=np.float64), 0.0, 2.0 if self.antipodal else 4.0)
        with np.errstate(divide="ignore"):
            log_lower = self._circle(p) if self._exact else self._pairs(p)
            log_upper = np.where(
                log_lower > -1e-8, np.log(-log_lower), np.log(-np.expm1(log_lower))
            )
        if not self._exact:
            # 1 - (1-q)^N is N q where q is too small for the difference to show
            log_q = self._log_q(p)
            tiny = log_q + math.log(self._count) < -18.0
            log_upper = np.where(tiny, log_q + math.log(self._count), log_upper)
        return Tails(log_upper, log_lower)

    @property
    def _exact(self) -> bool:
        return self.d == 2 and not self.pairs

    @property
    def _count(self) -> float:
        return 0.5 * self.n * (self.n - 1)

    def _log_q(self, p: Values) -> Values:
        """Log probability that one pair is at least as close as p."""
        return log_cap_tail(0.25 * p, self.d) + (math.log(2.0) if self.antipodal else 0.0)

    def _pairs(self, p: Values) -> Values:
        return np.asarray(self._count * self._log_apart(p))

    def _log_apart(self, p: Values) -> Values:
        """Log probability that one pair is further apart than p."""
        plain = np.log1p(-np.minimum(np.exp(self._log_q(p)), 1.0))
        if self.antipodal:
            return np.asarray(plain)
        # beyond a right angle that is the cap about the antipode, which keeps its digits
        return np.where(p > 2.0, log_cap_tail(1.0 - 0.25 * p, self.d), plain)

    def _circle(self, p: Values) -> Values:
        gap = 2.0 * np.arcsin(np.sqrt(0.25 * p)) * (2.0 if self.antipodal else 1.0)
        share = np.minimum(self.n * gap / (2.0 * math.pi), 1.0)
        return np.asarray((self.n - 1) * np.log1p(-share))


def log_cap_tail(u: Values, d: int) -> Values:
    r"""Log probability that :math:`\sin^2(\theta/2) \le u` for two uniform points; u in [0, 1].

    Notes
    -----
    The logarithm of the regularised incomplete beta function :math:`I_u(a, a)`, a = (d-1)/2, by
    its hypergeometric series where the function itself underflows.
    """
    a = 0.5 * (d - 1)
    with np.errstate(divide="ignore"):
        direct = np.log(special.betainc(a, a, u))
    small = (u > 0) & (direct < -600.0)
    if not small.any():
        return np.asarray(direct)
    v = u[small]
    log_front = a * (np.log(v) + np.log1p(-v)) - math.log(a) - special.betaln(a, a)
    total, term = np.ones_like(v), np.ones_like(v)
    for j in range(2000):
        term = term * v * (2.0 * a + j) / (a + 1.0 + j)
        total = total + term
        if bool(np.all(term < 1e-17 * total)):
            break
    result = np.asarray(direct).copy()
    result[small] = log_front + np.log(total)
    return result
