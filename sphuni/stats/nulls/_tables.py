"""Monte-Carlo tables: simulated together, kept in memory and on disk."""

import collections
import contextlib
import functools
import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sphuni import __version__
from sphuni._cache import cache_folder
from sphuni._files import write_bytes
from sphuni.stats._base import UniformityTest
from sphuni.stats.nulls._simulate import Progress, shifted, simulate_tests

__all__ = ["tables"]

_FLOAT = NDArray[np.float64]
_FORMAT = 1
_IN_MEMORY = 256
_WORTH_A_FILE = 1e7

_memory: "collections.OrderedDict[str, _FLOAT]" = collections.OrderedDict()


def tables(
    tests: Sequence[UniformityTest],
    n: int,
    d: int,
    count: int,
    seed: int,
    *,
    workers: int = 1,
    keep: bool = True,
    progress: Progress | None = None,
) -> list[_FLOAT]:
    """Sorted statistics of `count` simulated sets for each test.

    All missing ones are simulated on the same sets. With `keep` they are stored, in memory and, if
    they were dear, in a file of `cache_folder`. `progress` counts 2 `count` sets, because tests
    that are not invariant take sets of their own.
    """
    keys = [_key(test, n, d, count, seed) for test in tests]
    found = {key: table for key in keys if (table := _known(key, count)) is not None}
    for start, invariant in ((0, True), (count, False)):
        wanted = {
            key: test
            for key, test in zip(keys, tests, strict=True)
            if key not in found and test.invariant is invariant
        }
        if not wanted:
            if progress is not None:
                progress(start + count, 2 * count)
            continue
        parts = _sharing(wanted.values(), d)
        columns: dict[UniformityTest, _FLOAT] = {}
        for place, part in enumerate(parts):
            first, last = (start + k * count // len(parts) for k in (place, place + 1))
            report = shifted(progress, first, last, 2 * count)
            sample = simulate_tests(part, n, d, count, rng=seed, workers=workers, progress=report)
            columns |= dict(zip(part, sample.T, strict=True))
        for key, test in wanted.items():
            found[key] = np.sort(columns[test])
            if keep:
                _remember(key, found[key])
                if count * test.cost(n, d) > _WORTH_A_FILE:
                    _store(key, found[key])
    return [found[key] for key in keys]


def _sharing(tests: Iterable[UniformityTest], d: int) -> list[tuple[UniformityTest, ...]]:
    """Tests that are simulated on the same sets; one that sees a subspace only has its own.

    So it has the same table alone and among others.
    """
    apart: list[UniformityTest] = []
    together: list[UniformityTest] = []
    for test in tests:
        (together if test.narrowed(d) is None else apart).append(test)
    return [tuple(together)] * bool(together) + [(test,) for test in apart]


def _key(test: UniformityTest, n: int, d: int, count: int, seed: int) -> str:
    words = f"{_FORMAT} {_definitions()} {test!r} n={n} d={d} count={count} seed={seed}"
    return f"{test.name}-{hashlib.sha256(words.encode()).hexdigest()[:24]}"


@functools.lru_cache(maxsize=1)
def _definitions() -> str:
    """A hash of the code that statistics are made of: a table of another statistic is no table."""
    digest = hashlib.sha256(__version__.encode())
    package = Path(__file__).parents[2]
    for room in ("kernels", "pairwise", "special", "stats"):
        for source in sorted((package / room).rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _known(key: str, count: int) -> _FLOAT | None:
    if key in _memory:
        _memory.move_to_end(key)
        return _memory[key]
    folder = cache_folder()
    if folder is None:
        return None
    try:
        table = np.load(folder / f"{key}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if table.shape != (count,) or table.dtype != np.float64 or np.any(table[1:] < table[:-1]):
        return None
    _remember(key, table)
    return np.asarray(table)


def _remember(key: str, table: _FLOAT) -> None:
    _memory[key] = table
    while len(_memory) > _IN_MEMORY:
        _memory.popitem(last=False)


def _store(key: str, table: _FLOAT) -> None:
    """Write a table; a folder that cannot be written costs the next process its time, no more."""
    folder = cache_folder()
    if folder is None:
        return
    content = io.BytesIO()
    np.save(content, table, allow_pickle=False)
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / f"{key}.npy", content.getvalue())
