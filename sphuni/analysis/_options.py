"""The options of an analysis, checked once."""

import dataclasses
from typing import Literal, TypeAlias

from sphuni._budget import memory_budget

__all__ = ["Baseline", "Options"]

Baseline: TypeAlias = Literal["uniform", "init"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How layers are measured; see `sphuni.analysis.analyze`."""

    baseline: str = "uniform"
    center: bool = False
    remove_top: int = 0
    max_bytes: int | None = None
    max_seconds: float = 120.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.baseline not in ("uniform", "init"):
            raise ValueError(f"baseline must be 'uniform' or 'init'; got {self.baseline!r}")
        if self.remove_top < 0:
            raise ValueError(f"remove_top must not be negative; got {self.remove_top}")
        if not self.max_seconds > 0:
            raise ValueError(f"max_seconds must be positive; got {self.max_seconds}")
        memory_budget(self.max_bytes)
