"""Two processes that share one set of points, against two that each do a whole set side by side.

Wall-clock, since that is what sharing is for: run it on a quiet machine. The efficiency is the time
of the two independent copies over twice the time of the ring, best of alternating rounds.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.engine import unit_points
from sphuni.kernels import Riesz
from sphuni.pairwise import pair_reduce

__all__ = ["run"]

CASES = ((8_192, 256, "float64"), (60_000, 3, "float64"))
ROUNDS = 5


def run(only: str = "") -> Iterator[dict[str, Any]]:
    """One row per case."""
    return (row for row in (_case(*case) for case in CASES) if only in row["case"])


def _case(n: int, d: int, dtype: str) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        answers = context.Queue()
        ranks = [
            context.Process(target=_rank, args=(rank, folder, n, d, dtype, answers))
            for rank in range(2)
        ]
        for rank in ranks:
            rank.start()
        found = dict(answers.get(timeout=300) for _ in ranks)
        for rank in ranks:
            rank.join()
    rounds = list(zip(*(found[rank]["rounds"] for rank in found), strict=True))
    alone = min(max(one[0] for one in both) for both in rounds)
    shared = min(max(one[1] for one in both) for both in rounds)
    return {
        "case": f"Coulomb energy and gradient ({n}, {d}), {dtype}, 2 processes of one thread",
        "copies_seconds": alone,
        "ring_seconds": shared,
        "efficiency_ratio": alone / (2 * shared),
        "value_error": found[0]["value_error"],
        "gradient_error": max(found[rank]["gradient_error"] for rank in found),
    }


def _rank(rank: int, folder: str, n: int, d: int, dtype: str, answers: Any) -> None:
    torch.set_num_threads(1)
    store = f"file://{Path(folder) / 'meeting'}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    whole = unit_points(n, d, dtype)
    own = whole.tensor_split(2)[rank].clone()
    rounds = []
    for _ in range(ROUNDS + 1):
        alone = _timed(lambda: _energy(whole, "auto"))
        shared = _timed(lambda: _energy(own, "ring"))
        rounds.append((alone, shared))
    value, gradient = _energy(whole, "auto")
    ours, part = _energy(own, "ring")
    truth = gradient.tensor_split(2)[rank]
    answers.put(
        (
            rank,
            {
                "rounds": rounds[1:],
                "value_error": float((ours - value).abs() / value.abs()),
                "gradient_error": float((part - truth).norm() / truth.norm()),
            },
        )
    )
    dist.destroy_process_group()


def _energy(points: torch.Tensor, engine: str) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = points.detach().requires_grad_()
    value = pair_reduce(leaf, kernel=Riesz(1.0), engine=engine)
    value.backward()
    return value.detach(), leaf.grad


def _timed(work: Any) -> float:
    """Seconds of the slower process, both begun together."""
    dist.barrier()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
