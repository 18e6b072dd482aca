"""Unit rows: value, first and second derivative, and the kick."""

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
