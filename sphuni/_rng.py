"""Seeds: one argument, `rng`, and no global state read or set, ever."""

import secrets

import numpy as np
import torch

from sphuni._typing import Seed

__all__ = ["numpy_generator", "seeds", "torch_generator"]

_SEED_BITS = 63


def torch_generator(rng: Seed) -> torch.Generator:
    """Return a CPU `torch.Generator` for `rng`.

    An int seeds a fresh generator, a NumPy generator is advanced by one draw, a torch generator
    is used as it is, and None takes fresh entropy.
    """
    if isinstance(rng, torch.Generator):
        return rng
    return torch.Generator("cpu").manual_seed(_draw(rng))


def numpy_generator(rng: Seed) -> np.random.Generator:
    """Return a NumPy generator for `rng`, by the same rules as `torch_generator`."""
    if isinstance(rng, np.random.Generator):
        return rng
    return np.random.default_rng(_draw(rng))


def seeds(rng: Seed, count: int) -> list[int]:
    """Return `count` independent seeds; seed i does not depend on how many are asked for."""
    children = np.random.SeedSequence(_draw(rng)).spawn(count)
    return [int(child.generate_state(1, np.uint64)[0] >> 1) for child in children]


def _draw(rng: Seed) -> int:
    """Reduce any accepted form of `rng` to one non-negative integer."""
    if rng is None:
        return secrets.randbits(_SEED_BITS)
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(1 << _SEED_BITS))
    if isinstance(rng, torch.Generator):
        return int(torch.randint((1 << _SEED_BITS) - 1, (), generator=rng, device=rng.device))
    if isinstance(rng, bool) or not isinstance(rng, int | np.integer):
        raise TypeError(
            "rng must be an int, a numpy Generator, a torch Generator or None; "
            f"got {type(rng).__name__}"
        )
    if not 0 <= rng < 1 << _SEED_BITS:
        raise ValueError(f"rng must be a seed between 0 and 2^{_SEED_BITS} - 1; got {rng}")
    return int(rng)
