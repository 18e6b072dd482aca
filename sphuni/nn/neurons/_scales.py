"""Weights in eight bits, which are stored beside the scales of their rows or blocks."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from sphuni.nn.neurons._records import Source
from sphuni.nn.neurons._screen import BYTE_FLOATS

__all__ = ["join_scales"]

_SUFFIXES = ("_scale_inv", "_scale")
"""Both multiply the weight: the first is called the inverse of what it was divided by."""
_USUAL_BLOCK = 128


def join_scales(items: list[Source]) -> list[Source]:
    """Replace weights in eight bits by their products with the scales beside them.

    Scales of blocks change the directions of rows, scales of whole rows their lengths only. A
    weight whose scales do not fit is skipped, as its stored numbers alone are not the weight.
    """
    named = {item.name: item for item in items}
    joined: dict[str, Source] = {}
    consumed: set[str] = set()
    for item in items:
        if item.tensor.dtype not in BYTE_FLOATS or item.tensor.dim() != 2:
            continue
        scale = next((named[item.name + s] for s in _SUFFIXES if item.name + s in named), None)
        if scale is not None:
            joined[item.name] = _product(item, scale)
            consumed.add(scale.name)
    return [joined.get(item.name, item) for item in items if item.name not in consumed]


def _product(item: Source, scale: Source) -> Source:
    together = replace(
        item,
        sources=(*item.sources, *scale.sources),
        parameters=item.parameters + scale.parameters,
    )
    blocks = _blocks(item.tensor.shape, scale.tensor)
    if blocks is None:
        return replace(
            together,
            reason="in eight bits, with scales of type "
            f"{str(scale.tensor.dtype).removeprefix('torch.')} and shape "
            f"{tuple(scale.tensor.shape)} that are not understood",
        )
    return replace(together, value=partial(_scaled, item.tensor, scale.tensor, blocks))


def _blocks(shape: torch.Size, scale: Tensor) -> tuple[int, int] | None:
    """Rows and columns that share a scale, or None if the scales do not fit."""
    if not scale.is_floating_point() or scale.dim() > 2:
        return None
    rows, columns = map(_block, shape, _counts(scale))
    return None if rows is None or columns is None else (rows, columns)


def _counts(scale: Tensor) -> tuple[int, int]:
    """How many scales there are along the rows and along the columns of the weight."""
    if scale.dim() == 2:
        return scale.shape[0], scale.shape[1]
    return scale.numel(), 1


def _block(size: int, count: int) -> int | None:
    if -(-size // _USUAL_BLOCK) == count:  # the last block may be a part of one
        return _USUAL_BLOCK
    return size // count if count and size % count == 0 else None


def _scaled(weight: Tensor, scale: Tensor, blocks: tuple[int, int]) -> Tensor:
    n, d = weight.shape
    whole = scale.detach().float().reshape(_counts(scale))
    whole = whole.repeat_interleave(blocks[0], dim=0)[:n]
    wide = weight.detach().float()
    for start in range(0, d, blocks[1]):
        wide[:, start : start + blocks[1]] *= whole[:, start // blocks[1], None]
    return wide
