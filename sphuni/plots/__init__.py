"""Pictures: functions take arrays and return a matplotlib Figure.

Each picture's module is loaded when it is first asked for, and matplotlib when it is drawn. No
function touches `matplotlib.pyplot` or its global state: save with ``figure.savefig(path)``.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphuni.plots.configurations import configuration, neighbour_counts, voronoi_cells
    from sphuni.plots.holes import contact_graph, deepest_holes
    from sphuni.plots.layers import (
        cosine_histogram,
        layer_map,
        layer_panel,
        nearest_angles,
        singular_values,
    )
    from sphuni.plots.null_laws import null_density
    from sphuni.plots.page import interactive, render_interactive
    from sphuni.plots.potentials import potential_map
    from sphuni.plots.quadrature import degree_residuals, quadrature_weights
    from sphuni.plots.samples import circle, mollweide, sphere
    from sphuni.plots.uniformity import power_curves, projected_ecdf, uniformity_report

__all__ = [
    "circle",
    "configuration",
    "contact_graph",
    "cosine_histogram",
    "deepest_holes",
    "degree_residuals",
    "interactive",
    "layer_map",
    "layer_panel",
    "mollweide",
    "nearest_angles",
    "neighbour_counts",
    "null_density",
    "potential_map",
    "power_curves",
    "projected_ecdf",
    "quadrature_weights",
    "render_interactive",
    "singular_values",
    "sphere",
    "uniformity_report",
    "voronoi_cells",
]

_HOMES = {
    "configurations": ("configuration", "neighbour_counts", "voronoi_cells"),
    "holes": ("contact_graph", "deepest_holes"),
    "layers": (
        "cosine_histogram",
        "layer_map",
        "layer_panel",
        "nearest_angles",
        "singular_values",
    ),
    "null_laws": ("null_density",),
    "page": ("interactive", "render_interactive"),
    "potentials": ("potential_map",),
    "quadrature": ("degree_residuals", "quadrature_weights"),
    "samples": ("circle", "mollweide", "sphere"),
    "uniformity": ("power_curves", "projected_ecdf", "uniformity_report"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import the module that draws `name` when it is first asked for."""
    if name in _HOME:
        return getattr(importlib.import_module(f"sphuni.plots.{_HOME[name]}"), name)
    raise AttributeError(f"module 'sphuni.plots' has no attribute {name!r}")
