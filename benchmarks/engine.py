"""Riesz energy with its gradient: sphuni against the usual torch code, on the same input.

The usual code is `torch.cdist` and autograd. An answer is compared with float64 before its time
counts; the table shows the error of both.
"""

from typing import Any

import torch
from torch import Tensor

import sphuni
from benchmarks.measure import isolated, time_and_memory

__all__ = ["CASES", "run"]

CASES = (
    # n, d, dtype, engine, peers
    (10_000, 3, "float32", "compiled", True),
    (10_000, 3, "float32", "blockwise", True),
    (4_096, 1_024, "float32", "blockwise", True),
    (512, 576, "float32", "blockwise", True),
    (20_000, 128, "float32", "blockwise", False),
    (100_000, 64, "float32", "blockwise", False),
)


def run() -> list[dict[str, Any]]:
    """Run every case in processes of their own and return one row each."""
    rows = []
    for n, d, dtype, engine, has_peer in CASES:
        row: dict[str, Any] = {"case": f"Riesz s=1, value and gradient, ({n}, {d})", "dtype": dtype}
        ours = isolated(_case, n, d, dtype, engine)
        row |= {"engine": engine, **{f"ours_{key}": value for key, value in ours.items()}}
        if has_peer:
            peer = isolated(_case, n, d, dtype, "cdist")
            row |= {f"cdist_{key}": value for key, value in peer.items()}
            if "error" not in ours and "error" not in peer:
                row["speed_ratio"] = peer["seconds"] / ours["seconds"]
                row["memory_ratio"] = peer["peak_bytes"] / max(ours["peak_bytes"], 1)
        rows.append(row)
    return rows


def _case(n: int, d: int, dtype: str, method: str) -> dict[str, Any]:
    points = _points(n, d).to(getattr(torch, dtype))
    function = cdist_energy if method == "cdist" else _sphuni_energy(method)

    def work() -> tuple[Tensor, Tensor]:
        leaf = points.clone().requires_grad_()
        value = function(leaf)
        value.backward()
        return value.detach(), leaf.grad

    repeats = 1 if n > 50_000 else 5
    figures = time_and_memory(work, repeats=repeats)
    answer = {
        "seconds": figures.seconds,
        "spread": figures.spread,
        "first_seconds": figures.first_seconds,
        "peak_bytes": figures.peak_bytes,
        "threads": torch.get_num_threads(),
        "gemm_fraction": 3 * n * n * d / figures.seconds / _gemm_rate(getattr(torch, dtype)),
    }
    if n <= 20_000:
        answer |= _errors(*work(), n, d)
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
    points, truth = leaf.detach(), leaf.grad
    own = gradient.double()
    own = own - (own * points).sum(dim=1, keepdim=True) * points
    return {
        "value_error": float((value.double() - exact).abs() / exact.detach().abs()),
        "gradient_error": float((own - truth).norm() / truth.norm()),
        "gradient_norm_error": float((own.norm() - truth.norm()).abs() / truth.norm()),
    }


def _gemm_rate(dtype: torch.dtype) -> float:
    """Floating-point operations per second of a large product on this machine, now."""
    matrix = torch.randn(1536, 1536, dtype=dtype)
    return 2 * 1536**3 / time_and_memory(lambda: matrix @ matrix, repeats=5).seconds
