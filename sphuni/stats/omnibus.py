"""One p-value from several tests."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sphuni._typing import Points
from sphuni.kernels import Kernel
from sphuni.stats._base import LawChoice, UniformityTest
from sphuni.stats.classical import Bingham, Rayleigh
from sphuni.stats.laws import Corrected, Empirical, Law, TailedTable, Tails, WeightedChi2
from sphuni.stats.laws._tails import Values
from sphuni.stats.laws.tabulated import Tabulated
from sphuni.stats.nulls._pvalues import tails_of
from sphuni.stats.packing import Packing
from sphuni.stats.pairs import GineFn
from sphuni.stats.projected import PAD

__all__ = ["Omnibus"]

_SMALL = -12.0
_LARGEST = 0.999
_CAUCHY_FROM = 50


@dataclasses.dataclass(frozen=True)
class _Exponential:
    """The standard exponential law, of minus the logarithm of a p-value."""

    mean: float = 1.0
    variance: float = 1.0

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
        positive = np.maximum(np.asarray(x, dtype=np.float64), 0.0)
        with np.errstate(divide="ignore"):
            return Tails(-positive, np.log(-np.expm1(-positive)))


@dataclasses.dataclass(frozen=True)
class Omnibus(UniformityTest):
    r"""The Cauchy combination of `rayleigh`, `bingham`, `gine_fn`, `pad` and `packing`.

    With p_1 .. p_k their upper p-values, :math:`T = \frac1k \sum \tan(\pi (\tfrac12 - p_i))` has a
    tail close to Cauchy's however the tests depend on each other. The statistic is minus the
    logarithm of that p-value, :math:`-\log P(\mathrm{Cauchy} > T)`. A p_i above 0.999 counts
    as 0.999, so that one test cannot outvote the others.

    The five see a common direction, a common axis, every departure (twice, with weight on low
    and on local harmonics), and close pairs. With `antipodal` they are four: `rayleigh` sees
    nothing of lines.

    Parameters
    ----------
    antipodal : bool, default False
        Take points as lines.

    References
    ----------
    Y. Liu, J. Xie, "Cauchy combination test: a powerful test with analytic p-value calculation
    under arbitrary dependency structures", Journal of the American Statistical Association 115
    (2020) 393-402, doi:10.1080/01621459.2018.1554485.
    """

    name: ClassVar[str] = "omnibus"
    aliases: ClassVar[tuple[str, ...]] = ("combined", "cauchy")
    detects: ClassVar[str] = "what any of rayleigh, bingham, gine_fn, pad and packing detects"
    reference: ClassVar[str] = "Liu & Xie 2020, doi:10.1080/01621459.2018.1554485"
    one_number: ClassVar[bool] = False
    antipodal: bool = False

    @property
    def parts(self) -> tuple[UniformityTest, ...]:
        """The tests that are combined."""
        lines = self.antipodal
        each = Bingham(lines), GineFn(lines), PAD(lines), Packing(lines)
        return each if lines else (Rayleigh(), *each)

    def kernels(self, d: int) -> tuple[Kernel, ...]:
        """Those of all parts."""
        return tuple(dict.fromkeys(k for part in self.parts for k in part.kernels(d)))

    def summary(self, points: Points, d: int) -> Tensor | tuple[Tensor, ...]:
        """The statistics of the parts."""
        return tuple(part.statistic(points, d).double() for part in self.parts)

    def statistic_with(
        self,
        points: Points,
        d: int,
        sums: Mapping[Kernel, Tensor],
        known: Mapping[UniformityTest, Tensor],
    ) -> Tensor:
        """The statistic of points whose pair sums, and perhaps other statistics, are known."""
        each = tuple(
            known[part] if part in known else part.statistic_with(points, d, sums, known)
            for part in self.parts
        )
        return self.from_summary(tuple(part.double() for part in each), points.shape[-2], d)

    def from_summary(self, summary: Any, n: int, d: int) -> Tensor:
        """Combine the p-values of the parts."""
        logs = [
            tails_of(_part_law(part, n, d), statistic)[0]
            for part, statistic in zip(self.parts, summary, strict=True)
        ]
        return _minus_log_cauchy(torch.stack(logs))

    def asymptotic_law(self, n: int, d: int) -> LawChoice | None:
        """Exponential, if the combination were exact."""
        words = f"Cauchy combination of {len(self.parts)} p-values"
        return LawChoice(_Exponential(), "asymptotic", words)

    def simulated_at(self, n: int) -> int:
        """Beyond n = 50 the lower tail hardly moves: it is simulated there."""
        return min(n, _CAUCHY_FROM)

    def refine(self, table: Empirical, n: int, d: int) -> LawChoice:
        """From n = 50 on the upper tail is the combination's own."""
        if n < _CAUCHY_FROM:
            return super().refine(table, n, d)
        words = f"upper tail by Cauchy's law, lower tail by {table.sample.size} simulated sets"
        return LawChoice(TailedTable(table.sample, _Exponential()), "monte-carlo", words)


@functools.lru_cache(maxsize=256)
def _part_law(part: UniformityTest, n: int, d: int) -> Law:
    """A law without simulation: the combination is calibrated as a whole."""
    choice = part.best_law(n, d) or part.asymptotic_law(n, d)
    assert choice is not None
    law = choice.law
    limit = law.base if isinstance(law, Corrected) else law
    return Tabulated(law, limit.lowest) if isinstance(limit, WeightedChi2) else law


def _minus_log_cauchy(log_p: Tensor) -> Tensor:
    """Minus log of the Cauchy combination over the first axis, finite where p underflows."""
    p = log_p.exp()
    tiny = (log_p < _SMALL).any(0)
    total = torch.tan(math.pi * (0.5 - p.clamp(math.exp(_SMALL), _LARGEST))).mean(0)
    plain = -torch.log(0.5 - torch.atan(total) / math.pi)
    # tan(pi (1/2 - p)) = 1 / (pi p), and the combined p is 1 / (pi T)
    known = (log_p < 0.0) & (log_p > -torch.inf)
    small = torch.logsumexp(torch.where(known, -log_p, 0.0), 0) - math.log(log_p.shape[0])
    # a p-value of exactly 0 decides, and has no gradient
    return torch.where((log_p == -torch.inf).any(0), torch.inf, torch.where(tiny, small, plain))
