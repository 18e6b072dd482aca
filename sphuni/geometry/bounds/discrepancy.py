"""Lower bound on the spherical cap discrepancy."""

import math

from sphuni.geometry.bounds._checks import check_size
from sphuni.geometry.bounds._result import LowerBound
from sphuni.geometry.bounds.energy import energy_bound
from sphuni.geometry.discrepancy import cap_constant
from sphuni.kernels import Riesz

__all__ = ["discrepancy_bound"]

_ROUNDING, _FEW_NODES = 1e-16, 3  # of a rule of k nodes about k^2 roundings
_SERIES = 0.02


def discrepancy_bound(n: int, d: int = 3) -> LowerBound:
    r"""Bound the cap discrepancy of every set of n points on S^(d-1) from below.

    Parameters
    ----------
    n : int
        Number of points, at least 1.
    d : int, default 3
        Ambient dimension, at least 2.

    Returns
    -------
    LowerBound
        `value` bounds D, in the normalisation of `sphuni.cap_discrepancy`.

    Notes
    -----
    Stolarsky's invariance principle: :math:`D^2 = c_d (E|x - y| - n^{-2} \sum_{i,j} |x_i - x_j|)`,
    and the sum of distances is bounded by `energy_bound` with s = -1. Attained where that is: on
    S^2 for n = 1, 2, 3, 4, 6, 12, on the circle by every regular polygon, whose D is known:

    .. math:: D^2 = \frac{4}{\pi^2} \left(1 - x \cot x\right),\quad x = \frac{\pi}{2 n}.

    On S^2 about 1e-7 relative accuracy at n = 1e6, where 4/3 nearly cancels. Beyond n of
    about 1.05e6, for which there is no rule, the heat kernel gives a bound that is 3 % smaller:

    .. math:: 4 D^2 \ge \frac{4}{3 \sqrt{\pi}} n^{-3/2}.

    With :math:`u = (l + 1/2)^2` the coefficients of -r in :math:`(2l + 1) P_l` exceed
    :math:`u^{-3/2} / 2`, which is a mixture of :math:`e^{-u \tau}`. The heat kernel of time
    :math:`\tau`, whose coefficients these are but for :math:`e^{\tau/4}`, has mean 1, no negative
    values, and at least :math:`1/\tau` at coincident points; the times below 1/n contribute.
    For d > 3 the rounding of the difference is taken off: 3e-4 of D^2 for a million points of R^4,
    all of it from some 1e8 on, where the bound is 0.

    References
    ----------
    K. B. Stolarsky, "Sums of distances between points on a sphere II", Proc. Amer. Math. Soc. 41
    (1973) 575-582. doi:10.1090/S0002-9939-1973-0333995-9.

    Examples
    --------
    >>> 3 * discrepancy_bound(1).value ** 2
    1.0
    """
    n, d = check_size(n, d, least=1)
    mean = -Riesz(-1.0).mean(d)
    if n == 1:
        value = math.sqrt(cap_constant(d) * mean)
        return LowerBound(value=value, attained=True, method="one point", reason="every point")
    if d == 2:
        return LowerBound(
            value=2 / math.pi * math.sqrt(_one_minus_x_cot_x(math.pi / (2 * n))),
            attained=True,
            method="Stolarsky's principle and the sum of distances of the regular polygon",
            reason="attained by the regular polygon",
        )
    energy = energy_bound(n, d, kernel=Riesz(-1.0))
    gap = mean + 2 * energy.value / float(n) ** 2
    if d > 3:
        nodes = 0 if energy.nodes is None else len(energy.nodes)
        gap = max(0.0, gap - _ROUNDING * (_FEW_NODES + nodes) ** 2 * mean)
    squared = cap_constant(d) * gap
    by_heat = float(n) ** -1.5 / (3 * math.sqrt(math.pi))
    if d == 3 and squared < by_heat:
        return LowerBound(
            value=math.sqrt(by_heat),
            attained=None,
            method="Stolarsky's principle and the heat kernel",
            reason="a mixture of heat kernels lies below the distance's expansion, term by term; "
            "no configuration is known to attain it",
        )
    return LowerBound(
        value=math.sqrt(squared),
        attained=energy.attained,
        method="Stolarsky's principle and the bound on the sum of distances",
        reason=energy.reason,
        degree=energy.degree,
        nodes=energy.nodes,
        weights=energy.weights,
    )


def _one_minus_x_cot_x(x: float) -> float:
    """1 - x cot x for 0 < x < 2, which cancels at small x."""
    if x > _SERIES:
        return 1 - x / math.tan(x)
    square = x * x
    return square / 3 * (1 + square / 15 * (1 + square * 2 / 21 * (1 + square / 10)))
