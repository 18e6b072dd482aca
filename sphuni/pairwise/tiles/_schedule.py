"""Running tiles side by side: threads over tiles, those left over inside them.

Tiles that share rows run one after the other, in a fixed order, and may add to one common buffer.
Sums therefore come out the same for any number of threads, and no thread needs a buffer of its own.
The order is that of a tournament in which every block of rows meets every other once: the tiles
of a round share no rows.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from torch import Tensor

from sphuni._budget import room_for, stated_limit
from sphuni._threads import in_turns, side_by_side

__all__ = ["COPIES", "LARGEST_BLOCK", "Task", "block_size", "run_rounds", "run_tiles", "tile_rows"]

T = TypeVar("T")

_TILE_ELEMENTS = 1 << 18
_BLOCK_BESIDE = 2048
_INLINE_WORK = 1 << 22
_SMALL_SET = 768
_FEWEST_ROWS = 64  # even where a stated limit has no room for them
COPIES = 52
"""How many tiles of numbers work on one takes, with the lists of its pairs if all are near."""
LARGEST_BLOCK = 704
"""Rows of a tile on the processor, which then stays in its cache. Beside it, on a GPU, starting the
operations of so small a tile takes longer than they do: there tiles have up to 2048 rows.
"""


class Task(NamedTuple):
    """One tile of one part of the batch.

    In a block's `own` tile row i and column i are the same point. Any other tile of the pairs of
    one set stands for its mirror image too.
    """

    batch: slice
    left: slice
    right: slice
    own: bool


def run_tiles(
    work: Callable[[Task], None],
    x: Tensor,
    y: Tensor | None,
    *,
    block: int | None = None,
    copies: int = COPIES,
) -> None:
    """Apply `work` to every tile of the pairs of `x`, or of `x` against `y`.

    Parameters
    ----------
    work : callable
        May add in place to the rows of its own tile; it runs on several threads.
    x, y : tensors of shape (b, n, d) and (b, m, d)
    block : int, optional
        Rows of a tile; by default what suits tiles of matrix products.
    copies : int, optional
        How many tiles of numbers the work on one takes at most; 0 for loops that hold none.
    """
    rounds = _rounds(x, y, block, copies)
    work_load = x.shape[0] * x.shape[1] * (x if y is None else y).shape[1] * (x.shape[2] + 16)
    parallel = x.device.type == "cpu" and work_load >= _INLINE_WORK
    width = min(max(map(len, rounds)), _room_for(rounds, x, copies)) if parallel else 1
    uses = functools.partial(_rows_of, two_sets=y is not None)
    in_turns(work, list(itertools.chain(*rounds)), uses=uses, width=width)


def _room_for(rounds: list[list[Task]], x: Tensor, copies: int) -> int:
    """How many tiles at a time a stated limit of memory has room for."""
    sizes = [part.stop - part.start for part in rounds[0][0][:3]]
    return room_for(max(map(len, rounds)), copies * math.prod(sizes) * x.element_size())


def run_rounds(work: Callable[[T], None], rounds: Sequence[Sequence[T]], *, parallel: bool) -> None:
    """Apply `work` to the tasks of each round, side by side on the threads torch may use."""
    for tasks in rounds:
        answers = side_by_side(work, tasks) if parallel else map(work, tasks)
        for _ in answers:  # waits for the round, and raises what a task raised
            pass


def _rows_of(task: Task, *, two_sets: bool) -> Iterator[tuple[int, int, bool]]:
    """The rows, of one set or the other, that no other tile may add to meanwhile."""
    yield task.batch.start, task.left.start, False
    yield task.batch.start, task.right.start, two_sets


def block_size(n: int, device: str = "cpu", bytes_of_pair: int = 0) -> int:
    """Rows of a tile: equal blocks that fit in a cache, or all of a set hardly larger.

    Fewer where a stated limit has no room for the bytes that a tile takes for each pair.
    """
    if _has_room_for_large_tiles(device):
        return -(-n // -(-n // _BLOCK_BESIDE)) if n > 0 else 1
    largest = max(_FEWEST_ROWS, math.isqrt(room_for(_SMALL_SET**2, bytes_of_pair)))
    if n <= largest:
        return max(1, n)
    return -(-n // -(-n // min(largest, LARGEST_BLOCK)))


def tile_rows(x: Tensor, copies: int = COPIES) -> int:
    """Rows of a tile of sets (b, n, d), on which work takes so many tiles of numbers."""
    return block_size(x.shape[1], x.device.type, copies * x.element_size())


def _has_room_for_large_tiles(device: str) -> bool:
    """Whether tiles are of the size for other devices than the processor: under no stated limit."""
    return device != "cpu" and stated_limit() is None


def _rounds(x: Tensor, y: Tensor | None, block: int | None, copies: int) -> list[list[Task]]:
    """All tiles, in rounds of tiles that share no rows."""
    device, bytes_of_pair = x.device.type, copies * x.element_size()
    rows = list(_blocks(x.shape[1], block or tile_rows(x, copies)))
    other = rows
    if y is not None:
        other = list(_blocks(y.shape[1], block or tile_rows(y, copies)))
    size = (rows[0].stop - rows[0].start) * (other[0].stop - other[0].start)
    large = _has_room_for_large_tiles(device)
    together = _BLOCK_BESIDE**2 if large else room_for(_TILE_ELEMENTS, bytes_of_pair)
    parts = list(_blocks(x.shape[0], max(1, together // size)))
    pairs = _tournament(len(rows)) if y is None else _shifts(len(rows), len(other))
    return [
        [Task(part, rows[i], other[j], own=y is None and i == j) for part in parts for i, j in met]
        for met in pairs
    ]


def _tournament(count: int) -> list[list[tuple[int, int]]]:
    """Rounds in which each of `count` blocks meets each other once, and at last itself.

    The circle method: all but the last block sit on a circle that is turned by one each round.
    """
    rounds: list[list[tuple[int, int]]] = []
    even = count + count % 2
    for turn in range(even - 1):
        ring = [(turn + k) % (even - 1) for k in range(even - 1)]
        met = [(ring[0], even - 1)] + [(ring[k], ring[-k]) for k in range(1, even // 2)]
        rounds.append([(min(p), max(p)) for p in met if max(p) < count])
    return [met for met in rounds if met] + [[(i, i) for i in range(count)]]


def _shifts(rows: int, columns: int) -> list[list[tuple[int, int]]]:
    """Rounds in which every row block meets every column block once."""
    longest = max(rows, columns)
    return [
        [(i, (i + shift) % longest) for i in range(rows) if (i + shift) % longest < columns]
        for shift in range(longest)
    ]


def _blocks(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
