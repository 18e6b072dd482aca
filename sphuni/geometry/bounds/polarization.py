"""Upper bounds on the polarization of the Riesz kernel."""

import math

import numpy as np

from sphuni.geometry.bounds._checks import at_cosine, check_size, evaluate
from sphuni.geometry.bounds._result import UpperBound
from sphuni.kernels import Riesz
from sphuni.special import cap_angle

__all__ = ["polarization_bound"]

_PANELS = 96
_PANEL_NODES = 16
_POLYGON_MAX = 2_000_000
_Candidate = tuple[float, bool | None, str, str]


def polarization_bound(n: int, d: int, *, s: float, antipodal: bool = False) -> UpperBound:
    r"""Bound the polarization of every set of n points on S^(d-1) from above.

    Parameters
    ----------
    n : int
        Number of points, at least 1.
    d : int
        Ambient dimension, at least 2.
    s : float
        Exponent of the chordal Riesz kernel, of any sign.
    antipodal : bool, default False
        Bound the polarization of the 2 n points {x, -x}.

    Returns
    -------
    UpperBound
        `value` bounds min over poles z of sum_i K(<z, x_i>).

    Notes
    -----
    * Mean of the kernel, s < d - 1: the least value is at most the average, n E[K].
    * Mean outside caps: on the sphere without the caps of radius r about the points the average
      is at most :math:`n K(-1) + n \int_{\theta > r} (K - K(-1))\, d\sigma / (1 - n \sigma_r)`.
      The best r is taken. It holds for s >= d - 1 too, where the mean is infinite.
    * n <= d: some pole has no positive cosine, so n K(0); attained by a centred simplex, s >= -2.
    * n = d + 1, s >= -2: K(-1) + d K(1/d), attained by the regular simplex (Borodachov 2022).
    * d = 2, s >= -1: attained by the regular polygon (Hardin, Kendall, Saff 2013).
    * Lines: n < d gives 2 n K(0) for every set; n = d gives the orthonormal frame, s >= -2,
      because some pole has all cosines within +-1/sqrt(d).

    Cost about 3 ms.

    References
    ----------
    T. Erdelyi, E. B. Saff, "Riesz polarization inequalities in higher dimensions", J. Approx.
    Theory 171 (2013) 128-147. doi:10.1016/j.jat.2013.03.003.

    S. Borodachov, "Polarization problem on a higher-dimensional sphere for a simplex", Discrete
    Comput. Geom. 67 (2022) 525-542. doi:10.1007/s00454-021-00308-1.

    D. P. Hardin, A. P. Kendall, E. B. Saff, "Polarization optimality of equally spaced points on
    the circle for discrete potentials", Discrete Comput. Geom. 50 (2013) 236-243.
    doi:10.1007/s00454-013-9502-4.

    Examples
    --------
    >>> polarization_bound(4, 3, s=2.0).value  # the tetrahedron
    2.5
    """
    n, d = check_size(n, d, least=1)
    kernel = Riesz(s)
    exact = _lines_exact(n, d, kernel) if antipodal else _points_exact(n, d, kernel)
    candidates = [exact] if exact else _averages(2 * n if antipodal else n, d, kernel)
    value, attained, method, reason = min(candidates, key=lambda candidate: candidate[0])
    return UpperBound(value=value, attained=attained, method=method, reason=reason)


def _points_exact(n: int, d: int, kernel: Riesz) -> _Candidate | None:
    s = kernel.s
    if n == 1:
        return at_cosine(kernel, -1.0), True, "single point", "the pole is the opposite point"
    if s == -2:
        return -2.0 * n, True, "mean", "attained by every set whose sum is zero"
    if s < -2:
        return None
    if d == 2 and s >= -1 and n <= _POLYGON_MAX:
        half = (np.arange(n) + 0.5) * (math.pi / n)
        value = float(evaluate(kernel, 4 * np.sin(half) ** 2, 4 * np.cos(half) ** 2).sum())
        return value, True, "circle", "attained by the regular polygon"
    if n <= d:
        value = n * at_cosine(kernel, 0.0)
        return value, True, "hemisphere", "attained by a simplex centred at the origin"
    if n == d + 1:
        value = at_cosine(kernel, -1.0) + d * at_cosine(kernel, 1 / d)
        return value, True, "simplex", "attained by the regular simplex"
    return None


def _lines_exact(n: int, d: int, kernel: Riesz) -> _Candidate | None:
    if kernel.s == -2:
        return -4.0 * n, True, "mean", "the potential of every set {x, -x} is constant"
    if n < d:
        value = 2 * n * at_cosine(kernel, 0.0)
        attained = True if kernel.s >= -2 else None
        return value, attained, "hemisphere", "some pole is orthogonal to all lines"
    if d == 2 and kernel.s >= -1 and n > 1:
        return _points_exact(2 * n, d, kernel)
    if n == d and kernel.s >= -2:
        t = math.sqrt(1 / d)
        value = d * (at_cosine(kernel, t) + at_cosine(kernel, -t))
        return value, True, "orthonormal frame", "attained by an orthonormal frame"
    return None


def _averages(n: int, d: int, kernel: Riesz) -> list[_Candidate]:
    """Average over the sphere, and over the sphere without caps about the points."""
    least = at_cosine(kernel, -1.0)
    outside = n * (least + _mean_outside_caps(n, d, kernel, least))
    bounds: list[_Candidate] = [
        (outside, False, "mean outside caps", "the potential is not constant outside the caps")
    ]
    if kernel.s < d - 1:
        bounds.append(
            (n * kernel.mean(d), None, "mean", "attained only where the potential is constant")
        )
    return bounds


def _mean_outside_caps(n: int, d: int, kernel: Riesz, least: float) -> float:
    """Least over r of the mean of K - K(-1) outside a cap, shared by what n caps leave over.

    The measure of the cap is the variable: Gauss rules in its logarithm, and in that of the
    complement past the equator, see every scale of the kernel in every dimension.
    """
    shared = np.geomspace(1e-6, 1.0, _PANELS // 2, endpoint=False) / n
    edges = np.concatenate([shared, np.geomspace(1.0 / n, 0.5, _PANELS // 2)])
    upper = np.geomspace(1e-14, 0.5, _PANELS // 2)
    near, near_weights = _panels(edges)
    far, far_weights = _panels(upper)
    excess_near = _excess(kernel, np.asarray(cap_angle(near, d)), least) * near_weights
    excess_far = _excess(kernel, math.pi - np.asarray(cap_angle(far, d)), least) * far_weights
    beyond = np.cumsum(excess_near.sum(axis=1)[::-1])[::-1] + excess_far.sum()
    return float(np.min(beyond[: len(shared)] / (1 - n * shared)))


def _panels(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gauss nodes and weights for dm between consecutive edges, in log m."""
    x, w = np.polynomial.legendre.leggauss(_PANEL_NODES)
    low, high = np.log(edges[:-1, None]), np.log(edges[1:, None])
    nodes = np.exp((low + high) / 2 + x * (high - low) / 2)
    return nodes, nodes * w * (high - low) / 2


def _excess(kernel: Riesz, theta: np.ndarray, least: float) -> np.ndarray:
    return evaluate(kernel, 4 * np.sin(theta / 2) ** 2, 4 * np.cos(theta / 2) ** 2) - least
