"""Transposed SphereNet convolutions."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as torch_functional
from torch import Tensor, nn

from sphuni._numbers import positive
from sphuni.nn._precision import outside_autocast
from sphuni.nn.layers._patches import Patches
from sphuni.nn.layers.angular import AngularFunction, Kind
from sphuni.nn.layers.sphere import EPS
from sphuni.nn.neurons import divide_transposed, transposed_rows

__all__ = ["SphereConvTranspose1d", "SphereConvTranspose2d", "SphereConvTranspose3d"]

_TRANSPOSE: dict[int, Any] = {
    1: torch_functional.conv_transpose1d,
    2: torch_functional.conv_transpose2d,
    3: torch_functional.conv_transpose3d,
}


class _SphereConvTranspose(Patches, nn.modules.conv._ConvTransposeNd):
    """What the three transposed convolutions share."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = False,
        dilation: int | Sequence[int] = 1,
        padding_mode: Literal["zeros"] = "zeros",
        *,
        kind: Kind = "cosine",
        k: float | None = None,
        a: float = -2 / math.pi,
        b: float = 1.0,
        share: Literal["filter", "layer"] | nn.Parameter = "filter",
        eps: float = EPS,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            self._tuple(kernel_size),
            self._tuple(stride),
            self._tuple(padding),
            self._tuple(dilation),
            True,
            self._tuple(output_padding),
            groups,
            bias,
            padding_mode,
            device=device,
            dtype=dtype,
        )
        self.eps = positive("eps", eps)
        self.angular = AngularFunction(
            kind, out_channels, k=k, a=a, b=b, share=share, device=device
        )

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return (batch, out_channels, ...) in [-1, 1], plus the bias."""
        batched = self._batch(x)
        extra: Any = self._output_padding(
            batched,
            output_size,
            list(self.stride),
            list(self.padding),  # type: ignore[arg-type]
            list(self.kernel_size),
            self._rank,
            list(self.dilation),
        )
        return self._answer(self.cosines(batched, extra), x)

    def cosines(self, x: Tensor, output_padding: Sequence[int]) -> Tensor:
        """Return the cosines between filters and patches of the input with zeros inserted."""
        extra = tuple(output_padding)
        geometry = (self.stride, self.padding, extra, self.groups, self.dilation)
        x, eps = self._tamed(x)
        with outside_autocast(x):
            norms = self._patch_norms(
                x,
                eps,
                lambda sums: _TRANSPOSE[self._rank](
                    sums, self._ones(self.kernel_size, sums), None, *geometry
                ),
            )
            wide = self.weight.to(norms.dtype)
            rows = transposed_rows(wide, groups=self.groups)
            lengths = (rows.square().sum(1) + self.eps).sqrt()
            unit = divide_transposed(wide, lengths, groups=self.groups).to(self.weight.dtype)
        products = _TRANSPOSE[self._rank](x, unit, None, *geometry)
        return products.to(norms.dtype) / norms


class SphereConvTranspose1d(_SphereConvTranspose):
    """`SphereConvTranspose2d` over sequences (batch, channels, length)."""

    _rank = 1


class SphereConvTranspose2d(_SphereConvTranspose):
    r"""A transposed convolution that answers g(angle between filter and patch).

    It is the `SphereConv2d` of the input with stride - 1 zeros between its entries, with every
    kernel flipped, as the transposed convolution of torch is the convolution of that.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, output_padding, groups, dilation
        As in the transposed convolution of torch.
    bias : bool, default False
    padding_mode : "zeros"
        The only one that torch has here.
    kind, k, a, b, share, eps
        As in `SphereConv2d`.

    Notes
    -----
    A filter's length counts all its entries, also those that meet an inserted zero, so for
    strides above one the cosines stay away from +-1.

    References
    ----------
    W. Liu et al., "Deep hyperspherical learning", NeurIPS 2017. arXiv:1711.03189.
    """

    _rank = 2


class SphereConvTranspose3d(_SphereConvTranspose):
    """`SphereConvTranspose2d` over volumes (batch, channels, depth, height, width)."""

    _rank = 3
