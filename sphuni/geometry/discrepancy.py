"""Discrepancy and integration error: how well averages over the points match the sphere."""

import numbers

import numpy as np
import torch
from scipy.special import gammaln
from torch import Tensor

from sphuni._arrays import array_function, check_points
from sphuni._numbers import whole
from sphuni.kernels import GegenbauerSeries, Riesz
from sphuni.pairwise import degree_sums, pair_reduce
from sphuni.sphere import float64_rows

__all__ = ["cap_constant", "cap_discrepancy", "design_residual", "worst_case_error"]


@array_function()
def cap_discrepancy(points: Tensor, /) -> Tensor:
    r"""L2 discrepancy over all spherical caps; lower is more uniform.

    .. math:: D^2 = c_d \left(E|x-y| - \frac{1}{n^2}\sum_{i,j}|x_i-x_j|\right),\quad
              c_d = \frac{\Gamma(d/2)}{(d-1)\sqrt\pi\,\Gamma((d-1)/2)}

    Parameters
    ----------
    points : array of shape (..., n, d)
        Unit rows.

    Returns
    -------
    array of shape (...)
        D, not its square; in [0, 1). For d = 3, c_d = 1/4 and E|x - y| = 4/3.

    Notes
    -----
    Stolarsky's invariance principle turns the integral over caps into the sum of distances, so
    the cost is O(n^2 d), in float64 whatever the points are: for well spread points the two means
    cancel. Where all points coincide the gradient is zero.

    References
    ----------
    K. B. Stolarsky, "Sums of distances between points on a sphere II", Proc. AMS 41, 1973,
    575-582. doi:10.1090/S0002-9939-1973-0333995-9.
    J. S. Brauchart, J. Dick, "A simple proof of Stolarsky's invariance principle", Proc. AMS 141,
    2013, 2085-2096. doi:10.1090/S0002-9939-2013-11490-5.

    Examples
    --------
    >>> import sphuni
    >>> round(float(sphuni.cap_discrepancy([[0.0, 0, 1], [0, 0, -1]])), 12)
    0.288675134595
    """
    check_points(points)
    return _root_of_gap(points, exponent=1.0, constant=cap_constant(points.shape[-1]))


def cap_constant(d: int) -> float:
    """c_d of `cap_discrepancy`."""
    log_constant = gammaln(d / 2) - gammaln((d - 1) / 2) - 0.5 * np.log(np.pi) - np.log(d - 1)
    return float(np.exp(log_constant))


@array_function()
def worst_case_error(points: Tensor, /, *, smoothness: float) -> Tensor:
    r"""Worst-case error of the equal-weight average in a Sobolev space; lower is better.

    .. math:: e^2 = E|x-y|^{2\sigma-d+1} - \frac{1}{n^2}\sum_{i,j}|x_i-x_j|^{2\sigma-d+1}

    Parameters
    ----------
    points : array of shape (..., n, d)
        Unit rows.
    smoothness : float
        sigma, strictly between (d - 1)/2 and (d + 1)/2: the Sobolev space H^sigma of S^(d-1),
        normed by the generalised-distance kernel. sigma = d/2 is the cap discrepancy up to a
        constant.

    Returns
    -------
    array of shape (...)
        e, not its square. For sigma = d/2 it is the cap discrepancy over sqrt(c_d) of
        `cap_discrepancy`, twice it for d = 3.

    Raises
    ------
    ValueError
        If `smoothness` lies outside these bounds.

    Notes
    -----
    O(n^2 d) time, in float64 whatever the points are.

    References
    ----------
    J. S. Brauchart, E. B. Saff, I. H. Sloan, R. S. Womersley, "QMC designs: optimal order quasi
    Monte Carlo integration schemes on the sphere", Math. Comp. 83, 2014, 2821-2851.
    doi:10.1090/S0025-5718-2014-02839-1.

    Examples
    --------
    >>> import numpy as np, sphuni
    >>> octahedron = np.vstack([np.eye(3), -np.eye(3)])
    >>> error = sphuni.worst_case_error(octahedron, smoothness=1.5)
    >>> bool(np.isclose(error, 2 * sphuni.cap_discrepancy(octahedron)))
    True
    """
    check_points(points)
    d = points.shape[-1]
    if isinstance(smoothness, bool) or not isinstance(smoothness, numbers.Real):
        raise TypeError(f"smoothness must be a real number; got {type(smoothness).__name__}")
    exponent = 2 * float(smoothness) - d + 1
    if not 0 < exponent < 2:
        raise ValueError(
            f"smoothness must lie strictly between {(d - 1) / 2:g} and {(d + 1) / 2:g} for "
            f"d = {d}; got {smoothness}"
        )
    return _root_of_gap(points, exponent=exponent, constant=1.0)


@array_function()
def design_residual(points: Tensor, /, *, t: int) -> Tensor:
    r"""Distance from being a spherical t-design; 0 exactly for designs, lower is better.

    .. math:: r = \max_{1 \le l \le t} \sqrt{\frac{1}{n^2}\sum_{i,j} P_l(\langle x_i, x_j\rangle)}

    with the Gegenbauer polynomials of R^d scaled to P_l(1) = 1.

    Parameters
    ----------
    points : array of shape (..., n, d)
        Unit rows.
    t : int
        Strength asked for, at least 1.

    Returns
    -------
    array of shape (...)
        In [0, 1]. Rounding leaves about 1e-8 for a design in float64.

    Notes
    -----
    A t-design averages every polynomial of degree at most t exactly. O(n^2 (d + t)) time, for
    d = 3 and n >= 8 t only O(n t^2), in float64 whatever the points are.

    References
    ----------
    P. Delsarte, J. M. Goethals, J. J. Seidel, "Spherical codes and designs", Geom. Dedicata 6,
    1977, 363-388. doi:10.1007/BF03187604.

    Examples
    --------
    >>> import numpy as np, sphuni
    >>> octahedron = np.vstack([np.eye(3), -np.eye(3)])
    >>> bool(sphuni.design_residual(octahedron, t=3) < 1e-7)
    True
    >>> round(float(sphuni.design_residual(octahedron, t=4)), 6)
    0.763763
    """
    check_points(points)
    n, rows = points.shape[-2], float64_rows(points)
    sums = degree_sums(rows, whole("t", t, 1))
    differentiable = rows.requires_grad and torch.is_grad_enabled()
    largest = _of_degree(rows, sums.argmax(-1) + 1) if differentiable else sums.amax(-1)
    return _root((2 * largest + n) / n**2).to(points.dtype)


def _of_degree(rows: Tensor, degrees: Tensor) -> Tensor:
    """The pair sum of one degree for each set (...,), with its gradient."""
    found = rows.new_zeros(degrees.shape)
    for degree in degrees.unique().tolist():
        kernel = GegenbauerSeries((0.0,) * degree + (1.0,), rows.shape[-1])
        here = degrees == degree
        found = found.masked_scatter(here, pair_reduce(rows[here], kernel=kernel))
    return found


def _root_of_gap(points: Tensor, *, exponent: float, constant: float) -> Tensor:
    """sqrt(constant * (E|x - y|^exponent - its mean over all n^2 ordered pairs))."""
    n, d = points.shape[-2:]
    kernel = Riesz(-exponent)
    minus_sum = pair_reduce(float64_rows(points), kernel=kernel)
    return _root(constant * (2 * minus_sum / n**2 - kernel.mean(d))).to(points.dtype)


def _root(squared: Tensor) -> Tensor:
    """Square root of a number that rounding may have made negative; zero gradient at zero."""
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)
