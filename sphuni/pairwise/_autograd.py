"""Sums over pairs whose gradient came from the same pass, as autograd sees them."""

import math
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.autograd import forward_ad

from sphuni._errors import EngineError
from sphuni._threads import beside_others
from sphuni._transforms import has_values

__all__ = [
    "connect",
    "first_only",
    "last",
    "lost",
    "mended",
    "narrowed",
    "refuse_forward_mode",
    "wants_gradient",
]

Second = Callable[[Tensor, Tensor], Tensor]


def wants_gradient(x: Tensor) -> bool:
    """Whether a gradient in `x` may be asked for.

    Raises
    ------
    NotImplementedError
        If `x` is a dual number of forward mode.
    """
    refuse_forward_mode(x)
    return x.requires_grad and torch.is_grad_enabled()


def refuse_forward_mode(*parts: Tensor | None) -> None:
    """Raise NotImplementedError for dual numbers of forward mode, whose tangents would be lost."""
    if forward_ad._current_level < 0:
        return
    given = [part for part in parts if part is not None]
    if any(forward_ad.unpack_dual(part).tangent is not None for part in given):
        raise NotImplementedError(
            "sums over pairs have no forward mode; use torch.autograd.grad, or engine='reference'"
        )


def connect(
    x: Tensor,
    sums: Tensor,
    gradients: Tensor,
    second: Second,
    *,
    recompute: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return `sums` (b, k) with the known `gradients` (k, b, n, d) in the points `x` (b, n, d).

    Under create_graph ``second(x, go)`` gives the gradient of sum(go * sums), differentiably.
    Gradients are as large as the points: with `recompute`, which finds them again from x, the
    first backward pass gives its copy away, scaled in place.
    """
    connected: Tensor = _Connected.apply(x, sums, gradients, second, recompute)
    return connected


def mended(gradients: Tensor, x: Tensor, again: Callable[[Tensor], Tensor]) -> Tensor:
    """Gradients all finite: where slopes left the range of float32, by `again` in float64."""
    if not lost(gradients, x):
        return gradients
    wide = gradients if x.dtype == torch.float64 else again(x.detach().double())
    return narrowed(wide, x.dtype)


def lost(gradients: Tensor, *made_of: Tensor) -> bool:
    """Whether slopes left the range of their type, though all that they are made of is finite.

    A slope is as large as the force over the distance: it overflows where the force does not.
    """
    if math.isfinite(gradients.sum()):
        return False
    return all(math.isfinite(part.detach().sum()) for part in made_of)


def narrowed(wide: Tensor, dtype: torch.dtype) -> Tensor:
    """Float64 gradients in the points' own type, all of them finite.

    A row whose forces left the range of float64 has no direction, as that of a point met.
    """
    largest = torch.finfo(dtype).max
    return wide.nan_to_num_(0.0, largest, -largest).clamp_(-largest, largest).to(dtype)


def first_only(engine: str, remedy: str = "use engine='blockwise'") -> Second:
    """The `second` of an engine that gives first derivatives only."""

    def refuse(x: Tensor, go: Tensor) -> NoReturn:
        raise EngineError(
            f"engine={engine!r} gives first derivatives only: call backward without "
            f"create_graph, or {remedy}"
        )

    return refuse


def last(x: Tensor, why: str) -> Tensor:
    """The same numbers, whose derivatives raise NotImplementedError(why)."""
    found: Tensor = _Last.apply(x, why)
    return found


class _Last(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, why: str) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, str], output: Tensor) -> None:
        ctx.why = inputs[1]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> NoReturn:
        raise NotImplementedError(ctx.why)


def _is_one(upstream: Tensor) -> bool:
    """Whether gradients need no scaling, where it costs nothing to look."""
    return upstream.numel() == 1 and upstream.device.type == "cpu" and upstream.item() == 1


class _Connected(torch.autograd.Function):
    """In the older form, whose calls cost 40 microseconds less than with `setup_context`."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        x, sums, ctx.gradients, ctx.second, ctx.recompute = inputs
        ctx.save_for_backward(x)
        ctx.set_materialize_grads(False)
        return sums

    @staticmethod
    @beside_others()
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        (x,), go = ctx.saved_tensors, upstream[0]
        if go is None:
            return None, None, None, None, None
        if torch.is_grad_enabled():
            return ctx.second(x, go), None, None, None, None
        factor = go.T[:, :, None, None].to(x.dtype)
        gradients = ctx.recompute(x) if ctx.gradients is None else ctx.gradients
        if ctx.recompute is None or not has_values(go):  # of many gradients in one pass, each
            scaled = gradients * factor
        else:
            ctx.gradients = None
            scaled = gradients if _is_one(go) else gradients.mul_(factor)
        return scaled[0] if len(scaled) == 1 else scaled.sum(0), None, None, None, None
