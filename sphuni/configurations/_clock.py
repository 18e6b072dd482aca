"""When a search must end: at its time limit, or at the first Ctrl-C."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

__all__ = ["interrupted", "late", "minding_ctrl_c"]

_asked = threading.Event()


def late(end: float) -> bool:
    """Whether `end` of the monotonic clock is past, or Ctrl-C was pressed."""
    return _asked.is_set() or time.monotonic() > end


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
