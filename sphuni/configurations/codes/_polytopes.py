"""Regular polytopes of three and four dimensions, and the families of every dimension."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

_PHI = (1.0 + math.sqrt(5.0)) / 2.0
_INVERSE_PHI = _PHI - 1.0
_ROOT_5 = math.sqrt(5.0)


def polygon(n: int) -> NDArray[np.float64]:
    """List the vertices of the regular n-gon, by octants so that exact zeros stay exact."""
    octant, rest = np.divmod(8 * np.arange(n) + n // 2, n)
    angle = (rest - n // 2) * (math.pi / (4 * n))
    x, y = np.cos(angle), np.sin(angle)
    half, odd = math.sqrt(0.5), octant % 2 == 1
    x, y = np.where(odd, half * (x - y), x), np.where(odd, half * (x + y), y)
    quarter = octant // 2 % 4
    points = np.stack([np.choose(quarter, [x, -y, -x, y]), np.choose(quarter, [y, x, -y, -x])])
    # Adding zero turns -0.0 into 0.0.
    return np.ascontiguousarray(points.T) + 0.0


def simplex(d: int) -> NDArray[np.float64]:
    """List the vertices of the regular simplex: the centred identity in Helmert's basis."""
    k = np.arange(1, d + 1)
    helmert = np.tril(np.ones((d, d + 1)))
    helmert[k - 1, k] = -k
    helmert *= np.sqrt((d + 1) / (d * k * (k + 1.0)))[:, None]
    return np.ascontiguousarray(helmert.T)


def cross_polytope(d: int) -> NDArray[np.float64]:
    """List the vertices of the cross-polytope: e_1, -e_1, e_2, -e_2, ..."""
    return np.kron(np.eye(d), np.array([[1.0], [-1.0]])) + 0.0


def cube(d: int) -> NDArray[np.float64]:
    """List the vertices of the cube in d dimensions."""
    return np.asarray(signs(d) / math.sqrt(d))


def signs(count: int) -> NDArray[np.float64]:
    """List all rows of `count` signs, in binary order starting at all plus."""
    bits = (np.arange(2**count)[:, None] >> np.arange(count - 1, -1, -1)) & 1
    return np.asarray(1.0 - 2.0 * bits)


def icosahedron() -> NDArray[np.float64]:
    """List the cyclic permutations of (0, +-1, +-phi)."""
    return _unit(_spread([0.0, 1.0, _PHI], _cyclic(3)), 1.0 + _PHI**2)


def dodecahedron() -> NDArray[np.float64]:
    """Join the cube (+-1, +-1, +-1) with the cyclic permutations of (0, +-1/phi, +-phi)."""
    rectangles = _spread([0.0, _INVERSE_PHI, _PHI], _cyclic(3))
    return _unit(np.concatenate([signs(3), rectangles]), 3.0)


def cell_24() -> NDArray[np.float64]:
    """Join the cross-polytope with the half-integer cube: the unit Hurwitz quaternions."""
    return np.concatenate([cross_polytope(4), cube(4)])


def cell_600() -> NDArray[np.float64]:
    """Join the 24-cell with the even permutations of (+-phi, +-1, +-1/phi, 0)/2."""
    icosians = _spread([0.5 * _PHI, 0.5, 0.5 * _INVERSE_PHI, 0.0], _even(4))
    return np.concatenate([cell_24(), icosians])


def cell_120() -> NDArray[np.float64]:
    """List the 600 vertices in Coxeter's coordinates, of squared length 8."""
    square, inverse_square = _PHI + 1.0, 1.0 - _INVERSE_PHI
    orbits = [
        _spread([0.0, 0.0, 2.0, 2.0], _all(4)),
        _spread([1.0, 1.0, 1.0, _ROOT_5], _all(4)),
        _spread([inverse_square, _PHI, _PHI, _PHI], _all(4)),
        _spread([_INVERSE_PHI, _INVERSE_PHI, _INVERSE_PHI, square], _all(4)),
        _spread([0.0, inverse_square, 1.0, square], _even(4)),
        _spread([0.0, _INVERSE_PHI, _PHI, _ROOT_5], _even(4)),
        _spread([_INVERSE_PHI, 1.0, _PHI, 2.0], _even(4)),
    ]
    return _unit(np.concatenate(orbits), 8.0)


def fibonacci_points(n: int) -> NDArray[np.float64]:
    """Build the Fibonacci lattice on S^2 at the midpoints of n zones of equal area."""
    k = np.arange(n)
    z = (n - 1.0 - 2.0 * k) / n
    radius = np.sqrt((1.0 - z) * (1.0 + z))
    longitude = 2.0 * math.pi * np.mod(k * _INVERSE_PHI, 1.0)
    return np.stack([radius * np.cos(longitude), radius * np.sin(longitude), z], axis=1)


def _unit(rows: NDArray[np.float64], norm_squared: float) -> NDArray[np.float64]:
    return rows / math.sqrt(norm_squared)


def _spread(values: list[float], permutations: list[tuple[int, ...]]) -> NDArray[np.float64]:
    """List the distinct rows that sign changes and the given permutations make of `values`."""
    rows: dict[tuple[float, ...], None] = {}
    choices = [(value, -value) if value else (0.0,) for value in values]
    for permutation in permutations:
        for signed in itertools.product(*choices):
            rows[tuple(signed[i] for i in permutation)] = None
    return np.array(list(rows))


def _all(count: int) -> list[tuple[int, ...]]:
    return list(itertools.permutations(range(count)))


def _cyclic(count: int) -> list[tuple[int, ...]]:
    return [tuple((i - shift) % count for i in range(count)) for shift in range(count)]


def _even(count: int) -> list[tuple[int, ...]]:
    def inversions(row: tuple[int, ...]) -> int:
        return sum(a > b for a, b in itertools.combinations(row, 2))

    return [row for row in _all(count) if inversions(row) % 2 == 0]
