"""From settings to network, optimizer, learning rate and regularizer."""

import bisect
import functools
import importlib
import re
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from sphuni.nn import Regularizer, no_decay_groups, regularize
from sphuni.training import models
from sphuni.training.config import (
    ModelConfig,
    OptimizerConfig,
    RegularizerConfig,
    ScheduleConfig,
)
from sphuni.training.streams import seeded, stream

__all__ = [
    "build_model",
    "build_optimizer",
    "build_regularizer",
    "descend",
    "rate_factor",
    "set_rates",
]

Factory = Callable[..., nn.Module]


def build_model(
    config: ModelConfig, *, inputs: tuple[int, ...], classes: int, seed: int
) -> nn.Module:
    """Build the network with the initial weights that belong to a seed.

    Raises
    ------
    ValueError
        If the name is unknown, a factory cannot be imported, or does not take the options.
    """
    factory = _factory(config.name)
    try:
        with seeded(seed, "init"):
            return factory(inputs=inputs, classes=classes, width=config.width, **config.options)
    except TypeError as error:
        raise ValueError(
            f"model {config.name!r} cannot be built with model.options = {config.options}: {error}"
        ) from error


def build_regularizer(
    model: nn.Module, config: RegularizerConfig, *, seed: int, has_classifier: bool = True
) -> Regularizer | None:
    """Build the regularizer, or return None for the method "none".

    Raises
    ------
    ValueError
        If the method is unknown or does not take the options, or no layer fits.
    """
    if config.method == "none":
        return None
    try:
        regularizer = regularize(
            model,
            config.method,
            weight=config.weight,
            output_weight=config.output_weight,
            include=config.include or None,
            exclude=config.exclude or None,
            output_layer="auto" if has_classifier else None,
            every=config.every,
            seed=stream(seed, "regularizer") % (1 << 31),
            **config.options,
        )
    except TypeError as error:
        raise ValueError(f"regularizer.options of {config.method!r}: {error}") from error
    hidden, output = regularizer.weights
    regularizer.weights = (config.scale * hidden, config.scale * output)
    return regularizer


def build_optimizer(modules: Iterable[nn.Module], config: OptimizerConfig) -> torch.optim.Optimizer:
    """Build the optimizer of all parameters of some modules.

    Parameters with the same decay and rate share a group, which holds its base rate as `base_lr`.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for module in modules:
        free = _free_of_decay(module, config.no_decay)
        for name, parameter in module.named_parameters():
            decay = 0.0 if id(parameter) in free else config.weight_decay
            rate = config.lr * _rate_of(name, config.rates)
            groups.setdefault((decay, rate), []).append(parameter)
    tables = [
        {"params": parameters, "weight_decay": decay, "lr": rate, "base_lr": rate}
        for (decay, rate), parameters in groups.items()
    ]
    if config.name == "sgd":
        return torch.optim.SGD(
            tables, config.lr, momentum=config.momentum, nesterov=config.nesterov
        )
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(tables, config.lr, betas=cast(tuple[float, float], config.betas))


def rate_factor(config: ScheduleConfig, done: float) -> float:
    """Return the factor on the learning rate when a share `done` of all steps lies behind.

    Examples
    --------
    >>> steps = ScheduleConfig(name="multistep", milestones=(0.5, 0.75))
    >>> [rate_factor(steps, share) for share in (0.0, 0.5, 0.9)]
    [1.0, 0.1, 0.010000000000000002]
    """
    warm = min(1.0, done / config.warmup) if config.warmup else 1.0
    warm = max(warm, 1e-3)
    if config.name == "multistep":
        return float(warm * config.gamma ** bisect.bisect_right(config.milestones, done))
    if config.name == "cosine":
        return float(warm * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * done)).item()))
    return warm


def set_rates(optimizer: torch.optim.Optimizer, config: ScheduleConfig, done: float) -> None:
    """Give every group the learning rate it has when a share `done` of all steps lies behind."""
    factor = rate_factor(config, done)
    for group in optimizer.param_groups:
        group["lr"] = factor * group["base_lr"]


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, *, max_norm: float) -> None:
    """Take one step down a loss, with the gradient clipped to `max_norm` unless that is 0."""
    optimizer.zero_grad()
    loss.backward()
    if max_norm:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, max_norm)
    optimizer.step()


def _factory(name: str) -> Factory:
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            return cast(Factory, getattr(importlib.import_module(module), attribute))
        except (ImportError, AttributeError) as error:
            raise ValueError(f"model.name {name!r} cannot be imported: {error}") from None
    return functools.partial(models.build, name)


def _free_of_decay(module: nn.Module, patterns: Iterable[str]) -> set[int]:
    """Identities of the parameters without weight decay."""
    free: set[int] = set()
    for pattern in patterns:
        if pattern == "vectors":
            free |= {id(p) for p in module.parameters() if p.ndim < 2}
        elif pattern == "sphere":
            exempt = no_decay_groups(module, 0.0)[1]["params"]
            free |= {id(p) for p in exempt if p.ndim > 1}
        else:
            free |= {id(p) for name, p in module.named_parameters() if re.search(pattern, name)}
    return free


def _rate_of(name: str, rates: dict[str, Any]) -> float:
    for pattern, factor in rates.items():
        if re.search(pattern, name):
            return float(factor)
    return 1.0
