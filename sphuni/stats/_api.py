"""`uniformity_test` and `uniformity_tests`."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sphuni._arrays import check_points, result_function
from sphuni._typing import Points, Seed
from sphuni.kernels import Kernel
from sphuni.sphere import tangent_rows
from sphuni.stats import _registry
from sphuni.stats._base import LawChoice, UniformityTest
from sphuni.stats._result import TestTable, UniformityTestResult
from sphuni.stats.laws import Law, SequentialTable, TailedTable
from sphuni.stats.multiplicity import adjusted, check_method
from sphuni.stats.nulls._null import QUICK, Null, choose, choose_all, sequential
from sphuni.stats.nulls._pvalues import tails_of, warn_of_infinity
from sphuni.stats.nulls._simulate import Progress
from sphuni.stats.sums._incomplete import (
    check_max_pairs,
    incomplete_law,
    is_incomplete,
    sampled_sums,
)
from sphuni.stats.sums._sums import kernel_sums

__all__ = ["test_from_summary", "uniformity_test", "uniformity_tests"]

_SMALL = 50


@result_function()
def uniformity_test(
    points: Points,
    /,
    test: str | UniformityTest = "bingham",
    *,
    null: str = "auto",
    n_resamples: int | None = None,
    rng: Seed = None,
    workers: int = 1,
    max_pairs: int | None = None,
    stop_after: int | None = None,
    progress: Progress | None = None,
    **parameters: Any,
) -> UniformityTestResult:
    """Test whether points are independent and uniform on the sphere.

    Parameters
    ----------
    points : array of shape (..., n, d)
        Unit rows.
    test : str, default "bingham"
        A name listed by `available_tests`; parameters may follow it, as in "riesz:s=0.5".
    null : {"auto", "exact", "asymptotic", "monte-carlo"}, default "auto"
        The law the statistic is read against. "auto" takes the exact law, else the limit law
        corrected to finite n where its size is right, else a simulated table.
    n_resamples : int, optional
        Simulated uniform sets, where a table is used. Default 9,999; the tables of null="auto",
        which are kept, have 99,999 where that costs less than about a minute.
    rng : int, numpy Generator, torch Generator or None
        Seed of the simulation. With null="auto" and None the table has a fixed seed and is kept.
    workers : int, default 1
        Processes for the simulation; the answer does not depend on it. A script that asks for more
        than one must run from under ``if __name__ == "__main__":``, as they import it again.
    max_pairs : int, optional
        Budget of pairs, at least 1,000. A pairwise test of more pairs takes this many random ones
        (chosen by `rng`, or by a fixed seed) and is read against the law of that incomplete
        U-statistic; the loss of power is that of a sample with fewer points.
    stop_after : int, optional
        With null="monte-carlo": stop simulating once this many statistics were as extreme in
        each of the two tails (Besag and Clifford's sequential p-value), which is soon for one in
        the middle of the law; `n_resamples` is the most.
    progress : callable, optional
        Called as ``progress(done, total)`` while sets are simulated.
    **parameters
        Parameters of the test, such as ``antipodal=True`` for points taken as lines.

    Returns
    -------
    UniformityTestResult
        Array fields of the batch shape, in the caller's library.

    Raises
    ------
    ValueError
        If rows are not unit or finite, n or d does not suit the test, or a name is unknown.
    TypeError
        If the test has no parameter of that name.

    Notes
    -----
    Small p-values say that independent uniform directions are an implausible origin of the points.
    They do not say whether the departure is good, bad or large: read `effect_size` for that.

    Gradients are tangent. p-values are differentiable once, through the law's density; that of a
    table of M simulated sets is a difference over 2 M^(-1/5) standard deviations, which is right to
    some per cent.

    Simulated tables with a known seed are stored in the user's cache folder; the environment
    variable SPHUNI_CACHE moves them, and "off" keeps them in memory only.

    Examples
    --------
    >>> import numpy as np
    >>> result = uniformity_test(np.vstack([np.eye(64), -np.eye(64)]), "rayleigh")
    >>> float(result.statistic), float(result.pvalue), result.null
    (0.0, 1.0, 'asymptotic')
    """
    check_points(points)
    points = tangent_rows(points)
    built = _registry.build(test, parameters)
    n, d = points.shape[-2:]
    built.check(n, d)
    check_max_pairs(max_pairs)
    asked = Null(null, n_resamples, rng, workers, progress=progress)
    if max_pairs is not None and is_incomplete(built, n, d, max_pairs):
        if stop_after is not None:
            raise ValueError(
                "stop_after ends a simulation, and there is none with a part of the pairs: leave "
                "out stop_after or max_pairs"
            )
        (law,) = _incomplete_laws([built], n, d, max_pairs, asked)
        if isinstance(law, ValueError):
            raise law
        (sums,) = _incomplete_sums(points, [built], d, max_pairs, rng)
        return _result(built, built.from_summary(sums, n, d), n, d, law, points.dtype)
    statistic = built.statistic(points)
    if stop_after is None:
        choice = choose(built, n, d, asked)
    else:
        values = statistic.detach().cpu().double().numpy().reshape(-1)
        choice = sequential(built, values, n, d, asked, stop_after)
    return _result(built, statistic, n, d, choice, points.dtype)


@result_function()
def uniformity_tests(
    points: Points,
    /,
    tests: str | Sequence[str | UniformityTest] = "all",
    *,
    null: str = "auto",
    n_resamples: int | None = None,
    rng: Seed = None,
    workers: int = 1,
    antipodal: bool = False,
    correction: str = "holm",
    max_pairs: int | None = None,
    progress: Progress | None = None,
) -> TestTable:
    """Run several tests of uniformity with one pass over the pairs of points.

    Parameters
    ----------
    points : array of shape (..., n, d)
        Unit rows.
    tests : "all" or sequence of str, default "all"
        Names listed by `available_tests`, perhaps with parameters, such as "riesz:s=0.5" or
        "sobolev:weights=1/0/2"; "all" takes those that suit n, d and `null`, and whose null law
        takes no more than some seconds to simulate.
    antipodal : bool, default False
        Take points as lines.
    correction : {"holm", "hochberg", "bonferroni", "bh", "by", "none"}, default "holm"
        Adjustment of the p-values for the number of tests, as in `adjust_pvalues`; `joint_tests`
        adjusts by the joint null law, which loses less.
    null, n_resamples, rng, workers, max_pairs, progress
        As in `uniformity_test`; all tests share the random pairs and the simulated sets.

    Returns
    -------
    TestTable
        One `UniformityTestResult` per test, and the adjusted p-values.

    Examples
    --------
    >>> import numpy as np
    >>> table = uniformity_tests(np.vstack([np.eye(3), -np.eye(3)]), ["rayleigh", "bingham"])
    >>> [result.test for result in table]
    ['rayleigh', 'bingham']
    """
    check_points(points)
    points = tangent_rows(points)
    check_method("correction", correction)
    n, d = points.shape[-2:]
    check_max_pairs(max_pairs)
    every = isinstance(tests, str) and tests == "all"
    most = QUICK if every else math.inf
    asked = Null(null, n_resamples, rng, workers, most, progress)
    chosen, skipped = _select(tests, n, d, antipodal, null)
    partial = [test for test in chosen if is_incomplete(test, n, d, max_pairs)]
    whole = [test for test in chosen if test not in partial]
    statistics: dict[UniformityTest, Tensor] = {}
    choices = dict(zip(whole, choose_all(whole, n, d, asked), strict=True))
    if partial and max_pairs is not None:
        laws = _incomplete_laws(partial, n, d, max_pairs, asked)
        choices |= dict(zip(partial, laws, strict=True))
        parts = _incomplete_sums(points, partial, d, max_pairs, rng)
        statistics = {t: t.from_summary(part, n, d) for t, part in zip(partial, parts, strict=True)}
    sums = _shared_sums(points, whole, n, d)
    results = []
    for test in chosen:
        choice = choices[test]
        if isinstance(choice, ValueError):
            if not every:
                raise choice
            skipped[test.name] = str(choice)
            continue
        if test not in statistics:
            statistics[test] = test.statistic_with(points, d, sums, statistics)
        results.append(_result(test, statistics[test], n, d, choice, points.dtype))
    upper, lower, either = (
        _adjusted([getattr(result, tail) for result in results], correction, points)
        for tail in ("pvalue", "pvalue_lower", "pvalue_two_sided")
    )
    return TestTable(tuple(results), upper, lower, either, correction, skipped)


def _adjusted(pvalues: Sequence[Tensor], method: str, points: Points) -> Tensor:
    """Adjust the p-values of several tests, along a new last axis."""
    if not pvalues:
        return points.new_empty((*points.shape[:-2], 0))
    return adjusted(torch.stack(tuple(pvalues), dim=-1), method)


@result_function()
def test_from_summary(
    summary: Tensor,
    /,
    test: str | UniformityTest,
    *,
    n: int,
    d: int,
    null: str = "auto",  # noqa: PT028
    n_resamples: int | None = None,  # noqa: PT028
    rng: Seed = None,  # noqa: PT028
    workers: int = 1,  # noqa: PT028
    **parameters: Any,
) -> UniformityTestResult:
    """Test uniformity from the one number that the statistic is made of.

    Parameters
    ----------
    summary : float or array of any shape
        "rayleigh": the length of the sum of the points. "bingham": the sum of all n^2 squared
        cosines, which is the sum of the fourth powers of the singular values. "packing": the
        smallest chord. A test with one pair kernel: the sum of `pair_kernels(test, d)[0]` over
        i < j; with several kernels their sums along a new first axis.
    test : str
        Name of the test.
    n, d : int
        Number of points and ambient dimension.
    null, n_resamples, rng, workers, **parameters
        As in `uniformity_test`.

    Returns
    -------
    UniformityTestResult

    Examples
    --------
    >>> test_from_summary(0.0, "rayleigh", n=1000, d=3).statistic
    np.float64(0.0)
    """
    built = _registry.build(test, parameters)
    built.check(n, d)
    if not built.one_number:
        raise ValueError(
            f"test {built.name!r} is not made of one number or of pair sums; give its points to "
            "uniformity_test"
        )
    kernels = built.terms(d)
    parts: Any = summary.double()
    if kernels:
        parts = parts[None] if len(kernels) == 1 else parts
        if parts.ndim < 1 or parts.shape[0] != len(kernels):
            raise ValueError(
                f"summary must hold {len(kernels)} pair sums along its first axis for test "
                f"{built.name!r}; got shape {tuple(summary.shape)}"
            )
        parts = tuple(parts.unbind(0))
    asked = Null(null, n_resamples, rng, workers)
    statistic = built.from_summary(parts, n, d)
    return _result(built, statistic, n, d, choose(built, n, d, asked), torch.float64)


test_from_summary.__test__ = False  # type: ignore[attr-defined]


def pair_kernels(test: str | UniformityTest, d: int, **parameters: Any) -> tuple[Kernel, ...]:
    """Kernels whose sums over i < j `test_from_summary` takes; empty where it wants no pairs.

    Examples
    --------
    >>> [kernel.label for kernel in pair_kernels("gine_gn", 3)]
    ['1 - sine']
    """
    return tuple(term.kernel for term in _registry.build(test, parameters).terms(d))


def _select(
    tests: str | Sequence[str | UniformityTest], n: int, d: int, antipodal: bool, null: str
) -> tuple[list[UniformityTest], dict[str, str]]:
    """Build the tests asked for; of "all" those that are defined, with reasons for the others."""
    extra: dict[str, Any] = {"antipodal": True} if antipodal else {}
    if not isinstance(tests, str):
        chosen = [_registry.build(test, extra) for test in tests]
        for test in chosen:
            test.check(n, d)
        return chosen, {}
    if tests != "all":
        raise TypeError(f"tests must be 'all' or a sequence of names; got {tests!r}")
    chosen, skipped = [], {}
    for name in _registry.TESTS:
        try:
            test = _registry.build(name, extra)
            test.check(n, d)
        except (TypeError, ValueError) as reason:
            skipped[name] = str(reason)
            continue
        if test.in_all or null == "monte-carlo" or n <= _SMALL:
            chosen.append(test)
        else:
            skipped[name] = f"the null law of test {name!r} must be simulated: ask for it by name"
    return chosen, skipped


def _shared_sums(
    points: Points, tests: Sequence[UniformityTest], n: int, d: int
) -> dict[Kernel, Tensor]:
    """Every kernel's pair sum, each computed once and all in one pass."""
    paired = [test for test in tests if test.needs_pairs(n, d)]
    return kernel_sums(points, [kernel for test in paired for kernel in test.kernels(d)])


def _incomplete_laws(
    tests: Sequence[UniformityTest], n: int, d: int, count: int, asked: Null
) -> list[LawChoice | ValueError]:
    """Law of each test that takes a part of the pairs, or why there is none."""
    if asked.null not in ("auto", "asymptotic"):
        raise ValueError(f"max_pairs goes with null='auto' or 'asymptotic'; got {asked.null!r}")
    return [incomplete_law(test, n, d, count) for test in tests]


def _incomplete_sums(
    points: Points, tests: Sequence[UniformityTest], d: int, count: int, rng: Seed
) -> list[tuple[Tensor, ...]]:
    """Pair sums of each test from the same random pairs."""
    kernels = list(dict.fromkeys(kernel for test in tests for kernel in test.kernels(d)))
    sums = dict(zip(kernels, sampled_sums(points, kernels, count, rng), strict=True))
    return [tuple(sums[kernel] for kernel in test.kernels(d)) for test in tests]


def _result(
    test: UniformityTest, statistic: Tensor, n: int, d: int, choice: LawChoice, dtype: torch.dtype
) -> UniformityTestResult:
    wide = statistic.double()
    warn_of_infinity(test, wide, stacklevel=5)
    log_upper, log_lower = tails_of(choice.law, wide)
    upper, lower = log_upper.exp(), log_lower.exp()
    count = choice.law.sample.size if choice.kind == "monte-carlo" else None  # type: ignore[attr-defined]
    error = None
    simulated = count is not None and not isinstance(choice.law, TailedTable)
    if count is not None and simulated:
        error = (upper * (1 - upper) / _draws(choice.law, upper, count)).clamp(min=0.0).sqrt()
        error = error.to(dtype)
    return UniformityTestResult(
        test=test.name,
        statistic=wide.to(dtype),
        pvalue=upper.to(dtype),
        pvalue_lower=lower.to(dtype),
        pvalue_two_sided=(2 * torch.minimum(upper, lower)).clamp(max=1.0).to(dtype),
        log_pvalue=log_upper.to(dtype),
        log_pvalue_lower=log_lower.to(dtype),
        null=choice.kind,
        null_description=choice.description,
        null_mean=float(choice.law.mean),
        null_variance=float(choice.law.variance),
        effect_size=test.effect_size(wide, n, d).to(dtype),
        n=n,
        d=d,
        parameters=test.parameters(),
        n_resamples=count,
        mc_standard_error=error,
        notes=tuple(
            _notes(log_upper.detach(), log_lower.detach(), count, simulated, dtype)
            + _atom_notes(test, n, d)
            + ([choice.caution] if choice.caution else [])
        ),
    )


def _draws(law: Law, upper: Tensor, count: int) -> Tensor | int:
    """Simulated sets that a p-value comes from: few, where they were counted up to a number."""
    return (law.enough / upper).clamp(max=count) if isinstance(law, SequentialTable) else count


def _notes(
    upper: Tensor, lower: Tensor, count: int | None, simulated: bool, dtype: torch.dtype
) -> list[str]:
    notes: list[str] = []
    least = math.log(torch.finfo(dtype).tiny)
    floor = -math.inf if count is None else 1e-9 - math.log1p(count)
    if torch.minimum(upper, lower).min().item() > max(floor, least):
        return notes
    at_floor = (upper <= floor) & (upper > -torch.inf) & simulated
    if count is not None and bool((at_floor | (lower <= floor)).any()):
        notes.append(
            f"no simulated set was as extreme: p is at its floor 1/{count + 1}; "
            "raise n_resamples to resolve it"
        )
    for name, value in (("pvalue", upper), ("pvalue_lower", lower)):
        if bool(((value < least) & (value > -torch.inf)).any()):
            kind = str(dtype).removeprefix("torch.")
            notes.append(f"{name} is below the smallest {kind}; read log_{name}")
        if bool((value == -torch.inf).any()):
            notes.append(f"{name} is exactly 0: no uniform sample can reach this statistic")
    return notes


def _atom_notes(test: UniformityTest, n: int, d: int) -> list[str]:
    """What to know about p-values that are conservative."""
    if not test.has_atoms(n, d):
        return []
    kind = "is discrete" if test.discrete else "takes its least value with positive probability"
    return [f"the statistic {kind}: both tails include its own value"]
