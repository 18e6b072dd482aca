"""Upper bounds on the smallest angle between n points, or n lines."""

import math

from sphuni.geometry.bounds._checks import angle_of, check_size
from sphuni.geometry.bounds._known import sharp_code, sharp_lines
from sphuni.geometry.bounds._levenshtein import rule
from sphuni.geometry.bounds._proven import PACKINGS, PACKINGS_OF_LINES
from sphuni.geometry.bounds._result import UpperBound
from sphuni.special import cap_angle

__all__ = ["separation_bound"]


def separation_bound(n: int, d: int, *, antipodal: bool = False) -> UpperBound:
    r"""Bound the separation of every set of n points on S^(d-1) from above.

    Parameters
    ----------
    n : int
        Number of points, at least 2.
    d : int
        Ambient dimension, at least 2.
    antipodal : bool, default False
        Bound the smallest angle between n lines, in (0, pi/2]: the separation of {x, -x}.

    Returns
    -------
    UpperBound
        `value` is an angle in radians, the best of the bounds below, and `method` names it.

    Notes
    -----
    ============================ ======================================================
    exact on the circle          2 pi / n, and pi / n for lines
    Rankin                       arccos(-1 / (n - 1)) for n <= d + 1, pi / 2 for n <= 2 d
    Levenshtein                  the largest node of the quadrature rule of n points
    Fejes Toth (d = 3, n >= 3)   cos = (cot^2 w - 1) / 2, w = n pi / (6 (n - 2))
    cap packing                  n caps of half the angle have total measure <= 1
    frame (n <= d lines)         pi / 2
    Welch, Levenshtein (lines)   the largest node of the rule of n lines; for
                                 d <= n <= d (d + 1) / 2 cos^2 = (n - d) / (d (n - 1))
    Bukh, Cox (lines)            1 / cos = n (2 + (k - 1) sqrt(k + 2)) / (k (k + 1)) - 1 with
                                 k = n - d, for n > k (k + 1) / 2
    orthoplex (lines)            cos^2 >= 1 / d for n > d (d + 1) / 2
    proven optima                of as many points or fewer, each proved by itself
    ============================ ======================================================

    The bounds for 2 n points serve n lines too. Attained by the sharp codes, by subsets of the
    cross-polytope for n <= 2 d, by subsets of maximal mutually unbiased bases (d = 4^k), in
    R^3 for n = 3, 4, 6, 12, and by the proven optima: 7 to 11, 13, 14 and 24 points in R^3; 10, 24
    and 120 in R^4; 56 in R^20, 50 and 77 in R^21; both ends of the mutually unbiased bases of
    R^16, R^64, R^256 and R^1024; 5, 7 and 8 lines in R^3; 60 in R^4; and k (k + 1) m / 2 lines in
    k dimensions fewer, k = 2, 3, 7, 23. Cost under 1 ms below 100 nodes, 20 ms at n = 1e6 in R^3.

    References
    ----------
    V. I. Levenshtein, "Designs as maximum codes in polynomial metric spaces", Acta Appl. Math. 29
    (1992) 1-82. doi:10.1007/BF00053379.

    R. A. Rankin, "The closest packing of spherical caps in n dimensions", Proc. Glasgow Math.
    Assoc. 2 (1955) 139-144. doi:10.1017/S2040618500033219.

    L. Fejes Toth, "Ueber die Abschaetzung des kuerzesten Abstandes zweier Punkte eines auf einer
    Kugelflaeche liegenden Punktsystems", Jahresber. Dtsch. Math.-Ver. 53 (1943) 66-68.

    J. H. Conway, R. H. Hardin, N. J. A. Sloane, "Packing lines, planes, etc.: packings in
    Grassmannian spaces", Experimental Math. 5 (1996) 139-159.
    doi:10.1080/10586458.1996.10504585.

    B. Bukh, C. Cox, "Nearly orthogonal vectors and small antipodal spherical codes", Israel J.
    Math. 238 (2020) 359-388. doi:10.48550/arXiv.1803.02949.

    H. Cohn, D. de Laat, N. Leijenhorst, "Optimality of spherical codes via exact semidefinite
    programming bounds" (2024), doi:10.48550/arXiv.2403.16874, for the points, and D. G. Mixon,
    H. Parshall, "The optimal packing of eight points in the real projective plane" (2019),
    doi:10.48550/arXiv.1902.10177, for the lines; `reason` names who proved the others.

    L. R. Welch, "Lower bounds on the maximum cross correlation of signals", IEEE Trans. Inform.
    Theory 20 (1974) 397-399. doi:10.1109/TIT.1974.1055219.

    Examples
    --------
    >>> import math
    >>> math.degrees(separation_bound(240, 8).value)  # the roots of E8
    60.0000000
    >>> separation_bound(28, 7, antipodal=True).attained
    True
    """
    n, d = check_size(n, d, least=2)
    candidates = _line_bounds(n, d) if antipodal else _point_bounds(n, d)
    value, method = min(candidates)
    attained, reason = _attainment(n, d, method, lines=antipodal)
    return UpperBound(value=value, attained=attained, method=method, reason=reason)


