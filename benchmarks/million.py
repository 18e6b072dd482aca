"""A million points: Coulomb energy and gradient in R^3, and a report on a million embeddings.

Minutes each, on the threads that torch takes by itself.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sphuni
from benchmarks.engine import energy, unit_points
from benchmarks.measure import isolated, largest_resident_size, peak_memory
from sphuni.kernels import Riesz

__all__ = ["run"]

N = 1_000_000


def run(only: str = "") -> Iterator[dict[str, Any]]:
    """One row per case, each in a process of its own."""
    for name, case in CASES.items():
        if only in name:
            yield {"case": name} | isolated(case)


def coulomb() -> dict[str, Any]:
    """By tiles, float32, one thread; energy against the mean of uniform points, 1 per pair."""
    return _energy_row("compiled")


def fmm() -> dict[str, Any]:
    """By FMM3D to six digits, which wants 7 kB a point."""
    with sphuni.limit_memory(7 << 30):
        return _energy_row("fmm")


def _energy_row(engine: str) -> dict[str, Any]:
    energy(unit_points(3000, 3, "float32"), kernel=Riesz(1.0), engine=engine)
    points = unit_points(N, 3, "float32")
    found: list[Any] = []
    began, wall = time.process_time(), time.perf_counter()
    extra = peak_memory(lambda: found.append(energy(points, kernel=Riesz(1.0), engine=engine)))
    return {
        "processor_seconds": time.process_time() - began,
        "seconds": time.perf_counter() - wall,
        "extra_bytes": extra,
        "energy": found[0]["value"],
        "gradient_norm": float(np.linalg.norm(found[0]["gradient"].astype(np.float64))),
        "energy_per_pair": found[0]["value"] / (N * (N - 1) / 2),
        "threads": torch.get_num_threads(),
    }


def embeddings() -> dict[str, Any]:
    """The report on clustered vectors from a file, within 4 GiB for the process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embeddings.npy"
        write_embeddings(path, 3_000, 384)
        sphuni.analysis.analyze(str(path), max_seconds=0.01)  # compiles
        write_embeddings(path, N, 384)
        began, wall = time.process_time(), time.perf_counter()
        reports: list[Any] = []
        extra = peak_memory(
            lambda: reports.append(
                sphuni.analysis.analyze(str(path), max_bytes=3 << 30, max_seconds=15)
            )
        )
        (layer,) = [layer for layer in reports[0].layers if layer.status != "skipped"]
        return {
            "processor_seconds": time.process_time() - began,
            "seconds": time.perf_counter() - wall,
            "extra_bytes": extra,
            "resident_bytes": largest_resident_size(),
            "status": layer.status,
            "note": layer.sampled or layer.reason,
            "energy": layer.energy.get("1"),
            "mean_resultant_length": layer.mean_resultant_length,
            "effective_rank": layer.effective_rank,
            "threads": torch.get_num_threads(),
        }


def write_embeddings(path: Path, n: int, d: int) -> None:
    """Unit vectors about a few hundred centres with a common direction, as encoders give them."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((300, d), np.float32) + 0.5
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
    for start in range(0, n, 20_000):
        count = min(20_000, n - start)
        block = centres[rng.integers(300, size=count)]
        block = block + 1.5 * rng.standard_normal((count, d), np.float32)
        rows[start : start + count] = block / np.linalg.norm(block, axis=1, keepdims=True)
    rows.flush()


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "Coulomb energy and gradient of a million points of R^3, tiles": coulomb,
    "Coulomb energy and gradient of a million points of R^3, FMM3D": fmm,
    "report on a million embeddings of R^384": embeddings,
}
