"""Tasks in, answers in the order of the tasks, whatever the number of processes."""

import concurrent.futures
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from sphuni._budget import budget_share, share_memory
from sphuni._errors import WorkerError
from sphuni._ranks import rank_pool

__all__ = ["check_workers", "ordered_map"]

T = TypeVar("T")
R = TypeVar("R")


def check_workers(workers: int) -> int:
    """Return the number of processes asked for, or say what is wrong with it."""
    if isinstance(workers, bool) or not isinstance(workers, int):
        raise TypeError(f"workers must be an int, got {type(workers).__name__}")
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    return workers


def ordered_map(
    function: Callable[[T], R], tasks: Sequence[T], *, workers: int = 1
) -> Iterator[tuple[int, R]]:
    """Yield (index, function(task)) for every task, in the order of the tasks.

    With one worker nothing leaves this process. With more, `function` must be importable by name
    and tasks and answers must pickle; every process runs torch on one thread, and ends with this
    one. Tasks carry their own seeds, so that the answers do not depend on `workers`. Closing the
    iterator early drops the tasks that are not done. Ctrl-C is the business of this process; the
    others never see it. On rank 0 of a job of torchrun the ranks are the workers.
    """
    ranks = rank_pool()
    if ranks is not None and len(tasks) > 1:
        yield from ranks.map(function, tasks)
        return
    count = min(check_workers(workers), len(tasks))
    if count <= 1:
        for index, task in enumerate(tasks):
            yield index, function(task)
        return
    pool = concurrent.futures.ProcessPoolExecutor(
        count,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_settle_in,
        initargs=(budget_share(count),),
    )
    processes: list[multiprocessing.process.BaseProcess] = []
    try:
        with _interruptions_held():  # processes keep the signals that are held as they begin
            futures = [pool.submit(function, task) for task in tasks]
            processes += pool._processes.values()
        for index, future in enumerate(futures):
            yield index, future.result()
        processes.clear()
    except BrokenProcessPool as error:
        raise WorkerError(
            "a worker process died: killed, out of memory, or started by a script without "
            "if __name__ == '__main__':. Use fewer workers, or smaller tasks."
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:  # what they still do is for nothing, and would outlive this one
            process.terminate()


@contextlib.contextmanager
def _interruptions_held() -> Iterator[None]:
    """Ctrl-C within the block counts at its end."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows, where each has a console of its own
        yield
        return
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _settle_in(max_bytes: int) -> None:
    """In a new worker: one thread, and its share of the memory for as long as it lives."""
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    share_memory(max_bytes)


def _end_with_parent() -> None:
    """Do not outlive a parent that was killed: its work may be begun anew beside this one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
