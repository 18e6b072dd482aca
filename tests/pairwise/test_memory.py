"""Peak memory of a child process, over what it takes to import the library."""

import subprocess
import sys

import pytest
import torch

import sphuni
from sphuni._errors import BudgetError
from sphuni.kernels import Laplace, Riesz
from sphuni.pairwise import gram_matrix, pair_reduce, smallest_distance
from sphuni.pairwise.neighbours import _closest
from sphuni.pairwise.tiles import _near, _schedule, _tiles

PROGRAM = """
import pathlib, re, torch, sphuni
from sphuni.kernels import Riesz
from sphuni.pairwise import nearest, pair_reduce
torch.set_num_threads({threads})
def work(n):
    x = torch.randn(n, {d}, generator=torch.Generator().manual_seed(0))
    x = sphuni.normalize(x).requires_grad_()
    {body}
def peak():  # getrusage would count the process that started this one
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024
work(600)
before = peak()
work({n})
print(before, peak())
"""
LIMITED = """
import pathlib, re, torch, sphuni
from sphuni.kernels import Gaussian, Laplace, Riesz
from sphuni.pairwise import pair_reduce, smallest_distance
torch.set_num_threads(2)
def points(*shape, spread=None):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if spread is not None:
        x = spread * x
        x[..., 0] += 1.0
    return sphuni.normalize(x)
def leaf(*shape, **options):
    return points(*shape, **options).requires_grad_()
def peak():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024
kernels = [Riesz(1.0), Gaussian(1.0), Riesz(2.0)]
def work(scale):
    {body}
work(0.2)
before = peak()
with sphuni.limit_memory({limit} << 20):
    work(1.0)
print(before, peak())
"""
GRADIENT = "pair_reduce(x, kernel=Riesz(1.0), engine='blockwise').backward()"
ROWS = "pair_reduce(x, kernel=Riesz(1.0), op='rows', engine='blockwise').sum().backward()"
NEAREST = "nearest(x.detach())"


def peaks(body, n, d, threads=1):
    program = PROGRAM.format(body=body, n=n, d=d, threads=threads)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=True
    )
    before, after = map(float, done.stdout.split())
    return before, after


@pytest.mark.slow
@pytest.mark.parametrize("body", [GRADIENT, ROWS, NEAREST], ids=["gradient", "rows", "nearest"])
@pytest.mark.parametrize("threads", [1, 2])
def test_twenty_thousand_points_need_tiles_not_a_matrix(body, threads):
    """The matrix of these pairs would be 1.5 GiB in float32."""
    before, after = peaks(body, 20_000, 16, threads)
    assert after - before < 100


@pytest.mark.slow
def test_a_hundred_thousand_points_stay_under_500_mib():
    peaks(GRADIENT, 600, 64)  # compiles the loops, which takes more than that
    _, after = peaks(GRADIENT, 100_000, 64)
    assert after < 500


def test_a_limit_makes_tiles_smaller_and_changes_no_answer(monkeypatch):
    points, limit = sphuni.random_points(1500, 12, rng=0), 6 << 20
    whole, sizes = sphuni.riesz_energy(points, s=1), []

    def watched(x, y, *, own):
        sizes.append(8 * x.shape[-2] * y.shape[-2])
        return products(x, y, own=own)

    products = _tiles.products
    monkeypatch.setattr(_tiles, "products", watched)
    with sphuni.limit_memory(limit):
        assert sphuni.riesz_energy(points, s=1) == pytest.approx(whole, rel=1e-14)
    assert 0 < max(sizes) <= limit < 8 * 1500**2


