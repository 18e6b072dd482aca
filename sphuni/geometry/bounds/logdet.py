"""Upper bounds on the log-determinant of a kernel's Gram matrix."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from sphuni.geometry.bounds._checks import check_size
from sphuni.geometry.bounds._result import UpperBound
from sphuni.geometry.bounds.energy import ordered_sum_bound
from sphuni.kernels import GegenbauerSeries, Kernel, check_kernel
from sphuni.special import harmonic_dimension

__all__ = ["logdet_bound"]

_DEGREE_MAX = 32
_NOISE = 1e-13
_MET = 1e-11


def logdet_bound(n: int, d: int, *, kernel: Kernel, antipodal: bool = False) -> UpperBound:
    r"""Bound the log-determinant of the Gram matrix of every set of n points from above.

    Parameters
    ----------
    n : int
        Number of points, at least 1.
    d : int
        Ambient dimension, at least 2.
    kernel : Kernel
        A kernel that is finite and positive at cosine 1; the bound concerns positive definite
        Gram matrices, the only ones that have a log-determinant.
    antipodal : bool, default False
        Bound the log-determinant of the 2 n points {x, -x}.

    Returns
    -------
    UpperBound
        `value` bounds log det K(G); -inf where no Gram matrix of that size is regular.

    Raises
    ------
    ValueError
        If K(1) is not a positive number.

    Notes
    -----
    Hadamard: the trace is n K(1), hence log det <= n log K(1). It is sharpened by what forces
    eigenvalues apart. (i) 1^T K 1 / n is at least K(1) plus the energy bound's share, and bounds
    the largest eigenvalue from below. (ii) For a positive definite kernel sum_l a_l P_l with
    a_l >= 0, the M_L largest eigenvalues, M_L = dim of the polynomials of degree <= L, add up to
    at least :math:`n \sum_{l \le L} a_l`. Among spectra with such partial sums the determinant is
    largest for the slopes of the least concave majorant (majorisation), which is the bound.

    For absolutely monotone kernels attained for n <= d + 1 by the regular simplex and, with
    `antipodal`, for n <= d by an orthonormal frame; for others where the simplex has that value.
    Antipodal Gram matrices split into K(G) + K(-G) and K(G) - K(-G), bounded one by one.

    References
    ----------
    A. W. Marshall, I. Olkin, B. C. Arnold, "Inequalities: Theory of Majorization and Its
    Applications", 2nd ed., Springer, 2011. doi:10.1007/978-0-387-68276-1.

    Examples
    --------
    >>> from sphuni.kernels import Gaussian
    >>> logdet_bound(4, 3, kernel=Gaussian(1.0)).attained
    True
    """
    n, d = check_size(n, d, least=1)
    check_kernel(kernel)
    if not (math.isfinite(kernel.at_one) and kernel.at_one > 0):
        raise ValueError(
            f"kernel must be finite and positive at cosine 1; {kernel.label} is {kernel.at_one} "
            "there and its Gram matrix has no log-determinant. Use a Gaussian or Laplace kernel."
        )
    series = _positive_series(n, d, kernel)
    if antipodal:
        far = kernel.at_minus_one
        even = _part(n, d, kernel, kernel.at_one + far, series, parity=0)
        odd = _part(n, d, kernel, kernel.at_one - far, series, parity=1)
        value, simplex = even + odd, n <= d
    else:
        value = _part(n, d, kernel, kernel.at_one, series, parity=None)
        simplex = n <= d + 1
    known = kernel.absolutely_monotone or (not antipodal and _simplex(n, kernel) >= value - _MET)
    attained = True if simplex and known else None
    best = "an orthonormal frame" if antipodal else "the regular simplex"
    return UpperBound(
        value=value,
        attained=attained,
        method="Hadamard with forced eigenvalues" if series is not None else "Hadamard",
        reason=f"attained by {best}" if attained else "no configuration is known to attain it",
        coefficients=series,
    )


def _simplex(n: int, kernel: Kernel) -> float:
    """The log-determinant of n points at equal cosines -1/(n-1)."""
    if n == 1:
        return math.log(kernel.at_one)
    other = float(kernel(np.array([-1 / (n - 1)]))[0])
    top, rest = kernel.at_one + (n - 1) * other, kernel.at_one - other
    return math.log(top) + (n - 1) * math.log(rest) if top > 0 and rest > 0 else -math.inf


def _positive_series(n: int, d: int, kernel: Kernel) -> NDArray[np.float64] | None:
    """Gegenbauer coefficients whose polynomial spaces fit in n dimensions, if all are >= 0."""
    if not (kernel.absolutely_monotone or isinstance(kernel, GegenbauerSeries)):
        return None
    total, degree = 0, -1
    while degree < _DEGREE_MAX and total + harmonic_dimension(degree + 1, d) <= 2 * n:
        degree += 1
        total += harmonic_dimension(degree, d)
    known = len(kernel.coefficients) - 1 if isinstance(kernel, GegenbauerSeries) else 0
    coefficients = kernel.gegenbauer(d, max(degree, known, 0))
    return coefficients if np.all(coefficients > -_NOISE * kernel.at_one) else None


def _part(
    n: int,
    d: int,
    kernel: Kernel,
    diagonal: float,
    series: NDArray[np.float64] | None,
    *,
    parity: int | None,
) -> float:
    """Bound the log-determinant of one block with a constant diagonal."""
    if diagonal <= 0 or n > _rank(d, kernel, parity):
        return -math.inf
    counts, sums = [0.0, float(n)], [0.0, n * diagonal]
    if series is not None:
        scale = 1 if parity is None else 2
        dimension, mass = 0, 0.0
        for degree in range(parity or 0, len(series), scale):
            dimension += harmonic_dimension(degree, d)
            mass += scale * max(float(series[degree]), 0.0)
            if dimension >= n:
                break
            counts.append(float(dimension))
            sums.append(n * min(mass - _NOISE * diagonal, diagonal))
    if n > 1 and parity != 1 and kernel.absolutely_monotone:
        ordered, _ = ordered_sum_bound(n, d, kernel, lines=parity == 0)
        counts.append(1.0)
        sums.append(diagonal + ordered / n)
    return _log_slopes(np.array(counts), np.array(sums))


def _rank(d: int, kernel: Kernel, parity: int | None) -> float:
    """Return the dimension of the functions that the kernel spans, inf for all but polynomials."""
    if not isinstance(kernel, GegenbauerSeries) or kernel.d != d:
        return math.inf
    return sum(
        harmonic_dimension(degree, d)
        for degree, coefficient in enumerate(kernel.coefficients)
        if coefficient != 0 and parity in (None, degree % 2)
    )


def _log_slopes(counts: NDArray[np.float64], sums: NDArray[np.float64]) -> float:
    """Sum of the logarithms of the slopes of the least concave majorant."""
    order = np.lexsort((-sums, counts))
    hull: list[tuple[float, float]] = []
    for x, y in zip(counts[order].tolist(), sums[order].tolist(), strict=True):
        if hull and x == hull[-1][0]:
            continue
        while len(hull) > 1 and _below(hull[-2], hull[-1], (x, y)):
            hull.pop()
        hull.append((x, y))
    total = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(hull):
        slope = (y1 - y0) / (x1 - x0)
        total += (x1 - x0) * math.log(slope) if slope > 0 else -math.inf
    return total


def _below(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether b lies on or below the chord from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])
