"""Several layers in one call: of one shape, or of several on a GPU."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sphuni._transforms import has_values
from sphuni.nn._pair_mean import pair_means
from sphuni.nn._precision import widen
from sphuni.nn._waits import Range, hold
from sphuni.nn.regularizers._base import Objective, Reading
from sphuni.nn.regularizers.plain import Plain
from sphuni.nn.regularizers.projections import RandomProjection
from sphuni.pairwise import joins, joint_room

__all__ = ["LARGEST_HELD", "Measured", "can_wait", "held_by", "measure_all"]

_MOST = 160_000  # larger images are done faster one by one, while they are in the cache
_MOST_BESIDE = 1 << 21  # of a GPU, on which starting the operations of larger ones takes no longer
LARGEST_HELD = 1 << 24
"""What images that wait for one another may hold on a GPU, see `held_by`."""

_Layers = dict[int, tuple[Objective, Reading]]


class Measured(NamedTuple):
    """The penalties (m,) of the objectives at m places of a sequence."""

    places: list[int]
    values: Tensor


def measure_all(objectives: Sequence[Objective], readings: Sequence[Reading]) -> list[Measured]:
    """Return the penalty of each objective from what it read of its own weight.

    Images that are small, of one shape, and measured alike go through one call of the function;
    all others are called one by one. On a GPU means over pairs are taken jointly, and what has to
    be looked at there is looked at once for all; only what then turns out not to hold is measured
    again. Values are the same up to rounding.
    """
    layers: _Layers = dict(enumerate(zip(objectives, readings, strict=True)))
    measured = _measure_jointly(layers)
    for i in (i for places, _ in measured for i in places):
        del layers[i]
    return measured + _measure_by_shape(layers)


def can_wait(objective: Objective, reading: Reading) -> bool:
    """Whether what was read is better measured together with that of other layers."""
    alone = reading.image.device.type == "cpu" and not _is_small(reading)
    return not alone and _key(objective, reading) is not None


def held_by(reading: Reading) -> int:
    """Numbers in the image or, if that is larger, its Gram matrix; none on the processor."""
    *_, n, d = reading.image.shape
    return 0 if reading.image.device.type == "cpu" else reading.image.numel() // d * max(n, d)


def _measure_by_shape(layers: _Layers) -> list[Measured]:
    """Penalties of images of one shape in one call."""
    measured = []
    groups: dict[object, list[int]] = {}
    for i, (objective, reading) in layers.items():
        key = _key(objective, reading)
        if key is None:
            measured.append(Measured([i], objective.measure(reading).reshape(1)))
        else:
            groups.setdefault(key if _is_small(reading) else (key, i), []).append(i)
    for places in groups.values():
        objectives, readings = zip(*(layers[i] for i in places), strict=True)
        inner, (image, population, _) = _measured_by(objectives[0]), readings[0]
        assert inner is not None
        if len(places) > 1:
            image = torch.stack([reading.image for reading in readings]).flatten(0, -3)
        found = inner.penalty(image, population)
        measured.append(Measured(places, found.reshape(len(places), -1).mean(dim=1)))
        _advance(objectives)
    return measured


def _measure_jointly(layers: _Layers) -> list[Measured]:
    """Penalties of images of several shapes; those that cannot be had so are left out."""
    groups: dict[object, list[int]] = {}
    for i, layer in layers.items():
        key = _joint_key(*layer)
        if key is not None:
            groups.setdefault(key, []).append(i)
    parts = [part for places in groups.values() for part in _parts(places, layers)]
    found = [_joint_penalties([layers[i] for i in part]) for part in parts]
    measured = []
    for part, (values, _), holds in zip(parts, found, hold([one[1] for one in found]), strict=True):
        each = len(holds) // len(part)
        good = [i for k, i in enumerate(part) if all(holds[k * each : (k + 1) * each])]
        if 0 < len(good) < len(part):
            values, _ = _joint_penalties([layers[i] for i in good])
        if good:
            measured.append(Measured(good, values))
            _advance([layers[i][0] for i in good])
    return measured


def _joint_penalties(layers: Sequence[tuple[Objective, Reading]]) -> tuple[Tensor, list[Range]]:
    """The penalties of some layers, if numbers that nobody has looked at are in ranges."""
    weights, means = [], []
    for objective, (image, population, _) in layers:
        inner = _measured_by(objective)
        assert isinstance(inner, Plain)
        weight = widen(image.reshape(-1, *image.shape[-2:]))
        weights.append(weight)
        means.append(inner.pair_mean(weight, population))
    with torch.autocast(weights[0].device.type, enabled=False):
        values, ranges = pair_means(weights, means)
    return values.reshape(len(layers), -1).mean(dim=1), ranges


def _parts(places: list[int], layers: _Layers) -> Iterator[list[int]]:
    """Layers in the order of their rows, as many at a time as there is room for."""
    part, held = list[int](), 0
    for i in sorted(places, key=lambda i: layers[i][1].image.shape[-2]):
        image = layers[i][1].image
        pairs = image.shape[:-1].numel() * image.shape[-2]
        if part and held + pairs > joint_room(image):
            yield part
            part, held = [], 0
        part.append(i)
        held += pairs
    if part:
        yield part


def _is_small(reading: Reading) -> bool:
    if reading.image.device.type == "cpu":
        return reading.image.numel() <= _MOST
    return held_by(reading) <= _MOST_BESIDE


def _key(objective: Objective, reading: Reading) -> tuple[object, ...] | None:
    """What two objectives must have in common, or None if this one is called by itself."""
    inner, image = _measured_by(objective), reading.image
    if not isinstance(inner, Plain) or inner.takes_rng:
        return None
    return *_kind(inner, image), image.shape, reading.population


def _joint_key(objective: Objective, reading: Reading) -> tuple[object, ...] | None:
    """The same of means over pairs, which need not have one shape, where that is faster."""
    inner, image = _measured_by(objective), reading.image
    if not (isinstance(inner, Plain) and inner.is_pair_mean and joins(image)):
        return None
    if not (has_values(image) and image.requires_grad and torch.is_grad_enabled()):
        return None
    return *_kind(inner, image), image.shape[:-2]


def _kind(inner: Plain, image: Tensor) -> tuple[object, ...]:
    """Function, options and type of what is measured."""
    options = tuple(sorted((name, repr(value)) for name, value in inner.options.items()))
    return inner.function, options, inner.training, image.dtype, image.device


def _measured_by(objective: Objective) -> Objective | None:
    """The objective that sees the image: the inner one of a random projection."""
    if not isinstance(objective, RandomProjection):
        return objective
    inner = objective.objective
    return inner if inner.rows is None else None


def _advance(objectives: Sequence[Objective]) -> None:
    """Count a call of each objective, and of the one that saw its image."""
    for objective in objectives:
        objective.advance()
        inner = _measured_by(objective)
        if inner is not None and inner is not objective:
            inner.advance()
