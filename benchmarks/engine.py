"""Riesz energy with its gradient: sphuni against the usual torch code, on the same input.

The usual code is `torch.cdist` and autograd. An answer is compared with float64 before its time
counts; the table shows the error of both. Extra memory is the peak above the size before the call,
less the gradient itself, which both return.
"""

from typing import Any

import torch
from torch import Tensor

import sphuni
from benchmarks.measure import isolated, time_and_memory

__all__ = ["CASES", "run"]

CASES = (
    # n, d, dtype, engine, threads, against cdist
    (10_000, 3, "float32", "compiled", 1, True),
    (10_000, 3, "float32", "compiled", 2, True),
    (10_000, 3, "float32", "blockwise", 2, True),
    (4_096, 1_024, "float32", "blockwise", 1, True),
    (4_096, 1_024, "float32", "blockwise", 2, True),
    (512, 576, "float32", "blockwise", 1, True),
    (512, 576, "float32", "blockwise", 2, True),
    (20_000, 128, "float32", "blockwise", 2, False),
    (100_000, 64, "float32", "blockwise", 2, False),
)


def run() -> list[dict[str, Any]]:
    """Run every case in processes of their own and return one row each."""
    rows = []
    for n, d, dtype, engine, threads, has_peer in CASES:
        case = f"Riesz s=1, value and gradient, ({n}, {d}), {dtype}, threads {threads}"
        ours = isolated(_case, n, d, dtype, engine, threads)
        row = {"case": case, "engine": engine, **_named("ours", ours)}
        if has_peer:
            peer = isolated(_case, n, d, dtype, "cdist", threads)
            row |= _named("cdist", peer)
            if "error" not in ours and "error" not in peer:
                row["speed_ratio"] = peer["seconds"] / ours["seconds"]
                row["memory_ratio"] = peer["extra_bytes"] / max(ours["extra_bytes"], 1)
        rows.append(row)
    return rows


def _named(who: str, figures: dict[str, Any]) -> dict[str, Any]:
    return {f"{who}_{key}": value for key, value in figures.items()}


def _case(n: int, d: int, dtype: str, method: str, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    points = _points(n, d).to(getattr(torch, dtype)).requires_grad_()
    function = cdist_energy if method == "cdist" else _sphuni_energy(method)

    def work() -> Tensor:
        points.grad = None
        value = function(points)
        value.backward()
        return value.detach()

    figures = time_and_memory(work, repeats=1 if n > 50_000 else 7)
    answer = {
        "seconds": figures.seconds,
        "spread": figures.spread,
        "first_seconds": figures.first_seconds,
        "extra_bytes": max(figures.peak_bytes - points.numel() * points.itemsize, 0),
        "gemm_fraction": 3 * n * n * d / figures.seconds / _gemm_rate(getattr(torch, dtype)),
    }
    if n <= 20_000:
        answer |= _errors(work(), points.grad, n, d)
    return answer


def cdist_energy(points: Tensor) -> Tensor:
    """The energy as it is usually written."""
    distance = torch.cdist(points, points) + torch.eye(len(points), dtype=points.dtype)
    return ((1 / distance).sum() - len(points)) / 2


def _sphuni_energy(engine: str) -> Any:
    return lambda points: sphuni.riesz_energy(points, s=1.0, reduction="sum", engine=engine)


def _points(n: int, d: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return sphuni.normalize(torch.randn(n, d, generator=generator, dtype=torch.float64))


def _errors(value: Tensor, gradient: Tensor, n: int, d: int) -> dict[str, float]:
    """Relative errors of the value and of the tangent gradient against float64."""
    leaf = _points(n, d).requires_grad_()
    exact = sphuni.riesz_energy(leaf, s=1.0, reduction="sum", engine="blockwise")
    exact.backward()
    exact, points, truth = exact.detach(), leaf.detach(), leaf.grad
    own = gradient.double()
    own = own - (own * points).sum(dim=1, keepdim=True) * points
    return {
        "value_error": float((value.double() - exact).abs() / exact.abs()),
        "gradient_error": float((own - truth).norm() / truth.norm()),
        "gradient_norm_error": float((own.norm() - truth.norm()).abs() / truth.norm()),
    }


def _gemm_rate(dtype: torch.dtype) -> float:
    """Floating-point operations per second of a large product on this machine, now."""
    matrix = torch.randn(1536, 1536, dtype=dtype)
    return 2 * 1536**3 / time_and_memory(lambda: matrix @ matrix, repeats=5).seconds
