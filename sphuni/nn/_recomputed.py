"""Whether a call is the second of two that checkpointing makes of one."""

import torch
from torch import nn

__all__ = ["recomputed", "refuse_recomputation"]


def recomputed() -> bool:
    """Whether a backward pass runs, in which checkpointing calls again what it has not kept."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def refuse_recomputation(penalty: nn.Module, called: str = "reg()") -> None:
    """Refuse the second call, whose draws and place in the schedule are others, for their graph."""
    if penalty.training and recomputed():
        raise RuntimeError(
            f"{called} was called in a backward pass, as torch.utils.checkpoint does, which calls "
            "everything twice: the second call counts and draws anew, so its gradient is not that "
            f"of the penalty in the loss. Add {called} to the loss outside of what is checkpointed"
        )
