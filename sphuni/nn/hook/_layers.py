"""The layers of a model that can be regularised, and how their rows are read with a gradient."""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm

from sphuni.nn.hook import _adapters
from sphuni.nn.neurons import (
    Heads,
    NeuronView,
    Skipped,
    expert_matrices,
    module_neurons,
    module_stores_across,
    transposed_rows,
)
from sphuni.nn.neurons._screen import BYTE_FLOATS, TIED
from sphuni.nn.regularizers.methods import Role

__all__ = [
    "Found",
    "Layer",
    "class_name",
    "find_layers",
    "gradient_rows",
    "read_all",
    "read_rows",
    "trained_tensors",
    "weight_of",
]

_ADDED_DIRECTLY = (torch.float32, torch.float64)
_GATED = ("weight_ih", "weight_hh")
_PART = re.compile(r"^(.*?)(\[[^\]]*\])?$")


@dataclass(frozen=True)
class Layer:
    """One set of neurons of a model.

    Attributes
    ----------
    name : str
        Name of the weight, with `[part]` where one tensor holds several sets.
    kind, type : str
        Kind of layer as in `NeuronView`, and class name of the module that owns it.
    classes : tuple of str
        Full names of that class and of those that it derives from.
    module, leaf : str
        Where the weight lives; it is read there at every call.
    n, d : int
        Size of the set; 0 for a layer that has a place in the network but nothing to regularise.
    part, parts : int
        Which of how many equal blocks of rows, or of how many experts.
    role : {"first", "hidden", "output"}
    """

    name: str
    kind: str
    type: str
    module: str
    leaf: str
    n: int
    d: int
    classes: tuple[str, ...] = ()
    part: int = 0
    parts: int = 1
    role: Role = "hidden"


class Found(NamedTuple):
    """What a model is made of, in its own order.

    Attributes
    ----------
    network : list of Layer
        All sets of neurons, and the layers without any: their places decide about roles as well.
    skipped : list of (name, reason)
    """

    network: list[Layer]
    skipped: list[tuple[str, str]]

    @property
    def layers(self) -> list[Layer]:
        """The sets of neurons that can be regularised."""
        return [layer for layer in self.network if layer.n]


def find_layers(model: nn.Module, *, heads: Heads = None, split_qkv: bool = False) -> Found:
    """Find every set of neurons that can be read with a gradient, and why others cannot."""
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError(
            "model is a ScriptModule, which does not tell its layers apart; give the module that "
            "it was scripted or traced from, whose parameters it shares"
        )
    views: dict[str, list[NeuronView]] = {}
    network: list[Layer] = []
    skipped: list[tuple[str, str]] = []
    for item in module_neurons(model, heads=heads, split_qkv=split_qkv):
        if isinstance(item, NeuronView):
            views.setdefault(_base(item.name), []).append(item)
            continue
        if len(item.shape) > 1 or _is_lazy(item):
            skipped.append((item.name, item.reason))
        if not item.reason.startswith(TIED):
            network += _idle(model, item.name, item.kind)
    tied = _linear_heads(model)
    renamed = {name: f"{tied[name]}.weight" for name in views if name in tied}
    skipped = [_renamed(*one, renamed) for one in skipped]
    for siblings in views.values():
        for part, view in enumerate(siblings):
            head = tied.get(view.name)
            view = view if head is None else replace(view, name=f"{head}.weight", kind="linear")
            sets, reason = _sets_of(model, view, part, len(siblings))
            network += sets
            if reason is not None:
                skipped.append((view.name, reason))
                network += _idle(model, view.name, view.kind)
    places = {name: i for i, (name, _) in enumerate(model.named_modules(remove_duplicate=False))}
    return Found(sorted(network, key=lambda layer: places[layer.module]), skipped)


def _renamed(name: str, reason: str, heads: dict[str, str]) -> tuple[str, str]:
    """Say which of several tied weights counts, where a table goes by the name of its head."""
    table = reason.removeprefix(TIED).partition(",")[0]
    if table == reason or table not in heads:
        return name, reason
    return (table if name == heads[table] else name), reason.replace(table, heads[table], 1)


