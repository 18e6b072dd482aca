"""What a test of uniformity is: a statistic of points, and its null law."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from sphuni._typing import Points
from sphuni.kernels import Kernel
from sphuni.stats.laws import Empirical, Law
from sphuni.stats.sums._sums import kernel_sums

__all__ = ["LawChoice", "Term", "UniformityTest"]

_ROUNDING = 1e-10


class Term(NamedTuple):
    """A multiple of a kernel's pair sum."""

    factor: float
    kernel: Kernel


class LawChoice(NamedTuple):
    """A null law, its kind, what it is in words, and why it may be wrong here, if it may."""

    law: Law
    kind: str
    description: str
    caution: str = ""


@dataclasses.dataclass(frozen=True)
class UniformityTest(abc.ABC):
    """A test of uniformity: large values of its statistic mean clustering.

    Parameters of a test are the fields of its class. The statistic of rotated points must be the
    same unless `invariant` is False, so that null samples may be drawn in fewer dimensions. Tests
    with `in_all` False are run where they are asked for by name; `one_number` is False where
    neither a number nor pair sums are the summary.
    """

    name: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()
    detects: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    circle_only: ClassVar[bool] = False
    discrete: ClassVar[bool] = False
    least_n: ClassVar[int] = 2
    invariant: ClassVar[bool] = True
    pairwise: ClassVar[bool] = True
    in_all: ClassVar[bool] = True
    one_number: ClassVar[bool] = True
    infinite_at: ClassVar[str] = "coincident or antipodal points"

    @classmethod
    def defined(cls, d: int) -> bool:
        """Whether the test exists in R^d."""
        return d == 2 or not cls.circle_only

    def has_atoms(self, n: int, d: int) -> bool:
        """Whether single values have so much probability that p-values are conservative."""
        return self.discrete

    def check(self, n: int, d: int) -> None:
        """Refuse sizes that the test is not defined for."""
        if not self.defined(d):
            where = "on the circle (d = 2)" if self.circle_only else "in other dimensions"
            raise ValueError(
                f"test {self.name!r} is defined {where} only; the points have d = {d}. "
                f"sphuni.stats.available_tests(d={d}) lists the tests for them"
            )
        if n < self.least_n:
            raise ValueError(f"test {self.name!r} needs n >= {self.least_n} points; got n = {n}")

    def terms(self, d: int) -> tuple[Term, ...]:
        """Pair sums that the statistic is made of, so that several tests can share one pass."""
        return ()

    def kernels(self, d: int) -> tuple[Kernel, ...]:
        """Kernels whose pair sums `statistic_with` wants."""
        return tuple(term.kernel for term in self.terms(d))

    def needs_pairs(self, n: int, d: int) -> bool:
        """Whether the statistic of n points takes the pair sums of `kernels`."""
        return bool(self.kernels(d))

    def summary(self, points: Points, d: int) -> Tensor | tuple[Tensor, ...]:
        """What `from_summary` needs of points (..., n, k), k <= d, that lie in R^d.

        By default the pair sums of the kernels of `terms`, in order.
        """
        sums = kernel_sums(points, self.kernels(d))
        return tuple(sums[kernel] for kernel in self.kernels(d))

    @abc.abstractmethod
    def from_summary(self, summary: Any, n: int, d: int) -> Tensor:
        """The statistic (...,) from `summary`."""

    @abc.abstractmethod
    def asymptotic_law(self, n: int, d: int) -> LawChoice | None:
        """The limit law, or None where there is none."""

    def best_law(self, n: int, d: int) -> LawChoice | None:
        """The law whose size is right at this n and d; None calls for Monte Carlo."""
        return None

    def narrowed(self, d: int) -> "tuple[UniformityTest, int] | None":
        """The test in coordinates of the subspace of R^d that it sees, and how many; None if all.

        Of tests that are not `invariant`: sets of theirs are drawn in those coordinates alone.
        """
        return None

    def simulated_at(self, n: int) -> int:
        """How many points a simulated table has; fewer than n where the law has settled."""
        return n

    def cost(self, n: int, d: int) -> float:
        """Rough number of operations that one simulated statistic takes."""
        return float(n) * (n * (min(n, d) + 60) if self.pairwise else 60)

    def refine(self, table: Empirical, n: int, d: int) -> LawChoice:
        """Put a known tail in the place of the simulated one, where a test has one."""
        return LawChoice(table, "monte-carlo", f"{table.sample.size} simulated uniform sets")

    def effect_size(self, statistic: Tensor, n: int, d: int) -> Tensor:
        """A measure of the departure from uniformity that does not grow with certainty."""
        return torch.full_like(statistic, torch.nan)

    def rounding(self, largest: float) -> float:
        """How far rounding may move a statistic, where sets have ones of size up to `largest`."""
        return _ROUNDING * max(1.0, largest)

    def parameters(self) -> dict[str, Any]:
        """Parameters by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def statistic(self, points: Points, d: int | None = None) -> Tensor:
        """The statistic (...,) of points (..., n, k), which lie in R^d (by default d = k)."""
        d = points.shape[-1] if d is None else d
        return self.from_summary(self.summary(points, d), points.shape[-2], d)

    def statistic_with(
        self,
        points: Points,
        d: int,
        sums: Mapping[Kernel, Tensor],
        known: Mapping["UniformityTest", Tensor],
    ) -> Tensor:
        """The statistic of points whose pair sums of `kernels` are known, and other statistics."""
        n = points.shape[-2]
        if not self.needs_pairs(n, d):
            return self.from_summary(self.summary(points, d), n, d)
        return self.from_summary(tuple(sums[k] for k in self.kernels(d)), n, d)
