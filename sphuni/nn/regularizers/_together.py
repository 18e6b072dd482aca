"""Several layers in one call, where what was read of them has one shape."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sphuni.nn.regularizers._base import Objective, Reading
from sphuni.nn.regularizers.plain import Plain
from sphuni.nn.regularizers.projections import RandomProjection

__all__ = ["can_wait", "measure_all"]

_MOST = 160_000  # larger images are done faster one by one, while they are in the cache


def measure_all(objectives: Sequence[Objective], readings: Sequence[Reading]) -> list[Tensor]:
    """Return the penalty of each objective from what it read of its own weight.

    Images that are small, of one shape, and measured alike go through one call of the function;
    all others are called one by one. Values are the same up to rounding.
    """
    values: dict[int, Tensor] = {}
    groups: dict[object, list[int]] = {}
    for i, (objective, reading) in enumerate(zip(objectives, readings, strict=True)):
        key = _key(objective, reading)
        if key is None:
            values[i] = objective.measure(reading)
        else:
            groups.setdefault(key, []).append(i)
    for members in groups.values():
        if len(members) == 1:
            values[members[0]] = objectives[members[0]].measure(readings[members[0]])
        else:
            together = _measure_group(
                [objectives[i] for i in members], [readings[i] for i in members]
            )
            values.update(zip(members, together, strict=True))
    return [values[i] for i in range(len(objectives))]


def can_wait(objective: Objective, reading: Reading) -> bool:
    """Whether what was read may be measured together with that of other layers."""
    return _key(objective, reading) is not None


def _key(objective: Objective, reading: Reading) -> object | None:
    """What two objectives must have in common, or None if this one is called by itself."""
    image, inner = reading.image, _measured_by(objective)
    if not isinstance(inner, Plain) or inner.takes_rng or image.numel() > _MOST:
        return None
    options = tuple(sorted((name, repr(value)) for name, value in inner.options.items()))
    alike = image.shape, image.dtype, image.device, reading.population
    return inner.function, options, *alike, inner.training


def _measured_by(objective: Objective) -> Objective | None:
    """The objective that sees the image: the inner one of a random projection."""
    if not isinstance(objective, RandomProjection):
        return objective
    inner = objective.objective
    return inner if inner.rows is None else None


def _measure_group(objectives: Sequence[Objective], readings: Sequence[Reading]) -> list[Tensor]:
    first = _measured_by(objectives[0])
    assert first is not None
    images = torch.stack([reading.image for reading in readings]).flatten(0, -3)
    found = first.penalty(images, readings[0].population)
    for objective in objectives:
        objective.advance()
        inner = _measured_by(objective)
        if inner is not None and inner is not objective:
            inner.advance()
    return list(found.reshape(len(readings), -1).mean(dim=1).unbind())
