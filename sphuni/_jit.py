"""The one way in which loops are compiled by numba."""

import functools
from typing import Any

__all__ = ["native_jit"]

_ORDERED = frozenset({"nsz", "contract"})
_FAST = _ORDERED | {"arcp", "afn", "reassoc"}


@functools.lru_cache(maxsize=2)
def native_jit(*, reorder: bool = True) -> Any:
    """Return numba's decorator with our options, or None where numba cannot be imported.

    It lags behind new Pythons. Compiled functions release the interpreter's lock. With `reorder`
    sums may be taken in the order that suits vector instructions; formulas that compensate
    roundings must not be. NaN and inf are respected.
    """
    try:
        import numba
    except ImportError:
        return None
    fast = set(_FAST if reorder else _ORDERED)
    return numba.njit(nogil=True, fastmath=fast, error_model="numpy")
