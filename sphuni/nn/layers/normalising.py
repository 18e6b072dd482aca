"""SphereNorm: the cosine convolution in the place of a normalisation layer."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sphuni._numbers import finite
from sphuni.nn.layers.sphere import SphereConv1d, SphereConv2d, SphereConv3d

__all__ = ["SphereNorm", "SphereNorm1d", "SphereNorm3d"]


class _Rescaled:
    """What the three share; mixed into the convolution of their rank."""

    _rank: int
    weight: Tensor
    beta: Tensor
    gamma: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        *,
        rescale: Literal["learned"] | float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, kind="cosine", **options)  # type: ignore[call-arg]
        if not (rescale is None or rescale == "learned"):
            if isinstance(rescale, str):
                raise ValueError(f"rescale must be 'learned', a number or None; got {rescale!r}")
            if not isinstance(rescale, Tensor):
                finite("rescale", rescale)
        self.rescale = rescale
        if rescale == "learned":
            self.beta = nn.Parameter(torch.ones(out_channels, device=self.weight.device))
            self.gamma = nn.Parameter(torch.zeros(out_channels, device=self.weight.device))

    def _rescaled(self, answer: Tensor) -> Tensor:
        if self.rescale is None:
            return answer
        if isinstance(self.rescale, str):
            shape = [-1, *[1] * self._rank]
            beta, gamma = (v.to(answer.dtype).reshape(shape) for v in (self.beta, self.gamma))
            return beta * answer + gamma
        return self.rescale * answer


class SphereNorm(_Rescaled, SphereConv2d):
    """The cosine convolution used as a normaliser, optionally rescaled.

    Parameters
    ----------
    in_channels, out_channels, kernel_size
        As in the convolution of torch.
    rescale : "learned", float or None, default None
        None: cosines as they are. "learned": beta * cos + gamma per filter. A number: that
        multiple.
    **options
        Of `SphereConv2d`, but `kind`.

    Notes
    -----
    The paper finds that it works best followed by batch normalisation and without rescaling.

    References
    ----------
    W. Liu et al., "Deep hyperspherical learning", NeurIPS 2017. arXiv:1711.03189, section 4.4.
    """


class SphereNorm1d(_Rescaled, SphereConv1d):
    """`SphereNorm` over sequences (batch, channels, length)."""


class SphereNorm3d(_Rescaled, SphereConv3d):
    """`SphereNorm` over volumes (batch, channels, depth, height, width)."""