def _is_lazy(item: Skipped) -> bool:
    """Whether this will be a weight, of a shape that is not known yet."""
    return item.reason.startswith("not initialised") and not item.name.endswith("bias")


def _sets_of(
    model: nn.Module, view: NeuronView, part: int, parts: int
) -> tuple[list[Layer], str | None]:
    """The sets of neurons of a view, or why there are none."""
    if _adapters.is_factor(model, view.name):
        return [], "part of the weight as used, which is the layer's own"
    layer = _locate(model, view, part, parts)
    if layer is None:
        return [], f"{view.kind}: its rows cannot be read with a gradient"
    if layer.n < 2:
        return [], "one neuron only beside the row for padding"
    groups = _groups(model.get_submodule(layer.module), layer)
    if groups == 1:
        return [layer], None
    sets = _by_group(layer, groups)
    return sets, None if sets else "depthwise: each filter has its own input"


def _idle(model: nn.Module, name: str, kind: str) -> list[Layer]:
    """The layer that has this weight and nothing to regularise; none if it is no layer's weight."""
    path, _, leaf = name.rpartition(".")
    if leaf != "weight" or "parametrizations" in path.split("."):
        return []
    module = parametrize.type_before_parametrizations(model.get_submodule(path))
    classes = _class_names(module)
    return [Layer(name, kind, module.__name__, path, leaf, n=0, d=0, classes=classes)]


def class_name(kind: type) -> str:
    """The full name of a class, which can be kept where the class itself could not be pickled."""
    return f"{kind.__module__}.{kind.__qualname__}"


def trained_tensors(model: nn.Module, layer: Layer) -> list[Tensor]:
    """The trainable tensors that the rows of a layer are computed from."""
    module = model.get_submodule(layer.module)
    stored = dict(module.named_parameters(recurse=False))
    names = (layer.leaf, *(f"{layer.leaf}_{part}" for part in ("g", "v", "orig")))
    found: list[Tensor] = [stored[name] for name in names if name in stored]
    if parametrize.is_parametrized(module, layer.leaf):
        found += module.parametrizations[layer.leaf].parameters()  # type: ignore[union-attr, index]
    found += _adapters.factors(_adapters.owner(model, layer.module))
    return [tensor for tensor in found if tensor.requires_grad]


def _linear_heads(model: nn.Module) -> dict[str, str]:
    """The Linear that an embedding is tied to, by the name of the table."""

    def stored(kind: type[nn.Module]) -> list[tuple[str, Tensor]]:
        # as stored: asking a parametrized layer for its weight may advance its buffers
        found = model.named_modules(remove_duplicate=False)
        held = [(name, m._parameters.get("weight")) for name, m in found if isinstance(m, kind)]
        return [(name, weight) for name, weight in held if weight is not None]

    linear = {id(weight): name for name, weight in stored(nn.Linear)}
    tables = stored(nn.Embedding)
    return {f"{name}.weight": linear[id(w)] for name, w in tables if id(w) in linear}


def _class_names(kind: type) -> tuple[str, ...]:
    return tuple(class_name(one) for one in kind.__mro__ if issubclass(one, nn.Module))


def _groups(module: nn.Module, layer: Layer) -> int:
    """In how many groups a convolution sees its input."""
    return int(getattr(module, "groups", 1)) if layer.kind.startswith("conv") else 1


def _by_group(layer: Layer, groups: int) -> list[Layer]:
    """One set of neurons per group of a convolution; none if every filter is alone."""
    size = layer.n // groups
    if size < 2:
        return []
    return [
        replace(layer, name=f"{layer.name}[group {i}]", n=size, part=i, parts=groups)
        for i in range(groups)
    ]


