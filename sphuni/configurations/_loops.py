"""Functions of this package's own arithmetic, compiled together."""

import hashlib
import inspect
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sphuni._jit import keep_compiled, native_jit

__all__ = ["compile_parts"]


def compile_parts(parts: Sequence[Callable[..., Any]], **given: Any) -> Callable[..., Any]:
    """Compile functions, each of which may call those before it; return the last.

    `given` are compiled functions that take the place of those of that name.
    """
    jit, codes = native_jit(), [inspect.unwrap(function).__code__ for function in parts]
    source = _digest(codes, given)
    scope: dict[str, Any] = {"np": np, "__name__": __name__} | given
    for function, code in zip(parts, codes, strict=True):
        plain = types.FunctionType(code, scope)
        plain.__qualname__ = f"{function.__name__}_{source}"
        scope[function.__name__] = jit(plain)
    last = scope[parts[-1].__name__]
    keep_compiled(last, source)
    return last


def _digest(codes: Sequence[types.CodeType], given: dict[str, Any]) -> str:
    """Tell functions apart by their files and by those given, whose names tell them apart."""
    texts = sorted({Path(code.co_filename).read_text() for code in codes})
    names = [(name, one.py_func.__qualname__) for name, one in sorted(given.items())]
    return hashlib.sha256(repr((texts, names)).encode()).hexdigest()[:32]
