"""Sharp codes: the configurations that are known to attain the linear programming bounds.

A sharp code has m inner products and is a design of strength 2m - 1 (Cohn and Kumar 2007, table
1); for lines strength 2m - 2 in t^2 suffices when some of them are orthogonal. Such a code
minimises every absolutely monotone energy and has the largest separation.
"""

import math

__all__ = ["sharp_code", "sharp_lines"]

_CODES = {
    (12, 3): "the icosahedron",
    (16, 5): "the Clebsch code of 16 points (5-demicube)",
    (27, 6): "the Schlaefli code of 27 points",
    (56, 7): "the 56 points of the kissing configuration of E8",
    (240, 8): "the roots of E8",
    (112, 21): "the code of 112 points",
    (162, 21): "the code of 162 points",
    (100, 22): "the Higman-Sims code of 100 points",
    (275, 22): "the McLaughlin code of 275 points",
    (891, 22): "the code of 891 points",
    (552, 23): "the 552 points of the 276 equiangular lines",
    (4600, 23): "the code of 4600 points",
    (196560, 24): "the minimal vectors of the Leech lattice",
}

_LINES = {
    (36, 6): "the roots of E6",
    (63, 7): "the roots of E7",
    (120, 8): "the roots of E8",
    (2300, 23): "the code of 4600 points",
    (98280, 24): "the minimal vectors of the Leech lattice",
}

_EQUIANGULAR = frozenset(
    [(6, 16), (7, 28), (15, 36), (21, 126), (22, 176), (23, 276), (28, 64), (35, 120)]
)


def sharp_code(n: int, d: int) -> str | None:
    """Name a sharp code of n points in R^d, if one is known."""
    if n == 2:
        return "a pair of opposite points"
    if n <= d + 1:
        return f"the regular simplex of {n} points"
    if d == 2:
        return f"the regular polygon of {n} points"
    if n == 2 * d:
        return "the cross-polytope"
    if (n, d) in _CODES:
        return _CODES[n, d]
    q = _isotropic_order(n, d)
    return f"the isotropic subspaces over the field of {q * q} elements" if q else None


def sharp_lines(n: int, d: int) -> str | None:
    """Name a sharp set of n lines through the origin of R^d, if one is known."""
    if n <= d:
        return "an orthonormal frame"
    if d == 2:
        return f"{n} lines at equal angles in the plane"
    if n == d + 1:
        return f"the lines of the regular simplex of {n} points"
    if _equiangular_tight_frame(n, d):
        return f"an equiangular tight frame of {n} lines"
    if (n, d) in _LINES:
        return _LINES[n, d]
    if 2 * n == d * (d + 2) and _is_power_of_four(d):
        return f"the {d // 2 + 1} mutually unbiased bases"
    return None


def _equiangular_tight_frame(n: int, d: int) -> bool:
    """Whether a real equiangular tight frame of n lines in R^d, or its complement, is known."""
    if n == 2 * d and n % 4 == 2 and _is_prime_power(n - 1):
        return True
    return (d, n) in _EQUIANGULAR or (n - d, n) in _EQUIANGULAR


def _isotropic_order(n: int, d: int) -> int:
    """Return q with n = (q + 1)(q^3 + 1), d = q (q^3 + 1) / (q + 1), or 0."""
    q = round(n**0.25) if n < 10**15 else 0
    for order in range(max(q - 2, 2), q + 1):
        if (order + 1) * (order**3 + 1) == n and order * (order**3 + 1) == d * (order + 1):
            return order if _is_prime_power(order) else 0
    return 0


def _is_prime_power(value: int) -> bool:
    divisor = next((k for k in range(2, math.isqrt(value) + 1) if value % k == 0), value)
    while value % divisor == 0 and value > 1:
        value //= divisor
    return value == 1


def _is_power_of_four(value: int) -> bool:
    return value > 1 and value & (value - 1) == 0 and value.bit_length() % 2 == 1
