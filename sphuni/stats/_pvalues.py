"""Log tail probabilities of tensors, differentiable through the law's density."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni.stats.laws import Law

__all__ = ["tails_of"]

_STEP = 1e-4


def tails_of(law: Law, statistic: Tensor) -> tuple[Tensor, Tensor]:
    """Log of both tails at a float64 statistic."""
    if statistic.requires_grad and torch.is_grad_enabled():
        upper, lower = _Tails.apply(statistic, law)
        return upper, lower
    return _Tails.forward(statistic, law)


class _Tails(torch.autograd.Function):
    """The law is evaluated in NumPy; its slope is a central difference of the log tails."""

    @staticmethod
    def forward(statistic: Tensor, law: Law) -> tuple[Tensor, Tensor]:
        """Return log P(S >= s) and log P(S <= s)."""
        x = _flat(statistic)
        tails = law.tails(np.where(np.isfinite(x), x, np.nan))
        # no uniform sample reaches infinity, which simulated laws cannot know
        upper = np.select([x == np.inf, x == -np.inf], [-np.inf, 0.0], tails.log_upper)
        lower = np.select([x == np.inf, x == -np.inf], [0.0, -np.inf], tails.log_lower)
        return _like(upper, statistic), _like(lower, statistic)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep the statistic and the law."""
        statistic, ctx.law = inputs
        ctx.save_for_backward(statistic)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        """Slope by a central difference, a small share of a standard deviation wide."""
        (statistic,) = ctx.saved_tensors
        x = _flat(statistic)
        spread = np.sqrt(ctx.law.variance)
        step = _STEP * (spread if np.isfinite(spread) else np.maximum(np.abs(x), 1e-12))
        low, high = ctx.law.tails(x - step), ctx.law.tails(x + step)
        upper = _like((high.log_upper - low.log_upper) / (2 * step), statistic)
        lower = _like((high.log_lower - low.log_lower) / (2 * step), statistic)
        slope = upstream[0] * upper.nan_to_num() + upstream[1] * lower.nan_to_num()
        return slope, None


def _flat(statistic: Tensor) -> NDArray[np.float64]:
    """One axis, so that no operation of a law turns a lone number into a scalar."""
    return statistic.detach().cpu().numpy().reshape(-1)


def _like(values: NDArray[np.float64], like: Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64, device=like.device).reshape(like.shape)
