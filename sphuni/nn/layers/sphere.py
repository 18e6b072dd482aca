"""SphereNet convolutions and linear layers: a neuron answers with a function of its angle."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as torch_functional
from torch import Tensor, nn

from sphuni._numbers import positive
from sphuni.nn._precision import like_input, outside_autocast
from sphuni.nn.layers._lengths import soft_length, tamed
from sphuni.nn.layers._patches import Patches
from sphuni.nn.layers.angular import AngularFunction, Kind

__all__ = ["EPS", "SphereConv1d", "SphereConv2d", "SphereConv3d", "SphereLinear"]

EPS = 1e-6
_CONV: dict[int, Any] = {
    1: torch_functional.conv1d,
    2: torch_functional.conv2d,
    3: torch_functional.conv3d,
}


class _SphereConv(Patches, nn.modules.conv._ConvNd):
    """What the three convolutions share."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = False,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
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
            padding if isinstance(padding, str) else self._tuple(padding),
            self._tuple(dilation),
            False,
            (0,) * self._rank,
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

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, out_channels, ...) in [-1, 1], plus the bias."""
        return self._answer(self.cosines(self._batch(x)), x)

    def cosines(self, x: Tensor) -> Tensor:
        """Return the cosines of the angles between filters and patches of a batch."""
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            x = torch_functional.pad(
                x, self._reversed_padding_repeated_twice, mode=self.padding_mode
            )
            padding = 0
        geometry = (self.stride, padding, self.dilation)
        x, eps = self._tamed(x)
        with outside_autocast(x):
            norms = self._patch_norms(x, eps, lambda sums: self._box(sums, geometry))
            wide = self.weight.to(norms.dtype)
            lengths = (wide.flatten(1).square().sum(1) + self.eps).sqrt()
            unit = (wide / lengths.reshape(-1, 1, *[1] * self._rank)).to(self.weight.dtype)
        products = _CONV[self._rank](x, unit, None, *geometry, self.groups)
        return products.to(norms.dtype) * norms.reciprocal()

    def _box(self, sums: Tensor, geometry: tuple[Any, ...]) -> Tensor:
        """Sum over every patch: by pooling, which is faster, where pooling can do it."""
        stride, padding, dilation = geometry
        dense = self._rank == 2 and set(dilation) == {1} and padding != "same"
        pad = (0, 0) if not dense or padding in (0, "valid") else padding
        if dense and all(2 * p <= size for p, size in zip(pad, self.kernel_size, strict=True)):
            size: Any = self.kernel_size
            # ONNX export would silently leave out a divisor_override
            return torch_functional.avg_pool2d(sums, size, stride, pad) * math.prod(size)
        box = self._ones(self.kernel_size, sums)
        return _CONV[self._rank](sums, box, None, *geometry, self.groups)


class SphereConv1d(_SphereConv):
    """`SphereConv2d` over sequences (batch, channels, length)."""

    _rank = 1


class SphereConv2d(_SphereConv):
    r"""A convolution that answers g(angle between filter and patch).

    .. math:: g(\theta),\quad \cos\theta = \frac{\langle w, x\rangle}{|w|\,|x|}

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode
        As in the convolution of torch.
    bias : bool, default False
        Added after g; batch normalisation usually follows and makes it needless.
    kind : {"linear", "cosine", "sigmoid", "learnable-sigmoid"}, default "cosine"
        The function g, see `sphuni.nn.AngularFunction`.
    k, a, b, share
        Its parameters.
    eps : float, default 1e-6
        Added to the squared norms of patches and filters: a zero patch has cosine 0. Positive.

    Notes
    -----
    The norm of every patch is one channel sum and one box filter, in float32 and outside
    autocast. The answer does not depend on the scale of filter or input while their norms are
    well above sqrt(eps) = 1e-3; below, it fades to that of a right angle, and so does it where a
    squared norm overflows, in float32 above 1e19. Do not use weight decay on the filters: see
    `sphuni.nn.no_decay_groups`.

    References
    ----------
    W. Liu et al., "Deep hyperspherical learning", NeurIPS 2017. arXiv:1711.03189.
    """

    _rank = 2


class SphereConv3d(_SphereConv):
    """`SphereConv2d` over volumes (batch, channels, depth, height, width)."""

    _rank = 3


class SphereLinear(nn.Linear):
    """A linear layer that answers g(angle between neuron and input).

    Parameters
    ----------
    in_features, out_features : int
    bias : bool, default False
        Added after g.
    kind, k, a, b, share, eps
        As in `SphereConv2d`.

    Examples
    --------
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> layer = SphereLinear(3, 2, kind="linear")
    >>> x = layer.weight.detach()
    >>> bool(torch.allclose(layer(5 * x).diagonal(), torch.ones(2), atol=2e-3))
    True
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = False,
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
        super().__init__(in_features, out_features, bias, device=device, dtype=dtype)
        self.eps = positive("eps", eps)
        self.angular = AngularFunction(
            kind, out_features, k=k, a=a, b=b, share=share, axis=-1, device=device
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., out_features) in [-1, 1], plus the bias."""
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"input must have shape (..., {self.in_features}); got {tuple(x.shape)}"
            )
        inputs, size = tamed(x)
        with outside_autocast(x):
            dtype = torch.promote_types(x.dtype, torch.float32)
            norms = soft_length(inputs.to(dtype), size.to(dtype), self.eps)
            wide = self.weight.to(dtype)
            lengths = (wide.square().sum(-1, keepdim=True) + self.eps).sqrt()
            unit = (wide / lengths).to(self.weight.dtype)  # products of half precision stay small
        products = torch_functional.linear(inputs, unit)
        with outside_autocast(x):
            answer: Tensor = self.angular(products.to(dtype) / norms)
        if self.bias is not None:
            answer = answer + self.bias.to(answer.dtype)
        return like_input(answer, x)
