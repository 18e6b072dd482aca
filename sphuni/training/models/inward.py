"""SimpleNet, LeNet and the inward scale layer that may stand before their classifier."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from sphuni.nn import InwardScale
from sphuni.training.models.blocks import initialise, scaled

__all__ = ["LeNet", "SimpleNet", "inward_scale", "lenet", "simple"]


class _Shrink(nn.Module):
    """Division by xi without normalisation: a control of the inward scale layer."""

    def __init__(self, xi: float) -> None:
        super().__init__()
        self.xi = xi

    def forward(self, x: Tensor) -> Tensor:
        return x / self.xi


def inward_scale(xi: float, *, normalize: bool = True) -> nn.Module:
    """Return the inward scale layer; xi = 0 is none, `normalize=False` divides by xi only."""
    if xi == 0:
        return nn.Identity()
    return InwardScale(xi) if normalize else _Shrink(xi)


class SimpleNet(nn.Module):
    """Three blocks of two convolutions and max pooling, the layer, PReLU, a classifier.

    Parameters
    ----------
    inputs : (channels, height, width)
    classes : int
    channels : sequence of int
    scale : nn.Module
        See `inward_scale`.
    place : {"features", "logits"}
        Before PReLU and classifier, or after the classifier ("without FC").
    """

    def __init__(
        self,
        inputs: Sequence[int],
        classes: int,
        *,
        channels: Sequence[int],
        scale: nn.Module,
        place: str,
    ) -> None:
        super().__init__()
        before, height, width = inputs
        blocks: list[nn.Module] = []
        for filters in channels:
            blocks.append(nn.Conv2d(before, filters, 3, padding=1))
            blocks.append(nn.Conv2d(filters, filters, 3, padding=1))
            blocks.append(nn.MaxPool2d(2))
            before, height, width = filters, height // 2, width // 2
        if min(height, width) < 1:
            raise ValueError(f"inputs must be images of at least 8 x 8; got {tuple(inputs)}")
        self.blocks = nn.Sequential(*blocks)
        self.scale, self.place = scale, _checked(place)
        self.activation = nn.PReLU()
        self.classifier = nn.Linear(before * height * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        x = self.blocks(x).flatten(1)
        return _answer(self, x)


class LeNet(nn.Module):
    """LeNet-5 with ReLU and max pooling, and the layer before its last linear layer.

    Parameters
    ----------
    inputs, classes, scale, place
        As in `SimpleNet`.
    channels : sequence of int
        Of two convolutions and two linear layers.
    """

    def __init__(
        self,
        inputs: Sequence[int],
        classes: int,
        *,
        channels: Sequence[int],
        scale: nn.Module,
        place: str,
    ) -> None:
        super().__init__()
        first, second, wide, narrow = channels
        padding = 2 if min(inputs[1:]) < 32 else 0
        height, width = (((size + 2 * padding - 4) // 2 - 4) // 2 for size in inputs[1:])
        if min(height, width) < 1:
            raise ValueError(f"inputs must be images of at least 12 x 12; got {tuple(inputs)}")
        self.blocks = nn.Sequential(
            nn.Conv2d(inputs[0], first, 5, padding=padding),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(second * height * width, wide),
            nn.ReLU(inplace=True),
            nn.Linear(wide, narrow),
        )
        self.scale, self.place = scale, _checked(place)
        self.activation = nn.ReLU()
        self.classifier = nn.Linear(narrow, classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        return _answer(self, self.blocks(x))


def simple(
    inputs: Sequence[int],
    classes: int,
    width: float = 1.0,
    *,
    channels: Sequence[int] = (32, 64, 128),
    xi: float = 0.0,
    normalize: bool = True,
    place: str = "features",
) -> SimpleNet:
    """Build SimpleNet; its channels are not in the text of the paper, 32/64/128 is our choice.

    Parameters
    ----------
    inputs : (channels, height, width)
    classes : int
    width : float
        Multiplies the channels.
    channels : sequence of int
    xi, normalize
        Of `inward_scale`; xi = 0 leaves the layer out.
    place : {"features", "logits"}

    References
    ----------
    M. K. Janjua, S. Nawaz, A. Calefati, I. Gallo, "Learning inward scaled hypersphere embedding:
    exploring projections in higher dimensions", 2018, Fig. 4.
    """
    return SimpleNet(
        inputs,
        classes,
        channels=[scaled(filters, width) for filters in channels],
        scale=inward_scale(xi, normalize=normalize),
        place=place,
    )


def lenet(
    inputs: Sequence[int],
    classes: int,
    width: float = 1.0,
    *,
    xi: float = 0.0,
    normalize: bool = True,
    place: str = "features",
) -> LeNet:
    """Build LeNet-5; options as in `simple`.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", 1998. doi:10.1109/5.726791.
    """
    return LeNet(
        inputs,
        classes,
        channels=[scaled(filters, width) for filters in (6, 16, 120, 84)],
        scale=inward_scale(xi, normalize=normalize),
        place=place,
    )


def _answer(model: Any, x: Tensor) -> Tensor:
    """Scale, activate and classify features, in the order that `place` says."""
    if model.place == "features":
        return model.classifier(model.activation(model.scale(x)))
    return model.scale(model.classifier(model.activation(x)))


def _checked(place: str) -> str:
    if place not in ("features", "logits"):
        raise ValueError(f"place must be 'features' or 'logits'; got {place!r}")
    return place
