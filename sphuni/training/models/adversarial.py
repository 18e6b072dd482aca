"""The generator and discriminator of DCGAN and SN-DCGAN."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from sphuni.training.models.blocks import scaled

__all__ = ["Adversaries", "adversaries"]

_GENERATOR = (512, 256, 128, 64)
_DISCRIMINATOR = ((64, 3, 1), (64, 4, 2), (128, 3, 1), (128, 4, 2), (256, 3, 1), (256, 4, 2))
_LAST = 512
_SHRINK = 8


class Adversaries(nn.Module):
    """A generator and a discriminator of images whose sides are multiples of eight.

    Parameters
    ----------
    inputs : (channels, height, width)
    width : float
    latent : int
        Dimensions of the noise.
    spectral : bool
        Spectral normalisation of the discriminator.

    Notes
    -----
    `forward` generates images in [-1, 1] from noise (batch, latent); `discriminator` gives one
    number per image.
    """

    def __init__(self, inputs: Sequence[int], *, width: float, latent: int, spectral: bool) -> None:
        super().__init__()
        channels, height, breadth = inputs
        if height % _SHRINK or breadth % _SHRINK:
            raise ValueError(
                f"inputs must be images with sides that are multiples of {_SHRINK}; "
                f"got {tuple(inputs)}"
            )
        grid = (height // _SHRINK, breadth // _SHRINK)
        self.latent = latent
        self.generator = _generator(channels, grid, width, latent)
        self.discriminator = _discriminator(channels, grid, width, spectral)

    def forward(self, noise: Tensor) -> Tensor:
        """Generate images."""
        return self.generator(noise)


def adversaries(
    inputs: Sequence[int],
    classes: int = 0,
    width: float = 1.0,
    *,
    latent: int = 128,
    spectral: bool = False,
) -> Adversaries:
    """Build both networks of DCGAN, or of SN-DCGAN with `spectral`.

    Parameters
    ----------
    inputs : (channels, height, width)
        Sides are multiples of 8.
    classes : int
        Not used: images are generated without labels.
    width : float
        Multiplies the channels.
    latent : int, default 128
    spectral : bool, default False

    References
    ----------
    A. Radford, L. Metz, S. Chintala, "Unsupervised representation learning with deep
    convolutional generative adversarial networks", ICLR 2016. arXiv:1511.06434.
    T. Miyato et al., "Spectral normalization for generative adversarial networks", ICLR 2018,
    Table 3. arXiv:1802.05957.
    """
    return Adversaries(inputs, width=width, latent=latent, spectral=spectral)


def _generator(channels: int, grid: tuple[int, int], width: float, latent: int) -> nn.Sequential:
    filters = [scaled(n, width) for n in _GENERATOR]
    layers: list[nn.Module] = [
        nn.Linear(latent, filters[0] * grid[0] * grid[1]),
        nn.Unflatten(1, (filters[0], *grid)),
        nn.BatchNorm2d(filters[0]),
        nn.ReLU(inplace=True),
    ]
    for before, after in itertools.pairwise(filters):
        layers += [
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.Conv2d(filters[-1], channels, 3, padding=1), nn.Tanh())


def _discriminator(
    channels: int, grid: tuple[int, int], width: float, spectral: bool
) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = channels
    for filters, size, stride in (*_DISCRIMINATOR, (_LAST, 3, 1)):
        after = scaled(filters, width)
        convolution = nn.Conv2d(before, after, size, stride=stride, padding=1)
        layers += [convolution, nn.LeakyReLU(0.1, inplace=True)]
        before = after
    layers += [nn.Flatten(), nn.Linear(before * grid[0] * grid[1], 1)]
    if spectral:
        _normalise(layers)
    return nn.Sequential(*layers)


def _normalise(layers: Sequence[nn.Module]) -> None:
    """Spectral normalisation, with one power iteration per training step.

    It draws vectors to start from, so it comes after all weights, which are then those without it.
    """
    with torch.no_grad():
        for layer in layers:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                parametrizations.spectral_norm(layer)
