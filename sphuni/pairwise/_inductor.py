"""The difference-form body through `torch.compile`: any kernel, on the processor or a GPU.

One body serves one set, laid out (d, n), and batches of small sets, laid out (d, n, b) with the
batch innermost. After fusion no n x n array exists: each pair is read, reduced and forgotten.
"""

import functools
import inspect
import logging
import types
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sphuni._errors import EngineError
from sphuni.kernels import Kernel
from sphuni.pairwise.tiles._tiles import met

__all__ = ["compiled_body", "compiler_missing", "sums_and_gradients"]

Body = Callable[[Tensor], tuple[Tensor, Tensor]]

_BATCHED_BELOW = 512
_RECOMPILES = 32
_log = logging.getLogger("sphuni")


def sums_and_gradients(x: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """Sums over i < j (b,), in float64, and their gradients (b, n, d), radial part included."""
    batched = x.shape[0] > 1 and x.shape[1] < _BATCHED_BELOW
    run = compiled_body(kernel, x.shape[-1], x.dtype, x.device.type, batched)
    try:
        with torch._dynamo.config.patch(recompile_limit=_RECOMPILES):
            if batched:
                sums, gradients = run(x.permute(2, 1, 0).contiguous())
                return 0.5 * sums.sum(0, dtype=torch.float64), gradients.permute(2, 1, 0)
            singles = [run(one.T.contiguous()) for one in x]
    except torch._dynamo.exc.TorchDynamoException as error:
        raise EngineError(f"the compiled engine failed: {error}") from error
    sums = torch.stack([0.5 * s.sum(dtype=torch.float64) for s, _ in singles])
    return sums, torch.stack([gradient.T for _, gradient in singles])


@functools.lru_cache(maxsize=8)
def compiler_missing(device: str = "cpu") -> str | None:
    """Return why nothing can be compiled here, or None if a small kernel was compiled and ran.

    It ran on that kind of device: a GPU does without the C++ compiler that the processor needs.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch warns about its own parts
            torch.compile(_probe, dynamic=True, fullgraph=True)(torch.ones(4, device=device))
    except Exception as error:  # any failure of the tool chain means the same thing: no compiler
        reason = " ".join(str(error).split("\n")[:2]).strip()[:200] or type(error).__name__
        _log.info("torch.compile does not work here: %s", reason)
        return f"torch.compile does not work here ({reason})"
    return None


def _probe(x: Tensor) -> Tensor:
    return (x * x).sum()


@functools.lru_cache(maxsize=256)
def compiled_body(kernel: Kernel, d: int, dtype: torch.dtype, device: str, batched: bool) -> Body:
    """Compile the body for one kernel under a code object of its own.

    torch.compile counts recompilations per code object and silently runs eagerly past its limit;
    with one object per (kernel, d, dtype, layout) only sizes vary, and those are dynamic. The
    kernel is bound as a default argument: a `functools.partial` would be run through a function
    of torch's own, whose one code object all kernels would share.
    """
    plain = inspect.unwrap(_body)
    code = plain.__code__.replace(co_name=f"pair_body_{compiled_body.cache_info().misses}")
    own = types.FunctionType(code, plain.__globals__, argdefs=(kernel, _limits(kernel)))
    return torch.compile(own, dynamic=True, fullgraph=True)


class _Limits(NamedTuple):
    """What the body needs to know of a kernel's ends, computed before tracing, not inside it."""

    near: bool
    far: bool
    at_one: float
    at_minus_one: float


def _limits(kernel: Kernel) -> _Limits:
    return _Limits(kernel.singular, kernel.singular_opposite, kernel.at_one, kernel.at_minus_one)


def _body(x: Tensor, kernel: Kernel, limits: _Limits) -> tuple[Tensor, Tensor]:
    """Row sums and gradient rows from coordinate planes x of shape (d, n) or (d, n, b).

    A point and itself are coincident like any other such pair, which saves a mask in the loop:
    singular kernels drop coincident pairs and put the limits of all but one per row back,
    smooth ones take the diagonal off the row sums.
    """
    near, far, at_one, at_minus_one = limits
    planes = x.unbind(0)
    p = _add_up([(plane[:, None] - plane[None, :]).square() for plane in planes])
    q = _add_up([(plane[:, None] + plane[None, :]).square() for plane in planes]) if far else 4 - p
    coincident, opposite = met(p), met(q)
    value, slope = kernel.value_and_derivative(p, q)
    if near:
        value = torch.where(coincident, 0.0, value)
        slope = torch.where(coincident, 0.0, slope)
    if far:
        value = torch.where(opposite, at_minus_one, value)
        slope = torch.where(opposite, 0.0, slope)
    sign = torch.where(q < p, -1.0, 1.0).to(x.dtype) if far else 1.0
    gradient = [(slope * (plane[None, :] - sign * plane[:, None])).sum(1) for plane in planes]
    sums = value.sum(1)
    if not near:
        return sums - at_one, torch.stack(gradient)
    count = coincident.to(x.dtype).sum(1)
    others = torch.where(count > 1.5, (count - 1) * at_one, 0.0)
    return sums + others, torch.stack(gradient)


def _add_up(terms: list[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
