"""The names of networks, and the one function that builds them."""

import inspect
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

from torch import nn

from sphuni.training.models.adversarial import adversaries
from sphuni.training.models.graph import graph
from sphuni.training.models.inception import inception
from sphuni.training.models.inward import lenet, simple
from sphuni.training.models.plain import plain, small
from sphuni.training.models.pointnet import pointnet
from sphuni.training.models.residual import residual

__all__ = ["build", "check_name", "names"]

_MHE = (64, 128, 256)
_CODE = (128, 192, 256)
_RESNET_18 = {"channels": (256, 512, 768, 1024), "units": 2, "stem": "imagenet"}
_RESNET_32_WIDE = {"channels": (96, 192, 384)}
_SPHERE = {"operator": "cosine"}


def _plain_presets() -> dict[str, dict[str, Any]]:
    presets: dict[str, dict[str, Any]] = {}
    for depth in (3, 6, 9, 15, 18, 45, 60, 69):
        presets[f"cnn-{depth}"] = {"depth": depth}
        presets[f"sphere-cnn-{depth}"] = {"depth": depth, **_SPHERE}
    for depth in (6, 9, 15):
        presets[f"cnn-{depth}-mhe"] = {"depth": depth, "channels": _MHE}
    presets["sphere-cnn-9-code"] = {"depth": 9, "channels": _CODE, **_SPHERE}
    return presets


def _residual_presets() -> dict[str, dict[str, Any]]:
    presets: dict[str, dict[str, Any]] = {}
    for name, shape in (
        ("resnet-18", _RESNET_18),
        ("resnet-32", {}),
        ("resnet-32-wide", _RESNET_32_WIDE),
    ):
        presets[name] = {**shape}
        presets[f"sphere-{name}-v1"] = {**shape, **_SPHERE, "sphere_shortcuts": True}
        presets[f"sphere-{name}-v2"] = {**shape, **_SPHERE}
    return presets


_PRESETS: dict[str, tuple[Callable[..., nn.Module], dict[str, Any]]] = {
    "small-cnn": (small, {}),
    **{name: (plain, options) for name, options in _plain_presets().items()},
    **{name: (residual, options) for name, options in _residual_presets().items()},
    "simplenet": (simple, {}),
    "lenet": (lenet, {}),
    "googlenet": (inception, {}),
    "gcn": (graph, {}),
    "pointnet": (pointnet, {}),
    "pointnet-t": (pointnet, {"alignment": True}),
    "dcgan": (adversaries, {}),
    "sn-dcgan": (adversaries, {"spectral": True}),
}


_IMAGES = ("channels", "height", "width")
_INPUTS: dict[Callable[..., nn.Module], tuple[str, ...]] = {
    graph: ("features",),
    pointnet: ("points", "coordinates"),
}


def names() -> list[str]:
    """Return the names that `build` knows."""
    return sorted(_PRESETS)


def check_name(name: str) -> None:
    """Refuse names that `build` does not know.

    Raises
    ------
    ValueError
        With the nearest name, and all.
    """
    if name not in _PRESETS:
        close = get_close_matches(name, _PRESETS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ValueError(f"there is no network {name!r}{hint} They are: {', '.join(names())}")


def build(
    name: str,
    *,
    inputs: Sequence[int] = (3, 32, 32),
    classes: int = 10,
    width: float = 1.0,
    **options: Any,
) -> nn.Module:
    """Build a network of a paper by name.

    Parameters
    ----------
    name : str
        One of `names()`. "cnn-9" and so on have the widths of SphereNet (64/96/128),
        "cnn-9-mhe" those of MHE and CoMHE (64/128/256), "sphere-cnn-9-code" those of SphereNet's
        code; "sphere-...-v1" has sphere shortcuts, "-v2" plain ones.
    inputs : sequence of int
        (channels, height, width) of images, (features,) of a graph, (points, coordinates) of
        clouds.
    classes : int
    width : float, default 1
        Multiplies the number of channels.
    **options
        Override the preset: `operator`, `k`, `share`, `norm`, `activation`, `channels`, `xi`, ...

    Returns
    -------
    nn.Module
        Classifiers have their last layer in `classifier`, whose input is the feature vector.

    Raises
    ------
    ValueError
        If there is no such network, or a value is not allowed.
    TypeError
        If the network has no such option.

    Notes
    -----
    Weights are drawn from torch's own generator.

    Examples
    --------
    >>> model = build("cnn-9", inputs=(1, 28, 28), width=0.25)
    >>> sum(p.numel() for p in model.parameters())
    63424
    """
    check_name(name)
    factory, preset = _PRESETS[name]
    _check_options(name, factory, options)
    wanted = _INPUTS.get(factory, _IMAGES)
    if len(inputs) != len(wanted):
        raise ValueError(
            f"network {name!r} takes inputs of shape ({', '.join(wanted)}); got {tuple(inputs)}"
        )
    return factory(inputs, classes, width, **{**preset, **options})


def _check_options(name: str, factory: Callable[..., nn.Module], options: dict[str, Any]) -> None:
    known = [
        key
        for key, parameter in inspect.signature(factory).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(factory).parameters.values()):
        known += ["operator", "k", "share", "norm", "activation"]
    for key in options:
        if key not in known:
            listed = ", ".join(known) or "none"
            raise TypeError(f"network {name!r} has no option {key!r}; it has: {listed}")
