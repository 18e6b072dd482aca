"""A device that is not there: tensors that say they are elsewhere and hold their numbers here.

The device is named "meta", since torch takes no other name without its driver; all of the library
that asks whether tensors are on the processor takes it for a GPU. Operations on tensors of both
devices are refused as CUDA refuses them.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from sphuni import _devices

__all__ = [
    "Elsewhere",
    "brought_back",
    "counted",
    "device_without_float64",
    "pretended_device",
    "sent",
]

_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
_WAITING = {"_local_scalar_dense", "nonzero", "_unique2"}
_STARTING_NOTHING = {"empty", "empty_like", "new_empty", "detach", "_unsafe_view", "lift_fresh"}


@dataclasses.dataclass
class Count:
    """Operations that were started on the device, and times that the processor waited for it."""

    started: int = 0
    waits: int = 0


_counts: list[Count] = []


@contextlib.contextmanager
def counted() -> Iterator[Count]:
    """Count what is done on the device."""
    count = Count()
    _counts.append(count)
    try:
        yield count
    finally:
        _counts.remove(count)


class Elsewhere(Tensor):
    """A tensor on the pretended device; `here` holds its numbers."""

    here: Tensor
    widest = torch.float64
    is_meta = property(lambda self: False)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, here: Tensor) -> "Elsewhere":
        """Wrap a tensor of the processor."""
        if here.dtype == torch.float64 != cls.widest:
            raise TypeError("Cannot convert a tensor to float64: the device does not support it")
        made: Elsewhere = Tensor._make_wrapper_subclass(
            cls, here.size(), strides=here.stride(), dtype=here.dtype, device="meta"
        )
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute with the numbers held here."""
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:
        """Return the numbers, as any device does."""
        _wait()
        return self.here.tolist()

    def new_tensor(self, data: Any, **options: Any) -> "Elsewhere":
        """Make a tensor beside this one."""
        return Elsewhere(self.here.new_tensor(data, **options))


def sent(tensor: Tensor) -> Elsewhere:
    """Copy a tensor to the device."""
    return Elsewhere(tensor.detach().clone())


def brought_back(tensor: Tensor) -> Tensor:
    """Return the numbers of a tensor of the device."""
    assert isinstance(tensor, Elsewhere), "a result was left on the processor"
    return tensor.here


@contextlib.contextmanager
def device_without_float64(monkeypatch: Any) -> Iterator[None]:
    """A device that refuses double precision, as Apple's GPUs do, and is known to."""
    monkeypatch.setattr(_devices, "_WITHOUT_FLOAT64", {"meta"})
    monkeypatch.setattr(Elsewhere, "widest", torch.float32)
    with pretended_device(monkeypatch):
        yield


@contextlib.contextmanager
def pretended_device(monkeypatch: Any) -> Iterator[None]:
    """Let tensors be made on the device, and code ask what it asks of any device."""
    autocast, enabled, made = torch.autocast, torch.is_autocast_enabled, torch.as_tensor

    def as_tensor(data: Any, *, device: Any = None, **options: Any) -> Tensor:
        if device is None or torch.device(device).type != "meta" or isinstance(data, Tensor):
            return made(data, device=device, **options)
        return Elsewhere(made(data, device="cpu", **options))

    monkeypatch.setattr(torch, "as_tensor", as_tensor)
    monkeypatch.setattr(torch, "autocast", lambda kind, **options: autocast("cpu", **options))
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind="cpu": enabled("cpu"))
    with _Mode():
        yield


class _Mode(TorchDispatchMode):
    """Catches what is made on the device out of nothing."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    """Compute here; the answer belongs where the arguments are, or where it was asked for."""
    name = func.overloadpacket.__name__
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    away = any(isinstance(one, Elsewhere) for one in tensors)
    if away and name not in ("_to_copy", "copy_"):
        _refuse_mixture(name, args, tensors)
    wanted = kwargs.get("device")
    goes = away if wanted is None else torch.device(wanted).type == "meta"
    if away or goes:
        _count(func, name, leaves=away and not goes)
    options = {**kwargs, "device": "cpu"} if goes and wanted is not None else kwargs
    found = func(*tree_map(_numbers, args), **tree_map(_numbers, options))
    if torch.Tag.inplace_view in func.tags and isinstance(args[0], Elsewhere):
        with no_dispatch():  # the shape of the wrapper changes too
            func(*args, **kwargs)
        return args[0]
    if not func._schema.returns:
        return None
    if func._schema.is_mutable and tensors:
        return kwargs.get("out", args[0])
    return tree_map(_wrapped, found) if goes else found


def _count(func: Any, name: str, *, leaves: bool) -> None:
    """Count an operation; views start nothing, and numbers that leave the device are waited for."""
    if name in _WAITING or leaves:
        _wait()
    arguments = func._schema.arguments
    is_view = any(one.alias_info is not None and not one.alias_info.is_write for one in arguments)
    if not is_view and name not in _STARTING_NOTHING:
        for count in _counts:
            count.started += 1


def _wait() -> None:
    for count in _counts:
        count.waits += 1


def _refuse_mixture(name: str, args: Any, tensors: list[Tensor]) -> None:
    """Only numbers, and indices of rows, may be on the processor."""
    left = [one for one in tensors if not isinstance(one, Elsewhere) and one.dim() > 0]
    if left and not (name in _INDEXING and isinstance(args[0], Elsewhere)):
        raise RuntimeError(f"Expected all tensors to be on the same device: {name}")


def _numbers(value: Any) -> Any:
    return value.here if isinstance(value, Elsewhere) else value


def _wrapped(value: Any) -> Any:
    return Elsewhere(value) if isinstance(value, Tensor) else value
