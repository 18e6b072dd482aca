"""Work side by side on threads, one thread inside each piece."""

import concurrent.futures
import contextvars
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

__all__ = ["side_by_side"]

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    """Yield work(task) for every task, in their order, on as many threads as torch may use.

    Gradient modes and memory limits are those of the caller; closing the iterator early drops the
    tasks that have not begun. Within a task torch has one thread, and what comes here again from
    it is done in turn.
    """
    if torch.get_num_threads() == 1:
        yield from map(work, tasks)
        return
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    context = contextvars.copy_context()

    def in_thread(task: T) -> R:
        with torch.inference_mode(inference), torch.set_grad_enabled(grad):
            return context.copy().run(work, task)

    yield from _pool(torch.get_num_threads()).map(in_thread, tasks)


@functools.lru_cache(maxsize=1)
def _pool(threads: int) -> concurrent.futures.ThreadPoolExecutor:
    """Worker threads whose own torch operations use one thread each."""
    pool = concurrent.futures.ThreadPoolExecutor(
        threads, thread_name_prefix="sphuni", initializer=_settle_in
    )
    together = threading.Barrier(threads)  # no worker can do the task of another
    concurrent.futures.wait([pool.submit(together.wait) for _ in range(threads)])
    torch.set_num_threads(threads)  # the workers' own setting also moved the default of new threads
    return pool


def _settle_in() -> None:
    """One thread for good: what torch has not been asked in a thread it takes from the default."""
    torch.get_num_threads()
    torch.set_num_threads(1)