def _locate(model: nn.Module, view: NeuronView, part: int, parts: int) -> Layer | None:
    """Find the attribute that holds the view, or None if reading it gives something else.

    So it does for weights of 8 bits, which the view has widened: they have no arithmetic.
    """
    path, _, leaf = _base(view.name).rpartition(".")
    try:
        module = model.get_submodule(path)
    except AttributeError:
        return None
    n, d = _without_padding(module, view.matrix).shape
    kind = parametrize.type_before_parametrizations(module)
    layer = Layer(
        name=view.name, kind=view.kind, type=kind.__name__, module=path, leaf=leaf, n=n, d=d,
        classes=_class_names(kind), part=part, parts=parts,
    )  # fmt: skip
    with torch.no_grad():
        try:
            rows = _as_rows(module, _read_weight(model, layer), layer)
        except (RuntimeError, ValueError):
            return None
    arithmetic = rows.dtype not in BYTE_FLOATS
    return layer if arithmetic and rows.shape == (n, d) else None


def _base(name: str) -> str:
    match = _PART.match(name)
    return name if match is None else match.group(1)


def read_rows(model: nn.Module, layer: Layer) -> Tensor:
    """Read the rows (n, d) of a layer as the model now uses them, connected to its parameters.

    Outside autocast, in which products of parametrizations and adapters would lose their digits.
    """
    return next(read_all(model, [layer]))


def read_all(model: nn.Module, layers: Iterable[Layer]) -> Iterator[Tensor]:
    """Read the rows of several layers; the sets of one weight, if in a row, from one reading."""
    for (path, _), sets in itertools.groupby(layers, key=weight_of):
        first, *others = sets
        weight = _read_weight(model, first)
        module = model.get_submodule(path)
        _check_parts(module, first)
        for layer in (first, *others):
            yield _as_rows(module, weight, layer)


def _check_parts(module: nn.Module, layer: Layer) -> None:
    """Refuse a convolution whose groups are others than those that its sets were made of."""
    groups = _groups(module, layer)
    if layer.kind.startswith("conv") and groups != layer.parts:
        raise RuntimeError(
            f"layer {layer.name!r} was found in a convolution of groups={layer.parts}, which now "
            f"has groups={groups}; make a new regularizer after layers were replaced by others"
        )


def _check_still(layer: Layer, what: str, before: int, now: int) -> None:
    """Refuse a weight that is to be split as another was, into so many of something."""
    if now != before:
        raise RuntimeError(
            f"layer {layer.name!r} was found in a weight of {before} {what}, which now has {now}; "
            "make a new regularizer after layers were replaced by others"
        )


def weight_of(layer: Layer) -> tuple[str, str]:
    """Which weight a set of neurons belongs to."""
    return layer.module, layer.leaf


def _read_weight(model: nn.Module, layer: Layer) -> Tensor:
    try:
        module = model.get_submodule(layer.module)
        with torch.autocast(_device_type(module), enabled=False):
            weight = _adapters.adapted(
                _adapters.owner(model, layer.module), _effective(module, layer.leaf)
            )
    except AttributeError as error:
        raise RuntimeError(
            f"layer {layer.name!r} is no longer in the model ({error}); make a new regularizer "
            "after layers were replaced by others"
        ) from error
    whole: Tensor = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
    return whole


def _device_type(module: nn.Module) -> str:
    return next((p.device.type for p in module.parameters()), "cpu")


def gradient_rows(model: nn.Module, layer: Layer) -> Tensor | None:
    """Return the rows of `.grad` that belong to those of a layer, to be added to in place.

    None where there are no such rows or more has to be done: for weights that are computed from
    parameters, sharded, or stored in another order; in half precision; where hooks watch.
    """
    module = model.get_submodule(layer.module)
    weight = dict(module.named_parameters(recurse=False)).get(layer.leaf)
    if _adapters.owner(model, layer.module) is not module:
        return None
    if weight is None or hasattr(weight, "full_tensor") or weight._backward_hooks:
        return None
    gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
    if gradient.layout is not torch.strided or gradient.dtype not in _ADDED_DIRECTLY:
        return None
    rows = _as_rows(module, gradient, layer)
    if rows.untyped_storage().data_ptr() != gradient.untyped_storage().data_ptr():
        return None
    weight.grad = gradient
    return rows


