"""Counting cosines by bins: loops and plain operations against numpy."""

import numpy as np
import pytest
import torch

from sphuni.pairwise.summaries._histogram import count_cosines


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_cosines_are_counted_as_numpy_counts_them(own, native):
    tile = 2.2 * torch.rand(60, 60, generator=torch.Generator().manual_seed(3)) - 1.1
    counts = torch.ones(50, dtype=torch.float64)
    count_cosines(counts, tile, own=own, native=native)
    pairs = tile[np.triu_indices(60, 1)] if own else tile.flatten()
    expected = np.histogram(pairs.clamp(-1, 1).numpy(), 50, (-1.0, 1.0))[0]
    assert (counts - 1).tolist() == pytest.approx(expected.tolist(), abs=1)  # one may round
    assert int(counts.sum()) == 50 + pairs.numel()
