"""Energies of many configurations at once, laid out (d, n, b) for the batched minimiser."""

import torch
from torch import Tensor

from sphuni.configurations.minimize import Objective
from sphuni.kernels import Kernel
from sphuni.pairwise import Engine, _inductor, pair_reduce

__all__ = ["choose_engine", "energy_objective"]

_COMPILE_FROM = 1_000_000
_LARGEST_D = 8


def choose_engine(engine: Engine, n: int, d: int, restarts: int) -> Engine:
    """Return "compiled" where compiling repays itself and a compiler exists, else "blockwise".

    The choice depends on the sizes alone, so that a run can be repeated.
    """
    if engine not in ("auto", "blockwise", "compiled"):
        raise ValueError(f"engine must be 'auto', 'blockwise' or 'compiled'; got {engine!r}")
    if engine != "auto":
        return engine
    small = restarts * n * n < _COMPILE_FROM or d > _LARGEST_D
    return "blockwise" if small or _inductor.compiler_missing() else "compiled"


def energy_objective(kernel: Kernel, d: int, engine: Engine) -> Objective:
    """Sum of the kernel over pairs and its gradient."""
    if engine != "compiled":
        return lambda x: _by_tiles(kernel, x)
    body = _inductor.compiled_body(kernel, d, torch.float64, "cpu", True)

    def compiled(x: Tensor) -> tuple[Tensor, Tensor]:
        sums, gradient = body(x)
        return 0.5 * sums.sum(0), gradient

    return compiled


def _by_tiles(kernel: Kernel, x: Tensor) -> tuple[Tensor, Tensor]:
    points = x.permute(2, 1, 0).contiguous().requires_grad_()
    with torch.enable_grad():
        total = pair_reduce(points, kernel=kernel, engine="blockwise")
        (gradient,) = torch.autograd.grad(total.sum(), points)
    return total.detach(), gradient.permute(2, 1, 0).contiguous()
