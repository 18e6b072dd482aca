"""Numbers by which opaque operations of compiled graphs find the modules that they belong to."""

import itertools
import weakref
from typing import Any

__all__ = ["owner_of", "register"]

_registered: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_numbers = itertools.count()


def register(owner: Any) -> int:
    """Return the number under which operations find `owner`."""
    token = next(_numbers)
    _registered[token] = owner
    return token


def owner_of(token: int) -> Any:
    """Return the module of that number."""
    return _registered[token]
