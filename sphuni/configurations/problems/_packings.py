"""Tammes' problem and its projective form: the greatest smallest angle."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from sphuni._rng import numpy_generator
from sphuni.configurations._clock import OutOfTimeError, late, over, room_for, seconds_left
from sphuni.configurations.certificate import Certificate
from sphuni.configurations.codes.constructions import construct
from sphuni.configurations.descent._neighbour_energy import (
    LEAST_EXPONENT,
    pairs_listed,
    worth_listing,
)
from sphuni.configurations.descent._packing_energy import minimize_packing_energy
from sphuni.configurations.maxmin._contacts import contacts, smallest_half_square
from sphuni.configurations.maxmin._slp import ascend
from sphuni.configurations.maxmin._tied import dense_fits, dense_seconds, evidence, multipliers
from sphuni.configurations.problems._base import Array, Problem, Relaxed, regular_set
from sphuni.configurations.starts._moves import into_a_hole
from sphuni.configurations.starts._random import spacing
from sphuni.geometry import BoundResult, separation_bound
from sphuni.geometry._hull import fits
from sphuni.pairwise import Engine

__all__ = ["TammesProblem"]

_LAST_EXPONENT, _LAST_OF_MANY = 40.0, 2000.0
_GROWTH = 6.0
_NOISE, _NOISE_OF_MANY = 0.6, 0.06
_TIED = 1e-11
_STATIONARY = 1e-9
_CLOSER = 1e-5
"""Within reach of so few that a programme can tie contacts which it had left 1e-10 apart."""
_COPIES, _PAIR_BYTES = 12, 160


@dataclasses.dataclass(frozen=True)
class TammesProblem(Problem):
    """Maximise the smallest angle between two points, or two lines."""

    direction = "higher"
    polished_per_batch = 16
    hops = 24

    @property
    def lanes(self) -> int:
        """Starts side by side, of which sixteen are polished.

        Few points need no choice. From some dozens on, the best of 128 end higher in the same time
        than the best of 32, as the programmes take nearly all of it.
        """
        if self.n <= 50:
            return 32
        return 128 if self.n <= 300 else 8 if self.n <= 1000 else 2

    @property
    def working_bytes(self) -> int:
        """All pairs of every start, several times over, or neighbours of so many points only."""
        if self._listed and not dense_fits(self.n, self.d):
            pairs = pairs_listed(self.n, self.d, lines=self.antipodal)
            return super().working_bytes + int(_PAIR_BYTES * self.lanes * pairs)
        return _COPIES * 8 * self.lanes * self.n**2

    @property
    def default_restarts(self) -> int:
        """More than for energies: the landscape has many nearly equal optima."""
        return self.lanes * (2 + self.n // 16)

    def relax(self, starts: Array, streams: Sequence[int], engine: Engine, end: float) -> Relaxed:
        """Minimise sums of r^-2a with growing a, shaking the points between the stages.

        The first exponent and the strength of the noise differ from start to start: continuation
        from a common minimum of a low exponent can end at one symmetric saddle every time. The
        last exponent is moderate: the linear programmes reach the optimum from there, and many
        rough candidates find more than a few fine ones. Of thousands of points it is high: there a
        programme takes many times as long as a stage.
        """
        generators = [numpy_generator(stream + 1) for stream in streams]
        rows = starts
        a = np.array([2.0 * 8.0 ** g.uniform() for g in generators])
        last, noise = _LAST_EXPONENT, _NOISE
        if self._listed:
            a = np.maximum(a, LEAST_EXPONENT)
            last, noise = _LAST_OF_MANY, _NOISE_OF_MANY
        strength = np.array([noise * g.uniform() for g in generators])
        while True:
            found = minimize_packing_energy(
                rows,
                a,
                lines=self.antipodal,
                engine=engine,
                tolerance=1e-2,
                max_iterations=150,
                deadline=end,
                neighbours=self._listed,
            )
            rows = found.points.numpy()
            if a.min() >= last or late(end):
                break
            a = np.minimum(_GROWTH * a, last)
            strength = 0.3 * strength
            rows = np.stack(
                [self._shake(*one) for one in zip(rows, strength, generators, strict=True)]
            )
        scores = np.full(len(rows), np.inf)
        enough = over(end)
        for k, one in enumerate(rows):
            if k and late(end) and seconds_left(enough) < 0:
                break
            scores[k] = -self._least(one)
        return Relaxed(rows, scores, np.isfinite(scores))

    def score(self, points: Array, end: float) -> float:
        """Minus 1 - t of the closest pair, which the noise between the stages may spoil."""
        del end
        return -self._least(points)

    def closed_form(self) -> Array | None:
        """Polygons, simplices and lines at right angles are the widest apart.

        Of more than d + 1 points two are no farther apart than a right angle (Rankin 1955), which
        is that of any 2 d or fewer of a cross-polytope.
        """
        if not self.antipodal and self.d + 1 < self.n <= 2 * self.d:
            return np.asarray(construct(f"cross_{self.d}"))[: self.n]
        return regular_set(self.n, self.d, lines=self.antipodal)

    def refine(self, points: Array, end: float = math.inf) -> Array:
        """Ascend by linear programmes on the contacts."""
        radius = 0.1 * spacing(self._size, self.d)
        found = ascend(self._family, points, radius=radius, deadline=end).points
        if late(end):
            return found
        members = self._family(found, _TIED)
        if not dense_fits(self.n, self.d, len(members.values)):
            return found
        if not room_for(dense_seconds(members.values, found), end):
            raise OutOfTimeError(found)
        if multipliers(members)[1] <= _STATIONARY:
            return found
        return ascend(self._family, found, radius=_CLOSER, deadline=end).points

    def vary(self, points: Array, rng: np.random.Generator) -> Array:
        """Move one point into one of the deepest holes, and shake all."""
        if self._size <= self.d + 1 or not fits(self._size, self.d) or self.antipodal:
            return super().vary(points, rng)
        return super().vary(into_a_hole(points, rng), rng)

    def value(self, points: Array, end: float = math.inf) -> float:
        """Smallest angle, from differences of coordinates."""
        del end
        return 2 * math.asin(math.sqrt(min(1.0, self._least(points) / 2)))

    def certify(self, points: Array, seconds: float = math.inf) -> Certificate:
        """Contacts, their multipliers, rattlers."""
        members = self._family(points, _TIED)
        weights, residual, second = evidence(points, members, seconds)
        held = members.labels if weights is None else members.labels[weights > 0]
        return self.certificate(
            points,
            seconds,
            kind="max-min",
            residual=residual,
            smallest_eigenvalue=second.smallest_eigenvalue,
            flat_modes=second.flat,
            tied_moves=second.moves,
            active=members.labels,
            multipliers=weights,
            free_points=None if weights is None else self.n - len(np.unique(held)),
            spread=float(np.ptp(members.values)),
        )

    def bound(self) -> BoundResult:
        """Return the best upper bound on the angle."""
        return separation_bound(self.n, self.d, antipodal=self.antipodal)

    @property
    def _family(self) -> functools.partial:  # type: ignore[type-arg]
        return functools.partial(contacts, lines=self.antipodal)

    @property
    def _listed(self) -> bool:
        return worth_listing(self.n, self.d, lines=self.antipodal)

    @property
    def _size(self) -> int:
        return 2 * self.n if self.antipodal else self.n

    def _least(self, points: Array) -> float:
        """1 - t of the closest pair."""
        return smallest_half_square(points, lines=self.antipodal)

    def _shake(self, points: Array, strength: float, rng: np.random.Generator) -> Array:
        noise = rng.standard_normal(points.shape) * (strength * spacing(self._size, self.d))
        moved = points + noise / math.sqrt(self.d)
        return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True))
