"""Random streams of a run: one per purpose and epoch, so that nothing has to be saved."""

import contextlib
import zlib
from collections.abc import Iterator

import numpy as np
import torch

__all__ = ["generator", "seeded", "stream"]


def stream(seed: int, purpose: str, epoch: int = 0) -> int:
    """Return the seed of one purpose of one epoch; streams of different purposes are independent.

    Examples
    --------
    >>> stream(0, "order", 3) == stream(0, "order", 3), stream(0, "order", 4) == stream(0, "init")
    (True, False)
    """
    entropy = np.random.SeedSequence((seed, zlib.crc32(purpose.encode()), epoch))
    return int(entropy.generate_state(1, np.uint64)[0] >> 1)


def generator(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """Return a CPU generator at the beginning of a stream."""
    return torch.Generator().manual_seed(stream(seed, purpose, epoch))


@contextlib.contextmanager
def seeded(seed: int, purpose: str, epoch: int = 0) -> Iterator[None]:
    """Let torch's own generator (initialisers, dropout) run through a stream, then restore it."""
    chosen = stream(seed, purpose, epoch)
    if torch.accelerator.is_available():
        with torch.random.fork_rng():
            torch.manual_seed(chosen)
            yield
        return
    own = torch.default_generator  # as above, without the search for devices in every epoch
    before = own.get_state()
    try:
        own.manual_seed(chosen)
        yield
    finally:
        own.set_state(before)
