"""What further threads gain: energies with their gradients on one thread, and on all.

Wall-clock, alternating in one process: run it on a quiet machine. "Busy" is the same beside one
other process that keeps a processor to itself. The digits are the same on any number of threads,
and are held to float64 before a time is reported.
"""

import functools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks import peers
from benchmarks.engine import COULOMB, energy, exact, unit_points
from benchmarks.entry import relative_errors
from benchmarks.measure import isolated

__all__ = ["run"]

CASES = ((512, 576), (1024, 576), (1536, 384), (4096, 1024), (20_000, 128))
ROUNDS, ENOUGH = 7, 2.0
_TOLERANCE = 1e-4
_PEER_UP_TO = 5_000

Tasks = dict[str, tuple[int, Callable[[], Any]]]
"""Threads and work, by name."""


def run(only: str = "") -> Iterator[dict[str, Any]]:
    """One row per case, each in a process of its own."""
    for n, d in CASES:
        name = f"({n}, {d}) Riesz s=1, float32, value and gradient"
        if only in name:
            yield {"case": name} | isolated(_case, n, d)


def _case(n: int, d: int) -> dict[str, Any]:
    points, threads = unit_points(n, d, "float32"), torch.get_num_threads()
    work = functools.partial(energy, points, kernel=COULOMB)
    ours: Tasks = {"one": (1, work), "all": (threads, work)}
    cdist = (threads, functools.partial(peers.cdist, points))
    quiet = _alternating(ours | ({"cdist": cdist} if n <= _PEER_UP_TO else {}))
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            busy = _alternating(ours)
        finally:
            other.kill()
    row = {
        "threads": threads,
        "one_thread_seconds": quiet["one"],
        "seconds": quiet["all"],
        "gain_ratio": quiet["one"] / quiet["all"],
        "busy_gain_ratio": busy["one"] / busy["all"],
        "gradient_error": _error(points),
    }
    if "cdist" in quiet:
        row["cdist_ratio"] = quiet["cdist"] / quiet["all"]
    return row


def _alternating(tasks: Tasks) -> dict[str, float]:
    """Median seconds of each task, called in turns for two seconds or more.

    What other processes do is looked at ten times a second: shorter runs would not show it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    began = time.perf_counter()
    while len(seconds["one"]) <= ROUNDS or time.perf_counter() - began < ENOUGH:
        for name, (threads, task) in tasks.items():
            torch.set_num_threads(threads)
            started = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(found[1:]) for name, found in seconds.items()}


def _error(points: torch.Tensor) -> float:
    truth, found = exact(points, kernel=COULOMB), energy(points, kernel=COULOMB)
    error = relative_errors(found, truth)["gradient"]
    if not error < _TOLERANCE:
        raise ArithmeticError(f"the gradient is off by {error:.1e}")
    return error
