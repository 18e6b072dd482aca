"""One rank of a ring, started by test_ring.py with the arguments RANK WORLD FOLDER END.

It writes what it found to FOLDER/RANK.pt. END says how the job ends: "well"; by the death of the
last rank "before" it joins a call or "within" one; or because the last rank "gives up" within a
call but lives on until the others have noticed.
"""

import contextlib
import datetime
import os
import pathlib
import sys
import time

import pytest
import torch
import torch.distributed as dist
from pair_cases import degenerate_set, points

import sphuni
from sphuni._errors import SphuniError
from sphuni.kernels import Gaussian, Riesz
from sphuni.pairwise import _shards, has_loops, pair_reduce
from sphuni.pairwise.loops import _native

RIESZ = Riesz(1.0)
CASES = {
    "plane by plane": (points(23, 3), RIESZ),
    "by products": (points(23, 11), Riesz(2.0)),
    "several tiles": (points(1600, 9), RIESZ),
    "an empty shard": (points(9, 4), RIESZ),
    "coincident points, d = 3": (degenerate_set(20, 3), RIESZ),
    "coincident points, d = 11": (degenerate_set(20, 11), Riesz(0.5)),
    "bounded kernel": (degenerate_set(20, 11), Gaussian(1.2)),
    "antipodal kernel": (degenerate_set(20, 11), Riesz(-1.0, "geodesic").antipodal()),
    "singular antipodal kernel": (points(21, 3), Riesz(0.0, "geodesic").antipodal()),
    "a batch": (points(13, 5, batch=2), RIESZ),
    "several kernels": (points(15, 3), (Riesz(0.0), Gaussian(1.0))),
    "fewer points than ranks": (points(2, 3), RIESZ),
    "one point": (points(1, 3), RIESZ),
    "float32 slopes that overflow": (
        torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1e-7, 0]]),
        Riesz(4.0),
    ),
    "native loops": (degenerate_set(40, 3), Riesz(2.0)),
}


ENERGIES = ({}, {"antipodal": True}, {"reduction": "sum", "s": 2.0}, {"metric": "geodesic"})


