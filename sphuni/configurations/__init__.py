"""Exact configurations by name, and the records of the optimal-configuration problems."""

from sphuni.configurations.constructions import (
    Construction,
    available_constructions,
    construct,
    construction_info,
    fibonacci_sphere,
)

__all__ = [
    "Construction",
    "available_constructions",
    "construct",
    "construction_info",
    "fibonacci_sphere",
]
