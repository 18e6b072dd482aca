"""What further threads gain: energies with their gradients on one thread, and on all.

Wall-clock, alternating in one process: run it on a quiet machine. "Busy" is the same beside one
other process that keeps a processor to itself. The digits are the same on any number of threads,
and are held to float64 before a time is reported.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks import peers
from benchmarks.engine import COULOMB, energy, exact, unit_points
from benchmarks.measure import isolated

__all__ = ["run"]

CASES = ((512, 576), (1024, 576), (1536, 384), (4096, 1024), (20_000, 128))
ROUNDS = 7
_TOLERANCE = 1e-4
_PEER_UP_TO = 5_000


def run(only: str = "") -> Iterator[dict[str, Any]]:
    """One row per case, each in a process of its own."""
    for n, d in CASES:
        name = f"({n}, {d}) Riesz s=1, float32, value and gradient"
        if only in name:
            yield {"case": name} | isolated(_case, n, d)


def _case(n: int, d: int) -> dict[str, Any]:
    points, threads = unit_points(n, d, "float32"), torch.get_num_threads()
    one = {1: lambda: energy(points, kernel=COULOMB)}
    many = {threads: lambda: energy(points, kernel=COULOMB)}
    peer = {-threads: lambda: peers.cdist(points)} if n <= _PEER_UP_TO else {}
    quiet = _alternating(one | many | peer)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            busy = _alternating(one | many)
        finally:
            other.kill()
    row = {
        "threads": threads,
        "one_thread_seconds": quiet[1],
        "seconds": quiet[threads],
        "gain_ratio": quiet[1] / quiet[threads],
        "busy_gain_ratio": busy[1] / busy[threads],
        "gradient_error": _error(points),
    }
    if peer:
        row["cdist_ratio"] = quiet[-threads] / quiet[threads]
    return row


def _alternating(tasks: dict[int, Callable[[], Any]]) -> dict[int, float]:
    """Median seconds of each task, called in turns, on as many threads as its key says."""
    seconds: dict[int, list[float]] = {key: [] for key in tasks}
    for _ in range(ROUNDS + 1):
        for key, task in tasks.items():
            torch.set_num_threads(abs(key))
            started = time.perf_counter()
            task()
            seconds[key].append(time.perf_counter() - started)
    return {key: statistics.median(found[1:]) for key, found in seconds.items()}


def _error(points: torch.Tensor) -> float:
    truth, found = exact(points, kernel=COULOMB), energy(points, kernel=COULOMB)
    difference = np.linalg.norm(found["gradient"] - truth["gradient"])
    error = float(difference / np.linalg.norm(truth["gradient"]))
    if not error < _TOLERANCE:
        raise ArithmeticError(f"the gradient is off by {error:.1e}")
    return error
