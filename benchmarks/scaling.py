"""How time grows with n: exponents fitted over two decades, one process and one thread a ladder.

The exponent is the slope of a least-squares line through log time against log n; of sorted and tree
methods, whose cost is n log n, log n is divided out first. A ladder is climbed several times and
the least time of every step counts, as the machine's clock drifts. Where the work is counted in
operations there is a second exponent, of the time in units of matrix products timed just before
and after: a clock that slows down in long runs leaves it alone.
"""

import importlib.util
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

import sphuni
from benchmarks import peers, separation
from benchmarks.engine import energy, unit_points
from benchmarks.entry import gemm_rate
from benchmarks.measure import isolated, peak_memory
from sphuni.kernels import Kernel, Riesz

__all__ = ["LADDERS", "run"]


class Ladder(NamedTuple):
    """A method at growing n; `work` is the number of operations per n^2, 0 where not quadratic."""

    d: int
    dtype: str
    sizes: tuple[int, ...]
    run: Callable[[Any], Any]
    log: bool = False
    work: float = 0.0
    family: str = "pairs, d = 3"
    package: str = "torch"


def _energy(kernel: Kernel, engine: str = "auto") -> Callable[[Any], Any]:
    return lambda points: energy(points, kernel=kernel, engine=engine)


_CLIMBS, _ENOUGH = 3, 1.0
"""Times a ladder is climbed, and seconds after which a step has been timed enough."""

TWO_DECADES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
LADDERS = {
    "Coulomb energy and gradient, pairs, d = 3": Ladder(
        3, "float32", (5_000, 15_000, 50_000, 150_000, 500_000), _energy(Riesz(1.0), "compiled"),
        work=12.0,
    ),
    "torch.cdist and autograd, d = 3": Ladder(
        3, "float32", (1_000, 3_000, 10_000), peers.cdist
    ),
    "FMM3D, 6 digits, d = 3": Ladder(
        3, "float32", (10_000, 30_000, 100_000, 300_000, 1_000_000), peers.fmm3d,
        package="fmm3dpy",
    ),
    "Coulomb energy and gradient, pairs, d = 64": Ladder(  # from several tiles on: beyond 2,112
        64, "float32", (2_500, 8_000, 25_000, 80_000, 250_000), _energy(Riesz(1.0)),
        work=3.0 * 64, family="pairs, d = 64",
    ),
    "torch.cdist and autograd, d = 64": Ladder(
        64, "float32", (1_000, 3_000, 10_000), peers.cdist, family="pairs, d = 64"
    ),
    "sum of arcs and gradient by angles, d = 2": Ladder(
        2, "float64", TWO_DECADES, _energy(Riesz(-1.0, "geodesic")), log=True,
        family="fewer than all pairs",
    ),
    "sum of fourth powers and gradient by moments, d = 64": Ladder(
        64, "float64", TWO_DECADES, _energy(Riesz(-4.0)), family="fewer than all pairs",
    ),
    "separation in cells, d = 3": Ladder(
        3, "float32", TWO_DECADES, sphuni.separation, log=True, family="fewer than all pairs",
    ),
    "separation by sorting, d = 2": Ladder(
        2, "float32", TWO_DECADES, sphuni.separation, log=True, family="fewer than all pairs",
    ),
    "scipy cKDTree, d = 3": Ladder(
        3, "float32", TWO_DECADES, separation.scipy_tree, log=True, family="fewer than all pairs",
    ),
}  # fmt: skip


def run(only: str = "") -> Iterator[dict[str, Any]]:
    """One row per method and n, and one with the exponent per method."""
    for name, ladder in LADDERS.items():
        if only not in name:
            continue
        about = {"method": name, "family": ladder.family}
        if importlib.util.find_spec(ladder.package) is None:
            yield {"case": name, "status": "absent", **about}
            continue
        found = isolated(_climb, name)
        timed = [
            {"case": f"{name}, n = {row['n']}", **about, **row} for row in found.get("rows", [])
        ]
        yield from timed or [{"case": name, **about, **found}]
        if len(timed) > 1:
            sizes, seconds = ([row[key] for row in timed] for key in ("n", "seconds"))
            found = {"exponent": exponent(sizes, seconds, ladder)}
            if ladder.work:
                products = [row["products"] for row in timed]
                found["exponent_of_products"] = exponent(sizes, products, ladder)
            of = "n log n" if ladder.log else "n"
            yield {"case": f"{name}, exponent", **about, **found, "of": of}


def exponent(sizes: list[int], seconds: list[float], ladder: Ladder) -> float:
    """The fitted power of n."""
    divided = [
        math.log(s / (math.log(n) if ladder.log else 1))
        for n, s in zip(sizes, seconds, strict=True)
    ]
    return float(np.polyfit(np.log(sizes), divided, 1)[0])


def _climb(name: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    ladder = LADDERS[name]
    for _ in range(2):  # compile, and fill the allocator's lists
        ladder.run(unit_points(ladder.sizes[0], ladder.d, ladder.dtype))
    climbs = [[_step(ladder, n) for n in ladder.sizes] for _ in range(_CLIMBS)]
    return {"rows": [_least(steps) for steps in zip(*climbs, strict=True)]}


def _least(steps: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """Of several visits to one step the least of everything."""
    return {key: min(step[key] for step in steps) for key in steps[0]}


def _step(ladder: Ladder, n: int) -> dict[str, Any]:
    points = unit_points(n, ladder.d, ladder.dtype)
    before, seconds = _rate(), []
    extra = peak_memory(lambda: seconds.append(_timed(ladder, points)))
    while sum(seconds) < _ENOUGH and len(seconds) < 200:
        seconds.append(_timed(ladder, points))
    row: dict[str, Any] = {"n": n, "seconds": min(seconds), "extra_bytes": extra}
    if ladder.work:
        rates = before, _rate()
        row["roofline_seconds"] = ladder.work * n * n / max(rates)
        row["products"] = min(seconds) * sum(rates) / 2
    return row


def _rate() -> float:
    return max(gemm_rate("float32") for _ in range(3))


def _timed(ladder: Ladder, points: torch.Tensor) -> float:
    began = time.process_time()
    ladder.run(points)
    return time.process_time() - began
