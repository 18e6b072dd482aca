"""The optimal-configuration problems: what is optimised, how a start is solved, what is proved."""

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sphuni.configurations.certificate import Certificate
from sphuni.configurations.codes.constructions import construct
from sphuni.configurations.maxmin._members import Array, both_ends
from sphuni.configurations.records import Record, record
from sphuni.configurations.starts._random import spacing
from sphuni.configurations.starts._stored import stored_neighbours
from sphuni.configurations.symmetry import symmetry_order
from sphuni.geometry import BoundResult
from sphuni.pairwise import Engine

__all__ = ["Array", "Problem", "Relaxed", "find_record", "regular_set"]

_COPIES = 24


@dataclasses.dataclass(frozen=True)
class Relaxed:
    """Local optima of a batch of starts, before polishing; a lower score is better."""

    points: Array
    scores: Array
    converged: NDArray[np.bool_]
    complete: bool = True
    """False if there was no time to look at all of them."""


@dataclasses.dataclass(frozen=True)
class Problem(abc.ABC):
    """One problem of given size; the solver knows no more of it than these methods."""

    name: str
    n: int
    d: int
    s: float | None = None
    antipodal: bool = False

    direction = "lower"
    """Whether a "lower" or a "higher" value is better."""
    polished_per_batch = 2
    """How many distinct local optima of a batch are polished."""
    polishes_equals = False
    """Whether optima of equal scores are polished as well, as only what is polished counts."""
    hops = 0
    """How many variations of a batch's best are polished, at most one per start."""
    generations = 0
    """How many times the best local optima of a batch are varied, once per lane, and relaxed."""
    resolution = 1e-9
    """Differences below this, relative to the `scale` of the values, mean nothing."""
    noise = 2e-12
    """How far one optimum's evaluations may differ, relative to the `scale` of the values."""
    unit = 1.0
    """What a value is compared with at least: less only where values may all be tiny."""
    alike = 1e-7
    """How far inner products of an optimum that are the same may differ."""

    @abc.abstractmethod
    def relax(self, starts: Array, streams: Sequence[int], engine: Engine, end: float) -> Relaxed:
        """Run local optimisations from `starts` (b, n, d) until `end` of the monotonic clock."""

    def score(self, points: Array, end: float) -> float | None:
        """Score of a set as it is; None where `relax` only ever makes it better.

        See `OutOfTimeError` for `end`.
        """
        del points, end
        return None

    @abc.abstractmethod
    def refine(self, points: Array, end: float = math.inf) -> Array:
        """Polish one local optimum to full precision, or until `end` of the monotonic clock.

        Raises `OutOfTimeError` if there is time left, but not enough for the next step.
        """

    def vary(self, points: Array, rng: np.random.Generator) -> Array:
        """Change an optimum so that another one can be reached: shake every point."""
        noise = rng.standard_normal(points.shape) * (0.1 * spacing(self.n, self.d))
        moved = points + noise
        return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True))

    @abc.abstractmethod
    def value(self, points: Array, end: float = math.inf) -> float:
        """Evaluate the objective, as the records state it.

        Where that is a long search it ends at `end` of the monotonic clock; the `OutOfTimeError`
        then has the value of the worst place seen.
        """

    def verify(self, points: Array, seconds: float = math.inf) -> float:
        """Evaluate the objective again, more dearly where `value` is a search.

        Within some `seconds` if that can be done, or not at all: nan.
        """
        del seconds
        return self.value(points)

    @abc.abstractmethod
    def certify(self, points: Array, seconds: float = math.inf) -> Certificate:
        """Collect the evidence; the parts that take longer than some `seconds` are left out."""

    @abc.abstractmethod
    def bound(self) -> BoundResult:
        """What no configuration can beat."""

    def certificate(self, points: Array, seconds: float, **evidence: Any) -> Certificate:
        """Add to the evidence what every problem has: its bound, and the symmetry of both ends."""
        bound = self.bound()
        both = both_ends(points, antipodal=self.antipodal)
        return Certificate(
            bound=bound.value,
            bound_method=bound.method,
            bound_attained=bound.attained,
            symmetry_order=symmetry_order(both, tolerance=self.alike, time_limit=seconds),
            **evidence,
        )

    def scale(self, value: float) -> float:
        """What differences between values near `value` are relative to."""
        return max(self.unit, abs(value))

    def slope(self, value: float) -> float:
        """What gradients at a smooth optimum of `value` are relative to."""
        return self.scale(value / self.n**2)

    @property
    def sign(self) -> float:
        """1 where lower is better, else -1."""
        return 1.0 if self.direction == "lower" else -1.0

    @property
    def kind(self) -> Literal["points", "lines"]:
        """What the n rows stand for."""
        return "lines" if self.antipodal else "points"

    @property
    def lanes(self) -> int:
        """Starts that run side by side; part of what an answer depends on."""
        return 64 if self.n <= 300 else 16

    @property
    def working_bytes(self) -> int:
        """Memory that the starts of a batch take side by side."""
        return _COPIES * 8 * self.lanes * self.n * self.d

    @property
    def working_size(self) -> str:
        """What that memory is for."""
        return f"a batch of {self.lanes} starts of n = {self.n} points"

    @property
    def default_restarts(self) -> int:
        """Starts that find the best known value with near certainty for moderate n."""
        return self.lanes * (1 + self.n // 100)

    @property
    def key(self) -> dict[str, object]:
        """What identifies the problem in a checkpoint."""
        return {
            "problem": self.name,
            "n": self.n,
            "d": self.d,
            "s": self.s,
            "antipodal": self.antipodal,
            "detail": self.detail,
        }

    @property
    def detail(self) -> str:
        """What else identifies the problem."""
        return ""

    def best_known(self) -> Record | None:
        """Return the best known value, or None if none is on record."""
        return find_record(self.name, n=self.n, d=self.d, s=self.s, antipodal=self.antipodal)

    def neighbours(self) -> list[Array]:
        """Starts made from stored optima of one point more or fewer."""
        if self.antipodal or self.name in ("maxdet", "design", "energy"):
            return []
        smooth = self.name in ("thomson", "log", "riesz")
        exponent = "" if self.s is None or smooth else f"_s{self.s:g}"
        name = "thomson" if smooth else self.name
        return stored_neighbours(f"{name}_d{self.d}{exponent}", self.n, self.d)

    def closed_form(self) -> Array | None:
        """Return the optimum where it is known in closed form, or None.

        One point is as good as another, and on the circle the regular polygon is optimal.
        """
        known = self.n == 1 or self.d == 2
        return regular_set(self.n, self.d, lines=self.antipodal) if known else None


def regular_set(n: int, d: int, *, lines: bool) -> Array | None:
    """One point, a regular polygon or simplex, or lines at right angles; None for other n, d."""
    if n == 1:
        return np.eye(d)[-1:]
    if lines and n <= d:
        return np.eye(d)[:n]
    if d == 2:
        angle = (math.pi if lines else 2 * math.pi) / n * np.arange(n)
        return np.column_stack([np.cos(angle), np.sin(angle)])
    if lines or n > d + 1:
        return None
    simplex = np.asarray(construct(f"simplex_{n - 1}")) if n > 2 else np.array([[1.0], [-1.0]])
    return np.pad(simplex, ((0, 0), (0, d - n + 1)))


def find_record(
    name: str, *, n: int, d: int, s: float | None, antipodal: bool = False
) -> Record | None:
    """Look up a record, None if there is none."""
    try:
        return record(name, n=n, d=d, s=s, antipodal=antipodal)
    except ValueError:
        return None
