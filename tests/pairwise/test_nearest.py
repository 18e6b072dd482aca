"""Searches against brute force: neighbours, aligned pairs, histograms, the dense matrix."""

import numpy as np
import pytest
import torch
from pair_cases import KERNELS, close_set, degenerate_set, points

import sphuni
from sphuni.kernels import Gaussian, Riesz
from sphuni.pairwise import gram_matrix, nearest, scan_pairs, smallest_distance

SETS = (pytest.param(points, marks=pytest.mark.slow), close_set, degenerate_set)


def brute_distances(x, *, antipodal=False, opposite=False):
    x = x.double()
    table = (x[:, None] - x[None]).norm(dim=-1)
    sums = (x[:, None] + x[None]).norm(dim=-1)
    if antipodal:
        table = torch.minimum(table, sums)
    return (sums if opposite else table).fill_diagonal_(torch.inf)


@pytest.mark.parametrize("mode", [{}, {"antipodal": True}, {"opposite": True}], ids=str)
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("d", [2, 7, 8])
@pytest.mark.parametrize("make", SETS)
@pytest.mark.parametrize("n", [12, 600])
def test_nearest_is_brute_force(n, make, d, k, mode):
    x = make(n, d, seed=d)
    found = nearest(x, k=k, **mode)
    table = brute_distances(x, **mode)
    expected = table.sort(dim=1).values[:, :k]
    torch.testing.assert_close(found.distance, expected, rtol=1e-13, atol=1e-15)
    own = torch.arange(n)[:, None]
    assert not bool((found.index == own).any())
    assert bool((found.index.sort(dim=1).values.diff(dim=1) > 0).all()) if k > 1 else True
    torch.testing.assert_close(table.gather(1, found.index), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("mode", [{}, {"antipodal": True}, {"opposite": True}], ids=str)
@pytest.mark.parametrize(("n", "d"), [(5, 2), (40, 3), (40, 9), (600, 4)])
def test_nearest_of_a_batch_is_that_of_each_set(n, d, mode):
    sets = torch.stack([close_set(n, d, seed=1), points(n, d, seed=2)])
    both = nearest(sets, k=2, **mode)
    for one, x in enumerate(sets):
        expected = brute_distances(x, **mode).sort(dim=1).values[:, :2]
        torch.testing.assert_close(both.distance[one], expected, rtol=1e-13, atol=1e-15)


def test_lines_have_no_opposite_points():
    with pytest.raises(ValueError, match="antipodal or opposite, not both"):
        nearest(points(9, 3), antipodal=True, opposite=True)


@pytest.mark.parametrize("mode", [{}, {"antipodal": True}, {"opposite": True}], ids=str)
@pytest.mark.parametrize(("n", "d"), [(30, 3), (600, 2), (600, 4), (600, 9)])
def test_smallest_distance_is_that_of_the_nearest(n, d, mode):
    x = points(n, d, seed=3)
    expected = brute_distances(x, **mode).min().item()
    both = smallest_distance(torch.stack([x, x.flip(0)]), **mode)
    assert both.tolist() == pytest.approx([expected] * 2, rel=1e-12)


@pytest.mark.parametrize("d", [3, 12])
def test_nearest_of_points_that_all_coincide_or_are_all_equally_far(d):
    same = points(1, d).expand(9, d)
    found = nearest(same, k=3)
    assert not found.distance.any()
    assert not bool((found.index == torch.arange(9)[:, None]).any())
    assert bool((found.index.sort(dim=1).values.diff(dim=1) > 0).all())
    simplex = torch.eye(d, dtype=torch.float64)
    torch.testing.assert_close(nearest(simplex).distance, torch.full((d, 1), 2**0.5).double())


@pytest.mark.parametrize("d", [3, 30])
def test_nearest_in_float32_finds_the_closest_of_close_neighbours(d):
    x = points(2_300, d).float()
    step = points(4, d, seed=9).float()
    for row, size in enumerate((1e-3, 1e-4, 1e-5, 1e-6)):
        x[-1 - row] = sphuni.normalize(x[row] + size * step[row])
    found = nearest(x)
    expected = brute_distances(x).amin(dim=1)
    torch.testing.assert_close(found.distance[:, 0].double(), expected, rtol=1e-6, atol=0)
    assert [int(found.index[row, 0]) for row in range(4)] == [2299, 2298, 2297, 2296]


def test_nearest_does_not_underflow_in_half():
    x = torch.tensor([[1.0, 1e-4], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float16)
    found = nearest(x)
    assert found.distance.dtype == torch.float16
    assert found.distance[0, 0].item() == pytest.approx(1e-4, rel=1e-3)
    assert sphuni.separation(x).distance.item() == pytest.approx(1e-4, rel=1e-3)


def test_nearest_is_batched_and_differentiable():
    x = points(8, 4, batch=(2, 3))
    found = nearest(x, k=2)
    assert found.index.shape == (2, 3, 8, 2)
    for i in range(2):
        for j in range(3):
            assert torch.equal(found.index[i, j], nearest(x[i, j], k=2).index)
    leaf = points(6, 3, seed=2).mul(1.4).requires_grad_()
    assert torch.autograd.gradcheck(lambda r: nearest(sphuni.normalize(r), k=2).distance, leaf)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{}, {"antipodal": True}, {"opposite": True}], ids=str)
