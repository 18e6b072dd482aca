"""The lambda of a call as a tensor, for compiled graphs.

Numbers that change from call to call are constants of a compiled graph: every call would compile it
again, and from the ninth on torch gives up. There the calls are counted in a tensor, and the
schedule, any function of Python, is one opaque operation on it.
"""

import torch
from torch import Tensor

from sphuni.nn._owners import owner_of
from sphuni.nn._recomputed import recomputed

__all__ = ["annealed", "check_mix", "keep"]


def check_mix(mix: float) -> float:
    """Return a lambda that is finite and not negative."""
    if not 0 <= mix < torch.inf:
        raise ValueError(f"mix, which anneal returns, must be finite, at least 0; got {mix}")
    return mix


def keep(held: Tensor, number: float) -> None:
    """Put a number into a tensor, also inside torch.func, where tensors from outside are fixed."""
    with torch._C._DisableFuncTorch():
        held.fill_(number)


def annealed(calls: Tensor, token: int) -> Tensor:
    """Return the lambda of the loss `token` at call number `calls`, which becomes its `mix`."""
    value: Tensor = torch.ops.sphuni.annealed(calls, token)
    return value


def _evaluate(calls: Tensor, token: int) -> Tensor:
    owner = owner_of(token)
    if not recomputed():
        owner.mix = check_mix(float(owner.anneal(int(calls))))
    return torch.tensor(owner.mix, dtype=torch.float64, device="cpu")


def _shape(calls: Tensor, token: int) -> Tensor:
    return calls.new_empty((), dtype=torch.float64)


_operation = torch.library.custom_op(
    "sphuni::annealed", _evaluate, mutates_args=(), schema="(Tensor calls, int token) -> Tensor"
)
_operation.register_fake(_shape)
