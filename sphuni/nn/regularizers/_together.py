"""Several layers in one call: their projections have equal shapes, whatever their widths were."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sphuni.nn._precision import check_weight, widen
from sphuni.nn.regularizers._base import Objective
from sphuni.nn.regularizers.plain import Plain
from sphuni.nn.regularizers.projections import RandomProjection

__all__ = ["evaluate"]

_MOST_ROWS = 256  # larger sets fill the processor by themselves


def evaluate(objectives: Sequence[Objective], weights: Sequence[Tensor]) -> list[Tensor]:
    """Return the penalty of each objective on its own weight.

    Small random projections that are measured alike, with images of one shape, go through one
    call of the function; all others are called one by one. Values are the same up to rounding.
    """
    values: dict[int, Tensor] = {}
    groups: dict[object, list[int]] = {}
    for i, (objective, weight) in enumerate(zip(objectives, weights, strict=True)):
        key = _key(objective, weight)
        if key is None:
            values[i] = objective(weight)
        else:
            groups.setdefault(key, []).append(i)
    for members in groups.values():
        if len(members) == 1:
            values[members[0]] = objectives[members[0]](weights[members[0]])
        else:
            together = _evaluate_group(
                [objectives[i] for i in members], [weights[i] for i in members]
            )
            values.update(zip(members, together, strict=True))
    return [values[i] for i in range(len(objectives))]


def _key(objective: Objective, weight: Tensor) -> object | None:
    """What two objectives must have in common, or None if this one is called by itself."""
    if not isinstance(objective, RandomProjection) or objective.rows is not None:
        return None
    inner, (n, d) = objective.objective, weight.shape[-2:]
    if not isinstance(inner, Plain) or inner.rows is not None or inner.takes_rng:
        return None
    if weight.ndim != 2 or d <= objective.k or n > _MOST_ROWS:
        return None
    options = tuple(sorted((name, repr(value)) for name, value in inner.options.items()))
    sizes = type(objective), n, objective.k, objective.C, getattr(objective, "size", None)
    return inner.function, options, sizes, weight.dtype, weight.device, inner.training


def _evaluate_group(objectives: Sequence[Objective], weights: Sequence[Tensor]) -> list[Tensor]:
    images, inner = [], None
    for objective, weight in zip(objectives, weights, strict=True):
        assert isinstance(objective, RandomProjection)
        inner = objective.objective
        check_weight(weight)
        with torch.autocast(weight.device.type, enabled=False):
            images.append(objective.images(widen(weight)))
        for one in (objective, inner) if objective.training else ():
            one.draws += 1
    assert isinstance(inner, Plain)
    found = inner.function(torch.cat(images), **inner.options)
    return list(found.reshape(len(images), -1).mean(dim=1).unbind())
