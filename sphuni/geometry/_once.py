"""Derivatives at a worst place that stays where it is: true of first ones, not of further ones."""

from typing import Any

import torch
from torch import Tensor

from sphuni.pairwise import last

__all__ = ["first_only"]

_WHY = (
    "the worst place moves with the points: polarizations, and covering radii that are not a "
    "facet's, have first derivatives only"
)


def first_only(points: Tensor) -> Tensor:
    """The same points, through which there are first derivatives but no second ones."""
    held: Tensor = _FirstOnly.apply(points)
    return held


class _FirstOnly(torch.autograd.Function):
    @staticmethod
    def forward(points: Tensor) -> Tensor:
        return points.view_as(points)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Keep nothing."""

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        return last(upstream[0], _WHY)
