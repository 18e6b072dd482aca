"""Checks of arguments that are single numbers."""

import math
from typing import Any

__all__ = ["finite", "positive", "whole"]

_MANY_BITS = 200


def whole(name: str, value: Any, least: float = -math.inf, meaning: str = "") -> int:
    """Return a whole number that is at least `least`; `meaning` goes into the message."""
    plain = _plain(value)
    if isinstance(plain, bool) or not hasattr(plain, "__index__"):
        raise TypeError(f"{name} must be a whole number; got {_shown(value)}")
    number: int = plain.__index__()
    if number < least:
        why = f" ({meaning})" if meaning else ""
        raise ValueError(f"{name} must be at least {least}{why}; got {_shown(number)}")
    return number


def finite(name: str, value: Any, least: float = -math.inf) -> float:
    """Return a finite number that is at least `least`.

    A tensor that requires its gradient is refused: there would be none, and nobody would know.
    """
    plain = _plain(value)
    if isinstance(plain, bool | str) or not hasattr(plain, "__float__"):
        raise TypeError(f"{name} must be a number; got {_shown(value)}")
    if getattr(value, "requires_grad", False):
        raise TypeError(
            f"{name} must be a plain number, one that no gradient is asked of; got "
            f"{_shown(value)}. Pass its .item()"
        )
    try:
        number = float(plain)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < least:
        bound = "" if least == -math.inf else f", at least {least:g}"
        raise ValueError(f"{name} must be finite{bound}; got {_shown(value)}")
    return number


def positive(name: str, value: Any) -> float:
    """Return a finite number above zero."""
    number = finite(name, value)
    if number <= 0:
        raise ValueError(f"{name} must be positive; got {_shown(value)}")
    return number


def _plain(value: Any) -> Any:
    """A scalar of either library as Python's own, so that its truth values are told apart too.

    An array of several entries is no number: None.
    """
    shape = getattr(value, "shape", None)
    if shape is None:
        return value
    return value.item() if math.prod(shape) == 1 else None


def _shown(value: Any) -> str:
    """What came, in a few words where it is large."""
    shape = tuple(getattr(value, "shape", ()))
    if math.prod(shape) != 1:
        return f"{type(value).__name__} of shape {shape}"
    if isinstance(value, int) and value.bit_length() > _MANY_BITS:
        return f"a whole number of {value.bit_length()} bits"
    return repr(value)
