"""Large d on a GPU: one fused Triton kernel, value and gradient in one pass over the pairs.

It is the custom operator ``sphuni::triton_pairs`` of torch.library, with a meta implementation and
a derivative; second derivatives are handed to the blockwise engine. Triton itself is imported when
the operator runs. On the processor it runs through Triton's interpreter, slowly, for tests.
"""

import importlib.util
import os
import subprocess
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sphuni._errors import EngineError
from sphuni.kernels import Kernel
from sphuni.pairwise import _blockwise
from sphuni.pairwise._autograd import mended, wants_gradient
from sphuni.pairwise.loops._scalar import can_spell, patience
from sphuni.pairwise.tiles import _tiles
from sphuni.pairwise.tiles._sums import sums_and_gradients
from sphuni.pairwise.tiles._tiles import DIRECT_DIMENSION

__all__ = ["repays", "supports", "total"]

_ROWS, _COLUMNS = 128, 64
_SHAPE = {"ROWS": _ROWS, "COLUMNS": _COLUMNS, "DEPTH": 32, "GROUP": 8}
_LAUNCH = {"num_warps": 8, "num_stages": 2}
_MOST_PROGRAMS = 2**31 - 1
_FROM_N, _FROM_D = 2048, 16
_KERNELS: dict[str, Kernel] = {}
"""Operators take strings; these name the kernels that were used."""
_FAILED: set[tuple[str, int, str]] = set()
"""Kernel, d and kind of device of launches that failed."""


def supports(x: Tensor, y: Tensor | None, kernels: Sequence[Kernel], op: str) -> str | None:
    """Return the reason for refusing a call, or None."""
    if op != "sum" or y is not None:
        return "it computes sums over the pairs of one unweighted set only"
    if x.dtype == torch.float64:
        return "it computes in float32, and the points are float64"
    for kernel in kernels:
        if not can_spell(kernel):
            return f"the kernel {kernel.label} has no scalar form"
    if torch.are_deterministic_algorithms_enabled():
        return "it adds gradients in any order, and torch.use_deterministic_algorithms is on"
    if _programs(x) > _MOST_PROGRAMS:
        return f"n = {x.shape[-2]} is more than one launch can serve"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed; pip install 'sphuni[gpu]'"
    if x.device.type != "cuda" and not (x.device.type == "cpu" and _interpreted()):
        return (
            f"it works on a CUDA device, and the points are on {x.device.type}: move them there "
            "(to try it slowly on the CPU, set TRITON_INTERPRET=1 before Python starts)"
        )
    return None


def repays(x: Tensor, kernels: Sequence[Kernel]) -> bool:
    """Whether it is what "auto" takes: float32 (or half) on a GPU, n >= 2048 and d >= 16.

    Compiling takes seconds for a short formula, a minute for a series of a hundred terms, which
    only more points repay. What failed once, for want of a C compiler say, is not tried at every
    call again.
    """
    if x.device.type != "cuda" or _interpreted() or x.shape[-1] < _FROM_D:
        return False
    if _FAILED and any(_launch(repr(kernel), x) in _FAILED for kernel in kernels):
        return False
    spelled = [kernel for kernel in kernels if can_spell(kernel)]
    return x.shape[-2] >= _FROM_N * (patience(spelled) if spelled else 1)


def total(x: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    """Sum over i < j of each kernel: (b, n, d) -> (b, k), float64."""
    found = []
    for kernel in kernels:
        name = repr(kernel)
        _KERNELS[name] = kernel
        found.append(_pairs(x, name, wants_gradient(x))[0])
    return torch.stack(found, dim=-1)


@torch.library.custom_op("sphuni::triton_pairs", mutates_args=())
def _pairs(points: Tensor, kernel: str, with_gradient: bool) -> tuple[Tensor, Tensor]:
    """Sums over i < j (b,), float64, and tangent gradients (b, n, d), empty if not asked for."""
    from sphuni.pairwise import _triton_kernels as device

    x = points.contiguous()
    b, n, d = x.shape
    blocks = -(-n // _ROWS)
    sums = x.new_zeros(b, blocks, dtype=torch.float64)
    gradients = torch.zeros_like(x) if with_gradient else x.new_zeros(0)
    if x.numel() == 0:
        return sums.sum(1), gradients
    try:
        with torch.cuda.device_of(x):
            options = launch_options(_KERNELS[kernel], d, with_gradient)
            device.tiles[(_programs(x),)](x, sums, gradients, n, d, blocks, **options)
    except (device.TritonError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        # the last two are of the C compiler, which Triton needs for the launch, and of its cache
        _FAILED.add(_launch(kernel, x))
        raise EngineError(f"the Triton engine failed: {error}") from error
    if with_gradient:
        gradients = _finite(_tiles.tangent(x, gradients), x, _KERNELS[kernel])
    return sums.sum(1), gradients


def _finite(gradients: Tensor, x: Tensor, kernel: Kernel) -> Tensor:
    """Gradients that are finite where slopes left the range of float32, by tiles in float64."""

    def again(wide: Tensor) -> Tensor:
        return sums_and_gradients(wide, (kernel,), True)[1][0]

    return mended(gradients, x, again)


def launch_options(kernel: Kernel, d: int, with_gradient: bool) -> dict[str, Any]:
    """What the device code is compiled for."""
    from sphuni.pairwise._triton_kernels import pair_function

    close, opposite = _tiles.sensitive((kernel,))
    return {
        "pair": pair_function(kernel),
        "at_one": kernel.at_one,
        "at_minus_one": kernel.at_minus_one,
        "close": close,
        "opposite": opposite,
        "direct": d <= DIRECT_DIMENSION,
        "with_gradient": with_gradient,
        **_SHAPE,
        **_LAUNCH,
    }


@_pairs.register_fake
def _(points: Tensor, kernel: str, with_gradient: bool) -> tuple[Tensor, Tensor]:
    gradients = torch.empty_like(points) if with_gradient else points.new_empty(0)
    return points.new_empty(points.shape[0], dtype=torch.float64), gradients


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    """Keep the points and their gradient."""
    x, ctx.kernel, ctx.with_gradient = inputs
    ctx.save_for_backward(x, output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, go: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, None, None]:
    """Scale the saved gradient; under create_graph hand over to the tiles."""
    if go is None:
        return None, None, None
    x, gradient = ctx.saved_tensors
    if torch.is_grad_enabled():
        second = _blockwise.second_derivatives((_KERNELS[ctx.kernel],))
        return second(x, go[:, None].to(x.dtype)), None, None
    if not ctx.with_gradient:
        gradient = _pairs(x, ctx.kernel, True)[1]
    return go[:, None, None].to(x.dtype) * gradient, None, None


_pairs.register_autograd(_backward, setup_context=_setup_context)


def _launch(kernel: str, x: Tensor) -> tuple[str, int, str]:
    """What a launch is compiled for."""
    return kernel, x.shape[-1], x.device.type


def _programs(x: Tensor) -> int:
    n = x.shape[-2]
    sets = x.shape[:-2].numel()
    return sets * -(-n // _ROWS) * -(-n // _COLUMNS)


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET", "0") not in ("", "0")
