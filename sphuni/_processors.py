"""How many processors other processes leave to this one."""

import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

__all__ = ["free_processors"]

_EVERY = 0.1
"""Seconds between looks; the system counts in steps of a hundredth of a second."""
_COUNTERS = Path("/proc/stat")
_LATELY = 2.0
"""Seconds between looks beyond which what was counted is no guide to what is the case."""
_WORK = (1, 2, 3, 6, 7)
"""Columns of a processor's line that are work: user, nice, system and the two interrupts."""


class _Look(NamedTuple):
    """Seconds: on the clock, worked by all processes, and by this one."""

    clock: float
    all: float
    own: float


_last: _Look | None = None
_taken = 0.0
_turn = threading.Lock()


def free_processors() -> int:
    """Processors this process may use that others did not keep busy of late, at least one.

    Of late is since the last look, some tenths of a second ago. Where there was none, and on a
    system that does not say what it does, all of them count as free.
    """
    global _last, _taken
    with _turn:
        if _last is None or time.monotonic() - _last.clock >= _EVERY:
            before, _last = _last, _look()
            _taken = 0.0 if before is None or _last is None else _others(before, _last)
        return max(1, round(len(_allowed()) - _taken))


def _others(before: _Look, now: _Look) -> float:
    """Processors that other processes kept busy between two looks."""
    worked = (now.all - before.all) - (now.own - before.own)
    seconds = now.clock - before.clock
    return max(0.0, worked / seconds) if seconds < _LATELY else 0.0


def _look() -> _Look | None:
    """What the system has counted on the processors this process may use."""
    if not _COUNTERS.exists():
        return None
    names = {f"cpu{k}" for k in _allowed()}
    lines = [line.split() for line in _COUNTERS.read_text().splitlines()]
    ticks = sum(int(line[k]) for line in lines if line and line[0] in names for k in _WORK)
    return _Look(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), time.process_time())


def _allowed() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))
