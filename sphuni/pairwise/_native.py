"""Small d on the processor: each pair once, in native loops compiled by numba.

torch.compile can only fuse the full square, in which every pair is met twice; here the loop over
j > i adds the force on i to a register and its reaction on j to a row of the tile. No compiler
needs to be installed, and compiling takes about a second.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sphuni._errors import EngineError
from sphuni.kernels import Kernel
from sphuni.pairwise import _schedule
from sphuni.pairwise._formula import Formula, formula

__all__ = ["serves", "sums_and_gradients"]

_BLOCK = 1024
_FAST = frozenset({"nsz", "arcp", "contract", "afn", "reassoc"})  # but NaN and inf are respected


def serves(x: Tensor, kernel: Kernel) -> bool:
    """Whether the points are on the processor and the kernel can be spelled out in scalars."""
    return x.device.type == "cpu" and _numba() is not None and _spelled(kernel) is not None


def sums_and_gradients(x: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """Sums over i < j (b,) and their gradients (b, n, d), radial part included, in float64."""
    planes = x.detach().transpose(1, 2).contiguous().numpy()
    gradients = np.zeros(planes.shape)
    sums, coincident = np.zeros(x.shape[:2]), np.zeros(x.shape[:2])  # by first row of a tile
    tile = _tile(kernel, x.shape[-1], planes.dtype)

    def work(task: _schedule.Task) -> None:
        places = (task.batch, task.left, task.right)
        bounds = [edge for place in places for edge in (place.start, place.stop)]
        tile(planes, gradients, sums, coincident, *bounds)

    _schedule.run_tiles(work, x, None, block=_BLOCK)
    totals, count = sums.sum(1), coincident.sum(1)
    totals[count > 0] += kernel.at_one * count[count > 0]
    return torch.from_numpy(totals), torch.from_numpy(gradients).transpose(1, 2)


@functools.lru_cache(maxsize=1)
def _numba() -> Any:
    """Return numba, or None where it cannot be imported (it lags behind new Pythons)."""
    try:
        import numba
    except ImportError:
        return None
    return numba


@functools.lru_cache(maxsize=256)
def _spelled(kernel: Kernel) -> Formula | None:
    return formula(kernel)


@functools.lru_cache(maxsize=256)
def _tile(kernel: Kernel, d: int, dtype: np.dtype[Any]) -> Callable[..., None]:
    """Compile the loops over one tile for a kernel, a dimension and a precision."""
    spelled = _spelled(kernel)
    if spelled is None:
        raise EngineError(f"the kernel {kernel.label} has no scalar form")
    number = dtype.type
    names = {"zero": 0.0, "one": 1.0, "four": 4.0, "at_minus_one": kernel.at_minus_one}
    scope: dict[str, Any] = {"sqrt": np.sqrt, "np": np, "dtype": number}
    scope |= {name: number(value) for name, value in (*names.items(), *spelled.constants)}
    jit = _numba().njit(nogil=True, fastmath=set(_FAST), error_model="numpy")
    for source in (_row_source(kernel, spelled, d), _tile_source(d)):
        exec(source, scope)
        name = source[4 : source.index("(")]
        scope[name] = jit(scope[name])
    return scope["tile"]


def _row_source(kernel: Kernel, spelled: Formula, d: int) -> str:
    """One point against a run of others: x0, x1, ... their planes, g0, g1, ... their gradients."""
    axes, far = range(d), kernel.singular_opposite
    body = [f"e{k} = x{k}[j] - a{k}" for k in axes]
    body.append("p = " + " + ".join(f"e{k} * e{k}" for k in axes))
    if far or kernel.reads_q:
        body += [f"f{k} = x{k}[j] + a{k}" for k in axes]
        body.append("q = " + " + ".join(f"f{k} * f{k}" for k in axes))
    body += [*spelled.lines, f"v = {spelled.value}", f"s = {spelled.slope}"]
    if kernel.singular:
        body += ["apart = p > zero", "v = v if apart else zero", "s = s if apart else zero"]
        body.append("coincident += zero if apart else one")
    if far:
        body += ["apart = q > zero", "v = v if apart else at_minus_one", "s = s if apart else zero"]
        body.append("sign = one if p <= q else -one")
    body.append("value += v")
    for k in axes:
        body.append(f"t{k} = s * (x{k}[j] - sign * a{k})" if far else f"t{k} = s * e{k}")
        body.append(f"b{k} += t{k}")
        body.append(f"g{k}[j] -= sign * t{k}" if far else f"g{k}[j] -= t{k}")
    arguments = ", ".join(f"{name}{k}" for name in "xga" for k in axes)
    sums = ", ".join(["value", "coincident", *(f"b{k}" for k in axes)])
    return "\n".join(
        [
            f"def row({arguments}):",
            f"    {sums} = {', '.join(['zero'] * (d + 2))}",
            "    for j in range(x0.size):",
            *(f"        {line}" for line in body),
            f"    return {sums}",
        ]
    )


def _tile_source(d: int) -> str:
    """Rows l0:l1 against rows r0:r1 of sets b0:b1; on the diagonal each pair once.

    The reaction is gathered in the precision of the points for one tile only, then in float64.
    """
    axes = range(d)
    runs = [f"x[b, {k}, first:r1]" for k in axes] + [f"part[{k}, first - r0 :]" for k in axes]
    call = ", ".join(runs + [f"x[b, {k}, i]" for k in axes])
    adds = "\n".join(f"            gradients[b, {k}, i] += b{k}" for k in axes)
    results = ", ".join(["value", "met", *(f"b{k}" for k in axes)])
    return f"""def tile(x, gradients, sums, coincident, b0, b1, l0, l1, r0, r1):
    part = np.empty(({d}, r1 - r0), dtype)
    for b in range(b0, b1):
        part[:] = zero
        for i in range(l0, l1):
            first = i + 1 if l0 == r0 else r0
            {results} = row({call})
{adds}
            sums[b, l0] += value
            coincident[b, l0] += met
        for k in range({d}):
            for j in range(r1 - r0):
                gradients[b, k, r0 + j] += part[k, j]
"""
