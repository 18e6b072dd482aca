"""Size and power of tests, by simulation."""

import concurrent.futures
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import special

from sphuni import distributions
from sphuni._result import Result
from sphuni._rng import seeds
from sphuni._typing import Seed
from sphuni.stats import _registry
from sphuni.stats._base import UniformityTest
from sphuni.stats._null import Null, choose
from sphuni.stats.laws.monte_carlo import gram_sample

__all__ = ["PowerResult", "power", "size"]

_CHUNK_NUMBERS = 1 << 20
_CONFIDENCE = 0.95

_ALTERNATIVES: dict[str, Callable[..., Any]] = {
    "uniform": distributions.random_points,
    "von_mises_fisher": distributions.von_mises_fisher,
    "watson": distributions.watson,
    "small_circle": distributions.small_circle,
    "spherical_cauchy": distributions.spherical_cauchy,
    "uniform_cap": distributions.uniform_cap,
    "angular_central_gaussian": distributions.angular_central_gaussian,
    "clusters": distributions.clusters,
    "spherical_ensemble": distributions.spherical_ensemble,
    "haar_blocks": distributions.haar_blocks,
}

Progress = Callable[[int, int], None]


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


def power(
    test: str | UniformityTest,
    alternative: str | Callable[..., Any],
    *,
    n: int,
    d: int,
    alpha: float = 0.05,
    n_sets: int = 2000,
    null: str = "auto",
    n_resamples: int = 9999,
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
        A sampler of `sphuni.distributions` by name, or a function ``(n, d, *, batch, rng)`` that
        returns points of shape (batch, n, d).
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
        Threads.
    progress : callable, optional
        Called with the sets done and in all.
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
    draw, name = _sampler(alternative)
    batched = lambda count, seed: torch.as_tensor(  # noqa: E731
        np.asarray(draw(n, d, batch=(count,), rng=seed, **parameters))
    )
    built = _registry.build(test, test_parameters or {})
    return _estimate(
        built, name, batched, n, d, alpha, n_sets, Null(null, n_resamples, None, workers),
        rng, progress,
    )  # fmt: skip


def size(
    test: str | UniformityTest,
    *,
    n: int,
    d: int,
    alpha: float = 0.05,
    n_sets: int = 10_000,
    null: str = "auto",
    n_resamples: int = 9999,
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
    built = _registry.build(test, parameters)

    def draw(count: int, seed: int) -> torch.Tensor:
        return gram_sample(n, d, count, np.random.default_rng(seed), full=not built.invariant)

    return _estimate(
        built, "uniform", draw, n, d, alpha, n_sets, Null(null, n_resamples, None, workers),
        rng, progress,
    )  # fmt: skip


def _estimate(
    test: UniformityTest,
    alternative: str,
    draw: Callable[[int, int], torch.Tensor],
    n: int,
    d: int,
    alpha: float,
    n_sets: int,
    asked: Null,
    rng: Seed,
    progress: Progress | None,
) -> PowerResult:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be a level strictly between 0 and 1; got {alpha}")
    if n_sets < 1:
        raise ValueError(f"n_sets must be at least 1; got {n_sets}")
    test.check(n, d)
    choice = choose(test, n, d, asked)
    statistics = _statistics(test, draw, n, d, n_sets, rng, asked.workers, progress)
    tails = choice.law.tails(statistics)
    upper, lower = tails.upper <= alpha, tails.lower <= alpha
    either = 2 * np.minimum(tails.upper, tails.lower) <= alpha
    return PowerResult(
        test=test.name,
        alternative=alternative,
        n=n,
        d=d,
        alpha=alpha,
        n_sets=n_sets,
        upper=float(upper.mean()),
        lower=float(lower.mean()),
        two_sided=float(either.mean()),
        upper_interval=_interval(int(upper.sum()), n_sets),
        lower_interval=_interval(int(lower.sum()), n_sets),
        two_sided_interval=_interval(int(either.sum()), n_sets),
        null=choice.kind,
    )


def _statistics(
    test: UniformityTest,
    draw: Callable[[int, int], torch.Tensor],
    n: int,
    d: int,
    n_sets: int,
    rng: Seed,
    workers: int,
    progress: Progress | None,
) -> np.ndarray:
    step = max(1, _CHUNK_NUMBERS // (n * max(n, d)))
    sizes = [min(step, n_sets - start) for start in range(0, n_sets, step)]
    tasks = list(zip(sizes, seeds(rng, len(sizes)), strict=True))

    def work(task: tuple[int, int]) -> np.ndarray:
        with torch.no_grad():
            return test.statistic(draw(*task), d).double().numpy()

    parts, done = [], 0
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for count, part in zip(sizes, pool.map(work, tasks), strict=True):
            parts.append(part)
            done += count
            if progress is not None:
                progress(done, n_sets)
    return np.concatenate(parts)


def _sampler(alternative: str | Callable[..., Any]) -> tuple[Callable[..., Any], str]:
    if not isinstance(alternative, str):
        return alternative, getattr(alternative, "__name__", type(alternative).__name__)
    if alternative not in _ALTERNATIVES:
        raise ValueError(
            f"alternative must be one of {', '.join(_ALTERNATIVES)}, or a function; "
            f"got {alternative!r}"
        )
    return _ALTERNATIVES[alternative], alternative


def _interval(count: int, total: int) -> tuple[float, float]:
    """Clopper-Pearson."""
    tail = 0.5 * (1 - _CONFIDENCE)
    low = float(special.betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(special.betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return low, high
