"""Neurons of a module: the kind of every layer is known, and weights are read as used."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sphuni.nn.neurons._experts import expert_layout, module_stores_across
from sphuni.nn.neurons._factors import join_lora, join_parts
from sphuni.nn.neurons._layout import (
    GATES,
    Heads,
    attention_layout,
    fused_heads,
    heads_of,
    rows,
    split_gates,
    split_heads,
    transposed,
    without_leading_ones,
)
from sphuni.nn.neurons._records import Layout, NeuronView, Skipped, Source
from sphuni.nn.neurons._screen import NORM, answers, size_of, unfit

__all__ = ["module_neurons"]

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_BUFFER = "a buffer: fixed or computed, not trained"


def module_neurons(
    model: nn.Module, *, heads: Heads = None, split_qkv: bool = False, max_elements: int = 1 << 28
) -> Iterator[NeuronView | Skipped]:
    """Yield the neurons of every layer of a module, and a reason for every tensor without any.

    Parameters
    ----------
    model : nn.Module
        The network. It is not changed: no forward pass runs and parametrizations are evaluated
        in evaluation mode.
    heads : int, pair of int, or mapping of name pattern to those, optional
        Split query, key and value weights into that many attention heads. A pair (queries, keys)
        is for keys and values of fewer heads. A mapping gives the number per weight name
        (`fnmatch` patterns, the first match counts). `nn.MultiheadAttention` knows its own number,
        and the product of a LoRA pair is split as the weight that it is added to.
    split_qkv : bool, default False
        Split a Linear that holds query, key and value in one matrix (`qkv`, `c_attn`, ...), a third
        of its rows each; with keys of fewer heads give `heads` instead. Where they are stored head
        by head (`query_key_value`) only `heads` splits them.
        `nn.MultiheadAttention.in_proj_weight` is always split.
    max_elements : int, default 2**28
        Largest product of two LoRA factors that is formed.

    Yields
    ------
    NeuronView or Skipped
        In the order of `model.named_modules()`. The `parameters` of all records add up to the
        number of elements of all parameters and buffers, counted once per name.

    Raises
    ------
    TypeError
        If `model` is not a module.
    ValueError
        If `heads`, or the three of `split_qkv`, do not divide the rows of a matrix they apply to.

    Notes
    -----
    Rows by layer: Linear and Bilinear (out, in); convolutions (out, in / groups * kernel), all
    groups together; transposed convolutions likewise after their axes are exchanged; Embedding
    (entries, d); recurrent layers one matrix per gate; stacks of experts (`gate_up_proj`,
    `down_proj`) one per expert; LoRA factors as their product B A; weights under
    `torch.nn.utils.parametrize`, weight or spectral normalisation and pruning as used.

    Examples
    --------
    >>> import torch
    >>> for item in module_neurons(torch.nn.Linear(5, 3)):
    ...     print(item.name, item.kind, type(item).__name__)
    weight linear NeuronView
    bias linear Skipped
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}")
    items = [
        item
        for prefix, module, inner in _walk(model)
        for item in _sources(prefix, module, inner, heads, split_qkv)
    ]
    joined = join_lora(items, heads=heads, split_qkv=split_qkv, max_elements=max_elements)
    return answers(joined)


def _walk(model: nn.Module) -> Iterator[tuple[str, nn.Module, bool]]:
    """Yield every module with its prefix and whether it is machinery of a parametrization."""
    inner: set[int] = set()
    for name, module in model.named_modules(remove_duplicate=False):
        if parametrize.is_parametrized(module):
            inner.update(id(part) for part in module.parametrizations.modules())
        yield (f"{name}." if name else ""), module, id(module) in inner


def _sources(
    prefix: str, module: nn.Module, inner: bool, heads: Heads, split_qkv: bool
) -> Iterator[Source]:
    if isinstance(module, parametrize.ParametrizationList):
        return
    found = join_parts(list(_stored(prefix, module, inner)))
    found += _parametrized(prefix, module)
    for item in found:
        if item.reason is None:
            leaf = item.name.removeprefix(prefix)
            item = _described(module, leaf, item, heads, split_qkv)
        yield item


def _stored(prefix: str, module: nn.Module, inner: bool) -> Iterator[Source]:
    kind = _kind(module)
    machinery = "belongs to a parametrization, whose result is analysed instead"
    for leaf, weight in module.named_parameters(recurse=False, remove_duplicate=False):
        name = prefix + leaf
        reason = machinery if inner else None
        yield Source(name, kind, weight, (name,), size_of(weight), reason=reason)
    for leaf, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
        name = prefix + leaf
        reason = machinery if inner else unfit(name, buffer) or _BUFFER
        yield Source(name, kind, buffer, (name,), size_of(buffer), reason=reason)


