"""Weights that are stored in pieces: weight_norm, spectral_norm and LoRA."""

import re
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from sphuni.nn.neurons._layout import Heads, attention_layout, columns, rows
from sphuni.nn.neurons._records import Source
from sphuni.nn.neurons._screen import unfit

__all__ = ["join_lora", "join_parts", "weight_norm"]

_LORA = re.compile(r"^(.*?)lora(_embedding)?([._])(A|B|down|up)((?:\..*)?)$")
_FIRST = {"A": "A", "down": "A", "B": "B", "up": "B"}
_NEW_PART = re.compile(r"^(.*?)parametrizations\.(\w+)\.(original[01]?|0\._[uv])$")
_OLD_PART = re.compile(r"^(.*?)(\w+)_(g|v|u|orig|mask)$")
_PART = {"original0": "g", "original1": "v", "original": "orig", "0._u": "u", "0._v": "v"}


@dataclass(frozen=True)
class _Half:
    """One LoRA factor's place: the pair it belongs to and the side it stands on."""

    pair: tuple[str, str, str]
    side: str
    embedding: bool


def weight_norm(direction: Tensor, magnitude: Tensor) -> Tensor:
    """Return g v / |v|, the norm taken over the axes along which g has length one."""
    v = direction.detach().to(torch.promote_types(direction.dtype, torch.float32))
    if magnitude.dim() == v.dim():
        axes = [k for k in range(v.dim()) if magnitude.shape[k] == 1]
    else:
        axes = list(range(v.dim()))
    norm = torch.linalg.vector_norm(v, dim=axes, keepdim=True) if axes else v.abs()
    return v * (magnitude.detach().to(v.dtype).reshape(magnitude.shape or [1] * v.dim()) / norm)


