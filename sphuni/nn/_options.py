"""A check of options that are compared with their bounds, also in compiled graphs."""

from typing import Any

import torch
from torch import Tensor

from sphuni._numbers import finite

__all__ = ["check_number"]


def check_number(name: str, value: Any) -> None:
    """Refuse what is no single number, of which comparisons would not name the option.

    Numbers out of bounds, and tensors of one number, which may have a gradient, are let pass.
    """
    if torch.compiler.is_compiling():  # whose numbers may be symbols
        return
    if isinstance(value, Tensor) and value.numel() == 1 and value.is_floating_point():
        return
    try:
        finite(name, value)
    except ValueError:
        return