def counts(name, n, world):
    """Rows of each rank: uneven, and none for the second where the case says so."""
    if name == "an empty shard" and world > 1:
        return [n - (world - 2), 0, *[1] * (world - 2)]
    weights = [2 * rank + 1 for rank in range(world)]
    rows = [n * weight // sum(weights) for weight in weights]
    return [rows[0] + n - sum(rows), *rows[1:]]


def own_rows(name, rank, world):
    x, _ = CASES[name]
    return x.split(counts(name, x.shape[-2], world), dim=-2)[rank].clone()


def answers(rank, world):
    """Value and gradient of every case, with an upstream gradient other than one."""
    found = {}
    for name, (_, kernel) in CASES.items():
        leaf = own_rows(name, rank, world).requires_grad_()
        with native_from(1) if name == "native loops" else contextlib.nullcontext():
            total = pair_reduce(leaf, kernel=kernel, engine="ring")
            (2 * total.sum()).backward()
            with torch.no_grad():
                alone = pair_reduce(leaf, kernel=kernel, engine="ring")
        torch.testing.assert_close(alone, total.detach(), rtol=1e-13, atol=1e-13)
        found[name] = (total.detach(), leaf.grad / 2)
    return found


@contextlib.contextmanager
def native_from(pairs):
    """Within the block native loops are taken from so many pairs on, and must be taken."""
    with pytest.MonkeyPatch.context() as patch:
        between, used = _native.sums_between, []
        patch.setattr(_native, "FEWEST_PAIRS", pairs)
        patch.setattr(_native, "sums_between", lambda *sets: used.append(1) or between(*sets))
        yield
    assert used or dist.get_world_size() == 1 or not has_loops(RIESZ)


def one_rank_wants_no_gradient(rank, world):
    leaf = own_rows("plane by plane", rank, world).requires_grad_(rank == 0)
    total = pair_reduce(leaf, kernel=RIESZ, engine="ring")
    if rank == 0:
        total.backward()
    return total.detach(), leaf.grad


def sharded_tensor(rank, world):
    """A DTensor sharded on rows takes the ring by itself."""
    from torch.distributed.tensor import DTensor, Replicate, Shard, init_device_mesh

    mesh = init_device_mesh("cpu", (world,))
    local = own_rows("an empty shard", rank, world)
    whole = CASES["an empty shard"][0]
    shard = DTensor.from_local(
        local, mesh, [Shard(0)], run_check=False, shape=whole.shape, stride=whole.stride()
    ).requires_grad_()
    total = pair_reduce(shard, kernel=RIESZ)
    total.backward()
    copies = DTensor.from_local(whole, mesh, [Replicate()], run_check=False)
    errors = [
        message(lambda: pair_reduce(copies, kernel=RIESZ)),
        message(lambda: pair_reduce(shard, kernel=RIESZ, engine="blockwise")),
    ]
    return (total.to_local().detach(), shard.grad.to_local()), total.placements, errors


def public_energies(rank, world):
    """The public functions on shards: values, the gradient, and errors that all ranks get."""
    from torch.distributed.tensor import DTensor, Shard, init_device_mesh

    local = own_rows("an empty shard", rank, world)
    whole = CASES["an empty shard"][0]
    mesh = init_device_mesh("cpu", (world,))
    shard = DTensor.from_local(
        local, mesh, [Shard(0)], run_check=False, shape=whole.shape, stride=whole.stride()
    ).requires_grad_()
    values = []
    for options in ENERGIES:
        from_shard = sphuni.riesz_energy(shard, **options)
        from_rows = sphuni.riesz_energy(local, engine="ring", **options)
        values.append((float(from_shard.detach().to_local()), float(from_rows)))
    sphuni.riesz_energy(shard, **ENERGIES[0]).backward()
    long = 1.1 * local  # the rank that has no rows cannot complain
    weights = torch.ones(len(local), dtype=torch.float64)
    errors = [
        message(lambda: sphuni.riesz_energy(long, engine="ring")),
        message(lambda: sphuni.riesz_energy(local, engine="ring", weights=weights)),
        message(lambda: sphuni.riesz_energy(local[0] if rank == 0 else local, engine="ring")),
        message(
            lambda: sphuni.riesz_energy(
                local, engine="ring", reduction="sum" if rank == 0 else "mean"
            )
        ),
        message(lambda: sphuni.riesz_energy(local, engine="ring")),
    ]
    return values, shard.grad.to_local(), errors


def message(call):
    """Type and text of the error that a call raises."""
    try:
        call()
    except (SphuniError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def refusals(rank, world):
    """Errors that every rank must get alike, after each of which the ring still works."""
    x = points(5, 4, seed=rank)
    spoilt = x.clone()
    spoilt[2, 1] = torch.nan if rank == world - 1 else spoilt[2, 1]
    kernel = Riesz(1.0 + (rank == world - 1))
    wide = points(5, 4 + (rank == world - 1))
    number = x.to(torch.float32 if rank == world - 1 else torch.float64)
    leaf = x.clone().requires_grad_()
    total = pair_reduce(leaf, kernel=RIESZ, engine="ring")
    return {
        "nan": message(lambda: pair_reduce(spoilt, kernel=RIESZ, engine="ring")),
        "kernel": message(lambda: pair_reduce(x, kernel=kernel, engine="ring")),
        "d": message(lambda: pair_reduce(wide, kernel=RIESZ, engine="ring")),
        "dtype": message(lambda: pair_reduce(number, kernel=RIESZ, engine="ring")),
        "rows": message(lambda: pair_reduce(x, kernel=RIESZ, engine="ring", op="rows")),
        "second": message(lambda: torch.autograd.grad(total, leaf, create_graph=True)),
        "then": float(pair_reduce(x, kernel=RIESZ, engine="ring")),
    }


def lose_the_last(rank, world, end):
    """The last rank is lost; what the others are told, and whether a second call hangs."""
    x = points(40, 3, seed=rank)
    if rank == world - 1:
        if end == "before":
            os._exit(7)
        _shards.between = out_of_memory if end == "gives up" else lambda *arguments: os._exit(7)
    began = time.monotonic()
    first = message(lambda: pair_reduce(x, kernel=RIESZ, engine="ring"))
    again = message(lambda: pair_reduce(x, kernel=RIESZ, engine="ring"))
    return first, again, time.monotonic() - began


def out_of_memory(*arguments):
    raise MemoryError("no room for a tile")


def outlive_the_others(world, folder):
    """Keep the connections open until the others have written what they found."""
    while not all((folder / f"{rank}.pt").exists() for rank in range(world - 1)):
        time.sleep(0.1)
    os._exit(7)


def main():
    rank, world, folder, end = sys.argv[1:]
    rank, world, folder = int(rank), int(world), pathlib.Path(folder)
    torch.set_num_threads(int(os.environ.get("RING_THREADS", "1")))
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=world,
        timeout=datetime.timedelta(minutes=10),
    )
    found = {
        "answers": answers(rank, world),
        "one wants no gradient": one_rank_wants_no_gradient(rank, world),
        "sharded": sharded_tensor(rank, world),
        "public": public_energies(rank, world),
        "refusals": refusals(rank, world),
    }
    if end != "well":
        try:
            found["lost"] = lose_the_last(rank, world, end)
        except MemoryError:
            outlive_the_others(world, folder)
    torch.save(found, folder / f"{rank}.pt")
    if end == "well":
        dist.destroy_process_group()
    os._exit(0)  # one in forty orderly ends is aborted by a thread that torch has not joined
