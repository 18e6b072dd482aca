"""Running tiles side by side: threads over tiles, one thread inside each.

Tiles are dealt to a fixed number of lanes, each lane adds up its own tiles in order, and lanes
are summed in order, so the answer does not depend on how many threads ran.
"""

import concurrent.futures
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

__all__ = ["Task", "block_size", "run_lanes", "tasks"]

T = TypeVar("T")

_MOST_LANES = 4
_TILES_PER_LANE = 16
_TILE_ELEMENTS = 1 << 18


class Task(NamedTuple):
    """One tile of one part of the batch."""

    batch: slice
    left: slice
    right: slice
    diagonal: bool


def block_size(n: int) -> int:
    """Rows of a tile: 512, or half of a smaller set so that the diagonal wastes less."""
    if n > 768:
        return 512
    return max(1, (n + 1) // 2) if n > 128 else n


def tasks(x: Tensor, y: Tensor | None) -> list[Task]:
    """Upper-triangular tiles of the pairs of `x`, or all tiles of `x` against `y`."""
    batch, n = x.shape[0], x.shape[1]
    rows = block_size(n)
    columns = rows if y is None else block_size(y.shape[1])
    per_tile = max(1, _TILE_ELEMENTS // (rows * columns))
    lefts = list(_blocks(n, rows))
    rights = lefts if y is None else list(_blocks(y.shape[1], columns))
    return [
        Task(part, left, right, y is None and left == right)
        for part in _blocks(batch, per_tile)
        for i, left in enumerate(lefts)
        for right in (rights[i:] if y is None else rights)
    ]


def run_lanes(
    work: Callable[[Sequence[Task]], tuple[Tensor, ...]], todo: Sequence[Task], device: torch.device
) -> list[tuple[Tensor, ...]]:
    """Apply `work` to each lane's tiles; on a CPU the lanes run on threads."""
    count = max(1, min(_MOST_LANES, len(todo) // _TILES_PER_LANE))
    lanes = [todo[k::count] for k in range(count)]
    if device.type != "cpu" or count == 1 or torch.get_num_threads() == 1:
        return [work(lane) for lane in lanes]
    grad = torch.is_grad_enabled()

    def in_thread(lane: Sequence[Task]) -> tuple[Tensor, ...]:
        with torch.set_grad_enabled(grad):
            return work(lane)

    return list(_pool(torch.get_num_threads()).map(in_thread, lanes))


@functools.lru_cache(maxsize=1)
def _pool(threads: int) -> concurrent.futures.ThreadPoolExecutor:
    """Worker threads whose own torch operations use one thread each."""
    pool = concurrent.futures.ThreadPoolExecutor(
        threads, thread_name_prefix="sphuni-tiles", initializer=torch.set_num_threads, initargs=(1,)
    )
    for future in [pool.submit(torch.get_num_threads) for _ in range(threads)]:
        future.result()
    torch.set_num_threads(threads)  # the workers' own setting also moved the default of new threads
    return pool


def _blocks(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
