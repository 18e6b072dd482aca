"""Lower bounds on the covering radius of n points, or n lines."""

import math

from sphuni.geometry.bounds._checks import check_size
from sphuni.geometry.bounds._proven import COVERINGS
from sphuni.geometry.bounds._result import LowerBound
from sphuni.special import cap_angle

__all__ = ["covering_bound"]

_Candidate = tuple[float, bool | None, str, str]


def covering_bound(n: int, d: int, *, antipodal: bool = False) -> LowerBound:
    r"""Bound the covering radius of every set of n points on S^(d-1) from below.

    Parameters
    ----------
    n : int
        Number of points, at least 1.
    d : int
        Ambient dimension, at least 2.
    antipodal : bool, default False
        Bound the covering radius of the 2 n points {x, -x}.

    Returns
    -------
    LowerBound
        `value` is an angle in radians.

    Notes
    -----
    ======================== ==============================================================
    circle                   pi / n, and pi / (2 n) for lines; attained
    hemisphere (n <= d)      pi / 2: n <= d points lie in a closed hemisphere; attained by a
                             centred simplex (pi for n = 1)
    simplex (n = d + 1)      arccos(1 / d): the inradius of a simplex is at most 1 / d of its
                             circumradius; attained
    cross-polytope           pi / 3 for n <= 8 in R^4; attained for n = 8
    Fejes Toth (d = 3)       cos = cot(w) / sqrt 3, w = n pi / (6 (n - 2)); attained for
                             n = 3, 4, 6, 12
    proven optima (d = 3)    5 and 7 points (Schuette), 8 (Wimmer), 10 (G. Fejes Toth): attained,
                             and fewer points cover no better
    lines, n < d             pi / 2, whatever the lines
    lines, n = d             arccos(1 / sqrt d): with A the matrix of the lines, the mean of
                             (A^-1 e)^2 over the signs e is trace (A A^T)^-1 >= d; attained by
                             an orthonormal frame
    cap measure              n caps cover the sphere only if each has measure 1 / n
    ======================== ==============================================================

    The bounds for 2 n points serve n lines too. Cost under 0.1 ms.

    References
    ----------
    L. Fejes Toth, "Lagerungen in der Ebene, auf der Kugel und im Raum", 2nd ed., Springer, 1972.
    doi:10.1007/978-3-642-65234-9.

    K. Schuette, "Ueberdeckungen der Kugel mit hoechstens acht Kreisen", Math. Ann. 129 (1955)
    181-186. doi:10.1007/BF01362364.

    G. Fejes Toth, "Kreisueberdeckungen der Sphaere", Studia Sci. Math. Hungar. 4 (1969) 225-247.

    L. Wimmer, "Covering the sphere with equal circles", Discrete Comput. Geom. 57 (2017) 763-781.

    K. Boeroeczky Jr., "Finite Packing and Covering", Cambridge University Press, 2004, which
    reports the theorem of L. Dalla, D. G. Larman, P. Mani-Levitska and C. Zong (2000) on eight
    points of S^3. doi:10.1017/CBO9780511546587.

    Examples
    --------
    >>> import math
    >>> math.degrees(covering_bound(12, 3).value)  # the icosahedron
    37.3773681
    """
    n, d = check_size(n, d, least=1)
    candidates = _line_bounds(n, d) if antipodal else _point_bounds(n, d)
    if d == 3:
        candidates += _proven(n, lines=antipodal)
    value, attained, method, reason = max(candidates, key=lambda candidate: candidate[0])
    return LowerBound(value=value, attained=attained, method=method, reason=reason)


def _point_bounds(n: int, d: int) -> list[_Candidate]:
    if n == 1:
        return [(math.pi, True, "single point", "the opposite point is at angle pi")]
    if d == 2:
        return [(math.pi / n, True, "circle", "attained by the regular polygon")]
    if n <= d:
        return [(math.pi / 2, True, "hemisphere", "attained by a simplex centred at the origin")]
    if n == d + 1:
        return [(math.acos(1 / d), True, "inscribed simplex", "attained by the regular simplex")]
    bounds = [_cap_measure(n, d)]
    if d == 3:
        bounds.append(_fejes_toth(n))
    if d == 4 and n <= 8:
        reason = "attained by the cross-polytope" if n == 8 else "more points cover no worse"
        bounds.append((math.pi / 3, True if n == 8 else None, "cross-polytope", reason))
    return bounds


def _line_bounds(n: int, d: int) -> list[_Candidate]:
    if d == 2:
        return [(math.pi / (2 * n), True, "circle", "attained by lines at equal angles")]
    if n < d:
        return [(math.pi / 2, True, "hemisphere", "some direction is orthogonal to all lines")]
    if n == d:
        value = math.acos(math.sqrt(1 / d))
        return [(value, True, "orthonormal frame", "attained by an orthonormal frame")]
    return _point_bounds(2 * n, d)


def _proven(n: int, *, lines: bool) -> list[_Candidate]:
    """Optima of as many points of S^2 or more, none of which is a set {x, -x}."""
    found: list[_Candidate] = []
    for size, (cosine, author) in COVERINGS.items():
        if size >= (2 * n if lines else n):
            attained = True if size == n and not lines else None
            reason = f"proved by {author}" + ("" if attained else "; fewer points cover no better")
            found.append((math.acos(cosine), attained, f"proven optimum of {size} points", reason))
    return found


def _cap_measure(n: int, d: int) -> _Candidate:
    return float(cap_angle(1.0 / n, d)), False, "cap measure", "caps that cover must overlap"


def _fejes_toth(n: int) -> _Candidate:
    """Circumradius of the equilateral spherical triangle of area 4 pi / (2 n - 4).

    1 - cos R is formed from the small angle w - pi/6, so that nothing cancels for large n.
    """
    excess = math.pi / (3 * (n - 2))
    w = math.pi / 6 + excess
    gap = math.sin(excess) / (math.sin(math.pi / 6) * math.sin(w)) / math.sqrt(3)
    radius = 2 * math.asin(math.sqrt(gap / 2))
    exact = n in (3, 4, 6, 12)
    reason = "attained by a regular polyhedron" if exact else "equality for 3, 4, 6 and 12 points"
    return radius, exact, "Fejes Toth", reason
