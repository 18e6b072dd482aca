"""Moments and Gegenbauer coefficients of a kernel under the law of a random cosine.

Two independent uniform points on S^(d-1) have an angle theta with density proportional to
sin(theta)^(d-2). In low dimension the end points carry weight and the kernel may be singular
there, so the integral is taken adaptively with the algebraic factors split off; from d = 40 on
the end points rarely matter and a Gauss rule in the cosine serves wherever two orders agree.
Steep kernels, whose mass may lie where neither would look, are summed on panels about their peak.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import torch
from scipy import special

from sphuni import _numbers
from sphuni.kernels._graded import masses
from sphuni.special import cosine_quadrature, gegenbauer, harmonic_dimension

if TYPE_CHECKING:
    from sphuni.kernels._base import Kernel

__all__ = [
    "check_degree",
    "check_dimension",
    "coefficients",
    "dimension_ratios",
    "from_ratios",
    "mean",
    "variance",
]

_GAUSS_FROM = 40
_GAUSS_NODES = (200, 256)
_AGREE = 1e-13
_ROUNDING = 4 * np.finfo(np.float64).eps
_FLAT = 40
_STEEP_ORDER, _STEEP_RANGE = 20.0, 20.0
_GRADED_NODES = (16, 24)
_CHUNK = 4096
_TINIEST = np.finfo(np.float64).tiny


def check_dimension(d: int) -> int:
    """Return an ambient dimension as a plain int, or refuse what is none."""
    return _numbers.whole("d", d, 2, "the ambient dimension")


def check_degree(degree_max: int) -> int:
    """Return a highest degree as a plain int, or refuse what is none."""
    return _numbers.whole("degree_max", degree_max, 0)


def mean(kernel: "Kernel", d: int) -> float:
    """E K, or inf where the kernel is not integrable."""
    if max(kernel.order_at_one, kernel.order_at_minus_one) >= d - 1:
        return float("inf")
    return _expectation(kernel, d, 0.0, power=1)


def variance(kernel: "Kernel", d: int) -> float:
    """Var K about its own mean, or inf where the kernel is not square integrable."""
    if 2 * max(kernel.order_at_one, kernel.order_at_minus_one) >= d - 1:
        return float("inf")
    return _expectation(kernel, d, kernel.mean(d), power=2)


def coefficients(kernel: "Kernel", d: int, degree_max: int) -> np.ndarray:
    """a_l = dim_l E[K(t) P_l(t)] by a rule for all degrees, adaptively where two do not agree."""
    if max(kernel.order_at_one, kernel.order_at_minus_one) >= d - 1:
        raise ValueError(f"{kernel.label} has no Gegenbauer series in R^{d}: its mean is infinite")
    dimensions = _dimensions(d, degree_max)
    steep = _steep(kernel, 1)
    smooth = not (kernel.singular or kernel.singular_opposite)
    if (d >= _GAUSS_FROM or smooth) and not steep:
        coarse, fine = (
            _project(kernel, d, degree_max, count + 2 * degree_max) for count in _GAUSS_NODES
        )
        largest = np.abs(fine).max()
        if largest > 0 and np.allclose(coarse, fine, rtol=0.0, atol=_AGREE * largest):
            return dimensions * fine
    coarse, fine = (_project_graded(kernel, d, degree_max, count) for count in _GRADED_NODES)
    same = np.isfinite(fine).all() and np.allclose(
        coarse, fine, rtol=0.0, atol=_AGREE * np.abs(fine).max()
    )
    if steep or same:
        return dimensions * fine
    projections = [
        _adaptive(kernel, lambda value: value, d, 1, lambda t, l=l: gegenbauer(l, t, d)[l])
        for l in range(degree_max + 1)
    ]
    return dimensions * np.array(projections)


def from_ratios(first: float, log_first: float, ratios: np.ndarray) -> np.ndarray:
    """Coefficients a_0 .. a_L from the first and the ratios of each to the one before.

    By sums of logarithms where the first underflows, as later ones need not.
    """
    with np.errstate(over="ignore"):  # coefficients beyond float64 are inf
        if abs(first) >= _TINIEST:
            return np.cumprod(np.concatenate([[first], ratios]))
        return np.exp(np.cumsum(np.concatenate([[log_first], np.log(ratios)])))


def dimension_ratios(d: int, degree_max: int) -> np.ndarray:
    """Harmonics of degree l + 1 over those of degree l, for l from 0 to L - 1."""
    degree = np.arange(1.0, degree_max)
    later = (2 * degree + d) * (degree + d - 2) / ((2 * degree + d - 2) * (degree + 1))
    return np.concatenate([[float(d)], later])[:degree_max]


def _dimensions(d: int, degree_max: int) -> np.ndarray:
    dimensions = np.empty(degree_max + 1)
    for degree in range(degree_max + 1):
        try:
            dimensions[degree] = float(harmonic_dimension(degree, d))
        except OverflowError:
            raise OverflowError(
                f"degree_max = {degree_max} is too high in R^{d}: there are more than 1e308 "
                f"harmonics of degree {degree}, and a coefficient by quadrature would be noise. "
                f"Ask for degrees up to {degree - 1}"
            ) from None
    return dimensions


def _project(kernel: "Kernel", d: int, degree_max: int, count: int) -> np.ndarray:
    nodes, weights = cosine_quadrature(d, count)
    return np.asarray(gegenbauer(degree_max, nodes, d) @ (weights * kernel(nodes)))


def _project_graded(kernel: "Kernel", d: int, degree_max: int, count: int) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite, the caller refuses
        cosines, parts = masses(kernel, d, degree=degree_max, count=count)
        total = np.zeros(degree_max + 1)
        for start in range(0, len(parts), _CHUNK):
            piece = slice(start, start + _CHUNK)
            total += gegenbauer(degree_max, cosines[piece], d) @ parts[piece]
    return total


def _expectation(kernel: "Kernel", d: int, centre: float, *, power: int) -> float:
    """E (K - centre)^power."""
    if _steep(kernel, power):
        found = masses(kernel, d, centre=centre, power=power, count=_GRADED_NODES[-1])
        return math.fsum(found.parts)

    def change(value: np.ndarray) -> np.ndarray:
        return value if power == 1 else (value - centre) ** power

    by_gauss = _by_gauss(kernel, change, d) if d >= _GAUSS_FROM else None
    return _adaptive(kernel, change, d, power, np.ones_like) if by_gauss is None else by_gauss


def _steep(kernel: "Kernel", power: int) -> bool:
    """Whether the `power`-th power of a positive kernel spans so much that rules may miss it."""
    places = torch.tensor([0.0, 2.0, 4.0], dtype=torch.float64, device="cpu")
    logs = kernel.log_value(places, places.flip(0))
    if logs is None:
        return False
    order = max(kernel.order_at_one, kernel.order_at_minus_one)
    if order > 0:
        return power * order > _STEEP_ORDER
    return bool(power * (logs.max() - logs.min()) > _STEEP_RANGE)


def _by_gauss(kernel: "Kernel", change: Callable[[np.ndarray], np.ndarray], d: int) -> float | None:
    """E change(K) by a Gauss rule, if two orders agree and nothing can hide beyond the nodes.

    They need agree no better than roundings of K allow, which matter where it hardly varies.
    """
    coarse, fine = (cosine_quadrature(d, count) for count in _GAUSS_NODES)
    value = kernel(fine.nodes)
    if not value.any():
        return None  # two sums of nothing agree
    found = change(value)
    answer = float(fine.weights @ found)
    error = abs(answer - float(coarse.weights @ change(kernel(coarse.nodes))))
    rounding = float(fine.weights @ np.abs(change(value * (1 + _ROUNDING)) - found))
    ends = np.abs(change(kernel(np.array([-1.0, 1.0]))))
    hidden = float(fine.weights[0] * ends[np.isfinite(ends)].max(initial=0.0))
    small = _AGREE * abs(answer)
    return answer if error <= small + rounding and hidden <= small else None


def _adaptive(
    kernel: "Kernel",
    change: Callable[[np.ndarray], np.ndarray],
    d: int,
    power: int,
    factor: Callable[[np.ndarray], np.ndarray],
) -> float:
    """Integrate over theta in two halves, each with its end point's algebraic factor as weight.

    Where that factor is a high power the end point carries no weight, and the power would overflow.
    """
    log_constant = np.log(special.poch((d - 1) / 2, 0.5)) - 0.5 * np.log(np.pi)

    def half(order: float, flip: bool) -> float:
        exponent = d - 2 - power * order
        least = 10.0 ** -min(30.0, 250.0 / max(power * order, 1.0))

        def integrand(angle: float) -> float:
            near, far = 4 * np.sin(angle / 2) ** 2, 4 * np.cos(angle / 2) ** 2
            p, q = (far, near) if flip else (near, far)
            value = change(np.array(_value(kernel, p, q)))
            cosine = np.cos(angle) * (-1 if flip else 1)
            return float(value * factor(np.array(cosine)))

        def smooth(angle: float) -> float:
            angle = max(angle, least)  # the limit; at 0 it would be inf * 0
            ratio = np.sin(angle) / angle
            return float(integrand(angle) * angle ** (power * order) * ratio ** (d - 2))

        def weighted(angle: float) -> float:
            density = np.exp(log_constant + (d - 2) * np.log(np.sin(angle)))
            return integrand(angle) * float(density) if density > 0 else 0.0

        if exponent >= _FLAT:
            steps = np.pi / 2 - np.array([16.0, 4.0, 1.0]) / np.sqrt(exponent)
            return _quad(weighted, points=steps[steps > 0])
        constant = np.exp(log_constant)
        if exponent == 0.0 or (order == 0.0 and exponent > 0):
            return float(constant * _quad(lambda angle: smooth(angle) * angle**exponent))
        return float(constant * _quad(smooth, weight="alg", wvar=(exponent, 0.0)))

    return half(kernel.order_at_one, False) + half(kernel.order_at_minus_one, True)


def _quad(function: Callable[[float], float], **options: Any) -> float:
    """Integrate over [0, pi/2]."""
    # full_output silences the notice that 2e-14 is at the limit of round-off, which is intended
    options |= {"full_output": 1, "epsabs": 0.0, "epsrel": 2e-14, "limit": 400}
    return float(scipy.integrate.quad(function, 0.0, np.pi / 2, **options)[0])


def _value(kernel: "Kernel", p: float, q: float) -> float:
    return float(kernel.value(*torch.tensor([p, q], dtype=torch.float64, device="cpu")))
