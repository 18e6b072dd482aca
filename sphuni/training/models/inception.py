"""GoogLeNet in the form for 32 x 32 images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sphuni.training.models.blocks import Style, initialise, scaled
from sphuni.training.models.inward import inward_scale

__all__ = ["Inception", "InceptionNetwork", "inception"]

_TABLE = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
_STEM = 192


class Inception(nn.Module):
    """Four branches side by side: 1 x 1; 1 x 1 and 3 x 3; 1 x 1 and 5 x 5; pooling and 1 x 1.

    Parameters
    ----------
    channels : int
        Of the input.
    filters : sequence of six int
        A row of the paper's table: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
    """

    def __init__(self, channels: int, filters: Sequence[int]) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pool = filters
        style = Style()
        self.branches = nn.ModuleList(
            [
                style.unit(channels, one, 1),
                nn.Sequential(style.unit(channels, reduce3, 1), style.unit(reduce3, three, 3)),
                nn.Sequential(style.unit(channels, reduce5, 1), style.unit(reduce5, five, 5)),
                nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), style.unit(channels, pool, 1)),
            ]
        )
        self.filters = one + three + five + pool

    def forward(self, x: Tensor) -> Tensor:
        """Concatenate the branches."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class InceptionNetwork(nn.Module):
    """A 3 x 3 stem, three groups of inception blocks with max pooling between, a classifier.

    Parameters
    ----------
    inputs : (channels, height, width)
    classes : int
    width : float
    scale : nn.Module
        See `inward_scale`; before the classifier.
    """

    def __init__(
        self, inputs: Sequence[int], classes: int, *, width: float, scale: nn.Module
    ) -> None:
        super().__init__()
        channels = scaled(_STEM, width)
        layers: list[nn.Module] = [Style().unit(inputs[0], channels)]
        for number, group in enumerate(_TABLE):
            if number:
                layers.append(nn.MaxPool2d(3, stride=2, padding=1))
            for row in group:
                block = Inception(channels, [scaled(filters, width) for filters in row])
                layers.append(block)
                channels = block.filters
        self.layers = nn.Sequential(*layers)
        self.scale = scale
        self.classifier = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        return self.classifier(self.scale(self.layers(x).mean(dim=(2, 3))))


def inception(
    inputs: Sequence[int],
    classes: int,
    width: float = 1.0,
    *,
    xi: float = 0.0,
    normalize: bool = True,
) -> InceptionNetwork:
    """Build GoogLeNet with batch normalisation; the stem keeps 32 x 32 images at their size.

    Parameters
    ----------
    inputs : (channels, height, width)
    classes : int
    width : float
        Multiplies all filters.
    xi, normalize
        Of the inward scale layer before the classifier; xi = 0 leaves it out.

    References
    ----------
    C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, Table 1. arXiv:1409.4842.
    """
    return InceptionNetwork(
        inputs, classes, width=width, scale=inward_scale(xi, normalize=normalize)
    )
