"""Coulomb energy on S^2 by the fast multipole method of FMM3D, an optional extra: O(n).

About 7 kB per point. `python -m benchmarks scaling` shows from how many points on it is faster
than going over all pairs: about 2e5 on the machines where it was measured. It moves and scales the
points, which rounds them: the part of a pair at distance r is good to about 2e-16 / r.
"""

import functools
import importlib.util
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sphuni._budget import describe_bytes, memory_budget
from sphuni._typing import Points
from sphuni.kernels import Kernel, Riesz
from sphuni.pairwise import _blockwise
from sphuni.pairwise._autograd import connect
from sphuni.pairwise.neighbours._nearest import nearest
from sphuni.pairwise.tiles import _tiles

__all__ = ["repays", "supports", "total"]

_FROM = 200_000
_BYTES_PER_POINT = 7_200
_TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}


def supports(x: Tensor, y: Tensor | None, kernels: Sequence[Kernel], op: str) -> str | None:
    """Return the reason for refusing a call, or None."""
    if op != "sum" or y is not None:
        return "it computes sums over the pairs of one unweighted set only"
    if x.shape[-1] != 3 or any(kernel != Riesz(1.0) for kernel in kernels):
        return "it serves Riesz(1.0) in d = 3 only"
    if x.device.type != "cpu":
        return f"it works on the processor, and the points are on {x.device.type}"
    if importlib.util.find_spec("fmm3dpy") is None:
        return "fmm3dpy is not installed; pip install 'sphuni[fmm]'"
    needed, allowed = _BYTES_PER_POINT * x.shape[-2], memory_budget()
    if needed > allowed:
        return f"it needs {describe_bytes(needed)} and {describe_bytes(allowed)} are to be had"
    return None


def repays(x: Tensor, kernels: Sequence[Kernel]) -> bool:
    """Whether it is faster than tiles."""
    if x.shape[-2] < _FROM or x.shape[-1] != 3:
        return False
    return all(kernel == Riesz(1.0) for kernel in kernels)


def total(x: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    """Sum over i < j of each kernel: (b, n, 3) -> (b, k)."""
    found = [_evaluate(one) for one in x.detach()]
    sums = torch.tensor([energy for energy, _ in found], dtype=torch.float64, device="cpu")
    forces = np.stack([force for _, force in found]) if found else np.empty(x.shape)
    gradient = _tiles.tangent(x.detach(), torch.from_numpy(forces).to(x.dtype))
    second = _blockwise.second_derivatives((Riesz(1.0),))
    energy = connect(x, sums[:, None], gradient[None], second)
    return energy.expand(-1, len(kernels))


def _evaluate(points: Points) -> tuple[float, np.ndarray]:
    """Energy, inf where points coincide, and the forces (n, 3) of the others."""
    if bool((points == points[:1]).all()):  # a set without extent cannot be parted into boxes
        return np.inf if len(points) > 1 else 0.0, np.zeros(points.shape)
    potential, forces = _potential(points.double().numpy(), _TOLERANCE[points.dtype])
    coincide = bool((nearest(points).distance == 0).any())
    return np.inf if coincide else 0.5 * float(potential.sum()) / _unit(), forces / _unit()


def _potential(points: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    import fmm3dpy

    sources = np.asfortranarray(points.T)
    found = fmm3dpy.lfmm3d(eps=tolerance, sources=sources, charges=np.ones(len(points)), pg=2)
    return found.pot, np.ascontiguousarray(found.grad.T)


@functools.lru_cache(maxsize=1)
def _unit() -> float:
    """The potential of a unit charge at distance one: 1, or 1/(4 pi) in some versions."""
    return float(_potential(np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), 1e-12)[0][0])
