"""Why a tensor holds no set of neurons, and the last step from a source to its answers."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedTensorMixin  # type: ignore[attr-defined]

from sphuni.nn.neurons._layout import rows
from sphuni.nn.neurons._records import NeuronView, Skipped, Source

__all__ = ["BYTE_FLOATS", "NORM", "TIED", "answers", "size_of", "unfit"]

NORM = "the scale of a normalisation layer: one number per channel, no rows"
TIED = "tied to "

_NAMED = (
    (re.compile(r"running_(mean|var)$"), "a running statistic of a normalisation layer"),
    (re.compile(r"num_batches_tracked$"), "a counter of a normalisation layer"),
    (re.compile(r"position_ids$"), "integer indices of positions"),
    (re.compile(r"magnitude(_vector)?(\.|$)"), "a vector of magnitudes without directions"),
)
_BIAS = re.compile(r"(^|[._])\w*bias(_\w+)?$")
_AUXILIARY = (
    (re.compile(r"(^|[._])(attn_)?mask$"), "a mask of the forward pass, not a trained weight"),
    (
        re.compile(r"(^|[._])(q?scales?|qzeros|zeros|absmax|weight_scale(_inv)?|quant_map)$"),
        "a scale: it multiplies activations or a quantised weight",
    ),
)
_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
BYTE_FLOATS = {
    getattr(torch, name)
    for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
    if hasattr(torch, name)
}


def unfit(name: str, tensor: Tensor) -> str | None:
    """Say why the tensor cannot hold neurons whatever its layer, or None if it may."""
    if isinstance(tensor, UninitializedTensorMixin):
        return "not initialised yet: run one batch through the lazy module first"
    if getattr(tensor, "is_nested", False):
        return "a nested tensor of ragged rows"
    if tensor.layout is not torch.strided:
        return f"stored as {str(tensor.layout).removeprefix('torch.')}; make it dense first"
    if tensor.device.type == "meta":
        return "on the meta device: it has a shape but no numbers"
    return _unfit_numbers(name, tensor) or _unfit_shape(name, tensor)


def _unfit_numbers(name: str, tensor: Tensor) -> str | None:
    if tensor.is_quantized:
        return "quantised; dequantise it first"
    if tensor.is_complex():
        return "complex numbers: directions on the real sphere are not defined for them"
    for pattern, reason in _NAMED:
        if pattern.search(name):
            return reason
    if tensor.dtype is torch.bool:
        return "truth values, such as a mask"
    if tensor.dtype in _FLOATS or tensor.dtype in BYTE_FLOATS:
        return None
    if not tensor.is_floating_point():
        return "integers: indices, counts or packed values rather than weights"
    return f"numbers of type {str(tensor.dtype).removeprefix('torch.')} are not read"


def _unfit_shape(name: str, tensor: Tensor) -> str | None:
    if tensor.numel() == 0:
        return "empty: it holds no numbers"
    if tensor.dim() == 0:
        return "a single number"
    if tensor.dim() == 1:
        return "one-dimensional: a bias, scale or statistic has no rows to compare"
    if _BIAS.search(name):
        return "a bias: it is added to activations and has no direction of its own"
    for pattern, reason in _AUXILIARY:
        if pattern.search(name):
            return reason
    return None


def size_of(tensor: Tensor) -> int:
    """Count the elements; a parameter without a shape has none."""
    if isinstance(tensor, UninitializedTensorMixin):
        return 0
    return tensor.numel()


def answers(items: Iterable[Source]) -> Iterator[NeuronView | Skipped]:
    """Turn sources into answers one at a time; the second sight of a tensor is only noted."""
    seen: dict[object, str] = {}
    for item in items:
        key = _identity(item)
        if key is not None and key in seen:
            yield _skip(item, f"{TIED}{seen[key]}, where it is counted")
            continue
        if key is not None:
            seen[key] = item.name
        yield from _answer(item)


def _answer(item: Source) -> Iterator[NeuronView | Skipped]:
    if item.reason is not None:
        yield _skip(item, item.reason)
        return
    try:
        weight = (item.tensor if item.value is None else item.value()).detach()
        if weight.dtype in BYTE_FLOATS:
            weight = weight.to(torch.float32)
        parts = (item.layout or rows)(weight)
    except (RuntimeError, NotImplementedError, TypeError, IndexError) as error:
        yield _skip(item, f"could not be read as a matrix: {_sentence(error)}")
        return
    shares = _shares(item.parameters, [part.numel() for _, part in parts])
    for (suffix, part), share in zip(parts, shares, strict=True):
        yield _view(replace(item, name=item.name + suffix, parameters=share), part)


def _view(item: Source, matrix: Tensor) -> NeuronView | Skipped:
    n, d = matrix.shape
    if n < 2:
        return _skip(item, "one neuron only: there is nothing to compare it with")
    if d < 2:
        return _skip(item, "one input per neuron: every direction is +1 or -1")
    return NeuronView(item.name, item.kind, matrix, item.parameters, item.sources, item.rank)


def _skip(item: Source, reason: str) -> Skipped:
    lazy = isinstance(item.tensor, UninitializedTensorMixin)
    shape = () if lazy or item.tensor.is_nested else tuple(item.tensor.shape)
    return Skipped(item.name, item.kind, shape, reason, item.parameters, item.sources)


def _shares(total: int, sizes: list[int]) -> list[int]:
    """Split a count over the parts in proportion to their sizes, to the last one exactly."""
    whole = sum(sizes)
    if whole == 0:
        return [0] * len(sizes)
    parts = [total * size // whole for size in sizes]
    parts[0] += total - sum(parts)
    return parts


def _identity(item: Source) -> object | None:
    """Name what two tied tensors share: the object, or the same window of the same storage."""
    tensor = item.tensor
    if isinstance(tensor, UninitializedTensorMixin):
        return id(tensor)
    try:
        address = tensor.untyped_storage().data_ptr()
        window = (tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
    except (RuntimeError, NotImplementedError):
        return id(tensor)
    if address == 0 or tensor.numel() == 0:
        return id(tensor)
    return (address, *window)


def _sentence(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
