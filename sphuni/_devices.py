"""Where the library makes tensors of its own, and where it cannot compute."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

__all__ = [
    "lacks_float64",
    "map_tensors",
    "narrow_device",
    "on_cpu",
    "on_processor",
    "with_float64",
]

P = ParamSpec("P")
R = TypeVar("R")

_WITHOUT_FLOAT64 = {"mps"}  # Apple's GPUs


@contextlib.contextmanager
def on_cpu() -> Iterator[None]:
    """Within the block new tensors are on the processor unless they are asked for elsewhere.

    They are so anyhow where no program has called `torch.set_default_device`. What belongs to a
    caller's tensor is made on its device by name; random numbers must be where their generator is,
    and searches on the processor.
    """
    if torch.compiler.is_compiling() or torch.get_default_device().type == "cpu":
        yield
        return
    with torch.device("cpu"):
        yield


def with_float64(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function that takes sums in float64 serve tensors of devices that have none.

    It works on the processor then, and its tensors come back; derivatives pass.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        device = narrow_device(args, kwargs)
        if device is None:
            return function(*args, **kwargs)
        found: R = on_processor(function, device, args, kwargs)
        return found

    return wrapper


def lacks_float64(tensor: Tensor) -> bool:
    """Whether a tensor is on a device without double precision."""
    return tensor.device.type in _WITHOUT_FLOAT64


def narrow_device(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device | None:
    """The device without double precision that all tensors among the arguments are on, if any."""
    found = {one.device for one in (*args, *kwargs.values()) if isinstance(one, Tensor)}
    device = found.pop() if len(found) == 1 else None
    return device if device is not None and device.type in _WITHOUT_FLOAT64 else None


def on_processor(
    function: Callable[..., Any],
    device: torch.device,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Call a function with its tensors on the processor; those of its answer go to the device."""

    def fetched(value: Any) -> Any:
        return value.cpu() if isinstance(value, Tensor) else value

    def sent(tensor: Tensor) -> Tensor:
        narrow = tensor.float() if tensor.dtype == torch.float64 else tensor
        return narrow.to(device)

    named = {name: fetched(value) for name, value in kwargs.items()}
    return map_tensors(function(*map(fetched, args), **named), sent)


def map_tensors(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Change the tensors of a result: of a tensor, a tuple of results, or a dataclass of them."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple):
        items = [map_tensors(item, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: map_tensors(getattr(value, f.name), change) for f in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **fields)
    return value
