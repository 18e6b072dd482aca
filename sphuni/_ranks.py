"""The processes that torchrun started, as a pool: rank 0 runs the program, the others serve it.

Only rank 0 decides, prints and writes, so that ranks cannot come to disagree. It works on tasks
itself while the others do.
"""

import collections
import contextlib
import datetime
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from sphuni._budget import budget_share, limit_memory
from sphuni._errors import WorkerError, first_sentence

__all__ = ["RankPool", "rank_pool", "run_on_ranks", "under_torchrun"]

T = TypeVar("T")
R = TypeVar("R")

_NEVER = datetime.timedelta(days=30)  # a rank may wait that long for its next task
_LOST = 5
_FOREVER = -1.0  # as locks have it
_UNPICKLABLE = (pickle.PicklingError, AttributeError, TypeError)


class _Outcome(NamedTuple):
    """What became of a task: its answer, or the error that it raised."""

    answer: Any
    error: Exception | None = None


def under_torchrun() -> bool:
    """Whether torchrun started this process as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def rank_pool() -> "RankPool | None":
    """Return the pool of ranks, where this process leads one and is not at work on a task."""
    return None if _pool is None or _pool.busy else _pool


def run_on_ranks(program: Callable[[], int]) -> int:
    """Run `program` on rank 0 with the other ranks at its service; return the exit code.

    On the other ranks: do what rank 0 asks until it has ended. If a rank is lost, rank 0 raises
    `WorkerError` where it waits for that rank's answer; if rank 0 is lost, the others return 5.
    """
    global _pool
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=_NEVER)
    if dist.get_rank() > 0:
        code = _serve()
        dist.destroy_process_group()
        return code
    _pool = RankPool(dist.get_world_size())
    code = _LOST
    try:
        code = program()
        return code
    finally:
        # a rank still at work is waited for by a thread, under which the group must not be closed
        if _pool.dismiss(patience=_FOREVER if code == 0 else 1.0):
            dist.destroy_process_group()
        _pool = None


class RankPool:
    """The ranks at the service of this one."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.busy = False
        self._free = [threading.Lock() for _ in range(size)]

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        """Yield (index, function(task)) in the order of the tasks, which all ranks work on."""
        work = _Work(len(tasks), budget_share(self.size))
        for rank in range(1, self.size):
            arguments = (rank, function, tasks, work)
            threading.Thread(target=self._drive, args=arguments, daemon=True).start()
        try:
            for index in range(len(tasks)):
                yield index, self._answer(index, function, tasks, work)
        finally:
            work.drop()

    def dismiss(self, patience: float) -> bool:
        """Let the ranks go, those at work on a task when it is done; whether none is at work.

        One that is not done within `patience` seconds is left to fail, and with it the job.
        """
        idle = [self._free[rank].acquire(timeout=patience) for rank in range(1, self.size)]
        for rank in (1 + i for i, is_idle in enumerate(idle) if is_idle):
            with contextlib.suppress(RuntimeError):  # it is gone already
                _send(None, rank)
        return all(idle)

    def _answer(
        self, index: int, function: Callable[[T], R], tasks: Sequence[T], work: "_Work"
    ) -> R:
        """Do tasks that nobody has begun until the answer to this one is there."""
        while not work.has(index):
            own = work.begin()
            if own is None:
                work.wait_for(index)
                continue
            self.busy = True
            try:
                work.finish(own, _attempt(function, tasks[own], work.share))
            finally:
                self.busy = False
        outcome = work.take(index)
        if outcome.error is not None:
            raise outcome.error
        return outcome.answer

    def _drive(
        self, rank: int, function: Callable[[T], R], tasks: Sequence[T], work: "_Work"
    ) -> None:
        """Keep one rank at work, on a thread of its own."""
        with self._free[rank]:
            while (index := work.begin()) is not None:
                try:
                    _send((function, tasks[index], work.share), rank)
                    work.finish(index, _receive(rank))
                except RuntimeError as error:
                    work.lose(rank, error)
                    return
                except _UNPICKLABLE as error:
                    work.finish(index, _Outcome(None, error))


_pool: RankPool | None = None


class _Work:
    """The tasks of one map: which are left, their outcomes, and each rank's share of memory."""

    def __init__(self, count: int, share: int) -> None:
        self.share = share
        self._changed = threading.Condition()
        self._left = collections.deque(range(count))
        self._outcomes: dict[int, _Outcome] = {}
        self._lost: WorkerError | None = None

    def begin(self) -> int | None:
        """Take the next task, or None if all have been begun."""
        with self._changed:
            return self._left.popleft() if self._left else None

    def finish(self, index: int, outcome: _Outcome) -> None:
        """Hand in the outcome of a task."""
        with self._changed:
            self._outcomes[index] = outcome
            self._changed.notify_all()

    def lose(self, rank: int, error: Exception) -> None:
        """Note that a rank is gone, and with it the outcome of its task."""
        lost = WorkerError(
            f"rank {rank} died or could not be reached ({first_sentence(error)}). "
            "Start the job again; out of memory, use fewer ranks"
        )
        with self._changed:
            self._lost = lost
            self._left.clear()
            self._changed.notify_all()

    def drop(self) -> None:
        """Forget the tasks that have not begun."""
        with self._changed:
            self._left.clear()

    def has(self, index: int) -> bool:
        """Whether the outcome is there; `WorkerError` if a rank was lost meanwhile."""
        with self._changed:
            if self._lost is not None:
                raise self._lost
            return index in self._outcomes

    def wait_for(self, index: int) -> None:
        """Sleep until the outcome is there or a rank is lost; Ctrl-C wakes."""
        with self._changed:
            while index not in self._outcomes and self._lost is None:
                self._changed.wait(0.5)

    def take(self, index: int) -> _Outcome:
        """Return an outcome and forget it."""
        with self._changed:
            return self._outcomes.pop(index)


def _serve() -> int:
    """Do tasks for rank 0 until it lets this rank go."""
    while True:
        try:
            asked = _receive(0)
            if asked is None:
                return 0
            outcome = _attempt(*asked)
            try:
                _send(outcome, 0)
            except _UNPICKLABLE as error:
                _send(_Outcome(None, error), 0)
        except RuntimeError:
            return _LOST


def _attempt(function: Callable[[T], R], task: T, share: int) -> _Outcome:
    """Do a task within this rank's share of the memory."""
    try:
        with limit_memory(share):
            return _Outcome(function(task))
    except Exception as error:
        return _Outcome(None, error)


def _send(message: Any, rank: int) -> None:
    import torch.distributed as dist

    dist.send_object_list([message], dst=rank)


def _receive(rank: int) -> Any:
    import torch.distributed as dist

    message: list[Any] = [None]
    dist.recv_object_list(message, src=rank)
    return message[0]
