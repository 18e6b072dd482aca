"""Size and power of tests, by simulation."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sphuni._devices import on_cpu
from sphuni._numbers import finite, whole
from sphuni._result import Result
from sphuni._rng import seeds
from sphuni._typing import Seed
from sphuni.stats import _registry, alternatives
from sphuni.stats._base import UniformityTest
from sphuni.stats.laws import Law
from sphuni.stats.nulls._null import Null, choose_all
from sphuni.stats.nulls._sets import Progress, statistics_under

__all__ = ["PowerResult", "PowerTable", "power", "power_table", "size"]

_FLOAT = NDArray[np.float64]
_CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True, repr=True)
class PowerResult(Result):
    """How often a test rejects.

    Attributes
    ----------
    test, alternative : str
        Names.
    n, d : int
        Points per set and ambient dimension.
    alpha : float
        Level.
    n_sets : int
        Simulated sets.
    upper, lower, two_sided : float
        Share of sets rejected by the upper tail (clustered), by the lower one (more regular) and by
        the two-sided p-value.
    upper_interval, lower_interval, two_sided_interval : tuple of float
        Exact 95 % confidence intervals (Clopper-Pearson).
    null : str
        Kind of null law used.
    parameters : dict
        Of the test.
    alternative_parameters : dict
        Of the alternative.
    """

    test: str
    alternative: str
    n: int
    d: int
    alpha: float
    n_sets: int
    upper: float
    lower: float
    two_sided: float
    upper_interval: tuple[float, float]
    lower_interval: tuple[float, float]
    two_sided_interval: tuple[float, float]
    null: str
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    alternative_parameters: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, repr=False)
class PowerTable(Result):
    """How often several tests reject the same simulated sets.

    Attributes
    ----------
    results : tuple of PowerResult
        Test by test, the levels of each in the order asked for.
    skipped : dict
        Tests of "all" that were left out, with the reason.
    """

    results: tuple[PowerResult, ...]
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)

    def __iter__(self) -> Iterator[PowerResult]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __repr__(self) -> str:
        if not self.results:
            return "PowerTable()"
        first = self.results[0]
        under = _registry.parameter_texts(first.alternative_parameters)
        sets = f"n={first.n}, d={first.d}, n_sets={first.n_sets}"
        lines = [f"PowerTable({', '.join([first.alternative, *under])}; {sets})"]
        for r in self.results:
            low, high = r.upper_interval
            lines.append(
                f"  {_registry.label(r.test, r.parameters):<16} alpha={r.alpha:g} "
                f"upper={r.upper:.4g} [{low:.4g}, {high:.4g}] lower={r.lower:.4g} "
                f"two_sided={r.two_sided:.4g} ({r.null})"
            )
        return "\n".join(lines)


@on_cpu()
def power(
    test: str | UniformityTest,
    alternative: str | Callable[..., Any],
    *,
    n: int,
    d: int,
    alpha: float = 0.05,
    n_sets: int = 2000,
    null: str = "auto",
    n_resamples: int | None = None,
    rng: Seed = None,
    workers: int = 1,
    progress: Progress | None = None,
    test_parameters: dict[str, Any] | None = None,
    **parameters: Any,
) -> PowerResult:
    """Estimate how often a test rejects uniformity under an alternative.

    Parameters
    ----------
    test : str
        Name of the test.
    alternative : str or callable
        A sampler of `sphuni.stats.alternatives` by name, or a function ``(n, d, *, batch, rng)``
        that returns unit rows of shape ``(*batch, n, d)``; importable by name if workers > 1.
    n, d : int
        Points per set and ambient dimension.
    alpha : float, default 0.05
        Level.
    n_sets : int, default 2000
        Simulated sets.
    null, n_resamples
        As in `uniformity_test`.
    rng : int, numpy Generator, torch Generator or None
        Seed; the answer does not depend on `workers`.
    workers : int, default 1
        Processes.
    progress : callable, optional
        Called with the sets done and in all, those of simulated null laws included.
    test_parameters : dict, optional
        Parameters of the test.
    **parameters
        Parameters of the alternative.

    Returns
    -------
    PowerResult

    Examples
    --------
    >>> result = power("rayleigh", "watson", n=50, d=3, kappa=30.0, n_sets=200, rng=0)
    >>> result.upper < 0.3  # blind to alternatives that are symmetric under x to -x
    True
    """
    built = _registry.build(test, test_parameters or {})
    table = power_table(
        [built], alternative, n=n, d=d, alphas=(alpha,), n_sets=n_sets, null=null,
        n_resamples=n_resamples, rng=rng, workers=workers, progress=progress, **parameters,
    )  # fmt: skip
    return table.results[0]


@on_cpu()
def size(
    test: str | UniformityTest,
    *,
    n: int,
    d: int,
    alpha: float = 0.05,
    n_sets: int = 10_000,
    null: str = "auto",
    n_resamples: int | None = None,
    rng: Seed = None,
    workers: int = 1,
    progress: Progress | None = None,
    **parameters: Any,
) -> PowerResult:
    """Estimate how often a test rejects uniform points: its true level.

    Parameters
    ----------
    test, n, d, alpha, n_sets, null, n_resamples, rng, workers, progress
        As in `power`.
    **parameters
        Parameters of the test.

    Returns
    -------
    PowerResult

    Examples
    --------
    >>> result = size("bingham", n=30, d=5, n_sets=2000, rng=0)
    >>> result.upper_interval[0] < 0.05 < result.upper_interval[1]
    True
    """
    return power(
        test, "uniform", n=n, d=d, alpha=alpha, n_sets=n_sets, null=null,
        n_resamples=n_resamples, rng=rng, workers=workers, progress=progress,
        test_parameters=parameters,
    )  # fmt: skip


@on_cpu()
def power_table(
    tests: str | Sequence[str | UniformityTest] = "all",
    alternative: str | Callable[..., Any] = "uniform",
    *,
    n: int,
    d: int,
    alphas: Sequence[float] = (0.05,),
    n_sets: int = 2000,
    null: str = "auto",
    n_resamples: int | None = None,
    rng: Seed = None,
    workers: int = 1,
    progress: Progress | None = None,
    **parameters: Any,
) -> PowerTable:
    """Estimate how often several tests reject, all on the same simulated sets.

    Parameters
    ----------
    tests : "all" or sequence of str, default "all"
        Names; "all" takes those that suit n, d and `null`.
    alternative : str or callable, default "uniform"
        As in `power`; "uniform" gives sizes.
    alphas : sequence of float, default (0.05,)
        Levels.
    n, d, n_sets, null, n_resamples, rng, workers, progress, **parameters
        As in `power`.

    Returns
    -------
    PowerTable

    Notes
    -----
    The pairs of points are visited once for all tests, and each law is asked for a few statistics
    only: p-values are monotone, so the sorted statistics are searched for the critical one.

    Examples
    --------
    >>> table = power_table(["rayleigh", "bingham"], "watson", n=40, d=3, kappa=9.0, rng=0)
    >>> [round(result.upper, 1) for result in table]
    [0.2, 1.0]
    """
    whole("n", n, 1)
    whole("d", d, 2, "the circle")
    whole("n_sets", n_sets, 1)
    for alpha in alphas:
        if not 0 < finite("alpha", alpha) < 1:
            raise ValueError(f"alpha must be a level strictly between 0 and 1; got {alpha}")
    sampler, name = alternatives.find(alternative)
    chosen, skipped = _chosen(tests, n, d)
    counted = _Counted(progress, n_sets)
    tables = counted.tables if progress else None
    asked = Null(null, n_resamples, _seed_of_tables(null, rng), workers, progress=tables)
    kept, laws = [], []
    for test, choice in zip(chosen, choose_all(chosen, n, d, asked), strict=True):
        if not isinstance(choice, ValueError):
            kept.append(test)
            laws.append(choice)
        elif tests == "all":
            skipped[test.name] = str(choice)
        else:
            raise choice
    values = statistics_under(
        kept, sampler, n, d, n_sets,
        parameters=parameters, rng=rng, workers=workers,
        progress=counted.sets if progress else None,
    )  # fmt: skip
    results = []
    for test, choice, column in zip(kept, laws, values.T, strict=True):
        counts = _Rejections(choice.law, np.sort(column[~np.isnan(column)]))
        results += [
            _result(test, counts, n_sets, choice.kind, name, parameters, n, d, alpha)
            for alpha in alphas
        ]
    return PowerTable(tuple(results), skipped)


def _seed_of_tables(null: str, rng: Seed) -> int | None:
    """A seed apart from those of the sets; tables of "auto" have fixed seeds of their own."""
    return seeds(rng, 1)[0] + 1 if null == "monte-carlo" and rng is not None else None


class _Counted:
    """One count for the simulated null tables and the sets of the alternative."""

    def __init__(self, progress: Progress | None, n_sets: int) -> None:
        self.progress, self.n_sets, self.before = progress, n_sets, 0

    def tables(self, done: int, total: int) -> None:
        self.before = total
        assert self.progress is not None
        self.progress(done, total + self.n_sets)

    def sets(self, done: int, total: int) -> None:
        assert self.progress is not None
        self.progress(self.before + done, self.before + total)


def _chosen(
    tests: str | Sequence[str | UniformityTest], n: int, d: int
) -> tuple[list[UniformityTest], dict[str, str]]:
    """Build the tests asked for; of "all" those that are defined, with reasons for the others."""
    if isinstance(tests, str) and tests != "all":
        raise TypeError(f"tests must be 'all' or a sequence of names; got {tests!r}")
    chosen: list[UniformityTest] = []
    skipped: dict[str, str] = {}
    for name in _registry.TESTS if tests == "all" else tests:
        test = _registry.build(name, {})
        try:
            test.check(n, d)
        except ValueError as reason:
            if tests != "all":
                raise
            skipped[test.name] = str(reason)
        else:
            chosen.append(test)
    return chosen, skipped


def _result(
    test: UniformityTest,
    counts: "_Rejections",
    total: int,
    kind: str,
    alternative: str,
    alternative_parameters: dict[str, Any],
    n: int,
    d: int,
    alpha: float,
) -> PowerResult:
    upper, lower = counts.at(alpha)
    # 2 min(p, p_lower) <= alpha; the two cannot both be that small
    either = sum(counts.at(0.5 * alpha))
    return PowerResult(
        test=test.name,
        alternative=alternative,
        n=n,
        d=d,
        alpha=alpha,
        n_sets=total,
        upper=upper / total,
        lower=lower / total,
        two_sided=either / total,
        upper_interval=clopper_pearson(upper, total, _CONFIDENCE),
        lower_interval=clopper_pearson(lower, total, _CONFIDENCE),
        two_sided_interval=clopper_pearson(either, total, _CONFIDENCE),
        null=kind,
        parameters=test.parameters(),
        alternative_parameters=alternative_parameters,
    )


class _Rejections:
    """Counts of sorted statistics that a law rejects; p-values are monotone, so few are asked."""

    def __init__(self, law: Law, ordered: _FLOAT) -> None:
        self.law, self.ordered = law, ordered
        self.seen: dict[int, tuple[float, float]] = {}

    def _logs(self, index: int) -> tuple[float, float]:
        if index not in self.seen:
            tails = self.law.tails(self.ordered[index : index + 1])
            self.seen[index] = float(tails.log_upper[0]), float(tails.log_lower[0])
        return self.seen[index]

    def at(self, alpha: float) -> tuple[int, int]:
        """How many upper and how many lower p-values are at most alpha."""
        level, size = math.log(alpha) * (1 - 1e-12), self.ordered.size
        first = _first(size, lambda i: self._logs(i)[0] <= level, round((1 - alpha) * size))
        last = _first(size, lambda i: not self._logs(i)[1] <= level, round(alpha * size))
        return size - first, last


def _first(size: int, holds: Callable[[int], bool], guess: int) -> int:
    """First index in 0 .. size from which on a condition holds, sought near `guess` first."""
    low, high = 0, size
    reach = max(1, round(math.sqrt(size) / 2))
    for index in (guess - reach, guess + reach):
        if low <= index < high:
            if holds(index):
                high = index
            else:
                low = index + 1
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def clopper_pearson(count: int, total: int, confidence: float) -> tuple[float, float]:
    """Exact interval of a share of which `count` of `total` were seen."""
    tail = 0.5 * (1 - confidence)
    low = float(special.betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(special.betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return low, high
