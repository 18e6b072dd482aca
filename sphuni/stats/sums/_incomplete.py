"""Statistics from a random part of the pairs, and their law."""

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import special
from torch import Tensor

from sphuni._numbers import whole
from sphuni._rng import numpy_generator
from sphuni._typing import Points, Seed
from sphuni.kernels import Kernel
from sphuni.stats._base import LawChoice, UniformityTest
from sphuni.stats.laws import WeightedChi2
from sphuni.stats.laws.pair_sums import PairSums, pair_sums
from sphuni.stats.sobolev import SobolevTest, pair_parts
from sphuni.stats.sums._binned import pair_rule

__all__ = ["check_max_pairs", "incomplete_law", "is_incomplete", "sampled_sums"]

_CHUNK = 1 << 18
_CHUNK_NUMBERS = 1 << 22
_FEWEST_DEGREES, _ENOUGH_DEGREES, _MOST_DEGREES = 2.0, 20.0, 1e10
_HEAVIEST_PAIR, _HEAVIEST_SUM, _HEAVIEST_LAW = 1.0, 0.08, 1.0
_FEW_POINTS = 200
_MOST_TIMES = 8
_CAUTION = "few pairs rule the statistic, whose law is approximate: take more pairs or all"


def check_max_pairs(max_pairs: int | None) -> None:
    """Refuse budgets that no law holds for."""
    if max_pairs is not None and whole("max_pairs", max_pairs) < 1000:
        raise ValueError(f"max_pairs must be at least 1000 or None; got {max_pairs}")


def is_incomplete(test: UniformityTest, n: int, d: int, max_pairs: int | None) -> bool:
    """Whether the budget makes this test look at a part of the pairs only."""
    over = max_pairs is not None and 0.5 * n * (n - 1) > max_pairs
    return over and isinstance(test, SobolevTest) and test.needs_pairs(n, d)


