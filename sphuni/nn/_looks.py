"""Looks at numbers of a GPU, each of which waits until all that was asked of it is done.

What is computed in the usual way holds if some numbers are within bounds. Taking that for granted
at first lets many such computations share one look.
"""

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

import torch
from torch import Tensor

__all__ = ["Range", "doubted", "granted", "hold", "is_doubted", "taken_for_granted"]

Range = tuple[Tensor, float, float]
"""A tensor without dimensions, and the least and the greatest number that it may hold."""

_granted: ContextVar[list[Range] | None] = ContextVar("granted", default=None)
_doubted: ContextVar[bool] = ContextVar("doubted", default=False)


@contextlib.contextmanager
def taken_for_granted() -> Iterator[list[Range]]:
    """Let `granted` say yes; what it was asked is in the list that comes, to be looked at."""
    ranges: list[Range] = []
    token = _granted.set(ranges)
    try:
        yield ranges
    finally:
        _granted.reset(token)


def granted(ranges: Sequence[Range]) -> bool:
    """Whether all numbers are in their ranges, by a look where that is not taken for granted."""
    later = _granted.get()
    if later is None:
        return hold([ranges])[0]
    later.extend(ranges)
    return True


@contextlib.contextmanager
def doubted() -> Iterator[None]:
    """Spare what is computed here the usual way, which was found not to hold."""
    token = _doubted.set(True)
    try:
        yield
    finally:
        _doubted.reset(token)


def is_doubted() -> bool:
    """Whether the usual way need not be tried."""
    return _doubted.get()


def hold(computed: Sequence[Sequence[Range]]) -> list[bool]:
    """Which of several computations hold, each by its ranges: one look for a device."""
    asked: dict[torch.device, list[Tensor]] = {}
    for number, _, _ in (one for ranges in computed for one in ranges):
        asked.setdefault(number.device, []).append(number)
    found = {device: iter(torch.stack(numbers).tolist()) for device, numbers in asked.items()}
    within = [
        [least <= next(found[number.device]) <= greatest for number, least, greatest in ranges]
        for ranges in computed
    ]
    return [all(each) for each in within]
