"""Turn an existing network into a SphereNet, and back."""

import dataclasses
import logging
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _WeightNorm

from sphuni.nn._precision import widen
from sphuni.nn.hook._layers import find_layers
from sphuni.nn.hook._select import assign_roles
from sphuni.nn.layers import (
    SphereConv1d,
    SphereConv2d,
    SphereConv3d,
    SphereConvTranspose1d,
    SphereConvTranspose2d,
    SphereConvTranspose3d,
    SphereLinear,
    SphereRNNCell,
)
from sphuni.nn.layers.angular import Kind, shared_steepness
from sphuni.nn.layers.sphere import EPS
from sphuni.nn.losses import CenterLoss, GASoftmaxLoss
from sphuni.nn.neurons import divide_transposed, transposed_rows

__all__ = ["Conversion", "conversion_of", "convert_to_sphere", "no_decay_groups", "project_"]

M = TypeVar("M", bound=nn.Module)
_HOOKS = re.compile(
    r"_(forward|backward)_(pre_)?hooks(_with_kwargs|_always_called)?|_is_full_backward_hook"
)
_RECORD = "sphuni_conversion"
_log = logging.getLogger("sphuni")

_CONVOLUTIONS: dict[type[nn.Module], type[Any]] = {
    nn.Conv1d: SphereConv1d,
    nn.Conv2d: SphereConv2d,
    nn.Conv3d: SphereConv3d,
    nn.ConvTranspose1d: SphereConvTranspose1d,
    nn.ConvTranspose2d: SphereConvTranspose2d,
    nn.ConvTranspose3d: SphereConvTranspose3d,
}
_PLAIN: tuple[type[nn.Module], ...] = (*_CONVOLUTIONS, nn.Linear)
_SPHERE: tuple[type[Any], ...] = (*_CONVOLUTIONS.values(), SphereLinear, SphereRNNCell)
_LOSSES = (GASoftmaxLoss, CenterLoss)


@dataclasses.dataclass(frozen=True, eq=False)
class Conversion:
    """What `convert_to_sphere` did to a network; printing it gives the report.

    Attributes
    ----------
    model : nn.Module
        The network, whose layers were exchanged in place.
    changed : tuple of (name, description)
    kept : tuple of (name, reason)
        Linear and convolutional layers that were left as they were.
    """

    model: nn.Module
    changed: tuple[tuple[str, str], ...]
    kept: tuple[tuple[str, str], ...]
    _originals: tuple[tuple[nn.Module, nn.Module], ...] = ()

    def revert(self) -> nn.Module:
        """Put the original layers back, with the weights as they are now; return the model.

        Layers that were exchanged for others since the conversion stay as they are.

        Raises
        ------
        ValueError
            If the weight of a sphere layer has been parametrized or pruned; nothing is changed.
        """
        originals = {id(sphere): original for sphere, original in self._originals}
        found = [
            (name, sphere, originals[id(sphere)])
            for name, sphere in self.model.named_modules(remove_duplicate=False)
            if id(sphere) in originals
        ]
        for name, sphere, _ in found:
            _check_stored(name, sphere)
        for name, sphere, original in found:
            original.weight = sphere.weight
            original.bias = sphere.bias
            original.train(sphere.training)
            _replace(self.model, name, original)
        if getattr(self.model, _RECORD, None) is self:
            delattr(self.model, _RECORD)
        return self.model

    def __str__(self) -> str:
        lines = [f"{len(self.changed)} layers converted"]
        lines += [f"  {name}: {what}" for name, what in self.changed]
        lines += [f"  kept {name}: {why}" for name, why in self.kept]
        return "\n".join(lines)


