"""Unit rows: value, first and second derivative, and the kick."""

import gc

import pytest
import torch

from sphuni.nn._directions import KICK, directions
from sphuni.sphere import unit_rows


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e20])
def test_unit_rows_and_their_derivatives(scale):
    w = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * scale
    w.requires_grad_()
    torch.testing.assert_close(directions(w), unit_rows(w.detach()), atol=1e-15, rtol=0)
    target = torch.arange(12, dtype=torch.float64).reshape(4, 3)
    for f in (directions, unit_rows):
        (first,) = torch.autograd.grad((f(w) * target).square().sum(), w, create_graph=True)
        (second,) = torch.autograd.grad((first * target).sum() * scale, w)
        if f is directions:
            kept = first.detach(), second
    torch.testing.assert_close(kept[0] * scale, first.detach() * scale)
    torch.testing.assert_close(kept[1] * scale, second * scale)


def test_only_lost_directions_are_kicked():
    w = torch.eye(4, 6, dtype=torch.float64)
    assert torch.equal(directions(w), w)
    w[1], w[3] = 5 * w[0], 0.0
    rows = directions(w)
    assert torch.equal(rows[2], w[2])
    assert (rows[0] - rows[1]).norm() > 0.5 * KICK
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(4, dtype=torch.float64))
    assert torch.equal(rows, directions(w))
    w[1] = -w[0]
    assert torch.equal(directions(w)[:2], w[:2])
    assert (directions(w, half_space=True)[0] + directions(w, half_space=True)[1]).norm() > 0


def test_a_batch_is_treated_set_by_set():
    w = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    w[1, 2] = w[1, 4]
    alone = torch.stack([directions(one) for one in w])
    torch.testing.assert_close(directions(w), alone)


def test_a_kick_depends_on_seed_and_row_only():
    w = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    w[1] = w[4]
    few = directions(w)[[1, 4]]
    w[2], w[6] = w[3], 0.0
    longer = torch.cat([w, torch.eye(3, 5, dtype=torch.float64)])
    for more in (w, longer):
        torch.testing.assert_close(directions(more)[[1, 4]], few, rtol=1e-12, atol=1e-12)


def living_numbers():
    gc.collect()
    return sum(one.numel() for one in gc.get_objects() if type(one) is torch.Tensor)


def test_kicks_are_not_kept():
    w = torch.randn(3_000, 40, generator=torch.Generator().manual_seed(0))
    w[7] = w[2_500]
    before = living_numbers()
    directions(w)
    assert living_numbers() - before < 1_000


def test_equal_rows_part_on_a_circle_too():
    w = torch.randn(7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    w[1:] = w[0]
    assert torch.pdist(directions(w)).min() > 1e-3 * KICK
