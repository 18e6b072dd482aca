"""Lower bound on the spherical cap discrepancy."""

import math

from sphuni.geometry.bounds._checks import check_size
from sphuni.geometry.bounds._result import LowerBound
from sphuni.geometry.bounds.energy import energy_bound
from sphuni.kernels import Riesz

__all__ = ["discrepancy_bound"]


def discrepancy_bound(n: int, d: int = 3) -> LowerBound:
    r"""Bound the cap discrepancy of every set of n points on S^2 from below.

    Parameters
    ----------
    n : int
        Number of points, at least 1.
    d : int, default 3
        Ambient dimension; the normalisation of the cap discrepancy is fixed for d = 3 only.

    Returns
    -------
    LowerBound
        `value` bounds D, in the normalisation of `sphuni.cap_discrepancy`.

    Raises
    ------
    ValueError
        If d is not 3.

    Notes
    -----
    Stolarsky's invariance principle: :math:`4 D^2 = 4/3 - n^{-2} \sum_{i,j} |x_i - x_j|`, and the
    sum of distances is bounded by `energy_bound` with s = -1. Attained where that is: n = 1, 2,
    3, 4, 6, 12. About 1e-7 relative accuracy at n = 1e6, where 4/3 nearly cancels. Beyond n of
    about 1.05e6, for which there is no rule, the heat kernel gives a bound that is 3 % smaller:

    .. math:: 4 D^2 \ge \frac{4}{3 \sqrt{\pi}} n^{-3/2}.

    With :math:`u = (l + 1/2)^2` the coefficients of -r in :math:`(2l + 1) P_l` exceed
    :math:`u^{-3/2} / 2`, which is a mixture of :math:`e^{-u \tau}`. The heat kernel of time
    :math:`\tau`, whose coefficients these are but for :math:`e^{\tau/4}`, has mean 1, no negative
    values, and at least :math:`1/\tau` at coincident points; the times below 1/n contribute.

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
    if d != 3:
        raise ValueError(f"d must be 3, for which the cap discrepancy is normalised; got {d}")
    if n == 1:
        value = math.sqrt(1 / 3)
        return LowerBound(value=value, attained=True, method="one point", reason="every point")
    energy = energy_bound(n, d, kernel=Riesz(-1.0))
    squared = (4 / 3 + 2 * energy.value / float(n) ** 2) / 4
    by_heat = float(n) ** -1.5 / (3 * math.sqrt(math.pi))
    if squared < by_heat:
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
