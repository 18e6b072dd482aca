"""Functions of this package's own arithmetic, compiled together."""

import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sphuni._jit import native_jit

__all__ = ["compile_parts"]


def compile_parts(parts: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """Compile functions, each of which may call those before it; return the last."""
    jit = native_jit()
    scope: dict[str, Any] = {"np": np}
    for function in parts:
        code = inspect.unwrap(function).__code__
        scope[function.__name__] = jit(types.FunctionType(code, scope))
    return scope[parts[-1].__name__]
