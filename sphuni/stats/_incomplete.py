"""Statistics from a random part of the pairs, and their law."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sphuni._numbers import whole
from sphuni._rng import numpy_generator
from sphuni._typing import Points, Seed
from sphuni.kernels import Kernel
from sphuni.stats._base import LawChoice, UniformityTest
from sphuni.stats.laws import WeightedChi2
from sphuni.stats.sobolev import SobolevTest

__all__ = ["check_max_pairs", "incomplete_law", "is_incomplete", "sampled_sums"]

_CHUNK = 1 << 18
_CHUNK_NUMBERS = 1 << 22
_MOST_DEGREES = 1e10


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

    The noise has variance :math:`(n-1)^2 E\psi^2 / N`; it is added as one more chi-square, whose
    degrees of freedom match its skewness and are so many as to make it normal where that is 0.
    """
    assert isinstance(test, SobolevTest)
    choice = test.asymptotic_law(n, d)
    limit = test.limit_law(d)
    if choice is None or limit is None:
        return ValueError(
            f"test {test.name!r} has no limit law at d = {d} to read a part of the pairs against; "
            "leave out max_pairs, or take fewer points"
        )
    moments = test.moments(d)
    noise = (n - 1) ** 2 * moments.second / count
    skew = abs(moments.third) / moments.second**1.5 / math.sqrt(count)
    degrees = _MOST_DEGREES
    if math.isfinite(skew) and skew > 0:
        degrees = min(8.0 / skew**2, _MOST_DEGREES)
    law = WeightedChi2(
        np.append(limit.weights, math.sqrt(noise / (2.0 * degrees))),
        np.append(limit.degrees, degrees),
        limit.mean,
    )
    words = f"incomplete U-statistic: {count} random pairs, limit law and sampling noise together"
    return LawChoice(test.placed(law, n, d), "asymptotic", words)


def _values(kernel: Kernel, near: Tensor, far: Tensor) -> Tensor:
    """Kernel values; at coincident points its limit."""
    safe = torch.where(near > 0, near, 1.0)
    value = kernel.value(safe, torch.where(far > 0, far, 0.0))
    return torch.where(near > 0, value, kernel.at_one)
