"""What the adapters of peft make of the weight of the layer that they wrap."""

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["adapted", "factors", "is_factor", "owner"]

_BASE = "base_layer"  # what an adapter calls the layer that it changes
# how the factors of adapters are called, and where those that add to a weight keep one for sure
_FACTORS = ("lora", "hada_", "lokr_", "vera_", "ia3_l", "oft_", "boft_", "hra_")
_ADDED = ("lora_A", "lora_embedding_A", "hada_w1_a", "lokr_w1", "lokr_w1_a", "vera_lambda_b")


def owner(model: nn.Module, path: str) -> nn.Module:
    """The module that uses the weight of the one at `path`: itself, or what adapts it."""
    parent, _, own = path.rpartition(".")
    return model.get_submodule(parent if own == _BASE else path)


def is_factor(model: nn.Module, name: str) -> bool:
    """Whether a tensor is a factor of what an adapter makes of the weight of some layer."""
    path = name.split(".")
    return any(
        part.startswith(_FACTORS) and hasattr(_submodule(model, path[:i]), _BASE)
        for i, part in enumerate(path)
    )


def factors(module: nn.Module) -> list[Tensor]:
    """The parameters of the active adapters of a layer."""
    active = _active_adapters(module)
    return [p for name, p in module.named_parameters() if any(_is_of(name, one) for one in active)]


def adapted(module: nn.Module, weight: Tensor) -> Tensor:
    """The weight with what the active adapters of peft make of it, in the wider dtype of the two.

    Those that turn all rows together (OFT, BOFT, HRA) change no angle and are left out.
    """
    for adapter in _active_adapters(module):
        if adapter in _held(module, _ADDED):
            change: Tensor = module.get_delta_weight(adapter)  # type: ignore[operator]
            weight = _with_magnitude(module, adapter, weight + change)
        else:
            scale: Tensor = module.ia3_l[adapter]  # type: ignore[index]
            weight = weight * (scale.t() if getattr(module, "fan_in_fan_out", False) else scale)
    return weight


def _with_magnitude(module: nn.Module, adapter: str, weight: Tensor) -> Tensor:
    """Give every row of a Linear or a convolution the length that DoRA has learned for it."""
    learned: Any = getattr(module, "lora_magnitude_vector", {})
    if adapter not in learned or isinstance(getattr(module, _BASE), nn.Embedding):
        return weight
    axis = 1 if getattr(module, "fan_in_fan_out", False) else 0
    others = [i for i in range(weight.dim()) if i != axis]
    lengths = torch.linalg.vector_norm(weight, dim=others, keepdim=True)
    return weight * (learned[adapter].weight.reshape(lengths.shape) / lengths)


def _active_adapters(module: nn.Module) -> list[str]:
    """The adapters of peft that change the rows of this layer other than by turning them."""
    if getattr(module, "merged", False) or getattr(module, "disable_adapters", False):
        return []
    known = _ADDED if hasattr(module, "get_delta_weight") else ()
    held = _held(module, (*known, "ia3_l"))
    return [adapter for adapter in getattr(module, "active_adapters", ()) if adapter in held]


def _held(module: nn.Module, names: tuple[str, ...]) -> set[str]:
    return {adapter for name in names for adapter in getattr(module, name, ())}


def _is_of(name: str, adapter: str) -> bool:
    kind, _, rest = name.partition(".")
    return kind.startswith(_FACTORS) and rest.split(".")[0] == adapter


def _submodule(model: nn.Module, path: list[str]) -> nn.Module | None:
    try:
        return model.get_submodule(".".join(path))
    except AttributeError:
        return None