def _parametrized(prefix: str, module: nn.Module) -> Iterator[Source]:
    if not parametrize.is_parametrized(module):
        return
    for leaf, plist in module.parametrizations.items():  # type: ignore[union-attr, operator]
        stored = dict(plist.named_parameters(recurse=False, remove_duplicate=False))
        buffers = dict(plist.named_buffers(recurse=False, remove_duplicate=False))
        originals = {**stored, **buffers}
        names = tuple(f"{prefix}parametrizations.{leaf}.{key}" for key in originals)
        tensors = list(originals.values())
        # The last original is the one with the weight's own shape under weight_norm (g, v).
        yield Source(
            prefix + leaf,
            _kind(module),
            tensors[-1],
            names,
            sum(size_of(tensor) for tensor in tensors),
            reason=None if stored else _BUFFER,
            value=partial(_as_used, module, leaf),
        )


def _as_used(module: nn.Module, leaf: str) -> Tensor:
    """Evaluate a parametrized tensor without letting the parametrization update its state."""
    parts = list(module.parametrizations.modules())  # type: ignore[union-attr]
    modes = [part.training for part in parts]
    try:
        for part in parts:
            part.training = False
        with torch.no_grad():
            value: Tensor = getattr(module, leaf)
            return value
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode


def _described(module: nn.Module, leaf: str, item: Source, heads: Heads, split_qkv: bool) -> Source:
    """Complete a source with the layout of its layer, or with the reason why it has none."""
    reason = unfit(item.name, item.tensor)
    if reason is None and _kind(module) == "norm":
        reason = NORM
    if reason is not None:
        return replace(item, reason=reason)
    if isinstance(module, nn.MultiheadAttention):
        by_head = heads_of(item.name, heads) is not None
        return replace(item, layout=_attention(module, leaf, by_head))
    if isinstance(module, _RECURRENT):
        names = GATES.get({"lstm": 4, "gru": 3}.get(_kind(module), 1))
        split = names is not None and not leaf.startswith("weight_hr")
        return replace(item, layout=split_gates(names) if split and names else rows)
    if leaf == "weight":
        layout = _weight_layout(module, item, heads, split_qkv)
        if layout is not None:
            return replace(item, layout=layout)
    return _unknown(module, leaf, item)


def _attention(module: nn.MultiheadAttention, leaf: str, by_head: bool) -> Layout:
    """Layout of a layer that knows its own number of heads."""
    count = module.num_heads
    if leaf == "in_proj_weight":
        return fused_heads(count, count) if by_head else split_gates(("q", "k", "v"))
    return split_heads(count) if by_head else rows


def _weight_layout(module: nn.Module, item: Source, heads: Heads, split_qkv: bool) -> Layout | None:
    if isinstance(module, nn.Linear):
        return attention_layout(item.name, item.tensor.shape, heads=heads, split_qkv=split_qkv)
    if isinstance(module, nn.modules.conv._ConvNd):
        return transposed(module.groups) if module.transposed else rows
    if isinstance(module, nn.Embedding | nn.EmbeddingBag | nn.Bilinear):
        return rows
    if _kind(module) == "linear":
        shape = torch.Size(reversed(item.tensor.shape))
        inner = attention_layout(item.name, shape, heads=heads, split_qkv=split_qkv)
        return lambda weight: inner(weight.t())
    return None


def _unknown(module: nn.Module, leaf: str, item: Source) -> Source:
    """Read a parameter that a custom module holds: matrices and convolution weights only."""
    shape = [size for i, size in enumerate(item.tensor.shape) if size > 1 or i > 0]
    rank = item.tensor.dim()
    across = module_stores_across(module, leaf) if rank == 3 else None
    if across is not None:
        return replace(item, kind="experts", layout=expert_layout(across))
    if rank in (4, 5) and leaf == "weight":
        return replace(item, kind=f"conv{rank - 2}d", layout=rows)
    if rank == 2 or (len(shape) == 2 and rank == 3):
        return replace(item, kind="parameter", layout=without_leading_ones)
    owner = type(module).__name__
    reason = f"a parameter of rank {rank} in {owner}: which axis holds its neurons is not known"
    return replace(item, kind="parameter", reason=reason)


def _kind(module: nn.Module) -> str:
    if isinstance(module, nn.modules.conv._ConvNd):
        return f"conv{'_transpose' if module.transposed else ''}{len(module.kernel_size)}d"
    if isinstance(module, nn.RNNBase):
        return str(module.mode).split("_")[0].lower()
    if isinstance(module, nn.RNNCellBase):
        return type(module).__name__.removesuffix("Cell").removeprefix("Sphere").lower()
    if isinstance(module, _NORMS) or type(module).__name__.lower().endswith("norm"):
        return "norm"
    for kind, types in _KINDS.items():
        if isinstance(module, types):
            return kind
    # transformers keeps its own Conv1D, a Linear that stores its weight as (in, out).
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):
        return "linear"
    return "parameter"


_KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "linear": (nn.Linear,),
    "embedding": (nn.Embedding, nn.EmbeddingBag),
    "bilinear": (nn.Bilinear,),
    "attention": (nn.MultiheadAttention,),
}
