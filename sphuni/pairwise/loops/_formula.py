"""A kernel's formula as lines of scalar Python, read off its torch code.

Kernels are written once, in torch. Those made of arithmetic, roots, exponentials, logarithms and
angles can be spelled out pair by pair, which is what the native loops compile; series stay with
torch.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from sphuni.kernels import Kernel

__all__ = ["Formula", "formula"]


@dataclasses.dataclass(frozen=True)
class Formula:
    """Assignments in terms of p and q, the names of the results, and the constants used.

    A value that is a sum of multiples of log p and log q has them in `logarithms`, as names of
    constants and "p" or "q".
    """

    lines: tuple[str, ...]
    value: str
    slope: str
    constants: tuple[tuple[str, float], ...]
    logarithms: tuple[tuple[str, str], ...]


def formula(kernel: Kernel, prefix: str = "") -> Formula | None:
    """Return K and dK/dt of a kernel, spelled out, or None where that is not possible.

    Every name but p, q, zero, one and those of functions begins with `prefix`.
    """
    for root in (_Together, _Apart):
        try:
            return _Writer(prefix).write(_graph(root, kernel))
        except (_Unwritable, fx.proxy.TraceError, TypeError):  # the last from functions of floats
            continue
    return None


@functools.lru_cache(maxsize=64)
def _graph(root: "type[_Together]", kernel: Kernel) -> fx.Graph:
    no_modules: Any = ()  # looking into them takes ten times as long as tracing
    graph = fx.Tracer(autowrap_modules=no_modules).trace(root(kernel))
    graph.eliminate_dead_code()  # lines may read q where the results do not
    return graph


class _Unwritable(Exception):
    """The formula calls something that has no scalar form here."""


class _Together(torch.nn.Module):
    """What fx traces: a kernel's function of p and q."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self._kernel = kernel

    def forward(self, p: Any, q: Any) -> Any:
        return self._kernel.value_and_derivative(p, q)


class _Apart(_Together):
    """The same where value and derivative can be had together only by looking at numbers."""

    def forward(self, p: Any, q: Any) -> Any:
        return self._kernel.value(p, q), self._kernel.derivative(p, q)


_BINARY = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.truediv: "/",
    operator.lt: "<",
}
_CALLS: dict[Callable[..., Any], str] = {
    operator.neg: "-{}",
    torch.sqrt: "sqrt({})",
    torch.rsqrt: "rsqrt({})",
    torch.reciprocal: "one / {}",
    torch.square: "{0} * {0}",
    torch.zeros_like: "zero",
    torch.ones_like: "one",
    torch.log: "log({})",
    torch.log1p: "log1p({})",
    torch.exp: "exp({})",
    torch.atan2: "angle({}, {})",
    torch.where: "({1} if {0} else {2})",
}


class _Writer:
    """Turns a traced graph into assignments."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._lines: list[str] = []
        self._constants: dict[str, float] = {}

    def write(self, graph: fx.Graph) -> Formula:
        results: tuple[str, str] | None = None
        logarithms: list[tuple[str, str]] = []
        for node in graph.nodes:
            if node.op in ("call_function", "call_method"):
                self._lines.append(f"{self._operand(node)} = {self._expression(node)}")
            elif node.op == "output":
                value, slope = node.args[0]
                results = self._operand(value), self._operand(slope)
                logarithms = self._logarithms(value, 1.0) or []
            elif node.op != "placeholder":
                raise _Unwritable(node.op)
        if results is None:
            raise _Unwritable("no output")
        constants = tuple(self._constants.items())
        return Formula(tuple(self._lines), *results, constants, tuple(logarithms))

    def _logarithms(self, value: Any, factor: float) -> list[tuple[str, str]] | None:
        """Factors and arguments of a sum of multiples of log p and log q; None of anything else."""
        if not isinstance(value, fx.Node):
            return None
        function, arguments = value.target, tuple[Any, ...](value.args)
        if function is operator.add:
            left, right = (self._logarithms(term, factor) for term in arguments)
            return left + right if left and right else None
        if function is operator.mul and isinstance(arguments[1], int | float):
            return self._logarithms(arguments[0], factor * arguments[1])
        if function is torch.log and arguments[0].op == "placeholder":
            return [(self._operand(factor), arguments[0].name)]
        return None

    def _expression(self, node: fx.Node) -> str:
        named = isinstance(node.target, str)
        function = getattr(torch, str(node.target), None) if named else node.target
        if function in _BINARY:
            left, right = (self._operand(argument) for argument in node.args)
            return f"{left} {_BINARY[function]} {right}"
        if function is operator.pow and isinstance(node.args[1], int) and 1 <= node.args[1] <= 8:
            return " * ".join([self._operand(node.args[0])] * node.args[1])
        if function in _CALLS and not node.kwargs:
            return _CALLS[function].format(*(self._operand(argument) for argument in node.args))
        raise _Unwritable(str(function))

    def _operand(self, argument: Any) -> str:
        if isinstance(argument, fx.Node):
            return (
                argument.name if argument.op == "placeholder" else f"{self._prefix}_{argument.name}"
            )
        if isinstance(argument, int | float):
            name = f"{self._prefix}_constant_{len(self._constants)}"
            self._constants[name] = float(argument)
            return name
        raise _Unwritable(type(argument).__name__)
