"""Jacobians in sparse rows: every function depends on few of the points."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sphuni.configurations.maxmin._members import Array

__all__ = ["add_blocks", "block_rows"]


def block_rows(blocks: Array, index: NDArray[np.int64], n: int) -> sparse.csr_matrix:
    """Sparse rows from blocks (k, v, d - 1) of derivatives at the points `index` (k, v)."""
    count, _, width = blocks.shape
    columns = (index[..., None] * width + np.arange(width)).reshape(count, -1)
    rows = np.repeat(np.arange(count), columns.shape[1])
    return sparse.csr_matrix(
        (blocks.reshape(-1), (rows, columns.ravel())), shape=(count, n * width)
    )


def add_blocks(blocks: Array, index: NDArray[np.int64], n: int) -> Array:
    """Sum blocks (k, v, d - 1, v, d - 1) of second derivatives at the points `index` (k, v)."""
    count, corners, width = blocks.shape[:3]
    place = (index[..., None] * width + np.arange(width)).reshape(count, corners * width)
    rows = np.repeat(place, corners * width, axis=1)
    columns = np.tile(place, (1, corners * width))
    entries = (blocks.ravel(), (rows.ravel(), columns.ravel()))
    return np.asarray(sparse.coo_matrix(entries, shape=(n * width, n * width)).toarray())
