"""The one way in which loops are compiled by numba."""

import functools
from typing import Any

__all__ = ["native_jit"]

_FAST = frozenset({"nsz", "arcp", "contract", "afn", "reassoc"})  # but NaN and inf are respected


@functools.lru_cache(maxsize=1)
def native_jit() -> Any:
    """Return numba's decorator with our options, or None where numba cannot be imported.

    It lags behind new Pythons. Compiled functions release the interpreter's lock.
    """
    try:
        import numba
    except ImportError:
        return None
    return numba.njit(nogil=True, fastmath=set(_FAST), error_model="numpy")
