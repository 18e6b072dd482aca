"""Local minima of pair energies from many starts, by the loops that an engine offers."""

from torch import Tensor

from sphuni._errors import EngineError
from sphuni.configurations.descent import _native
from sphuni.configurations.descent.minimize import Minima, Objective, minimize
from sphuni.kernels import Kernel, Riesz
from sphuni.pairwise import (
    LARGEST_D,
    Engine,
    compiled_kind,
    compiled_planes,
    compiler_missing,
    sum_and_gradient,
)

__all__ = ["choose_engine", "energy_objective", "minimize_energy"]

_COMPILE_FROM = 150_000


def choose_engine(engine: Engine, n: int, d: int, restarts: int) -> Engine:
    """Return "compiled" where compiling repays itself and a compiler exists, else "blockwise".

    The choice depends on the sizes alone, so that a run can be repeated.
    """
    if engine not in ("auto", "blockwise", "compiled"):
        raise ValueError(f"engine must be 'auto', 'blockwise' or 'compiled'; got {engine!r}")
    if engine == "compiled" and d <= LARGEST_D and compiled_kind(Riesz(1.0), d) is None:
        raise EngineError(f"nothing can be compiled here: {compiler_missing()}; use engine='auto'")
    if engine != "auto":
        return engine
    small = restarts * n * n < _COMPILE_FROM or d > LARGEST_D
    return "blockwise" if small or compiled_kind(Riesz(1.0), d) is None else "compiled"


def minimize_energy(
    kernel: Kernel,
    starts: Tensor,
    engine: Engine,
    *,
    tolerance: float,
    largest_step: float,
    max_iterations: int = 20_000,
    deadline: float = float("inf"),
) -> Minima:
    """Minimise the sum of a kernel over pairs from starts (b, n, d); see `minimize`."""
    d = starts.shape[-1]
    kind = compiled_kind(kernel, d) if engine == "compiled" else None
    if kind == "native":
        return _native.minimize_native(
            kernel,
            starts,
            tolerance=tolerance,
            largest_step=largest_step,
            max_iterations=max_iterations,
            deadline=deadline,
        )
    return minimize(
        energy_objective(kernel, d, engine),
        starts,
        tolerance=tolerance,
        largest_step=largest_step,
        max_iterations=max_iterations,
        deadline=deadline,
        compiled=kind is not None,
    )


def energy_objective(kernel: Kernel, d: int, engine: Engine) -> Objective:
    """Sum of the kernel over pairs and its gradient, on planes (d, n, b)."""
    if engine == "compiled" and compiled_kind(kernel, d) is not None:
        return compiled_planes(kernel, d)

    def by_tiles(x: Tensor) -> tuple[Tensor, Tensor]:
        points = x.permute(2, 1, 0).contiguous()
        total, gradient = sum_and_gradient(points, kernel=kernel, engine="blockwise")
        return total, gradient.permute(2, 1, 0).contiguous()

    return by_tiles
