"""Pictures: functions take arrays and return a matplotlib Figure.

matplotlib is loaded when the first picture is drawn. No function touches `matplotlib.pyplot` or its
global state: save with ``figure.savefig(path)``.
"""

from sphuni.plots.configurations import configuration, neighbour_counts
from sphuni.plots.layers import (
    cosine_histogram,
    layer_map,
    layer_panel,
    nearest_angles,
    singular_values,
)

__all__ = [
    "configuration",
    "cosine_histogram",
    "layer_map",
    "layer_panel",
    "nearest_angles",
    "neighbour_counts",
    "singular_values",
]
