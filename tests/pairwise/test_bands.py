"""Nearest neighbours in cells of the sphere against a tree."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

import sphuni
from sphuni.pairwise import nearest
from sphuni.pairwise.neighbours import _bands

N = 6_000


def near_poles_and_seam(generator):
    """A third about either pole, the poles themselves, and a third about longitude zero."""
    x = torch.randn(N, 3, generator=generator, dtype=torch.float64)
    x[: N // 3] = x[: N // 3] * 0.3 + torch.tensor([0.0, 0.0, 1.0])
    x[N // 3 : 2 * N // 3] = x[N // 3 : 2 * N // 3] * 0.3 - torch.tensor([0.0, 0.0, 1.0])
    x[2 * N // 3 :] = x[2 * N // 3 :] * torch.tensor([1.0, 0.1, 1.0])
    x[0], x[-1] = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, 0.0, -1.0])
    x[1], x[2] = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([-1.0, -0.0, 0.0])
    return sphuni.normalize(x)


def close_pairs(generator):
    """Every point beside another, some at the same place, some at the opposite one."""
    half = sphuni.normalize(torch.randn(N // 2, 3, generator=generator, dtype=torch.float64))
    moved = half + torch.logspace(-14, -2, N // 2)[:, None] * half.roll(1, 1)
    moved[:50], moved[50:100] = half[:50], -half[50:100]
    return torch.cat([half, sphuni.normalize(moved)])


def equal_angles(generator):
    """Parallels and meridians, on which many neighbours are equally far."""
    theta, phi = torch.meshgrid(
        torch.linspace(0.1, 3.0, 60, dtype=torch.float64),
        torch.arange(100, dtype=torch.float64) * (2 * torch.pi / 100),
        indexing="ij",
    )
    rows = [theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()]
    return torch.stack(rows, dim=-1).reshape(-1, 3)


def holes(generator):
    """No points over large parts of the sphere: whoever looks there looks far."""
    x = torch.randn(N, 3, generator=generator, dtype=torch.float64)
    x[:-1, 2] = x[:-1, 2].abs() + 0.3
    x[-1] = torch.tensor([0.3, 0.0, -1.0])
    return sphuni.normalize(x)


def tree_distances(points, queries, own):
    distance, index = cKDTree(points.numpy()).query(queries.numpy(), k=2)
    first = np.where(index[:, 0] == own, distance[:, 1], distance[:, 0])
    return torch.from_numpy(first)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("make", [near_poles_and_seam, close_pairs, equal_angles, holes])
def test_cells_find_what_a_tree_finds(make, mirrored):
    x = make(torch.Generator().manual_seed(0))
    index, squares = _bands.nearest_in_bands(x, mirrored=mirrored)
    y = -x if mirrored else x
    expected = tree_distances(x, y, np.arange(N))
    torch.testing.assert_close(squares.sqrt(), expected, rtol=1e-12, atol=0.0)
    torch.testing.assert_close((x[index] - y).norm(dim=1), expected, rtol=1e-12, atol=0.0)
    assert not bool((index == torch.arange(N)).any())


@pytest.mark.parametrize("mode", [{}, {"antipodal": True}, {"opposite": True}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_nearest_of_many_points_is_that_of_the_tree(mode, dtype, monkeypatch):
    x = sphuni.normalize(
        torch.randn(2, N, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ).to(dtype)
    found = nearest(x, **mode)
    monkeypatch.setattr(_bands, "repays", lambda points: False)
    expected = nearest(x, **mode)
    assert torch.equal(found.distance, expected.distance)
    assert torch.equal(found.index, expected.index)


def test_of_equally_near_points_the_first_counts():
    x = equal_angles(torch.Generator())
    index, squares = _bands.nearest_in_bands(torch.cat([x, x[:7], x[:7]]))
    assert index[:7].tolist() == list(range(N, N + 7))
    assert index[N:].tolist() == 2 * list(range(7))
    assert not squares[N:].any()


@pytest.mark.parametrize("spread", [0.0, 1e-9, 1e-2])
def test_points_that_crowd_are_left_to_the_tree(spread):
    generator = torch.Generator().manual_seed(3)
    x = torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64).repeat(N, 1)
    x = sphuni.normalize(x + spread * torch.randn(x.shape, generator=generator, dtype=x.dtype))
    assert _bands.nearest_in_bands(x) is None
    expected = tree_distances(x, x, np.arange(N))
    torch.testing.assert_close(nearest(x).distance[:, 0], expected, rtol=1e-12, atol=0.0)


def test_points_that_are_not_finite_are_left_to_the_tree():
    x = near_poles_and_seam(torch.Generator().manual_seed(4))
    x[5, 1] = torch.nan
    assert _bands.nearest_in_bands(x) is None


def test_threads_change_no_neighbour():
    generator = torch.Generator().manual_seed(5)
    x = sphuni.normalize(torch.randn(40_000, 3, generator=generator, dtype=torch.float64))
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(_bands.nearest_in_bands(x)[0])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)
