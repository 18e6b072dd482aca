"""Exact configurations by name, and the records of the optimal-configuration problems."""

from sphuni.configurations.constructions import (
    Construction,
    available_constructions,
    construct,
    construction_info,
    fibonacci_sphere,
)
from sphuni.configurations.records import MissingRecordError, Record, record, records

__all__ = [
    "Construction",
    "MissingRecordError",
    "Record",
    "available_constructions",
    "construct",
    "construction_info",
    "fibonacci_sphere",
    "record",
    "records",
]
