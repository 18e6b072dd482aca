"""Stacks of matrices, one for each expert of a mixture."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sphuni.nn.neurons._records import Layout

__all__ = ["STACKED", "expert_layout", "expert_matrices", "module_stores_across", "stored_across"]

STACKED = ("gate_up_proj", "gate_proj", "up_proj", "down_proj")
"""What transformers calls the parameters of rank 3 that hold the weights of all experts."""


def stored_across(leaf: str, shapes: Mapping[str, torch.Size], said: bool | None) -> bool | None:
    """Whether the matrices of experts are stored (in, out) rather than (out, in).

    Parameters
    ----------
    leaf : str
        Name of the stack within its layer.
    shapes : mapping of str to torch.Size
        Of the parameters of rank 3 beside it, and its own.
    said : bool or None
        What the layer itself says, for where shapes do not tell.

    Returns
    -------
    bool or None
        None where it is not known.

    Notes
    -----
    Of gate and up together there are twice as many neurons as `down_proj` has inputs, which fits
    one of the two orders only. The shapes of `up_proj` alone fit both.
    """
    first, last = shapes.get("gate_up_proj", shapes.get("up_proj")), shapes.get("down_proj")
    if leaf not in STACKED or first is None or last is None:
        return None
    (a, b), (c, d) = first[1:], last[1:]
    times = 2 if "gate_up_proj" in shapes else 1
    along, across = (a, b) == (times * d, c), (a, b) == (d, times * c)
    if along and across:
        return said
    return across if along or across else None


def expert_layout(across: bool) -> Layout:
    """One matrix per expert."""
    return lambda weight: [
        (f"[expert {i}]", matrix) for i, matrix in enumerate(expert_matrices(weight, across))
    ]


def expert_matrices(weight: Tensor, across: bool) -> Tensor:
    """Matrices (experts, neurons, inputs) of a stack."""
    return weight.mT if across else weight


def module_stores_across(module: nn.Module, leaf: str) -> bool | None:
    """Whether a module stores the matrices of its experts (in, out); None if that is not known."""
    stored = dict(module.named_parameters(recurse=False))
    shapes = {name: one.shape for name, one in stored.items() if one.dim() == 3}
    said = getattr(module, "is_transposed", None)
    return stored_across(leaf, shapes, said if isinstance(said, bool) else None)
