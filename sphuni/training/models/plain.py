"""Plain convolutional networks: CNN-3 to CNN-69, their sphere forms, and a small one."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from sphuni.training.models.blocks import Style, initialise, scaled, tie_k

__all__ = ["PlainNetwork", "plain", "small"]

_POOLS = 3


class PlainNetwork(nn.Module):
    """Stacks of equal convolutions with max pooling after each, a linear layer, a classifier.

    Parameters
    ----------
    inputs : (channels, height, width)
    classes : int
    stages : sequence of (filters, repeats)
    neurons : int
        Of the linear layer; its answers are the features.
    style : Style
    bias : bool
        Of the classifier.
    """

    def __init__(
        self,
        inputs: Sequence[int],
        classes: int,
        *,
        stages: Sequence[tuple[int, int]],
        neurons: int,
        style: Style,
        bias: bool = False,
    ) -> None:
        super().__init__()
        channels, height, width = inputs
        self.stages = nn.ModuleList()
        for filters, repeats in stages:
            units = [style.unit(channels if i == 0 else filters, filters) for i in range(repeats)]
            self.stages.append(nn.Sequential(*units, nn.MaxPool2d(2)))
            channels, height, width = filters, height // 2, width // 2
        if min(height, width) < 1:
            least = 2 ** len(stages)
            raise ValueError(f"inputs must be images of at least {least} x {least}; got {inputs}")
        self.fc = style.linear(channels * height * width, neurons)
        self.classifier = nn.Linear(neurons, classes, bias=bias)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        for stage in self.stages:
            x = stage(x)
        return self.classifier(self.fc(x.flatten(1)))


def plain(
    inputs: Sequence[int],
    classes: int,
    width: float = 1.0,
    *,
    depth: int = 9,
    channels: Sequence[int] = (64, 96, 128),
    neurons: int = 256,
    **style: Any,
) -> PlainNetwork:
    """Build CNN-`depth` of SphereNet (64/96/128) or of MHE and CoMHE (64/128/256).

    Parameters
    ----------
    inputs : (channels, height, width)
    classes : int
    width : float
        Multiplies filters and neurons.
    depth : int
        Convolutions, a multiple of three.
    channels, neurons : of the three stages, and of the linear layer
    **style
        Of `Style`.

    References
    ----------
    W. Liu et al., "Deep hyperspherical learning", NeurIPS 2017, Table 5.
    W. Liu et al., "Learning towards minimum hyperspherical energy", NeurIPS 2018.
    R. Lin et al., "Regularizing neural networks via minimizing hyperspherical energy", CVPR 2020.
    """
    if depth < _POOLS or depth % _POOLS:
        raise ValueError(f"depth must be a positive multiple of {_POOLS}; got {depth}")
    if len(channels) != _POOLS:
        raise ValueError(f"channels must be {_POOLS} numbers; got {list(channels)}")
    chosen = Style(**style)
    network_wide = chosen.share == "network"
    model = PlainNetwork(
        inputs,
        classes,
        stages=[(scaled(filters, width), depth // _POOLS) for filters in channels],
        neurons=scaled(neurons, width),
        style=dataclasses.replace(chosen, share="layer") if network_wide else chosen,
    )
    if network_wide:
        tie_k(model)
    return model


def small(inputs: Sequence[int], classes: int, width: float = 1.0, **style: Any) -> PlainNetwork:
    """Build the network for 8 x 8 digits: 32-64-64 filters, 64 neurons, a classifier with bias."""
    return PlainNetwork(
        inputs,
        classes,
        stages=[(scaled(filters, width), 1) for filters in (32, 64, 64)],
        neurons=scaled(64, width),
        style=Style(**style),
        bias=True,
    )