@pytest.mark.parametrize("limit", [1, 1 << 20, 10 << 20, 100 << 20, 1 << 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tiles_with_the_lists_of_their_pairs_fit_into_a_limit(limit, dtype):
    x = torch.zeros(1, 5000, 16, dtype=dtype)
    with sphuni.limit_memory(limit):
        rows = _schedule.tile_rows(x)
    fewer = _schedule.COPIES * rows**2 * dtype.itemsize <= limit
    assert fewer or 32 <= rows <= 64
    assert rows <= _schedule.tile_rows(x) == 625
    assert limit < 1 << 40 or rows == 625


@pytest.mark.parametrize("d", [12, 300])
def test_near_pairs_are_gathered_within_a_limit(d):
    with sphuni.limit_memory(1 << 20):
        sizes = [part.stop - part.start for part in _near.parts(5000, d)]
    assert sum(sizes) >= 5000
    assert 4 * 8 * d * max(sizes) <= 1 << 20


def test_a_limit_changes_no_answer_of_a_cluster():
    x = torch.eye(12, dtype=torch.float64)[0] + 1e-3 * torch.randn(400, 12, dtype=torch.float64)
    x = sphuni.normalize(x).requires_grad_()

    def answers():
        total = sphuni.riesz_energy(x)
        rows = sphuni.potential(x, -x.detach(), kernel=Riesz(1.0), antipodal=True)
        finite = rows.masked_fill(rows.isinf(), 0.0)
        return total, finite, *torch.autograd.grad(total + finite.sum(), x)

    whole = answers()
    with sphuni.limit_memory(1 << 20):
        limited = answers()
    for found, expected in zip(limited, whole, strict=True):
        scale = float(expected.detach().abs().max())
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11 * scale)


@pytest.mark.parametrize("op", ["sum", "rows"])
def test_the_reference_refuses_what_does_not_fit(op):
    x = torch.zeros(200_000, 3)
    with pytest.raises(BudgetError, match=r"for 200000 x 200000 points needs .* engine='auto'"):
        pair_reduce(x, kernel=Riesz(1.0), engine="reference", op=op)


def test_large_batches_of_small_sets_hold_no_tables(monkeypatch):
    x = sphuni.random_points(40, 3, batch=(6,), rng=0)
    whole = smallest_distance(torch.from_numpy(x))
    monkeypatch.setattr(_closest, "_MOST_COSINES", 100)
    assert torch.allclose(smallest_distance(torch.from_numpy(x)), whole, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "body"),
    [
        (50, "smallest_distance(points(int(128 * scale), 512, 3))"),
        (40, "pair_reduce(leaf(8, int(2000 * scale), 16), kernel=Riesz(1.0)).sum().backward()"),
        (40, "pair_reduce(leaf(int(2000 * scale), 16), kernel=kernels).sum().backward()"),
        (20, "sphuni.riesz_energy(points(int(5000 * scale), 16, spread=1e-3))"),
        (20, "sphuni.riesz_energy(leaf(int(5000 * scale), 16, spread=1e-3)).backward()"),
        (
            20,
            "x = points(int(5000 * scale), 16, spread=1e-3);"
            "sphuni.potential(x, x, kernel=Riesz(1.0))",
        ),
        (20, "sphuni.polarization(points(int(20000 * scale), 3), method='bounds')"),
        (
            250,
            "sphuni.gram_logdet(points(int(1500 * scale), 64, spread=1e-3), kernel=Laplace(1.0))",
        ),
        (
            400,
            "sphuni.gram_logdet("
            "leaf(int(1500 * scale), 64, spread=1e-3), kernel=Laplace(1.0)).backward()",
        ),
    ],
    ids=[
        "closest pairs",
        "batch",
        "kernels",
        "cluster",
        "its gradient",
        "its potential",
        "polarization",
        "determinant",
        "gradient of a determinant",
    ],
)
def test_a_limit_of_memory_is_kept(limit, body):
    """Also where all points lie in a cluster, so that every pair is a near one."""
    program = LIMITED.format(body=body, limit=limit)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=True
    )
    before, after = map(float, done.stdout.split())
    assert after - before < limit


@pytest.mark.parametrize("d", [12, 200])
def test_pairs_of_a_cluster_are_not_held_coordinate_by_coordinate(d, monkeypatch):
    """What autograd keeps of a Gram matrix does not grow with the dimension."""
    x = sphuni.normalize(torch.eye(d, dtype=torch.float64)[0] + 1e-3 * torch.randn(60, d))
    sizes = []

    def keep(kept):
        sizes.append(kept.numel())
        return kept

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept):
        matrix = gram_matrix(x.requires_grad_(), Laplace(1.0))
    assert max(sizes) <= max(60 * 60, 60 * d)
    matrix.sum().backward()
    assert bool(torch.isfinite(x.grad).all())
