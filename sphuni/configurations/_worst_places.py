"""Covering and polarization: make the worst place of the sphere as good as possible."""

import abc
import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from sphuni._rng import numpy_generator
from sphuni.configurations._clock import late
from sphuni.configurations._holes import holes
from sphuni.configurations._members import Family
from sphuni.configurations._moves import into_a_hole
from sphuni.configurations._objectives import minimize_energy
from sphuni.configurations._poles import pole_values
from sphuni.configurations._slp import ascend
from sphuni.configurations._sqp import climb
from sphuni.configurations._tied import evidence
from sphuni.configurations.certificate import Certificate, attained
from sphuni.configurations.problems import Array, Problem, Relaxed, as_tensor, regular_set, spacing
from sphuni.configurations.symmetry import symmetry_order
from sphuni.geometry import (
    BoundResult,
    covering_bound,
    covering_radius,
    polarization,
    polarization_bound,
)
from sphuni.geometry._hull import ALWAYS_LISTED, MOST_LISTED, can_be_listed, most_facets
from sphuni.kernels import Kernel, Riesz
from sphuni.pairwise import Engine

__all__ = ["CoveringProblem", "PolarizationProblem"]

_NOISE = 0.4
_ALIKE = 1e-6
"""Where an optimum is not a vertex, ascent settles the points to about 1e-8 only."""


@dataclasses.dataclass(frozen=True)
class WorstPlaceProblem(Problem):
    """Raise the least of the values at the worst places, from shaken minima of an energy."""

    polished_per_batch = 6

    @property
    @abc.abstractmethod
    def family(self) -> Family:
        """The functions whose least is maximised."""

    @property
    @abc.abstractmethod
    def start_kernel(self) -> Kernel:
        """The kernel whose rough minima are the starts."""

    @property
    def tied(self) -> float:
        """Members that differ by less count as active."""
        return 1e-10

    @abc.abstractmethod
    def bound(self) -> BoundResult:
        """What no configuration can beat."""

    @property
    def lanes(self) -> int:
        """Starts of a batch; the best six are polished."""
        return 16

    def relax(self, starts: Array, streams: Sequence[int], engine: Engine, end: float) -> Relaxed:
        """Minimise an energy roughly, shake, and note how good the worst place is."""
        kernel = self.start_kernel.antipodal() if self.antipodal else self.start_kernel
        found = minimize_energy(
            kernel,
            as_tensor(starts),
            engine,
            tolerance=1e-2,
            largest_step=0.4 * spacing(self.n, self.d),
            max_iterations=60,
            deadline=end,
        )
        rows = found.points.numpy()
        for k, stream in enumerate(streams):
            rng = numpy_generator(stream + 1)
            size = _NOISE * rng.uniform() * spacing(self.n, self.d) / self.d**0.5
            moved = rows[k] + size * rng.standard_normal(rows[k].shape)
            rows[k] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        scores = np.full(len(rows), np.inf)
        for k, one in enumerate(rows):
            if k and late(end):  # one is enough to end with
                break
            scores[k] = -float(self.family(one, 0.0).values.min())
        return Relaxed(rows, scores, np.isfinite(scores))

    def refine(self, points: Array, end: float = math.inf) -> Array:
        """Ascend by linear programmes."""
        return ascend(self.family, points, radius=self._reach, deadline=end).points

    @property
    def _reach(self) -> float:
        return 0.1 * spacing(self.n, self.d)

    def vary(self, points: Array, rng: np.random.Generator) -> Array:
        """Move one point into one of the deepest holes, and shake all."""
        if self.antipodal or self.n <= self.d + 2:
            return super().vary(points, rng)
        return super().vary(into_a_hole(points, rng), rng)

    @property
    def fits_a_half_sphere(self) -> bool:
        """Whether so few points leave a half-sphere empty: then the worst place is no vertex."""
        return self.n <= (self.d - 1 if self.antipodal else self.d)

    def closed_form(self) -> Array | None:
        """Return a simplex, or lines at right angles, where these reach the bound; or a polygon.

        A direction orthogonal to few points limits what they can do, and a set whose sum is zero
        reaches that limit: its potentials are least there, as the kernel is convex in the cosine.
        """
        if self.n <= self.d + 1 and self.bound().attained:
            return regular_set(self.n, self.d, lines=self.antipodal)
        return super().closed_form() if self.polygon_is_best else None

    @property
    def polygon_is_best(self) -> bool:
        """Whether a theorem has the regular polygon on the circle."""
        return True

    def certify(self, points: Array, seconds: float = math.inf) -> Certificate:
        """Active places and multipliers, the best bound known, symmetry."""
        bound = self.bound()
        if self.fits_a_half_sphere:
            return attained(bound.value, bound.reason)
        members = self.family(points, self.tied)
        weights, residual, second = evidence(points, members, seconds)
        labelled = members.labels.shape[1] > 0
        free = None
        if labelled and weights is not None:
            free = self.n - len(np.unique(members.labels[weights > 0]))
        both = np.vstack([points, -points]) if self.antipodal else points
        return Certificate(
            kind="max-min",
            residual=residual,
            smallest_eigenvalue=second.smallest_eigenvalue,
            flat_modes=second.flat,
            tied_moves=second.moves,
            active=members.labels if labelled else None,
            places=members.places,
            multipliers=weights,
            free_points=free,
            spread=float(np.ptp(members.values)),
            bound=bound.value,
            bound_method=bound.method,
            bound_attained=bound.attained,
            symmetry_order=symmetry_order(both, tolerance=_ALIKE, time_limit=seconds),
        )


