"""Peak memory of a child process, over what it takes to import the library."""

import subprocess
import sys

import pytest
import torch

import sphuni
from sphuni._errors import BudgetError
from sphuni.kernels import Riesz
from sphuni.pairwise import _closest, _tiles, pair_reduce, smallest_distance

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
