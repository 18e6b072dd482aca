"""Tests of uniformity: speed against R's sphunif (quoted), astropy and QuadratiK (side by side).

Seconds are those of the processor, one thread each. QuadratiK pins an old NumPy and wants a virtual
environment of its own: name its interpreter in the environment variable SPHUNI_BENCH_QUADRATIK, or
the row says that it was not measured.
"""

import contextlib
import json
import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.measure import isolated

__all__ = ["run"]

SPHUNIF_ALL = 0.596
"""Seconds of type="all" at n = 1000 in R^3, single thread, the R package sphunif 1.4.4."""

SPHUNIF_MONTE_CARLO = 50.9
"""Seconds of its unif_stat_MC(n = 100, p = 3, M = 10,000), all tests, one core."""

_FRESH = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from QuadratiK.poisson_kernel_test import PoissonKernelTest
x = np.random.default_rng(0).standard_normal((int(sys.argv[1]), 3))
x /= np.linalg.norm(x, axis=1, keepdims=True)
started = time.process_time()
PoissonKernelTest(rho=0.5, random_state=0, n_jobs=1).test(x)
print(json.dumps(time.process_time() - started))
"""


def run() -> Iterator[dict[str, Any]]:
    """One row a case."""
    with _one_thread():
        for row in _rows():
            if "seconds" in row and "sphunif_seconds_quoted" in row:
                row["speed_ratio"] = row["sphunif_seconds_quoted"] / row["seconds"]
            yield row


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """For processes started meanwhile: their seconds would count what a second thread waits."""
    before = dict(os.environ)
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def _rows() -> Iterator[dict[str, Any]]:
    quoted = {"sphunif_seconds_quoted": SPHUNIF_ALL}
    yield {"case": "all tests, n=1000, d=3"} | quoted | isolated(_all, 1000, 3)
    yield {"case": "all tests, n=1000, d=2"} | isolated(_all, 1000, 2)
    yield {"case": "all tests, n=500, d=512"} | isolated(_all, 500, 512)
    quoted = {"sphunif_seconds_quoted": SPHUNIF_MONTE_CARLO}
    yield {"case": "null of all tests, M=10000, n=100, d=3"} | quoted | isolated(_monte_carlo)
    for name in ("rayleightest", "kuiper"):
        for n in (100, 1000, 3000):
            yield {"case": f"astropy {name}, n={n}"} | isolated(_astropy, name, n)
    for n in (100, 1000):
        yield _quadratik(n)
    for name, d in (("rayleigh", 3), ("bingham", 3), ("bingham", 64), *_circle()):
        yield {"case": f"{name}, n=1e6, d={d}"} | isolated(_one, name, 10**6, d)
    yield {"case": "all pairwise tests in one pass, n=1e5, d=64"} | isolated(_pairwise)


def _circle() -> list[tuple[str, int]]:
    from sphuni.stats import available_tests

    circle = [info.name for info in available_tests(2) if info.where == "d = 2"]
    return [(name, 2) for name in (*circle, "pycke", "pad", "poisson", "packing")]


def _best(run: Callable[[], Any], *, repeats: int = 10) -> dict[str, float]:
    """Seconds of the best call, and of the first."""
    import torch

    torch.set_num_threads(1)
    seconds = []
    for _ in range(1 + repeats):
        started = time.process_time()
        run()
        seconds.append(time.process_time() - started)
    return {"seconds": min(seconds[1:]), "first_seconds": seconds[0]}


def _all(n: int, d: int) -> dict[str, Any]:
    from sphuni import random_points
    from sphuni.stats import uniformity_tests

    os.environ["SPHUNI_CACHE"] = "off"
    sets = iter([random_points(n, d, rng=k) for k in range(16)])
    return _best(lambda: uniformity_tests(next(sets)))


def _monte_carlo() -> dict[str, Any]:
    from sphuni.stats import available_tests, power_table

    os.environ["SPHUNI_CACHE"] = "off"
    names = [info.name for info in available_tests(3)]
    started = time.process_time()
    # with null="asymptotic" no table is simulated: all the time goes into the sets
    sizes = power_table("all", "uniform", n=100, d=3, n_sets=10_000, null="asymptotic", rng=0)
    seconds = time.process_time() - started
    return {"seconds": seconds, "tests": len(sizes), "of": len(names)}


def _one(name: str, n: int, d: int) -> dict[str, Any]:
    from sphuni import random_points
    from sphuni.stats import uniformity_test

    x = random_points(n, d, rng=0)
    started = time.process_time()
    uniformity_test(x, name)
    return {"seconds": time.process_time() - started}


def _astropy(name: str, n: int) -> dict[str, Any]:
    import astropy.stats
    import numpy as np
    from astropy import units

    from sphuni.stats import uniformity_test

    angle = 2.0 * math.pi * np.random.default_rng(0).random(n)
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    theirs: Callable[[], Any] = lambda: astropy.stats.rayleightest(angle * units.rad)  # noqa: E731
    if name == "kuiper":
        theirs = lambda: astropy.stats.kuiper(angle / (2.0 * math.pi))  # noqa: E731
    mine = "rayleigh" if name == "rayleightest" else name
    ours = _best(lambda: uniformity_test(x, mine), repeats=200)["seconds"]
    other = _best(theirs, repeats=200)["seconds"]
    return {"seconds": ours, "astropy_seconds": other, "speed_ratio": other / ours}


def _quadratik(n: int) -> dict[str, Any]:
    row: dict[str, Any] = {"case": f"QuadratiK PoissonKernelTest rho=0.5, n={n}, d=3"}
    row |= isolated(_our_quadratik, n)
    python = os.environ.get("SPHUNI_BENCH_QUADRATIK")
    if python is None:
        return row | {"error": "SPHUNI_BENCH_QUADRATIK names no interpreter"}
    done = subprocess.run(
        [python, "-c", _FRESH, str(n)], capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        return row | {"error": done.stderr.strip().splitlines()[-1]}
    row["quadratik_seconds"] = json.loads(done.stdout.splitlines()[-1])
    return row | {"speed_ratio": row["quadratik_seconds"] / row["seconds"]}


def _our_quadratik(n: int) -> dict[str, Any]:
    from sphuni import random_points
    from sphuni.stats import uniformity_tests

    x = random_points(n, 3, rng=0)
    names = ["quadratik_u", "quadratik_v"]
    return _best(lambda: uniformity_tests(x, names))


def _pairwise() -> dict[str, Any]:
    from benchmarks.measure import peak_memory
    from sphuni import random_points
    from sphuni.stats import available_tests, build_test, uniformity_tests

    n, d = 100_000, 64
    names = [i.name for i in available_tests(d) if build_test(i.name).needs_pairs(n, d)]
    names = [name for name in names if name != "omnibus"]
    x = random_points(n, d, rng=0)
    started = time.process_time()
    peak = peak_memory(lambda: uniformity_tests(x, names, null="asymptotic"))
    seconds = time.process_time() - started
    return {"seconds": seconds, "tests": len(names), "peak_gib": peak / 2**30}
