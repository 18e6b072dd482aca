"""Pair energies with their gradients: sphuni against other libraries on the same input.

An answer is held to float64 before its time is reported: a wrong one of ours has no time, a wrong
one of a peer says so. Extra memory is the peak above the size before the call.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

import sphuni
from benchmarks import peers, potentials
from benchmarks.entry import Answer, Entry, Peer, rows_of

__all__ = ["COULOMB", "ENTRIES", "energy", "exact", "run", "unit_points"]

_PAIR_WORK = 24
"""Operations of one Coulomb pair in R^3 with both forces, counted in the loop."""


def run(only: str = "") -> Iterator[dict[str, Any]]:
    """One row per case and method."""
    return rows_of(__name__, ENTRIES, only)


def unit_points(n: int, d: int, dtype: str) -> Tensor:
    """The same random points whoever asks."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return sphuni.normalize(points).to(getattr(torch, dtype))


def energy(points: Tensor, *, engine: str = "auto", kernel: sphuni.kernels.Kernel) -> Answer:
    """The sum over pairs and its gradient."""
    leaf = points.detach().requires_grad_()
    value = sphuni.kernel_energy(leaf, kernel=kernel, reduction="sum", engine=engine)
    value.backward()
    return {"value": float(value.detach()), "gradient": leaf.grad.numpy()}


def exact(points: Tensor, *, kernel: sphuni.kernels.Kernel) -> Answer:
    """The same in float64, by differences for small d."""
    return energy(sphuni.normalize(points.double()), engine="blockwise", kernel=kernel)


def exact_loops(points: Tensor, *, kernel: sphuni.kernels.Kernel) -> Answer:
    """The same by the native loops, for sets that would take tiles minutes."""
    return energy(sphuni.normalize(points.double()), engine="compiled", kernel=kernel)


def _angular(points: Tensor) -> Answer:
    """1 / angle by arccos of the clamped Gram matrix."""

    def sum_over_pairs(x: Tensor) -> Tensor:
        gram = (x @ x.T).clamp(-1 + 1e-7, 1 - 1e-7)
        angle = torch.acos(gram) + torch.eye(len(x), dtype=x.dtype)
        inverse = (1 / angle).masked_fill(torch.eye(len(x), dtype=torch.bool), 0.0)
        return inverse.sum() / 2

    return peers.naive_torch(points, sum_over_pairs)


def _gaussian(points: Tensor) -> Answer:
    return peers.naive_torch(
        points, lambda x: ((-torch.cdist(x, x).square()).exp().sum() - len(x)) / 2
    )


def _logarithmic(points: Tensor) -> Answer:
    def sum_over_pairs(x: Tensor) -> Tensor:
        return -(torch.cdist(x, x) + torch.eye(len(x), dtype=x.dtype)).log().sum() / 2

    return peers.naive_torch(points, sum_over_pairs)


CDIST = Peer(peers.cdist)
JAX = Peer(peers.jax_gram, "jax")
KEOPS = Peer(peers.keops, "pykeops")
FMM = Peer(peers.fmm3d, "fmm3dpy", "the fast multipole method is linear in n; see the exponents")
SKLEARN = Peer(peers.sklearn_chunks, "sklearn")


def _case(
    n: int,
    d: int,
    kernel: sphuni.kernels.Kernel,
    against: dict[str, Peer],
    *,
    dtype: str = "float32",
    engine: str = "auto",
    repeats: int = 5,
    truth: Callable[..., Answer] = exact,
) -> Entry:
    pairs = n * (n - 1) / 2
    work = _PAIR_WORK * pairs if d <= 8 else 6 * pairs * d
    counted = kernel == sphuni.Riesz(1.0) or d > 8
    return Entry(
        name=f"({n}, {d}) {kernel.label}, {dtype}",
        setup=functools.partial(unit_points, n, d, dtype),
        run=functools.partial(energy, engine=engine, kernel=kernel),
        reference=functools.partial(truth, kernel=kernel),
        peers=against,
        tolerance={"value": 1e-6, "gradient": 1e-3 if dtype == "float32" else 1e-9},
        work=work if counted else 0.0,
        dtype=dtype,
        repeats=repeats,
    )


COULOMB = sphuni.Riesz(1.0)
FIXED = "checks of the input and the choice of an engine take 0.3 ms"
ENTRIES = (
    _case(
        10_000,
        3,
        COULOMB,
        {
            "torch.cdist": Peer(peers.cdist),
            "torch.cdist by differences": Peer(peers.differences),
            "JAX": JAX,
            "KeOps": KEOPS,
            "FMM3D, 6 digits": FMM,
            "scikit-learn chunks": SKLEARN,
        },
        engine="compiled",
        repeats=3,
    ),
    _case(
        4_096, 1_024, COULOMB, {"torch.cdist": CDIST, "JAX": JAX, "scikit-learn chunks": SKLEARN}
    ),
    _case(512, 576, COULOMB, {"torch.cdist": CDIST, "JAX": JAX}),
    _case(20_000, 128, COULOMB, {"scikit-learn chunks": SKLEARN}, repeats=2),
    _case(100_000, 3, COULOMB, {"FMM3D, 6 digits": FMM}, repeats=2, truth=exact_loops),
    _case(1_000, 3, COULOMB, {"torch.cdist": CDIST, "JAX": JAX, "KeOps": KEOPS}),
    _case(
        100,
        3,
        COULOMB,
        {
            "torch.cdist": Peer(peers.cdist, why=FIXED),
            "JAX": Peer(peers.jax_gram, "jax", FIXED),
            "KeOps": KEOPS,
        },
    ),
    potentials.case(4_000, 4_000, 3),
    _case(
        4_000,
        3,
        sphuni.Riesz(1.0, "geodesic"),
        {"torch, arccos": Peer(_angular)},
        engine="compiled",
    ),
    _case(4_000, 3, sphuni.Riesz(0.0), {"torch.cdist": Peer(_logarithmic)}, engine="compiled"),
    _case(4_096, 1_024, sphuni.Gaussian(1.0), {"torch.cdist": Peer(_gaussian)}),
    _case(
        10_000,
        3,
        COULOMB,
        {"FMM3D, 6 digits": FMM},
        dtype="float64",
        engine="compiled",
        repeats=3,
    ),
)