@dataclasses.dataclass(frozen=True)
class CoveringProblem(WorstPlaceProblem):
    """Minimise the covering radius."""

    hops = 12

    def __post_init__(self) -> None:
        count = 2 * self.n if self.antipodal else self.n
        if not can_be_listed(count, self.d):
            raise ValueError(
                f"n = {self.n}, d = {self.d}: the hull of that many points of R^{self.d} can have "
                f"{most_facets(count, self.d):,} facets, all of which a search for coverings goes "
                f"over; at most {MOST_LISTED:,} beyond d = {ALWAYS_LISTED}. Lower n or d"
            )

    @property
    def family(self) -> Family:
        """Cosines of the circumradii of the hull's facets."""
        return functools.partial(holes, lines=self.antipodal)

    @property
    def start_kernel(self) -> Kernel:
        """Coulomb's: its minima cover well."""
        return Riesz(1.0)

    def bound(self) -> BoundResult:
        """Return the covering bound."""
        return covering_bound(self.n, self.d, antipodal=self.antipodal)

    def value(self, points: Array) -> float:
        """Covering radius in radians, exact by the convex hull."""
        return float(covering_radius(points, antipodal=self.antipodal).radius)


@dataclasses.dataclass(frozen=True)
class PolarizationProblem(WorstPlaceProblem):
    """Maximise the least potential of the sphere."""

    direction = "higher"
    polished_per_batch = 3

    @property
    def kernel(self) -> Kernel:
        """The Riesz kernel of the exponent."""
        assert self.s is not None
        return Riesz(self.s)

    @property
    def family(self) -> Family:
        """Potentials at the local minima."""
        return functools.partial(pole_values, kernel=self._potential)

    @property
    def _potential(self) -> Kernel:
        return self.kernel.antipodal() if self.antipodal else self.kernel

    @property
    def start_kernel(self) -> Kernel:
        """The same kernel."""
        return self.kernel

    @property
    def tied(self) -> float:
        """In the potential's unit, which grows with n."""
        return 1e-9 * self.n

    def refine(self, points: Array, end: float = math.inf) -> Array:
        """Ascend by quadratic programmes."""
        return climb(self.family, points, radius=self._reach, deadline=end).points

    def bound(self) -> BoundResult:
        """Return the polarization bound."""
        assert self.s is not None
        return polarization_bound(self.n, self.d, s=self.s, antipodal=self.antipodal)

    @property
    def polygon_is_best(self) -> bool:
        """For s >= -1."""
        assert self.s is not None
        return self.s >= -1

    def value(self, points: Array) -> float:
        """Least potential at the local minima."""
        if self.fits_a_half_sphere:
            return self.verify(points)
        return float(self.family(points, 0.0).values.min())

    def verify(self, points: Array) -> float:
        """Least potential by the certifying search of the measure."""
        assert self.s is not None
        return float(polarization(points, s=self.s, antipodal=self.antipodal).value)
