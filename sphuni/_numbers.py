"""Checks of arguments that are single numbers."""

import math
from typing import Any

__all__ = ["finite", "positive", "whole"]


def whole(name: str, value: Any, least: float = -math.inf, meaning: str = "") -> int:
    """Return a whole number that is at least `least`; `meaning` goes into the message."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be a whole number; got {value!r}")
    number: int = value.__index__()
    if number < least:
        why = f" ({meaning})" if meaning else ""
        raise ValueError(f"{name} must be at least {least}{why}; got {number}")
    return number


def finite(name: str, value: Any, least: float = -math.inf) -> float:
    """Return a finite number that is at least `least`."""
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number; got {value!r}")
    number = float(value)
    if not math.isfinite(number) or number < least:
        bound = "" if least == -math.inf else f", at least {least:g}"
        raise ValueError(f"{name} must be finite{bound}; got {value!r}")
    return number


def positive(name: str, value: Any) -> float:
    """Return a finite number above zero."""
    number = finite(name, value)
    if number <= 0:
        raise ValueError(f"{name} must be positive; got {value!r}")
    return number
