"""Several layers in one call: their projections have equal shapes, whatever their widths were."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sphuni.nn.regularizers._base import Objective, Reading
from sphuni.nn.regularizers.plain import Plain
from sphuni.nn.regularizers.projections import RandomProjection

__all__ = ["measure_all"]

_MOST_ROWS = 256  # larger sets fill the processor by themselves


def measure_all(objectives: Sequence[Objective], readings: Sequence[Reading]) -> list[Tensor]:
    """Return the penalty of each objective from what it read of its own weight.

    Small random projections that are measured alike, with images of one shape, go through one
    call of the function; all others are called one by one. Values are the same up to rounding.
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
            images = [readings[i].image for i in members]
            together = _measure_group([objectives[i] for i in members], images)
            values.update(zip(members, together, strict=True))
    return [values[i] for i in range(len(objectives))]


def _key(objective: Objective, reading: Reading) -> object | None:
    """What two objectives must have in common, or None if this one is called by itself."""
    image = reading.image
    if not isinstance(objective, RandomProjection) or reading.population is not None:
        return None
    inner = objective.objective
    if not isinstance(inner, Plain) or inner.rows is not None or inner.takes_rng:
        return None
    if image.ndim != 3 or image.shape[-2] > _MOST_ROWS:
        return None
    options = tuple(sorted((name, repr(value)) for name, value in inner.options.items()))
    return inner.function, options, image.shape, image.dtype, image.device, inner.training


def _measure_group(objectives: Sequence[Objective], images: Sequence[Tensor]) -> list[Tensor]:
    inner = None
    for objective in objectives:
        assert isinstance(objective, RandomProjection)
        inner = objective.objective
        objective.advance()
        inner.advance()
    assert isinstance(inner, Plain)
    found = inner.function(torch.cat(list(images)), **inner.options)
    return list(found.reshape(len(images), -1).mean(dim=1).unbind())
