"""Several processes as one run (torchrun): the batch is shared, the first process writes.

Gradients, augmentation and penalties are those of one process; batch normalisation takes its
moments from each process's own part, dropout draws for each part anew, and losses on pairs of
features see the pairs within a part. Kinds of runs that have no batches of labelled samples are not
shared: every process does the whole run, and the first one's results count.
"""

import atexit
import os
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = [
    "agree",
    "any_of",
    "count",
    "first_of",
    "is_first",
    "join",
    "mean",
    "number",
    "share",
    "spread",
]


T = TypeVar("T")


def join(*, gpu: bool = True) -> str | None:
    """Join the processes that torchrun started; return this one's device, or None if alone.

    That is a GPU of its own where there are any, unless none is wanted.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    gpu = gpu and torch.cuda.is_available()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if gpu else "gloo")
        # before the interpreter takes itself apart, or a thread of the group may abort the process
        atexit.register(_leave)
    if not gpu:
        return "cpu"
    local = int(os.environ.get("LOCAL_RANK", "0"))
    torch.cuda.set_device(local)
    return f"cuda:{local}"


def is_first() -> bool:
    """Whether this process writes files."""
    return not _together() or dist.get_rank() == 0


def number() -> int:
    """Return the number of this process, from 0 on."""
    return dist.get_rank() if _together() else 0


def count() -> int:
    """Return how many processes there are."""
    return dist.get_world_size() if _together() else 1


def share(batch: Tensor) -> Tensor:
    """Return this process's rows of a batch; those of some may be one more than those of others."""
    return batch[number() :: count()] if _together() else batch


def agree(value: T) -> T:
    """Return the first process's value in all of them."""
    if not _together():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def any_of(flag: Tensor) -> bool:
    """Whether a flag is set in any process, so that all of them stop at the same place."""
    if _together():
        together = flag.float()
        dist.all_reduce(together, op=dist.ReduceOp.MAX)
        return bool(together)
    return bool(flag)


def first_of(text: str) -> str:
    """Return the first text of all processes that is not empty."""
    if not _together():
        return text
    found: list[Any] = [None] * count()
    dist.all_gather_object(found, text)
    return next((one for one in found if one), "")


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


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def _together() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
