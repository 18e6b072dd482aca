"""Parameters of a test chosen from the data without spoiling its p-value."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from sphuni._arrays import check_points, result_function
from sphuni._numbers import whole
from sphuni._result import Result
from sphuni._rng import numpy_generator, seeds
from sphuni._typing import Array, Points, Seed
from sphuni.stats import _registry
from sphuni.stats._base import LawChoice, UniformityTest
from sphuni.stats.multiplicity import combine_pvalues
from sphuni.stats.nulls._null import Null, choose
from sphuni.stats.nulls._pvalues import tails_of

__all__ = ["KFoldResult", "kfold_test"]


@dataclasses.dataclass(frozen=True, repr=False)
class KFoldResult(Result):
    """A test whose parameter was chosen on other points than it was used on.

    Attributes
    ----------
    test, parameter : str
        Names.
    pvalue : float
        Combined upper p-value.
    chosen : tuple
        Value of the parameter used on each fold.
    fold_pvalues : array of shape (k,)
        Upper p-value of each fold.
    combine : str
        How they were combined.
    n, d : int
        Number of points and ambient dimension.
    """

    test: str
    parameter: str
    pvalue: float
    chosen: tuple[Any, ...]
    fold_pvalues: Array
    combine: str
    n: int
    d: int

    def __repr__(self) -> str:
        lines = [
            f"KFoldResult({self.test}; n={self.n}, d={self.d}) "
            f"pvalue={self.pvalue:.6g} ({self.combine})"
        ]
        for value, p in zip(self.chosen, self.fold_pvalues, strict=True):
            lines.append(f"  {self.parameter}={value} p={float(p):.6g}")
        return "\n".join(lines)


@result_function()
def kfold_test(
    points: Points,
    /,
    test: str,
    *,
    parameter: str,
    values: Sequence[Any],
    n_folds: int = 5,
    combine: str = "harmonic",
    null: str = "auto",
    n_resamples: int | None = None,
    rng: Seed = None,
) -> KFoldResult:
    """Test uniformity with a parameter that the points themselves choose.

    Parameters
    ----------
    points : array of shape (n, d)
        Unit rows.
    test : str
        Name of a test.
    parameter : str
        Which of its parameters: "rho" of "poisson", "kappa" of "softmax", "s" of "riesz", ...
    values : sequence
        Values to choose from.
    n_folds : int, default 5
        Folds of nearly equal size, drawn at random.
    combine : {"harmonic", "cauchy", "simes", "fisher", "stouffer", "bonferroni"}
        As in `combine_pvalues`; default "harmonic".
    null, n_resamples
        As in `uniformity_test`.
    rng : int, numpy Generator, torch Generator or None
        Seed of the folds.

    Returns
    -------
    KFoldResult

    Notes
    -----
    For every fold the value is taken whose statistic, on all the other folds together, is the most
    standard deviations above its null mean: a stand-in for power. The test with that value is then
    run on the fold, which had no part in the choice, so its p-value is valid; the p-values of the
    folds depend on each other through the choices only, and the harmonic mean bears that.

    References
    ----------
    A. Fernández-de-Marcos, E. García-Portugués, "On new omnibus tests of uniformity on the
    hypersphere", TEST 32 (2023) 1508-1529, doi:10.1007/s11749-023-00882-x.

    D. J. Wilson, "The harmonic mean p-value for combining dependent tests", PNAS 116 (2019)
    1195-1200, doi:10.1073/pnas.1814092116.

    Examples
    --------
    >>> from sphuni.distributions import von_mises_fisher
    >>> x = von_mises_fisher(100, 3, kappa=2.0, rng=0)
    >>> kfold_test(x, "softmax", parameter="kappa", values=[0.1, 1.0, 10.0], rng=0).pvalue < 1e-3
    True
    """
    check_points(points)
    if points.ndim != 2:
        raise ValueError(f"points must be one set of shape (n, d); got {tuple(points.shape)}")
    n, d = points.shape
    if not 2 <= whole("n_folds", n_folds) <= n // 2:
        raise ValueError(f"n_folds must lie in 2 .. n / 2 = {n // 2}; got {n_folds}")
    if len(values) < 1:
        raise ValueError("values must hold at least one value of the parameter")
    built = [_registry.build(test, {parameter: value}) for value in values]
    # tables of "auto" have fixed seeds of their own
    apart = seeds(rng, 1)[0] + 1 if null == "monte-carlo" and rng is not None else None
    asked = Null(null, n_resamples, apart)
    folds = np.arange(n) % n_folds
    numpy_generator(rng).shuffle(folds)
    chosen, pvalues = [], []
    for fold in range(n_folds):
        rest, mine = points[folds != fold], points[folds == fold]
        best = int(np.argmax([_departure(candidate, rest, asked) for candidate in built]))
        law = _law(built[best], mine, asked)
        pvalues.append(float(tails_of(law.law, built[best].statistic(mine).double())[0].exp()))
        chosen.append(values[best])
    found = np.array(pvalues)
    return KFoldResult(
        test=built[0].name,
        parameter=parameter,
        pvalue=float(combine_pvalues(found, method=combine)),
        chosen=tuple(chosen),
        fold_pvalues=found,
        combine=combine,
        n=n,
        d=d,
    )


def _law(test: UniformityTest, points: Points, asked: Null) -> LawChoice:
    n, d = points.shape
    test.check(n, d)
    return choose(test, n, d, asked)


def _departure(test: UniformityTest, points: Points, asked: Null) -> float:
    """Standard deviations of the statistic above its null mean."""
    law = _law(test, points, asked).law
    spread = float(np.sqrt(law.variance))
    if not np.isfinite(spread) or spread == 0.0:
        return -np.inf
    return (float(test.statistic(points)) - law.mean) / spread
