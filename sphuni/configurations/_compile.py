"""Functions of this package's own arithmetic, compiled together."""

import inspect
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sphuni._jit import compile_together, wide_vectors

__all__ = ["compile_parts"]


def compile_parts(parts: Sequence[Callable[..., Any]], **given: Any) -> Callable[..., Any]:
    """Compile functions, each of which may call those before it; return the last.

    `given` are compiled functions that take the place of those of that name.
    """
    codes = [inspect.unwrap(function).__code__ for function in parts]
    texts = sorted({Path(code.co_filename).read_text() for code in codes})
    names = [(name, one.py_func.__qualname__) for name, one in sorted(given.items())]
    scope: dict[str, Any] = {"np": np, "wide": wide_vectors()} | given
    functions = [types.FunctionType(code, scope) for code in codes]
    compiled: Callable[..., Any] = compile_together(functions, (texts, names))
    return compiled
