"""A quadrature in the logarithm of the angle, for kernels that are steep or have a cone.

Near an end point a kernel and the density of the angle are powers of the angle times a smooth
function, so in u = log(angle) their product is smooth however narrow the kernel; and it is formed
by its logarithm, so that neither a kernel of 1e400 nor a density of 1e-400 is lost.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sphuni.special._measure import log_gamma_half_step

if TYPE_CHECKING:
    from sphuni.kernels._base import Kernel

__all__ = ["Masses", "masses"]

_FLOAT = NDArray[np.float64]

_LEAST = -340.0  # log of the least angle; the square of a smaller one would underflow
_DROP = 50.0  # parts below exp(-50) of the peak are not looked at
_GROWTH = 1.25  # of the panels, away from the peak
_SWING = 10.0  # the most that degree times angle changes over a panel
_LARGEST_LOG = 700.0


class Masses(NamedTuple):
    """Cosines, and the parts of an expectation that belong to them."""

    cosines: _FLOAT
    parts: _FLOAT


def masses(
    kernel: "Kernel", d: int, *, centre: float = 0.0, power: int = 1, degree: int = 0, count: int
) -> Masses:
    """Parts of E (K - centre)^power by `count` nodes a panel, panels fit for P_0 .. P_degree."""
    near = _half(kernel, d, kernel.order_at_one, False, centre, power, degree, count)
    far = _half(kernel, d, kernel.order_at_minus_one, True, centre, power, degree, count)
    return Masses(*(np.concatenate(pair) for pair in zip(near, far, strict=True)))


def _half(
    kernel: "Kernel",
    d: int,
    order: float,
    flip: bool,
    centre: float,
    power: int,
    degree: int,
    count: int,
) -> Masses:
    """The parts of the half sphere about the point, or about its antipode if `flip`."""
    constant = log_gamma_half_step(0.5 * (d - 1)) - 0.5 * math.log(math.pi)

    def log_part(u: _FLOAT) -> tuple[_FLOAT, _FLOAT]:
        """Logarithm and sign of the integrand in u."""
        angle = np.exp(u)
        changed, sign = _changed(kernel, angle, flip, centre, power)
        return constant + (d - 2) * _log_sine(angle) + u + changed, sign

    edges = _panels(lambda u: log_part(u)[0], d, degree)
    points, weights = np.polynomial.legendre.leggauss(count)
    middle, reach = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    # the integrand falls like exp(slope u) below the first edge, where one part stands for it
    slope = d - 1 - power * order
    u = np.append((middle[:, None] + reach[:, None] * points).ravel(), edges[0])
    scale = np.append((reach[:, None] * weights).ravel(), 1 / slope)
    logs, sign = log_part(u)
    cosines = np.cos(np.exp(u)) * (-1 if flip else 1)
    return Masses(cosines, sign * scale * np.exp(logs))


def _changed(
    kernel: "Kernel", angle: _FLOAT, flip: bool, centre: float, power: int
) -> tuple[_FLOAT, _FLOAT]:
    """Logarithm of |K - centre|^power, and the sign of the power."""
    near, far = (torch.from_numpy(4 * f(angle / 2) ** 2) for f in (np.sin, np.cos))
    places = (far, near) if flip else (near, far)
    known = kernel.log_value(*places)
    with np.errstate(divide="ignore", over="ignore"):
        if known is None:
            value = kernel.value(*places).numpy()
            logs, sign = np.log(np.abs(value)), np.sign(value)
        else:
            logs, sign = known.numpy(), np.ones(len(angle))
        if centre != 0.0:
            moved = sign * np.exp(np.minimum(logs, _LARGEST_LOG)) - centre
            logs = np.where(logs < _LARGEST_LOG, np.log(np.abs(moved)), logs)
            sign = np.sign(moved)
    return power * logs, sign**power


def _log_sine(angle: _FLOAT) -> _FLOAT:
    """Logarithm of the sine, with its digits near a right angle where it is small."""
    cosine = np.minimum(np.cos(angle), 0.8)
    return np.where(cosine < 0.8, 0.5 * np.log1p(-(cosine**2)), np.log(np.sin(angle)))


def _panels(log_part: Callable[[_FLOAT], _FLOAT], d: int, degree: int) -> _FLOAT:
    """Edges that grow away from the peak of the integrand, over all that it holds."""
    low, high = _LEAST, math.log(0.5 * math.pi)
    grid = np.linspace(low, high, 4001)
    logs = log_part(grid)
    peak = _peak(log_part, grid, logs)
    held = np.flatnonzero(logs > log_part(np.array([peak]))[0] - _DROP)
    if len(held) > 0:
        low = grid[max(held[0] - 1, 0)]
        high = grid[min(held[-1] + 1, len(grid) - 1)]
    else:
        low, high = max(low, peak - (grid[1] - grid[0])), min(high, peak + (grid[1] - grid[0]))
    # a product of powers of the angle, of its sine and of exponentials is no narrower than this
    width = 0.5 / math.sqrt(d)
    steps = int(math.log1p((high - low) * (_GROWTH - 1) / width) / math.log(_GROWTH)) + 1
    reach = width * (_GROWTH ** np.arange(steps + 1) - 1) / (_GROWTH - 1)
    edges = np.concatenate([peak - reach[:0:-1], peak + reach])
    edges = np.concatenate([[low], edges[(edges > low) & (edges < high)], [high]])
    return edges if degree == 0 else _refined(edges, degree)


def _peak(log_part: Callable[[_FLOAT], _FLOAT], grid: _FLOAT, logs: _FLOAT) -> float:
    """Where the integrand is largest."""
    for _ in range(3):
        best = int(np.argmax(np.nan_to_num(logs, nan=-np.inf)))
        grid = np.linspace(grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)], 201)
        logs = log_part(grid)
    return float(grid[np.argmax(np.nan_to_num(logs, nan=-np.inf))])


def _refined(edges: _FLOAT, degree: int) -> _FLOAT:
    """Cut panels until polynomials of this degree swing but a few times over each."""
    angles = np.exp(edges)
    pieces = np.maximum(1, np.ceil(degree * np.diff(angles) / _SWING)).astype(int)
    parts = [
        np.linspace(a, b, k, endpoint=False)
        for a, b, k in zip(edges[:-1], edges[1:], pieces, strict=True)
    ]
    return np.concatenate([*parts, edges[-1:]])