def test_gradients_are_tangent(options, dtype):
    like = torch.empty(0, dtype=dtype)
    x = sphuni.random_points(30, 4, rng=0, like=like).requires_grad_()
    for distances in (nearest(x, k=3, **options).distance, smallest_distance(x, **options)):
        (gradient,) = torch.autograd.grad(distances.sum(), x)
        radial = (gradient * x).sum(-1).detach().abs().max()
        assert float(radial) < 32 * torch.finfo(dtype).eps
    same = points(1, 3).repeat(4, 1).requires_grad_()
    nearest(same).distance.sum().backward()
    assert not same.grad.any()


@pytest.mark.parametrize("k", [0, 5, 6])
def test_nearest_refuses_more_neighbours_than_there_are(k):
    with pytest.raises(ValueError, match=f"k must lie between 1 and n - 1 = 4; got {k}"):
        nearest(points(5, 3), k=k)


@pytest.mark.parametrize(("n", "d"), [(2, 3), (40, 4), (600, 5), (1300, 20)])
def test_a_scan_sees_what_brute_force_sees(n, d):
    x = degenerate_set(n, d) if n > 10 else points(n, d)
    scan = scan_pairs(x, bins=37, aligned=7)
    gram = x @ x.T
    i, j = torch.triu_indices(n, n, 1)
    cosines = gram[i, j]
    assert scan.counted == len(cosines) == int(scan.counts.sum())
    expected = np.histogram(cosines.clamp(-1, 1).numpy(), 37, (-1.0, 1.0))[0]
    assert np.abs(scan.counts.numpy() - expected).sum() <= 2  # a cosine on an edge may round
    best = gram.clone().fill_diagonal_(-torch.inf).amax(dim=1)
    torch.testing.assert_close(
        gram.gather(1, scan.nearest[:, None])[:, 0], best, rtol=0, atol=1e-14
    )
    top = cosines.abs().sort(descending=True).values[:7]
    assert [abs(c) for _, _, c in scan.aligned] == pytest.approx(top.tolist(), abs=1e-14)
    for a, b, cosine in scan.aligned:
        assert a < b
        assert cosine == pytest.approx(float(gram[a, b]), abs=1e-14)
    assert len({pair[:2] for pair in scan.aligned}) == len(scan.aligned)


def test_a_scan_of_orthogonal_points_lists_pairs_not_zeros_of_the_tile():
    scan = scan_pairs(torch.eye(4, dtype=torch.float64), aligned=10)
    assert sorted(pair[:2] for pair in scan.aligned) == [
        (0, 1),
        (0, 2),
        (0, 3),
        (1, 2),
        (1, 3),
        (2, 3),
    ]


def test_a_scan_refuses_to_return_nothing():
    with pytest.raises(ValueError, match="aligned and bins must be at least 1; got 0 and 5"):
        scan_pairs(points(5, 3), aligned=0, bins=5)


@pytest.mark.slow
def test_a_scan_of_many_points_counts_a_part_and_finds_all():
    x = points(12_000, 24).float()
    x[-1] = sphuni.normalize(x[5] + 1e-3 * x[6])
    scan = scan_pairs(x, bins=50, aligned=1)
    assert scan.aligned[0][:2] == (5, 11_999)
    assert 0 < scan.counted < 12_000 * 11_999 // 2
    edges = np.linspace(-1, 1, 51)
    exact = sphuni.special.cosine_cdf(edges, 24) if hasattr(sphuni.special, "cosine_cdf") else None
    if exact is not None:
        share = scan.counts.numpy() / scan.counted
        np.testing.assert_allclose(share, np.diff(exact), atol=1e-3)


@pytest.mark.parametrize("d", [3, 11])
@pytest.mark.parametrize(
    "kernel", [k for k in KERNELS if k.at_one < 1e300], ids=lambda kernel: kernel.label
)
def test_the_dense_matrix_holds_the_kernel_of_every_pair(kernel, d):
    x = degenerate_set(12, d)
    for opposite in (False, True):
        matrix = gram_matrix(x, kernel, opposite=opposite)
        y = -x if opposite else x
        p = (x[:, None] - y[None]).square().sum(-1)
        q = (x[:, None] + y[None]).square().sum(-1)
        torch.testing.assert_close(matrix, kernel.value(p, q), rtol=1e-11, atol=1e-12)


