"""Areas of spheres and caps, and the law of the cosine of two independent uniform points."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special as sc

from sphuni.special._checks import check_dimension

_LOG_2 = math.log(2.0)
_LOG_PI = math.log(math.pi)


def log_sphere_area(d: int) -> float:
    r"""Natural logarithm of the surface area of the unit sphere S^(d-1) in R^d.

    Parameters
    ----------
    d : int
        Ambient dimension, at least 2.

    Returns
    -------
    float
        :math:`\log(2 \pi^{d/2} / \Gamma(d/2))`; finite for every d.

    Examples
    --------
    >>> log_sphere_area(3)  # log(4 pi)
    2.5310242469...
    """
    d = check_dimension(d)
    return _LOG_2 + 0.5 * d * _LOG_PI - math.lgamma(0.5 * d)


def sphere_area(d: int) -> float:
    r"""Surface area of the unit sphere S^(d-1) in R^d.

    Parameters
    ----------
    d : int
        Ambient dimension, at least 2.

    Returns
    -------
    float
        :math:`2 \pi^{d/2} / \Gamma(d/2)`. Zero where it underflows (d beyond about 450): use
        `log_sphere_area` there.

    Examples
    --------
    >>> sphere_area(2) / math.pi, sphere_area(4) / math.pi**2
    (2.0, 2.0)
    """
    d = check_dimension(d)
    if d <= 340:
        return float(2.0 * math.pi ** (0.5 * d) / math.gamma(0.5 * d))
    return math.exp(log_sphere_area(d))


def cap_measure(theta: ArrayLike, d: int) -> Any:
    r"""Share of the sphere that a cap of angular radius `theta` covers.

    Parameters
    ----------
    theta : array_like
        Angular radius in radians, in [0, pi], of any shape; pi as rounded to its dtype is pi.
    d : int
        Ambient dimension, at least 2.

    Returns
    -------
    numpy.float64 or numpy.ndarray of float64
        The measure in [0, 1], of the shape of `theta`.

    Raises
    ------
    ValueError
        If an angle lies outside [0, pi].

    Notes
    -----
    For :math:`\theta \le \pi/2` it is :math:`\tfrac12 I_{\sin^2\theta}((d-1)/2, 1/2)` with the
    regularised incomplete beta function. Small caps are accurate relative to themselves (about
    d times 1e-16), and so is the complement ``cap_measure(pi - theta, d)`` of a large one.

    References
    ----------
    S. Li, "Concise formulas for the area and volume of a hyperspherical cap", Asian Journal of
    Mathematics & Statistics 4 (2011) 66-70, doi:10.3923/ajms.2011.66.70.

    Examples
    --------
    >>> float(cap_measure(math.pi / 3, 3))  # (1 - cos theta) / 2
    0.25
    >>> cap_measure([0.0, math.pi / 2, math.pi], 17)
    array([0. , 0.5, 1. ])
    """
    d = check_dimension(d)
    given = np.asarray(theta)
    angle = given.astype(np.float64)
    end = _half_turn(given.dtype)
    if np.any((angle < 0.0) | (angle > end)):
        worst = angle[(angle < 0.0) | (angle > end)].flat[0]
        raise ValueError(f"theta must be an angle in [0, pi] radians; got {worst!r}.")
    angle = np.minimum(angle, math.pi)
    if d == 2:
        return (angle / math.pi)[()]
    tail = _half_tail(np.sin(angle) ** 2, np.cos(angle) ** 2, d)
    return np.where(angle <= 0.5 * math.pi, tail, 1.0 - tail)[()]


def cap_angle(measure: ArrayLike, d: int) -> Any:
    r"""Angular radius of the cap that covers a given share of the sphere.

    Parameters
    ----------
    measure : array_like
        Share of the sphere, in [0, 1], of any shape.
    d : int
        Ambient dimension, at least 2.

    Returns
    -------
    numpy.float64 or numpy.ndarray of float64
        The angle in radians, in [0, pi]: the inverse of `cap_measure`.

    Raises
    ------
    ValueError
        If a measure lies outside [0, 1].

    Notes
    -----
    The inverse incomplete beta function, in :math:`\sin^2\theta` for small caps and in
    :math:`\cos^2\theta` for those near a hemisphere, so that neither loses digits.

    Examples
    --------
    >>> float(cap_angle(0.25, 3)) * 180 / math.pi
    60.000000000
    """
    d = check_dimension(d)
    share = np.asarray(measure, dtype=np.float64)
    if np.any((share < 0.0) | (share > 1.0)):
        worst = share[(share < 0.0) | (share > 1.0)].flat[0]
        raise ValueError(f"measure must be a share of the sphere in [0, 1]; got {worst!r}.")
    if d == 2:
        return (math.pi * share)[()]
    tail = 2.0 * np.minimum(share, 1.0 - share)
    sine = np.sqrt(sc.betaincinv(0.5 * (d - 1), 0.5, tail))
    cosine = np.sqrt(sc.betainccinv(0.5, 0.5 * (d - 1), tail))
    angle = np.where(sine < cosine, np.arcsin(sine), np.arccos(cosine))
    return np.where(share <= 0.5, angle, math.pi - angle)[()]


def cosine_density(t: ArrayLike, d: int) -> Any:
    r"""Density of the cosine of two independent uniform points on S^(d-1).

    Parameters
    ----------
    t : array_like
        Cosine, of any shape; the density is 0 outside [-1, 1].
    d : int
        Ambient dimension, at least 2.

    Returns
    -------
    numpy.float64 or numpy.ndarray of float64
        :math:`\frac{\Gamma(d/2)}{\sqrt\pi\,\Gamma((d-1)/2)} (1 - t^2)^{(d-3)/2}`; infinite at
        t = +-1 for d = 2.

    Notes
    -----
    This is the exact null law that histograms of pairwise cosines are set against.

    Examples
    --------
    >>> cosine_density([-0.3, 0.9], 3)
    array([0.5, 0.5])
    """
    d = check_dimension(d)
    cosine = np.asarray(t, dtype=np.float64)
    inside = np.where(np.abs(cosine) > 1.0, 0.0, cosine)
    power = 0.5 * (d - 3)
    log_kernel = sc.xlog1py(power, -inside) + sc.xlog1py(power, inside)
    scale = log_gamma_half_step(0.5 * (d - 1)) - 0.5 * _LOG_PI
    return np.where(np.abs(cosine) > 1.0, 0.0, np.exp(log_kernel + scale))[()]


def cosine_cdf(t: ArrayLike, d: int) -> Any:
    r"""Distribution function of the cosine of two independent uniform points on S^(d-1).

    Parameters
    ----------
    t : array_like
        Cosine, of any shape; values outside [-1, 1] give 0 or 1.
    d : int
        Ambient dimension, at least 2.

    Returns
    -------
    numpy.float64 or numpy.ndarray of float64
        The probability that the cosine is at most `t`.

    Notes
    -----
    The lower tail is accurate relative to itself; by symmetry the upper tail is
    ``cosine_cdf(-t, d)``, without cancellation.

    Examples
    --------
    >>> float(cosine_cdf(0.5, 3))
    0.75
    """
    d = check_dimension(d)
    cosine = np.clip(np.asarray(t, dtype=np.float64), -1.0, 1.0)
    tail = _half_tail((1.0 - cosine) * (1.0 + cosine), cosine * cosine, d)
    return np.where(cosine <= 0.0, tail, 1.0 - tail)[()]


def log_gamma_half_step(x: float) -> float:
    r"""Return :math:`\log \Gamma(x + 1/2) - \log \Gamma(x)` without cancellation for large x."""
    if x < 100.0:
        return math.log(math.gamma(x + 0.5) / math.gamma(x))
    return 0.5 * math.log(x) - 1 / (8 * x) + 1 / (192 * x**3) - 1 / (640 * x**5)


def _half_turn(dtype: np.dtype[Any]) -> float:
    """Return pi as rounded to a dtype, which in single precision is above pi."""
    return max(math.pi, float(dtype.type(math.pi))) if dtype.kind == "f" else math.pi


def _half_tail(sine_squared: Any, cosine_squared: Any, d: int) -> NDArray[np.float64]:
    """Measure of the smaller of the two caps whose rim has this squared sine and cosine."""
    if d == 2:
        return np.asarray(np.arctan2(np.sqrt(sine_squared), np.sqrt(cosine_squared)) / math.pi)
    a = 0.5 * (d - 1)
    # The branch takes the smaller of the two squares: it is the one that carries the digits.
    small = sc.betainc(a, 0.5, np.minimum(sine_squared, 1.0))
    near_half = sc.betaincc(0.5, a, np.minimum(cosine_squared, 1.0))
    return np.asarray(0.5 * np.where(sine_squared < cosine_squared, small, near_half))
