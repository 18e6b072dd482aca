"""Problems of least energy: Thomson, logarithmic, Riesz, and points taken as lines."""

import dataclasses
import functools
import math
import sys
from collections.abc import Sequence

import numpy as np
import torch

from sphuni.configurations._clock import late
from sphuni.configurations.certificate import Certificate
from sphuni.configurations.descent import _opposites
from sphuni.configurations.descent._log_energy import minimize_log_energy, steepness
from sphuni.configurations.descent._objectives import minimize_energy
from sphuni.configurations.descent._packing_energy import minimize_packing_energy
from sphuni.configurations.descent.minimize import Minima, as_tensor
from sphuni.configurations.descent.polish import (
    Smooth,
    exact_sum,
    kernel_derivatives,
    newton,
    newton_seconds,
)
from sphuni.configurations.problems._base import Array, Problem, Relaxed, find_record, regular_set
from sphuni.configurations.records import Record
from sphuni.configurations.starts._moves import into_a_hole, shake_a_cap, turn_a_cap
from sphuni.configurations.starts._random import spacing
from sphuni.geometry import BoundResult, energy_bound
from sphuni.geometry._hull import fits
from sphuni.kernels import Kernel, Riesz
from sphuni.pairwise import Engine, pair_reduce

__all__ = ["EnergyProblem"]

_TOLERANCE = 1e-6
_LARGEST_HESSIAN = 2_500
_EXACT_SUM, _EXACT_COORDINATES = 1_000, 20_000_000
_SINGLE_FUNNEL = 150
_GENERATIONS = 2
_SHAKE = 0.3
_STEEP, _EXPONENTS, _STEEP_ITERATIONS = 40.0, (4.0, 16.0, 64.0), 400
_TINY, _COSINES = 1e-3, np.linspace(-1.0, 1.0, 129)
_UNDERFLOW = 1e-290
_KINKED_POLISHED, _KINKED_ITERATIONS = 16, 500


