"""sphuni: the geometry and statistics of uniformity on the hypersphere.

Names are loaded on first use, so `import sphuni` is fast and loads neither torch nor matplotlib.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_ROOMS = (
    "analysis",
    "configurations",
    "distributions",
    "geometry",
    "kernels",
    "nn",
    "pairwise",
    "plots",
    "special",
    "sphere",
    "stats",
    "training",
)
_NAMES = {
    "_budget": ("limit_memory",),
    "_errors": (
        "BudgetError",
        "ConvergenceError",
        "EngineError",
        "NotPositiveDefiniteError",
        "NumericalWarning",
        "PerformanceWarning",
        "RefusedFileError",
        "SphuniError",
        "UnreadableFileError",
        "WorkerError",
    ),
    "sphere": ("chordal_distance", "geodesic_distance", "normalize"),
    "distributions": ("random_points",),
    "kernels": ("Dirichlet", "Gaussian", "GegenbauerSeries", "Laplace", "Poisson", "Riesz"),
    "geometry": (
        "cap_discrepancy",
        "covering_bound",
        "covering_radius",
        "design_residual",
        "discrepancy_bound",
        "energy_bound",
        "frame_potential",
        "gram_logdet",
        "kernel_energy",
        "logdet_bound",
        "mesh_ratio",
        "polarization",
        "polarization_bound",
        "potential",
        "riesz_energy",
        "sampled_energy",
        "separation",
        "separation_bound",
        "worst_case_error",
    ),
}
_HOME = {name: room for room, names in _NAMES.items() for name in names}

__all__ = ["__version__", *_ROOMS, *_HOME]


def __getattr__(name: str) -> Any:
    """Import the room that holds `name` when it is first asked for, and keep what it gave."""
    if name in _HOME:
        value = getattr(importlib.import_module(f"sphuni.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return importlib.import_module(f"sphuni.{name}")
    raise AttributeError(f"module 'sphuni' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
