"""What a convolution of a network is made of: operator, normalisation, activation."""

import dataclasses
from typing import Any

from torch import nn

from sphuni.nn import SphereConv2d, SphereLinear, SphereNorm

__all__ = ["Style", "initialise", "scaled", "tie_k"]

_ALLOWED = {
    "operator": ("conv", "linear", "cosine", "sigmoid", "learnable-sigmoid", "sphere-norm"),
    "share": ("filter", "layer", "network"),
    "norm": ("batch", "none"),
    "activation": ("relu", "none"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Style:
    """How the layers of one network compute.

    Attributes
    ----------
    operator : {"conv", "linear", "cosine", "sigmoid", "learnable-sigmoid", "sphere-norm"}
        The inner product, a SphereConv by its function of the angle, or the cosine followed by a
        learned scale and offset.
    k : float, optional
        Of the sigmoids.
    share : {"filter", "layer", "network"}
        How many k "learnable-sigmoid" has.
    norm : {"batch", "none"}
    activation : {"relu", "none"}
    """

    operator: str = "conv"
    k: float | None = None
    share: str = "filter"
    norm: str = "batch"
    activation: str = "relu"

    def __post_init__(self) -> None:
        for field, allowed in _ALLOWED.items():
            if getattr(self, field) not in allowed:
                listed = ", ".join(map(repr, allowed))
                raise ValueError(f"{field} must be one of {listed}; got {getattr(self, field)!r}")

    def convolution(
        self, channels: int, filters: int, size: int, *, stride: int = 1, padding: int | None = None
    ) -> nn.Module:
        """Return a convolution without bias that keeps the image size at stride 1."""
        pad = size // 2 if padding is None else padding
        shape = (channels, filters, size)
        if self.operator == "conv":
            return nn.Conv2d(*shape, stride=stride, padding=pad, bias=False)
        if self.operator == "sphere-norm":
            return SphereNorm(*shape, stride=stride, padding=pad, rescale="learned")
        return SphereConv2d(*shape, stride=stride, padding=pad, **self._angular())

    def linear(self, features: int, neurons: int) -> nn.Module:
        """Return a hidden linear layer of the same kind, without bias."""
        if self.operator == "conv":
            return nn.Linear(features, neurons, bias=False)
        if self.operator == "sphere-norm":
            return SphereLinear(features, neurons, kind="cosine")
        return SphereLinear(features, neurons, **self._angular())

    def normalise(self, filters: int) -> list[nn.Module]:
        """Return batch normalisation, where it is wanted."""
        return [nn.BatchNorm2d(filters)] if self.norm == "batch" else []

    def activate(self) -> list[nn.Module]:
        """Return the activation, where it is wanted."""
        return [nn.ReLU(inplace=True)] if self.activation == "relu" else []

    def unit(self, channels: int, filters: int, size: int = 3, *, stride: int = 1) -> nn.Sequential:
        """Return convolution, normalisation and activation."""
        convolution = self.convolution(channels, filters, size, stride=stride)
        return nn.Sequential(convolution, *self.normalise(filters), *self.activate())

    def _angular(self) -> dict[str, Any]:
        if self.share == "network" and self.operator == "learnable-sigmoid":
            raise ValueError("share = 'network' is offered by the plain networks only")
        return {"kind": self.operator, "k": self.k, "share": self.share}


def tie_k(model: nn.Module) -> None:
    """Let all learnable k of a network be one parameter."""
    shared: nn.Parameter | None = None
    for module in model.modules():
        k = module._parameters.get("k")
        if k is None:
            continue
        shared = nn.Parameter(k.detach().mean().reshape(1)) if shared is None else shared
        module.k = shared


def scaled(channels: int, width: float) -> int:
    """Return a number of channels times the width multiplier, at least 1."""
    if width <= 0:
        raise ValueError(f"width must be positive; got {width}")
    return max(1, round(channels * width))


def initialise(model: nn.Module) -> None:
    """Draw the weights of convolutions and linear layers as He et al. do; biases are zero."""
    for module in model.modules():
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
