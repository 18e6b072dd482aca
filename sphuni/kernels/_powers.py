"""Powers of positive numbers without the slow general power."""

import torch
from torch import Tensor

__all__ = ["power"]

_MOST_DOUBLED = 16


def power(base: Tensor, exponent: float) -> Tensor:
    """Return `base ** exponent` for positive `base`; by products where it is short in halves."""
    doubled = 2 * exponent
    if doubled != int(doubled) or abs(doubled) > _MOST_DOUBLED:
        return torch.exp(exponent * torch.log(base))
    count = int(abs(doubled))
    whole, half = count // 2, count % 2
    if exponent >= 0:
        root = torch.sqrt(base) if half else None
        factor = base
    else:
        root = torch.rsqrt(base) if half else None
        factor = torch.reciprocal(base) if whole else base
    product = _integer_power(factor, whole)
    if root is None:
        return product if product is not None else torch.ones_like(base)
    return root if product is None else root * product


def _integer_power(factor: Tensor, exponent: int) -> Tensor | None:
    """Binary powering; None stands for the empty product."""
    product: Tensor | None = None
    while exponent:
        if exponent & 1:
            product = factor if product is None else product * factor
        exponent >>= 1
        if exponent:
            factor = factor * factor
    return product
