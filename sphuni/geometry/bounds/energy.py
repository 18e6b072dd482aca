"""Lower bounds on the energy of a kernel."""

import math
from typing import Any

import numpy as np

from sphuni._typing import Reduction
from sphuni.geometry.bounds._checks import check_size, evaluate
from sphuni.geometry.bounds._known import sharp_code, sharp_lines
from sphuni.geometry.bounds._levenshtein import Rule, rule
from sphuni.geometry.bounds._linear_programme import pair_bound
from sphuni.geometry.bounds._result import LowerBound
from sphuni.kernels import Kernel, Riesz, check_kernel

__all__ = ["energy_bound", "ordered_sum_bound"]


def energy_bound(
    n: int,
    d: int,
    *,
    kernel: Kernel,
    reduction: Reduction = "sum",
    antipodal: bool = False,
) -> LowerBound:
    r"""Bound the kernel energy of every set of n points on S^(d-1) from below.

    Parameters
    ----------
    n : int
        Number of points, at least 2 (at least 1 when `antipodal`).
    d : int
        Ambient dimension, at least 2.
    kernel : Kernel
        The kernel of the pair energy.
    reduction : {"sum", "mean"}, default "sum"
        Sum or mean over unordered pairs, as in `sphuni.kernel_energy`.
    antipodal : bool, default False
        Bound the energy of the 2 n points {x, -x}, the n opposite pairs included, as the measures
        define it.

    Returns
    -------
    LowerBound
        `value` is the bound; `attained`, `method`, `reason` and the certifying nodes and weights
        (or polynomial coefficients) come with it.

    Raises
    ------
    ValueError
        If n or d is out of range, or the kernel is -inf or nan somewhere, or infinite at cosine
        -1 when `antipodal`: no finite bound exists then.

    Notes
    -----
    For kernels K absolutely monotone in the cosine (chordal Riesz s >= -2, log, Gaussian,
    Laplace, Poisson) it is the universal lower bound

    .. math:: \sum_{i<j} K(\langle x_i, x_j\rangle) \ge \frac{n^2}{2} \sum_k \rho_k K(\alpha_k),

    with Levenshtein's quadrature rule of mass 1/n at 1 and nodes alpha_k. With `antipodal` it is
    the same bound on the space of lines: G(u) = K(sqrt u) + K(-sqrt u) is absolutely monotone in
    u = t^2, and the sum is at least :math:`n^2 \sum_k \rho_k G(u_k) + n K(-1)`. Sharp codes attain
    it for every such kernel; the 600-cell does not (ratio 0.99995051 at s = 1).

    The sum of angles (geodesic Riesz, s = -1) is at most :math:`\pi \lfloor n/2 \rfloor
    \lceil n/2 \rceil`: a random great hyperplane separates two points with probability angle / pi,
    and k of n points from the others in k (n - k) pairs.

    For geodesic Riesz with s > -1 in d = 2 it is the energy of equally spaced points, by Jensen's
    inequality: the kernel is convex and falls with the angle.

    For every other kernel it is Delsarte and Yudin's linear programme: the polynomial h <= K of
    degree at most 40 with non-negative Gegenbauer coefficients c_l, l >= 1, that maximises
    :math:`(n^2 c_0 - n h(1))/2`. It is solved on a grid of angles, h <= K is then checked on the
    whole interval by subdivision with second-derivative bounds (exact for a `GegenbauerSeries` of
    R^d, else estimated from second differences with a factor 2 of safety), and h is lowered by
    what remains.

    Accuracy about 1e-13 relative; 1e-10 near 1,000 nodes. Past 1,024 nodes (n about 1e6 in R^3)
    the rule of the largest size is used, which still bounds every larger n. Typical cost is under
    1 ms for the quadrature and 10 to 100 ms for the linear programme, seconds for a series of a
    thousand terms.

    References
    ----------
    P. G. Boyvalenkov, P. D. Dragnev, D. P. Hardin, E. B. Saff, M. M. Stoyanova, "Universal lower
    bounds for potential energy of spherical codes", Constructive Approximation 44 (2016) 385-415.
    doi:10.1007/s00365-016-9327-5.

    H. Cohn, A. Kumar, "Universally optimal distribution of points on spheres", J. Amer. Math.
    Soc. 20 (2007) 99-148. doi:10.1090/S0894-0347-06-00546-7.

    V. A. Yudin, "Minimum potential energy of a point system of charges", Discrete Math. Appl. 3
    (1993) 75-81. doi:10.1515/dma.1993.3.1.75.

    D. Bilyk, F. Dai, R. Matzke, "The Stolarsky principle and energy optimization on the sphere",
    Constructive Approximation 48 (2018) 31-60. doi:10.1007/s00365-017-9412-4.

    Examples
    --------
    >>> from sphuni.kernels import Riesz
    >>> bound = energy_bound(12, 3, kernel=Riesz(1.0))
    >>> bound.value, bound.attained  # the icosahedron
    (49.1652530576, True)
    >>> energy_bound(12, 3, kernel=Riesz(1.0)).nodes
    array([-1.        , -0.44721360,  0.44721360])
    """
    n, d = check_size(n, d, least=1 if antipodal else 2)
    check_kernel(kernel)
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction must be 'sum' or 'mean'; got {reduction!r}")
    if antipodal and not math.isfinite(kernel.at_minus_one):
        raise ValueError(
            f"antipodal=True needs a kernel that is finite at cosine -1; {kernel.label} is not, so "
            "that every set {x, -x} has infinite energy. Pass antipodal=False."
        )
    ordered, fields = ordered_sum_bound(n, d, kernel, lines=antipodal)
    total = ordered + n * kernel.at_minus_one if antipodal else ordered / 2
    points = 2.0 * n if antipodal else float(n)
    value = total if reduction == "sum" else total / (points * (points - 1) / 2)
    return LowerBound(value=value, reduction=reduction, **fields)


