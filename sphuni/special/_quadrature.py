"""Gauss quadrature for the law of the cosine, and Gegenbauer coefficients by it."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigvalsh_tridiagonal

from sphuni.special._checks import check_count, check_dimension
from sphuni.special._gegenbauer import harmonic_dimension

_SPARE_NODES = 128


class CosineQuadrature(NamedTuple):
    """Nodes and weights of a Gauss rule for the law of the cosine."""

    nodes: NDArray[np.float64]
    weights: NDArray[np.float64]


def cosine_quadrature(d: int, count: int) -> CosineQuadrature:
    r"""Gauss rule for the cosine of two independent uniform points on S^(d-1).

    Parameters
    ----------
    d : int
        Ambient dimension, at least 2.
    count : int
        Number of nodes, at least 1.

    Returns
    -------
    CosineQuadrature
        Named tuple ``(nodes, weights)`` of float64 arrays of shape (count,): nodes ascending in
        (-1, 1) and symmetric about 0, weights summing to 1.

    Notes
    -----
    The density is proportional to :math:`(1 - t^2)^{(d-3)/2}`, and polynomials of degree up to
    2 count - 1 are integrated exactly. Chebyshev's closed form for d = 2; otherwise the nodes are
    eigenvalues of the Jacobi matrix (Golub and Welsch) and the weights are Christoffel numbers
    from the orthonormal recurrence, which keeps even tiny weights accurate relative to
    themselves and cannot overflow with d. O(count^2) time.

    References
    ----------
    G. H. Golub and J. H. Welsch, "Calculation of Gauss quadrature rules", Mathematics of
    Computation 23 (1969) 221-230, doi:10.1090/S0025-5718-69-99647-1.

    Examples
    --------
    >>> nodes, weights = cosine_quadrature(5, 8)
    >>> float(weights @ nodes**2)  # the mean of t^2 is 1/d
    0.2
    """
    d = check_dimension(d)
    count = check_count(count, "count", 1)
    if d == 2:
        nodes = np.sin(np.arange(1 - count, count, 2) * (0.5 * math.pi / count))
        return CosineQuadrature(nodes, np.full(count, 1.0 / count))
    raw = np.asarray(eigvalsh_tridiagonal(np.zeros(count), _off_diagonal(count - 1, d)), float)
    nodes = 0.5 * (raw - raw[::-1])
    # Where the squares overflow the weight is below 1e-300 and counts as 0.
    with np.errstate(over="ignore", invalid="ignore"):
        weights = 1.0 / np.sum(_orthonormal(count - 1, nodes, d) ** 2, axis=0)
    weights = np.nan_to_num(weights, nan=0.0)
    weights = weights + weights[::-1]
    return CosineQuadrature(nodes, weights / weights.sum())


def gegenbauer_coefficients(
    function_of_t: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    degree_max: int,
    d: int,
    *,
    count: int | None = None,
) -> NDArray[np.float64]:
    r"""Coefficients of a zonal function in the Gegenbauer polynomials of `gegenbauer`.

    Parameters
    ----------
    function_of_t : callable
        Maps an array of cosines in (-1, 1) to the values of the function there.
    degree_max : int
        Highest degree, at least 0.
    d : int
        Ambient dimension, at least 2.
    count : int, optional
        Quadrature nodes, more than `degree_max`; degree_max + 128 by default.

    Returns
    -------
    numpy.ndarray of float64, shape (degree_max + 1,)
        The :math:`a_l` of :math:`f(t) = \sum_l a_l P_l(t)`, with
        :math:`a_l = Z(d, l)\, E[f(T) P_l(T)]` and Z the `harmonic_dimension`. So :math:`a_0` is
        the mean of f over two independent uniform points.

    Raises
    ------
    ValueError
        If `count` is too small for `degree_max`.
    OverflowError
        If the harmonic dimension of `degree_max` is beyond what float64 can scale by.

    Notes
    -----
    Exact to rounding for polynomials of degree up to 2 count - 1 - degree_max and spectrally
    accurate for smooth functions; a singular f (Riesz kernels) converges slowly in `count`, and
    closed forms should be preferred. The absolute error is about
    :math:`10^{-16} \sqrt{Z(d, l)}` times the root mean square of f, which is what float64 values
    of f allow in high dimension.

    Examples
    --------
    >>> gegenbauer_coefficients(lambda t: 3 * t**2 + t, 2, 3).round(12)  # P_0 + P_1 + 2 P_2
    array([1., 1., 2.])
    """
    degree_max = check_count(degree_max, "degree_max", 0)
    count = degree_max + _SPARE_NODES if count is None else check_count(count, "count", 1)
    if count <= degree_max:
        raise ValueError(f"count must exceed degree_max = {degree_max}; got {count}.")
    nodes, weights = cosine_quadrature(d, count)
    values = np.asarray(function_of_t(nodes), dtype=np.float64)
    if values.shape != nodes.shape:
        raise ValueError(
            f"function_of_t must return one value per cosine, shape {nodes.shape}; "
            f"got shape {values.shape}."
        )
    roots = np.array([_root_of_dimension(degree, d) for degree in range(degree_max + 1)])
    carried = weights > 0.0
    basis = _orthonormal(degree_max, nodes[carried], d)
    coefficients: NDArray[np.float64] = roots * (basis @ (weights * values)[carried])
    return coefficients


def _off_diagonal(count: int, d: int) -> NDArray[np.float64]:
    """Off-diagonal b_1..b_count of the Jacobi matrix of the cosine's law."""
    k = np.arange(1.0, count + 1)
    numerator = k * (k + d - 3)
    denominator = (2 * k + d - 2) * (2 * k + d - 4)
    if d == 2 and count > 0:
        numerator[0], denominator[0] = 1.0, 2.0
    off_diagonal: NDArray[np.float64] = np.sqrt(numerator / denominator)
    return off_diagonal


def _orthonormal(degree_max: int, t: NDArray[np.float64], d: int) -> NDArray[np.float64]:
    """Polynomials of degree 0..degree_max that are orthonormal for the cosine's law."""
    b = _off_diagonal(degree_max, d)
    values = np.empty((degree_max + 1, *t.shape))
    values[0] = 1.0
    if degree_max > 0:
        values[1] = t / b[0]
    for k in range(1, degree_max):
        values[k + 1] = (t * values[k] - b[k - 1] * values[k - 1]) / b[k]
    return values


def _root_of_dimension(degree: int, d: int) -> float:
    """Square root of the harmonic dimension, also where the integer exceeds float64."""
    dimension = harmonic_dimension(degree, d)
    if dimension < 1 << 1000:
        return math.sqrt(dimension)
    return math.exp(0.5 * math.log(dimension))
