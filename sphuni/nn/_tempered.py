"""A Riesz kernel that stays finite at coincident points."""

import dataclasses
import functools

import torch
from torch import Tensor

from sphuni._numbers import finite, positive
from sphuni._typing import Metric
from sphuni.kernels import Kernel, OfBase, Riesz

__all__ = ["FLOOR", "Tempered", "tempered_riesz"]

FLOOR = 1e-2
_STEEPEST = {torch.float32: 1e18, torch.float64: 1e250}


def tempered_riesz(s: float, metric: Metric, floor: float, dtype: torch.dtype) -> Kernel:
    """The Riesz kernel above distance `floor`, raised where its slope would overflow `dtype`."""
    # before the cache, which takes True for 1 and knows a tensor by its place, not by its value
    if metric not in ("chordal", "geodesic"):
        raise ValueError(f"metric must be 'chordal' or 'geodesic'; got {metric!r}")
    return _kept(finite("s", s), metric, positive("floor", floor), dtype)


@functools.lru_cache(maxsize=64)
def _kept(s: float, metric: Metric, floor: float, dtype: torch.dtype) -> Kernel:
    steepest = _STEEPEST[dtype] ** (-1 / (s + 2)) if s > 0 else 0.0
    return Tempered(Riesz(s, metric), min(1.0, max(floor, steepest)))


@dataclasses.dataclass(frozen=True)
class Tempered(OfBase):
    """`base` at chordal distances above `floor`; below, its tangent line in the cosine.

    The value is finite at coincident points, convex and once continuously differentiable, and the
    definition is untouched wherever all points are at least `floor` apart.
    """

    base: Riesz
    floor: float = FLOOR
    _edge: tuple[float, float, float] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep the squared floor, and the value and the slope of the base kernel there."""
        p = torch.tensor(self.floor**2, dtype=torch.float64)
        value, slope = self.base.value(p, 4 - p), self.base.derivative(p, 4 - p)
        object.__setattr__(self, "_edge", (float(p), float(value), float(slope)))

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return f"{self.base.label}, tempered below {self.floor:.3g}"

    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at squared distance `p` to the point and `q` to its antipode."""
        edge, level, slope = self._edge
        inside = p < edge
        safe = self.base.value(torch.where(inside, edge, p), torch.where(inside, 4 - edge, q))
        return torch.where(inside, level + 0.5 * slope * (edge - p), safe)

    def derivative(self, p: Tensor, q: Tensor) -> Tensor:
        """dK/dt, the derivative with respect to the cosine."""
        edge, _, slope = self._edge
        inside = p < edge
        safe = self.base.derivative(torch.where(inside, edge, p), torch.where(inside, 4 - edge, q))
        return torch.where(inside, slope, safe)

    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""
        edge = self._edge[0]
        inside = p < edge
        safe = self.base.second(torch.where(inside, edge, p), torch.where(inside, 4 - edge, q))
        return torch.where(inside, 0.0, safe)

    def value_and_derivative(self, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """K and dK/dt together; tiles without any close pair pay nothing for the floor."""
        if torch.compiler.is_compiling() or bool(p.amin() < self._edge[0]):
            return self.value(p, q), self.derivative(p, q)
        return self.base.value_and_derivative(p, q)

    @property
    def at_one(self) -> float:
        """K of two coincident points, finite."""
        edge, level, slope = self._edge
        return level + 0.5 * slope * edge

    @property
    def apart(self) -> Kernel:
        """The base kernel, but for a floor that lies above 2^-3."""
        return self.base if self._edge[0] <= 2.0**-6 else self
