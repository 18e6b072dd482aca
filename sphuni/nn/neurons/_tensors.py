"""Neurons of a state dict: only names and shapes are known, so the layout is inferred."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from sphuni.nn.neurons._experts import STACKED, expert_layout, stored_across
from sphuni.nn.neurons._factors import join_lora, join_parts
from sphuni.nn.neurons._layout import (
    GATES,
    Heads,
    attention_layout,
    rows,
    split_gates,
    transposed,
    without_leading_ones,
)
from sphuni.nn.neurons._records import NeuronView, Skipped, Source
from sphuni.nn.neurons._scales import join_scales
from sphuni.nn.neurons._screen import NORM, answers, size_of, unfit

__all__ = ["tensor_neurons"]

_RECURRENT = re.compile(r"^(.*?)w(eight)?_(ih|hh|hr)((?:_l\d+)?(?:_reverse)?)$")
_EMBEDDING = re.compile(
    r"(^|[._/])(\w*emb(ed|eds|edding|eddings|edder)?|wte|wpe|tok\w*)([._/]|$|_)", re.I
)
_TRANSPOSED = re.compile(r"deconv|conv_?tr|transpose|(^|[._])up(s|conv|sampl\w*)?(\d*)[._]", re.I)
_GPT2 = re.compile(r"(^|\.)(c_attn|c_proj|c_fc|q_attn)\.weight$")
_PARAMETRIZED = re.compile(r"(^|\.)parametrizations\.\w+\.")


def tensor_neurons(
    tensors: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]],
    *,
    kinds: Mapping[str, str] | None = None,
    heads: Heads = None,
    split_qkv: bool = False,
    max_elements: int = 1 << 28,
) -> Iterator[NeuronView | Skipped]:
    """Yield the neurons in named tensors, and a reason for every tensor that holds none.

    Parameters
    ----------
    tensors : mapping or iterable of (name, tensor)
        A state dict, or whatever a file of weights holds.
    kinds : mapping of name to kind, optional
        Tensors whose neurons are known to lie along their first axis, and what they are. Nothing
        is guessed about these.
    heads, split_qkv, max_elements
        As in `module_neurons`. Heads of `in_proj_weight` are split when `heads` is given.

    Yields
    ------
    NeuronView or Skipped
        In the order of `tensors`; their `parameters` add up to the elements of all tensors.

    Raises
    ------
    TypeError
        If an entry is not a pair of a name and a torch tensor.
    ValueError
        If `heads`, or the three of `split_qkv`, do not divide the rows of a matrix they apply to.

    Notes
    -----
    A file does not say what its tensors are. Rank 2 is a Linear weight (out, in), or an embedding
    if its name says so and it has no bias; ranks 3 to 5 are convolutions; `weight_ih` and
    `weight_hh` are split into 4 (LSTM) or 3 (GRU) gates by the ratio of the sides of
    `weight_hh`; `in_proj_weight` into q, k and v; `gate_up_proj` and `down_proj` of rank 3 into
    experts, in the order that their shapes allow. A bias as long as the second axis and not the
    first shows that a weight is stored the other way round, (in, out), as in transposed
    convolutions and in GPT-2; without a bias the name decides (`deconv`, `up`, `transpose`).
    Weights in eight bits are multiplied by the scales of their rows or blocks, if the file has them
    as `weight_scale_inv` or `weight_scale`.

    Examples
    --------
    >>> import torch
    >>> state = {"rnn.weight_hh_l0": torch.zeros(12, 4), "rnn.bias_hh_l0": torch.zeros(12)}
    >>> [item.name for item in tensor_neurons(state) if isinstance(item, NeuronView)]
    ['rnn.weight_hh_l0[r]', 'rnn.weight_hh_l0[z]', 'rnn.weight_hh_l0[n]']
    """
    pairs = list(tensors.items() if isinstance(tensors, Mapping) else tensors)
    for name, tensor in pairs:
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise TypeError(
                "tensors must map names to torch tensors; got an entry of types "
                f"{type(name).__name__} and {type(tensor).__name__}"
            )
    items = [Source(name, "tensor", value, (name,), size_of(value)) for name, value in pairs]
    parts = join_parts(join_scales(items))
    items = join_lora(parts, heads=heads, split_qkv=split_qkv, max_elements=max_elements)
    guess = _Guess(dict(pairs), kinds or {}, heads, split_qkv)
    return answers([item if _settled(item) else guess.complete(item) for item in items])


def _settled(item: Source) -> bool:
    return item.reason is not None or item.layout is not None


class _Guess:
    """What the names and shapes of all tensors together say about one of them."""

    def __init__(
        self, tensors: dict[str, Tensor], kinds: Mapping[str, str], heads: Heads, split_qkv: bool
    ) -> None:
        self.tensors = tensors
        self.kinds = kinds
        self.heads = heads
        self.split_qkv = split_qkv
        self.gpt2 = any(
            _GPT2.search(name) and self._second_axis_is_out(name, tensor)
            for name, tensor in tensors.items()
        )

    def complete(self, item: Source) -> Source:
        """Give the source its kind and its layout or reason."""
        name, tensor = item.name, item.tensor
        reason = unfit(name, tensor)
        if reason is None and item.value is None and _PARAMETRIZED.search(name):
            reason = "part of a parametrization; the weight as used is not in the file"
        if reason is not None:
            return replace(item, reason=reason)
        if name in self.kinds:
            return replace(item, kind=self.kinds[name], layout=rows)
        bias = (
            self.tensors.get(re.sub("weight$", "bias", name)) if name.endswith("weight") else None
        )
        if bias is not None and bias.shape == tensor.shape:
            return replace(item, kind="norm", reason=NORM)
        return self._recurrent(item) or self._by_rank(item)

    def _recurrent(self, item: Source) -> Source | None:
        match = _RECURRENT.match(item.name)
        if match is None or item.tensor.dim() != 2:
            return None
        prefix, spelled, which, layer = match.groups()
        stem = f"{prefix}w{spelled or ''}_"
        count = self._gates(stem, layer)
        kind = {4: "lstm", 3: "gru"}.get(count, "rnn")
        if which == "hr" or count not in GATES or item.tensor.shape[0] % count:
            return replace(item, kind=kind, layout=rows)
        return replace(item, kind=kind, layout=split_gates(GATES[count]))

    def _gates(self, stem: str, layer: str) -> int:
        """Count the gates: the hidden matrix is (gates * hidden, hidden or projected)."""
        hidden = self.tensors.get(f"{stem}hh{layer}")
        projection = self.tensors.get(f"{stem}hr{layer}")
        if hidden is None or hidden.dim() != 2 or 0 in hidden.shape:
            return 1
        size = projection.shape[1] if projection is not None and projection.dim() == 2 else 0
        ratio, rest = divmod(hidden.shape[0], size or hidden.shape[1])
        return ratio if rest == 0 else 1

    def _by_rank(self, item: Source) -> Source:
        rank = item.tensor.dim()
        if rank == 2:
            return self._matrix(item)
        if _EMBEDDING.search(item.name) and item.tensor.shape[:-2].numel() == 1:
            return replace(item, kind="embedding", layout=without_leading_ones)
        across = self._stored_across(item.name) if rank == 3 else None
        if across is not None:
            return replace(item, kind="experts", layout=expert_layout(across))
        if rank > 5:
            return replace(item, reason=f"of rank {rank}: no layer that is known stores this")
        if rank == 3 and "expert" in item.name:
            reason = "a stack of matrices of experts: which axis holds the neurons is not known"
            return replace(item, reason=reason)
        return self._convolution(item)

    def _stored_across(self, name: str) -> bool | None:
        """Whether experts are stored (in, out), as their shapes say; None if that is not known."""
        leaf = name.rpartition(".")[2]
        prefix = name.removesuffix(leaf)
        beside = ((part, self.tensors.get(prefix + part)) for part in STACKED)
        shapes = {part: one.shape for part, one in beside if one is not None and one.dim() == 3}
        return stored_across(leaf, shapes, None)

    def _matrix(self, item: Source) -> Source:
        name, shape = item.name, item.tensor.shape
        owner, _, leaf = name.rpartition(".")
        if leaf == "in_proj_weight" and shape[0] % 3 == 0:
            layout = attention_layout(name, shape, heads=self.heads, split_qkv=True)
            return replace(item, kind="attention", layout=layout)
        if f"{owner}.bias" not in self.tensors and _EMBEDDING.search(name):
            return replace(item, kind="embedding", layout=rows)
        flipped = self._second_axis_is_out(name, item.tensor)
        if flipped or (self.gpt2 and _GPT2.search(name)):
            turned = torch.Size(reversed(shape))
            inner = attention_layout(name, turned, heads=self.heads, split_qkv=self.split_qkv)
            return replace(item, kind="linear", layout=lambda weight: inner(weight.t()))
        layout = attention_layout(name, shape, heads=self.heads, split_qkv=self.split_qkv)
        return replace(item, kind="linear", layout=layout)

    def _convolution(self, item: Source) -> Source:
        rank = item.tensor.dim() - 2
        groups = self._transposed_groups(item)
        if groups is None:
            return replace(item, kind=f"conv{rank}d", layout=rows)
        return replace(item, kind=f"conv_transpose{rank}d", layout=transposed(groups))

    def _transposed_groups(self, item: Source) -> int | None:
        """Count the groups if the weight is stored (in, out / groups, ...), None if it is not."""
        first, second = item.tensor.shape[:2]
        bias = self._bias_length(item.name)
        named = _TRANSPOSED.search(item.name) is not None
        if bias is None or (bias == first and bias == second):
            return 1 if named else None
        if bias == first or bias % second or first % (bias // second):
            return None
        return bias // second

    def _bias_length(self, name: str) -> int | None:
        bias = (
            self.tensors.get(re.sub("weight$", "bias", name)) if name.endswith("weight") else None
        )
        return bias.numel() if bias is not None and bias.dim() == 1 else None

    def _second_axis_is_out(self, name: str, tensor: Tensor) -> bool:
        if tensor.layout is not torch.strided or tensor.dim() != 2:
            return False
        bias = self._bias_length(name)
        return bias is not None and bias == tensor.shape[1] != tensor.shape[0]
