"""The inward scale layer."""

import math

import torch
from torch import Tensor, nn

from sphuni._arrays import HALF
from sphuni.nn._options import check_number
from sphuni.nn.layers._lengths import soft_length, tamed

__all__ = ["InwardScale"]


class InwardScale(nn.Module):
    r"""Put features on a small sphere.

    .. math:: \mathrm{IS}(x) = \frac{x}{\xi\sqrt{|x|^2 + \epsilon}}

    Parameters
    ----------
    xi : float, default 100
        The paper's value; the radius is 1 / xi.
    dim : int, default -1
        Axis of the features.
    eps : float, default 1e-12
        Added to the squared norm; at least 1e-6 in half precision.

    Raises
    ------
    TypeError
        On integers: the answer would be zero.

    Notes
    -----
    The layer after it must grow by about xi before its logits can separate classes: give its
    weights no weight decay, and expect slow starts with SGD. In short trainings xi = 1 does
    better.

    References
    ----------
    M. K. Janjua, S. Nawaz, A. Calefati, I. Gallo, "Learning inward scaled hypersphere embedding:
    exploring projections in higher dimensions", 2018.

    Examples
    --------
    >>> import torch
    >>> float(InwardScale(4.0)(torch.tensor([[3.0, 4.0]])).norm())
    0.25
    """

    def __init__(self, xi: float = 100.0, *, dim: int = -1, eps: float = 1e-12) -> None:
        super().__init__()
        check_number("xi", xi)
        check_number("eps", eps)
        if not (0 < xi < math.inf and 0 < eps < math.inf):
            raise ValueError(f"xi and eps must be positive; got {xi} and {eps}")
        self.xi, self.dim, self.eps = float(xi), dim, float(eps)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the vectors along `dim` to length 1 / xi."""
        if not x.is_floating_point():
            raise TypeError(f"x must be floating point; got {x.dtype}. Call x.float()")
        dtype = torch.promote_types(x.dtype, torch.float32)
        eps = max(self.eps, 1e-6) if x.dtype in HALF else self.eps
        wide, size = tamed(x.to(dtype), self.dim)
        return (wide / (self.xi * soft_length(wide, size, eps, self.dim))).to(x.dtype)

    def extra_repr(self) -> str:
        """State xi."""
        return f"xi={self.xi:g}"
