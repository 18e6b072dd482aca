"""Functions of the angle between a neuron and its input."""

import math
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from sphuni._numbers import finite, positive
from sphuni.nn._options import check_number

__all__ = ["AngularFunction", "Kind", "angular", "safe_angle", "shared_steepness"]

Kind: TypeAlias = Literal["linear", "cosine", "sigmoid", "learnable-sigmoid"]
_KINDS = ("linear", "cosine", "sigmoid", "learnable-sigmoid")
_LEAST_K = 0.05
_OPTIONS: dict[str, tuple[Any, tuple[str, ...]]] = {  # their defaults, and the kinds they are for
    "k": (None, ("sigmoid", "learnable-sigmoid")),
    "a": (-2 / torch.pi, ("linear",)),
    "b": (1.0, ("linear",)),
    "share": ("filter", ("learnable-sigmoid",)),
}
_START_K = 0.5
_ROUNDING = 4


def safe_angle(cosine: Tensor) -> Tensor:
    """Return arccos in radians; within rounding of +-1 it is 0 or pi with a zero gradient."""
    edge = 1 - _ROUNDING * torch.finfo(cosine.dtype).eps
    inside = cosine.abs() < edge
    angle = torch.acos(torch.where(inside, cosine, 0.0))
    ends = torch.pi * (cosine < 0).to(cosine.dtype)
    return torch.where(inside, angle, ends)


def angular(
    theta: Tensor,
    kind: str,
    *,
    k: float | Tensor = 0.3,
    a: float | Tensor = -2 / torch.pi,
    b: float | Tensor = 1.0,
) -> Tensor:
    r"""Evaluate a SphereNet function of the angle; each falls from 1 at 0 to -1 at pi.

    Parameters
    ----------
    theta : Tensor
        Angles in radians.
    kind : {"linear", "cosine", "sigmoid"}
        a theta + b; cos theta; tanh((pi/2 - theta) / (2k)) / tanh(pi / (4k)), which equals the
        quotient of exponentials of the paper and does not overflow.
    k : float or Tensor, default 0.3
        Steepness of "sigmoid", above zero; k -> 0 is a step, k -> inf "linear", 0.5 close to
        "cosine".
    a, b : float or Tensor
        Slope and offset of "linear", -2/pi and 1 by default.

    Returns
    -------
    Tensor
        Shape of `theta`.

    References
    ----------
    W. Liu et al., "Deep hyperspherical learning", NeurIPS 2017. arXiv:1711.03189.

    Examples
    --------
    >>> import torch
    >>> [round(float(angular(torch.tensor(0.0), kind)), 6) for kind in ("linear", "sigmoid")]
    [1.0, 1.0]
    """
    if kind == "linear":
        return a * theta + b
    if kind == "cosine":
        return torch.cos(theta)
    if kind != "sigmoid":
        raise ValueError(f"kind must be 'linear', 'cosine' or 'sigmoid'; got {kind!r}")
    k = k if isinstance(k, Tensor) else positive("k", k)
    steepness = torch.as_tensor(k, dtype=theta.dtype, device=theta.device)
    top = torch.tanh((0.5 * torch.pi - theta) / (2 * steepness))
    return top / torch.tanh(torch.pi / (4 * steepness))


def shared_steepness(
    k: float | None = None, *, device: torch.device | str | None = None
) -> nn.Parameter:
    """Return a learnable steepness for `share=` of several layers: one k for a network.

    Parameters
    ----------
    k : float, default 0.5
        Where it starts, above 0.05: its parameter starts 0.05 lower, and is stuck at zero.
    device : optional

    Examples
    --------
    >>> k = shared_steepness(0.4)
    >>> layers = [AngularFunction("learnable-sigmoid", n, share=k) for n in (8, 16)]
    >>> layers[0].k is layers[1].k
    True
    """
    return _steepness(1, _START_K if k is None else k, device)


def _steepness(count: int, start: float, device: torch.device | str | None) -> nn.Parameter:
    check_number("k", start)
    if not _LEAST_K < start < math.inf:
        raise ValueError(
            f"k must be above {_LEAST_K} where it is learned, or it has no gradient; got {start}"
        )
    return nn.Parameter(torch.full((count,), start - _LEAST_K, device=device))


def _refuse_unused(kind: str, **options: Any) -> None:
    """Refuse options that `kind` would ignore."""
    for name, value in options.items():
        default, kinds = _OPTIONS[name]
        if kind not in kinds and (isinstance(value, Tensor) or value != default):
            raise ValueError(
                f"{name} is for kind={' or '.join(map(repr, kinds))}, not for {kind!r}, which has "
                f"none; got {value!r}. Leave it out"
            )


class AngularFunction(nn.Module):
    """`angular` as a module that takes cosines of shape (batch, filters, ...).

    Parameters
    ----------
    kind : {"linear", "cosine", "sigmoid", "learnable-sigmoid"}
    filters : int
        Size of axis 1.
    k : float, optional
        Of the sigmoids, default 0.3; "learnable-sigmoid" starts there, by default at 0.5 and above
        0.05, as it uses the size of a parameter plus 0.05, which has no gradient at zero.
    a, b : float
        Slope and offset of "linear".
    share : {"filter", "layer"} or nn.Parameter, default "filter"
        How many learnable k: one per filter, one, or a parameter of shape (1,) that several
        layers share.
    axis : int, default 1
        Axis of the filters.

    Raises
    ------
    ValueError
        If the kind is unknown, or is given an option of another kind.
    """

    k: nn.Parameter

    def __init__(
        self,
        kind: Kind,
        filters: int,
        *,
        k: float | None = None,
        a: float = -2 / torch.pi,
        b: float = 1.0,
        share: Literal["filter", "layer"] | nn.Parameter = "filter",
        axis: int = 1,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if kind not in _KINDS:
            raise ValueError(f"kind must be one of {', '.join(map(repr, _KINDS))}; got {kind!r}")
        _refuse_unused(kind, k=k, a=a, b=b, share=share)
        default = _START_K if kind == "learnable-sigmoid" else 0.3
        start = default if k is None else positive("k", k)
        self.kind, self.fixed_k, self.axis = kind, start, axis
        self.a, self.b = finite("a", a), finite("b", b)
        if kind != "learnable-sigmoid":
            return
        if isinstance(share, nn.Parameter):
            self.k = share
        elif share not in ("filter", "layer"):
            raise ValueError(
                f"share must be 'filter', 'layer' or the parameter to be shared; got {share!r}"
            )
        else:
            self.k = _steepness(filters if share == "filter" else 1, start, device)

    def materialise(self, device: torch.device) -> None:
        """Give a learnable k that was made on the meta device its values."""
        if "k" in self._parameters and self.k.is_meta:
            self.k = _steepness(self.k.numel(), self.fixed_k, device)

    def forward(self, cosine: Tensor) -> Tensor:
        """Apply the function to cosines."""
        if self.kind == "cosine":
            return cosine
        theta = safe_angle(cosine)
        if self.kind != "learnable-sigmoid":
            return angular(theta, self.kind, k=self.fixed_k, a=self.a, b=self.b)
        steepness = self.k.abs().to(cosine.dtype) + _LEAST_K
        shape = [1] * cosine.ndim
        shape[self.axis] = -1
        return angular(theta, "sigmoid", k=steepness.reshape(shape))

    def extra_repr(self) -> str:
        """Name the function."""
        return f"{self.kind!r}" + (f", k={self.fixed_k:g}" if "sigmoid" in self.kind else "")
