"""Kernels of the projected tests in dimensions without a closed form, from tables."""

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from sphuni.special import cosine_cdf
from sphuni.stats.kernels._zonal import ConeKernel

__all__ = ["ProjectedKernel"]

_FLOAT = NDArray[np.float64]
_CELLS = {"cap": 4096, "cvm": 2048, "ad": 1024}


@dataclasses.dataclass(frozen=True)
class ProjectedKernel(ConeKernel):
    r"""Kernel :math:`\int P(g \cdot x \le u, g \cdot y \le u) - F(u)^2 \, dW(u)` of a test.

    Parameters
    ----------
    weight : {"cap", "cvm", "ad"}
        W: a unit mass at `tau`, F itself, or dF / (F (1 - F)).
    d : int
        Ambient dimension.
    tau : float
        Cosine of the cap, in [0, 1); 0 for the others.

    Notes
    -----
    Turning y away from x moves mass out of the joint cap at the rate

    .. math:: \psi'(\theta) = -\frac1{2\pi} \int (1 - u^2 / \cos^2(\theta/2))_+^{(d-2)/2} dW,

    which is analytic in the angle :math:`\varphi = \arcsin(\sin(\theta/2) / \sqrt{1 - \tau^2})`.
    The kernel is a cubic Hermite table in phi whose error is about 1e-12; for caps of S^2 it is
    :math:`t(1-t) - (\varphi - \tau \arctan(\tau \tan \varphi)) / \pi`.
    """

    weight: str
    d: int
    tau: float = 0.0

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return f"projected {self.weight}, d={self.d}"

    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at squared distance `p` to the point and `q` to its antipode."""
        return self._look_up(p, q, 0)

    def derivative(self, p: Tensor, q: Tensor) -> Tensor:
        """dK/dt, the derivative with respect to the cosine."""
        inside, turn = self._turn(p, q)
        return torch.where(inside, self._look_up(p, q, 1) * turn, 0.0)

    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""
        inside, turn = self._turn(p, q)
        bend = -4.0 * turn**3 * (0.25 * (p - q) + self.tau**2)
        second = self._look_up(p, q, 2) * turn**2 + self._look_up(p, q, 1) * bend
        return torch.where(inside, second, 0.0)

    @property
    def at_one(self) -> float:
        """K of two coincident points."""
        if (self.weight, self.d) == ("cap", 3):
            return 0.25 * (1.0 - self.tau**2)
        return _table(self.weight, self.d, self.tau)[0][0]

    @property
    def at_minus_one(self) -> float:
        """K of two antipodal points."""
        if (self.weight, self.d) == ("cap", 3):
            return -0.25 * (1.0 - self.tau) ** 2
        return _table(self.weight, self.d, self.tau)[0][-1]

    def mean(self, d: int) -> float:
        """0 in its own dimension."""
        return 0.0 if d == self.d else super().mean(d)

    def _turn(self, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """Whether the caps still overlap, and d phi / dt there."""
        room = 0.25 * q - self.tau**2
        inside = room > 0
        product = torch.where(inside, 0.25 * p * room, 1.0)
        return inside, -0.25 * torch.rsqrt(product)

    def _look_up(self, p: Tensor, q: Tensor, order: int) -> Tensor:
        """The kernel or a derivative in phi: closed for caps of S^2, else from the table."""
        if (self.weight, self.d) == ("cap", 3):
            return self._sphere_cap(0.25 * p, 0.25 * q, order)
        values, slopes = (
            torch.from_numpy(part).to(dtype=p.dtype, device=p.device)
            for part in _table(self.weight, self.d, self.tau)
        )
        cells = values.numel() - 1
        width = 0.5 * math.pi / cells
        room = (0.25 * q - self.tau**2).clamp(min=0.0)
        place = torch.atan2(torch.sqrt(0.25 * p), torch.sqrt(room)) / width
        index = place.detach().long().clamp(0, cells - 1)
        w = place - index
        f0, f1 = values[index], values[index + 1]
        g0, g1 = width * slopes[index], width * slopes[index + 1]
        square = 3.0 * (f1 - f0) - 2.0 * g0 - g1
        cube = 2.0 * (f0 - f1) + g0 + g1
        if order == 0:
            return f0 + w * (g0 + w * (square + w * cube))
        if order == 1:
            return (g0 + w * (2.0 * square + 3.0 * w * cube)) / width
        return (2.0 * square + 6.0 * w * cube) / width**2

    def _sphere_cap(self, near: Tensor, far: Tensor, order: int) -> Tensor:
        """Caps of S^2: t (1 - t) - (phi - tau atan(tau tan phi)) / pi, or a derivative in phi."""
        room = (far - self.tau**2).clamp(min=0.0)
        rise, run = torch.sqrt(near), torch.sqrt(room)
        if order == 0:
            turn = torch.atan2(rise, run) - self.tau * torch.atan2(self.tau * rise, run)
            return 0.25 * (1.0 - self.tau**2) - turn / math.pi
        if order == 1:
            return -room / (math.pi * far)
        return 2.0 * self.tau**2 / math.pi * rise * run / far.square()


@functools.lru_cache(maxsize=64)
def _table(weight: str, d: int, tau: float) -> tuple[_FLOAT, _FLOAT]:
    """Values and slopes in phi of psi at evenly spaced phi in [0, pi/2]."""
    # in R^4 the Anderson-Darling kernel has a logarithm at coincidence, which wants smaller cells
    cells = 4096 if (weight, d) == ("ad", 4) else _CELLS[weight]
    phi = np.linspace(0.0, 0.5 * math.pi, cells + 1)
    cosine = np.sqrt(1.0 - (1.0 - tau**2) * np.sin(phi) ** 2)
    if weight == "cap":
        share = ((1.0 - tau**2) * np.cos(phi) ** 2 / cosine**2) ** (0.5 * d - 1.0)
    else:
        change = _cramer if weight == "cvm" else _anderson
        share = change(np.sin(phi), np.cos(phi), d)
    turn = 2.0 * math.sqrt(1.0 - tau**2) * np.cos(phi) / cosine if tau else np.full_like(phi, 2.0)
    slopes = -share / (2.0 * math.pi) * turn
    rise = scipy.interpolate.CubicSpline(phi, slopes).antiderivative()(phi)
    cap = float(cosine_cdf(-tau, d))
    start = {"cap": cap * (1.0 - cap), "cvm": 1.0 / 6.0, "ad": 1.0}[weight]
    return start + rise, slopes


def _cramer(sine: _FLOAT, cosine: _FLOAT, d: int) -> _FLOAT:
    return _integral(sine, cosine, d, lambda u, room: np.ones_like(u))


def _anderson(sine: _FLOAT, cosine: _FLOAT, d: int) -> _FLOAT:
    def tails(u: _FLOAT, room: _FLOAT) -> _FLOAT:
        """Density-free weight (1 - u^2)^((d-1)/2) / (F (1 - F)), finite at both ends."""
        a = 0.5 * (d - 1)
        small = 0.5 * special.betainc(a, 0.5, np.minimum(room, 1.0))
        small = np.where(room < 0.5, small, 0.5 * special.betaincc(0.5, a, u * u))
        return np.asarray(1.0 / np.maximum(small * (1.0 - small), 1e-300))

    return _integral(sine, cosine, d, tails)


def _integral(
    sine: _FLOAT, cosine: _FLOAT, d: int, weight: Callable[[_FLOAT, _FLOAT], _FLOAT]
) -> _FLOAT:
    """E over u = cosine v of (1 - v^2)^((d-2)/2) times a weight, by the tanh-sinh rule in v."""
    step = 0.04 / max(1.0, math.sqrt(d / 8.0))
    x = np.arange(0.5 * step, 3.4, step)
    lift = 0.5 * math.pi * np.sinh(x)
    v, room_v = np.tanh(lift), np.cosh(lift) ** -2.0
    measure = 0.5 * math.pi * np.cosh(x) * room_v * step
    log_density = special.gammaln(d / 2) - special.gammaln((d - 1) / 2) - 0.5 * math.log(math.pi)
    keep = measure * room_v ** (0.5 * d - 1.0) > 1e-40
    v, room_v, measure = v[keep], room_v[keep], measure[keep]
    u = cosine[:, None] * v
    room = room_v + (sine[:, None] * v) ** 2
    inner = room_v ** (0.5 * d - 1.0) * room ** (0.5 * (d - 3)) * weight(u, room)
    return np.asarray(2.0 * math.exp(log_density) * cosine * (inner @ measure))
