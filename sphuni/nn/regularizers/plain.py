"""Objectives without an inner problem."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from sphuni.nn._pair_mean import PairMean
from sphuni.nn.functional import mhe, uniformity
from sphuni.nn.functional.energy import mhe_mean
from sphuni.nn.functional.features import uniformity_mean
from sphuni.nn.regularizers._base import Objective

__all__ = ["Plain"]

_PAIR_MEANS: dict[Callable[..., Tensor], Callable[..., PairMean]] = {
    mhe: mhe_mean,
    uniformity: uniformity_mean,
}


class Plain(Objective):
    """A function of `sphuni.nn.functional` with its options.

    Parameters
    ----------
    function : callable
        For example `sphuni.nn.functional.mhe`.
    options : dict
        Keyword arguments of every call.
    seed, rows
        As in `Objective`; `rows` only for functions that take a `population`.
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        options: dict[str, Any],
        *,
        seed: int = 0,
        rows: int | None = None,
    ) -> None:
        super().__init__(seed=seed, rows=rows)
        self.function = function
        self.options = dict(options)
        known = inspect.signature(function).parameters
        self.takes_population = "population" in known
        self.takes_rng = "rng" in known
        if rows is not None and not self.takes_population:
            raise ValueError(
                f"rows is for means over pairs; {self.extra_repr()} of random rows is not an "
                "unbiased estimate of its value on all of them"
            )

    @property
    def changes(self) -> bool:
        """Where rows, or the start of an iteration, are drawn."""
        return super().changes or (self.takes_rng and "rng" not in self.options)

    @property
    def is_pair_mean(self) -> bool:
        """Whether `pair_mean` says all of what the function computes."""
        return self.function in _PAIR_MEANS and self.options.get("preset", "paper") == "paper"

    def pair_mean(self, weight: Tensor, population: int | None) -> PairMean:
        """What the function takes of the pairs of a weight of two or more rows."""
        options = {**self.options, **self._counted(population)}
        options.pop("preset", None)
        return _PAIR_MEANS[self.function](weight.shape[-2], weight.dtype, **options)

    def penalty(self, weight: Tensor, population: int | None) -> Tensor:
        """Call the function."""
        options = {**self.options, **self._counted(population)}
        if self.takes_rng:
            options.setdefault("rng", self.generator(weight.device, 2))
        return self.function(weight, **options)

    def _counted(self, population: int | None) -> dict[str, int]:
        """The number of rows that a weight was drawn from, for functions that ask."""
        if population is None or not self.takes_population:
            return {}
        return {"population": population}

    def extra_repr(self) -> str:
        """Name the function and its options."""
        options = "".join(f", {key}={value!r}" for key, value in self.options.items())
        return f"{getattr(self.function, '__name__', 'function')}{options}"
