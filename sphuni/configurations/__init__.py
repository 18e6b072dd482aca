"""Exact configurations by name, the records of the optimal-configuration problems, and a solver."""

import importlib
from typing import TYPE_CHECKING, Any

from sphuni.configurations.codes.constructions import (
    Construction,
    available_constructions,
    construct,
    construction_info,
    fibonacci_sphere,
)
from sphuni.configurations.records import MissingRecordError, Record, record, records

if TYPE_CHECKING:
    from sphuni.configurations.certificate import Certificate
    from sphuni.configurations.export import save_points
    from sphuni.configurations.solver import OptimizeResult, Progress, optimize
    from sphuni.configurations.symmetry import PointGroup, point_group, symmetry_order

__all__ = [
    "Certificate",
    "Construction",
    "MissingRecordError",
    "OptimizeResult",
    "PointGroup",
    "Progress",
    "Record",
    "available_constructions",
    "construct",
    "construction_info",
    "fibonacci_sphere",
    "optimize",
    "point_group",
    "record",
    "records",
    "save_points",
    "symmetry_order",
]

_SOLVER = {
    "save_points": "export",
    "Certificate": "certificate",
    "OptimizeResult": "solver",
    "PointGroup": "symmetry",
    "Progress": "solver",
    "optimize": "solver",
    "point_group": "symmetry",
    "symmetry_order": "symmetry",
}
"""Loaded on first use: the tables and the exact codes need no torch."""


def __getattr__(name: str) -> Any:
    """Import the module that holds `name` when it is first asked for."""
    if name in _SOLVER:
        return getattr(importlib.import_module(f"sphuni.configurations.{_SOLVER[name]}"), name)
    raise AttributeError(f"module 'sphuni.configurations' has no attribute {name!r}")
