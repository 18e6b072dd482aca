"""What every objective shares: a seed, a counter of draws, and random rows."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from sphuni._numbers import whole
from sphuni._transforms import untraced
from sphuni.nn._recomputed import refuse_recomputation

__all__ = ["SEEDS", "Objective", "Reading", "check_seed"]

AddBack = Callable[[Tensor, Tensor], Tensor]
SEEDS = 1 << 63  # as many as the state dict, which keeps them, can tell apart


class Reading(NamedTuple):
    """What an objective looks at: an image of the weight, often much smaller.

    ``add_back(into, gradient)`` adds to a gradient of the weight, in place, what `gradient` of the
    image contributes; it is None where the image is the weight. `population` is the number of rows
    that those of the image were drawn from, None for all.
    """

    image: Tensor
    population: int | None
    add_back: AddBack | None


class Objective(nn.Module):
    """A penalty on the rows of one weight; lower is more uniform.

    Call it on a weight (n, d), one neuron per row, or on a batch of embeddings; a batch of weights
    (..., n, d) gives the mean of their penalties. Whatever an inner problem needs (poles,
    projections) lives in buffers; nothing is a parameter. In training mode every call advances the
    inner problem by one step; in evaluation mode nothing changes.

    Parameters
    ----------
    seed : int, default 0
        Seed of everything random, below 2^63. Draw number t of two objectives with one seed is the
        same, on every rank of a distributed job.
    rows : int, optional
        Use that many random rows per call, without replacement, where the objective is a mean
        over pairs; the value is then an unbiased estimate.
    """

    linear = True
    """Whether `read` gives a linear image of the weight, so that `add_back` is its transpose."""

    rank_seeds = False
    """Whether every rank of a distributed job draws for itself."""

    def __init__(self, *, seed: int = 0, rows: int | None = None) -> None:
        super().__init__()
        self.seed = check_seed(seed)
        self.rows = None if rows is None else whole("rows", rows, 2)
        self.draws = 0

    @untraced
    def forward(self, weight: Tensor, population: int | None = None) -> Tensor:
        """Return the penalty, averaged over leading batch dimensions."""
        if self.changes:
            refuse_recomputation(self, "the objective")
        return self.measure(self.read(weight, population))

    @property
    def changes(self) -> bool:
        """Whether two calls in training mode on one weight may differ."""
        return self.rows is not None

    def read(self, weight: Tensor, population: int | None = None) -> Reading:
        """Take from a weight what this call looks at: its rows, or some random ones."""
        n = weight.shape[-2]
        if self.rows is None or self.rows >= n:
            return Reading(weight, population, None)
        chosen = self.random_rows(weight, self.rows, stream=1)

        def add_back(into: Tensor, gradient: Tensor) -> Tensor:
            return into.index_add_(-2, chosen, gradient)

        return Reading(weight.index_select(-2, chosen), n, add_back)

    def measure(self, reading: Reading) -> Tensor:
        """Return the penalty of what was read, which counts as a call."""
        value = self.penalty(reading.image, reading.population)
        self.advance()
        return value.mean()

    def advance(self) -> None:
        """Count a call, in training mode."""
        if self.training:
            self.draws += 1

    def penalty(self, image: Tensor, population: int | None) -> Tensor:
        """Return the penalty of what was read."""
        raise NotImplementedError

    def allocate(self, n: int, d: int, *, like: Tensor, batch: int = 1) -> None:
        """Create the buffers for weights of shape (batch, n, d)."""

    def generator(self, device: torch.device, stream: int, draw: int | None = None) -> Any:
        """Return the generator of one stream at this draw; it does not depend on history."""
        device = device if stream == 0 else torch.device("cpu")
        entropy = [self.seed, stream, self.draws if draw is None else draw]
        if self.rank_seeds and (rank := _rank()):
            entropy.append(rank)
        state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
        return torch.Generator(device=device).manual_seed(int(state >> 1))

    def random_rows(self, weight: Tensor, count: int, stream: int) -> Tensor:
        """Indices (count,) of different rows of a weight, the same at every call of one draw."""
        generator = self.generator(weight.device, stream)
        order = torch.randperm(weight.shape[-2], generator=generator, device="cpu")
        return order[:count].to(weight.device)

    def get_extra_state(self) -> Tensor:
        """Return what the state dict keeps beside the buffers."""
        return torch.tensor([self.seed, self.draws], device="cpu")

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any, **options: Any
    ) -> None:
        """Make room where the weight was seen by one objective only, the saved one or this."""
        for name, buffer in list(self._buffers.items()):
            saved = state_dict.get(prefix + name)
            if buffer is None or saved is None or buffer.shape == saved.shape:
                continue
            if 0 in (buffer.numel(), saved.numel()):
                setattr(self, name, torch.empty_like(saved, device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *args, **options)

    def set_extra_state(self, state: Tensor) -> None:
        """Take up the random streams where they were left."""
        self.seed, self.draws = (int(number) for number in state)


def check_seed(seed: int) -> int:
    """Return a seed that the state dict can keep."""
    number = whole("seed", seed, 0)
    if number >= SEEDS:
        raise ValueError(f"seed must be below 2^63; got {number}")
    return number


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
