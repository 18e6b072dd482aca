"""The margin function psi, and the annealing that makes it trainable."""

import math

import torch
from torch import Tensor

from sphuni._numbers import finite
from sphuni.nn._options import check_at_least_one
from sphuni.nn.layers.angular import angular

__all__ = ["LambdaAnneal", "check_g", "psi"]

_G = ("cosine", "linear", "sigmoid")


def check_g(g: str) -> None:
    """Refuse unknown functions of the angle."""
    if g not in _G:
        raise ValueError(f"g must be one of {', '.join(map(repr, _G))}; got {g!r}")


def psi(theta: Tensor, m: float, *, g: str = "cosine", k: float = 0.3) -> Tensor:
    r"""Continue g(m theta) monotonically over [0, pi].

    .. math:: \psi(\theta) = g(m\theta - j\pi) - 2j,\quad
              j = \min(\lfloor m\theta/\pi\rfloor, \lceil m\rceil - 1)

    Parameters
    ----------
    theta : Tensor
        Angles in [0, pi].
    m : float
        Margin, at least 1, not necessarily an integer.
    g : {"cosine", "linear", "sigmoid"}, default "cosine"
        "cosine" is the function of A-Softmax, (-1)^j cos(m theta) - 2j; "linear" is
        1 - 2 m theta / pi.
    k : float, default 0.3
        Steepness of "sigmoid", positive.

    Returns
    -------
    Tensor
        From 1 at 0 downwards; continuous and decreasing.

    References
    ----------
    W. Liu et al., "SphereFace: deep hypersphere embedding for face recognition", CVPR 2017.
    arXiv:1704.08063.
    W. Liu et al., "Deep hyperspherical learning", NeurIPS 2017. arXiv:1711.03189.

    Examples
    --------
    >>> import torch
    >>> float(psi(torch.tensor(torch.pi), 4.0))
    -7.0
    """
    check_g(g)
    check_at_least_one("m", m)
    angle = m * theta
    j = torch.floor(angle.detach() / math.pi).clamp(0, math.ceil(m) - 1)
    return angular(angle - math.pi * j, g, k=k) - 2 * j


class LambdaAnneal:
    r"""The schedule max(minimum, base (1 + gamma t)^-power) of SphereFace.

    With it the target logit is (lambda g + psi) / (1 + lambda): at first the plain loss, in the
    end mostly the margin.

    Parameters
    ----------
    base, gamma, power, minimum : float
        Defaults 1000, 0.12, 1 and 5, those of SphereFace.

    Examples
    --------
    >>> LambdaAnneal(1000, 0.12, 1, 5)(0)
    1000.0
    """

    def __init__(
        self, base: float = 1000.0, gamma: float = 0.12, power: float = 1.0, minimum: float = 5.0
    ) -> None:
        self.base, self.gamma = finite("base", base), finite("gamma", gamma)
        self.power, self.minimum = finite("power", power), finite("minimum", minimum)
        if base < 0 or gamma < 0 or minimum < 0:
            raise ValueError(
                f"base, gamma and minimum must not be negative; got {base}, {gamma}, {minimum}"
            )

    def __call__(self, step: int) -> float:
        """Return lambda at iteration `step`."""
        return float(max(self.minimum, self.base * (1 + self.gamma * step) ** -self.power))

    def __repr__(self) -> str:
        return f"LambdaAnneal({self.base:g}, {self.gamma:g}, {self.power:g}, {self.minimum:g})"
