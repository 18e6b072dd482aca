"""Which engine runs, and the one public reduction over pairs."""

import dataclasses
import logging
import math
from collections.abc import Sequence
from types import ModuleType
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from sphuni._arrays import unit_to_rounding, widen
from sphuni._devices import with_float64
from sphuni._errors import EngineError
from sphuni._threads import beside_others
from sphuni._transforms import untraced
from sphuni.kernels import Kernel
from sphuni.pairwise import (
    _blockwise,
    _circle,
    _compiled,
    _fmm,
    _moments,
    _reference,
    _ring,
    _triton,
)
from sphuni.pairwise.tiles._sums import sums_and_gradients

__all__ = [
    "Decision",
    "Engine",
    "Op",
    "explain",
    "pair_reduce",
    "sum_and_gradient",
]

Engine: TypeAlias = Literal[
    "auto", "reference", "blockwise", "compiled", "triton", "moments", "circle", "fmm", "ring"
]
Op: TypeAlias = Literal["sum", "rows"]

_BELOW_SQUARE: dict[str, tuple[ModuleType, str]] = {
    "circle": (_circle, "angles on the circle need no pairs"),
    "moments": (_moments, "moments of the points need no pairs"),
    "fmm": (_fmm, "many points: the fast multipole method"),
}
_ENGINES: dict[str, ModuleType] = {
    **{name: module for name, (module, _) in _BELOW_SQUARE.items()},
    "compiled": _compiled,
    "triton": _triton,
    "blockwise": _blockwise,
    "reference": _reference,
    "ring": _ring,
}
_log = logging.getLogger("sphuni")


@dataclasses.dataclass(frozen=True)
class Decision:
    """Which engine serves a call, why, and why the others do not."""

    engine: str
    reason: str
    refused: dict[str, str]


@untraced
@with_float64
@beside_others()
def pair_reduce(
    points: Tensor,
    other: Tensor | None = None,
    /,
    *,
    kernel: Kernel | Sequence[Kernel],
    op: Op = "sum",
    weights: Tensor | None = None,
    unit: bool = False,
    engine: Engine = "auto",
) -> Tensor:
    r"""Reduce a zonal kernel over pairs of points: the only O(n^2) loop in the library.

    Parameters
    ----------
    points : tensor of shape (..., n, d)
        Unit rows (not checked here).
    other : tensor of shape (..., m, d), optional
        Second set; by default the pairs are those of `points` with i != j.
    kernel : Kernel or sequence of Kernel
        A sequence shares the distances and adds a last axis to the result.
    op : {"sum", "rows"}, default "sum"
        "sum": over unordered pairs, sum_{i<j} w_i w_j K(x_i, x_j), or over all pairs of `points`
        and `other`, sum_ij w_j K(x_i, y_j). "rows": sum_j w_j K(x_i, y_j) for every i.
    weights : tensor of shape (..., m), optional
        Weights of `other` (of `points` when there is no `other`); default 1.
    unit : bool, default False
        Whether `points` are known to have unit rows to within rounding, which spares a look.
    engine : str, default "auto"
        "reference", "blockwise", "compiled" and "triton" go over all pairs; `explain` says which
        one "auto" takes. "compiled" (d <= 8) is native loops, which take half a second to compile
        for each kernel, dimension and type, once on a machine; "auto" takes it from 65,536 ordered
        pairs on, for series of many terms from more, and from n = 5000 where torch.compile has to
        do it. It has no `other`, `weights` and rows: these are sums of "blockwise", by loops of the
        same kind and from as many pairs on. "triton" is one fused kernel on a GPU, in float32;
        "auto" takes it on a CUDA device for points in float32 or half precision with n >= 2048
        (more for series of many terms, which take a minute to compile) and d >= 16.
        "circle" (d = 2: Riesz s = -1, Gegenbauer series), "moments" (polynomials of degree at most
        two in the cosine) and "fmm" (Coulomb in d = 3, from 2e5 points on, where FMM3D is installed
        and 7 kB per point are free) need fewer; "auto" takes them where they serve.
        "ring": `points` holds this rank's rows of one set that is spread over the ranks of
        torch.distributed; see Notes. "auto" takes it for a DTensor sharded on rows, and for
        nothing else.

    Returns
    -------
    tensor of shape (...) or (..., n), with one more axis for a sequence of kernels

    Raises
    ------
    EngineError
        If the engine asked for by name cannot serve the call.
    WorkerError
        By "ring", if another rank died, gave up, or did not answer within the timeout of the
        process group, which is lost then: start the job again.

    Notes
    -----
    Half precision is computed in float32. Sums are accumulated in float64. The gradient is the
    tangent one, of the extension f(x / |x|); pairs at a singular point of the kernel contribute
    the kernel's limit to the value and zero to the gradient. Cost O(n^2 d) time; memory
    O(n d + tile) in every engine but the reference. Differentiable twice ("ring" once).

    "ring" serves op="sum" without `other` and `weights`. Every rank of the default process group
    must call it alike, each with its own rows (their number may differ, and be zero), and gets the
    sum over all pairs of all ranks, the same digits everywhere (for a DTensor: replicated). A row
    that is not finite raises on every rank. backward gives the gradient of that one sum in the
    rows of this rank, without communication, so every rank must use the same upstream gradient.
    Where the rows come from replicated weights whose gradients are *averaged* over P ranks (as
    DistributedDataParallel does), multiply the sum by P: the gradient of the whole is the sum of
    the ranks' parts. Each pair is computed once; a rank does 1/P of the work if the shards are
    equal, sends and receives about n d / 2 numbers of points, overlapped with the work, and as
    many of forces per kernel, and holds 3 + 5 k shards of n d / P numbers.

    Examples
    --------
    >>> import torch
    >>> from sphuni.kernels import Riesz
    >>> pair_reduce(torch.eye(3, dtype=torch.float64), kernel=Riesz(2.0))
    tensor(1.5000, dtype=torch.float64)
    """
    kernels = (kernel,) if isinstance(kernel, Kernel) else tuple(kernel)
    decision = _decide(points, other, kernels, op, weights, engine)
    local = _ring.local_rows(points)
    x = _flat(widen(local))
    x = x if unit else _exactly_unit(x)
    y = None if other is None else _exactly_unit(_flat(widen(other)))
    carrier = points if other is None else other
    w = None if weights is None else weights.to(x.dtype).expand(carrier.shape[:-1])
    w = None if w is None else w.reshape(x.shape[0], -1)
    with torch.autocast(points.device.type, enabled=False):
        if decision.engine == "ring":
            reduced = _ring.total(x, kernels, points)
        elif x.numel() == 0 or (y is not None and y.numel() == 0):
            reduced = _of_nothing(x, len(kernels), op)
        elif op == "sum" and y is None and w is None:
            reduced = _total(decision, x, kernels, fall_back=engine == "auto")
        else:
            reduced = _ENGINES[decision.engine].rows(x, y, w, kernels)
            if op == "sum":
                reduced = _sum_rows(reduced, None if y is not None else w, halve=y is None)
    shape = local.shape[: -1 if op == "rows" else -2]
    reduced = reduced.reshape(shape if isinstance(kernel, Kernel) else (*shape, len(kernels)))
    return _ring.replicated(reduced.to(points.dtype), points)


