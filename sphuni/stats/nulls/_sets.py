"""Statistics of simulated sets under any law of the points."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni._arrays import check_points
from sphuni._rng import seeds
from sphuni._typing import Points, Seed
from sphuni._workers import ordered_map
from sphuni.sphere import float64_rows
from sphuni.stats import alternatives
from sphuni.stats._base import UniformityTest
from sphuni.stats.laws.monte_carlo import gram_sample
from sphuni.stats.nulls._simulate import Progress, evaluate
from sphuni.stats.sums._sums import kernel_sums

__all__ = ["Progress", "exact_statistics", "statistics_under"]

_FLOAT = NDArray[np.float64]
_CHUNK_NUMBERS = 1 << 20
_OURS = ("batch", "rng", "like")


class _Task(NamedTuple):
    """A chunk of simulated sets with its own seed."""

    tests: tuple[UniformityTest, ...]
    sampler: Callable[..., Any]
    parameters: dict[str, Any]
    n: int
    d: int
    many: int
    seed: int


def statistics_under(
    tests: Sequence[UniformityTest],
    sampler: Callable[..., Any],
    n: int,
    d: int,
    n_sets: int,
    *,
    parameters: dict[str, Any],
    rng: Seed,
    workers: int = 1,
    progress: Progress | None = None,
) -> _FLOAT:
    """Statistics (n_sets, tests) of sets from a sampler, the same for any number of workers."""
    step = max(1, _CHUNK_NUMBERS // (n * max(n, d)))
    sizes = [min(step, n_sets - start) for start in range(0, n_sets, step)]
    tasks = [
        _Task(tuple(tests), sampler, parameters, n, d, count, seed)
        for count, seed in zip(sizes, seeds(rng, len(sizes)), strict=True)
    ]
    _check_parameters(sampler, parameters)
    if workers > 1:
        _check_importable(sampler)
    parts, done = [], 0
    for index, part in ordered_map(_evaluate, tasks, workers=workers):
        parts.append(part)
        done += sizes[index]
        if progress is not None:
            progress(done, n_sets)
    return np.concatenate(parts)


def _check_parameters(sampler: Callable[..., Any], parameters: dict[str, Any]) -> None:
    """Refuse parameters that the sampler does not take, naming those it does."""
    takes = inspect.signature(sampler).parameters.values()
    own = [one for one in takes if one.kind is one.KEYWORD_ONLY and one.name not in _OURS]
    name = getattr(sampler, "__name__", "the sampler")
    missing = [one.name for one in own if one.default is one.empty and one.name not in parameters]
    if missing:
        raise TypeError(f"alternative {name!r} needs {', '.join(f'{one}=' for one in missing)}")
    if any(one.kind is one.VAR_KEYWORD for one in takes):
        return
    known = [one.name for one in own]
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise TypeError(
            f"alternative {name!r} has no parameter {unknown[0]!r}; it takes "
            f"{', '.join(known) or 'none'}"
        )


def exact_statistics(points: Points, tests: Sequence[UniformityTest], d: int) -> _FLOAT:
    """Statistics (B, tests) of sets (B, n, d), every pair of points visited once for all tests."""
    paired = [test for test in tests if test.needs_pairs(points.shape[-2], d)]
    sums = kernel_sums(points, [kernel for test in paired for kernel in test.kernels(d)])
    known: dict[UniformityTest, Tensor] = {}
    for test in tests:
        known[test] = test.statistic_with(points, d, sums, known).double()
    return np.asarray(torch.stack([known[test] for test in tests], dim=-1).numpy())


def _evaluate(task: _Task) -> _FLOAT:
    with torch.no_grad():
        if task.sampler is alternatives.ALTERNATIVES["uniform"]:
            full = not all(test.invariant for test in task.tests)
            generator = np.random.default_rng(task.seed)
            uniform = gram_sample(task.n, task.d, task.many, generator, full=full)
            return evaluate(uniform, task.tests, task.d)
        drawn = task.sampler(task.n, task.d, batch=(task.many,), rng=task.seed, **task.parameters)
        points = drawn if isinstance(drawn, Tensor) else torch.as_tensor(np.asarray(drawn))
        points = points if points.is_floating_point() else points.double()
        _check_drawn(points, task)
        return exact_statistics(float64_rows(points.cpu()), task.tests, task.d)


def _check_drawn(points: Tensor, task: _Task) -> None:
    """Refuse what is not as many sets of points as a sampler was asked for."""
    name, asked = getattr(task.sampler, "__name__", "the sampler"), (task.many, task.n, task.d)
    if points.shape != asked:
        raise ValueError(
            f"{name}(n, d, batch=({task.many},), rng=...) must give shape {asked}; got "
            f"{tuple(points.shape)}"
        )
    check_points(points, name=f"the points of {name}")


def _check_importable(sampler: Callable[..., Any]) -> None:
    name = getattr(sampler, "__qualname__", "<lambda>")
    if "<" in name or getattr(sampler, "__module__", "__main__") == "__main__":
        raise TypeError(
            f"alternative {name} must be importable by name for workers > 1; "
            "put it into a module, or use workers=1"
        )
