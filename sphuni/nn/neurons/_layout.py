"""From the layout of a stored weight to matrices whose rows are neurons."""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from sphuni._numbers import whole
from sphuni.nn.neurons._records import Layout

__all__ = [
    "GATES",
    "Heads",
    "attention_layout",
    "columns",
    "divide_transposed",
    "fused_heads",
    "heads_of",
    "rows",
    "split_gates",
    "split_heads",
    "split_of_nothing",
    "transposed",
    "transposed_rows",
    "unwrapped",
    "without_leading_ones",
]

GATES = {4: ("i", "f", "g", "o"), 3: ("r", "z", "n")}
"""Order in which torch stacks the gates of an LSTM (4) and a GRU (3)."""

Heads = int | Sequence[int] | Mapping[str, int | Sequence[int]] | None

_ONE_OF_QKV = re.compile(
    r"(^|[._])(?:to_|w)?(q|k|v|query|key|value|[qkv]_(proj|lin)|(query|key|value)_proj)$"
)
_FUSED = re.compile(r"(^|[._])(qkv|to_qkv|wqkv|qkv_proj|w_pack|qkv_linear)$", re.I)
_SPLIT_KINDS = ("linear", "attention", "lora")
_PERHAPS_FUSED = re.compile(r"(^|[._])(in_proj|c_attn)$")
_INTERLEAVED = re.compile(r"(^|[._])query_key_value$")
# what adapters, checkpointing and torch.compile put between a layer and the name it was given
_WRAPPED = re.compile(
    r"(\.(base_layer|original_module|modules_to_save\.[^.]+|_orig_mod|_checkpoint_wrapped_module))+$"
)


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


def unwrapped(path: str) -> str:
    """The name that a layer was given, without what wrappers have put behind it."""
    return _WRAPPED.sub("", path)


def attention_layout(name: str, shape: torch.Size, *, heads: Heads, split_qkv: bool) -> Layout:
    """Layout of a Linear weight: split into q, k, v and heads where that was asked for."""
    owner = unwrapped(re.sub("[._]weight$", "", name))
    count = heads_of(name, heads)
    if count is not None and _INTERLEAVED.search(owner):
        _check_heads(name, shape[0], count[0] + 2 * count[1])
        return _grouped_heads(*count)
    one = _ONE_OF_QKV.search(owner)
    if count is not None and one is not None:
        queries, keys = count
        number = queries if one[2].startswith("q") else keys
        _check_heads(name, shape[0], number)
        return split_heads(number)
    if not _is_fused(owner, shape, count):
        return rows
    if count is not None:
        _check_heads(name, shape[0], count[0] + 2 * count[1])
        return fused_heads(*count)
    if split_qkv:
        _check_thirds(name, shape[0])
        return split_gates(("q", "k", "v"))
    return rows


def split_of_nothing(sets: Iterable[tuple[str, str]], heads: Heads, split_qkv: bool) -> str | None:
    """Say that none of these (kind, name) of sets of neurons is from the split asked for."""
    parts = [name.partition("[")[2] for kind, name in sets if kind in _SPLIT_KINDS]
    if heads is not None and not any("head " in part for part in parts):
        asked = f"heads={heads!r}"
    elif split_qkv and not any(parts):
        asked = "split_qkv=True"
    else:
        return None
    return (
        f"{asked} splits no layer: it fits no name that query, key and value weights usually have"
    )


def split_heads(count: int) -> Layout:
    """One matrix per attention head."""
    return split_gates(tuple(f"head {i}" for i in range(count)))


def fused_heads(queries: int, keys: int) -> Layout:
    """One matrix per head of each of q, k and v, stored one after the other."""
    counts = {"q": queries, "k": keys, "v": keys}
    return split_gates(tuple(f"{part} head {i}" for part in "qkv" for i in range(counts[part])))


def _grouped_heads(queries: int, keys: int) -> Layout:
    """Queries stored beside the key and value that they share, as GPT-NeoX and Falcon do."""
    share = queries // keys
    return split_gates(
        tuple(
            name
            for i in range(keys)
            for name in (
                *(f"q head {j}" for j in range(i * share, (i + 1) * share)),
                f"k head {i}",
                f"v head {i}",
            )
        )
    )


def _is_fused(owner: str, shape: torch.Size, count: tuple[int, int] | None) -> bool:
    """Whether a matrix holds q, k and v one after the other.

    The projection into a state space layer is called `in_proj` too, and that to keys and values
    `c_attn`: names that tell only together with the shape.
    """
    if _FUSED.search(owner):
        return True
    match = _PERHAPS_FUSED.search(owner)
    if match is None:
        return False
    uneven = count is not None and count[0] != count[1]
    return shape[0] == 3 * shape[1] or (match[2] == "c_attn" and uneven)


def _stack(weight: Tensor, names: tuple[str, ...]) -> list[tuple[str, Tensor]]:
    return [
        (f"[{name}]", part) for name, part in zip(names, _chunks(weight, len(names)), strict=True)
    ]


def _chunks(weight: Tensor, count: int) -> list[Tensor]:
    size = weight.shape[0] // count
    return [weight[i * size : (i + 1) * size] for i in range(count)]


def heads_of(name: str, heads: Heads) -> tuple[int, int] | None:
    """How many heads the queries and the keys of a layer have, None where that was not said."""
    if not isinstance(heads, Mapping):
        return None if heads is None else _counts(heads)
    for pattern, count in heads.items():
        if name == pattern or fnmatchcase(name, pattern):
            return _counts(count)
    return None


def _counts(heads: int | Sequence[int]) -> tuple[int, int]:
    """The heads of queries and of keys, which are as many unless two numbers are given."""
    if not isinstance(heads, Sequence) or isinstance(heads, str):
        count = whole("heads", heads, 1)
        return count, count
    if len(heads) != 2:
        raise ValueError(
            f"heads must be a number, or one for queries and one for keys; got {heads!r}"
        )
    queries, keys = (whole("heads", count, 1) for count in heads)
    if queries % keys:
        raise ValueError(
            f"heads: every key serves as many queries, so {queries} heads of queries cannot have "
            f"{keys} of keys"
        )
    return queries, keys


def _check_heads(name: str, size: int, parts: int) -> None:
    if size % parts:
        raise ValueError(
            f"heads must divide the rows of every query, key and value matrix; {name!r} has {size} "
            f"rows for {parts} parts. Pass heads={{pattern: count}} to name the layers it fits, "
            "and heads={pattern: (queries, keys)} where keys have fewer heads."
        )


def _check_thirds(name: str, size: int) -> None:
    if size % 3:
        raise ValueError(
            f"split_qkv takes a third of the rows each for query, key and value; {name!r} has "
            f"{size} rows. Pass heads={{pattern: (queries, keys)}} where keys have fewer heads."
        )
