"""The loop over batches of starts: stopping, checkpoints, and what counts as a hit."""

import dataclasses
import os
import time
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from sphuni._ranks import rank_pool
from sphuni._rng import seeds
from sphuni._workers import ordered_map
from sphuni.configurations._clock import interrupted, late, minding_ctrl_c
from sphuni.configurations.problems._base import Array, Problem
from sphuni.configurations.records import Record
from sphuni.configurations.search import _checkpoint
from sphuni.configurations.search._batch import Batch, Outcome, Stage, run_batch
from sphuni.configurations.search._checkpoint import SAME_VALUE, State
from sphuni.pairwise import Engine

__all__ = ["Progress", "Search", "Status", "count_hits", "gap_to"]

Status = Literal["finished", "closed form", "target reached", "time limit", "interrupted"]

_SAVE_EVERY = 3.0
_SAME_SCORE = 1e-11


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
        workers: int = 1,
    ) -> None:
        self.task, self.total, self.seed, self.engine = task, total, seed, engine
        self.record, self.started, self.workers = record, started, workers
        self.state = State()
        self.path: str | os.PathLike[str] | None = None
        self.saved = started

    def open(self, path: str | os.PathLike[str] | None, *, resume: bool) -> None:
        """Take up a checkpoint, or make sure that none is overwritten."""
        if path is None:
            if resume:
                raise ValueError("checkpoint must be given with resume=True (--resume); got None")
            return
        self.path = path
        if Path(path).exists():
            if not resume:
                raise ValueError(
                    f"checkpoint {str(path)!r} exists already; pass resume=True (--resume) to go "
                    "on from it, or name another file"
                )
            self.state = _checkpoint.load(path, self._key)
        self._write()

    def run(
        self, end: float, target: float | None, callback: Callable[[Progress], None] | None
    ) -> Status:
        """Run the batches that are missing."""
        with minding_ctrl_c():
            return self._run(end, target, callback)

    def _run(
        self, end: float, target: float | None, callback: Callable[[Progress], None] | None
    ) -> Status:
        batches = self._batches(end)
        mapped = ordered_map(run_batch, batches, workers=self.workers)
        outcomes = cast(Generator[tuple[int, Outcome], None, None], mapped)
        status: Status = "finished"
        try:
            for _ in batches:
                if self._meets(target):
                    break
                if self._out_of_time(end):
                    status = "interrupted" if interrupted() else "time limit"
                    break
                _, outcome = next(outcomes)
                self.state = self._merge(outcome)
                self._save(force=False)
                if callback is not None:
                    callback(self._progress())
                if interrupted():
                    status = "interrupted"
                    break
                if not outcome.complete:
                    status = "time limit"
                    break
        except KeyboardInterrupt:
            if self._best is None:
                raise
            status = "interrupted"
        finally:
            outcomes.close()
            self._save(force=True)
        return "target reached" if status == "finished" and self._meets(target) else status

    @property
    def _best(self) -> tuple[float, Array] | None:
        return self.state.best(self.task)

    def _batches(self, end: float) -> list[Batch]:
        """The batches that are missing."""
        task, streams = self.task, seeds(self.seed, self.total)
        batches = [
            Batch(task, first, streams[first : first + task.lanes], self.engine, end)
            for first in range(self.state.done, self.total, task.lanes)
        ]
        stage = self.state.stage
        if batches and stage is not None and stage.starts == len(batches[0].streams):
            batches[0] = dataclasses.replace(batches[0], stage=stage)
        alone = self.workers == 1 and rank_pool() is None
        return [dataclasses.replace(one, keep=self._keep) for one in batches] if alone else batches

    def _keep(self, stage: Stage) -> None:
        """Note how far a batch has come in this process, in which they run one after the other."""
        self.state.stage = stage
        self._save(force=False)

    def _merge(self, outcome: Outcome) -> State:
        """Add a batch; one that the clock cut short counts for its best only."""
        state, sign = self.state, self.task.sign
        if not outcome.complete:
            return dataclasses.replace(
                state,
                cut=outcome.polished,
                cut_value=outcome.value,
                cut_points=outcome.points,
                cut_is_bound=outcome.bound,
            )
        better = state.value is None or sign * (outcome.value - state.value) < 0
        return dataclasses.replace(
            state,
            done=state.done + outcome.starts,
            scores=state.scores + outcome.scores,
            polished=state.polished + outcome.polished,
            value=outcome.value if better else state.value,
            points=outcome.points if better else state.points,
            cut=[],
            stage=None,
        )

    def _out_of_time(self, end: float) -> bool:
        return self._best is not None and late(end)

    def _meets(self, target: float | None) -> bool:
        best = self._best
        if target is None or best is None:
            return False
        return self.task.sign * (best[0] - target) <= self.task.noise * self.task.scale(target)

    def _save(self, *, force: bool) -> None:
        """Write the checkpoint when it is time; a disk that is full costs no answer."""
        now = time.monotonic()
        if self.path is None or not (force or now - self.saved > _SAVE_EVERY):
            return
        try:
            self._write()
        except OSError as error:
            warnings.warn(
                f"{error.strerror or error}; the search goes on, and the file stays as it was",
                stacklevel=2,
            )
        self.saved = now

    def _write(self) -> None:
        if self.path is None:
            return
        try:
            _checkpoint.save(self.path, self._key, self.state)
        except OSError as error:
            if error.errno is None:  # the message names the file already
                raise
            message = f"checkpoint {str(self.path)!r} cannot be written: {error.strerror}"
            raise OSError(error.errno, message) from error

    def _progress(self) -> Progress:
        best = self._best
        assert best is not None
        value = best[0]
        gap = None if self.record is None else gap_to(self.record, self.task, value)
        hits, _ = count_hits(self.task, self.state)
        seconds = time.monotonic() - self.started
        return Progress(self.state.done, self.total, value, gap, hits, seconds)

    @property
    def _key(self) -> dict[str, Any]:
        return {**self.task.key, "seed": self.seed, "engine": self.engine}


def gap_to(record: Record, task: Problem, value: float) -> float:
    """How far a value falls short of a record; 0.0 where they are equal, never -0.0."""
    return task.sign * (value - record.value) + 0.0


def count_hits(task: Problem, state: State) -> tuple[int, int]:
    """How many local optima equal the best, and of how many."""
    best = state.best(task)
    assert best is not None
    if task.polished_per_batch <= 2 and state.scores:
        scores = np.array(state.scores)
        least = scores.min()
        return int((scores <= least + _SAME_SCORE * task.scale(least)).sum()), len(scores)
    values = task.sign * np.array([*state.polished, *state.cut])
    least = task.sign * best[0]
    return int((values <= least + SAME_VALUE * task.scale(least)).sum()), len(values)
