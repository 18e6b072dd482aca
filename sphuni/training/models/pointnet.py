"""PointNet, without and with its alignment networks."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sphuni.training.models.blocks import scaled

__all__ = ["PointNetwork", "pointnet"]


class _Alignment(nn.Module):
    """The network that predicts a size x size matrix from a cloud, the identity at first."""

    def __init__(self, size: int, width: float) -> None:
        super().__init__()
        widths = [scaled(n, width) for n in (64, 128, 1024, 512, 256)]
        self.size = size
        self.shared = nn.Sequential(*_shared(size, widths[:3]))
        self.head = nn.Sequential(*_dense(widths[2:]))
        self.matrix = nn.Linear(widths[-1], size * size)
        nn.init.zeros_(self.matrix.weight)
        with torch.no_grad():
            self.matrix.bias.copy_(torch.eye(size).flatten())

    def forward(self, x: Tensor) -> Tensor:
        summary = self.head(self.shared(x).amax(dim=2))
        return self.matrix(summary).reshape(-1, self.size, self.size)


class PointNetwork(nn.Module):
    """Shared layers on every point, a maximum over points, dense layers.

    Parameters
    ----------
    channels : int
        Coordinates of a point.
    classes : int
    width : float
    alignment : bool
        With the two alignment networks.
    dropout : float
        Before the classifier.
    """

    def __init__(
        self, channels: int, classes: int, *, width: float, alignment: bool, dropout: float
    ) -> None:
        super().__init__()
        low = [scaled(n, width) for n in (64, 64)]
        high = [scaled(n, width) for n in (64, 128, 1024)]
        dense = [scaled(n, width) for n in (512, 256)]
        self.align_input = _Alignment(channels, width) if alignment else None
        self.align_features = _Alignment(low[-1], width) if alignment else None
        self.low = nn.Sequential(*_shared(channels, low))
        self.high = nn.Sequential(*_shared(low[-1], high))
        self.head = nn.Sequential(*_dense([high[-1], *dense]), nn.Dropout(dropout))
        self.classifier = nn.Linear(dense[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of clouds of shape (batch, points, channels)."""
        x = x.transpose(1, 2)
        if self.align_input is not None:
            x = torch.matmul(self.align_input(x), x)
        x = self.low(x)
        if self.align_features is not None:
            x = torch.matmul(self.align_features(x), x)
        return self.classifier(self.head(self.high(x).amax(dim=2)))


def pointnet(
    inputs: Sequence[int],
    classes: int,
    width: float = 1.0,
    *,
    alignment: bool = False,
    dropout: float = 0.3,
) -> PointNetwork:
    """Build PointNet for clouds.

    Parameters
    ----------
    inputs : (points, channels)
    classes : int
    width : float
        Multiplies all layers.
    alignment : bool, default False
        Add the networks that align input and features: PointNet (T).
    dropout : float, default 0.3

    References
    ----------
    C. R. Qi, H. Su, K. Mo, L. J. Guibas, "PointNet: deep learning on point sets for 3D
    classification and segmentation", CVPR 2017. arXiv:1612.00593.
    """
    return PointNetwork(inputs[-1], classes, width=width, alignment=alignment, dropout=dropout)


def _shared(channels: int, widths: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for neurons in widths:
        layers += [nn.Conv1d(channels, neurons, 1), nn.BatchNorm1d(neurons), nn.ReLU(inplace=True)]
        channels = neurons
    return layers


def _dense(widths: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, neurons in itertools.pairwise(widths):
        layers += [nn.Linear(before, neurons), nn.BatchNorm1d(neurons), nn.ReLU(inplace=True)]
    return layers
