"""Timing and peak memory of one function, in a process of its own."""

import ctypes
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Figures", "isolated", "largest_resident_size", "peak_memory", "time_and_memory"]


class Figures(NamedTuple):
    """Seconds of the best of several calls, and bytes above the resident size before them."""

    seconds: float
    spread: float
    peak_bytes: int
    first_seconds: float


def time_and_memory(run: Callable[[], Any], *, repeats: int = 5) -> Figures:
    """Call `run` once to warm up, then `repeats` times timed and once watched for memory."""
    started = time.perf_counter()
    run()
    first = time.perf_counter() - started
    peak = peak_memory(run)
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    best = min(seconds)
    return Figures(best, statistics.median(seconds) / best - 1, peak, first)


def peak_memory(run: Callable[[], Any]) -> int:
    """Largest resident size while `run` works, above the size before it; the kernel watches.

    A thread that looked now and then would see nothing of a peer that keeps the interpreter locked.
    """
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # give back what earlier calls left free
    Path("/proc/self/clear_refs").write_text("5")  # forget the largest size so far
    before = _status("VmRSS")
    run()
    return max(largest_resident_size() - before, 0)


def largest_resident_size() -> int:
    """Bytes, files in memory included, since this process began or `peak_memory` last did."""
    return _status("VmHWM")


def _status(field: str) -> int:
    """Bytes that the kernel reports for this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) << 10


def isolated(task: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Run `task` in a fresh process, so that one case's memory is not another's."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(send, task, arguments))
    process.start()
    send.close()
    try:
        answer = json.loads(receive.recv())
    except EOFError:
        answer = {"error": "the process died (out of memory?)"}
    process.join()
    return answer


def _child(send: Any, task: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> None:
    try:
        answer = task(*arguments)
    except Exception as error:  # a peer's failure is a result, not the end of the suite
        answer = {"error": f"{type(error).__name__}: {error}"}
    send.send(json.dumps(answer))
