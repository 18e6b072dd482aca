"""One rank of two: gradients under DDP and FSDP2 against those of one process.

Usage: python distributed_script.py RANK STORE [KILLED_AFTER]
"""

import copy
import datetime
import gc
import os
import signal
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import sphuni.nn as snn

LIMITS = {torch.float64: 1e-13, torch.float32: 1e-6}
OPTIONS = {"hs-mhe": {}, "rp-comhe": {"k": 5, "C": 3}, "mhp": {}, "adv-comhe": {"k": 5}}


def gradients(model):
    found = {}
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        if gradient is not None:
            whole = gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient
            found[name.removeprefix("module.")] = whole.clone()
    return found


def backward(model, reg, x):
    loss = model(x).square().mean()
    if reg.mode == "graph":
        (loss + reg()).backward()
    else:
        loss.backward()
        reg.add_gradients()
    return gradients(model)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(40, 8), nn.ReLU(), nn.Linear(8, 6), nn.Linear(6, 4))


def sharded(plain, mesh):
    model = copy.deepcopy(plain)
    for layer in (0, 2, 3):
        fully_shard(model[layer], mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def compare_all(rank):
    mesh = init_device_mesh("cpu", (2,))
    worst = dict.fromkeys(LIMITS, 0.0)
    for dtype, limit in LIMITS.items():
        plain, x = network().to(dtype), torch.randn(8, 40, dtype=dtype)
        part = x[4 * rank : 4 * rank + 4]
        for method, options in OPTIONS.items():
            single = copy.deepcopy(plain)
            expected = backward(single, snn.regularize(single, method, **options), x)
            for mode in ("graph", "decoupled"):
                for wrap in (DistributedDataParallel, lambda m: sharded(m, mesh)):
                    model = wrap(copy.deepcopy(plain))
                    reg = snn.regularize(model, method, mode=mode, **options)
                    difference = compare(backward(model, reg, part), expected)
                    assert difference < limit, (type(model), method, mode, dtype, difference)
                    worst[dtype] = max(worst[dtype], difference)
    return worst


def compare_draws_apart(rank):
    """Ranks that draw for themselves are averaged, as the projections of one process would be."""
    plain, x = network().double(), torch.randn(8, 40, dtype=torch.float64)
    options = {"k": 5, "C": 2, "rank_seeds": True, "project_first": True}
    reg = snn.regularize(plain, "rp-comhe", **options)
    own = {name: g.clone() for name, g in backward(plain, reg, x).items()}
    expected = {}
    for name, gradient in own.items():
        dist.all_reduce(total := gradient.clone())
        expected[name] = total / 2
    model = DistributedDataParallel(network().double())
    got = backward(model, snn.regularize(model, "rp-comhe", **options), x)
    assert compare(got, expected) < LIMITS[torch.float64]
    assert compare(got, own) > 1e-3


def compare(got, expected):
    """Largest difference of an entry, relative to the largest gradient of its parameter."""
    assert set(got) == set(expected), set(got) ^ set(expected)
    return max(
        float((got[name] - value).abs().max() / value.abs().max())
        for name, value in expected.items()
    )


def train_until_killed(rank, steps):
    """Train for ever; rank 1 dies after some steps and the others must not wait for it."""
    model = DistributedDataParallel(network())
    reg = snn.regularize(model, "hs-mhe", mode="decoupled")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    reg.attach(optimizer)
    for step in range(100_000):
        if rank == 1 and step == steps:
            os.kill(os.getpid(), signal.SIGKILL)
        optimizer.zero_grad()
        model(torch.randn(4, 40)).square().mean().backward()
        optimizer.step()


def main(rank, store, killed_after=None):
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=60),
    )
    if killed_after is not None:
        train_until_killed(rank, int(killed_after))
        return
    worst = compare_all(rank)
    compare_draws_apart(rank)
    gc.collect()  # reducers must be gone before the process group they use
    dist.barrier()
    dist.destroy_process_group()
    sys.stdout.write(f"equal to {worst[torch.float64]:.1e} and {worst[torch.float32]:.1e}\n")
    sys.stdout.flush()
    os._exit(0)  # gloo threads that outlive the group now and then abort a normal exit


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
