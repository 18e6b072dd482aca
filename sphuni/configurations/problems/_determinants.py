"""Problems of greatest Gram determinant, and spherical designs."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sphuni._typing import Points
from sphuni.configurations._clock import late
from sphuni.configurations.certificate import Certificate
from sphuni.configurations.descent.minimize import as_tensor, minimize
from sphuni.configurations.descent.polish import (
    Smooth,
    newton,
    newton_seconds,
    pair_derivatives,
    squared_distances,
    tangent_basis,
)
from sphuni.configurations.maxmin._members import both_ends
from sphuni.configurations.problems._base import Array, Problem, Relaxed, find_record
from sphuni.configurations.problems._energies import EnergyProblem
from sphuni.configurations.records import Record
from sphuni.configurations.starts._moves import shake_a_cap, turn_a_cap
from sphuni.configurations.starts._random import spacing
from sphuni.geometry import BoundResult, design_residual, logdet_bound
from sphuni.geometry.gram import safe_factor, terms_of
from sphuni.kernels import Dirichlet, Gaussian, GegenbauerSeries, Kernel
from sphuni.pairwise import Engine

__all__ = ["DesignProblem", "MaxdetProblem"]

_TOLERANCE = 1e-6
_LARGEST_HESSIAN = 1_200
_FEW_OPTIMA = 64
_GENERATIONS = 6
_SHAKE = 0.5


@dataclasses.dataclass(frozen=True)
class MaxdetProblem(Problem):
    """Maximise the log-determinant of the Gram matrix of a bounded kernel.

    Lines have that of the doubled set, which splits into K(G) + K(-G) and K(G) - K(-G).
    """

    kernel: Kernel = dataclasses.field(kw_only=True)
    direction = "higher"

    @property
    def generations(self) -> int:  # type: ignore[override]
        """Multi-start alone is enough up to degree 7."""
        return 0 if self.n <= _FEW_OPTIMA else _GENERATIONS

    @property
    def detail(self) -> str:
        """The kernel."""
        return repr(self.kernel)

    @property
    def lanes(self) -> int:
        """Each start factorises an n x n matrix per step, so fewer run side by side."""
        return 16

    @property
    def working_bytes(self) -> int:
        """The Gram matrices of a batch, their factors and their slopes."""
        return (16 if self.antipodal else 8) * 8 * self.lanes * self.n**2

    def relax(self, starts: Array, streams: Sequence[int], engine: Engine, end: float) -> Relaxed:
        """Run batched L-BFGS on minus the log-determinant."""
        del streams, engine
        found = minimize(
            _minus_logdet(self.kernel, lines=self.antipodal),
            as_tensor(starts),
            tolerance=_TOLERANCE,
            largest_step=0.4 * spacing(self.n, self.d),
            slack=1e-14,
            deadline=end,
        )
        scores = found.values.numpy()
        some = False
        for k in np.argsort(scores, kind="stable"):
            left_out = some and late(end)  # one is enough to end with
            if left_out or not math.isfinite(scores[k]) or self._singular(found.points[k]):
                scores[k] = math.inf
            some = some or math.isfinite(scores[k])
        return Relaxed(found.points.numpy(), scores, found.converged.numpy())

    def refine(self, points: Array, end: float = math.inf) -> Array:
        """Apply Newton's method where the Hessian fits."""
        if not self._newton_fits:
            return points
        derivatives = _logdet_derivatives(self.kernel, lines=self.antipodal)
        return newton(derivatives, as_tensor(points), deadline=end).points.numpy()

    def vary(self, points: Array, rng: np.random.Generator) -> Array:
        """Shake or turn a cap: moves of single points hardly ever lead to a better optimum."""
        if rng.uniform() < 0.5:
            return shake_a_cap(points, rng, _SHAKE * spacing(self.n, self.d))
        return turn_a_cap(points, rng)

    def value(self, points: Array, end: float = math.inf) -> float:
        """Log-determinant of the Gram matrix."""
        del end
        return -float(
            _minus_logdet(self.kernel, lines=self.antipodal)(as_tensor(points).T[..., None])[0]
        )

    def certify(self, points: Array, seconds: float = math.inf) -> Certificate:
        """Gradient and Hessian."""
        rows = as_tensor(points)
        smallest, flat = None, None
        if self._newton_fits and newton_seconds(self.n * (self.d - 1)) <= seconds:
            state = newton(
                _logdet_derivatives(self.kernel, lines=self.antipodal), rows, iterations=0
            )
            residual, smallest, flat = state.gradient, state.smallest_eigenvalue, state.flat_modes
        else:
            gradient = _minus_logdet(self.kernel, lines=self.antipodal)(rows.T[..., None])[1][
                ..., 0
            ].T
            radial = (gradient * rows).sum(-1, keepdim=True) * rows
            residual = float(torch.linalg.vector_norm(gradient - radial, dim=-1).max())
        return self.certificate(
            points,
            seconds,
            kind="smooth",
            residual=residual,
            smallest_eigenvalue=smallest,
            flat_modes=flat,
        )

    def bound(self) -> BoundResult:
        """Return the moment bound."""
        return logdet_bound(self.n, self.d, kernel=self.kernel, antipodal=self.antipodal)

    def best_known(self) -> Record | None:
        """Return the best known value for this kernel."""
        if isinstance(self.kernel, Gaussian):
            epsilon = self.kernel.epsilon
            return find_record("gaussian", n=self.n, d=self.d, s=epsilon, antipodal=self.antipodal)
        return super().best_known() if self._is_that_of_the_tables else None

    def closed_form(self) -> Array | None:
        """Return one point; the circle has no special treatment here."""
        return super().closed_form() if self.n == 1 else None

    @property
    def _is_that_of_the_tables(self) -> bool:
        """Whether the kernel is the Dirichlet kernel whose polynomials are n in number."""
        kernel = self.kernel
        if self.d != 3 or not isinstance(kernel, GegenbauerSeries) or kernel.d != 3:
            return False
        return kernel.coefficients == Dirichlet(math.isqrt(self.n) - 1).coefficients

    def _singular(self, points: Tensor) -> bool:
        """Whether the Gram matrix is, to within rounding."""
        grams = torch.cat(
            [part.value for part in _parts(self.kernel, points[None], lines=self.antipodal)]
        )
        return bool(safe_factor(grams, terms_of(self.kernel))[1].any())

    @property
    def _newton_fits(self) -> bool:
        return self.n * (self.d - 1) <= _LARGEST_HESSIAN


