"""Compiled loops are kept from one process to the next, and never mistaken for one another."""

import os
import subprocess
import sys

import pytest

SUMS = """
import sys, torch
from sphuni import random_points
from sphuni._jit import native_jit
from sphuni.kernels import Riesz
from sphuni.pairwise import pair_reduce
from sphuni.pairwise.loops import _scalar
from sphuni.pairwise.tiles import _sweep
if native_jit() is None:
    raise SystemExit(77)
x = torch.from_numpy(random_points(80, 20, rng=0))
for s in map(float, sys.argv[1:]):
    ours, plain = (float(pair_reduce(x, kernel=Riesz(s), engine=engine))
                   for engine in ("blockwise", "reference"))
    assert abs(ours / plain - 1) < 1e-12, (s, ours, plain)
    loops = _sweep._compiled((Riesz(s),), False, _scalar.DTYPES[x.dtype])
    print(sum(loops._cache_misses.values()) if loops._cache_misses else 0)
"""


def misses(folder, *exponents):
    """How many of the loops for these kernels had to be compiled in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", SUMS, *map(str, exponents)],
        capture_output=True,
        text=True,
        env=os.environ | {"SPHUNI_CACHE": str(folder)},
    )
    if done.returncode == 77:
        pytest.skip("numba is not installed")
    assert done.returncode == 0, done.stderr
    return list(map(int, done.stdout.split()))


@pytest.mark.slow
def test_loops_are_compiled_once_and_damaged_files_replaced(tmp_path):
    assert misses(tmp_path, 1) == [1]
    assert misses(tmp_path, 1, 3) == [0, 1]
    for file in (tmp_path / "loops").iterdir():
        file.write_bytes(file.read_bytes()[:-100])
    assert misses(tmp_path, 1) == [1]


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert misses(blocked, 1) == [1]
