"""From the text of native loops to compiled functions."""

import functools
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sphuni._errors import EngineError
from sphuni._jit import compile_together, wide_vectors
from sphuni.kernels import Kernel
from sphuni.pairwise.loops import _vector
from sphuni.pairwise.loops._formula import Formula, formula
from sphuni.pairwise.loops._vector import vector_functions

__all__ = ["DTYPES", "can_spell", "compile_loops", "patience", "spell"]

DTYPES: dict[torch.dtype, np.dtype[Any]] = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}
"""What loops are compiled for."""

_SHORT = 256  # lines of a formula that take about a second to compile
_TRACING = threading.Lock()  # torch.fx patches global state while it traces


def can_spell(kernel: Kernel) -> bool:
    """Whether the kernel has a formula for single pairs."""
    return _formula(kernel, "") is not None


def spell(kernel: Kernel, prefix: str = "") -> Formula:
    """Return the kernel's formula for single pairs, its names beginning with `prefix`."""
    spelled = _formula(kernel, prefix)
    if spelled is None:
        raise EngineError(f"the kernel {kernel.label} has no scalar form")
    return spelled


def patience(kernels: Sequence[Kernel]) -> int:
    """How many times as many pairs long formulas have to wait for: those of series of many terms.

    Compiling takes as long as they are, a minute at a thousand terms.
    """
    return max(1, *(len(spell(kernel).lines) // _SHORT for kernel in kernels))


def compile_loops(
    texts: Sequence[str], spelled: Sequence[Formula], dtype: np.dtype[Any], **names: float
) -> Callable[..., Any]:
    """Compile the functions that `texts` define, all in one precision; return the last."""
    number = dtype.type
    names |= {"zero": 0.0, "one": 1.0, "two": 2.0, "tiny": float(np.finfo(dtype).tiny)}
    scope: dict[str, Any] = {"sqrt": np.sqrt, "np": np, "dtype": number}
    scope["integer"] = np.dtype(f"i{dtype.itemsize}").type
    scope |= vector_functions(dtype) | {"wide": wide_vectors()}
    constants = [pair for one in spelled for pair in one.constants]
    values = [*names.items(), *constants]
    scope |= {name: number(value) for name, value in values}
    whole = re.sub(r"^(def .*:\n)", r"\1    wide()\n", "\n".join(texts), flags=re.MULTILINE)
    exec(whole, scope)
    functions = [scope[name] for name in re.findall(r"^def (\w+)", whole, re.MULTILINE)]
    called = Path(_vector.__file__).read_text()
    compiled: Callable[..., Any] = compile_together(functions, (dtype.str, values, whole, called))
    return compiled


@functools.lru_cache(maxsize=256)
def _formula(kernel: Kernel, prefix: str) -> Formula | None:
    with _TRACING:
        return formula(kernel, prefix)
