"""The base of every result object."""

import dataclasses
from typing import Any, ClassVar

import numpy as np

__all__ = ["Result"]


@dataclasses.dataclass(frozen=True)
class Result:
    """A frozen record of one computation.

    Array fields are in the caller's library; status and names are plain Python. A result holds
    data only: `sphuni.plots` draws it.
    """

    better: ClassVar[str | None] = None
    """"lower" or "higher" where the main number has a direction, else None."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain Python numbers, lists and strings."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}

    def __repr__(self) -> str:
        shown = (f"{f.name}={_brief(getattr(self, f.name))}" for f in dataclasses.fields(self))
        return f"{type(self).__name__}({', '.join(shown)})"


def _plain(value: Any) -> Any:
    if isinstance(value, Result):
        return value.to_dict()
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _brief(value: Any) -> str:
    """Write large arrays by their shape so that a result fits on a screen."""
    shape = getattr(value, "shape", None)
    if shape is None:
        return repr(value)
    if shape == ():
        return f"{float(value):.10g}" if not str(value.dtype).endswith("bool") else str(bool(value))
    if int(np.prod(shape)) <= 4:
        return str(_plain(value))
    return f"<{'x'.join(map(str, shape))} {str(value.dtype).removeprefix('torch.')}>"
