"""ONNX graphs: initializers and constants, laid out by the operation that consumes them."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sphuni._errors import RefusedFileError, UnreadableFileError
from sphuni._text import plural
from sphuni.analysis.readers._model import (
    LeftOut,
    LoadedModel,
    ReadLimits,
    checked_name,
    located,
    shown,
)
from sphuni.analysis.readers._onnx_layout import GATES, RULES, node_attribute
from sphuni.analysis.readers._protobuf import check_fields

__all__ = ["read_onnx"]

_PASSING = {"Identity", "Cast", "DequantizeLinear", "QuantizeLinear"}
_ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Where", "PRelu", "Concat", "Clip"}
_QUANTISED = {
    "DequantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv", "QGemm",
    "QAttention", "DynamicQuantizeMatMul", "MatMulNBits",
}  # fmt: skip
_HOPS = 8
_MAX_FILE = 1 << 31
# Names torch gives on export; where the graph hides the layer, the name still tells its layout.
_TORCH_NAME = re.compile(r"(^|[._/])weight(_[ih]h(_l\d+)?(_reverse)?)?$")
_RECURRENT_NAME = re.compile(r"weight_[ih]h(_l\d+)?(_reverse)?$")


@dataclass(frozen=True)
class _Constant:
    """A tensor of the graph, under the name its scope gives it."""

    name: str
    proto: Any
    scope: str


@dataclass(frozen=True)
class _Use:
    """One place where a tensor enters an operation."""

    node: Any
    position: int
    scope: str


@dataclass
class _Graph:
    """All constants of a model, subgraphs included, and who uses each name."""

    constants: list[_Constant] = field(default_factory=list)
    uses: dict[str, list[_Use]] = field(default_factory=dict)
    sparse: list[str] = field(default_factory=list)


def read_onnx(path: Path, limits: ReadLimits) -> LoadedModel:
    """Read the weights of an ONNX model, subgraphs included; nothing outside the file is opened."""
    onnx = _package(path)
    size = path.stat().st_size
    if size > min(_MAX_FILE, limits.max_bytes):
        raise RefusedFileError(
            f"{shown(path)} has {size} bytes; max_bytes is {min(_MAX_FILE, limits.max_bytes)}"
        )
    content = path.read_bytes()
    with located(path):
        check_fields(memoryview(content), onnx.ModelProto.DESCRIPTOR, 2 * limits.max_nodes)
    model = onnx.ModelProto.FromString(content)
    if not model.HasField("graph"):
        raise UnreadableFileError(f"{shown(path)} is not an ONNX model: it has no graph")
    graph = _collect(model)
    if len(graph.constants) > limits.max_tensors:
        raise RefusedFileError(
            f"{shown(path)} holds {len(graph.constants)} tensors; max_tensors is "
            f"{limits.max_tensors}"
        )
    return _loaded(path, graph, limits)


def _package(path: Path) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise UnreadableFileError(
            f"{shown(path)} needs the package onnx; install it with pip install 'sphuni[onnx]'"
        ) from error
    return onnx


def _collect(model: Any) -> _Graph:
    """Walk the graph and its subgraphs, whose names are prefixed by the branch they are in."""
    result = _Graph()
    pending = [("", model.graph), *((f"{f.name}/", f) for f in model.functions)]
    while pending:
        scope, graph = pending.pop()
        stored = getattr(graph, "initializer", ())
        result.constants += [_Constant(scope + t.name, t, scope) for t in stored]
        result.sparse += [scope + t.values.name for t in getattr(graph, "sparse_initializer", ())]
        for number, node in enumerate(graph.node):
            for position, name in enumerate(node.input):
                result.uses.setdefault(name, []).append(_Use(node, position, scope))
            label = node.name or f"{node.op_type}_{number}"
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.name == "value":
                    name = scope + (node.output[0] if node.output else label)
                    result.constants.append(_Constant(name, attribute.t, scope))
                if attribute.HasField("g"):
                    pending.append((f"{scope}{label}.{attribute.name}/", attribute.g))
                pending += [(f"{scope}{label}.{attribute.name}/", g) for g in attribute.graphs]
    return result


def _loaded(path: Path, graph: _Graph, limits: ReadLimits) -> LoadedModel:
    tensors: dict[str, Tensor] = {}
    kinds: dict[str, str] = {}
    skipped = [LeftOut(name[: limits.max_name], "a sparse tensor") for name in graph.sparse]
    plumbing = small = 0
    for constant in graph.constants:
        value = _value(path, constant, limits)
        if not isinstance(value, Tensor):
            skipped.append(LeftOut(constant.name, value))
        elif not value.is_floating_point():
            used = _quantised(constant, value, graph)
            plumbing += used is None
            skipped += [] if used is None else [LeftOut(constant.name, used)]
        elif value.dim() == 0 or value.numel() == 1:
            small += 1
        else:
            for name, kind, part in _placed(constant, value, graph, skipped):
                name = _free(name, tensors)
                tensors[name] = part
                if kind:
                    kinds[name] = kind
    if plumbing:
        what = "of integers or truth values: shapes, axes and indices of the graph"
        skipped.append(LeftOut("(graph constants)", f"{plural(plumbing, 'tensor')} {what}"))
    if small:
        skipped.append(LeftOut("(graph scalars)", plural(small, "single number")))
    return LoadedModel(path, "onnx", tensors, tuple(skipped), kinds)


def _value(path: Path, constant: _Constant, limits: ReadLimits) -> Tensor | str:
    """Return the numbers of a tensor, or say why they are not read."""
    import onnx

    proto = constant.proto
    where = f"{shown(path)}: the tensor {shown(constant.name)}"
    with located(path):
        checked_name(constant.name, limits)
    if proto.data_location == onnx.TensorProto.EXTERNAL or len(proto.external_data):
        raise RefusedFileError(
            f"{where} is stored outside the file, and nothing outside it is opened; save the model "
            "as one file with onnx.save(model, path, save_as_external_data=False)"
        )
    if len(proto.dims) > limits.max_rank:
        raise RefusedFileError(f"{where} has {len(proto.dims)} axes; max_rank is {limits.max_rank}")
    if proto.data_type == onnx.TensorProto.STRING or proto.data_type not in _known_types(onnx):
        return "values of a type that is not read as weights"
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(proto.data_type))
    claimed = math.prod(proto.dims)
    stored = len(proto.raw_data) // dtype.itemsize if proto.raw_data else _listed(proto)
    if min(proto.dims, default=0) < 0 or claimed != stored:
        raise UnreadableFileError(f"{where} has {stored} numbers for a shape that needs {claimed}")
    array = np.array(onnx.numpy_helper.to_array(proto))
    if proto.data_type == onnx.TensorProto.BFLOAT16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _quantised(constant: _Constant, value: Tensor, graph: _Graph) -> str | None:
    """Say of integers that they are weights, or None where they belong to the graph's plumbing."""
    uses = _uses(constant, constant.name.removeprefix(constant.scope), graph)
    used = {use.node.op_type for use in uses} & _QUANTISED
    if value.dim() < 2 or not used:
        return None
    return (
        f"{value.numel()} integers of shape {tuple(value.shape)} for {min(used)}: quantised "
        "weights are not read; use the model before it was quantised"
    )


