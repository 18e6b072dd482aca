"""Several layers in one call, where what was read of them has one shape."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sphuni.nn._looks import Range, doubted, hold, taken_for_granted
from sphuni.nn.regularizers._base import Objective, Reading
from sphuni.nn.regularizers.plain import Plain
from sphuni.nn.regularizers.projections import RandomProjection

__all__ = ["LARGEST_HELD", "can_wait", "held_by", "measure_all"]

_MOST = 160_000  # larger images are done faster one by one, while they are in the cache
_MOST_BESIDE = 1 << 21  # of a GPU, on which starting the operations of larger ones takes no longer
LARGEST_HELD = 1 << 24
"""What images that wait for one another may hold on a GPU, see `held_by`."""


def measure_all(objectives: Sequence[Objective], readings: Sequence[Reading]) -> list[Tensor]:
    """Return the penalty of each objective from what it read of its own weight.

    Images that are small, of one shape, and measured alike go through one call of the function;
    all others are called one by one. Values are the same up to rounding. What has to be looked at
    on a GPU is looked at once for all; only what then turns out not to hold is measured again.
    """
    values: dict[int, Tensor] = {}
    groups: dict[object, list[int]] = {}
    for i, (objective, reading) in enumerate(zip(objectives, readings, strict=True)):
        key = _key(objective, reading)
        if key is None:
            values[i] = objective.measure(reading)
        else:
            groups.setdefault(key if _is_small(reading) else (key, i), []).append(i)
    several = [
        ([objectives[i] for i in members], [readings[i] for i in members])
        for members in groups.values()
    ]
    found, ranges = [], list[list[Range]]()
    for group in several:
        with taken_for_granted() as asked:
            found.append(_measure_group(*group))
        ranges.append(asked)
    for k, holds in enumerate(hold(ranges)):
        if not holds:
            with doubted():
                found[k] = _measure_group(*several[k])
    for members, together in zip(groups.values(), found, strict=True):
        values.update(zip(members, together, strict=True))
        _advance([objectives[i] for i in members])
    return [values[i] for i in range(len(objectives))]


def can_wait(objective: Objective, reading: Reading) -> bool:
    """Whether what was read is better measured together with that of other layers."""
    alone = reading.image.device.type == "cpu" and not _is_small(reading)
    return not alone and _key(objective, reading) is not None


def held_by(reading: Reading) -> int:
    """Numbers in the image or, if that is larger, its Gram matrix; none on the processor."""
    *_, n, d = reading.image.shape
    return 0 if reading.image.device.type == "cpu" else reading.image.numel() // d * max(n, d)


def _is_small(reading: Reading) -> bool:
    if reading.image.device.type == "cpu":
        return reading.image.numel() <= _MOST
    return held_by(reading) <= _MOST_BESIDE


def _key(objective: Objective, reading: Reading) -> object | None:
    """What two objectives must have in common, or None if this one is called by itself."""
    image, inner = reading.image, _measured_by(objective)
    if not isinstance(inner, Plain) or inner.takes_rng:
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
    """The penalties of images that are measured alike, without counting the call."""
    inner = _measured_by(objectives[0])
    assert inner is not None
    image, population = readings[0].image, readings[0].population
    if len(readings) == 1:
        return [inner.penalty(image, population).mean()]
    images = torch.stack([reading.image for reading in readings]).flatten(0, -3)
    found = inner.penalty(images, population)
    return list(found.reshape(len(readings), -1).mean(dim=1).unbind())


def _advance(objectives: Sequence[Objective]) -> None:
    """Count a call of each objective, and of the one that saw its image."""
    for objective in objectives:
        objective.advance()
        inner = _measured_by(objective)
        if inner is not None and inner is not objective:
            inner.advance()
