"""Covering and polarization: make the worst place of the sphere as good as possible."""

import abc
import dataclasses
import functools
import math
import sys
import time
from collections.abc import Sequence

import numpy as np

from sphuni._rng import numpy_generator
from sphuni.configurations._clock import OutOfTimeError, late, over, room_for, seconds_left
from sphuni.configurations._dense import power_of_two
from sphuni.configurations.certificate import Certificate, attained
from sphuni.configurations.descent._objectives import minimize_energy
from sphuni.configurations.descent.minimize import as_tensor
from sphuni.configurations.maxmin._holes import holes
from sphuni.configurations.maxmin._members import Family, Members, in_units
from sphuni.configurations.maxmin._poles import least_potential, pole_values
from sphuni.configurations.maxmin._slp import ascend
from sphuni.configurations.maxmin._sqp import climb
from sphuni.configurations.maxmin._tied import evidence
from sphuni.configurations.problems._base import Array, Problem, Relaxed, regular_set
from sphuni.configurations.starts._moves import into_a_hole
from sphuni.configurations.starts._random import spacing
from sphuni.geometry import (
    BoundResult,
    covering_bound,
    covering_radius,
    polarization,
    polarization_bound,
)
from sphuni.geometry._hull import (
    ALWAYS_LISTED,
    MOST_LISTED,
    can_be_listed,
    hull_bytes,
    hull_seconds,
    most_facets,
    typical_facets,
)
from sphuni.geometry.polarization import PolarizationMethod
from sphuni.kernels import Kernel, Riesz
from sphuni.pairwise import Engine

__all__ = ["CoveringProblem", "PolarizationProblem"]

_NOISE = 0.4
_LONGEST_HULL = 600.0
_MATRICES = 6
_CERTIFIED_AT_ONCE = 100


@dataclasses.dataclass(frozen=True)
class WorstPlaceProblem(Problem):
    """Raise the least of the values at the worst places, from shaken minima of an energy."""

    polished_per_batch = 6
    alike = 1e-6
    """Where an optimum is not a vertex, ascent settles the points to about 1e-8 only."""

    def __post_init__(self) -> None:
        if self._lists_facets and self._hull_seconds > _LONGEST_HULL:
            raise ValueError(
                f"n = {self.n}, d = {self.d}: {self._hull_in_words}, and all of them are gone over "
                f"for every set that is looked at. Finding them takes about "
                f"{self._hull_seconds / 60:,.0f} minutes and {self._hull_gigabytes} of memory. "
                "Lower n or d"
            )

    @abc.abstractmethod
    def family(self, end: float = math.inf) -> Family:
        """The functions whose least is maximised; see `OutOfTimeError` for `end`."""

    @property
    @abc.abstractmethod
    def start_kernel(self) -> Kernel:
        """The kernel whose rough minima are the starts."""

    def tied(self, points: Array, end: float) -> Members:
        """The members that count as active, as they are nearly equal."""
        return self.family(end)(points, 1e-10)

    def slope(self, value: float) -> float:
        """What derivatives of the functions are relative to."""
        del value
        return 1.0

    @property
    def lanes(self) -> int:
        """Starts of a batch; the best six are polished."""
        return 16

    @property
    def working_bytes(self) -> int:
        """Memory of the starts and of one hull."""
        hull = hull_bytes(self._size, self.d) if self._lists_facets else 0
        return super().working_bytes + hull

    @property
    def working_size(self) -> str:
        """What that memory is for."""
        hull = f", where {self._hull_in_words}," if self._lists_facets else ""
        return f"{super().working_size} in R^{self.d}{hull}"

    @property
    def _size(self) -> int:
        return 2 * self.n if self.antipodal else self.n

    @property
    def _lists_facets(self) -> bool:
        return can_be_listed(self._size, self.d)

    @property
    def _hull_seconds(self) -> float:
        return hull_seconds(self._size, self.d)

    @property
    def _hull_gigabytes(self) -> str:
        return f"{hull_bytes(self._size, self.d) / 2**30:,.0f} GiB"

    @property
    def _hull_in_words(self) -> str:
        count = typical_facets(self._size, self.d)
        return f"the hull has about {float(f'{count:.2g}'):,.0f} facets"

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
        scores, whole = self._scores(rows, end)
        return Relaxed(rows, scores, np.isfinite(scores), whole)

    def score(self, points: Array, end: float) -> float:
        """Minus the value at the worst place, for which the minimum of the energy may be worse."""
        return -float(self.family(end)(points, 0.0).values.min())

    def _scores(self, rows: Array, end: float) -> tuple[Array, bool]:
        """How bad the worst place of each set is; False if the clock lets not all be looked at.

        Those that the grace is enough for are, and one, even if its hull would take too long.
        """
        scores, enough = np.full(len(rows), np.inf), over(end)
        for k, one in enumerate(rows):
            if k and late(end) and seconds_left(enough) < 0:
                return scores, False
            try:
                scores[k] = self.score(one, end)
            except OutOfTimeError:
                scores[0] = min(scores[0], 0.0)
                return scores, False
        return scores, True

    def refine(self, points: Array, end: float = math.inf) -> Array:
        """Ascend by linear programmes."""
        return ascend(self.family(end), points, radius=self._reach, deadline=end).points

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
        """Active places and multipliers."""
        if self.fits_a_half_sphere:
            bound = self.bound()
            return attained(bound.value, bound.reason)
        try:
            members = self.tied(points, time.monotonic() + seconds)
        except OutOfTimeError:
            return self.certificate(points, seconds, kind="max-min", residual=math.nan)
        weights, residual, second = evidence(points, members, seconds)
        labelled = members.labels.shape[1] > 0
        free = None
        if labelled and weights is not None:
            free = self.n - len(np.unique(members.labels[weights > 0]))
        return self.certificate(
            points,
            seconds,
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
        )


