"""From the layout of a stored weight to matrices whose rows are neurons."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import partial

import torch
from torch import Tensor

from sphuni.nn.neurons._records import Layout

__all__ = [
    "GATES",
    "Heads",
    "attention_layout",
    "columns",
    "divide_transposed",
    "fused_heads",
    "rows",
    "split_gates",
    "split_heads",
    "transposed",
    "transposed_rows",
    "without_leading_ones",
]

GATES = {4: ("i", "f", "g", "o"), 3: ("r", "z", "n")}
"""Order in which torch stacks the gates of an LSTM (4) and a GRU (3)."""

Heads = int | Mapping[str, int] | None

_ONE_OF_QKV = re.compile(
    r"(^|[._])(q|k|v|query|key|value|wq|wk|wv|to_q|to_k|to_v|[qkv]_(proj|lin)|(query|key|value)_proj)$"
)
_FUSED = re.compile(r"(^|[._])(qkv|to_qkv|wqkv|qkv_proj|in_proj|c_attn|w_pack|qkv_linear)$", re.I)
_INTERLEAVED = re.compile(r"(^|[._])query_key_value$")


def rows(weight: Tensor) -> list[tuple[str, Tensor]]:
    """Neurons along the first axis: Linear, Conv, Embedding, Bilinear."""
    return [("", weight.flatten(1))]


def columns(weight: Tensor) -> list[tuple[str, Tensor]]:
    """Neurons along the second axis of a matrix that multiplies from the right, x @ weight."""
    return [("", weight.t())]


def without_leading_ones(weight: Tensor) -> list[tuple[str, Tensor]]:
    """Read a table stored with batch axes of length one, such as (1, positions, d)."""
    while weight.dim() > 2 and weight.shape[0] == 1:
        weight = weight[0]
    return rows(weight)


def transposed_rows(weight: Tensor, *, groups: int = 1) -> Tensor:
    """Return the neurons of a transposed convolution as rows.

    Parameters
    ----------
    weight : Tensor, shape (channels_in, channels_out / groups, *kernel)
        Weight of ConvTranspose1d, 2d or 3d.
    groups : int, default 1
        Number of groups; it must divide `channels_in`.

    Returns
    -------
    Tensor, shape (channels_out, channels_in / groups * prod(kernel))

    Raises
    ------
    ValueError
        If `groups` does not divide `channels_in`.

    Examples
    --------
    >>> import torch
    >>> transposed_rows(torch.zeros(6, 5, 2, 2), groups=3).shape
    torch.Size([15, 8])
    """
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(
            f"groups must divide the {weight.shape[0]} input channels of the weight; got {groups}"
        )
    grouped = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    return grouped.transpose(1, 2).flatten(0, 1).flatten(1)


def divide_transposed(weight: Tensor, lengths: Tensor, *, groups: int = 1) -> Tensor:
    """Divide every neuron of a transposed convolution by a number of its own.

    Parameters
    ----------
    weight : Tensor, shape (channels_in, channels_out / groups, *kernel)
    lengths : Tensor, shape (channels_out,)
        In the order of `transposed_rows`.
    groups : int, default 1

    Returns
    -------
    Tensor, shape of `weight`

    Examples
    --------
    >>> import torch
    >>> weight = torch.ones(6, 5, 2, 2)
    >>> divided = divide_transposed(weight, torch.arange(1.0, 16.0), groups=3)
    >>> transposed_rows(divided, groups=3)[[0, 1, 14], 0]
    tensor([1.0000, 0.5000, 0.0667])
    """
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    factors = lengths.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
    return (grouped / factors).reshape(weight.shape)


def transposed(groups: int) -> Layout:
    """Layout of a transposed convolution with that many groups."""
    return lambda weight: [("", transposed_rows(weight, groups=groups))]


def split_gates(names: tuple[str, ...]) -> Layout:
    """One matrix per gate of a recurrent layer, or per part of a fused projection."""
    return lambda weight: _stack(weight.flatten(1), names)


def attention_layout(name: str, shape: torch.Size, *, heads: Heads, split_qkv: bool) -> Layout:
    """Layout of a Linear weight: split into q, k, v and heads where that was asked for."""
    owner = name.removesuffix(".weight")
    count = _heads_of(name, heads)
    if count is not None and _INTERLEAVED.search(owner):
        return partial(_interleaved, count=_checked(name, shape[0], 3 * count) // 3)
    if _FUSED.search(owner) and (split_qkv or count is not None) and shape[0] % 3 == 0:
        if count is None:
            return split_gates(("q", "k", "v"))
        return fused_heads(_checked(name, shape[0], 3 * count) // 3)
    if count is not None and _ONE_OF_QKV.search(owner):
        return split_heads(_checked(name, shape[0], count))
    return rows


def split_heads(count: int) -> Layout:
    """One matrix per attention head."""
    return lambda weight: _stack(weight, tuple(f"head {i}" for i in range(count)))


def fused_heads(count: int) -> Layout:
    """One matrix per head of each of q, k and v, stored one after the other."""
    return split_gates(tuple(f"{part} head {i}" for part in "qkv" for i in range(count)))


def _interleaved(weight: Tensor, *, count: int) -> list[tuple[str, Tensor]]:
    """Split q, k, v stored head by head, as GPT-NeoX and BLOOM do."""
    names = tuple(f"{part} head {i}" for i in range(count) for part in "qkv")
    return _stack(weight, names)


def _stack(weight: Tensor, names: tuple[str, ...]) -> list[tuple[str, Tensor]]:
    return [
        (f"[{name}]", part) for name, part in zip(names, _chunks(weight, len(names)), strict=True)
    ]


def _chunks(weight: Tensor, count: int) -> list[Tensor]:
    size = weight.shape[0] // count
    return [weight[i * size : (i + 1) * size] for i in range(count)]


def _heads_of(name: str, heads: Heads) -> int | None:
    if heads is None or isinstance(heads, int):
        return heads
    for pattern, count in heads.items():
        if name == pattern or fnmatchcase(name, pattern):
            return count
    return None


def _checked(name: str, size: int, parts: int) -> int:
    if parts < 1 or size % parts:
        raise ValueError(
            f"heads must divide the rows of every query, key and value matrix; {name!r} has {size} "
            f"rows for {parts} parts. Pass heads={{pattern: count}} to name the layers it fits."
        )
    return parts
