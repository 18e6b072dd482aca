"""Potentials of points at other places, as sphuni and other libraries compute them."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sphuni
from benchmarks.entry import Answer, Entry, Peer
from benchmarks.peers import naive_torch, one_thread_jax, tangent

__all__ = ["case"]

Sets = tuple[Tensor, Tensor]


def case(m: int, n: int, d: int, *, repeats: int = 5) -> Entry:
    """Coulomb potentials of n points at m places, added up, and their gradient in the points."""
    return Entry(
        name=f"potentials of {n} at {m}, d = {d}, Riesz s=1, float32",
        setup=functools.partial(_sets, m, n, d),
        run=_potentials,
        reference=_exact,
        peers={
            "torch.cdist": Peer(_cdist),
            "JAX": Peer(_jax, "jax"),
            "KeOps": Peer(_keops, "pykeops"),
        },
        tolerance={"value": 1e-6, "gradient": 1e-3},
        repeats=repeats,
    )


def _sets(m: int, n: int, d: int) -> Sets:
    places, points = (sphuni.random_points(size, d, rng=size) for size in (m, n + 1))
    return torch.from_numpy(places).float(), torch.from_numpy(points[1:]).float()


def _potentials(sets: Sets) -> Answer:
    def total(places: Tensor, points: Tensor) -> Tensor:
        return sphuni.potential(places, points, kernel=sphuni.Riesz(1.0)).sum()

    return _differentiated(sets, total)


def _exact(sets: Sets) -> Answer:
    """By broadcasting, in float64."""

    def total(places: Tensor, points: Tensor) -> Tensor:
        return ((places[:, None] - points).square().sum(-1) ** -0.5).sum()

    places, points = (sphuni.normalize(one.double()) for one in sets)
    return _differentiated((places, points), total)


def _cdist(sets: Sets) -> Answer:
    return _differentiated(sets, lambda places, points: (1 / torch.cdist(places, points)).sum())


def _keops(sets: Sets) -> Answer:
    from pykeops.torch import LazyTensor

    def total(places: Tensor, points: Tensor) -> Tensor:
        squared = ((LazyTensor(places[:, None]) - LazyTensor(points[None])) ** 2).sum(-1)
        return squared.rsqrt().sum(1).sum()

    return _differentiated(sets, total)


def _differentiated(sets: Sets, total: Callable[[Tensor, Tensor], Tensor]) -> Answer:
    places, points = sets
    return naive_torch(points, functools.partial(total, places))


def _jax(sets: Sets) -> Answer:
    one_thread_jax()
    places, points = (one.numpy() for one in sets)
    value, gradient = _jax_total()(points, places)
    return {"value": float(value), "gradient": tangent(np.asarray(gradient), points)}


@functools.cache
def _jax_total() -> Any:
    import jax

    def total(points: Any, places: Any) -> Any:
        difference = places[:, None] - points
        return ((difference**2).sum(-1) ** -0.5).sum()

    return jax.jit(jax.value_and_grad(total))
