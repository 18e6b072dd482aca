"""Functions of a set under `torch.func`: a mapped set is the batch that they take anyway.

Near and coincident pairs are found by looking at values, which transforms cannot trace. A
mapped dimension is therefore moved to the front and the batch evaluated as it is, value and first
derivative together.
"""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch._C import _functorch
from torch.autograd.function import once_differentiable

__all__ = ["has_values", "is_many", "is_transformed", "transformed", "untraced"]

P = ParamSpec("P")
R = TypeVar("R")


def untraced(function: Callable[P, R]) -> Callable[P, R]:
    """Let torch.compile call a function without looking into it.

    What looks at values and calls machine code breaks its graph in dozens of places, and numba
    cannot compile where torch follows it.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.compiler.is_compiling():
            return torch.compiler.disable(function)(*args, **kwargs)
        return function(*args, **kwargs)

    return wrapper


def has_values(x: Tensor) -> bool:
    """Whether the numbers of `x` can be looked at: not under torch.func or compile.

    Nor where `torch.autograd.grad` is given many gradients at once, with is_grads_batched.
    """
    if torch.compiler.is_compiling():  # which cannot look into what follows
        return False
    return not (_functorch.is_functorch_wrapped_tensor(x) or _functorch.is_legacy_batchedtensor(x))


def is_many(gradient: Tensor) -> bool:
    """Whether `torch.autograd.grad` was given many gradients at once, with is_grads_batched."""
    return _functorch.is_legacy_batchedtensor(gradient) or _functorch.is_batchedtensor(gradient)


def is_transformed(weight: Tensor) -> bool:
    """Whether `weight` is inside `torch.func.grad`, `vmap` or both."""
    inner, derivatives = weight, 0
    while _functorch.is_functorch_wrapped_tensor(inner):
        derivatives += _functorch.is_gradtrackingtensor(inner)
        inner = _functorch.get_unwrapped(inner)
    if derivatives > 1:
        raise NotImplementedError(
            "objectives have first derivatives only under torch.func; for second ones use "
            "torch.autograd.grad(..., create_graph=True)"
        )
    return inner is not weight


def transformed(weight: Tensor, objective: Callable[[Tensor], Tensor]) -> Tensor:
    """Evaluate `objective`, of (..., n, d) to (...), with its first derivative only."""
    value: Tensor = _Transformed.apply(weight, objective)[0]
    return value


class _Transformed(torch.autograd.Function):
    """Values of shape (...), and the gradient of each with respect to its own (n, d)."""

    @staticmethod
    def forward(weight: Tensor, objective: Callable[[Tensor], Tensor]) -> Any:
        with torch.enable_grad():
            leaf = weight.detach().requires_grad_()
            value = objective(leaf)
            if not isinstance(value, Tensor) or value.shape != leaf.shape[:-2]:
                raise NotImplementedError(
                    "under torch.func only functions that give one number per set can be called"
                )
            (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach(), gradient

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.dtype, ctx.dims = output[0].dtype, output[0].ndim
        ctx.save_for_backward(output[1])
        ctx.save_for_forward(output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        (gradient,) = ctx.saved_tensors
        return upstream[0][..., None, None].to(gradient.dtype) * gradient, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        products = gradient.to(ctx.dtype) * tangents[0].to(ctx.dtype)  # half types could overflow
        return products.sum(tuple(range(ctx.dims, products.ndim))), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], weight: Tensor, objective: Any) -> Any:
        """Put the mapped dimension in front."""
        return _Transformed.apply(weight.movedim(in_dims[0], 0), objective), (0, 0)
