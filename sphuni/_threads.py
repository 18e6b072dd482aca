"""Work side by side on threads; those that tasks leave over work inside the tasks."""

import collections
import concurrent.futures
import contextlib
import contextvars
import functools
import os
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch

from sphuni._processors import free_processors

__all__ = ["beside_others", "in_turns", "side_by_side"]

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
    """Yield work(task) for every task, in their order, on as many threads as torch may use.

    Gradient modes and memory limits are those of the caller; closing the iterator early drops the
    tasks that have not begun. Within a task torch has one thread, or its even share where there are
    fewer tasks than threads, and what comes here again from it is done in turn.
    """
    if _is_alone(len(tasks)):
        yield from map(work, tasks)
        return
    yield from _pool_for(len(tasks)).map(_as_here(work), tasks)


def in_turns(
    work: Callable[[T], None],
    tasks: Sequence[T],
    *,
    uses: Callable[[T], Iterable[Hashable]],
    width: int,
) -> None:
    """Apply `work` to all tasks, each once those before it that use the same things are done.

    So whatever a thing goes through, it goes through in one order on any number of threads. At most
    `width` tasks run at a time. Threads and modes are as in `side_by_side`.
    """
    if _is_alone(min(width, len(tasks))):
        with beside_others():
            for task in tasks:
                work(task)
        return
    missing, followers = _order(tasks, uses)
    pool, in_thread = _pool_for(width), _as_here(work)
    running = {pool.submit(in_thread, tasks[k]): k for k, count in enumerate(missing) if not count}
    try:
        while running:
            done, _ = concurrent.futures.wait(running, return_when="FIRST_COMPLETED")
            for future in done:
                k = running.pop(future)
                future.result()  # raises what the task raised
                for follower in followers[k]:
                    missing[follower] -= 1
                    if not missing[follower]:
                        running[pool.submit(in_thread, tasks[follower])] = follower
    finally:
        for future in running:
            future.cancel()
        concurrent.futures.wait(running)


@contextlib.contextmanager
def beside_others() -> Iterator[None]:
    """Within the block operations use no more threads than other processes leave processors.

    An operation ends with the last of its threads: one that has to share a processor keeps all the
    others waiting. Tasks side by side, of which a thread takes what it can, still use all threads.
    """
    threads = torch.get_num_threads()
    whole = threads == 1 or _in_a_task.get() or _threads_outside.get() is not None
    fewer = threads if whole else min(threads, free_processors())
    if fewer == threads:
        yield
        return
    outside = _threads_outside.set(threads)
    torch.set_num_threads(fewer)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _threads_outside.reset(outside)


def _order(
    tasks: Sequence[T], uses: Callable[[T], Iterable[Hashable]]
) -> tuple[list[int], dict[int, list[int]]]:
    """For how many others each task waits, and which ones wait for it."""
    last: dict[Hashable, int] = {}
    missing, followers = [], collections.defaultdict[int, list[int]](list)
    for k, task in enumerate(tasks):
        things = set(uses(task))
        before = {last[thing] for thing in things if thing in last}
        missing.append(len(before))
        for other in before:
            followers[other].append(k)
        last.update(dict.fromkeys(things, k))
    return missing, followers


def _is_alone(width: int) -> bool:
    """Whether tasks are done in the caller's thread, with all its threads inside."""
    return _thread_count() == 1 or width < 2 or _in_a_task.get()


def _thread_count() -> int:
    """The threads torch may use, also where operations leave some to others."""
    return _threads_outside.get() or torch.get_num_threads()


_threads_outside: contextvars.ContextVar[int | None] = contextvars.ContextVar(
    "threads_outside", default=None
)
_in_a_task: contextvars.ContextVar[bool] = contextvars.ContextVar("in_a_task", default=False)


def _as_here(work: Callable[[T], R]) -> Callable[[T], R]:
    """`work` in the caller's modes and context, on whatever thread."""
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    context = contextvars.copy_context()
    context.run(_in_a_task.set, True)

    def in_thread(task: T) -> R:
        with torch.inference_mode(inference), torch.set_grad_enabled(grad):
            return context.copy().run(work, task)

    return in_thread


def _pool_for(width: int) -> concurrent.futures.ThreadPoolExecutor:
    """Workers for `width` tasks at a time, each with a power of two of threads inside."""
    threads = _thread_count()
    share = 1 << max(0, (threads // width).bit_length() - 1)
    return _pool(threads // share, share, threads)


@functools.lru_cache(maxsize=8)
def _pool(workers: int, share: int, threads: int) -> concurrent.futures.ThreadPoolExecutor:
    """Worker threads whose own torch operations use `share` of all `threads`."""
    here = torch.get_num_threads()
    pool = concurrent.futures.ThreadPoolExecutor(
        workers, thread_name_prefix="sphuni", initializer=_settle_in, initargs=(share,)
    )
    together = threading.Barrier(workers)  # no worker can do the task of another
    concurrent.futures.wait([pool.submit(together.wait) for _ in range(workers)])
    torch.set_num_threads(here)  # the workers' own setting also moved the default of new threads
    return pool


if hasattr(os, "register_at_fork"):  # a forked process has the pools, but none of their threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _settle_in(share: int) -> None:
    """A number of threads for good: what torch has not been asked it takes from the default."""
    torch.get_num_threads()
    torch.set_num_threads(share)
