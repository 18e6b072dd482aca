"""Where the library makes tensors of its own."""

import contextlib
from collections.abc import Iterator

import torch

__all__ = ["on_cpu"]


@contextlib.contextmanager
def on_cpu() -> Iterator[None]:
    """Within the block new tensors are on the processor unless they are asked for elsewhere.

    They are so anyhow where no program has called `torch.set_default_device`. What belongs to a
    caller's tensor is made on its device by name; random numbers must be where their generator is,
    and searches on the processor.
    """
    if torch.compiler.is_compiling() or torch.get_default_device().type == "cpu":
        yield
        return
    with torch.device("cpu"):
        yield