@dataclasses.dataclass(frozen=True)
class EnergyProblem(Problem):
    """Minimise the sum of `kernel` over unordered pairs."""

    kernel: Kernel = dataclasses.field(kw_only=True)

    @property
    def generations(self) -> int:  # type: ignore[override]
        """Multi-start alone is enough up to about 150 points."""
        return 0 if self.n <= _SINGLE_FUNNEL else _GENERATIONS

    @property
    def detail(self) -> str:
        """The kernel."""
        return repr(self.kernel)

    @property
    def polished_per_batch(self) -> int:  # type: ignore[override]
        """More where descents end in kinks, and only polishing tells which optimum it was."""
        return _KINKED_POLISHED if self._kinked else 2

    @property
    def polishes_equals(self) -> bool:  # type: ignore[override]
        """Where several starts that end in one optimum would be one that was found once."""
        return self._kinked

    def relax(self, starts: Array, streams: Sequence[int], engine: Engine, end: float) -> Relaxed:
        """Run batched L-BFGS on the pair energy; of steep ones on its logarithm, by steps."""
        del streams
        if self._steep:
            return self._relax_steep(starts, engine, end)
        found = self._descend(as_tensor(starts), engine, _TOLERANCE * self._gradient_scale, end)
        tiny = self._positive and self._typical < _TINY and not self._geodesic
        if tiny and not late(end):
            finer = _TOLERANCE * float(found.values.min()) / self.n
            found = self._descend(found.points, engine, finer, end)
        return Relaxed(found.points.numpy(), found.values.numpy(), found.converged.numpy())

    def refine(self, points: Array, end: float = math.inf) -> Array:
        """Apply Newton's method where the Hessian fits; larger sets stay as L-BFGS left them."""
        if not self._newton_fits:
            return points
        if self._kinked:
            return _opposites.polish(self._riesz, as_tensor(points), end).numpy()
        rows = as_tensor(points)
        return newton(self._derivatives(self._size(rows)), rows, deadline=end).points.numpy()

    @property
    def default_restarts(self) -> int:
        """More beyond 150 points, where the number of local minima explodes."""
        few = self.n <= _SINGLE_FUNNEL
        return super().default_restarts if few else self.lanes * (1 + self.n // 50)

    def best_known(self) -> Record | None:
        """Return the best known value of the kernel, however the problem was spelled.

        The tables are of chordal distances.
        """
        if not isinstance(self.kernel, Riesz):
            return super().best_known()
        if self._geodesic:
            return None
        s = float(self.kernel.s)
        return find_record("riesz", n=self.n, d=self.d, s=s, antipodal=self.antipodal)

    def vary(self, points: Array, rng: np.random.Generator) -> Array:
        """Move a hot point into a deep hole, or shake or turn a cap."""
        choice = rng.uniform()
        if choice < 0.5 and fits(self.n - 1, self.d) and not self.antipodal:
            return into_a_hole(points, rng, self._heat(points))
        if choice < 0.75:
            return shake_a_cap(points, rng, _SHAKE * spacing(self.n, self.d))
        return turn_a_cap(points, rng)

    def value(self, points: Array, end: float = math.inf) -> float:
        """Sum the kernel over pairs, rounded once where n and d allow it."""
        del end
        rows = as_tensor(points)
        if self.n <= _EXACT_SUM and self.n**2 * self.d <= _EXACT_COORDINATES:
            total = exact_sum(self._pair_kernel, rows)
        else:
            total = float(pair_reduce(rows, kernel=self._pair_kernel))
        return 2 * total + self.n * self.kernel.at_minus_one if self.antipodal else total

    def certify(self, points: Array, seconds: float = math.inf) -> Certificate:
        """Gradient and Hessian.

        Lines have the energy of the doubled set, twice the sum over their pairs.
        """
        rows, doubled = as_tensor(points), 2 if self.antipodal else 1
        size = self._size(rows)
        unit = doubled * size
        smallest, flat = None, None
        if self._newton_fits and newton_seconds(self.n * (self.d - 1)) <= seconds:
            state = (
                _opposites.state_of(self._riesz, rows)
                if self._kinked
                else newton(self._derivatives(size), rows, iterations=0)
            )
            residual, flat = unit * state.gradient, state.flat_modes
            smallest = unit * state.smallest_eigenvalue
        else:
            residual = unit * self._gradient(rows, size)
        return self.certificate(
            points,
            seconds,
            kind="smooth",
            residual=residual,
            smallest_eigenvalue=smallest,
            flat_modes=flat,
        )

    def bound(self) -> BoundResult:
        """Return the universal or the linear-programming bound."""
        return energy_bound(self.n, self.d, kernel=self.kernel, antipodal=self.antipodal)

    def closed_form(self) -> Array | None:
        """Return the regular set where it is known to be optimal.

        Polygons, simplices and orthonormal frames are for every kernel that is absolutely
        monotone. Potentials that decrease convexly in the angle have polygons, frames and, by
        Jensen's inequality on a great circle, the triangle. Powers of the angle above the first
        (s < -1) gather all points at two poles: theta^p <= pi^(p - 1) theta, whose sum they have
        greatest.
        """
        if self.kernel.absolutely_monotone or self.n == 1:
            return regular_set(self.n, self.d, lines=self.antipodal)
        if not self._geodesic:
            return None
        if self._riesz.s < -1:
            sign = 1 if self.antipodal else -1
            return np.eye(self.d)[-1] * sign ** np.arange(self.n)[:, None]
        small = self.n <= (self.d if self.antipodal else 3)
        return regular_set(self.n, self.d, lines=self.antipodal) if small or self.d == 2 else None

    @property
    def _pair_kernel(self) -> Kernel:
        return self.kernel.antipodal() if self.antipodal else self.kernel

    @property
    def _geodesic(self) -> bool:
        return isinstance(self.kernel, Riesz) and self.kernel.metric == "geodesic"

    @property
    def _riesz(self) -> Riesz:
        assert isinstance(self.kernel, Riesz)
        return self.kernel

    @property
    def _kinked(self) -> bool:
        """Whether the energy has a kink where two points are opposite; lines have none there."""
        return self._geodesic and not self.antipodal

    @property
    def _steep(self) -> bool:
        """Whether energies of sets that differ little are orders of magnitude apart."""
        return self._positive and 2 * self._steepness > _STEEP and not self._geodesic

    @functools.cached_property
    def _positive(self) -> bool:
        """Whether no pair has a negative energy, so that values are small by being tiny only."""
        return bool((self._pair_kernel(_COSINES) >= 0).all())

    @property
    def unit(self) -> float:  # type: ignore[override]
        """Sums of positive terms are compared with themselves, however small they are."""
        return sys.float_info.min if self._positive else 1.0

    def slope(self, value: float) -> float:
        """Steep kernels change by more than their own size over the distance of neighbours."""
        steep = max(1.0, self._steepness) if self._positive else 1.0
        return steep * super().slope(value)

    def _descend(
        self, starts: torch.Tensor, engine: Engine, tolerance: float, end: float
    ) -> Minima:
        options = {"max_iterations": _KINKED_ITERATIONS} if self._kinked else {}
        return minimize_energy(
            self._pair_kernel,
            starts,
            engine,
            tolerance=tolerance,
            largest_step=0.4 * spacing(self.n, self.d),
            deadline=end,
            **options,
        )

    def _relax_steep(self, starts: Array, engine: Engine, end: float) -> Relaxed:
        """Minimise log(sum K^(a / a_K)) / a for growing a, a_K the kernel's steepness.

        That is a function of one scale whatever the kernel, of powers log(sum r^-2a) / a.
        """
        rows, last = starts, self._steepness
        if math.isinf(last):
            raise self._underflow()
        for a in (*(a for a in _EXPONENTS if a < last), last):
            found = self._relax_log(rows, a, last, engine, end)
            rows = found.points.numpy()
            if late(end):
                break
        begun = torch.isfinite(found.values)
        values = np.full(len(rows), np.inf)
        # NumPy would take a mask of one entry in a tensor for a number
        values[begun.numpy()] = pair_reduce(found.points[begun], kernel=self._pair_kernel).numpy()
        if not (values > _UNDERFLOW).any():
            raise self._underflow()
        return Relaxed(rows, values, found.converged.numpy())

    def _underflow(self) -> ValueError:
        return ValueError(
            f"kernel must not underflow; the energy of n = {self.n} points in R^{self.d} under "
            f"{self.kernel.label} does, in double precision. Take one that falls less steeply, or "
            "problem='tammes', which is its limit"
        )

    def _relax_log(self, rows: Array, a: float, last: float, engine: Engine, end: float) -> Minima:
        tolerance = 1e-9 if a == last else 1e-4
        if isinstance(self.kernel, Riesz):
            return minimize_packing_energy(
                rows,
                np.full(len(rows), a),
                lines=self.antipodal,
                engine=engine,
                tolerance=tolerance,
                max_iterations=_STEEP_ITERATIONS,
                deadline=end,
            )
        return minimize_log_energy(
            self._pair_kernel,
            as_tensor(rows),
            a / last,
            a,
            tolerance=tolerance,
            max_iterations=_STEEP_ITERATIONS,
            deadline=end,
        )

    @functools.cached_property
    def _steepness(self) -> float:
        """The a for which the kernel falls like r^-2a at the typical distance."""
        if isinstance(self.kernel, Riesz):
            return 0.5 * self.kernel.s
        return steepness(self.kernel, spacing(self.n, self.d))

    def _size(self, rows: torch.Tensor) -> float:
        """What derivatives are taken in units of: squares of those of a tiny energy underflow."""
        total = float(pair_reduce(rows, kernel=self._pair_kernel)) if self._steep else 1.0
        return max(total, sys.float_info.min)

    def _derivatives(self, size: float) -> Smooth:
        plain = kernel_derivatives(self._pair_kernel)

        def derivatives(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            gradient, hessian = plain(points)
            return gradient / size, hessian / size

        return derivatives

    @property
    def _newton_fits(self) -> bool:
        return self.n * (self.d - 1) <= _LARGEST_HESSIAN

    @property
    def _gradient_scale(self) -> float:
        """Unit of the gradient's tolerance: a pair's typical energy, if large or tiny."""
        if self._positive and self._typical < _TINY:
            return max(self._typical, 1e-100)
        return max(1.0, min(self._typical, 1e6)) if self.s is not None and self.s > 2 else 1.0

    @property
    def _typical(self) -> float:
        return abs(float(self._pair_kernel(1 - 0.5 * spacing(self.n, self.d) ** 2)))

    def _heat(self, points: Array) -> Array:
        """Energy (n,) of each point in the field of the others."""
        return pair_reduce(as_tensor(points), kernel=self._pair_kernel, op="rows").numpy()

    def _gradient(self, rows: torch.Tensor, size: float) -> float:
        leaf = rows.clone().requires_grad_()
        with torch.enable_grad():
            total = pair_reduce(leaf, kernel=self._pair_kernel)
            (gradient,) = torch.autograd.grad(total / size, leaf)
        return float(torch.linalg.vector_norm(gradient, dim=-1).max())
