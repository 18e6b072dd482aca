"""Which layers are meant: by type, name or regular expression; and which is the classifier."""

import functools
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from torch import nn

from sphuni.nn.hook._layers import Layer, class_name, weight_of
from sphuni.nn.neurons import Heads, split_of_nothing, unwrapped
from sphuni.nn.regularizers.methods import Role

__all__ = ["DEFAULT_KINDS", "Pattern", "assign_roles", "check_split", "in_their_roles", "select"]

Pattern: TypeAlias = str | type[nn.Module]
_Test: TypeAlias = Callable[[Layer], bool]

DEFAULT_KINDS = ("linear", "conv", "lstm", "gru", "rnn", "attention", "bilinear", "experts")
_CALLER = 4  # frames from a warning here to whoever called `regularize`
_CLASSIFIERS = {"fc", "classifier", "head", "heads", "score", "logits", "output", "out",
                "lm_head", "predictor", "readout", "proj_out", "fc_out", "last_linear"}  # fmt: skip


def select(
    layers: list[Layer],
    include: Pattern | Sequence[Pattern] | None,
    exclude: Pattern | Sequence[Pattern] | None,
) -> list[Layer]:
    """Return the layers that are included and not excluded.

    Raises
    ------
    ValueError
        If a pattern of `include` matches nothing, or nothing is left; what exists is listed.

    Warns
    -----
    UserWarning
        If a pattern of `exclude` matches nothing.
    """
    if include is None:
        chosen = [layer for layer in layers if _usual(layer)]
    else:
        wanted = [_included(pattern, layers) for pattern in _listed(include)]
        chosen = [layer for layer in layers if any(test(layer) for test in wanted)]
    unwanted = list(map(functools.partial(_excluded, layers), _listed(exclude)))
    chosen = [layer for layer in chosen if not any(test(layer) for test in unwanted)]
    if not chosen:
        raise ValueError(f"no layer of the model is left to regularise. {_inventory(layers)}")
    return chosen


def check_split(layers: list[Layer], heads: Heads, split_qkv: bool) -> None:
    """Warn if what was to be split into heads, or in three, is not in the model."""
    nothing = split_of_nothing(((one.kind, one.name) for one in layers), heads, split_qkv)
    if nothing is not None:
        warnings.warn(f"{nothing}. {_inventory(layers)}", stacklevel=3)


def in_their_roles(
    network: list[Layer], chosen: list[Layer], output_layer: str | None
) -> list[Layer]:
    """The chosen layers in the roles that they have in the network, whatever else was chosen."""
    names = {layer.name for layer in chosen}
    usual = [layer for layer in network if _usual(layer) or layer.name in names]
    return [layer for layer in assign_roles(usual, output_layer) if layer.name in names]


def assign_roles(layers: list[Layer], output_layer: str | None) -> list[Layer]:
    """Mark the first layer and the classifier, each with all sets of neurons of its tensor.

    The classifier is the last linear layer whose own name says so among those that are nested
    least; or else the last layer if that is linear. Layers without anything to regularise take
    these roles like others. A model of one layer has no classifier.
    """
    found = _output_layer(layers, output_layer)
    output = None if found is None else weight_of(layers[found])
    weights = [weight_of(layer) for layer in layers]
    first = next((one for one in weights if one != output), None)
    roles: dict[tuple[str, str] | None, Role] = {first: "first", output: "output"}
    return [
        replace(layer, role=roles.get(one, "hidden"))
        for layer, one in zip(layers, weights, strict=True)
    ]


def _usual(layer: Layer) -> bool:
    return layer.kind.startswith(DEFAULT_KINDS)


def _output_layer(layers: list[Layer], wanted: str | None) -> int | None:
    if wanted is None:
        return None
    names = [layer.name for layer in layers]
    if wanted != "auto":
        for i, layer in enumerate(layers):
            if wanted in (layer.name, layer.module, ".".join(filter(None, weight_of(layer)))):
                return i
        raise ValueError(
            f"output_layer must be 'auto', None or one of {', '.join(names)}; got {wanted!r}"
        )
    if len(set(map(weight_of, layers))) < 2:
        return None
    linear = [(i, *_depth_and_name(one)) for i, one in enumerate(layers) if one.kind == "linear"]
    least = min((depth for _, depth, _ in linear), default=0)
    named = [i for i, depth, name in linear if depth == least and name in _CLASSIFIERS]
    if named:
        return named[-1]
    return len(layers) - 1 if layers[-1].kind == "linear" else None


def _depth_and_name(layer: Layer) -> tuple[int, str]:
    path, _, name = unwrapped(layer.module).rpartition(".")
    return path.count(".") + bool(path), name.lower()


def _listed(patterns: Pattern | Sequence[Pattern] | None) -> Sequence[Pattern]:
    if patterns is None:
        return ()
    return (
        patterns
        if isinstance(patterns, Sequence) and not isinstance(patterns, str)
        else (patterns,)
    )


def _included(pattern: Pattern, layers: list[Layer]) -> _Test:
    test = _test(pattern, "include")
    if not any(test(layer) for layer in layers):
        raise ValueError(f"include={_shown(pattern)!r} matches no layer. {_inventory(layers)}")
    return test


def _excluded(layers: list[Layer], pattern: Pattern) -> _Test:
    """One recipe serves many models, so a pattern without a match is not an error here."""
    test = _test(pattern, "exclude")
    if layers and not any(test(layer) for layer in layers):
        warnings.warn(
            f"exclude={_shown(pattern)!r} matches no layer, so it excludes nothing. "
            f"{_inventory(layers)}",
            stacklevel=_CALLER,
        )
    return test


def _test(pattern: Pattern, argument: str) -> _Test:
    """Turn one pattern into a test."""
    if not isinstance(pattern, str | type):
        raise TypeError(
            f"{argument} must be a layer type, name or regular expression, or a list of them; "
            f"got {pattern!r}"
        )
    shown = _shown(pattern)
    if isinstance(pattern, type):
        full = class_name(pattern)
        return lambda layer: full in layer.classes
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"{argument} must be a layer type, name or regular expression; {pattern!r} is "
            f"none: {error}"
        ) from error
    return lambda layer: (
        layer.type == shown or layer.module == shown or regex.search(layer.name) is not None
    )


def _shown(pattern: Pattern) -> str:
    return pattern.__name__ if isinstance(pattern, type) else pattern


def _inventory(layers: list[Layer]) -> str:
    if not layers:
        return (
            "The model has no weight matrix with two or more rows (lazy layers have none before "
            "their first batch)"
        )
    shown = [f"{layer.name} ({layer.type})" for layer in layers[:20]]
    more = f" and {len(layers) - 20} more" if len(layers) > 20 else ""
    return f"Its layers are {', '.join(shown)}{more}"
