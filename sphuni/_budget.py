"""The only memory limit in the library."""

import contextlib
import contextvars
import functools
import operator
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from sphuni._errors import BudgetError

__all__ = [
    "budget_share",
    "describe_bytes",
    "limit_memory",
    "limited",
    "memory_budget",
    "read_bytes",
    "require",
    "room_for",
    "share_memory",
    "stated_limit",
]

_FALLBACK = 2 << 30
_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_MOST = 1 << 60
_CGROUP = Path("/sys/fs/cgroup")
_GROUP_FILES = {
    "": ("memory.max", "memory.current"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes"),
}
_limit: contextvars.ContextVar[int | None] = contextvars.ContextVar("max_bytes", default=None)


@contextlib.contextmanager
def limit_memory(max_bytes: int | str) -> Iterator[None]:
    """Limit the working memory of the calls of the library within a ``with`` block.

    What would take more is done in smaller blocks or by sampling, or refused with a `BudgetError`
    that names the size: determinants, the reference engine, losses on the pairs of a batch, hulls,
    searches, fast multipoles. Worker processes share the limit. Not counted are inputs and answers,
    up to six copies of the points or of their gradients, and Python, torch and compilers
    themselves. Blocks of pairs have at least 64 rows, which take 2 MB; those of reports and of
    tests of uniformity have a fixed size, up to 8 MB for each thread. Smaller blocks take more
    time, and may change the last digits of sums.

    Without a limit blocks are of the fastest size: they take 40 MB, and up to 250 MB where
    thousands of points lie in a cluster.

    Parameters
    ----------
    max_bytes : int or str
        Bytes, or a text such as "500M" or "2GiB" (1M is 2^20 bytes), as the command line takes it.
        Outside such a block, a quarter of the memory that is free when a call begins. The argument
        `max_bytes` of a function comes before it.

    Raises
    ------
    TypeError, ValueError
        If it is not a positive whole number or such a text.

    Examples
    --------
    >>> import sphuni
    >>> points = sphuni.random_points(2000, 3, rng=0)
    >>> with sphuni.limit_memory(10_000_000):
    ...     sphuni.gram_logdet(points)
    Traceback (most recent call last):
    sphuni._errors.BudgetError: ...
    """
    token = _limit.set(_checked(max_bytes))
    try:
        yield
    finally:
        _limit.reset(token)


def limited(max_bytes: int | str | None) -> contextlib.AbstractContextManager[None]:
    """`limit_memory`, or nothing where there is no limit of one's own."""
    return contextlib.nullcontext() if max_bytes is None else limit_memory(max_bytes)


def share_memory(max_bytes: int) -> None:
    """Limit a worker process for as long as it lives."""
    _limit.set(_checked(max_bytes))


def stated_limit() -> int | None:
    """The limit of `limit_memory`, if a call is made under one."""
    limit = _limit.get()
    return None if isinstance(limit, _Share) else limit


def room_for(most: int, bytes_each: int) -> int:
    """How many things of so many bytes a stated limit has room for, from one to `most`."""
    limit = stated_limit()
    return most if limit is None or not bytes_each else max(1, min(most, limit // bytes_each))


def memory_budget(max_bytes: int | str | None = None) -> int:
    """Return the working memory a call may take, in bytes.

    Parameters
    ----------
    max_bytes : int or str, optional
        The caller's own limit. Default: that of `limit_memory`, without one a quarter of the
        memory that is free now.
    """
    if max_bytes is None:
        max_bytes = _limit.get()
    if max_bytes is None:
        return max(_free_memory() // 4, 1 << 20)
    return _checked(max_bytes)


def read_bytes(text: str) -> int:
    """Read a number of bytes such as ``500M`` or ``2GiB``.

    Raises
    ------
    ValueError
        If the text is none.
    """
    match = _TEXT.fullmatch(text.strip())
    size = float(match[1]) * _UNITS[match[2].upper()] if match else 0.0
    if not 1 <= size < _MOST:
        raise ValueError(f"expected a number of bytes such as 500M or 2GiB; got {text!r}")
    return int(size)


class _Share(int):
    """A share of what was free, which nobody stated: blocks are of the size that they have without.

    The digits of sums depend on their blocks, and are not to depend on the number of processes.
    """


def _checked(max_bytes: int | str) -> int:
    if isinstance(max_bytes, _Share):
        return max_bytes
    if isinstance(max_bytes, str):
        try:
            return read_bytes(max_bytes)
        except ValueError as error:
            raise ValueError(f"max_bytes: {error}") from error
    try:
        size = None if isinstance(max_bytes, bool) else operator.index(max_bytes)
    except TypeError:
        size = None
    if size is None:
        raise TypeError(
            "max_bytes must be a whole number of bytes, or a text such as '500M'; got "
            f"{max_bytes!r}"
        )
    if size < 1:
        raise ValueError(f"max_bytes must be a positive number of bytes; got {size}")
    return size


def budget_share(count: int, max_bytes: int | str | None = None) -> int:
    """What each of `count` processes may take of the budget, in bytes."""
    share = max(1, memory_budget(max_bytes) // count)
    return _Share(share) if max_bytes is None and stated_limit() is None else share


def require(needed: int, max_bytes: int | str | None, *, what: str, remedy: str) -> None:
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
    """What this machine has left, or this process where it may have less."""
    limited = [*(_free_of(*group) for group in _groups()), _free_of_addresses()]
    return min([_free_of_machine(), *(free for free in limited if free is not None)])


def _free_of_machine() -> int:
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


def _free_of_addresses() -> int | None:
    """What the address space of this process has left, where it has a limit (`ulimit -v`)."""
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):  # there is no such module on Windows
        return None
    if limit == resource.RLIM_INFINITY:
        return None
    return max(1, limit - pages * resource.getpagesize())


@functools.lru_cache(maxsize=1)
def _groups() -> tuple[tuple[Path, Path], ...]:
    """Where the limits and the use of this process's control groups stand, its own first."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    return tuple(_groups_of(lines))


def _groups_of(lines: Iterable[str]) -> Iterator[tuple[Path, Path]]:
    """The groups of all lines "number:controllers:path", and those that they are parts of.

    In a container a path may be that of its host, and not there; the topmost group is.
    """
    paths = {"": "/", "memory": "/"}  # of the second version of control groups, and of the first
    for line in lines:
        _, controllers, path = line.split(":", 2)
        paths.update({name: path for name in controllers.split(",") if name in paths})
    for controller, (limit, used) in _GROUP_FILES.items():
        own = Path(paths[controller].strip("/"))
        for group in dict.fromkeys((own, *own.parents)):
            yield _CGROUP / controller / group / limit, _CGROUP / controller / group / used


def _free_of(limit: Path, used: Path) -> int | None:
    """What a control group has left; nothing where it has no limit or there is none."""
    try:
        return max(1, int(limit.read_text()) - int(used.read_text()) + _file_cache(used.parent))
    except (OSError, ValueError):  # the second from a limit that says "max"
        return None


def _file_cache(group: Path) -> int:
    """Bytes of files that were read and can be dropped, which count as used."""
    try:
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(counts.get("total_inactive_file", counts.get("inactive_file", 0)))