def ordered_sum_bound(
    n: int, d: int, kernel: Kernel, *, lines: bool
) -> tuple[float, dict[str, Any]]:
    """Bound the sum over ordered pairs i != j of K(t), or of K(t) + K(-t) for lines."""
    if isinstance(kernel, Riesz) and kernel.metric == "geodesic":
        if kernel.s == -1:
            return _sum_of_angles(n, lines=lines)
        if d == 2 and kernel.s > -1:
            return _equal_arcs(n, kernel, lines=lines)
    if kernel.absolutely_monotone:
        return _universal(n, d, kernel, lines=lines)
    bound = pair_bound(n, d, kernel, lines=lines)
    return float(n) * (n - 1.0) * bound.value, {
        "attained": None,
        "method": "linear programme (Delsarte, Yudin)",
        "reason": f"the kernel is not absolutely monotone in the cosine; a polynomial of degree "
        f"{bound.degree} lies below it everywhere on [-1, 1)",
        "degree": bound.degree,
        "coefficients": bound.coefficients,
    }


def _equal_arcs(n: int, kernel: Riesz, *, lines: bool) -> tuple[float, dict[str, Any]]:
    """The sum of equally spaced points: of the arcs over k gaps the mean is k times that of one."""
    steps = np.arange(1, n // 2 + 1)
    arcs = steps * ((math.pi if lines else 2 * math.pi) / n)
    p, q = 4 * np.sin(arcs / 2) ** 2, 4 * np.cos(arcs / 2) ** 2
    values = evaluate(kernel, p, q)
    if lines:
        values = values + evaluate(kernel, q, p)
    counts = np.where(2 * steps == n, 1.0, 2.0)
    return float(n) * float(counts @ values), {
        "attained": True,
        "method": "equal arcs (Jensen's inequality)",
        "reason": "the kernel is convex and falls with the angle; attained by the regular polygon",
    }


def _universal(n: int, d: int, kernel: Kernel, *, lines: bool) -> tuple[float, dict[str, Any]]:
    levenshtein = rule(n, d, lines=lines)
    values = evaluate(kernel, levenshtein.p, levenshtein.q)
    if lines:
        values = values + evaluate(kernel, levenshtein.q, levenshtein.p)
    ordered = float(n) ** 2 * float(levenshtein.weights @ values)
    if levenshtein.size < n:
        # h(1) >= h at every node, because h is a positive combination of zonal harmonics.
        ordered += (float(n) ** 2 / levenshtein.size - n) * float(values[-1])
    attained, reason = _attainment(n, d, kernel, levenshtein, lines=lines)
    return ordered, {
        "attained": attained,
        "method": "universal lower bound (Levenshtein nodes)",
        "reason": reason,
        "degree": levenshtein.strength * (2 if lines else 1),
        "nodes": levenshtein.nodes,
        "weights": levenshtein.weights,
    }


def _attainment(
    n: int, d: int, kernel: Kernel, levenshtein: Rule, *, lines: bool
) -> tuple[bool | None, str]:
    if isinstance(kernel, Riesz) and kernel.s == -2:
        return True, "the energy is the same for every set of points whose sum is zero"
    name = sharp_lines(n, d) if lines else sharp_code(n, d)
    if name is not None and levenshtein.size == n:
        return True, f"attained by {name}"
    if (n, d, lines) == (120, 4, False):
        return False, "the optimum is the 600-cell, whose energy is larger"
    return None, (
        f"polynomials of degree {levenshtein.strength}{' in t^2' if lines else ''} that touch the "
        "kernel from below at the nodes; no configuration is known to attain it"
    )


def _sum_of_angles(n: int, *, lines: bool) -> tuple[float, dict[str, Any]]:
    """Twice minus pi floor(n/2) ceil(n/2); the two angles of a pair of lines add up to pi."""
    pairs = float(n) * (n - 1) / 2 if lines else float(n // 2) * (n - n // 2)
    everywhere = "opposite points: the energy is the same for every set {x, -x}"
    return -2 * math.pi * pairs, {
        "attained": True,
        "method": "sum of angles (hyperplane count)",
        "reason": f"attained by {everywhere if lines else 'pairs of opposite points'}",
    }
