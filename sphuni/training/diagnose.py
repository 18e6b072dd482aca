"""Where a training run went wrong: the layer in which the first non-finite number appears."""

from typing import Any

import torch
from torch import Tensor, nn

from sphuni._errors import SphuniError
from sphuni.nn import Regularizer
from sphuni.training.learner import Learner

__all__ = ["DivergedError", "find_layer"]


class DivergedError(SphuniError):
    """The loss is no longer a finite number; the message names the step and the layer.

    Attributes
    ----------
    layer, step, epoch
        Where it happened. Steps count from 0 over the whole run, epochs from 1.
    """

    def __init__(self, layer: str, step: int, epoch: int) -> None:
        super().__init__(f"the loss is not finite at step {step} (epoch {epoch}): {layer}")
        self.layer, self.step, self.epoch = layer, step, epoch

    def __reduce__(self) -> Any:
        return type(self), (self.layer, self.step, self.epoch)


def find_layer(
    learner: Learner, regularizer: Regularizer | None, inputs: Tensor, targets: Tensor
) -> str:
    """Return in words which layer first shows a value that is not finite.

    Parameters
    ----------
    learner : Learner
    regularizer : Regularizer or None
    inputs, targets : Tensor
        The batch whose loss is not finite.
    """
    for name, parameter in learner.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            return f"the weights {_short(name)!r} are not finite since the step before"
    if not bool(torch.isfinite(inputs).all()):
        return "the input is not finite"
    layer = _first_output(learner, inputs, targets)
    if layer is not None:
        return f"the output of layer {_short(layer)!r} is the first that is not finite"
    if regularizer is not None:
        regularizer()
        for name, value in regularizer.stats.items():
            if not bool(torch.isfinite(value).all()):
                return f"the penalty of layer {name!r} is not finite"
    return "all layers are finite, the loss itself is not"


def _first_output(learner: Learner, inputs: Tensor, targets: Tensor) -> str | None:
    """Run the batch once more with an eye on every layer."""
    found: list[str] = []

    def watch(name: str) -> Any:
        def check(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
                found.append(name)

        return check

    leaves = [(name, m) for name, m in learner.named_modules() if not list(m.children())]
    handles = [module.register_forward_hook(watch(name)) for name, module in leaves]
    try:
        with torch.no_grad():
            learner(inputs, targets)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def _short(name: str) -> str:
    return name.removeprefix("network.")
