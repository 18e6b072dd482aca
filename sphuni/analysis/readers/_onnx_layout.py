"""Which axis of an ONNX tensor holds the neurons, by the operation that consumes it."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from sphuni.nn.neurons import transposed_rows

__all__ = ["GATES", "RULES", "node_attribute"]

GATES = {"LSTM": ("i", "o", "f", "c"), "GRU": ("z", "r", "h"), "RNN": ("",)}

_Rows = list[tuple[str, Tensor]]


def node_attribute(node: Any, name: str, default: Any) -> Any:
    """Return an integer or list of integers of a node, or the default it has in ONNX."""
    for attribute in node.attribute:
        if attribute.name == name:
            return list(attribute.ints) if isinstance(default, list) else attribute.i
    return default


def _multiplied(node: Any, position: int, weight: Tensor) -> tuple[str, _Rows] | None:
    """MatMul: x @ W has its neurons in columns, W @ x in rows."""
    if weight.dim() != 2 or position > 1:
        return None
    return "linear", [("", weight.t() if position == 1 else weight)]


def _gemm(node: Any, position: int, weight: Tensor) -> tuple[str, _Rows] | None:
    if weight.dim() != 2 or position > 1:
        return None
    turned = bool(node_attribute(node, "transB" if position == 1 else "transA", 0))
    return "linear", [("", weight.t() if turned == (position == 0) else weight)]


def _convolved(node: Any, position: int, weight: Tensor) -> tuple[str, _Rows] | None:
    if position != 1 or weight.dim() < 3:
        return None
    return f"conv{weight.dim() - 2}d", [("", weight)]


def _deconvolved(node: Any, position: int, weight: Tensor) -> tuple[str, _Rows] | None:
    groups = node_attribute(node, "group", 1)
    if position != 1 or weight.dim() < 3 or groups < 1 or weight.shape[0] % groups:
        return None
    return f"conv_transpose{weight.dim() - 2}d", [("", transposed_rows(weight, groups=groups))]


def _gathered(node: Any, position: int, weight: Tensor) -> tuple[str, _Rows] | None:
    if position != 0 or weight.dim() != 2 or node_attribute(node, "axis", 0) not in (0, -2):
        return None
    return "embedding", [("", weight)]


def _recurrent(node: Any, position: int, weight: Tensor) -> tuple[str, _Rows] | None:
    """W and R of shape (directions, gates * hidden, inputs), in the gate order of ONNX."""
    gates = GATES[node.op_type]
    if position not in (1, 2) or weight.dim() != 3 or weight.shape[1] % len(gates):
        return None
    size = weight.shape[1] // len(gates)
    parts = [
        (_suffix(direction, weight.shape[0], gate), weight[direction, i * size : (i + 1) * size])
        for direction in range(weight.shape[0])
        for i, gate in enumerate(gates)
    ]
    return node.op_type.lower(), parts


def _suffix(direction: int, directions: int, gate: str) -> str:
    parts = [gate] if gate else []
    if directions > 1:
        parts.append("reverse" if direction else "forward")
    return f"[{' '.join(parts)}]" if parts else ""


RULES: dict[str, Callable[[Any, int, Tensor], tuple[str, _Rows] | None]] = {
    "MatMul": _multiplied,
    "Gemm": _gemm,
    "Conv": _convolved,
    "ConvTranspose": _deconvolved,
    "Gather": _gathered,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