def convert_to_sphere(
    model: M,
    *,
    kind: Kind = "cosine",
    k: float | None = None,
    a: float = -2 / math.pi,
    b: float = 1.0,
    share: str = "filter",
    eps: float = EPS,
    skip: str | Sequence[str] = ("shortcut", "classifier"),
    output_layer: str | None = "auto",
) -> M:
    """Exchange convolutions and Linear layers for their sphere forms, in place.

    Parameters
    ----------
    model : nn.Module
        Weights, biases and state-dict keys are kept (a learnable k adds one key per layer).
    kind, k, a, b, eps
        The function of the angle, see `sphuni.nn.SphereConv2d`.
    share : {"filter", "layer", "network"}, default "filter"
        With kind="learnable-sigmoid": one k per filter, one per layer, or one for all.
    skip : str or sequence of str, default ("shortcut", "classifier")
        "shortcut" is every convolution with a kernel of size 1, "classifier" the output layer;
        both also match names, as do further regular expressions.
    output_layer : str or None, default "auto"
        Name of the classifier, or how to find it; see `sphuni.nn.regularize`.

    Returns
    -------
    nn.Module
        `model` itself. `conversion_of(model)` is the report, which is also logged, and
        `conversion_of(model).revert()` puts the plain layers back.

    Raises
    ------
    ValueError
        If nothing is left to convert, or the model is a single layer.

    References
    ----------
    W. Liu et al., "Deep hyperspherical learning", NeurIPS 2017. arXiv:1711.03189.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    >>> sphere = convert_to_sphere(network, kind="sigmoid", k=0.3)
    >>> sphere(torch.zeros(1, 3, 5, 5)).shape
    torch.Size([1, 8, 3, 3])
    >>> print(conversion_of(sphere))
    1 layers converted
      0: Conv2d to SphereConv2d
    """
    patterns = _patterns(skip)
    classifier = _classifier(model, output_layer) if "classifier" in patterns else None
    changed: list[tuple[str, str]] = []
    kept: list[tuple[str, str]] = []
    originals: list[tuple[nn.Module, nn.Module]] = []
    made: dict[int, nn.Module] = {}
    options: dict[str, Any] = {"kind": kind, "k": k, "a": a, "b": b, "eps": eps}
    options["share"] = _shared(share, kind, k, model)
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, nn.RNNBase | nn.RNNCellBase) and not isinstance(module, _SPHERE):
            kept.append((name, "recurrent; its sphere form is SphereRNNCell, with other gates"))
        if not isinstance(module, _PLAIN) or isinstance(module, _SPHERE):
            continue
        reason = _reason_to_keep(model, name, module, patterns, classifier)
        if reason is not None:
            kept.append((name or type(module).__name__, reason))
            continue
        if id(module) not in made:
            made[id(module)] = _sphere_form(module, options)
        _replace(model, name, made[id(module)])
        originals.append((made[id(module)], module))
        changed.append((name, f"{type(module).__name__} to {type(made[id(module)]).__name__}"))
    if not changed:
        listed = "; ".join(f"{name}: {reason}" for name, reason in kept) or "it has none"
        raise ValueError(f"no convolution or linear layer is left to convert ({listed})")
    record = _record(model, changed, kept, originals)
    setattr(model, _RECORD, record)
    _log.info("%s", record)
    return model


def _patterns(skip: Any) -> tuple[str, ...]:
    """The patterns of `skip`, which may be one."""
    if not isinstance(skip, Iterable):
        raise TypeError(
            f"skip must be a name, a regular expression or a list of them; got {skip!r}"
        )
    patterns = (skip,) if isinstance(skip, str) else tuple(skip)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(
                f"skip must hold names or regular expressions; {pattern!r} is none: {error}"
            ) from None
    return patterns


def conversion_of(model: nn.Module) -> Conversion:
    """Return what `convert_to_sphere` did to `model`.

    Raises
    ------
    ValueError
        If it was not converted, or has been reverted.
    """
    record = getattr(model, _RECORD, None)
    if not isinstance(record, Conversion):
        raise ValueError(
            f"model must have been converted by convert_to_sphere; this {type(model).__name__} "
            "was not, or was reverted"
        )
    return record


