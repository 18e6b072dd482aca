r"""Levenshtein's quadrature rules, on the sphere and on the space of lines.

A rule of strength tau for n points puts the mass 1/n at cosine 1 and positive weights at other
nodes, so that polynomials of degree tau are integrated exactly. For odd tau the other nodes are
free; for even tau one of them is the far end of the interval (t = -1, or u = t^2 = 0 for lines),
and multiplying the measure by the distance from that end brings back the odd case.

In the odd case the nodes are the eigenvalues of a Jacobi matrix whose last row alone is changed.
With p_j orthonormal, the mass at the near end x = 1 is 1/n exactly when

    n = sum_(j<k) p_j(1)^2 + (b_k / b)^2 p_k(1)^2,      1 - a = b^2 p_(k-1)(1) / (b_k p_k(1)),

where b and a replace the last off-diagonal and diagonal entries. The sums of p_j(1)^2 are
dimensions of spaces of polynomials, exact integers, so that nothing is lost to cancellation.
"""

import bisect
import dataclasses
import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigvalsh_tridiagonal

__all__ = ["Rule", "polynomial_dimension", "rule"]

_NODES_MAX = 1024
_POLYGON_MAX = 2_000_000


@dataclasses.dataclass(frozen=True)
class Rule:
    """Nodes and weights beside the mass 1/size at cosine 1.

    Nodes are kept as squared distances p to a point and q to its antipode, p + q = 4, ordered by
    descending p; near p = 0 the cosine alone would lose digits. For lines the cosines are >= 0.
    """

    p: NDArray[np.float64]
    q: NDArray[np.float64]
    weights: NDArray[np.float64]
    strength: int
    size: int
    """The number of points of the rule; below the n asked for only past the largest rule."""

    @property
    def nodes(self) -> NDArray[np.float64]:
        """The cosines of the nodes, ascending."""
        return (self.q - self.p) / 4


def rule(n: int, d: int, *, lines: bool = False) -> Rule:
    """Return the rule of n points of S^(d-1), or of n lines of R^d.

    Past 1,024 nodes (n about 1e6 in R^3) the largest rule is returned, with its own smaller size.
    """
    if d == 2:
        return _polygon(min(n, _POLYGON_MAX), lines=lines)
    degrees = range(2 * _NODES_MAX)
    strength = (
        bisect.bisect_right(degrees, n, key=lambda m: polynomial_dimension(m, d, lines=lines)) - 1
    )
    largest = polynomial_dimension(2 * _NODES_MAX, d, lines=lines)
    size = min(n, largest)
    x, weights = _nodes_and_weights(size, d, strength, lines=lines)
    if lines:
        # The root would turn an error of 1e-16 at u = 0 into a cosine of 1e-8.
        root = np.sqrt(np.where(1 + x > 4e-16, (1 + x) / 2, 0.0))
        p = (1 - x) / (1 + root)
        return Rule(p, 4 - p, weights, strength, size)
    return Rule(2 - 2 * x, 2 + 2 * x, weights, strength, size)


def polynomial_dimension(strength: int, d: int, *, lines: bool) -> int:
    """Return the number of points at which the rules of this strength begin.

    It is the Delsarte-Goethals-Seidel bound: the least size that a design of this strength can
    have. For lines `strength` counts powers of u = t^2.
    """
    if strength < 0:
        return 0
    if lines:
        return math.comb(d + strength - 1, d - 1)
    k, odd = divmod(strength, 2)
    if odd:
        return 2 * math.comb(d + k - 1, d - 1)
    return math.comb(d + k - 1, d - 1) + math.comb(d + k - 2, d - 1)


def _polygon(n: int, *, lines: bool) -> Rule:
    """On the circle the rule is the regular polygon (of 2 n vertices for lines)."""
    half = np.arange(n // 2, 0, -1) * (math.pi / (2 * n if lines else n))
    weights = np.full(n // 2, 2.0 / n)
    if n % 2 == 0:
        weights[0] = 1.0 / n
    p, q = 4 * np.sin(half) ** 2, 4 * np.cos(half) ** 2
    return Rule(p, q, weights, n - 1, n)


def _nodes_and_weights(
    n: int, d: int, strength: int, *, lines: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes x in [-1, 1) and weights for the Jacobi weight of points (x = t) or lines (2u - 1)."""
    alpha = (d - 3) / 2
    beta = -0.5 if lines else alpha
    far_end = strength % 2 == 0
    count = strength // 2 if far_end else (strength + 1) // 2
    if count == 0:
        return np.array([-1.0]), np.array([1 - 1 / n])
    below, low, high = (
        polynomial_dimension(strength + step, d, lines=lines) for step in (-3, -1, 1)
    )
    diagonal, off = _jacobi_matrix(alpha, beta + far_end, count)
    before_square = (high - low) / (n - low) * off[-1] ** 2
    last = 1 - before_square / off[-1] * math.sqrt((low - below) / (high - low))
    off[-1] = math.sqrt(before_square)
    diagonal = np.append(diagonal, last)
    x = np.asarray(eigvalsh_tridiagonal(diagonal, off), dtype=np.float64)[:-1]
    weights = _christoffel(x, diagonal, off)
    if not far_end:
        return x, weights
    weights = weights * (2 * (beta + 1) / (alpha + beta + 2)) / (1 + x)
    at_end = max(1 - 1 / n - math.fsum(weights), 0.0)
    return np.append(-1.0, x), np.append(at_end, weights)


def _jacobi_matrix(
    alpha: float, beta: float, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Diagonal a_0 .. a_(k-1) and off-diagonal b_1 .. b_k for (1 - x)^alpha (1 + x)^beta."""
    total = alpha + beta
    j = np.arange(1.0, count)
    diagonal = np.empty(count)
    diagonal[0] = (beta - alpha) / (total + 2)
    diagonal[1:] = (beta - alpha) * total / ((2 * j + total) * (2 * j + total + 2))
    j = np.arange(2.0, count + 1)
    off = np.empty(count)
    off[0] = 2 / (total + 2) * math.sqrt((alpha + 1) * (beta + 1) / (total + 3))
    ratio = j * (j + alpha) * (j + beta) * (j + total)
    off[1:] = 2 / (2 * j + total) * np.sqrt(ratio / ((2 * j + total + 1) * (2 * j + total - 1)))
    return diagonal, off


def _christoffel(
    x: NDArray[np.float64], diagonal: NDArray[np.float64], off: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights 1 / sum p_j(x)^2, which stay accurate relative to themselves however small."""
    before, now = np.zeros_like(x), np.ones_like(x)
    total = now.copy()
    coupling = np.append(0.0, off)
    for j in range(len(off)):
        before, now = now, ((x - diagonal[j]) * now - coupling[j] * before) / off[j]
        total += now * now
    return 1 / total
