"""Augmentation of a batch of images where it is, on a CPU or a GPU."""

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

__all__ = ["augment"]

_PAD = 4
_IMAGES_RANK = 4


def augment(images: Tensor, kinds: Sequence[str], generator: torch.Generator) -> Tensor:
    """Return a random variant of every image.

    Parameters
    ----------
    images : Tensor of shape (n, channels, height, width)
    kinds : sequence of {"flip", "crop"}
        "flip" mirrors left and right with probability one half; "crop" moves the image by up to 4
        pixels, filling by reflection.
    generator : torch.Generator
        On the CPU, so that both kinds of device draw the same numbers.

    Examples
    --------
    >>> import torch
    >>> image = torch.arange(3.0).expand(1, 1, 3, 3)
    >>> rng = torch.Generator().manual_seed(0)
    >>> sorted({tuple(augment(image, ["flip"], rng)[0, 0, 0].tolist()) for _ in range(20)})
    [(0.0, 1.0, 2.0), (2.0, 1.0, 0.0)]
    """
    if kinds and images.ndim != _IMAGES_RANK:
        raise ValueError(f"augment is for images; the inputs have shape {tuple(images.shape[1:])}")
    for kind in kinds:
        if kind == "flip":
            images = _flip(images, generator)
        elif kind == "crop":
            images = _crop(images, generator)
        else:
            raise ValueError(f"augment must name 'flip' or 'crop'; got {kind!r}")
    return images


def _flip(images: Tensor, generator: torch.Generator) -> Tensor:
    mirrored = torch.rand(len(images), generator=generator).to(images.device) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def _crop(images: Tensor, generator: torch.Generator) -> Tensor:
    n, _, height, width = images.shape
    if min(height, width) <= _PAD:
        raise ValueError(
            f"augment 'crop' needs images of more than {_PAD} pixels a side, as it reflects "
            f"{_PAD}; got {height} x {width}"
        )
    shifts = torch.randint(2 * _PAD + 1, (2, n), generator=generator).to(images.device)
    padded = functional.pad(images, (_PAD, _PAD, _PAD, _PAD), mode="reflect")
    rows = shifts[0, :, None] + torch.arange(height, device=images.device)
    columns = shifts[1, :, None] + torch.arange(width, device=images.device)
    index = torch.arange(n, device=images.device)[:, None, None]
    picked = padded.movedim(1, -1)[index, rows[:, :, None], columns[:, None, :]]
    return picked.movedim(-1, 1).contiguous()