def no_decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters for an optimizer: weight decay on all but sphere layers and vectors.

    Nor on the class directions of a softmax loss on angles, whose lengths do not matter, and the
    centres of a `CenterLoss`, which it would pull to the origin.

    Parameters
    ----------
    model : nn.Module
    weight_decay : float
        For the first group; the second, sphere layers, losses and all parameters of rank one, has
        none.

    Returns
    -------
    list of two parameter groups

    Examples
    --------
    >>> import torch
    >>> groups = no_decay_groups(torch.nn.Linear(3, 2), 5e-4)
    >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
    [(1, 0.0005), (1, 0.0)]
    """
    exempt = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, (*_SPHERE, *_LOSSES))
        for parameter in module.parameters()
    }
    decay: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in model.parameters():
        plain = parameter.ndim > 1 and id(parameter) not in exempt
        (decay if plain else free).append(parameter)
    return [
        {"params": decay, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]


def _check_stored(name: str, module: nn.Module) -> None:
    """Refuse a layer whose weight or bias is computed, as it has none to hand over."""
    for leaf in ("weight", "bias"):
        if leaf not in module._parameters:
            raise ValueError(
                f"revert hands over what is stored, but {leaf!r} of layer {name!r} is computed. "
                "Make it plain first, with torch.nn.utils.parametrize.remove_parametrizations("
                f"layer, {leaf!r}) or torch.nn.utils.prune.remove(layer, {leaf!r})"
            )


def project_(model: nn.Module) -> None:
    """Scale every filter of the sphere layers to unit length, in place; call it after a step.

    Their answers do not change, up to `eps`; it keeps the effective learning rate constant.

    Raises
    ------
    ValueError
        If the weight of a sphere layer is parametrized, other than by weight normalisation.
    """
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, SphereRNNCell):
                weights = {leaf: getattr(module, leaf) for leaf in ("weight_ih", "weight_hh")}
                lengths = _lengths(torch.cat(list(weights.values()), dim=1))[:, None]
                for leaf, weight in weights.items():
                    _put(name, module, leaf, weight / lengths)
            elif isinstance(module, _SPHERE):
                _put(name, module, "weight", _unit_filters(module))


def _put(name: str, module: Any, leaf: str, weight: Tensor) -> None:
    """Change a weight where it is stored: as it is, or as direction and length."""
    stored = module._parameters.get(leaf)
    if stored is not None:
        stored.copy_(weight)
        return
    parts = module.parametrizations[leaf] if parametrize.is_parametrized(module, leaf) else ()
    if [type(part) for part in parts] != [_WeightNorm]:
        kinds = ", ".join(type(part).__name__ for part in parts) or "hooks"
        raise ValueError(
            f"project_ can scale filters that are stored, or under weight_norm; {leaf!r} of layer "
            f"{name!r} is computed by {kinds}. Make it plain first, for example with "
            f"torch.nn.utils.parametrize.remove_parametrizations(layer, {leaf!r})"
        )
    setattr(module, leaf, weight)


def _unit_filters(module: Any) -> Tensor:
    weight: Tensor = module.weight
    if getattr(module, "transposed", False):
        lengths = _lengths(transposed_rows(weight, groups=module.groups))
        return divide_transposed(weight, lengths, groups=module.groups)
    return weight / _lengths(weight.flatten(1)).reshape(-1, *[1] * (weight.ndim - 1))


def _lengths(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(widen(rows), dim=1).clamp_min(1e-12)  # which is 0 in float16


def _sphere_form(module: Any, options: dict[str, Any]) -> nn.Module:
    """Build the layer without memory, then hand it the parameters themselves."""
    options = {**options, "bias": module.bias is not None, "device": "meta"}
    if isinstance(module, nn.Linear):
        sphere: Any = SphereLinear(module.in_features, module.out_features, **options)
    else:
        names = ["stride", "padding", "dilation", "groups", "padding_mode"]
        names += ["output_padding"] if module.transposed else []
        geometry = {name: getattr(module, name) for name in names}
        channels = module.in_channels, module.out_channels
        sphere = _CONVOLUTIONS[type(module)](*channels, module.kernel_size, **geometry, **options)
    sphere.angular.materialise(module.weight.device)
    sphere.weight, sphere.bias = module.weight, module.bias
    sphere.train(module.training)
    for name, value in vars(module).items():
        if _HOOKS.fullmatch(name):
            setattr(sphere, name, value)  # the same, so that their handles still remove them
    return sphere


def _record(
    model: nn.Module,
    changed: list[tuple[str, str]],
    kept: list[tuple[str, str]],
    originals: list[tuple[nn.Module, nn.Module]],
) -> Conversion:
    """The report of this conversion and of those before it, so that all can be undone."""
    before = getattr(model, _RECORD, None)
    if isinstance(before, Conversion):
        changed, originals = [*before.changed, *changed], [*before._originals, *originals]
    return Conversion(model, tuple(changed), tuple(kept), tuple(originals))


def _shared(share: str, kind: str, k: float | None, model: nn.Module) -> str | nn.Parameter:
    """The parameter that all layers share with share="network", else the word itself."""
    if share not in ("filter", "layer", "network"):
        raise ValueError(f"share must be 'filter', 'layer' or 'network'; got {share!r}")
    if share != "network":
        return share
    if kind != "learnable-sigmoid":
        raise ValueError(
            f"share is for kind='learnable-sigmoid', not for {kind!r}, which learns none; got "
            "'network'. Leave it out"
        )
    device = next((p.device for p in model.parameters()), None)
    return shared_steepness(k, device=device)


def _read_by_parent(model: nn.Module, name: str) -> bool:
    """Whether torch's fast path for transformers goes past this layer."""
    path, _, leaf = name.rpartition(".")
    parent = model.get_submodule(path)
    return isinstance(parent, nn.TransformerEncoderLayer) and leaf in ("linear1", "linear2")


def _reason_to_keep(
    model: nn.Module,
    name: str,
    module: nn.Module,
    patterns: tuple[str, ...],
    classifier: str | None,
) -> str | None:
    if parametrize.is_parametrized(module) or "weight" not in dict(module.named_parameters()):
        return "its weight is parametrized"
    if not name:
        return "it is the whole model; build the sphere layer itself, such as SphereLinear"
    if type(module) not in _PLAIN:
        return f"a {type(module).__name__}, whose forward pass is its own"
    if _read_by_parent(model, name):
        return "torch's TransformerEncoderLayer reads its weight without calling it in evaluation"
    if name == classifier:
        return "the classifier"
    kernel = getattr(module, "kernel_size", None)
    if "shortcut" in patterns and kernel is not None and all(size == 1 for size in kernel):
        return "a shortcut: its kernel has size 1"
    for pattern in patterns:
        if re.search(pattern, name):
            return f"matches {pattern!r}"
    return None


def _classifier(model: nn.Module, output_layer: str | None) -> str | None:
    network = [x for x in find_layers(model).network if x.kind.startswith(("linear", "conv"))]
    if not network:
        return None
    roles = assign_roles(network, output_layer)
    return next((layer.module for layer in roles if layer.role == "output"), None)


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)
