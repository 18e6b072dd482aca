"""When a search must end: at its time limit, or at the first Ctrl-C."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "GRACE",
    "OutOfTimeError",
    "interrupted",
    "keeping",
    "late",
    "minding_ctrl_c",
    "over",
    "room_for",
    "seconds_left",
]

GRACE = 1.0
"""Seconds by which a search may overrun its limit to give a better account of what it has."""

_asked = threading.Event()


class OutOfTimeError(Exception):
    """The next step would take far longer than there is time; how far it came."""

    def __init__(self, points: NDArray[np.float64], value: float = math.nan) -> None:
        super().__init__("the next step takes longer than there is time")
        self.points = points
        self.value = value
        """Of an evaluation: that of the worst place seen, a bound on the value."""


@contextlib.contextmanager
def keeping(points: NDArray[np.float64]) -> Iterator[None]:
    """Make points the outcome of a step that comes to an end within, for want of time."""
    try:
        yield
    except OutOfTimeError as stopped:
        raise OutOfTimeError(points) from stopped


def late(end: float) -> bool:
    """Whether `end` of the monotonic clock is past, or Ctrl-C was pressed."""
    return _asked.is_set() or time.monotonic() > end


def over(end: float) -> float:
    """When to stop comparing what was cut short at `end`, or is by Ctrl-C: after the grace."""
    return min(end, time.monotonic()) + GRACE


def seconds_left(end: float) -> float:
    """Seconds until `end` of the monotonic clock, negative when it is past."""
    return end - time.monotonic()


def room_for(seconds: float, end: float) -> bool:
    """Whether a step of so many seconds overruns `end` by no more than the grace."""
    return seconds <= GRACE or seconds <= seconds_left(end) + GRACE


def interrupted() -> bool:
    """Whether Ctrl-C was pressed within `minding_ctrl_c`."""
    return _asked.is_set()


@contextlib.contextmanager
def minding_ctrl_c() -> Iterator[None]:
    """End the search at its next step at the first Ctrl-C, and at once at the second.

    Handlers of the caller, and threads but the main one, are left alone.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        _asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _asked.clear()