@untraced
@with_float64
@beside_others()
def sum_and_gradient(
    points: Tensor, /, *, kernel: Kernel, engine: Engine = "auto"
) -> tuple[Tensor, Tensor]:
    """Sum a kernel over the pairs of `points`, with its gradient, outside autograd.

    Parameters
    ----------
    points : tensor of shape (..., n, d)
        Rows that were normalised in their own precision (not checked here).
    kernel, engine
        As in `pair_reduce`.

    Returns
    -------
    tensors of shape (...) and (..., n, d)
        The sum of `pair_reduce` and its tangent gradient, at half the overhead: for callers that
        know that they want both, with many small sets.
    """
    decision, x = _decide(points, None, (kernel,), "sum", None, engine), _flat(points.detach())
    with torch.autocast(points.device.type, enabled=False):
        if decision.engine == "blockwise":
            sums, gradients = sums_and_gradients(x, (kernel,), True)
            gradient = gradients[0]
        else:
            with torch.enable_grad():
                leaf = x.requires_grad_()
                sums = _total(decision, leaf, (kernel,), fall_back=engine == "auto")
            (gradient,) = torch.autograd.grad(sums, leaf, torch.ones_like(sums))
    return sums.detach().reshape(points.shape[:-2]), gradient.reshape(points.shape)


def explain(
    points: Tensor,
    other: Tensor | None = None,
    /,
    *,
    kernel: Kernel | Sequence[Kernel],
    op: Op = "sum",
    weights: Tensor | None = None,
    engine: Engine = "auto",
) -> Decision:
    """Say which engine `pair_reduce` takes for the same arguments, and why."""
    kernels = (kernel,) if isinstance(kernel, Kernel) else tuple(kernel)
    return _decide(points, other, kernels, op, weights, engine)


def _check_shapes(points: Tensor, other: Tensor | None, kernels: Sequence[Kernel]) -> None:
    if not kernels:
        raise ValueError("kernel must be a kernel or a sequence of some; got an empty one")
    if points.dim() < 2:
        raise ValueError(f"points must have shape (..., n, d); got {tuple(points.shape)}")
    if other is None:
        return
    shapes = points.shape[:-2] == other.shape[:-2] and points.shape[-1:] == other.shape[-1:]
    if other.dim() != points.dim() or not shapes:
        raise ValueError(
            f"other must have the leading axes and the dimension of points, {tuple(points.shape)}; "
            f"got {tuple(other.shape)}"
        )
    if (other.dtype, other.device) != (points.dtype, points.device):
        raise TypeError(
            f"other must have the type and device of points, {points.dtype} on {points.device}; "
            f"got {other.dtype} on {other.device}"
        )


