"""What convolutions and transposed convolutions on angles share."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sphuni.nn._precision import like_input
from sphuni.nn.layers._lengths import multiplied_in_float16, tamed

__all__ = ["Patches"]


class Patches(nn.Module):
    """Inputs with and without a batch axis, the norms of their patches, the end of the answer."""

    _rank = 0
    in_channels: int
    out_channels: int
    groups: int
    eps: float
    bias: nn.Parameter | None
    angular: nn.Module

    def _batch(self, x: Tensor) -> Tensor:
        """Add the batch axis where there is none, and check the shape."""
        batched = x if x.ndim == self._rank + 2 else x[None]
        if batched.ndim != self._rank + 2 or batched.shape[1] != self.in_channels:
            raise ValueError(
                f"input must have shape (batch, {self.in_channels}, "
                f"{', '.join(['size'] * self._rank)}); got {tuple(x.shape)}"
            )
        return batched

    def _answer(self, cosines: Tensor, x: Tensor) -> Tensor:
        """From cosines to what the layer returns for the input x."""
        answer: Tensor = self.angular(cosines)
        if self.bias is not None:
            answer = answer + self.bias.to(answer.dtype).reshape(-1, *[1] * self._rank)
        answer = like_input(self._rescaled(answer), x)
        return answer if x.ndim == self._rank + 2 else answer[0]

    def _tamed(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        """The inputs, divided where their products would overflow float16, and eps for them."""
        if not multiplied_in_float16(x):
            return x, self.eps
        inputs, size = tamed(x, tuple(range(1, x.ndim)))
        return inputs, self.eps / size.float().square()

    def _patch_norms(
        self, x: Tensor, eps: Tensor | float, box: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """sqrt(|patch|^2 + eps) per filter; `box` sums one channel per group over every patch."""
        squares = x.to(torch.promote_types(x.dtype, torch.float32)).square()
        each = x.shape[1] // self.groups
        sums = squares.reshape(x.shape[0], self.groups, each, *x.shape[2:]).sum(dim=2)
        norms = (box(sums).clamp_min(0) + eps).sqrt()
        if self.groups == 1:
            return norms
        return norms.repeat_interleave(self.out_channels // self.groups, dim=1)

    def _ones(self, kernel_size: Sequence[int], like: Tensor) -> Tensor:
        """The box filter of each group."""
        return like.new_ones(self.groups, 1, *kernel_size)

    def _rescaled(self, answer: Tensor) -> Tensor:
        return answer

    def _tuple(self, value: int | Sequence[int]) -> tuple[int, ...]:
        return (value,) * self._rank if isinstance(value, int) else tuple(value)
