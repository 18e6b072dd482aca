"""What can be analysed: modules, state dicts, files, arrays, and the features of a module."""

import math
import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sphuni._arrays import to_tensor
from sphuni._rng import torch_generator
from sphuni.analysis import readers
from sphuni.analysis._rows import DEAD, ProductView
from sphuni.nn.neurons import Heads, NeuronView, Skipped, module_neurons, tensor_neurons

__all__ = ["Source", "collect_features", "open_source", "selected"]

_TEXT = (".csv", ".tsv", ".txt")


class Source(NamedTuple):
    """A model on its way to a report: a name for it, and every tensor viewed or skipped.

    Rows of a product of low rank are given in coordinates of the space that they span.
    """

    name: str
    items: list[NeuronView | Skipped]


def open_source(model: Any, *, heads: Heads = None, split_qkv: bool = False) -> Source:
    """Read whatever a user calls a model.

    Parameters
    ----------
    model : nn.Module, mapping of name to tensor, path, or array of shape (n, d)
    heads, split_qkv
        As in `sphuni.nn.neurons.module_neurons`.

    Raises
    ------
    UnreadableFileError
        If a file cannot be read or is refused.
    TypeError
        If `model` is none of these.
    """
    if isinstance(model, nn.Module):
        items = module_neurons(model, heads=heads, split_qkv=split_qkv)
        return Source(type(model).__name__, list(map(_in_own_space, items)))
    if isinstance(model, str | os.PathLike):
        return _open_path(Path(model), heads, split_qkv)
    if isinstance(model, Mapping):
        items = tensor_neurons(model, heads=heads, split_qkv=split_qkv)
        return Source("state dict", list(map(_in_own_space, items)))
    if isinstance(model, Tensor | np.ndarray):
        points = model if isinstance(model, Tensor) else to_tensor(model, "model")
        return Source("array", _points("array", points))
    raise TypeError(
        "model must be a torch module, a state dict, a path or an (n, d) array; "
        f"got {type(model).__name__}. A table of points is passed as numpy.asarray(points)"
    )


def selected(name: str, layers: Iterable[str] | None, exclude: Iterable[str] | None) -> str | None:
    """Return the reason why a layer of this name is not wanted, or None."""
    if layers is not None and not any(_fits(name, pattern) for pattern in layers):
        return "not among the layers asked for"
    if exclude is not None and any(_fits(name, pattern) for pattern in exclude):
        return "left out by the exclude pattern"
    return None


def _fits(name: str, pattern: str) -> bool:
    """Whether it is this name or fits this pattern; names such as `weight_ih_l0[i]` are both."""
    return name == pattern or fnmatchcase(name, pattern)


def collect_features(
    module: nn.Module, batches: Iterable[Any], *, layer: str = "", max_rows: int = 100_000
) -> Tensor:
    """Collect the features a module computes over a data loader, as points to be analysed.

    Parameters
    ----------
    module : nn.Module
        Run in evaluation mode and without gradients; the modes of all its parts are restored.
    batches : iterable
        Batches as the module takes them; of a tuple or list the first entry is the input.
    layer : str, default ""
        Name of the submodule whose output is collected; by default the module's own output. Of a
        tuple or list, such as a recurrent layer returns, the first entry is taken.
    max_rows : int, default 100_000
        Stop after that many rows.

    Returns
    -------
    Tensor, shape (n, d)
        One row per sample, on the CPU; further axes of the output are flattened.

    Raises
    ------
    ValueError
        If `layer` does not exist (the message lists those that do) or is never called, or no batch
        came.
    TypeError
        If its output is no tensor of at least two axes.
    """
    named = dict(module.named_modules())
    if layer not in named:
        known = ", ".join(name for name in named if name)
        raise ValueError(f"layer must name a submodule; got {layer!r}; there are: {known}")
    rows: list[Tensor] = []

    def collect(_module: nn.Module, _inputs: Any, output: Any) -> None:
        found = output[0] if isinstance(output, tuple | list) and output else output
        if not isinstance(found, Tensor):
            raise TypeError(
                f"the output of {layer or 'the module'!r} must be a tensor or start with one; got "
                f"{type(found).__name__}. Name another submodule by layer"
            )
        if found.dim() < 2:
            raise TypeError(
                f"the output of {layer or 'the module'!r} must have one row per sample; got shape "
                f"{tuple(found.shape)}. Name another submodule by layer"
            )
        # a copy, as what comes after the layer may write into its output
        rows.append(found.detach().flatten(1).to("cpu", copy=True))

    handle = named[layer].register_forward_hook(collect)
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    came = False
    try:
        with torch.no_grad():
            for batch in batches:
                came = True
                module(batch[0] if isinstance(batch, tuple | list) else batch)
                if sum(len(part) for part in rows) >= max_rows:
                    break
    finally:
        handle.remove()
        for part, mode in modes:
            part.training = mode
    if not came:
        raise ValueError("batches must yield at least one batch; none came")
    if not rows:
        raise ValueError(f"layer {layer!r} is not called when the module runs; name another")
    return torch.cat(rows)[:max_rows]


