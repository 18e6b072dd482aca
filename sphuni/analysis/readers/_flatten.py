"""From nested containers to names and tensors: iteratively, each container once."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sphuni._errors import RefusedFileError
from sphuni._text import plural
from sphuni.analysis.readers._model import LeftOut, ReadLimits, checked_name

__all__ = ["flatten"]

_OPTIMIZER = re.compile(
    r"optim(izer)?s?(_?states?)?(_?dicts?)?|\w+_optim(izer)?(_?state)?(_?dict)?", re.I
)
_WRAPPERS = {
    "state_dict", "model_state_dict", "model_state", "model", "module", "net", "network",
    "weights", "params", "parameters", "state",
}  # fmt: skip

_Path = tuple[str, ...]


@dataclass(frozen=True)
class _Entry:
    path: _Path
    value: Any


def flatten(root: Any, limits: ReadLimits) -> tuple[dict[str, Tensor], list[LeftOut]]:
    """Collect the tensors of nested dicts, lists and tuples under dotted names.

    Optimizer state is left out and listed, and so is a container met a second time. Wrappers
    such as `state_dict` disappear from the names when nothing else holds tensors.
    """
    found: list[tuple[_Path, Tensor]] = []
    left: list[LeftOut] = []
    repeats: list[tuple[_Path, _Path]] = []
    for path, value in _walk(root, limits, left, repeats):
        if isinstance(value, Tensor):
            found.append((path, value))
        elif isinstance(value, torch.UntypedStorage | torch.TypedStorage):
            left.append(LeftOut(_joined(path, limits), "a bare storage without a shape"))
        if len(found) > limits.max_tensors:
            raise RefusedFileError(f"it holds more than max_tensors={limits.max_tensors} tensors")
    left += _repeated(repeats, [path for path, _ in found], limits)
    depth = _wrapper_depth([path for path, _ in found])
    tensors: dict[str, Tensor] = {}
    for path, value in found:
        name = _unique(_joined(path[depth:], limits), tensors)
        tensors[name] = value
    return tensors, left


def _repeated(
    repeats: list[tuple[_Path, _Path]], paths: list[_Path], limits: ReadLimits
) -> list[LeftOut]:
    """Note the containers met a second time, where tensors are in them."""
    holders = {path[:depth] for path in paths for depth in range(len(path))}
    return [
        LeftOut(
            _joined(again, limits), f"the same object as {_joined(first, limits) or 'the file'}"
        )
        for again, first in repeats
        if first in holders
    ]


def _walk(
    root: Any, limits: ReadLimits, left: list[LeftOut], repeats: list[tuple[_Path, _Path]]
) -> Iterator[tuple[_Path, Any]]:
    """Yield the leaves in order; containers already seen and optimizer state only leave a note."""
    seen: dict[int, _Path] = {}
    pending = [_Entry((), root)]
    nodes = 0
    while pending:
        entry = pending.pop()
        children = _children(entry.value)
        if children is None:
            yield entry.path, entry.value
            continue
        if id(entry.value) in seen:
            repeats.append((entry.path, seen[id(entry.value)]))
            continue
        seen[id(entry.value)] = entry.path
        nodes += len(entry.value)
        if nodes > limits.max_nodes:
            raise RefusedFileError(f"its containers hold more than {limits.max_nodes} entries")
        if entry.path and _is_optimizer(entry.path[-1], entry.value):
            note = _optimizer(entry.value, limits)
            if note is not None:
                left.append(LeftOut(_joined(entry.path, limits), note))
            continue
        if 2 * len(entry.path) > limits.max_name:
            raise RefusedFileError(f"its containers are nested more than {len(entry.path)} deep")
        pending.extend(_Entry((*entry.path, key), value) for key, value in reversed(children))


def _children(value: Any) -> list[tuple[str, Any]] | None:
    """Return what a container holds that may lead to tensors, or None for no container."""
    if isinstance(value, Mapping):
        held = enumerate(value.items())
        return [(_key(key, i), item) for i, (key, item) in held if _matters(item)]
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return [(str(i), item) for i, item in enumerate(value) if _matters(item)]
    return None


def _matters(value: Any) -> bool:
    if isinstance(value, Mapping | list | tuple):
        return len(value) > 0
    return isinstance(value, Tensor | torch.UntypedStorage | torch.TypedStorage)


def _key(key: Any, position: int) -> str:
    """Write a key; one that is itself a container could be endless, so its place names it."""
    return str(key) if isinstance(key, str | int | float | bool | None) else f"<key {position}>"


def _is_optimizer(name: str, value: Any) -> bool:
    if isinstance(value, Mapping) and "state" in value and "param_groups" in value:
        return True
    return _OPTIMIZER.fullmatch(name) is not None


def _optimizer(value: Any, limits: ReadLimits) -> str | None:
    """Count what the state of an optimizer holds, for the note about it; None if no tensor."""
    seen = {id(value)}
    pending = [value]
    tensors = elements = nodes = 0
    while pending:
        item = pending.pop()
        if isinstance(item, Tensor):
            tensors += 1
            elements += item.numel()
        for _, child in _children(item) or []:
            nodes += 1
            if nodes > limits.max_nodes:
                raise RefusedFileError(f"its containers hold more than {limits.max_nodes} entries")
            if isinstance(child, Tensor) or id(child) not in seen:
                seen.add(id(child))
                pending.append(child)
    if tensors == 0:
        return None
    held = f"{plural(tensors, 'tensor')} of {plural(elements, 'number')}"
    return f"state of an optimizer, not weights: {held}"


def _wrapper_depth(paths: list[_Path]) -> int:
    """Count the outer levels that are wrappers and hold every tensor."""
    depth = 0
    while paths and all(len(path) > depth + 1 for path in paths):
        heads = {path[depth] for path in paths}
        if len(heads) > 1 or not heads & _WRAPPERS:
            break
        depth += 1
    return depth


def _joined(path: _Path, limits: ReadLimits) -> str:
    for part in path:
        checked_name(part, limits)
    return checked_name(".".join(path), limits)


def _unique(name: str, taken: Mapping[str, object]) -> str:
    """Keep two tensors apart whose keys are written alike, such as 1 and "1"."""
    unique, copy = name or "tensor", 1
    while unique in taken:
        copy += 1
        unique = f"{name or 'tensor'} ({copy})"
    return unique