def _as_rows(module: nn.Module, weight: Tensor, layer: Layer) -> Tensor:
    if layer.kind == "experts":
        _check_still(layer, "experts", layer.parts, len(weight))
        return expert_matrices(weight, bool(module_stores_across(module, layer.leaf)))[layer.part]
    rows = _neurons(module, weight, layer)
    size = rows.shape[0] // layer.parts
    if "head " in layer.name.partition("[")[2]:
        _check_still(layer, "rows that were split into heads", layer.n * layer.parts, len(rows))
    if isinstance(module, nn.RNNBase | nn.RNNCellBase) and layer.leaf.startswith(_GATED):
        _check_still(layer, "gates", layer.parts, len(rows) // int(module.hidden_size))
    return rows if layer.parts == 1 else rows[layer.part * size : (layer.part + 1) * size]


def _neurons(module: nn.Module, weight: Tensor, layer: Layer) -> Tensor:
    if layer.kind.startswith("conv_transpose"):
        return transposed_rows(weight, groups=int(getattr(module, "groups", 1)))
    if layer.kind == "linear" and not isinstance(module, nn.Linear) and hasattr(module, "nf"):
        return weight.t()
    while weight.dim() > 2 and weight.shape[0] == 1 and layer.kind in ("parameter", "embedding"):
        weight = weight[0]
    return _without_padding(module, weight.flatten(1))


def _without_padding(module: nn.Module, rows: Tensor) -> Tensor:
    """Leave out the row that an embedding never trains; as a view, where that is at an end."""
    if not isinstance(module, nn.Embedding | nn.EmbeddingBag) or module.padding_idx is None:
        return rows
    before, after = rows[: module.padding_idx], rows[module.padding_idx + 1 :]
    if not len(before):
        return after
    return torch.cat([before, after]) if len(after) else before


def _effective(module: nn.Module, leaf: str) -> Tensor:
    """The weight as used: parametrized, or rebuilt from what old-style hooks store."""
    if parametrize.is_parametrized(module, leaf):
        return _without_updates(module, leaf)
    stored: dict[str, Tensor] = dict(module.named_parameters(recurse=False))
    stored.update(module.named_buffers(recurse=False))
    if f"{leaf}_g" in stored and f"{leaf}_v" in stored:
        direction, magnitude = stored[f"{leaf}_v"], stored[f"{leaf}_g"]
        axes = [i for i, size in enumerate(magnitude.shape) if size == 1] or None
        lengths = torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
        return direction * (magnitude / lengths)
    if f"{leaf}_mask" in stored and f"{leaf}_orig" in stored:
        return stored[f"{leaf}_orig"] * stored[f"{leaf}_mask"]
    if f"{leaf}_u" in stored and f"{leaf}_orig" in stored:
        return stored[f"{leaf}_orig"] / _spectral_norm(module, leaf, stored)
    weight = getattr(module, leaf)
    if not isinstance(weight, Tensor):
        raise AttributeError(f"{leaf} of {type(module).__name__} is not a tensor")
    return weight


def _spectral_norm(module: nn.Module, leaf: str, stored: dict[str, Tensor]) -> Tensor:
    weight = stored[f"{leaf}_orig"]
    # copies, as a forward pass may change these buffers in place before the backward pass of this
    u, v = (stored[f"{leaf}_{name}"].clone() for name in "uv")
    hooks = module._forward_pre_hooks.values()
    (axis,) = (one.dim for one in hooks if isinstance(one, SpectralNorm) and one.name == leaf)
    matrix = weight.movedim(axis, 0).flatten(1)
    return u @ (matrix @ v)


def _without_updates(module: nn.Module, leaf: str) -> Tensor:
    """Evaluate a parametrization in evaluation mode, so that it does not advance its buffers.

    Past the cache of `parametrize.cached`: what is there may have lost its graph to a backward
    pass, and what this left there would keep the model from advancing the buffers itself.
    """
    parametrizations: Any = module.parametrizations
    parts = list(parametrizations.modules())
    modes = [part.training for part in parts]
    try:
        for part in parts:
            part.training = False
        weight: Tensor = parametrizations[leaf]()
        return weight
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode
