"""Results of tests of uniformity."""

import contextlib
import dataclasses
import html
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from sphuni._result import Result
from sphuni._typing import Array
from sphuni.stats._registry import build, label, read

__all__ = ["TestTable", "UniformityTestResult"]


@dataclasses.dataclass(frozen=True, repr=False)
class UniformityTestResult(Result):
    """One test of uniformity; ``statistic, pvalue = result`` unpacks it as results of SciPy.

    Attributes
    ----------
    test : str
        Name of the test.
    statistic : array of the batch shape
        Large values mean clustering.
    pvalue : array
        Upper tail, P(S >= statistic): small when the points are more clustered than chance.
    pvalue_lower : array
        Lower tail, P(S <= statistic): small when they are more regular than chance.
    pvalue_two_sided : array
        Twice the smaller of the two, at most 1.
    log_pvalue, log_pvalue_lower : array
        Natural logarithms, finite where the probability itself is below the smallest float.
    null : str
        Which law: "exact", "asymptotic" or "monte-carlo".
    null_description : str
        That law in words.
    null_mean, null_variance : float
        Of the statistic under uniformity; NaN where not known.
    effect_size : array
        Departure from uniformity on a scale that does not grow with n: the mean of the kernel
        over pairs, in its standard deviations, 0 for chance, which is the estimate of
        `sphuni.stats.effect_size`. "sliced_wasserstein": the same of Watson's kernel on its
        circles. "packing": the median smallest chord of chance over the observed one, 1 for
        chance. NaN for tests without one.
    n, d : int
        Number of points and ambient dimension.
    parameters : dict
        Parameters of the test.
    n_resamples : int or None
        Simulated sets, where the law is "monte-carlo".
    mc_standard_error : array or None
        Standard error of `pvalue` from the simulation.
    notes : tuple of str
        What a careful reader should know about these p-values.
    """

    better: ClassVar[str | None] = "lower"

    test: str
    statistic: Array
    pvalue: Array
    pvalue_lower: Array
    pvalue_two_sided: Array
    log_pvalue: Array
    log_pvalue_lower: Array
    null: str
    null_description: str
    null_mean: float
    null_variance: float
    effect_size: Array
    n: int
    d: int
    parameters: dict[str, Any]
    n_resamples: int | None = None
    mc_standard_error: Array | None = None
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name of the test with the parameters that differ from their defaults."""
        return label(self.test, self.parameters)

    def __iter__(self) -> Iterator[Array]:
        return iter((self.statistic, self.pvalue))

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{html.escape(key)}</th><td>{html.escape(str(value))}</td></tr>"
            for key, value in self.to_dict().items()
            if value is not None and value not in ([], {})
        )
        return f"<table>{rows}</table>"


@dataclasses.dataclass(frozen=True, repr=False)
class TestTable(Result):
    """Several tests of the same points.

    Attributes
    ----------
    results : tuple of UniformityTestResult
        In the order asked for.
    adjusted, adjusted_lower, adjusted_two_sided : array of shape (..., number of tests)
        The p-values of each tail, adjusted for the number of tests.
    correction : str
        How they were adjusted.
    skipped : dict
        Tests of "all" that were left out, with the reason.
    """

    results: tuple[UniformityTestResult, ...]
    adjusted: Array
    adjusted_lower: Array
    adjusted_two_sided: Array
    correction: str = "holm"
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)

    __test__: ClassVar[bool] = False

    def __getitem__(self, test: str | int) -> UniformityTestResult:
        """The result at a place, or the first of a name, label or name with parameters."""
        if isinstance(test, int | np.integer):
            return self.results[test]
        found = self._find(test)
        if found is None:
            raise KeyError(f"{test!r} is not among {[result.label for result in self.results]}")
        return found

    def __contains__(self, test: object) -> bool:
        """Whether there is a result of this name, as ``table[name]`` reads it, or this result."""
        if isinstance(test, str):
            return self._find(test) is not None
        return any(test is result for result in self.results)

    def _find(self, test: str) -> UniformityTestResult | None:
        for result in self.results:
            if test in (result.test, result.label):
                return result
        with contextlib.suppress(TypeError, ValueError):
            built, (_, given) = build(test, {}), read(test)
            wanted = {k: v for k, v in built.parameters().items() if k in given}
            for result in self.results:
                if result.test == built.name and wanted.items() <= result.parameters.items():
                    return result
        return None

    def __iter__(self) -> Iterator[UniformityTestResult]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __repr__(self) -> str:
        lines = [f"TestTable(n={self.results[0].n}, d={self.results[0].d})" if len(self) else ""]
        for place, r in enumerate(self.results):
            lines.append(
                f"  {r.label:<16} statistic={_short(r.statistic)} p={_short(r.pvalue)} "
                f"p_lower={_short(r.pvalue_lower)} p_{self.correction}="
                f"{_short(self.adjusted[..., place])} ({r.null})"
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        heads = ("test", "statistic", "p", "p lower", f"p, {self.correction}", "null")
        head = "".join(f"<th>{name}</th>" for name in heads)
        body = "".join(
            f"<tr><td>{html.escape(r.label)}</td><td>{_short(r.statistic)}</td>"
            f"<td>{_short(r.pvalue)}</td><td>{_short(r.pvalue_lower)}</td>"
            f"<td>{_short(self.adjusted[..., place])}</td><td>{r.null}</td></tr>"
            for place, r in enumerate(self.results)
        )
        return f"<table><tr>{head}</tr>{body}</table>"


def _short(value: Array) -> str:
    shape = tuple(getattr(value, "shape", ()))
    return f"{float(value):.6g}" if shape == () else f"<{'x'.join(map(str, shape))}>"
