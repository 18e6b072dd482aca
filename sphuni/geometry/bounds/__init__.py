"""What no configuration can beat: certified bounds for every measure of uniformity."""

from sphuni.geometry.bounds._result import BoundResult, LowerBound, UpperBound
from sphuni.geometry.bounds.covering import covering_bound
from sphuni.geometry.bounds.discrepancy import discrepancy_bound
from sphuni.geometry.bounds.energy import energy_bound
from sphuni.geometry.bounds.logdet import logdet_bound
from sphuni.geometry.bounds.polarization import polarization_bound
from sphuni.geometry.bounds.separation import separation_bound

__all__ = [
    "BoundResult",
    "LowerBound",
    "UpperBound",
    "covering_bound",
    "discrepancy_bound",
    "energy_bound",
    "logdet_bound",
    "polarization_bound",
    "separation_bound",
]