def _spectral(weight: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Divide by the largest singular value that power iteration has stored in u and v."""
    w = weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
    u, v = u.detach().to(w.dtype), v.detach().to(w.dtype)
    axis = 0 if w.shape[0] == u.numel() and w[0].numel() == v.numel() else 1
    return w / (u @ (w.movedim(axis, 0).flatten(1) @ v))


def _masked(weight: Tensor, mask: Tensor) -> Tensor:
    """Apply a pruning mask."""
    return weight.detach() * mask.detach().to(weight.dtype)


_RULES = ((("v", "g"), weight_norm), (("orig", "mask"), _masked), (("orig", "u", "v"), _spectral))


def join_parts(items: list[Source]) -> list[Source]:
    """Replace the stored parts of a weight by the weight they stand for.

    Knows weight normalisation (g, v), spectral normalisation (orig, u, v) and pruning
    (orig, mask), each in the naming of hooks and of parametrizations. Parts that do not fit
    together are left alone.
    """
    found: dict[str, dict[str, Source]] = {}
    for item in items:
        part = _part(item.name)
        if part is not None:
            found.setdefault(part[0], {})[part[1]] = item
    joined: dict[str, Source] = {}
    consumed: set[str] = set()
    for name, parts in found.items():
        source = _join(name, parts)
        if source is not None:
            joined[source.sources[0]] = source
            consumed.update(source.sources[1:])
    return [joined.get(item.name, item) for item in items if item.name not in consumed]


def _part(name: str) -> tuple[str, str] | None:
    match = _NEW_PART.match(name) or _OLD_PART.match(name)
    if match is None:
        return None
    prefix, weight, part = match.groups()
    return prefix + weight, _PART.get(part, part)


def _join(name: str, parts: dict[str, Source]) -> Source | None:
    for keys, rule in _RULES:
        if set(keys) <= set(parts):
            used = [parts[key] for key in keys]
            tensors = [item.tensor for item in used]
            if not _plain(tensors) or not _fits(keys, tensors):
                continue
            names = tuple(item.name for item in used)
            count = sum(item.parameters for item in used)
            value = partial(rule, *tensors)
            return Source(name, used[0].kind, tensors[0], names, count, value=value)
    return None


def _plain(tensors: list[Tensor]) -> bool:
    """Say whether arithmetic between these is safe: dense numbers on one device."""
    first = tensors[0]
    if unfit("weight", first) is not None:
        return False
    return all(
        t.layout is torch.strided and t.device == first.device and not t.is_quantized
        and (t.is_floating_point() or t.dtype is torch.bool)
        for t in tensors[1:]
    )  # fmt: skip


def _fits(keys: tuple[str, ...], tensors: list[Tensor]) -> bool:
    weight, other = tensors[0], tensors[1]
    if keys[1] == "mask":
        return weight.shape == other.shape
    if keys[1] == "g":
        pairs = zip(other.shape, weight.shape, strict=False)
        return other.numel() == 1 or (
            other.dim() == weight.dim() and all(a in (1, b) for a, b in pairs)
        )
    sizes = other.numel(), tensors[2].numel()
    return sizes[0] in weight.shape[:2] and sizes[0] * sizes[1] == weight.numel()


def join_lora(
    items: list[Source], *, heads: Heads, split_qkv: bool, max_elements: int
) -> list[Source]:
    """Replace every pair of LoRA factors by their product; a factor alone is skipped.

    The product is split as the weight it is added to.
    """
    halves = {item.name: half for item in items if (half := _lora_half(item.name)) is not None}
    partners: dict[tuple[str, str, str], dict[str, Source]] = {}
    for item in items:
        if item.name in halves and item.tensor.dim() >= 2:
            partners.setdefault(halves[item.name].pair, {})[halves[item.name].side] = item
    joined: list[Source] = []
    for item in items:
        half = halves.get(item.name)
        if half is None or item.tensor.dim() < 2:
            joined.append(item)
            continue
        pair = partners[half.pair]
        if set(pair) != {"A", "B"}:
            joined.append(_alone(item))
        elif half.side == "A":
            product = _product(half, pair["A"], pair["B"], max_elements)
            joined += [_split(half, one, pair["B"], heads, split_qkv) for one in product]
    return joined


def _lora_half(name: str) -> _Half | None:
    match = _LORA.match(name)
    if match is None:
        return None
    prefix, embedding, joint, side, rest = match.groups()
    if prefix and prefix[-1] not in "._":
        return None
    adapter = rest.removesuffix(".weight")
    family = "ab" if side in "AB" else "updown"
    return _Half(
        (prefix, f"{family}{joint}{embedding or ''}", adapter), _FIRST[side], bool(embedding)
    )


def _alone(item: Source) -> Source:
    reason = item.reason or "a LoRA factor without its partner: only their product is a weight"
    return Source(item.name, "lora", item.tensor, item.sources, item.parameters, reason=reason)


def _split(half: _Half, product: Source, b: Source, heads: Heads, split_qkv: bool) -> Source:
    """Let the product for a Linear weight have the layout of that weight."""
    factor, a = b.tensor, product.tensor
    if product.reason is not None or half.embedding or not factor.dim() == a.dim() == 2:
        return product
    owner, shape = half.pair[0][:-1] + ".weight", torch.Size((factor.shape[0], a.shape[1]))
    return replace(product, layout=attention_layout(owner, shape, heads=heads, split_qkv=split_qkv))


def _product(half: _Half, a: Source, b: Source, max_elements: int) -> list[Source]:
    first, second = a.tensor, b.tensor
    problem = a.reason or b.reason or unfit("weight", first) or unfit("weight", second)
    if problem is not None:
        return [
            Source(x.name, "lora", x.tensor, x.sources, x.parameters, reason=problem)
            for x in (a, b)
        ]
    prefix, _, adapter = half.pair
    reason = None
    if second.shape[1:].numel() != first.shape[0]:
        shapes = f"{tuple(second.shape)} and {tuple(first.shape)}"
        reason = f"LoRA factors of shapes {shapes} have no product"
    elif second.shape[0] * first.shape[1:].numel() > max_elements:
        count = second.shape[0] * first.shape[1:].numel()
        reason = (
            f"the product of the LoRA factors has {count} elements; max_elements is {max_elements}"
        )
    return [
        Source(
            f"{prefix}lora{adapter}",
            "lora",
            first,
            (*a.sources, *b.sources),
            a.parameters + b.parameters,
            columns if half.embedding else rows,
            reason,
            partial(_multiply, first, second),
            first.shape[0],
        )
    ]


def _multiply(a: Tensor, b: Tensor) -> Tensor:
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    return b.detach().flatten(1).to(dtype) @ a.detach().flatten(1).to(dtype)
