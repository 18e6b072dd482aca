"""The loop over batches of starts: stopping, checkpoints, and what counts as a hit."""

import dataclasses
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sphuni._rng import numpy_generator, seeds
from sphuni.configurations import _checkpoint
from sphuni.configurations._checkpoint import State
from sphuni.configurations.problems import Problem, random_starts
from sphuni.configurations.records import Record
from sphuni.pairwise import Engine

__all__ = ["Progress", "Search", "Status", "count_hits"]

Status = Literal["finished", "closed form", "target reached", "time limit", "interrupted"]

_SAVE_EVERY = 3.0
_SAME_SCORE = 1e-9
_SAME_VALUE = 1e-11
_MEETS = 2e-12


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a callback is told after every batch of starts."""

    done: int
    total: int
    value: float
    gap: float | None
    hits: int
    seconds: float


class Search:
    """Batches of starts, in order, until the last or a reason to stop."""

    def __init__(
        self,
        task: Problem,
        total: int,
        seed: int,
        engine: Engine,
        record: Record | None,
        started: float,
    ) -> None:
        self.task, self.total, self.seed, self.engine = task, total, seed, engine
        self.record, self.started = record, started
        self.state = State()
        self.path: str | os.PathLike[str] | None = None
        self.saved = started

    def open(self, path: str | os.PathLike[str] | None, *, resume: bool) -> None:
        """Take up a checkpoint, or make sure that none is overwritten."""
        if path is None:
            if resume:
                raise ValueError("checkpoint must be given with resume=True; got None")
            return
        self.path = path
        if Path(path).exists():
            if not resume:
                raise ValueError(
                    f"checkpoint {str(path)!r} exists already; pass resume=True to go on from it, "
                    "or name another file"
                )
            self.state = _checkpoint.load(path, self._key)

    def run(
        self, end: float, target: float | None, callback: Callable[[Progress], None] | None
    ) -> Status:
        """Run the batches that are missing."""
        status: Status = "finished"
        streams = seeds(self.seed, self.total)
        try:
            while self.state.done < self.total or self.state.points is None:
                if self._meets(target):
                    status = "target reached"
                    break
                if self.state.points is not None and time.monotonic() > end:
                    status = "time limit"
                    break
                complete = self._batch(streams, end)
                self._save(force=False)
                if callback is not None:
                    callback(self._progress())
                if not complete:
                    status = "time limit"
                    break
        except KeyboardInterrupt:
            if self.state.points is None:
                raise
            status = "interrupted"
        if status == "finished" and self._meets(target):
            status = "target reached"
        self._save(force=True)
        return status

    def _batch(self, streams: list[int], end: float) -> bool:
        """Run the next batch; a batch that the clock cut short counts for its best only."""
        task, state = self.task, self.state
        part = streams[state.done : state.done + task.lanes]
        starts = random_starts(task.n, task.d, state.done, part)
        found = task.relax(starts, part, self.engine, end)
        late = time.monotonic() > end
        best, points = state.value, state.points
        polished: list[float] = []
        champion: tuple[float, NDArray[np.float64]] = (math.nan, starts[0])
        for index in _distinct(found.scores, task.polished_per_batch):
            if late and polished and time.monotonic() > end:
                break
            candidate = task.refine(found.points[index])
            value = task.value(candidate)
            polished.append(value)
            if len(polished) == 1 or task.sign * (value - champion[0]) < 0:
                champion = (value, candidate)
            if best is None or task.sign * (value - best) < 0:
                best, points = value, candidate
        if not late:
            improved = self._hop(champion, min(task.hops, len(part)), part[0], end)
            late = improved is None
            if improved is not None and task.sign * (improved[0] - champion[0]) < 0:
                polished.append(improved[0])
                if best is None or task.sign * (improved[0] - best) < 0:
                    best, points = improved
        scores = found.scores[found.converged].tolist()
        done = state.done if late else state.done + len(part)
        self.state = State(
            done=done,
            scores=state.scores if late else state.scores + scores,
            polished=state.polished + polished,
            value=best,
            points=points,
        )
        return not late

    def _hop(
        self, champion: tuple[float, NDArray[np.float64]], hops: int, stream: int, end: float
    ) -> tuple[float, NDArray[np.float64]] | None:
        """Vary a batch's best and keep what is better; None if the clock ran out."""
        rng = numpy_generator(stream + 2)
        for _ in range(hops):
            if time.monotonic() > end:
                return None
            candidate = self.task.refine(self.task.vary(champion[1], rng))
            value = self.task.value(candidate)
            if self.task.sign * (value - champion[0]) < 0:
                champion = (value, candidate)
        return champion

    def _meets(self, target: float | None) -> bool:
        if target is None or self.state.value is None:
            return False
        slack = _MEETS * max(1.0, abs(target))
        return self.task.sign * (self.state.value - target) <= slack

    def _save(self, *, force: bool) -> None:
        now = time.monotonic()
        if self.path is not None and (force or now - self.saved > _SAVE_EVERY):
            _checkpoint.save(self.path, self._key, self.state)
            self.saved = now

    def _progress(self) -> Progress:
        assert self.state.value is not None
        gap = (
            None if self.record is None else self.task.sign * (self.state.value - self.record.value)
        )
        hits, _ = count_hits(self.task, self.state)
        seconds = time.monotonic() - self.started
        return Progress(self.state.done, self.total, self.state.value, gap, hits, seconds)

    @property
    def _key(self) -> dict[str, Any]:
        return {**self.task.key, "seed": self.seed, "engine": self.engine}


def count_hits(task: Problem, state: State) -> tuple[int, int]:
    """How many local optima equal the best, and of how many."""
    assert state.value is not None
    if task.polished_per_batch <= 2 and state.scores:
        scores = np.array(state.scores)
        best = scores.min()
        return int((scores <= best + _SAME_SCORE * abs(best)).sum()), len(scores)
    values = task.sign * np.array(state.polished)
    best = task.sign * state.value
    return int((values <= best + _SAME_VALUE * max(1.0, abs(best))).sum()), len(values)


def _distinct(scores: NDArray[np.float64], count: int) -> list[int]:
    """Indices of the best scores that differ from one another."""
    chosen: list[int] = []
    for index in np.argsort(scores, kind="stable"):
        score = scores[index]
        same = chosen and score - scores[chosen[-1]] <= 1e-10 * abs(score)
        if math.isfinite(score) and not same:
            chosen.append(int(index))
        if len(chosen) == count:
            break
    return chosen
