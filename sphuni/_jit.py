"""The one way in which loops are compiled by numba."""

import contextlib
import functools
import hashlib
import pickle
from pathlib import Path
from typing import Any

from sphuni import __version__
from sphuni._cache import cache_folder
from sphuni._files import write_bytes

__all__ = ["keep_compiled", "native_jit"]

_ORDERED = frozenset({"nsz", "contract"})
_FAST = _ORDERED | {"arcp", "afn", "reassoc"}


@functools.lru_cache(maxsize=2)
def native_jit(*, reorder: bool = True) -> Any:
    """Return numba's decorator with our options, or None where numba cannot be imported.

    It lags behind new Pythons. Compiled functions release the interpreter's lock. With `reorder`
    sums may be taken in the order that suits vector instructions; formulas that compensate
    roundings must not be. NaN and inf are respected.
    """
    try:
        import numba
    except ImportError:
        return None
    fast = set(_FAST if reorder else _ORDERED)
    return numba.njit(nogil=True, fastmath=fast, error_model="numpy")


def keep_compiled(function: Any, source: str) -> None:
    """Let a function keep its machine code in the cache folder, from one process to the next.

    `source` must tell it from every other function, and so must its qualified name, which becomes
    a symbol of the linker. numba's own cache wants a file with the text of the function, which
    generated loops do not have, and fails where it cannot write.
    """
    folder = cache_folder()
    if folder is not None:
        function._cache = _store(function, folder / "loops", source)


def _store(function: Any, folder: Path, source: str) -> Any:
    """The cache of one function, one file for each signature, kind of processor and numba."""
    import numba
    from numba.core import caching
    from numba.core.compiler import CompileResult
    from numba.core.serialize import dumps

    def path(signature: Any, code: Any) -> Path:
        made_by = __version__, numba.__version__, sorted(_FAST), code.magic_tuple()
        words = (source, str(signature), *made_by)
        return folder / f"{hashlib.sha256(repr(words).encode()).hexdigest()[:32]}.bin"

    class Store(caching.NullCache):
        """Whatever is wrong with a file, the function is compiled anew."""

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            target_context.refresh()
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