def _point_bounds(n: int, d: int) -> list[tuple[float, str]]:
    if d == 2:
        return [(2 * math.pi / n, "circle")]
    if n <= d + 1:
        return [(_angle_of_cosine(-1 / (n - 1)), "Rankin (simplex)")]
    bounds = [
        (angle_of(float(rule(n, d).p[-1])), "Levenshtein"),
        (2 * float(cap_angle(1.0 / n, d)), "cap packing"),
    ]
    if n <= 2 * d:
        bounds.append((math.pi / 2, "Rankin (orthoplex)"))
    if d == 3:
        bounds.append((_fejes_toth(n), "Fejes Toth"))
    return bounds + _proven(n, PACKINGS.get(d, {}))


def _line_bounds(n: int, d: int) -> list[tuple[float, str]]:
    if n <= d:
        return [(math.pi / 2, "orthonormal frame")]
    if d == 2:
        return [(math.pi / n, "circle")]
    welch = 2 * n <= d * (d + 1)
    name = "Welch" if welch else "Levenshtein (lines)"
    bounds = [(angle_of(float(rule(n, d, lines=True).p[-1])), name)]
    if not welch:
        bounds.append((_angle_of_cosine(math.sqrt(1 / d)), "orthoplex (lines)"))
        bounds += _point_bounds(2 * n, d)
    else:
        bounds += _bukh_cox(n, n - d)
        if d == 3:
            bounds.append((_fejes_toth(2 * n), "Fejes Toth"))
    return bounds + _proven(n, PACKINGS_OF_LINES.get(d, {}))


def _proven(n: int, optima: dict[int, tuple[float, str]]) -> list[tuple[float, str]]:
    """Optima of n or fewer, which more do not better."""
    return [
        (_angle_of_cosine(cosine), f"proven optimum of {size}")
        for size, (cosine, _) in optima.items()
        if size <= n
    ]


def _bukh_cox(n: int, k: int) -> list[tuple[float, str]]:
    """Bound n lines of R^(n - k); up to k (k + 1) / 2 lines Welch's bound is as good.

    With M the projection to the kernel of the Gram matrix, k = trace M is at most the largest
    cosine times the sum of |M_ij|, i != j, and no projection of rank k has a larger sum than
    that of equal multiples of k (k + 1) / 2 equiangular lines would have.
    """
    if 2 * n <= k * (k + 1):
        return []
    mean = (2 + (k - 1) * math.sqrt(k + 2)) / (k * (k + 1))
    return [(_angle_of_cosine(1 / (n * mean - 1)), "Bukh and Cox (lines)")]


def _angle_of_cosine(t: float) -> float:
    return angle_of(2 - 2 * t)


def _fejes_toth(n: int) -> float:
    """Side of the equilateral spherical triangle of area 4 pi / (2 n - 4), for n >= 3.

    3 - cot^2 w is formed from the small angle w - pi/6, so that nothing cancels for large n.
    """
    excess = math.pi / (3 * (n - 2))
    w = math.pi / 6 + excess
    cot = math.cos(w) / math.sin(w)
    gap = math.sin(excess) / (math.sin(math.pi / 6) * math.sin(w))
    return angle_of(gap * (math.sqrt(3) + cot))


def _attainment(n: int, d: int, method: str, *, lines: bool) -> tuple[bool | None, str]:
    name = sharp_lines(n, d) if lines else sharp_code(n, d)
    if name is not None:
        return True, f"attained by {name}"
    if not lines and n <= 2 * d:
        return True, "attained by points of the cross-polytope"
    if method == "orthoplex (lines)" and _unbiased_bases(d) >= n:
        return True, "attained by lines of mutually unbiased bases"
    optima = (PACKINGS_OF_LINES if lines else PACKINGS).get(d, {})
    if n in optima:
        return True, f"the optimum is known: {optima[n][1]}"
    k = n - d
    if method == "Bukh and Cox (lines)" and k in (2, 3, 7, 23) and 2 * n % (k * (k + 1)) == 0:
        return True, f"attained by the complement of equiangular lines of R^{k}, repeated"
    if method == "Fejes Toth":
        return False, "equality holds for 3, 4, 6 and 12 points only"
    return None, "no configuration is known to attain it"


def _unbiased_bases(d: int) -> int:
    """Return how many lines real mutually unbiased bases can have, 0 where not known."""
    full = d * (d + 2) // 2
    return full if d % 2 == 0 and d > 2 and sharp_lines(full, d) else 0
