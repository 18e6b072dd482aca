"""One batch of starts: a function of its task alone, so that it may run in any process."""

import contextlib
import dataclasses
import math
import multiprocessing
import signal
import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from sphuni._rng import numpy_generator
from sphuni.configurations._clock import late
from sphuni.configurations.problems import Problem, Relaxed, random_starts
from sphuni.pairwise import Engine

__all__ = ["Batch", "Outcome", "run_batch"]

_DISTINCT = 1e-11
_PARENTS = 8
_GRACE = 1.0
_NEIGHBOURS_FROM = 2


@dataclasses.dataclass(frozen=True)
class Batch:
    """Starts number `first` and on, one per stream, until `end` of the monotonic clock."""

    task: Problem
    first: int
    streams: list[int]
    engine: Engine
    end: float


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a batch found."""

    starts: int
    scores: list[float]
    """Of the local optima that converged."""
    polished: list[float]
    value: float
    points: NDArray[np.float64]
    complete: bool
    """False if the clock cut the batch short."""


def run_batch(batch: Batch) -> Outcome:
    """Relax all starts and their descendants, polish the best that differ, vary the best."""
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    with _one_thread():
        return _run(batch)


def _run(batch: Batch) -> Outcome:
    task = batch.task
    starts = random_starts(task.n, task.d, batch.first, batch.streams)
    if batch.first == 0:
        made = task.neighbours()[: max(0, len(starts) - _NEIGHBOURS_FROM)]
        starts[_NEIGHBOURS_FROM : _NEIGHBOURS_FROM + len(made)] = np.reshape(
            made, (-1, *starts.shape[1:])
        )
    found = task.relax(starts, batch.streams, batch.engine, batch.end)
    if not np.isfinite(found.scores).any():
        raise ValueError(
            f"no start of {task.name!r} with n = {task.n} points in R^{task.d} has a finite value"
            f"{', ' + task.detail if task.detail else ''}: in double precision its matrices are "
            "singular, or its sums overflow. Lower n, or take another kernel"
        )
    for generation in range(task.generations):
        if late(batch.end):
            break
        found = _descend_again(batch, found, generation)
    cut = late(batch.end)
    end = max(batch.end, time.monotonic() + _GRACE) if cut else batch.end
    polished: list[float] = []
    best: tuple[float, NDArray[np.float64]] = (math.nan, starts[0])
    for index in _distinct(found.scores, task.polished_per_batch):
        if cut and polished:
            break
        candidate = _refined(task, found.points[index], end, cut=cut)
        cut = cut or late(batch.end)
        polished.append(task.value(candidate))
        if len(polished) == 1 or task.sign * (polished[-1] - best[0]) < 0:
            best = (polished[-1], candidate)
    if not cut:
        improved, cut = _hop(batch, best)
        if improved[0] != best[0]:
            polished.append(improved[0])
        best = improved
    scores = found.scores[found.converged].tolist()
    return Outcome(len(batch.streams), scores, polished, *best, not cut)


def _refined(
    task: Problem, points: NDArray[np.float64], end: float, *, cut: bool
) -> NDArray[np.float64]:
    """Polished points, unless that made them worse where the clock `cut` the descent short."""
    candidate = task.refine(points, end)
    if not cut:
        return candidate
    worse = task.sign * (task.value(candidate) - task.value(points)) > 0
    return points if worse else candidate


def _descend_again(batch: Batch, found: Relaxed, generation: int) -> Relaxed:
    """Vary the best local optima, one variation per lane, and relax again; keep all."""
    task = batch.task
    parents = [found.points[index] for index in _distinct(found.scores, _PARENTS)]
    rngs = [numpy_generator(stream + 3 + generation) for stream in batch.streams]
    varied = np.stack([task.vary(parents[k % len(parents)], rng) for k, rng in enumerate(rngs)])
    again = task.relax(varied, batch.streams, batch.engine, batch.end)
    return Relaxed(
        np.concatenate([found.points, again.points]),
        np.concatenate([found.scores, again.scores]),
        np.concatenate([found.converged, again.converged]),
    )


def _hop(
    batch: Batch, champion: tuple[float, NDArray[np.float64]]
) -> tuple[tuple[float, NDArray[np.float64]], bool]:
    """Vary the best and keep what is better; True if the clock ran out."""
    task = batch.task
    rng = numpy_generator(batch.streams[0] + 2)
    for _ in range(min(task.hops, len(batch.streams))):
        if late(batch.end):
            return champion, True
        candidate = task.refine(task.vary(champion[1], rng), batch.end)
        value = task.value(candidate)
        if task.sign * (value - champion[0]) < 0:
            champion = (value, candidate)
    return champion, late(batch.end)


def _distinct(scores: NDArray[np.float64], count: int) -> list[int]:
    """Indices of the best scores that differ from one another."""
    chosen: list[int] = []
    for index in np.argsort(scores, kind="stable"):
        score = scores[index]
        same = chosen and score - scores[chosen[-1]] <= _DISTINCT * max(1.0, abs(score))
        if math.isfinite(score) and not same:
            chosen.append(int(index))
        if len(chosen) == count:
            break
    return chosen


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch on one thread: sums then have one order in this process and in a worker."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
