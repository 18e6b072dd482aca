"""The classical Sobolev tests: Rayleigh, Bingham, Giné."""

import dataclasses
import math
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni.special import harmonic_dimension
from sphuni.stats._base import Term
from sphuni.stats._kernels import OneMinusSine
from sphuni.stats.sobolev import SobolevTest

__all__ = ["Bingham", "GineGn", "Rayleigh"]

_FLOAT = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Rayleigh(SobolevTest):
    r"""Rayleigh's test, :math:`S = n d |\bar x|^2`: the first harmonic alone.

    References
    ----------
    K. V. Mardia, P. E. Jupp, "Directional Statistics", Wiley, 1999, section 10.4,
    doi:10.1002/9780470316979.
    """

    name: ClassVar[str] = "rayleigh"
    detects: ClassVar[str] = "a common direction"
    reference: ClassVar[str] = "Mardia & Jupp 1999, doi:10.1002/9780470316979"
    least_n: ClassVar[int] = 1

    def statistic(self, points: Tensor, d: int, sums: tuple[Tensor, ...]) -> Tensor:
        """n d |mean|^2."""
        wide = points if points.dtype == torch.float64 else points.float()
        return self.from_resultant(torch.linalg.vector_norm(wide.sum(-2), dim=-1), points, d)

    def from_resultant(self, length: Tensor, points: Tensor, d: int) -> Tensor:
        """The statistic from the length of the sum of the points."""
        return d * length.square() / points.shape[-2]

    def terms(self, d: int) -> tuple[Term, ...]:
        """None: the resultant needs no pairs."""
        return ()
