"""The first step of every objective: check the weight, leave autocast, widen half precision."""

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Concatenate, ParamSpec

import torch
from torch import Tensor

from sphuni._arrays import HALF
from sphuni._devices import narrow_device, on_processor
from sphuni._transforms import is_transformed, transformed, untraced

__all__ = [
    "autocasts",
    "bounded",
    "check_tensor",
    "check_weight",
    "in_full_precision",
    "like_input",
    "nothing",
    "outside_autocast",
    "widen",
]

P = ParamSpec("P")


def in_full_precision(
    function: Callable[Concatenate[Tensor, P], Tensor],
) -> Callable[Concatenate[Tensor, P], Tensor]:
    """Run an objective outside autocast, on a checked weight of at least float32."""
    name = next(iter(inspect.signature(function).parameters))

    @untraced
    @functools.wraps(function)
    def wrapper(weight: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        check_weight(weight, name)
        if (device := narrow_device((weight, *args), kwargs)) is not None:
            value: Tensor = on_processor(wrapper, device, (weight, *args), kwargs)
            return value
        if is_transformed(weight):
            return transformed(weight, lambda batch: wrapper(batch, *args, **kwargs))
        with torch.autocast(weight.device.type, enabled=False):
            return function(widen(weight), *args, **kwargs)

    return wrapper


def check_tensor(name: str, value: Any) -> None:
    """Refuse what is no tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name} must be a torch tensor; got {type(value).__name__}. "
            f"Convert it with torch.as_tensor({name})"
        )


def check_weight(weight: Any, name: str = "weight") -> None:
    """Refuse anything but a dense floating-point tensor (..., n, d) that holds values."""
    check_tensor(name, weight)
    if not weight.is_floating_point():
        raise TypeError(f"{name} must be floating point; got {weight.dtype}. Call {name}.float()")
    if weight.dtype.itemsize < 2:
        raise TypeError(
            f"{name} must have 16 bits or more per number, as bytes have no arithmetic; got "
            f"{weight.dtype}. Call {name}.float()"
        )
    if weight.ndim < 2 or weight.numel() == 0:
        rows = "Flatten a convolution with weight.flatten(1)"
        embeddings = "Give one embedding per row, and leave batches of none out"
        raise ValueError(
            f"{name} must have shape (..., n, d) with n, d >= 1; got {tuple(weight.shape)}. "
            f"{rows if name == 'weight' else embeddings}"
        )
    if weight.is_meta:
        raise ValueError(f"{name} is on the meta device and has no values; materialise it first")


def widen(weight: Tensor) -> Tensor:
    """Return float32 for half precision; the gradient is clamped to what the half type holds."""
    return bounded(weight, torch.float32) if weight.dtype in HALF else weight


def bounded(weight: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return `weight` in `dtype`, by default its own, in which the gradient cannot overflow.

    Unit rows of tiny weights have large gradients; they are clamped.
    """
    cast = _Bounded if torch.compiler.is_compiling() else _BoundedBothWays
    wide: Tensor = cast.apply(weight, weight.dtype if dtype is None else dtype)
    return wide


def autocasts(x: Tensor) -> bool:
    """Whether autocast is on where `x` lies; there is none for tensors without values."""
    return not x.is_meta and torch.is_autocast_enabled(x.device.type)


def outside_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """Where `x` is computed with as it is; layers are asked for shapes on the meta device too."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def like_input(answer: Tensor, x: Tensor) -> Tensor:
    """What a layer that computes in float32 or more returns for `x`, in the dtype of `x`.

    Autocast casts by itself wherever it is wanted, so there the digits are kept.
    """
    return answer if autocasts(x) else answer.to(x.dtype)


def nothing(weight: Tensor) -> Tensor:
    """Zero for every set of the batch, connected to `weight` with a zero gradient."""
    return weight.flatten(-2)[..., :0].sum(-1)


class _Bounded(torch.autograd.Function):
    """A cast whose backward cannot overflow."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, dtype: torch.dtype) -> Tensor:
        return weight.view_as(weight) if weight.dtype == dtype else weight.to(dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.dtype, ctx.wide = inputs[0].dtype, output.dtype

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        largest = torch.finfo(ctx.dtype).max
        return upstream[0].clamp(-largest, largest).to(ctx.dtype), None


class _BoundedBothWays(_Bounded):
    """The same with a derivative in forward mode, which torch.compile does not take."""

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        tangent = tangents[0]  # a view, where the answer is one
        return tangent.view_as(tangent) if tangent.dtype == ctx.wide else tangent.to(ctx.wide)
