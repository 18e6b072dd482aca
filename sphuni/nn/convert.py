"""Turn an existing network into a SphereNet, and back."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from sphuni.nn.hook._layers import find_layers
from sphuni.nn.hook._select import assign_roles, select
from sphuni.nn.layers import SphereConv1d, SphereConv2d, SphereConv3d, SphereLinear
from sphuni.nn.layers.angular import Kind

__all__ = ["Conversion", "convert_to_sphere", "no_decay_groups", "project_"]

_CONVOLUTIONS: dict[type[nn.Module], type[Any]] = {
    nn.Conv1d: SphereConv1d,
    nn.Conv2d: SphereConv2d,
    nn.Conv3d: SphereConv3d,
}
_PLAIN: tuple[type[nn.Module], ...] = (*_CONVOLUTIONS, nn.Linear)
_SPHERE: tuple[type[Any], ...] = (*_CONVOLUTIONS.values(), SphereLinear)


@dataclasses.dataclass(frozen=True, eq=False)
class Conversion:
    """A converted network and what was done to it.

    Attributes
    ----------
    model : nn.Module
        The network that was given, with layers exchanged in place.
    changed : tuple of (name, description)
    kept : tuple of (name, reason)
        Linear and convolutional layers that were left as they were.
    """

    model: nn.Module
    changed: tuple[tuple[str, str], ...]
    kept: tuple[tuple[str, str], ...]
    _originals: tuple[tuple[str, nn.Module], ...] = ()

    def revert(self) -> nn.Module:
        """Put the original layers back, with the weights as they are now; return the model."""
        for name, original in self._originals:
            sphere = self.model.get_submodule(name)
            original.weight = sphere.weight
            original.bias = sphere.bias
            original.train(sphere.training)
            _replace(self.model, name, original)
        return self.model

    def __str__(self) -> str:
        lines = [f"{len(self.changed)} layers converted"]
        lines += [f"  {name}: {what}" for name, what in self.changed]
        lines += [f"  kept {name}: {why}" for name, why in self.kept]
        return "\n".join(lines)


def convert_to_sphere(
    model: nn.Module,
    *,
    kind: Kind = "cosine",
    k: float | None = None,
    skip: str | Sequence[str] = ("shortcut", "classifier"),
    output_layer: str | None = "auto",
) -> Conversion:
    """Exchange Conv1d, Conv2d, Conv3d and Linear layers for their sphere forms, in place.

    Parameters
    ----------
    model : nn.Module
        Weights, biases and state-dict keys are kept (a learnable k adds one key per layer).
    kind, k
        The function of the angle, see `sphuni.nn.SphereConv2d`.
    skip : str or sequence of str, default ("shortcut", "classifier")
        "shortcut" is every convolution with a kernel of size 1, "classifier" the output layer;
        both also match names, as do further regular expressions.
    output_layer : str or None, default "auto"
        Name of the classifier, or how to find it; see `sphuni.nn.regularize`.

    Returns
    -------
    Conversion
        `.model` is the network; `.revert()` undoes the exchange; printing it gives a report.

    Raises
    ------
    ValueError
        If nothing is left to convert.

    References
    ----------
    W. Liu et al., "Deep hyperspherical learning", NeurIPS 2017. arXiv:1711.03189.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    >>> print(convert_to_sphere(network, kind="sigmoid", k=0.3))
    1 layers converted
      0: Conv2d to SphereConv2d
    """
    patterns = (skip,) if isinstance(skip, str) else tuple(skip)
    classifier = _classifier(model, output_layer) if "classifier" in patterns else None
    changed: list[tuple[str, str]] = []
    kept: list[tuple[str, str]] = []
    originals: list[tuple[str, nn.Module]] = []
    made: dict[int, nn.Module] = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if not isinstance(module, _PLAIN) or isinstance(module, _SPHERE) or not name:
            continue
        reason = _reason_to_keep(name, module, patterns, classifier)
        if reason is not None:
            kept.append((name, reason))
            continue
        if id(module) not in made:
            made[id(module)] = _sphere_form(module, kind, k)
        _replace(model, name, made[id(module)])
        originals.append((name, module))
        changed.append((name, f"{type(module).__name__} to {type(made[id(module)]).__name__}"))
    if not changed:
        listed = "; ".join(f"{name}: {reason}" for name, reason in kept) or "it has none"
        raise ValueError(f"no convolution or linear layer is left to convert ({listed})")
    return Conversion(model, tuple(changed), tuple(kept), tuple(originals))


def no_decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters for an optimizer: weight decay on all but sphere layers and vectors.

    Parameters
    ----------
    model : nn.Module
    weight_decay : float
        For the first group; the second, sphere layers and all parameters of rank one, has none.

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
        if isinstance(module, _SPHERE)
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


def project_(model: nn.Module) -> None:
    """Scale every filter of the sphere layers to unit length, in place; call it after a step.

    Their answers do not change, up to `eps`; it keeps the effective learning rate constant.
    """
    for module in model.modules():
        if isinstance(module, _SPHERE):
            weight: Tensor = module.weight.data
            norms = weight.flatten(1).norm(dim=1).clamp_min(1e-12)
            weight /= norms.reshape(-1, *[1] * (weight.ndim - 1))


def _sphere_form(module: Any, kind: Kind, k: float | None) -> nn.Module:
    """Build the layer without memory, then hand it the parameters themselves."""
    options: dict[str, Any] = {"kind": kind, "k": k, "bias": module.bias is not None}
    if isinstance(module, nn.Linear):
        size = module.in_features, module.out_features
        sphere: Any = SphereLinear(*size, device="meta", **options)
    else:
        sphere = _CONVOLUTIONS[type(module)](
            module.in_channels,
            module.out_channels,
            module.kernel_size,
            stride=module.stride,
            padding=module.padding,
            dilation=module.dilation,
            groups=module.groups,
            padding_mode=module.padding_mode,
            device="meta",
            **options,
        )
    if kind == "learnable-sigmoid":
        start = 0.5 if k is None else k
        weight = module.weight
        sphere.angular.k = nn.Parameter(weight.new_full((len(weight),), start - 0.05).float())
    sphere.weight, sphere.bias = module.weight, module.bias
    sphere.train(module.training)
    return sphere


def _reason_to_keep(
    name: str, module: nn.Module, patterns: tuple[str, ...], classifier: str | None
) -> str | None:
    if parametrize.is_parametrized(module) or "weight" not in dict(module.named_parameters()):
        return "its weight is parametrized"
    if type(module) not in _PLAIN:
        return f"a {type(module).__name__}, whose forward pass is its own"
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
    layers, _ = find_layers(model)
    layers = [layer for layer in layers if layer.kind.startswith(("linear", "conv"))]
    if not layers:
        return None
    roles = assign_roles(select(layers, None, None), output_layer)
    return next((layer.module for layer in roles if layer.role == "output"), None)


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)
