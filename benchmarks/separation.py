"""The closest pair: sphuni against nearest-neighbour libraries, which find it as top-2 of a search.

sphuni also gives the mean distance to the nearest neighbour and takes the distance of the pair by
differences in float64; the peers are asked for the neighbours of all points, their least way.
"""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

import sphuni
from benchmarks.engine import unit_points
from benchmarks.entry import Answer, Entry, Peer, rows_of

__all__ = ["ENTRIES", "run"]


def run(only: str = "") -> Iterator[dict[str, Any]]:
    """One row per case and method."""
    return rows_of(__name__, ENTRIES, only)


def ours(points: Tensor) -> Answer:
    """The angle of the closest pair."""
    return {"angle": float(sphuni.separation(points).distance)}


def exact(points: Tensor) -> Answer:
    """The same from float64 differences of the most aligned pair of each block of rows."""
    rows = points.double().numpy()
    best = np.inf
    for start in range(0, len(rows), 500):
        gram = rows[start : start + 500] @ rows.T
        gram[np.arange(len(gram)), start + np.arange(len(gram))] = -1
        i, j = np.unravel_index(gram.argmax(), gram.shape)
        chord = np.linalg.norm(rows[start + i] - rows[j])
        best = min(best, 2 * np.arcsin(chord / 2))
    return {"angle": best}


def faiss_flat(points: Tensor) -> Answer:
    """faiss.IndexFlatIP, two neighbours of every point."""
    import faiss

    faiss.omp_set_num_threads(1)
    rows = points.numpy()
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    cosines, _ = index.search(rows, 2)
    return {"angle": float(np.arccos(min(cosines[:, 1].max(), 1.0)))}


def scipy_tree(points: Tensor) -> Answer:
    """The cKDTree of scipy, two neighbours of every point."""
    from scipy.spatial import cKDTree

    rows = points.double().numpy()
    chords, _ = cKDTree(rows, balanced_tree=False).query(rows, k=2)
    return {"angle": float(2 * np.arcsin(chords[:, 1].min() / 2))}


def sklearn_neighbors(points: Tensor) -> Answer:
    """scikit-learn's NearestNeighbors with its own choice of algorithm."""
    from sklearn.neighbors import NearestNeighbors

    rows = points.numpy()
    chords, _ = NearestNeighbors(n_neighbors=2, n_jobs=1).fit(rows).kneighbors(rows)
    return {"angle": float(2 * np.arcsin(chords[:, 1].min() / 2))}


def astropy_match(points: Tensor) -> Answer:
    """The search of astropy for the second closest source on the sky."""
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    x, y, z = points.double().numpy().T
    sky = SkyCoord(np.arctan2(y, x) * u.rad, np.arcsin(z) * u.rad)
    _, angle, _ = sky.match_to_catalog_sky(sky, nthneighbor=2)
    return {"angle": float(angle.rad.min())}


BARE = "the neighbours alone, without the means, checks and float64 differences"
FAISS = Peer(faiss_flat, "faiss")
SKLEARN = Peer(sklearn_neighbors, "sklearn")
TREES = {
    "scipy cKDTree": Peer(scipy_tree, "scipy", BARE),
    "scikit-learn": SKLEARN,
    "faiss IndexFlatIP": FAISS,
}
PRODUCTS = {"faiss IndexFlatIP": FAISS, "scikit-learn": SKLEARN}


def _case(n: int, d: int, against: dict[str, Peer], *, repeats: int = 3) -> Entry:
    return Entry(
        name=f"separation ({n}, {d}), float32",
        setup=functools.partial(unit_points, n, d, "float32"),
        run=ours,
        reference=exact,
        peers=against,
        tolerance={"angle": 1e-4},
        work=float(n) * n * d if d > 7 else 0.0,
        repeats=repeats,
    )


ENTRIES = (
    _case(10_000, 3, TREES | {"astropy": Peer(astropy_match, "astropy", BARE)}),
    _case(100_000, 3, {k: v for k, v in TREES.items() if "faiss" not in k}, repeats=2),
    _case(10_000, 16, PRODUCTS | {"scipy cKDTree": TREES["scipy cKDTree"]}),
    _case(10_000, 64, PRODUCTS),
    _case(10_000, 512, PRODUCTS),
    _case(4_096, 1_024, PRODUCTS),
)