def sampled_sums(points: Points, kernels: Sequence[Kernel], count: int, rng: Seed) -> list[Tensor]:
    """Estimates of the pair sums from `count` random pairs, the same ones for every set."""
    n = points.shape[-2]
    generator = numpy_generator(0 if rng is None else rng)
    part = max(1, _CHUNK_NUMBERS * n // max(points.numel(), 1))  # pairs of all sets at a time
    totals = [torch.zeros(points.shape[:-2], dtype=torch.float64, device=points.device)] * len(
        kernels
    )
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        first = generator.integers(n, size=size)
        second = (first + generator.integers(1, n, size=size)) % n
        for pairs in zip(*(torch.as_tensor(i).split(part) for i in (first, second)), strict=True):
            x, y = (points[..., i.to(points.device), :].double() for i in pairs)
            near, far = (x - y).square().sum(-1), (x + y).square().sum(-1)
            totals = [
                total + _values(kernel, near, far).sum(-1)
                for total, kernel in zip(totals, kernels, strict=True)
            ]
    return [0.5 * n * (n - 1) / count * total for total in totals]


def incomplete_law(test: UniformityTest, n: int, d: int, count: int) -> LawChoice | ValueError:
    r"""Law of the statistic from `count` random pairs: the limit plus the noise of the choice.

    The noise of variance close to :math:`(n-1)^2 E\psi^2 / N` is one more chi-square. Where few
    pairs rule it, so that its chi-square has few degrees of freedom and too thick a lower tail,
    they are counted one by one.
    """
    assert isinstance(test, SobolevTest)
    if test.asymptotic_law(n, d) is None or test.limit_law(d) is None:
        return ValueError(
            f"test {test.name!r} has no limit law at d = {d} to read a part of the pairs against; "
            "leave out max_pairs, or take fewer points"
        )
    words = f"incomplete U-statistic: {count} random pairs, limit law and sampling noise together"
    moments = test.moments(d)
    law = _with_chi_square(test, n, d, count)
    heavy_pair = moments.fourth >= _HEAVIEST_PAIR * count * moments.second**2
    degrees = 0.0 if heavy_pair else float(law.degrees[-1])
    if degrees >= _ENOUGH_DEGREES:
        return LawChoice(test.placed(law, n, d), "asymptotic", words)
    heavy = _counted(test, n, d, count)
    if heavy is None and degrees < _FEWEST_DEGREES:
        return _too_few(test, d, count)
    if heavy is None:
        return LawChoice(test.placed(law, n, d), "asymptotic", words, _CAUTION)
    doubtful = heavy.heaviness > _HEAVIEST_SUM or n < _FEW_POINTS
    return LawChoice(test.placed(heavy, n, d), "asymptotic", words, _CAUTION if doubtful else "")


def _counted(test: SobolevTest, n: int, d: int, count: int) -> PairSums | None:
    """The law by pairs; None where so few of them rule the sum that it is no law."""
    try:
        law = _with_pairs(test, n, d, count)
    except ValueError:
        return None
    return law if law.heaviness <= _HEAVIEST_LAW else None


def _too_few(test: UniformityTest, d: int, count: int) -> ValueError:
    return ValueError(
        f"a few of {count} random pairs rule test {test.name!r} at d = {d}, and there is no law to "
        "read them against; take more pairs, or leave out max_pairs"
    )


def _with_chi_square(test: SobolevTest, n: int, d: int, count: int) -> WeightedChi2:
    r"""The limit and one more chi-square: the statistic has its exact variance and skewness.

    The same pair may be drawn again, which ties the noise to the sum over all pairs: with
    :math:`P = \binom n2` the variance of :math:`\sum_{k \le N} \psi(e_k)` is
    :math:`(N + N (N-1) / P) E\psi^2`, and only equal pairs and triangles add to its third moment.
    Where the noise is not skewed the degrees of freedom are so many as to make it normal.
    """
    limit, moments = test.limit_law(d), test.moments(d)
    assert limit is not None
    pairs, scale = 0.5 * n * (n - 1), (n - 1) / count
    twice, thrice = count * (count - 1) / pairs, count * (count - 1) * (count - 2) / pairs**2
    variance = scale**2 * (count + twice) * moments.second
    triangles = thrice * 2.0 * (n - 2) * moments.triangle
    cubic = scale**3 * ((count + 3.0 * twice + thrice) * moments.third + triangles)
    noise = variance - limit.variance
    skew = (cubic - limit.cumulant(3)) / noise**1.5
    degrees = _MOST_DEGREES
    if math.isfinite(skew) and skew > 0:
        degrees = min(8.0 / skew**2, _MOST_DEGREES)
    return WeightedChi2(
        np.append(limit.weights, math.sqrt(noise / (2.0 * degrees))),
        np.append(limit.degrees, degrees),
        limit.mean,
    )


@functools.lru_cache(maxsize=64)
def _with_pairs(test: SobolevTest, n: int, d: int, count: int) -> PairSums:
    """Low harmonics as chi-squares, the rest and the noise as a compound Poisson sum of pairs.

    A pair is drawn a Poisson number of times; the part that pairs share is in the chi-squares as
    often as the mean of that number, and among the pairs for the difference.
    """
    psi, shared, weights, degrees = pair_parts(test, n, d)
    limit, pairs = test.limit_law(d), 0.5 * n * (n - 1)
    assert limit is not None
    mean = count / pairs
    times = np.arange(_MOST_TIMES + 1.0)[:, None]
    chances = np.exp(special.xlogy(times, mean) - mean - special.gammaln(times + 1.0))
    scale = (n - 1) / count
    bounded = math.isfinite(test.at_one(d))
    return pair_sums(
        (scale * (times * psi - mean * shared)).ravel(),
        (pairs * chances * pair_rule(d)[1]).ravel(),
        weights,
        degrees,
        offset=limit.mean,
        mean=limit.mean,
        variance=scale**2 * (count + count * (count - 1) / pairs) * test.moments(d).second,
        whole=(scale * times * psi).ravel(),
        far=_with_chi_square(test, n, d, count) if bounded else None,
    )


def _values(kernel: Kernel, near: Tensor, far: Tensor) -> Tensor:
    """Kernel values; at coincident points its limit."""
    safe = torch.where(near > 0, near, 1.0)
    value = kernel.value(safe, torch.where(far > 0, far, 0.0))
    return torch.where(near > 0, value, kernel.at_one)
