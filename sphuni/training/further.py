"""Further numbers of every method beside the main metric, and how they go with it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats as distributions

from sphuni.training.statistics import Paired, lower_is_better, paired

__all__ = ["Further", "further"]

_LEAST_METHODS = 3


@dataclasses.dataclass(frozen=True)
class Further:
    """One further metric on one data set.

    Attributes
    ----------
    metric : str
    means : tuple of float
        Of every method, in the order of the table.
    shifts : tuple of float
        Mean paired difference to the reference in standard deviations of the reference over seeds;
        negative is better where lower is better.
    correlation : Paired
        Spearman's rank correlation with the main metric across methods, found for each seed, as a
        mean over seeds with its interval. Positive: methods that are good by one are good by the
        other.
    """

    metric: str
    means: tuple[float, ...]
    shifts: tuple[float, ...]
    correlation: Paired


def further(
    metric: str,
    values: Mapping[str, NDArray[np.float64]],
    *,
    main: str,
    main_values: Mapping[str, NDArray[np.float64]],
    reference: str,
) -> Further:
    """Summarise a further metric.

    Parameters
    ----------
    metric, main : str
        Names; they say in which direction each is better.
    values, main_values : mapping of method to array of shape (seeds,)
        NaN where a run failed.
    reference : str

    Examples
    --------
    >>> energy = {"a": np.array([3.0, 5.0]), "b": np.array([1.0, 3.0]), "c": np.array([2.0, 4.0])}
    >>> error = {"a": np.array([9.0, 9.0]), "b": np.array([5.0, 5.0]), "c": np.array([7.0, 7.0])}
    >>> found = further("energy", energy, main="error", main_values=error, reference="a")
    >>> found.means, found.correlation.mean
    ((4.0, 2.0, 3.0), 1.0)
    """
    base = values.get(reference, np.array([]))
    scale = _deviation(base)
    shifts = [
        _mean(own - base) / scale if own.shape == base.shape and scale > 0 else math.nan
        for own in values.values()
    ]
    same = lower_is_better(metric) == lower_is_better(main)
    found = _correlations(list(values.values()), list(main_values.values()))
    correlations = found if same else -found
    return Further(
        metric,
        tuple(_mean(own) for own in values.values()),
        tuple(shifts),
        paired(correlations, np.zeros(len(correlations))),
    )


def _correlations(
    first: Sequence[NDArray[np.float64]], second: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Rank correlation across methods for every seed; NaN where it is not defined."""
    found = []
    for one, two in zip(np.stack(first, axis=1), np.stack(second, axis=1), strict=True):
        known = np.isfinite(one) & np.isfinite(two)
        one, two = one[known], two[known]
        defined = len(one) >= _LEAST_METHODS and np.ptp(one) > 0 and np.ptp(two) > 0
        found.append(float(distributions.spearmanr(one, two).statistic) if defined else math.nan)
    return np.array(found)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _deviation(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if known.size > 1 else 0.0