def _decide(
    points: Tensor,
    other: Tensor | None,
    kernels: Sequence[Kernel],
    op: str,
    weights: Tensor | None,
    engine: str,
) -> Decision:
    for name, given in (("points", points), ("other", other), ("weights", weights)):
        if given is not None and not isinstance(given, Tensor):
            raise TypeError(
                f"{name} must be a torch tensor; got {type(given).__name__}. "
                f"Pass torch.as_tensor({name})"
            )
    if engine != "ring":  # there the ranks find out together
        _check_shapes(points, other, kernels)
    shape_op = "rows" if weights is not None else op
    if op not in ("sum", "rows"):
        raise ValueError(f"op must be 'sum' or 'rows'; got {op!r}")
    if _ring.is_sharded(points) and engine != "ring":
        if engine != "auto":
            raise EngineError(
                f"engine={engine!r} does not serve a DTensor. Use engine='ring', or full_tensor()"
            )
        named = _decide(points, other, kernels, op, weights, "ring")
        return dataclasses.replace(named, reason="the rows are sharded over processes")
    if engine in _ENGINES:
        reason = _ENGINES[engine].supports(points, other, kernels, shape_op)
        if reason is not None:
            remedy = "" if engine == "ring" else ". Use engine='auto'"
            raise EngineError(f"engine={engine!r} cannot serve this call: {reason}{remedy}")
        return Decision(engine, "asked for by name", {})
    if engine != "auto":
        known = ", ".join(repr(name) for name in ("auto", *_ENGINES))
        raise ValueError(f"engine must be one of {known}; got {engine!r}")
    return _choose(points, other, kernels, shape_op)


def _choose(
    points: Tensor, other: Tensor | None, kernels: Sequence[Kernel], shape_op: str
) -> Decision:
    """What "auto" takes."""
    refused: dict[str, str] = {}
    for name, (module, reason) in _BELOW_SQUARE.items():
        if module.repays(points, kernels):
            why_not = module.supports(points, other, kernels, shape_op)
            if why_not is None:
                return Decision(name, reason, refused)
            refused[name] = why_not
    if _triton.repays(points, kernels):
        why_not = _triton.supports(points, other, kernels, shape_op)
        if why_not is None:
            return Decision("triton", "large n and d on a GPU", refused)
        refused["triton"] = why_not
    why_not = _compiled.reason_against(points, other, kernels, shape_op)
    if why_not is None:
        return Decision("compiled", "small d and many pairs", refused)
    return Decision("blockwise", "tiles serve every call", {"compiled": why_not, **refused})


def _of_nothing(x: Tensor, count: int, op: str) -> Tensor:
    """Sums without a pair, differentiable all the same."""
    rows = (0.0 * x).sum(dim=-1, keepdim=True).expand(*x.shape[:2], count)
    return rows if op == "rows" else rows.sum(dim=-2)


def _flat(points: Tensor) -> Tensor:
    return points.reshape(math.prod(points.shape[:-2]), *points.shape[-2:])


def _exactly_unit(points: Tensor) -> Tensor:
    """Remove excess rounding from the norms: the Gram form takes |x| = 1 for granted.

    The factor is a constant to autograd because the engines' gradients are tangent already. Rows
    that are unit to a few units in the last place, the usual case, are not copied.
    """
    if points.numel() == 0:
        return points
    norms = torch.linalg.vector_norm(points.detach(), dim=-1, keepdim=True)
    low, high = (float(end) for end in torch.aminmax(norms))
    return points if unit_to_rounding(low, high, points.dtype) else points / norms


def _total(decision: Decision, x: Tensor, kernels: Sequence[Kernel], *, fall_back: bool) -> Tensor:
    """Sum over pairs by the chosen engine; if compiling fails after all, by tiles."""
    try:
        return _ENGINES[decision.engine].total(x, kernels)
    except EngineError as error:
        if not fall_back:
            raise
        _log.warning("%s; continuing with the blockwise engine", error)
        return _blockwise.total(x, kernels)


def _sum_rows(rows: Tensor, weights: Tensor | None, *, halve: bool) -> Tensor:
    """Add up row sums (b, n, k), each row by its own weight, in float64."""
    if weights is not None:
        absent = (weights[..., None] == 0) & ~rows.isfinite()  # NaN is inf less inf
        rows = rows.masked_fill(absent, 0.0) * weights[..., None]
    return rows.sum(dim=-2, dtype=torch.float64) * (0.5 if halve else 1.0)
