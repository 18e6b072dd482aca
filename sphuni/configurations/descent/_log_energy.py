"""The logarithm of a positive pair energy, and its minimisation where the energy itself is tiny."""

import dataclasses

import torch
from torch import Tensor

from sphuni.configurations.descent._objectives import energy_objective
from sphuni.configurations.descent.minimize import Minima, Objective, minimize
from sphuni.configurations.starts._random import spacing
from sphuni.kernels import Kernel, OfBase

__all__ = ["log_energy", "minimize_log_energy", "steepness"]

_LEAST = 1e-300


def steepness(kernel: Kernel, distance: float) -> float:
    """The a for which a kernel falls like r^-2a at a distance; inf if it underflows there."""
    p = torch.tensor(distance**2, dtype=torch.float64)
    value, slope = kernel.value_and_derivative(p, 4 - p)
    return float(0.5 * p * slope / value) if float(value) > _LEAST else float("inf")


def minimize_log_energy(
    kernel: Kernel,
    starts: Tensor,
    power: float,
    a: float,
    *,
    tolerance: float,
    max_iterations: int,
    deadline: float,
) -> Minima:
    """Minimise log(sum K^power) / a from starts (b, n, d), where K^power falls like r^-2a."""
    _, n, d = starts.shape
    return minimize(
        log_energy(kernel, power, a, d),
        starts,
        tolerance=tolerance,
        largest_step=0.4 * spacing(n, d) / (1 + 0.02 * a),
        max_iterations=max_iterations,
        deadline=deadline,
    )


def log_energy(kernel: Kernel, power: float, a: float, d: int) -> Objective:
    """Return the objective log(sum K^power) / a; flat where the sum underflows."""
    energy = energy_objective(_Power(kernel, power), d, "blockwise")

    def objective(x: Tensor) -> tuple[Tensor, Tensor]:
        total, gradient = energy(x)
        total = total.clamp_min(_LEAST)
        return total.log() / a, gradient / (a * total)

    return objective


@dataclasses.dataclass(frozen=True)
class _Power(OfBase):
    """A positive kernel to a power in (0, 1]: the same wells, less deep."""

    power: float

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return f"({self.base.label})^{self.power:g}"

    @property
    def at_one(self) -> float:
        """K of two coincident points."""
        return self.base.at_one**self.power

    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at squared distance `p` to the point and `q` to its antipode."""
        return self.base.value(p, q).clamp_min(_LEAST) ** self.power

    def derivative(self, p: Tensor, q: Tensor) -> Tensor:
        """dK/dt, the derivative with respect to the cosine."""
        return self.value_and_derivative(p, q)[1]

    def value_and_derivative(self, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """K and dK/dt together, with one evaluation of the base."""
        value, slope = self.base.value_and_derivative(p, q)
        value = value.clamp_min(_LEAST)
        raised = value**self.power
        return raised, self.power * raised * (slope / value)

    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""
        value, slope = self.base.value_and_derivative(p, q)
        value = value.clamp_min(_LEAST)
        ratio = slope / value
        bend = self.base.second(p, q) / value + (self.power - 1) * ratio.square()
        return self.power * value**self.power * bend
