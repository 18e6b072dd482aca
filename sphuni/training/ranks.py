"""Several processes as one run (torchrun): the batch is shared, the first process writes."""

import os
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["agree", "is_first", "join", "mean", "share", "spread"]


T = TypeVar("T")


def join() -> str | None:
    """Join the processes that torchrun started; return this one's device, or None if alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    if not torch.cuda.is_available():
        return "cpu"
    local = int(os.environ.get("LOCAL_RANK", "0"))
    torch.cuda.set_device(local)
    return f"cuda:{local}"


def is_first() -> bool:
    """Whether this process writes files."""
    return not _together() or dist.get_rank() == 0


def share(index: Tensor) -> Tensor:
    """Return this process's part of a batch."""
    if not _together():
        return index
    return index[dist.get_rank() :: dist.get_world_size()]


def agree(value: T) -> T:
    """Return the first process's value in all of them."""
    if not _together():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def mean(value: Tensor) -> Tensor:
    """Return the mean over all processes."""
    if _together():
        dist.all_reduce(value)
        value = value / dist.get_world_size()
    return value


def spread(module: nn.Module, device: str) -> nn.Module:
    """Let gradients be averaged over all processes."""
    if not _together():
        return module
    places = None if device == "cpu" else [torch.device(device)]
    return nn.parallel.DistributedDataParallel(module, device_ids=places)


def _together() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
