"""The penalty as one operation of a compiled graph.

Inner problems, counters and random draws cannot be traced. Inside `torch.compile` the whole
penalty is therefore one opaque operation that returns its value and its gradients, so the loss
keeps a single graph.
"""

import concurrent.futures
import contextlib
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sphuni.nn._owners import owner_of
from sphuni.nn._recomputed import refuse_recomputation

__all__ = ["penalty", "result_dtype"]

_places = itertools.count()


def result_dtype(rows: Sequence[Tensor]) -> torch.dtype:
    """float64 if any of the rows is, else float32."""
    return torch.float64 if any(r.dtype == torch.float64 for r in rows) else torch.float32


def penalty(rows: list[Tensor], token: int) -> Tensor:
    """Evaluate the regularizer `token` on rows that were read in the graph."""
    value: Tensor = torch.ops.sphuni.penalty(rows, token, _place())[0]
    return value


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _place() -> int:
    """A number of its own for every call in a graph, as equal calls would be merged into one."""
    return next(_places)


def _evaluate(rows: list[Tensor], token: int, place: int) -> list[Tensor]:
    """Run in a thread: inside an operation torch records no gradients, a fresh thread does."""
    refuse_recomputation(owner_of(token))
    stream = torch.cuda.current_stream(rows[0].device) if rows[0].is_cuda else None

    def work() -> list[Tensor]:
        with contextlib.nullcontext() if stream is None else torch.cuda.stream(stream):
            found: list[Tensor] = owner_of(token).penalty_and_gradients(rows)
            return found

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def _shapes(rows: list[Tensor], token: int, place: int) -> list[Tensor]:
    value = rows[0].new_empty((), dtype=result_dtype(rows))
    return [value, *(torch.empty_like(one) for one in rows)]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*output[1:])


def _gradient(ctx: Any, upstream: Any) -> Any:
    return [_scaled(saved, upstream[0]) for saved in ctx.saved_tensors], None, None


def _scaled(gradient: Tensor, factor: Tensor) -> Tensor:
    """The product in float32 or more, within what the dtype of the gradient holds."""
    largest = torch.finfo(gradient.dtype).max
    product = gradient.to(torch.promote_types(gradient.dtype, factor.dtype)) * factor
    return product.clamp(-largest, largest).to(gradient.dtype)


_operation = torch.library.custom_op(
    "sphuni::penalty",
    _evaluate,
    mutates_args=(),
    schema="(Tensor[] rows, int token, int place) -> Tensor[]",
)
_operation.register_fake(_shapes)
_operation.register_autograd(_gradient, setup_context=_keep)
