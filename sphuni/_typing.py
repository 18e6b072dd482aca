"""The shapes and literals that signatures across the library share."""

from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Array", "Metric", "Points", "Reduction", "Seed", "Weights"]

Points: TypeAlias = Float[Tensor, "*batch n d"]
Weights: TypeAlias = Float[Tensor, "*batch n"]

Array: TypeAlias = Any
"""In the caller's own library: torch.Tensor for torch, numpy for everything else."""

Metric: TypeAlias = Literal["chordal", "geodesic"]
Reduction: TypeAlias = Literal["sum", "mean"]
Seed: TypeAlias = int | np.integer[Any] | np.random.Generator | torch.Generator | None
