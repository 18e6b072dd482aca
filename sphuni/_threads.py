"""Work side by side on threads, one thread inside each piece."""

import concurrent.futures
import contextvars
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

__all__ = ["side_by_side"]

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    """Yield work(task) for every task, in their order, on as many threads as torch may use.

    Gradient modes and memory limits are those of the caller; closing the iterator early drops the
    tasks that have not begun. Within a task torch has one thread, so nothing in it comes here
    again.
    """
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
        threads, thread_name_prefix="sphuni", initializer=torch.set_num_threads, initargs=(1,)
    )
    concurrent.futures.wait([pool.submit(torch.get_num_threads) for _ in range(threads)])
    torch.set_num_threads(threads)  # the workers' own setting also moved the default of new threads
    return pool