@dataclasses.dataclass(frozen=True)
class CoveringProblem(WorstPlaceProblem):
    """Minimise the covering radius."""

    hops = 12

    def __post_init__(self) -> None:
        if not self._lists_facets:
            raise ValueError(
                f"n = {self.n}, d = {self.d}: the hull of that many points of R^{self.d} can have "
                f"{most_facets(self._size, self.d):,} facets, all of which a search for coverings "
                f"goes over; at most {MOST_LISTED:,} beyond d = {ALWAYS_LISTED}. Lower n or d"
            )
        super().__post_init__()

    def family(self, end: float = math.inf) -> Family:
        """Cosines of the circumradii of the hull's facets."""
        return functools.partial(holes, lines=self.antipodal, deadline=end)

    @property
    def start_kernel(self) -> Kernel:
        """Coulomb's: its minima cover well."""
        return Riesz(1.0)

    def bound(self) -> BoundResult:
        """Return the covering bound."""
        return covering_bound(self.n, self.d, antipodal=self.antipodal)

    def value(self, points: Array, end: float = math.inf) -> float:
        """Covering radius in radians, exact by the convex hull.

        Where the measure leaves hulls of that size to a search, which may miss the deepest hole,
        all holes are gone over here.
        """
        del end
        measured = covering_radius(points, antipodal=self.antipodal)
        radius = float(measured.radius)
        if measured.exact:
            return radius
        return max(radius, math.acos(float(self.family()(points, 0.0).values.min())))

    def verify(self, points: Array, seconds: float = math.inf) -> float:
        """Nothing where the hull takes longer: the value is that of a whole hull already."""
        if not room_for(self._hull_seconds, time.monotonic() + seconds):
            return math.nan
        return self.value(points)


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
    def working_bytes(self) -> int:
        """That of the quadratic programmes too, which are dense."""
        return super().working_bytes + _MATRICES * 8 * (self.n * (self.d - 1)) ** 2

    def family(self, end: float = math.inf) -> Family:
        """Potentials at the local minima."""
        return functools.partial(pole_values, kernel=self._potential, deadline=end)

    @property
    def _potential(self) -> Kernel:
        return self.kernel.antipodal() if self.antipodal else self.kernel

    @property
    def start_kernel(self) -> Kernel:
        """The same kernel."""
        return self.kernel

    def tied(self, points: Array, end: float) -> Members:
        """Those that agree in the unit of the potential, which grows with n."""
        return self.family(end)(points, 1e-9 * self.n * self._unit_at(points, end))

    @property
    def unit(self) -> float:  # type: ignore[override]
        """Sums of positive terms are compared with themselves, however small they are."""
        return sys.float_info.min if self._positive else 1.0

    def slope(self, value: float) -> float:
        """One point's part of a potential, for steep kernels anything from tiny to huge."""
        return power_of_two(value / self.n) if self._positive else 1.0

    def _unit_at(self, points: Array, end: float) -> float:
        least = self.family(end)(points, 0.0).values.min() if self._positive else 1.0
        return self.slope(float(least))

    @property
    def _positive(self) -> bool:
        assert self.s is not None
        return self.s > 0

    def refine(self, points: Array, end: float = math.inf) -> Array:
        """Ascend by quadratic programmes, in the unit of the potential."""
        scaled = in_units(self.family(end), self._unit_at(points, end))
        return climb(scaled, points, radius=self._reach, deadline=end).points

    def bound(self) -> BoundResult:
        """Return the polarization bound."""
        assert self.s is not None
        return polarization_bound(self.n, self.d, s=self.s, antipodal=self.antipodal)

    @property
    def polygon_is_best(self) -> bool:
        """For s >= -1."""
        assert self.s is not None
        return self.s >= -1

    def value(self, points: Array, end: float = math.inf) -> float:
        """Least potential at the local minima."""
        if self.fits_a_half_sphere:
            return self.verify(points)
        return least_potential(as_tensor(points), self._potential, end)

    def verify(self, points: Array, seconds: float = math.inf) -> float:
        """Least potential by the measure's search, which certifies it where there is time."""
        assert self.s is not None
        certifying = seconds == math.inf or self._size <= _CERTIFIED_AT_ONCE
        method: PolarizationMethod = "auto" if certifying else "bounds"
        found = polarization(points, s=self.s, method=method, antipodal=self.antipodal)
        return float(found.value)
