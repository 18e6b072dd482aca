"""One rank of two: gradients under DDP and FSDP2 against those of one process.

Usage: python distributed_script.py RANK STORE
"""

import copy
import gc
import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import sphuni.nn as snn


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


def main(rank, store):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    compare_all(rank)
    gc.collect()  # reducers must be gone before the process group they use
    dist.barrier()
    dist.destroy_process_group()
    sys.stdout.write("equal\n")
    sys.stdout.flush()
    os._exit(0)  # gloo threads that outlive the group now and then abort a normal exit


def compare_all(rank):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(40, 8), nn.ReLU(), nn.Linear(8, 6), nn.Linear(6, 4))
    x = torch.randn(8, 40)
    part = x[4 * rank : 4 * rank + 4]
    mesh = init_device_mesh("cpu", (2,))
    for method in ("hs-mhe", "rp-comhe", "mhp"):
        single = copy.deepcopy(plain)
        expected = backward(single, snn.regularize(single, method), x)
        for mode in ("graph", "decoupled"):
            wrapped = DistributedDataParallel(copy.deepcopy(plain))
            reg = snn.regularize(wrapped, method, mode=mode)
            compare(backward(wrapped, reg, part), expected, f"DDP {method} {mode}")
            sharded = copy.deepcopy(plain)
            for layer in (0, 2, 3):
                fully_shard(sharded[layer], mesh=mesh)
            fully_shard(sharded, mesh=mesh)
            reg = snn.regularize(sharded, method, mode=mode)
            compare(backward(sharded, reg, part), expected, f"FSDP {method} {mode}")


def compare(got, expected, where):
    assert set(got) == set(expected), (where, set(got) ^ set(expected))
    for name, value in expected.items():
        difference = (got[name] - value).abs().max() / value.abs().max()
        assert difference < 2e-6, (where, name, float(difference))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