def _open_path(path: Path, heads: Heads, split_qkv: bool) -> Source:
    if path.suffix.lower() in _TEXT:
        return Source(str(path), _points(path.name, readers.read_points(path)))
    loaded = readers.read_tensors(path)
    if loaded.format == "npy" and any(_are_whole_points(one) for one in loaded.tensors.values()):
        return Source(str(path), _points(*next(iter(loaded.tensors.items()))))
    found = tensor_neurons(loaded.tensors, kinds=loaded.kinds, heads=heads, split_qkv=split_qkv)
    items = list(map(_in_own_space, found))
    items += [
        Skipped(part.name, "other", (), part.reason, 0, (part.name,)) for part in loaded.skipped
    ]
    return Source(str(path), items)


def _are_whole_points(array: Tensor) -> bool:
    """Whether an array alone in its file holds whole numbers (n, d), as a table of text may."""
    counts = array.dtype != torch.bool and not (array.is_floating_point() or array.is_complex())
    return counts and array.ndim == 2


def _in_own_space(item: NeuronView | Skipped) -> NeuronView | Skipped:
    """A product of rank r < d with its rows in r coordinates, between which angles are the same.

    As points of R^d all products of low rank, random ones too, would look gathered about a
    subspace. The images of r random vectors span the rows. A product that has no directions to
    compare, whatever its numbers are, is left out.
    """
    if isinstance(item, Skipped) or item.rank is None:
        return item
    matrix, rank = item.matrix, item.rank
    if not bool(torch.isfinite(matrix).all()):
        return item
    if not bool(matrix.any()):
        return _without(item, "a product of factors that is zero: the adapter is not trained yet")
    if rank == 1:
        return _without(item, "a product of rank 1: all its rows are parallel by construction")
    if rank >= matrix.shape[1]:
        return item
    # scaled, as small rows would be lost beside large ones, and sums of huge ones overflow
    largest = torch.linalg.vector_norm(matrix, ord=math.inf, dim=1, keepdim=True)
    rows = matrix / torch.where(largest == 0, 1.0, largest)
    shares = largest / largest.amax()
    probes = torch.randn(len(rows), rank, generator=torch_generator(0)).to(rows)
    probes *= shares > DEAD * shares.mean()  # what is left of dead rows is rounding
    basis = torch.linalg.qr((rows.mT @ probes).double()).Q
    own = (rows @ basis.to(rows)).double() * largest.double()
    return ProductView(**{**vars(item), "matrix": own}, width=matrix.shape[1])


def _without(view: NeuronView, reason: str) -> Skipped:
    shape = tuple(view.matrix.shape)
    return Skipped(view.name, view.kind, shape, reason, view.parameters, view.sources)


def _points(name: str, points: Tensor) -> list[NeuronView | Skipped]:
    if points.ndim != 2:
        raise ValueError(f"an array of points must have shape (n, d); got {tuple(points.shape)}")
    if not (points.is_floating_point() or points.is_complex()):
        points = points.double()
    return list(tensor_neurons({name: points.detach()}, kinds={name: "points"}))
