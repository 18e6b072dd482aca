"""Checks of options that are compared with their bounds, also in compiled graphs."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sphuni._numbers import finite

__all__ = ["check_at_least_one", "check_number", "factor_of"]


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


def check_at_least_one(name: str, number: Any) -> None:
    """Refuse what is no number, below one or not finite."""
    check_number(name, number)
    if not 1 <= number < math.inf:
        raise ValueError(f"{name} must be {'finite' if number > 1 else 'at least 1'}; got {number}")


def factor_of(name: str, value: Any) -> float:
    """A factor as a number of Python, of which truth values are 0 and 1."""
    if not isinstance(value, bool | np.bool_):
        check_number(name, value)
    return float(value)
