"""The lambda of a call as a tensor, for compiled graphs.

Numbers that change from call to call are constants of a compiled graph: every call would compile it
again, and from the ninth on torch gives up. There the calls are counted in a tensor, and the
schedule, any function of Python, is one opaque operation on it.
"""

from typing import Any

import torch
from torch import Tensor

from sphuni.nn._options import check_number
from sphuni.nn._owners import owner_of
from sphuni.nn._recomputed import recomputed

__all__ = ["annealed", "check_mix", "keep", "number_of"]


def number_of(mix: Any) -> float:
    """Return a lambda as a number of Python."""
    check_number("mix, which anneal returns,", mix)
    return float(mix)


def check_mix(mix: Any) -> float:
    """Return a lambda that is finite and not negative."""
    number = number_of(mix)
    if not 0 <= number < torch.inf:
        raise ValueError(f"mix, which anneal returns, must be finite, at least 0; got {number}")
    return number


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
        owner.mix = check_mix(owner.anneal(int(calls)))
    return torch.tensor(owner.mix, dtype=torch.float64, device="cpu")


def _shape(calls: Tensor, token: int) -> Tensor:
    return calls.new_empty((), dtype=torch.float64)


_operation = torch.library.custom_op(
    "sphuni::annealed", _evaluate, mutates_args=(), schema="(Tensor calls, int token) -> Tensor"
)
_operation.register_fake(_shape)
