"""Log tail probabilities of tensors, differentiable through the law's density."""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni._errors import NumericalWarning
from sphuni.stats._base import UniformityTest
from sphuni.stats.laws import Empirical, Law, TailedTable

__all__ = ["tails_of", "warn_of_infinity"]

_STEP = 1e-4
_LARGEST_CHANGE, _SHRINKINGS = 0.01, 16


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
        above, below = x == np.inf, x == -np.inf
        upper = np.where(above, -np.inf, np.where(below, 0.0, tails.log_upper))
        lower = np.where(below, -np.inf, np.where(above, 0.0, tails.log_lower))
        return _like(upper, statistic), _like(lower, statistic)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep the statistic and the law."""
        statistic, ctx.law = inputs
        ctx.save_for_backward(statistic)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        """Contract the slopes with the upstream gradients."""
        (statistic,) = ctx.saved_tensors
        return _Slope.apply(statistic, *upstream, ctx.law), None


class _Slope(torch.autograd.Function):
    """The slope of a combination of both log tails, which is the end of derivatives."""

    @staticmethod
    def forward(statistic: Tensor, of_upper: Tensor, of_lower: Tensor, law: Law) -> Tensor:
        """Return the central difference of the log tails."""
        upper, lower = (_like(side, statistic) for side in _rates(law, _flat(statistic)))
        return of_upper * upper + of_lower * lower

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep nothing."""

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        """Refuse: without the curvature of the law the answer would be wrong."""
        raise RuntimeError(
            "p-values are differentiable once; take second derivatives of the statistic instead"
        )


def _step(law: Law, x: NDArray[np.float64]) -> Any:
    """A small share of a standard deviation; of a table, wide enough to hold many of its values."""
    spread = np.sqrt(law.variance)
    size = np.size(getattr(law, "sample", ()))
    share = _STEP if size == 0 else size**-0.2
    return share * (spread if np.isfinite(spread) else np.maximum(np.abs(x), 1e-12))


def _rates(law: Law, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Central differences of both log tails; 0 where a tail ends."""
    step = np.broadcast_to(_step(law, x), x.shape).copy()
    if isinstance(law, Empirical):
        upper, lower = _differences(law, x, step)
        return (_rates(law.known, x)[0] if isinstance(law, TailedTable) else upper), lower
    found = [np.zeros_like(x), np.zeros_like(x)]
    todo = [np.isfinite(x), np.isfinite(x)]
    # near an end of the support a tail falls like a power of the distance to it
    for _ in range(_SHRINKINGS):
        active = todo[0] | todo[1]
        if not active.any():
            break
        with np.errstate(invalid="ignore"):
            parts = _differences(law, x[active], step[active])
        for rate, left, part in zip(found, todo, parts, strict=True):
            fine = np.abs(part) * 2 * step[active] < _LARGEST_CHANGE
            good = np.flatnonzero(active)[fine]
            rate[good] = np.where(left[good], part[fine], rate[good])
            left[good] = False
        step[todo[0] | todo[1]] *= 0.1
    return found[0], found[1]


def _differences(
    law: Law, x: NDArray[np.float64], step: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = law.tails(x - step), law.tails(x + step)
    return (
        (high.log_upper - low.log_upper) / (2 * step),
        (high.log_lower - low.log_lower) / (2 * step),
    )


def warn_of_infinity(test: UniformityTest, statistic: Tensor, *, stacklevel: int) -> None:
    """Say what infinite kernels have made of a statistic and of its p-values."""
    if bool(torch.isfinite(statistic).all()):
        return
    for infinity, outcome in (
        (statistic == torch.inf, "the statistic is infinite and the p-value 0"),
        (statistic == -torch.inf, "the statistic is -infinite and the lower p-value 0"),
        (statistic.isnan(), "infinities of both signs leave no statistic and no p-value"),
    ):
        if bool(infinity.any()):
            warnings.warn(
                f"test {test.name!r} is infinite at {test.infinite_at}, which the points have: "
                f"{outcome}",
                NumericalWarning,
                stacklevel=stacklevel,
            )


def _flat(statistic: Tensor) -> NDArray[np.float64]:
    """One axis, so that no operation of a law turns a lone number into a scalar."""
    return statistic.detach().cpu().numpy().reshape(-1)


def _like(values: NDArray[np.float64], like: Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64, device=like.device).reshape(like.shape)
