"""The only memory limit in the library."""

import os

from sphuni._errors import BudgetError

__all__ = ["describe_bytes", "memory_budget", "require"]

_FALLBACK = 2 << 30


def memory_budget(max_bytes: int | None = None) -> int:
    """Return the working memory a call may take, in bytes.

    Parameters
    ----------
    max_bytes : int, optional
        The caller's own limit. Default: a quarter of the memory that is free now.
    """
    if max_bytes is None:
        return max(_free_memory() // 4, 1 << 20)
    if max_bytes < 1:
        raise ValueError(f"max_bytes must be a positive number of bytes; got {max_bytes}")
    return int(max_bytes)


def require(needed: int, max_bytes: int | None, *, what: str, remedy: str) -> None:
    """Raise `BudgetError` if `needed` bytes exceed the budget; the message names both sizes."""
    allowed = memory_budget(max_bytes)
    if needed > allowed:
        raise BudgetError(
            f"{what} needs {describe_bytes(needed)} but max_bytes allows "
            f"{describe_bytes(allowed)}; {remedy}"
        )


def describe_bytes(count: float) -> str:
    """Write a number of bytes for people: `1536` becomes `1.5 KiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"


def _free_memory() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return _FALLBACK
