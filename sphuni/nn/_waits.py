"""Numbers that come from a GPU and go to it, with as little waiting as can be.

A look at a number waits until all that was asked of the GPU is done. What is computed in the usual
way holds if some numbers are within bounds: computing first and looking later lets many such
computations share one look.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Range", "beside", "hold"]

Range = tuple[Tensor, float, float]
"""Numbers (m,), and the least and the greatest that each of them may be."""


def hold(computed: Sequence[Sequence[Range]]) -> list[list[bool]]:
    """Which of several computations hold, by one look for a device.

    Each has ranges of m numbers, and comes in m parts that hold or do not.
    """
    asked: dict[torch.device, list[Tensor]] = {}
    for numbers, _, _ in (one for ranges in computed for one in ranges):
        asked.setdefault(numbers.device, []).append(numbers)
    found = {device: iter(torch.cat(numbers).tolist()) for device, numbers in asked.items()}

    def within(one: Range) -> list[bool]:
        numbers, least, most = one
        return [least <= next(found[numbers.device]) <= most for _ in range(len(numbers))]

    return [[all(each) for each in zip(*map(within, ranges), strict=True)] for ranges in computed]


def beside(numbers: Sequence[Any], other: Tensor) -> Tensor:
    """Numbers in the type of a tensor and where it is, sent without waiting for their arrival."""
    here = torch.tensor(numbers, dtype=other.dtype, device="cpu")
    return here.to(other.device, non_blocking=True)
