"""The best partners of every row, gathered from tiles in any order."""

import itertools

import pytest
import torch

from sphuni.pairwise.neighbours._best import keep_best


def _gather(
    scores: torch.Tensor, k: int, block: int, *, turned: bool, native: bool
) -> torch.Tensor:
    """Indices of the k best of every row, from the tiles of a symmetric table."""
    n = len(scores)
    best = scores.new_full((n, k), -torch.inf)
    index = torch.zeros(n, k, dtype=torch.long)
    blocks = [slice(start, min(start + block, n)) for start in range(0, n, block)]
    pairs = list(itertools.combinations_with_replacement(blocks, 2))
    for rows, columns in reversed(pairs) if turned else pairs:
        tile = scores[rows, columns].contiguous()
        keep_best(best, index, tile, rows, columns, native=native)
    assert torch.equal(best, scores.gather(1, index))
    return index


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("native", [False, True])
def test_best_columns_whatever_the_order_of_tiles(dtype: torch.dtype, k: int, native: bool) -> None:
    if native:
        pytest.importorskip("numba")
    generator = torch.Generator().manual_seed(0)
    table = torch.randint(0, 40, (150, 150), generator=generator).to(dtype)  # many equal scores
    scores = (table + table.T).fill_diagonal_(-torch.inf)
    expected = scores.sort(dim=1, descending=True, stable=True).indices[:, :k]
    for block, turned in itertools.product((150, 64, 7), (False, True)):
        found = _gather(scores, k, block, turned=turned, native=native)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loops_tell_the_largest_score_on_either_side(dtype: torch.dtype) -> None:
    pytest.importorskip("numba")
    tile = torch.rand(40, 70, generator=torch.Generator().manual_seed(0)).to(dtype)
    for value in (-3.0, 0.5, 7.0, -torch.inf):
        tile[3, 50] = value
        best, index = tile.new_full((110, 1), -torch.inf), torch.zeros(110, 1, dtype=torch.long)
        reach = keep_best(best, index, tile, slice(0, 40), slice(40, 110))
        assert reach == float(tile[tile > -torch.inf].abs().max())
