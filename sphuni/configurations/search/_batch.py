"""One batch of starts: a function of its task alone, so that it may run in any process."""

import contextlib
import dataclasses
import math
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from sphuni._rng import numpy_generator
from sphuni.configurations._clock import GRACE, OutOfTimeError, late, over, seconds_left
from sphuni.configurations.problems._base import Array, Problem, Relaxed
from sphuni.configurations.starts._random import exact_start, random_starts
from sphuni.pairwise import Engine

__all__ = ["Batch", "Outcome", "Stage", "run_batch"]

_DISTINCT = 1e-11
_PARENTS = 8
_NEIGHBOURS_FROM = 2
_EVALUATIONS = 4
"""How many evaluations of the value the shortest polish takes."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """How far a batch has come; from here on it is a function of this and of the task."""

    starts: int
    """Number of the batch's starts, which follow those of the batches that are done."""
    found: Relaxed
    generation: int = 0
    """How many times the optima have been varied and relaxed."""
    polished: tuple[float, ...] = ()
    value: float = math.nan
    points: Array | None = None
    """The best of the polished ones."""
    hops: int = 0
    """How many variations of the best have been polished."""
    rng: dict[str, Any] | None = None
    """State of the generator of these variations."""


def _forget(stage: Stage) -> None:
    """Keep nothing, where a batch cannot be taken up half done."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """Starts number `first` and on, one per stream, until `end` of the monotonic clock.

    `stage` is where to go on, None at the beginning; `keep` is told of every stage reached.
    """

    task: Problem
    first: int
    streams: list[int]
    engine: Engine
    end: float
    stage: Stage | None = None
    keep: Callable[[Stage], None] = _forget


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a batch found."""

    starts: int
    scores: list[float]
    """Of the local optima that converged."""
    polished: list[float]
    value: float
    points: Array
    complete: bool
    """False if the clock cut the batch short."""
    bound: bool
    """Whether the value is that of the worst place seen only."""


def run_batch(batch: Batch) -> Outcome:
    """Relax all starts and their descendants, polish the best that differ, vary the best."""
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    with _one_thread():
        return _run(batch)


def _run(batch: Batch) -> Outcome:
    task = batch.task
    stage = batch.stage
    if stage is None:
        stage = Stage(len(batch.streams), _relax_starts(batch))
        _keep(batch, stage)
    while stage.generation < task.generations:
        found = _descend_again(batch, stage.found, stage.generation)
        if found is None:
            break
        stage = dataclasses.replace(stage, found=found, generation=stage.generation + 1)
        _keep(batch, stage)
    stage, cut, bound = _polish(batch, stage)
    if not cut:
        stage, cut = _hop(batch, stage)
    assert stage.points is not None
    scores = stage.found.scores[stage.found.converged].tolist()
    polished = list(stage.polished)
    return Outcome(len(batch.streams), scores, polished, stage.value, stage.points, not cut, bound)


def _keep(batch: Batch, stage: Stage) -> None:
    """Hand over a stage, unless the clock may have cut it short."""
    if stage.found.complete and not late(batch.end):
        batch.keep(stage)


def _relax_starts(batch: Batch) -> Relaxed:
    task = batch.task
    starts = random_starts(task.n, task.d, batch.first, batch.streams, exact=task.kind)
    if batch.first == 0:
        made = task.neighbours()[: max(0, len(starts) - _NEIGHBOURS_FROM)]
        starts[_NEIGHBOURS_FROM : _NEIGHBOURS_FROM + len(made)] = np.reshape(
            made, (-1, *starts.shape[1:])
        )
    found = _relax_with_code(batch, starts)
    if batch.first == 0 and not np.isfinite(found.scores).any():
        # an exact code alone, and an even kernel: matrices of opposite points are singular
        starts = random_starts(task.n, task.d, batch.first, batch.streams, exact=None)
        found = task.relax(starts, batch.streams, batch.engine, batch.end)
    if not np.isfinite(found.scores).any():
        raise ValueError(
            f"no start of {task.name!r} with n = {task.n} points in R^{task.d} has a finite value"
            f"{', ' + task.detail if task.detail else ''}: in double precision its matrices are "
            "singular, or its sums overflow. Lower n, or take another kernel"
        )
    return found


def _relax_with_code(batch: Batch, starts: Array) -> Relaxed:
    """Relax the starts; the first, if it is an exact code that this spoils, stays as it is.

    Where there is time for the code alone, it is all there is.
    """
    task, end = batch.task, batch.end
    if batch.first > 0 or exact_start(task.n, task.d, task.kind) is None:
        return task.relax(starts, batch.streams, batch.engine, end)
    enough = over(end)
    try:
        score = task.score(starts[0], end)
    except OutOfTimeError:
        return _only_first(starts, 0.0)
    if score is None:
        return task.relax(starts, batch.streams, batch.engine, end)
    if late(end) and seconds_left(enough) < 0:
        return _only_first(starts, score)
    found = task.relax(starts, batch.streams, batch.engine, end)
    if score < found.scores[0]:
        found.points[0], found.scores[0], found.converged[0] = starts[0], score, True
    return found


def _only_first(starts: Array, score: float) -> Relaxed:
    return Relaxed(starts[:1], np.array([score]), np.isfinite([score]), complete=False)


