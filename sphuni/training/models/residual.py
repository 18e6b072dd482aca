"""Residual networks of SphereNet: ResNet-18 and ResNet-32, plain and on spheres."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from sphuni.training.models.blocks import Style, initialise, scaled

__all__ = ["ResidualNetwork", "residual"]


class _Unit(nn.Module):
    """Two convolutions beside a shortcut, which is a 1 x 1 convolution where shapes differ."""

    def __init__(
        self, channels: int, filters: int, *, stride: int, style: Style, shortcut: Style
    ) -> None:
        super().__init__()
        self.first = style.unit(channels, filters, stride=stride)
        second = style.convolution(filters, filters, 3)
        self.second = nn.Sequential(second, *style.normalise(filters))
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != filters:
            self.shortcut = shortcut.convolution(channels, filters, 1, stride=stride)
        self.activation = nn.Sequential(*style.activate())

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.second(self.first(x)) + self.shortcut(x))


class ResidualNetwork(nn.Module):
    """A stem, stages of residual units, average pooling, a classifier.

    Parameters
    ----------
    inputs : (channels, height, width)
    classes : int
    channels : sequence of int
        Filters of each stage; every stage but the first halves the image.
    units : int
        Residual units per stage.
    stem : {"cifar", "imagenet"}
        One 3 x 3 convolution, or 7 x 7 with stride 2 and max pooling.
    style, shortcut : Style
        Of the units and of their 1 x 1 convolutions.
    """

    def __init__(
        self,
        inputs: Sequence[int],
        classes: int,
        *,
        channels: Sequence[int],
        units: int,
        stem: str,
        style: Style,
        shortcut: Style,
    ) -> None:
        super().__init__()
        self.stem = _stem(inputs[0], channels[0], stem, style)
        self.stages = nn.ModuleList()
        before = channels[0]
        for number, filters in enumerate(channels):
            strides = [2 if number and i == 0 else 1 for i in range(units)]
            self.stages.append(
                nn.Sequential(
                    *(
                        _Unit(
                            before if i == 0 else filters,
                            filters,
                            stride=stride,
                            style=style,
                            shortcut=shortcut,
                        )
                        for i, stride in enumerate(strides)
                    )
                )
            )
            before = filters
        self.classifier = nn.Linear(before, classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.classifier(x.mean(dim=(2, 3)))


def residual(
    inputs: Sequence[int],
    classes: int,
    width: float = 1.0,
    *,
    channels: Sequence[int] = (64, 96, 128),
    units: int = 5,
    stem: str = "cifar",
    sphere_shortcuts: bool = False,
    **style: Any,
) -> ResidualNetwork:
    """Build a residual network.

    Parameters
    ----------
    inputs : (channels, height, width)
    classes : int
    width : float
        Multiplies the filters.
    channels, units, stem
        Of the stages: 3 x 5 units for ResNet-32, 4 x 2 for ResNet-18.
    sphere_shortcuts : bool, default False
        The 1 x 1 convolutions of shortcuts use the same operator (v1) or are plain (v2).
    **style
        Of `Style`.

    References
    ----------
    W. Liu et al., "Deep hyperspherical learning", NeurIPS 2017, Table 6 and section 4.6.
    """
    chosen = Style(**style)
    return ResidualNetwork(
        inputs,
        classes,
        channels=[scaled(filters, width) for filters in channels],
        units=units,
        stem=stem,
        style=chosen,
        shortcut=chosen if sphere_shortcuts else Style(),
    )


def _stem(channels: int, filters: int, kind: str, style: Style) -> nn.Module:
    if kind == "cifar":
        return style.unit(channels, filters)
    if kind != "imagenet":
        raise ValueError(f"stem must be 'cifar' or 'imagenet'; got {kind!r}")
    return nn.Sequential(
        style.unit(channels, filters, 7, stride=2), nn.MaxPool2d(3, stride=2, padding=1)
    )
