"""The samples of one run: drawn by its seed, transformed, standardised."""

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from sphuni.training.config import DataConfig
from sphuni.training.data._records import Dataset, Samples, Splits
from sphuni.training.data.transforms import TRANSFORMS
from sphuni.training.streams import generator

__all__ = ["draw"]

_ENOUGH = 0.9


def draw(dataset: Dataset, config: DataConfig, *, seed: int) -> Splits:
    """Draw training and validation samples from the pool; the test samples are always the same.

    Parameters
    ----------
    dataset : Dataset
    config : DataConfig
    seed : int
        Runs with the same seed get the same samples, whatever their method.

    Returns
    -------
    Splits
        Images with mean 0 and variance 1 per channel over the training samples.

    Raises
    ------
    ValueError
        If the pool has fewer samples, or the images fewer pixels, than asked for; if a setting is
        for images, or for data without a split of their own, and these are not.
    """
    if dataset.graph is not None:
        _refuse_for(dataset, config, ("train", "validation", "test", "pool", "transform"))
        validation = dataset.validation or dataset.pool.take(torch.arange(0))
        shape = (dataset.graph.width,)
        return Splits(dataset.pool, validation, dataset.test, dataset.classes, shape, dataset.graph)
    if dataset.pool.inputs.ndim != 4:
        _refuse_for(dataset, config, ("pool", "transform"))
    train, validation = _draw_pool(dataset, config, seed)
    test = dataset.test.take(_some(len(dataset.test), config.test, "data.test", dataset.name))
    parts = [_prepare(samples, config) for samples in (train, validation, test)]
    mean, scale = _moments(parts[0].inputs)
    train, validation, test = (
        Samples((part.inputs - mean) / scale, part.targets) for part in parts
    )
    return Splits(train, validation, test, dataset.classes, tuple(train.inputs.shape[1:]))


def _refuse_for(dataset: Dataset, config: DataConfig, keys: Sequence[str]) -> None:
    """Refuse settings that would change nothing."""
    kind = "not images" if dataset.graph is None else "a graph with a split of its own"
    for key in keys:
        value = getattr(config, key)
        if value != getattr(DataConfig(), key):
            raise ValueError(f"data.{key} is not for {dataset.name!r}, {kind}; got {value!r}")


def _draw_pool(dataset: Dataset, config: DataConfig, seed: int) -> tuple[Samples, Samples]:
    """Training samples with equal numbers per class as far as possible, and others to validate.

    Those to validate are the last of a random order, as those to train are the first of each class:
    next in that order come the large classes. Where training takes all, or leaves too few of the
    small classes, those to validate are drawn before it.
    """
    size = len(dataset.pool)
    count = config.train or size - config.validation
    if count < 1 or count + config.validation > size:
        raise ValueError(
            f"data.train + data.validation must be at most {size}, the pool of {dataset.name!r}; "
            f"got {config.train} + {config.validation}"
        )
    order = torch.randperm(size, generator=generator(seed, "split"))
    ranked = order[_by_rank_in_class(dataset.pool.targets[order])]
    kept = ranked[:count]
    rest = order[~torch.isin(order, kept)]
    targets = dataset.pool.targets
    if not config.train or _is_short(targets[rest], targets, config.validation):
        rest = order
    held = rest[len(rest) - config.validation :]
    kept = ranked[~torch.isin(ranked, held)][:count]
    return dataset.pool.take(kept), dataset.pool.take(held)


def _is_short(left: Tensor, pool: Tensor, count: int) -> bool:
    """Whether a class is left with less than nine tenths of its share of so many samples."""
    sizes = pool.bincount()
    share = sizes * (count / len(pool))
    return bool((left.bincount(minlength=len(sizes)) < _ENOUGH * share).any())


def _by_rank_in_class(targets: Tensor) -> Tensor:
    """Positions sorted so that the first of every class come first, then all seconds, ..."""
    rank = torch.empty_like(targets)
    for number in targets.unique():
        members = (targets == number).nonzero()[:, 0]
        rank[members] = torch.arange(len(members))
    return torch.argsort(rank, stable=True)


def _some(size: int, count: int, key: str, name: str) -> Tensor:
    """A fixed random choice, the same for all seeds."""
    if count > size:
        raise ValueError(f"{key} must be at most {size}, all there are in {name!r}; got {count}")
    if count in (0, size):
        return torch.arange(size)
    return torch.randperm(size, generator=generator(0, "test"))[:count]


def _prepare(samples: Samples, config: DataConfig) -> Samples:
    inputs = samples.inputs.float()
    if inputs.ndim != 4:
        return Samples(inputs, samples.targets)
    side = min(inputs.shape[-2:])
    if config.pool > side:
        raise ValueError(
            f"data.pool must be at most {side}, the smaller side of the images of {config.name!r}; "
            f"got {config.pool}"
        )
    if config.pool > 1:
        inputs = functional.avg_pool2d(inputs, config.pool)
    if config.transform:
        if config.transform not in TRANSFORMS:
            raise ValueError(
                f"data.transform must be one of {', '.join(TRANSFORMS)}; got {config.transform!r}"
            )
        inputs = TRANSFORMS[config.transform](inputs)
    return Samples(inputs, samples.targets)


def _moments(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation per channel of images; vectors and point clouds are left alone."""
    if inputs.ndim != 4:
        return torch.zeros(()), torch.ones(())
    mean = inputs.mean(dim=(0, 2, 3), keepdim=True)
    return mean, inputs.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-6)
