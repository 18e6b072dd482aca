"""Statistics of simulated uniform sets, for several tests at once."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni._rng import seeds
from sphuni._typing import Points
from sphuni._workers import ordered_map
from sphuni.kernels import Kernel
from sphuni.pairwise import LARGEST_D, has_loops, pair_reduce
from sphuni.stats._base import UniformityTest
from sphuni.stats.circular import CircleTest
from sphuni.stats.laws.monte_carlo import chunks, gram_sample, span_sample
from sphuni.stats.packing import Packing
from sphuni.stats.sums._binned import binned_sums
from sphuni.stats.sums._sorted import sorted_turns

__all__ = ["Job", "Progress", "evaluate", "job_chunks", "run", "shifted", "simulate_tests"]

_FLOAT = NDArray[np.float64]
_BINNED_FROM, _LOOPS_FROM = 12, 100

Progress = Callable[[int, int], None]
"""Called with the simulated sets done and in all."""


class Job(NamedTuple):
    """A chunk of simulated sets with its own seed."""

    tests: tuple[UniformityTest, ...]
    n: int
    d: int
    sets: int
    seed: int
    width: int | None
    """Coordinates drawn of the points; None for as many as inner products take."""


def simulate_tests(
    tests: Sequence[UniformityTest],
    n: int,
    d: int,
    count: int,
    *,
    rng: int,
    workers: int = 1,
    progress: Progress | None = None,
) -> _FLOAT:
    """Statistics (count, tests) of `count` uniform sets, the same for any number of workers.

    All tests see the same sets; those that are not rotation invariant need all d coordinates, or
    alone those of the subspace that they see, so they must not be mixed with the others.
    """
    parts, done = [], 0
    for _, part in ordered_map(run, job_chunks(tests, n, d, count, rng), workers=workers):
        parts.append(part)
        done += len(part)
        if progress is not None:
            progress(done, count)
    return np.concatenate(parts)


def shifted(progress: Progress | None, first: int, last: int, total: int) -> Progress | None:
    """A callback for a part of the work: its sets count as those from `first` to `last`."""
    if progress is None:
        return None
    return lambda done, of: progress(first + (last - first) * done // of, total)


def job_chunks(
    tests: Sequence[UniformityTest],
    n: int,
    d: int,
    count: int,
    rng: int,
    *,
    most: int | None = None,
) -> list[Job]:
    """Chunks, of at most `most` sets, whose sizes and seeds depend on n, d and `rng` only."""
    width = None if all(test.invariant for test in tests) else d
    narrowed = tests[0].narrowed(d) if len(tests) == 1 else None
    if narrowed is not None:
        tests, width = narrowed[:1], narrowed[1]
    sizes = list(chunks(count, n, width or min(n, d), most))
    return [
        Job(tuple(tests), n, d, size, seed, width)
        for size, seed in zip(sizes, seeds(rng, len(sizes)), strict=True)
    ]


def run(job: Job) -> _FLOAT:
    """Draw the sets of one chunk and evaluate every test."""
    rng = np.random.default_rng(job.seed)
    if job.width is None or job.width == job.d:
        points = gram_sample(job.n, job.d, job.sets, rng, full=job.width is not None)
    else:
        points = span_sample(job.n, job.d, job.width, job.sets, rng)
    with torch.no_grad():
        return evaluate(points, job.tests, job.d)


def evaluate(points: Points, tests: Sequence[UniformityTest], d: int) -> _FLOAT:
    """Statistics (B, tests) of sets (B, n, k) that lie in R^d."""
    n = points.shape[-2]
    sums, known = _over_pairs(points, tests, d)
    turns = sorted_turns(points) if any(isinstance(test, CircleTest) for test in tests) else None
    for test in tests:
        if isinstance(test, CircleTest) and turns is not None:
            known[test] = test.of_turns(test.turns(turns), n)
        elif test not in known:
            known[test] = test.statistic_with(points, d, sums, known)
    return torch.stack([known[test].double() for test in tests], dim=-1).numpy()


def _over_pairs(
    points: Points, tests: Sequence[UniformityTest], d: int
) -> tuple[dict[Kernel, Tensor], dict[UniformityTest, Tensor]]:
    """Pair sums of all kernels and, where they are met anyway, statistics of the closest pairs.

    What sums a kernel does not depend on the others: a test alone has the table that it has among
    others.
    """
    n = points.shape[-2]
    paired = [test for test in tests if test.needs_pairs(n, d)]
    kernels = list(dict.fromkeys(k for test in paired for k in test.kernels(d)))
    binned = [kernel for kernel in kernels if _is_binned(kernel, n, d)]
    exact = [kernel for kernel in kernels if kernel not in binned]
    sums: dict[Kernel, Tensor] = {}
    if exact:
        total = pair_reduce(points, kernel=exact)
        sums |= dict(zip(exact, total.unbind(-1), strict=True))
    if not binned:
        return sums, {}
    total, smallest, largest = binned_sums(points, binned, d)
    sums |= dict(zip(binned, total.unbind(-1), strict=True))
    # those two are parts of other tests, and cost nothing here
    each = (*tests, Packing(), Packing(antipodal=True))
    extreme = [test for test in each if isinstance(test, Packing)]
    known: dict[UniformityTest, Tensor] = {
        test: test.from_summary(test.closest(smallest, largest), n, d) for test in extreme
    }
    return sums, known


def _is_binned(kernel: Kernel, n: int, d: int) -> bool:
    """Whether a histogram of the cosines is faster than native loops, their compilation included.

    From a hundred points on a table takes longer than to compile loops for a kernel.
    """
    if n < _BINNED_FROM:
        return False
    return n < _LOOPS_FROM or d > LARGEST_D or not has_loops(kernel)
