"""Riesz energies with their gradients as other libraries compute them."""

import functools
import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.entry import Answer

__all__ = [
    "cdist",
    "differences",
    "fmm3d",
    "jax_gram",
    "keops",
    "naive_torch",
    "one_thread_jax",
    "sklearn_chunks",
    "tangent",
]


def naive_torch(points: Tensor, energy: Any) -> Answer:
    """Value and tangent gradient of a function by autograd."""
    leaf = points.detach().requires_grad_()
    value = energy(leaf)
    value.backward()
    return {"value": float(value.detach()), "gradient": tangent(leaf.grad.numpy(), points.numpy())}


def cdist(points: Tensor, mode: str = "use_mm_for_euclid_dist_if_necessary") -> Answer:
    """Coulomb energy as it is usually written: torch.cdist and autograd."""

    def energy(x: Tensor) -> Tensor:
        distance = torch.cdist(x, x, compute_mode=mode) + torch.eye(len(x), dtype=x.dtype)
        return ((1 / distance).sum() - len(x)) / 2

    return naive_torch(points, energy)


def differences(points: Tensor) -> Answer:
    """torch.cdist with the mode that keeps the digits of close pairs."""
    return cdist(points, "donot_use_mm_for_euclid_dist")


def tangent(gradient: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Remove the radial part."""
    return gradient - (gradient * points).sum(1, keepdims=True) * points


def one_thread_jax() -> None:
    """Before its first use."""
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def jax_gram(points: Tensor) -> Answer:
    """jax.jit of value and gradient of the Gram form, clamped as usual."""
    one_thread_jax()
    rows = points.numpy()
    value, gradient = _jax_energy()(rows)
    return {"value": float(value), "gradient": tangent(np.asarray(gradient), rows)}


@functools.cache
def _jax_energy() -> Any:
    import jax
    import jax.numpy as jnp

    def energy(x: Any) -> Any:
        n = x.shape[0]
        squared = jnp.maximum(2 - 2 * (x @ x.T), 1e-12)
        squared = jnp.where(jnp.eye(n, dtype=bool), 1.0, squared)
        return ((squared**-0.5).sum() - n) / 2

    return jax.jit(jax.value_and_grad(energy))


def keops(points: Tensor) -> Answer:
    """pykeops.torch on the processor: differences, no n x n array."""
    from pykeops.torch import LazyTensor

    def energy(x: Tensor) -> Tensor:
        squared = ((LazyTensor(x[:, None]) - LazyTensor(x[None])) ** 2).sum(-1)
        return squared.rsqrt().sum(1).sum() / 2  # KeOps defines rsqrt(0) = 0

    return naive_torch(points, energy)


def fmm3d(points: Tensor) -> Answer:
    """The fast multipole method to six digits, in float64."""
    import fmm3dpy

    rows = points.double().numpy()
    found = fmm3dpy.lfmm3d(
        eps=1e-6, sources=np.asfortranarray(rows.T), charges=np.ones(len(rows)), pg=2
    )
    scale = 4 * np.pi  # this version's potential is 1 / (4 pi r)
    return {
        "value": 0.5 * scale * found.pot.sum(),
        "gradient": tangent(scale * found.grad.T, rows),
    }


def sklearn_chunks(points: Tensor) -> Answer:
    """scikit-learn's pairwise_distances_chunked: the value alone."""
    from sklearn.metrics import pairwise_distances_chunked

    def inverse_sums(distances: np.ndarray, start: int) -> np.ndarray:
        rows = np.arange(len(distances))
        distances[rows, rows + start] = np.inf
        return (1 / distances).sum(axis=1, dtype=np.float64)

    chunks = pairwise_distances_chunked(points.numpy(), reduce_func=inverse_sums, n_jobs=1)
    return {"value": sum(float(chunk.sum()) for chunk in chunks) / 2}
