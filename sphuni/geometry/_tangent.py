"""Rows whose derivatives are those of points that stay on the sphere."""

from torch import Tensor

from sphuni.sphere import unit_rows

__all__ = ["tangent_rows"]


def tangent_rows(points: Tensor) -> Tensor:
    """Return the unit rows as they are, with the derivatives of x / |x|.

    Their own roundings are kept: to divide by the norms would cost close pairs their digits.
    """
    unit = unit_rows(points)
    return unit + (points - unit).detach()
