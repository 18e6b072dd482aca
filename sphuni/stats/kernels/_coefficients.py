"""Gegenbauer coefficients in closed form: E[f(T) P_k(T)] for k = 0 .. count."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sphuni.special import harmonic_dimension

__all__ = ["bessel_ratios", "chord_power", "hemisphere", "log_chord", "sine_power", "times_cosine"]

_FLOAT = NDArray[np.float64]
_STEPS = 3000


def dimensions(d: int, count: int) -> _FLOAT:
    """d_k for k = 1 .. count."""
    return np.array([float(harmonic_dimension(k, d)) for k in range(1, count + 1)])


def chord_power(power: float, d: int, count: int) -> _FLOAT:
    """Eigenvalues of |x - y|^power, power > 1 - d, for k = 0 .. count (Funk and Hecke)."""
    s = -power
    log_mean = (
        (d - 2 - s) * math.log(2)
        + special.gammaln(d / 2)
        + special.gammaln((d - 1 - s) / 2)
        - 0.5 * math.log(math.pi)
        - special.gammaln(d - 1 - s / 2)
    )
    j = np.arange(count)
    ratios = (s / 2 + j) / (d - 1 - s / 2 + j)
    return np.asarray(math.exp(log_mean) * np.concatenate([[1.0], np.cumprod(ratios)]))


def log_chord(d: int, count: int) -> _FLOAT:
    """Eigenvalues of -log |x - y| for k = 1 .. count: (1/2) B(k, d - 1)."""
    k = np.arange(1.0, count + 1)
    return np.asarray(0.5 * np.exp(special.betaln(k, d - 1.0)))


def sine_power(beta: float, d: int, count: int) -> _FLOAT:
    r"""Eigenvalues of :math:`(1 - t^2)^\beta` for k = 0 .. count, zero at odd k.

    :math:`E[(1-T^2)^\beta]\,(\tfrac12)_m (-\beta)_m / ((\tfrac{d-1}2)_m (\tfrac d2 + \beta)_m)` at
    k = 2 m, by Saalschütz's sum.
    """
    half = 0.5 * (d - 1)
    log_mean = special.betaln(0.5, half + beta) - special.betaln(0.5, half)
    j = np.arange(count // 2)
    ratios = (0.5 + j) * (j - beta) / ((half + j) * (0.5 * d + beta + j))
    values = np.zeros(count + 1)
    values[::2] = math.exp(log_mean) * np.concatenate([[1.0], np.cumprod(ratios)])
    return values


def times_cosine(eigenvalues: _FLOAT, d: int) -> _FLOAT:
    """Eigenvalues of t f(t) from those of f, one degree fewer, by the recurrence of P_k."""
    k = np.arange(eigenvalues.size - 1)
    below = np.concatenate([[0.0], eigenvalues[:-2]])
    if d == 2:
        scale_up, scale_down = np.where(k == 0, 1.0, 0.5), np.where(k == 0, 0.0, 0.5)
    else:
        scale_up, scale_down = (k + d - 2) / (2 * k + d - 2), k / (2 * k + d - 2)
    return np.asarray(scale_up * eigenvalues[1:] + scale_down * below)


def hemisphere(d: int, count: int) -> _FLOAT:
    """E[1(T > 0) P_k(T)] for k = 1 .. count, zero at even k."""
    log_density = special.gammaln(d / 2) - special.gammaln((d - 1) / 2) - 0.5 * math.log(math.pi)
    j = np.arange((count - 1) // 2)
    ratios = -(0.5 + j) / (0.5 * (d + 1) + j)
    values = np.zeros(count)
    values[::2] = math.exp(log_density) / (d - 1) * np.concatenate([[1.0], np.cumprod(ratios)])
    return values


def bessel_ratios(kappa: float, d: int, count: int) -> _FLOAT:
    """I_(nu+k)(kappa) / I_nu(kappa), nu = d/2 - 1, for k = 1 .. count, by backward recurrence.

    Ratios do not underflow where the Bessel functions themselves do. The recurrence starts from a
    bound of Amos' kind, whose error is of the order kappa^-2 and falls on the way: a kappa however
    large takes no more than some thousand steps.
    """
    nu = 0.5 * d - 1.0
    start = count + 32 + int(min(kappa, _STEPS))
    order, steps = nu + start + 1.0, np.empty(start)
    ratio = kappa / (order - 0.5 + math.hypot(order + 0.5, kappa))
    for k in range(start, 0, -1):
        ratio = kappa / (2.0 * (nu + k) + kappa * ratio)
        steps[k - 1] = ratio
    return np.asarray(np.cumprod(steps[:count]))