def test_the_dense_matrix_is_batched_and_twice_differentiable():
    x = points(5, 3, batch=(2, 2))
    assert gram_matrix(x, Riesz(-1.0)).shape == (2, 2, 5, 5)
    leaf = points(4, 3).mul(1.5).requires_grad_()
    for opposite in (False, True):

        def function(raw, opposite=opposite):
            return gram_matrix(sphuni.normalize(raw), Gaussian(1.0), opposite=opposite)

        assert torch.autograd.gradcheck(function, leaf)
        assert torch.autograd.gradgradcheck(function, leaf)


@pytest.mark.parametrize("d", [3, 4, 5, 7])
def test_no_line_is_its_own_neighbour_or_named_twice(d, rng):
    for _ in range(20):
        frame = torch.linalg.qr(torch.from_numpy(rng.standard_normal((d, d))))[0]
        for k in range(1, d):
            index = nearest(frame, k=k, antipodal=True).index
            for i, row in enumerate(index.tolist()):
                assert len({*row, i}) == k + 1


@pytest.mark.parametrize(
    ("n", "d", "spread"), [(2100, 16, 1e-4), (2100, 16, 1e-3), (2100, 40, 0.1)]
)
@pytest.mark.parametrize("antipodal", [False, True])
def test_neighbours_among_float32_points_that_lie_together(n, d, spread, antipodal):
    axis = torch.eye(d)[0]
    x = sphuni.normalize(
        axis + spread * torch.randn(n, d, generator=torch.Generator().manual_seed(0))
    )
    found = sphuni.separation(x, antipodal=antipodal)
    exact = sphuni.separation(sphuni.normalize(x.double()), antipodal=antipodal)
    assert float(found.distance) == pytest.approx(float(exact.distance), rel=1e-6)
    assert float(found.mean_nearest) == pytest.approx(float(exact.mean_nearest), rel=1e-6)


@pytest.mark.parametrize("n", [100, 600])
def test_the_closest_pair_of_a_narrow_cluster_in_float32(n):
    """Norms are 1 to 6e-8 only, and cosines of points so close differ by less."""
    spread = torch.randn(n, 3, generator=torch.Generator().manual_seed(0)) * 1e-4
    points = sphuni.normalize(torch.tensor([0.0, 0.0, 1.0]) + spread)
    exact = sphuni.normalize(points.double())
    apart = torch.cdist(exact, exact, compute_mode="donot_use_mm_for_euclid_dist")
    apart.fill_diagonal_(torch.inf)
    found = smallest_distance(points)
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(apart.min().item(), rel=1e-6)


@pytest.mark.parametrize("mode", [{}, {"antipodal": True}, {"opposite": True}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("n", "d"),
    [(60, 3), (60, 12), (530, 12), pytest.param(2_100, 12, marks=pytest.mark.slow)],
)
def test_neighbours_among_points_whose_float64_cosines_are_all_one(n, d, dtype, mode):
    """Within 1e-9 of an axis coordinates have digits that inner products have not."""
    x = torch.zeros(n, d, dtype=dtype)
    x[:, 1:] = 1e-9 * torch.randn(n, d - 1, generator=torch.Generator().manual_seed(0))
    x[:, 0] = 1.0
    if mode:
        x[::2] *= -1
    table = brute_distances(x, **mode)
    found = nearest(x, k=2, **mode)
    expected = table.sort(dim=1).values[:, :2]
    torch.testing.assert_close(found.distance.double(), expected, rtol=1e-6, atol=0)
    assert smallest_distance(x, **mode).item() == pytest.approx(table.min().item(), rel=1e-6)


def test_the_closer_of_two_close_pairs_is_the_smallest_distance():
    x = points(20, 4)
    x[1], x[3] = x[0], x[2]
    x[1, 1] += 1e-9
    x[3, 1] += 1e-13
    found = smallest_distance(torch.stack([x, x.flip(0)]))
    assert found.tolist() == pytest.approx([1e-13] * 2, rel=1e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_neighbours_of_many_points_in_half_precision(dtype):
    """Their norms are 1 to three digits only, and their cosines tie in float32 too."""
    x = points(2_100, 9)
    x[7:60] = x[6]
    rounded = x.to(dtype)
    found = nearest(rounded, k=2)
    table = brute_distances(sphuni.normalize(rounded.double()))
    expected = table.sort(dim=1).values[:, :2]
    torch.testing.assert_close(table.gather(1, found.index), expected, rtol=1e-9, atol=1e-12)
