"""The smallest departure from uniformity that a test can be expected to find."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from sphuni._result import Result
from sphuni._rng import seeds
from sphuni._typing import Seed
from sphuni.stats.power import PowerResult, power

__all__ = ["DetectableResult", "smallest_detectable"]

_LEAST_SHARE = 1e-6


@dataclasses.dataclass(frozen=True, repr=False)
class DetectableResult(Result):
    """How strong an alternative must be for a test to find it.

    Attributes
    ----------
    test, alternative, parameter : str
        Names.
    strength : float
        Value of the parameter at which the power is reached; inf where even `high` is too weak.
    interval : tuple of float
        95 % interval of the strength, from that of the simulated power.
    power : float
        Power that was asked for.
    alpha : float
        Level.
    n, d : int
        Points per set and ambient dimension.
    n_sets : int
        Simulated sets per strength tried.
    tried : tuple of tuple of float
        Strengths tried and the power found there, ascending.
    """

    test: str
    alternative: str
    parameter: str
    strength: float
    interval: tuple[float, float]
    power: float
    alpha: float
    n: int
    d: int
    n_sets: int
    tried: tuple[tuple[float, float], ...]


def smallest_detectable(
    test: str,
    alternative: str | Callable[..., Any] = "von_mises_fisher",
    *,
    n: int,
    d: int,
    parameter: str = "kappa",
    target: float = 0.8,
    tail: Literal["upper", "lower", "two_sided"] = "upper",
    alpha: float = 0.05,
    low: float = 0.0,
    high: float | None = None,
    n_sets: int = 1000,
    rtol: float = 0.02,
    rng: Seed = None,
    workers: int = 1,
    test_parameters: dict[str, Any] | None = None,
    **parameters: Any,
) -> DetectableResult:
    """Find the weakest alternative that a test finds with a given probability.

    Parameters
    ----------
    test, alternative, n, d, alpha, test_parameters, workers
        As in `power`.
    parameter : str, default "kappa"
        Keyword of the alternative that is its strength; the power must grow with it.
    target : float, default 0.8
        Power to be reached.
    tail : {"upper", "lower", "two_sided"}, default "upper"
        Which rejections count.
    low, high : float
        Range of the strength. By default from 0, and doubled from 1 until the power is reached.
    n_sets : int, default 1000
        Simulated sets per strength; the same seeds at every strength, so that the found power is
        nearly monotone.
    rtol : float, default 0.02
        Relative accuracy of the search.
    rng : int, numpy Generator, torch Generator or None
        Seed.
    **parameters
        Other parameters of the alternative.

    Returns
    -------
    DetectableResult

    Examples
    --------
    >>> result = smallest_detectable("rayleigh", n=100, d=3, n_sets=400, rng=0)
    >>> 0.4 < result.strength < 0.7
    True
    """
    if not alpha < target < 1:
        raise ValueError(f"target must be a power between alpha = {alpha} and 1; got {target}")
    if not 0 < rtol < 1:
        raise ValueError(f"rtol must lie strictly between 0 and 1; got {rtol}")
    if tail not in ("upper", "lower", "two_sided"):
        raise ValueError(f"tail must be 'upper', 'lower' or 'two_sided'; got {tail!r}")
    if high is not None and not low < high:
        raise ValueError(f"low must be below high; got {low} and {high}")
    seed = seeds(rng, 1)[0]
    found: dict[float, PowerResult] = {}

    def at(strength: float) -> PowerResult:
        if strength not in found:
            settings: dict[str, Any] = {**parameters, parameter: strength}
            found[strength] = power(
                test, alternative, n=n, d=d, alpha=alpha, n_sets=n_sets, rng=seed, workers=workers,
                test_parameters=test_parameters, **settings,
            )  # fmt: skip
        return found[strength]

    top = _reach(at, tail, target, 2 * low or 1.0) if high is None else float(high)
    if low > 0 and _end(at(low), tail, None) >= target:
        raise ValueError(
            f"low = {low:g} has the power {target:g} already, so the strength lies below; lower it"
        )
    edges = [
        _crossing(lambda s, end=end: _end(at(s), tail, end), target, low, top, rtol)
        for end in (1, None, 0)
    ]
    first = next(iter(found.values()))
    tried = tuple((s, float(getattr(found[s], tail))) for s in sorted(found))
    return DetectableResult(
        first.test, first.alternative, parameter, edges[1], (edges[0], edges[2]), target, alpha,
        n, d, n_sets, tried,
    )  # fmt: skip


def _end(result: PowerResult, tail: str, end: int | None) -> float:
    """The power, or an end of its interval."""
    if end is None:
        return float(getattr(result, tail))
    return float(getattr(result, f"{tail}_interval")[end])


def _reach(at: Callable[[float], PowerResult], tail: str, target: float, strength: float) -> float:
    """Double the strength until even the lower end of the interval is above the target."""
    while _end(at(strength), tail, 0) < target and strength < 1e4:
        strength *= 2.0
    return strength


def _crossing(
    value: Callable[[float], float], target: float, low: float, high: float, rtol: float
) -> float:
    """Bisect for the strength at which a monotone share passes the target."""
    if value(high) < target:
        return float(np.inf)
    # with few sets an end of the interval may lie beyond the target at any strength
    least = _LEAST_SHARE * high
    while high - low > rtol * high and high > least:
        middle = 0.5 * (low + high)
        if value(middle) < target:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
