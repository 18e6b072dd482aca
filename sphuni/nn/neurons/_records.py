"""The two answers a tensor can get."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Layout", "NeuronView", "Skipped", "Source"]

Layout = Callable[[Tensor], list[tuple[str, Tensor]]]
"""Turn one weight into named matrices; the name is what is appended to the weight's own."""


@dataclass(frozen=True, eq=False)
class NeuronView:
    """One set of neurons, ready to be measured.

    Attributes
    ----------
    name : str
        Name of the weight, with `[part]` appended where one tensor holds several sets
        (`lstm.weight_ih_l0[i]`, `attn.in_proj_weight[q]`).
    kind : str
        Kind of layer: `linear`, `conv2d`, `conv_transpose2d`, `embedding`, `lstm`, `attention`,
        `bilinear`, `lora`, `parameter`, ...
    matrix : Tensor, shape (n, d)
        Row i holds the d incoming weights of neuron i. Detached; dtype and device of the weight;
        a view of it where torch allows.
    parameters : int
        How many stored numbers this view answers for. Larger than `matrix.numel()` when a matrix
        is computed from several tensors, as `weight_norm` and LoRA do.
    sources : tuple of str
        Names of the tensors it was made from.
    rank : int or None
        Of a product of factors the most dimensions that its rows can span.
    """

    name: str
    kind: str
    matrix: Tensor
    parameters: int
    sources: tuple[str, ...]
    rank: int | None = None


@dataclass(frozen=True)
class Skipped:
    """A tensor, or a part of one, that holds no set of neurons, and why.

    Attributes
    ----------
    name, kind, parameters, sources
        As in `NeuronView`.
    shape : tuple of int
        Shape as stored; `()` for a parameter that has none yet.
    reason : str
        One sentence for the reader of a report.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    reason: str
    parameters: int
    sources: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Source:
    """A tensor on its way to an answer: either `reason` says why not, or `layout` says how.

    `value` makes the matrix-to-be when it is wanted, so that products exist one at a time.
    """

    name: str
    kind: str
    tensor: Tensor
    sources: tuple[str, ...]
    parameters: int
    layout: Layout | None = None
    reason: str | None = None
    value: Callable[[], Tensor] | None = None
    rank: int | None = None
