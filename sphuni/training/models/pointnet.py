"""PointNet, without and with its alignment networks."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sphuni.training.models.blocks import scaled

__all__ = ["Alignment", "PointNetwork", "pointnet"]


class Alignment(nn.Module):
    """The network that predicts a size x size matrix from a cloud, the identity at first.

    Parameters
    ----------
    size : int
    width : float
    orthogonality : float, default 0
        Weight of the penalty that keeps the matrix near an orthogonal one.
    """

    def __init__(self, size: int, width: float, *, orthogonality: float = 0.0) -> None:
        super().__init__()
        self.orthogonality = orthogonality
        widths = [scaled(n, width) for n in (64, 128, 1024, 512, 256)]
        self.size = size
        self.shared = nn.Sequential(*_shared(size, widths[:3]))
        self.head = nn.Sequential(*_dense(widths[2:]))
        self.matrix = nn.Linear(widths[-1], size * size)
        nn.init.zeros_(self.matrix.weight)
        with torch.no_grad():
            self.matrix.bias.copy_(torch.eye(size).flatten())

    def forward(self, x: Tensor) -> Tensor:
        """Return a matrix for each cloud of shape (channels, points)."""
        summary = self.head(self.shared(x).amax(dim=2))
        return self.matrix(summary).reshape(-1, self.size, self.size)

    def penalty(self, matrices: Tensor) -> Tensor:
        r"""Return the weight times the mean over clouds of :math:`|I - A A^T|_F^2`.

        Examples
        --------
        >>> Alignment(2, 0.1, orthogonality=0.5).penalty(torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]))
        tensor(4.5000)
        """
        with torch.autocast(matrices.device.type, enabled=False):  # near I its digits cancel
            a = matrices.float()
            rest = torch.eye(self.size, device=a.device) - a @ a.mT
            return self.orthogonality * rest.square().sum(dim=(1, 2)).mean()


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
    orthogonality : float
        Weight of the penalty of the matrix that aligns features, which `training.learner` adds.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        width: float,
        alignment: bool,
        dropout: float,
        orthogonality: float,
    ) -> None:
        super().__init__()
        low = [scaled(n, width) for n in (64, 64)]
        high = [scaled(n, width) for n in (64, 128, 1024)]
        dense = [scaled(n, width) for n in (512, 256)]
        self.align_input = Alignment(channels, width) if alignment else None
        self.align_features = (
            Alignment(low[-1], width, orthogonality=orthogonality) if alignment else None
        )
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
    orthogonality: float = 0.001,
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
    orthogonality : float, default 0.001
        Of PointNet (T): weight of :math:`|I - A A^T|_F^2` in the loss, with A the matrix that
        aligns features.

    References
    ----------
    C. R. Qi, H. Su, K. Mo, L. J. Guibas, "PointNet: deep learning on point sets for 3D
    classification and segmentation", CVPR 2017. arXiv:1612.00593.
    """
    return PointNetwork(
        inputs[-1],
        classes,
        width=width,
        alignment=alignment,
        dropout=dropout,
        orthogonality=orthogonality,
    )


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