@dataclasses.dataclass(frozen=True)
class DesignProblem(EnergyProblem):
    """Make the means of all polynomials of degree 1 to s vanish; the value is the residual.

    The energy of the kernel P_1 + ... + P_s is the sum of the squared residuals of the degrees,
    up to a constant. Lines, with both their ends, have none of odd degree.
    """

    resolution = 1e-7
    noise = 1e-7
    unit = 1.0

    def value(self, points: Array, end: float = math.inf) -> float:
        """Largest residual of a degree; rounding leaves about 1e-8."""
        del end
        assert self.s is not None
        return float(design_residual(both_ends(points, antipodal=self.antipodal), t=int(self.s)))

    def bound(self) -> BoundResult:
        """Return 0, a bound on the value, not on the energy."""
        method = "a residual is not negative"
        return BoundResult(0.0, attained=None, method=method, reason=method)

    def closed_form(self) -> Array | None:
        """Return one point; most polygons are designs, but not of every strength."""
        return super().closed_form() if self.n == 1 else None


class _Part(NamedTuple):
    """A Gram matrix, or one of the two that it splits into for lines."""

    value: Tensor
    slope: Tensor
    """Derivatives with respect to the cosines, 0 on the diagonal."""


def _minus_logdet(
    kernel: Kernel, *, lines: bool = False
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Objective on planes (d, n, b); inf where a Gram matrix is not positive definite."""

    def objective(x: Tensor) -> tuple[Tensor, Tensor]:
        rows = x.permute(2, 1, 0).contiguous()
        identity = torch.eye(x.shape[1], dtype=x.dtype)
        total, gradient = rows.new_zeros(len(rows)), torch.zeros_like(rows)
        for value, slope in _parts(kernel, rows, lines=lines):
            factor, info = torch.linalg.cholesky_ex(value)
            bad = info > 0
            factor = torch.where(bad[:, None, None], identity, factor)
            logdet = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            pull = torch.cholesky_inverse(factor) * slope
            gradient = gradient - 2 * (pull @ rows)
            total = total + torch.where(bad, torch.inf, -logdet)
        return total, gradient.permute(2, 1, 0).contiguous()

    return objective


def _parts(kernel: Kernel, rows: Tensor, *, lines: bool) -> list[_Part]:
    """Gram matrices (b, n, n) and derivatives with respect to the cosines, 0 on the diagonal."""
    same = torch.eye(rows.shape[1], dtype=torch.bool)
    t = (rows @ rows.mT).masked_fill(same, 0.0)  # kernels of distances have a kink at 1
    p, q = 2 - 2 * t, 2 + 2 * t
    near = _Part(*kernel.value_and_derivative(p, q))
    far = _Part(*kernel.value_and_derivative(q, p)) if lines else None
    return [
        _Part(value.masked_fill(same, top), slope.masked_fill(same, 0.0))
        for value, slope, top in _split(kernel, near, far)
    ]


def _split(kernel: Kernel, near: _Part, far: _Part | None) -> list[tuple[Tensor, Tensor, float]]:
    """K(t) and K'(t) with K(1), or those of K(t) + K(-t) and of K(t) - K(-t)."""
    if far is None:
        return [(near.value, near.slope, kernel.at_one)]
    return [
        (near.value + far.value, near.slope - far.slope, kernel.at_one + kernel.at_minus_one),
        (near.value - far.value, near.slope + far.slope, kernel.at_one - kernel.at_minus_one),
    ]


def _logdet_derivatives(kernel: Kernel, *, lines: bool = False) -> Smooth:
    """Gradient and Hessian of minus the log-determinant."""

    def derivatives(points: Points) -> tuple[Tensor, Tensor]:
        p, q = squared_distances(points)
        near = _Part(kernel.value(p, q), kernel.derivative(p, q))
        far = _Part(kernel.value(q, p), kernel.derivative(q, p)) if lines else None
        bends = [kernel.second(p, q)]
        if lines:
            opposite = kernel.second(q, p)
            bends = [bends[0] + opposite, bends[0] - opposite]
        parts = zip(_split(kernel, near, far), bends, strict=True)
        found = [_part_derivatives(points, *part, bend) for part, bend in parts]
        gradients, hessians = zip(*found, strict=True)
        return sum(gradients[1:], start=gradients[0]), sum(hessians[1:], start=hessians[0])

    return derivatives


def _part_derivatives(
    points: Points, value: Tensor, slope: Tensor, at_one: float, bend: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian of minus log det of a matrix of values in the cosines."""
    n, d = points.shape
    inverse = torch.linalg.inv(value.fill_diagonal_(at_one))
    weight = -2 * inverse
    gradient, hessian = pair_derivatives(points, weight * slope, weight * bend)
    slope = slope.fill_diagonal_(0.0)
    moves = torch.einsum("ide,jd,ij->jie", tangent_basis(points), points, slope)
    moves = moves.reshape(n, n * (d - 1))
    spread = inverse @ moves
    inner = (moves.T @ spread).reshape(n, d - 1, n, d - 1)
    cross = spread.reshape(n, n, d - 1)
    extra = inverse[:, None, :, None] * inner + torch.einsum("jie,ijf->iejf", cross, cross)
    return gradient, hessian + 2 * extra.reshape(hessian.shape)
