"""A recurrent cell on the sphere."""

import math
from typing import Literal

import torch
import torch.nn.functional as torch_functional
from torch import Tensor, nn

from sphuni._numbers import positive
from sphuni.nn._precision import like_input, outside_autocast
from sphuni.nn.layers._lengths import soft_length, tamed
from sphuni.nn.layers.angular import AngularFunction, Kind
from sphuni.nn.layers.sphere import EPS

__all__ = ["SphereRNNCell"]


class SphereRNNCell(nn.modules.rnn.RNNCellBase):
    r"""A recurrent cell that answers g(angle between neuron and input with state).

    .. math:: h' = g(\theta) + b,\quad \cos\theta_j = \frac{\langle u_j, x\rangle
              + \langle v_j, h\rangle}{\sqrt{|u_j|^2 + |v_j|^2}\,\sqrt{|x|^2 + |h|^2}}

    with u_j and v_j the rows of `weight_ih` and `weight_hh`. The answer is bounded, so that no
    further nonlinearity is needed.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool, default False
        Adds `bias_ih + bias_hh`, the names of `torch.nn.RNNCell`.
    kind, k, a, b, share, eps
        As in `sphuni.nn.SphereConv2d`.

    References
    ----------
    W. Liu et al., "Deep hyperspherical learning", NeurIPS 2017. arXiv:1711.03189, which names
    recurrent layers as an application.

    Examples
    --------
    >>> import torch
    >>> cell = SphereRNNCell(3, 4)
    >>> state = cell(torch.ones(2, 3))
    >>> cell(torch.ones(2, 3), state).shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
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
        super().__init__(input_size, hidden_size, bias, num_chunks=1, device=device, dtype=dtype)
        self.eps = positive("eps", eps)
        self.angular = AngularFunction(
            kind, hidden_size, k=k, a=a, b=b, share=share, axis=-1, device=device
        )

    def forward(self, x: Tensor, state: Tensor | None = None) -> Tensor:
        """Return the next state (..., hidden_size) of inputs (..., input_size)."""
        if x.shape[-1] != self.input_size:
            raise ValueError(
                f"input must have shape (..., {self.input_size}); got {tuple(x.shape)}"
            )
        if state is None:
            state = x.new_zeros(*x.shape[:-1], self.hidden_size)
        inputs, size = tamed(torch.cat([x, state.to(x.dtype)], dim=-1))
        with outside_autocast(x):
            dtype = torch.promote_types(x.dtype, torch.float32)
            norms = soft_length(inputs.to(dtype), size.to(dtype), self.eps)
            both = self.weight_ih, self.weight_hh
            lengths = (_squared(both[0], dtype) + _squared(both[1], dtype) + self.eps).sqrt()
            of_input, of_state = ((one.to(dtype) / lengths[:, None]).to(one.dtype) for one in both)
        products = torch_functional.linear(inputs, torch.cat([of_input, of_state], dim=1))
        with outside_autocast(x):
            answer: Tensor = self.angular(products.to(dtype) / norms)
        if self.bias:
            answer = answer + (self.bias_ih + self.bias_hh).to(answer.dtype)
        return like_input(answer, x)


def _squared(v: Tensor, dtype: torch.dtype) -> Tensor:
    return v.to(dtype).square().sum(-1)