def _polish(batch: Batch, stage: Stage) -> tuple[Stage, bool, bool]:
    """Polish the best optima that differ; True if the clock ran out, which lets one be polished.

    A polish that comes to a step for which there is no time is cut short there. The last is True
    if there was not even the time to find the value of that one: it is a bound.
    """
    task, bound = batch.task, False
    cut = late(batch.end) or not stage.found.complete
    apart = -math.inf if task.polishes_equals else _DISTINCT
    chosen = _distinct(task, stage.found.scores, task.polished_per_batch, apart)
    for index in chosen[len(stage.polished) :]:
        if cut and stage.polished:
            break
        points = stage.found.points[index]
        if cut:
            candidate, value, bound = _hurried(task, points)
        else:
            candidate, cut = _refined(task, points, batch.end)
            value, bound = _valued(task, candidate, batch.end)
            cut = cut or bound
            if bound and stage.polished:
                return stage, True, False
        first = not stage.polished
        stage = dataclasses.replace(stage, polished=(*stage.polished, value))
        if first or task.sign * (value - stage.value) < 0:
            stage = dataclasses.replace(stage, value=value, points=candidate)
        if not cut:
            _keep(batch, stage)
    return stage, cut, bound


def _refined(task: Problem, points: Array, end: float) -> tuple[Array, bool]:
    """Polished points, and whether the clock cut that short."""
    try:
        return task.refine(points, end), late(end)
    except OutOfTimeError as stopped:
        return stopped.points, True


def _valued(task: Problem, points: Array, end: float) -> tuple[float, bool]:
    """Value of the points, and whether for want of time it is a bound only."""
    try:
        return task.value(points, max(end, time.monotonic()) + GRACE), False
    except OutOfTimeError as stopped:
        return stopped.value, True


def _hurried(task: Problem, points: Array) -> tuple[Array, float, bool]:
    """Points whose descent the clock cut short, polished if that is quick and makes them better.

    With their value, and whether that is a bound only.
    """
    end = time.monotonic() + GRACE
    value, bound = _valued(task, points, -math.inf)
    taken = GRACE - seconds_left(end)
    if bound or _EVALUATIONS * taken > GRACE:
        return points, value, bound
    candidate, _ = _refined(task, points, end)
    again, unknown = _valued(task, candidate, -math.inf)
    better = not unknown and task.sign * (again - value) <= 0
    return (candidate, again, False) if better else (points, value, False)


def _descend_again(batch: Batch, found: Relaxed, generation: int) -> Relaxed | None:
    """Vary the best local optima, one variation per lane, and relax again; keep all.

    None if the clock does not let all lanes be varied.
    """
    task = batch.task
    parents = [found.points[index] for index in _distinct(task, found.scores, _PARENTS)]
    varied: list[Array] = []
    for k, stream in enumerate(batch.streams):
        if late(batch.end):
            return None
        rng = numpy_generator(stream + 3 + generation)
        varied.append(task.vary(parents[k % len(parents)], rng))
    again = task.relax(np.stack(varied), batch.streams, batch.engine, batch.end)
    return Relaxed(
        np.concatenate([found.points, again.points]),
        np.concatenate([found.scores, again.scores]),
        np.concatenate([found.converged, again.converged]),
    )


def _hop(batch: Batch, stage: Stage) -> tuple[Stage, bool]:
    """Vary the best and keep what is better; True if the clock ran out."""
    task = batch.task
    rng = numpy_generator(batch.streams[0] + 2)
    if stage.rng is not None:
        rng.bit_generator.state = stage.rng
    before = min(stage.polished, key=lambda value: task.sign * value)
    cut = late(batch.end)
    while stage.hops < min(task.hops, len(batch.streams)) and not cut:
        assert stage.points is not None
        candidate, cut = _refined(task, task.vary(stage.points, rng), batch.end)
        if cut:
            break
        value = task.value(candidate)
        if task.sign * (value - stage.value) < 0:
            stage = dataclasses.replace(stage, value=value, points=candidate)
        state = dict(rng.bit_generator.state)
        stage = dataclasses.replace(stage, hops=stage.hops + 1, rng=state)
        _keep(batch, stage)
    if stage.value != before:
        stage = dataclasses.replace(stage, polished=(*stage.polished, stage.value))
    return stage, cut or late(batch.end)


def _distinct(task: Problem, scores: Array, count: int, apart: float = _DISTINCT) -> list[int]:
    """Indices of the best scores that differ from one another, relative to their scale."""
    chosen: list[int] = []
    for index in np.argsort(scores, kind="stable"):
        score = scores[index]
        same = chosen and score - scores[chosen[-1]] <= apart * task.scale(score)
        if math.isfinite(score) and not same:
            chosen.append(int(index))
        if len(chosen) == count:
            break
    return chosen


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for torch and for LAPACK: sums then have one order here and in a worker.

    The matrices of polishing are small, so that more threads take longer too. Searches that overlap
    share the setting, which is the process's: the last to end restores what the first found.
    """
    with _SHARED.lock:
        if _SHARED.users == 0:
            _SHARED.restore.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(1)
            _SHARED.restore.enter_context(threadpool_limits(limits=1))
        _SHARED.users += 1
    try:
        yield
    finally:
        with _SHARED.lock:
            _SHARED.users -= 1
            if _SHARED.users == 0:
                _SHARED.restore.close()


class _Shared:
    """Who works with one thread now, and what to do when all have ended."""

    def __init__(self) -> None:
        self.lock, self.users, self.restore = threading.Lock(), 0, contextlib.ExitStack()


_SHARED = _Shared()
