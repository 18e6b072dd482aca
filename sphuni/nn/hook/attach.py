"""One line that regularises a network."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from sphuni._numbers import finite
from sphuni.kernels import Riesz
from sphuni.nn._preset import Preset
from sphuni.nn.hook._layers import Layer, find_layers
from sphuni.nn.hook._select import Pattern, check_split, in_their_roles, select
from sphuni.nn.hook.regularizer import Mode, Regularizer, Schedule
from sphuni.nn.neurons import Heads
from sphuni.nn.regularizers import Objective, build, find_method
from sphuni.nn.regularizers._base import SEEDS, check_seed
from sphuni.nn.regularizers.methods import coefficients
from sphuni.nn.regularizers.projections import RandomProjection

__all__ = ["regularize"]


def regularize(
    model: nn.Module,
    method: str = "hs-mhe",
    *,
    weight: float | None = None,
    output_weight: float | None = None,
    include: Pattern | Sequence[Pattern] | None = None,
    exclude: Pattern | Sequence[Pattern] | None = None,
    output_layer: str | None = "auto",
    heads: Heads = None,
    split_qkv: bool = False,
    every: int = 1,
    rows: int | None = None,
    mode: Mode = "graph",
    schedule: Schedule | None = None,
    preset: Preset = "paper",
    project_first: bool = False,
    seed: int = 0,
    rank_seeds: bool = False,
    **options: Any,
) -> Regularizer:
    """Regularise every layer of a network towards uniform directions.

    Parameters
    ----------
    model : nn.Module
        It is not changed and holds no reference to the regularizer. What `torch.compile` returns
        stands for the module it was given; in a step that is compiled too, call it before `reg()`.
    method : str, default "hs-mhe"
        `sphuni.nn.available_methods()` lists them.
    weight, output_weight : float, optional
        Coefficient of every hidden layer and of the classifier. Default: the method's own, as in
        the authors' code; `print(reg.describe())` shows them. The penalties of layers add up, and
        so do those of a layer's groups, gates, or query, key and value: each is a set of its own.
    include, exclude : str, module class, or sequence of those, optional
        Layer types ("Conv2d"), layer names, or regular expressions searched in weight names; a
        class means its subclasses too. Default: linear, convolutional, recurrent and attention
        layers; embeddings are not. What `exclude` asks for need not exist: that is a warning.
        Neither changes which layer is the network's first and which its classifier.
    output_layer : str or None, default "auto"
        Name of the classifier, which gets `output_weight`, full space and no projection. "auto"
        takes the last linear layer with a usual name, else the last layer if it is linear. Where
        that has a single row there is nothing to regularise, and no other layer takes its role.
    heads : int, pair of int, or mapping of name pattern to those, optional
        Regularise every attention head by itself: split query, key and value weights into that many
        sets of neurons. A pair (queries, keys) is for keys and values of fewer heads; a mapping
        gives the number per weight name (`fnmatch` patterns, the first match counts).
    split_qkv : bool, default False
        Split a Linear, or Conv1D of transformers, that holds query, key and value in one matrix
        (`qkv`, `c_attn`, ...), a third of its rows each. `nn.MultiheadAttention` is always split.
    every : int, default 1
        Evaluate on every that many calls only, with the penalty multiplied by as much.
    rows : int, optional
        Random rows per layer and call, an unbiased estimate; for "mhe", "hs-mhe" and compressed
        methods around them.
    mode : {"graph", "decoupled"}, default "graph"
        "graph": add `reg()` to the loss. "decoupled": call `reg.add_gradients()` after backward
        (and after unscaling or before clipping, as you like), or `reg.attach(optimizer)` once.
    schedule : callable from int to float, optional
        Factor on all coefficients at call number 0, 1, ...
    preset : {"paper", "reference"}, default "paper"
        The definitions, or what the authors' code computes.
    project_first : bool, default False
        Let compressed methods project the first layer too, which the authors leave alone as it
        has few inputs in a network for images. In a network of two layers they do nothing
        without it.
    seed : int, default 0
        Of everything random, below 2^63. Ranks of a distributed job use the same, so that they
        agree.
    rank_seeds : bool, default False
        Let every rank draw random rows, and the projections of "rp-comhe" and "group-comhe", of its
        own: under DDP, which averages gradients, W ranks then look at W times as many. Needs mode
        "graph", as gradients that are added after the exchange would part the ranks.
    **options
        Of the method: `s`, `metric`, `minimum`, `epsilon`, `n_aux`, `k`, `C`, `objective`, ...

    Returns
    -------
    Regularizer

    Raises
    ------
    ValueError
        If the method is unknown, a pattern of `include` matches nothing, or no layer is left; the
        message lists what exists. If `heads` or `split_qkv` do not divide the rows of a layer.
    TypeError
        If an option is unknown, or `model` is not a module or a ScriptModule.

    Warns
    -----
    UserWarning
        If a pattern of `exclude` matches nothing, or `heads` or `split_qkv` splits nothing.

    Examples
    --------
    >>> import torch, sphuni
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))
    >>> reg = sphuni.nn.regularize(model, "hs-mhe", s=2)
    >>> [(row.name, row.role, row.weight) for row in reg.describe().rows]
    [('0.weight', 'first', 1.0), ('2.weight', 'output', 10.0)]
    >>> loss = model(torch.ones(2, 8)).square().mean() + reg()
    >>> loss.backward()
    """
    found = find_method(method)
    model = _uncompiled(model)
    inventory = find_layers(model, heads=heads, split_qkv=split_qkv)
    layers, skipped = inventory.layers, inventory.skipped
    if not layers and any("meta device" in reason for _, reason in skipped):
        raise ValueError(
            "model is on the meta device and has no values; materialise it first, for example "
            "with model.to_empty(device='cpu') and its state dict"
        )
    check_split(layers, heads, split_qkv)
    chosen = in_their_roles(inventory.network, select(layers, include, exclude), output_layer)
    if project_first:
        chosen = [replace(one, role="hidden") if one.role == "first" else one for one in chosen]
    hidden, output = coefficients(found, options)
    weights = (
        hidden if weight is None else weight,
        output if output_weight is None else output_weight,
    )
    objectives = [
        _build(found.name, layer, i, seed, rows, preset, options) for i, layer in enumerate(chosen)
    ]
    if rank_seeds:
        _draw_apart(objectives, found.name, mode)
    names = {layer.name for layer in chosen}
    others = [(layer.name, "not selected") for layer in layers if layer.name not in names]
    return Regularizer(
        model,
        chosen,
        objectives,
        method=found.name,
        weights=weights,
        every=every,
        mode=mode,
        schedule=schedule,
        left_out=[*others, *skipped],
        shown=_shown(options),
    )


def _uncompiled(model: nn.Module) -> nn.Module:
    """The module that torch.compile was given, which a graph may reach by one way only."""
    while isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
        model = inner
    return model


def _build(
    method: str,
    layer: Layer,
    index: int,
    seed: int,
    rows: int | None,
    preset: str,
    options: dict[str, Any],
) -> Objective:
    stream = (1_000_003 * check_seed(seed) + index) % SEEDS
    return build(
        method,
        role=layer.role,
        shape=(layer.n, layer.d),
        seed=stream,
        rows=rows,
        preset=preset,
        **options,
    )


def _draw_apart(objectives: Sequence[Objective], method: str, mode: Mode) -> None:
    """Give ranks draws of their own, where no inner problem would part them."""
    if mode != "graph":
        raise ValueError(
            "rank_seeds needs mode='graph': gradients that ranks add after the exchange must agree"
        )
    parts = [part for one in objectives for part in one.modules() if isinstance(part, Objective)]
    random = [part for part in parts if isinstance(part, RandomProjection) or part.rows is not None]
    if not random or any(list(part.buffers()) for part in parts):
        raise ValueError(
            "rank_seeds is for random projections ('rp-comhe', 'group-comhe') and rows=, without "
            f"poles or learned projections; {method!r} with these layers and options has none, or "
            "has such a state"
        )
    for part in random:
        part.rank_seeds = True


def _shown(options: Mapping[str, Any]) -> Riesz:
    """The energy that the summary shows: the method's own where it has one, else s = 2."""
    s, metric = options.get("s", 2.0), options.get("metric", "chordal")
    return Riesz(finite("s", s), metric)