def _known_types(onnx: Any) -> set[int]:
    names = "FLOAT DOUBLE FLOAT16 BFLOAT16 BOOL INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64"
    return {getattr(onnx.TensorProto, name) for name in names.split()}


def _listed(proto: Any) -> int:
    """Count numbers that are listed one by one instead of stored as raw bytes."""
    lists = (proto.float_data, proto.double_data, proto.int32_data, proto.int64_data)
    return max(len(numbers) for numbers in (*lists, proto.uint64_data))


def _placed(
    constant: _Constant, value: Tensor, graph: _Graph, skipped: list[LeftOut]
) -> Iterator[tuple[str, str, Tensor]]:
    """Yield the tensor with its neurons along the first axis, as its consumer uses it."""
    if value.dim() == 1:
        yield constant.name, "", value
        return
    reasons = []
    for node, position, tensor in _consumers(constant, value, graph):
        rule = RULES.get(node.op_type)
        found = rule(node, position, tensor) if rule else None
        if found is not None:
            kind, parts = found
            if kind == "linear" and _RECURRENT_NAME.search(constant.name):
                kind = ""
            for suffix, part in parts:
                yield constant.name + suffix, kind, part
            return
        reasons.append(node.op_type)
    if _TORCH_NAME.search(constant.name) and not set(reasons) <= _ELEMENTWISE:
        yield constant.name, "", value
    else:
        skipped.append(LeftOut(constant.name, _unplaced(value, reasons)))


def _unplaced(value: Tensor, operations: list[str]) -> str:
    shape = tuple(value.shape)
    if not operations:
        return f"{value.numel()} numbers of shape {shape} that no operation of the graph consumes"
    if set(operations) <= set(GATES):
        return f"{value.numel()} biases or initial states of a recurrent layer"
    used = ", ".join(sorted(set(operations))[:3])
    if set(operations) <= _ELEMENTWISE:
        return f"{value.numel()} numbers of shape {shape} combined entry by entry ({used})"
    return f"{value.numel()} numbers of shape {shape} for {used}: no axis of neurons is known"


def _consumers(
    constant: _Constant, value: Tensor, graph: _Graph
) -> Iterator[tuple[Any, int, Tensor]]:
    """Yield the operations that use a tensor, looking through casts and transpositions."""
    local = constant.name.removeprefix(constant.scope)
    pending = [(local, value, 0)]
    while pending:
        name, tensor, hops = pending.pop()
        for use in _uses(constant, name, graph):
            passed = _passed(use, tensor)
            if passed is None:
                yield use.node, use.position, tensor
            elif hops < _HOPS:
                pending += [(output, passed, hops + 1) for output in use.node.output]


def _uses(constant: _Constant, name: str, graph: _Graph) -> list[_Use]:
    """Where a name enters an operation, within the scope of a tensor."""
    return [use for use in graph.uses.get(name, []) if use.scope.startswith(constant.scope)]


def _passed(use: _Use, tensor: Tensor) -> Tensor | None:
    if use.position != 0:
        return None
    if use.node.op_type in _PASSING:
        return tensor
    if use.node.op_type == "Transpose":
        order = node_attribute(use.node, "perm", list(range(tensor.dim()))[::-1])
        if sorted(order) == list(range(tensor.dim())):
            return tensor.permute(*order)
    return None


def _free(name: str, taken: dict[str, Tensor]) -> str:
    unique, copy = name, 1
    while unique in taken:
        copy += 1
        unique = f"{name} ({copy})"
    return unique
