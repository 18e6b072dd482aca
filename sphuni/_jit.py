"""The one way in which loops are compiled by numba."""

import contextlib
import functools
import hashlib
import pickle
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sphuni import __version__
from sphuni._cache import cache_folder
from sphuni._files import write_bytes

__all__ = ["compile_together", "native_jit", "wide_vectors"]

_ORDERED = frozenset({"nsz", "contract"})
_FAST = _ORDERED | {"arcp", "afn", "reassoc"}
_OWN_TEXT = Path(__file__).read_text()


@functools.lru_cache(maxsize=4)
def native_jit(*, reorder: bool = True, inline: bool = False) -> Any:
    """Return numba's decorator with our options, or None where numba does not compile.

    It lags behind new Pythons, and NUMBA_DISABLE_JIT turns it off. Compiled functions release the
    interpreter's lock. With `reorder` sums may be taken in the order that suits vector
    instructions; formulas that compensate roundings must not be. NaN and inf are respected.
    `inline` puts a function into its callers, who alone can call it then: the views of arrays that
    it is given are counted by nobody, which costs as much as dozens of pairs.
    """
    try:
        import numba
    except (ImportError, OSError):  # the latter where its library finds no room in memory
        return None
    if getattr(numba.config, "DISABLE_JIT", False):
        return None
    fast = set(_FAST if reorder else _ORDERED)
    # entries for C, and those of inlined functions for Python, would be half of the time to compile
    entries = {"no_cfunc_wrapper": True, "no_cpython_wrapper": inline}
    options: dict[str, Any] = {"error_model": "numpy", "forceinline": inline, **entries}
    return numba.njit(nogil=True, fastmath=fast, **options)


@functools.lru_cache(maxsize=1)
def wide_vectors() -> Any:
    """What a compiled function calls, to no effect at run time, to be given the widest registers.

    Compilers prefer half of 512 bits, for fear of slower clocks; pair sums are 1.3 to 2 times as
    fast with all of them.
    """
    from numba.core import types as kinds
    from numba.extending import intrinsic

    @intrinsic
    def wide(typing: Any) -> Any:
        del typing

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            del signature, arguments
            # `add` of this set refuses the attributes that it does not know
            set.add(builder.function.attributes, '"prefer-vector-width"="512"')
            return context.get_dummy_value()

        return kinds.void(), generate

    return wide


def compile_together(functions: Sequence[types.FunctionType], made_of: object) -> Any:
    """Compile functions of one scope, each of which may call those before it; return the last.

    Its machine code is kept in the cache folder, from one process to the next: numba's own cache
    wants a file with the text of a function, which generated ones do not have, and fails where it
    cannot write. `made_of` must tell the functions from all others. Its hash is in their qualified
    names too, which become symbols of the linker.
    """
    source = hashlib.sha256(repr((made_of, _OWN_TEXT)).encode()).hexdigest()[:32]
    for function in functions:
        function.__qualname__ = f"{function.__name__}_{source}"
        # what is kept asks for a module that can be imported
        function.__module__ = function.__globals__["__name__"] = __name__
        compiled = native_jit(inline=function is not functions[-1])(function)
        function.__globals__[function.__name__] = compiled
    folder = cache_folder()
    if folder is not None:
        compiled._cache = _store(folder / "loops", source)
    return compiled


def _store(folder: Path, source: str) -> Any:
    """The cache of one function, one file for each signature, kind of processor and numba."""
    import numba
    from numba.core import caching
    from numba.core.compiler import CompileResult
    from numba.core.runtime.nrt import rtsys
    from numba.core.serialize import dumps

    def path(signature: Any, code: Any) -> Path:
        made_by = __version__, numba.__version__, code.magic_tuple()
        words = (source, str(signature), *made_by)
        return folder / f"{hashlib.sha256(repr(words).encode()).hexdigest()[:32]}.bin"

    class Store(caching.NullCache):
        """Whatever is wrong with a file, the function is compiled anew."""

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            # all that machine code asks for; the tables of types, for compiling, take far longer
            rtsys.initialize(target_context)
            with contextlib.suppress(Exception):
                content = path(sig, target_context.codegen()).read_bytes()
                return CompileResult._rebuild(target_context, *pickle.loads(content))
            return None

        def save_overload(self, sig: Any, data: Any) -> None:
            if data.lifted or data.library.has_dynamic_globals:
                return
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                write_bytes(path(sig, data.codegen), dumps(data._reduce()))

    return Store()
