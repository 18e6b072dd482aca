"""Products of a constant sparse matrix with a dense one, fast on a CPU in both directions."""

import dataclasses
from typing import Any

import numpy as np
import scipy.sparse
import torch
import torch.nn.functional as torch_functional
from torch import Tensor

__all__ = ["Sparse", "dropout"]


@dataclasses.dataclass(frozen=True, eq=False)
class Sparse:
    """A constant sparse matrix, by rows and by columns.

    Attributes
    ----------
    start, columns : Tensor of int64
        Of the rows; row i has the entries from ``start[i]`` to the next.
    turned_start, turned_columns : Tensor of int64
        The same of the transpose.
    turned : Tensor of int64
        Where the entries of the transpose are among those of the matrix.
    values : Tensor of shape (entries,)

    Notes
    -----
    A product is a sum of rows of the other factor, `embedding_bag`, whose own gradient is slow; the
    gradient here is the product with the transpose. The values have no gradient.

    Examples
    --------
    >>> import numpy as np, torch
    >>> matrix = Sparse.of(np.array([[0.0, 2.0], [1.0, 0.0]]))
    >>> matrix @ torch.eye(2)
    tensor([[0., 2.],
            [1., 0.]])
    """

    start: Tensor
    columns: Tensor
    turned_start: Tensor
    turned_columns: Tensor
    turned: Tensor
    values: Tensor

    @classmethod
    def of(cls, matrix: Any) -> "Sparse":
        """Convert an array, a SciPy sparse matrix or a tensor of either layout to float32."""
        device = matrix.device if isinstance(matrix, Tensor) else "cpu"
        rows: Any = scipy.sparse.csr_array(_host(matrix)).sorted_indices()  # and a copy
        count = np.arange(rows.nnz)
        numbered = scipy.sparse.csr_array((count + 1, rows.indices, rows.indptr), rows.shape)
        turned = numbered.T.tocsr()
        parts = (rows.indptr[:-1], rows.indices, turned.indptr[:-1], turned.indices)
        indices = (torch.from_numpy(np.asarray(part, dtype=np.int64)) for part in parts)
        order = torch.from_numpy(np.asarray(turned.data - 1, dtype=np.int64))
        values = torch.from_numpy(np.asarray(rows.data, dtype=np.float32))
        start, columns, turned_start, turned_columns = indices
        whole = cls(start, columns, turned_start, turned_columns, order, values)
        return whole.to(device)

    def __matmul__(self, other: Tensor) -> Tensor:
        return _Product.apply(other, self)

    def to(self, device: torch.device | str) -> "Sparse":
        """Return the matrix on a device."""
        fields = {f.name: getattr(self, f.name).to(device) for f in dataclasses.fields(self)}
        return Sparse(**fields)

    def dropout(self, p: float) -> "Sparse":
        """Drop entries with probability p and scale the others up, by torch's own generator."""
        return dataclasses.replace(self, values=dropout(self.values, p))

    def times(self, other: Tensor) -> Tensor:
        """Return the product without a gradient."""
        return _bag(other, self.start, self.columns, self.values)

    def transpose_times(self, other: Tensor) -> Tensor:
        """Return the product of the transpose without a gradient."""
        return _bag(other, self.turned_start, self.turned_columns, self.values[self.turned])


def dropout(x: Tensor, p: float) -> Tensor:
    """Dropout with uniform numbers of single precision, which is faster than torch's on a CPU."""
    return x * (torch.rand(x.shape, device=x.device) >= p).to(x.dtype).div_(1 - p)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, other: Tensor, matrix: Sparse) -> Tensor:
        ctx.matrix = matrix  # type: ignore[attr-defined]
        return matrix.times(other)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.matrix.transpose_times(grads[0].contiguous()), None  # type: ignore[attr-defined]


def _host(matrix: Any) -> Any:
    """Return a tensor as an array or a SciPy matrix in coordinate form; others as they are."""
    if not isinstance(matrix, Tensor):
        return matrix
    if matrix.layout == torch.strided:
        return matrix.detach().cpu().numpy()
    parts = matrix.detach().cpu().to_sparse_coo().coalesce()
    index, values = parts.indices().numpy(), parts.values().numpy()
    return scipy.sparse.coo_array((values, (index[0], index[1])), shape=tuple(parts.shape))


def _bag(other: Tensor, start: Tensor, columns: Tensor, values: Tensor) -> Tensor:
    return torch_functional.embedding_bag(
        columns, other, start, mode="sum", per_sample_weights=values
    )
