"""Compressed objectives (CoMHE): an objective on projections of the rows to k dimensions."""

from typing import Literal

import torch
from torch import Tensor

from sphuni._numbers import positive, whole
from sphuni.nn._directions import directions
from sphuni.nn._precision import check_weight, widen
from sphuni.nn.functional import _reference, mhe
from sphuni.nn.regularizers._base import AddBack, Objective, Reading
from sphuni.pairwise import images

__all__ = ["GroupProjection", "LearnedProjection", "RandomProjection"]

_PAIRS = 128
_DECAY = 5e-7  # 1e-3 times the weight decay of the authors' networks


class _Projected(Objective):
    """An inner objective on k-dimensional images of the rows; left alone where d <= k."""

    def __init__(
        self, objective: Objective, *, k: int, seed: int = 0, rows: int | None = None
    ) -> None:
        super().__init__(seed=seed, rows=rows)
        self.objective = objective
        self.k = whole("k", k, 2, "dimensions")

    def read(self, weight: Tensor, population: int | None = None) -> Reading:
        """Project what is looked at, in at least float32, outside autocast."""
        check_weight(weight)
        reading = super().read(weight, population)
        with torch.autocast(weight.device.type, enabled=False):
            rows = widen(reading.image)
            if rows.shape[-1] <= self.k:
                return reading._replace(image=rows)
            image, add_back = self.project(rows)
        chosen = reading.add_back
        if chosen is None:
            return reading._replace(image=image, add_back=add_back)
        return reading._replace(
            image=image,
            add_back=lambda into, gradient: chosen(
                into, add_back(torch.zeros_like(rows), gradient)
            ),
        )

    def project(self, weight: Tensor) -> tuple[Tensor, AddBack]:
        """Return images (..., count, n, k) of a weight (..., n, d), and the way back."""
        raise NotImplementedError

    @property
    def changes(self) -> bool:
        """Where rows are drawn, or the inner objective changes."""
        return super().changes or self.objective.changes

    def penalty(self, image: Tensor, population: int | None) -> Tensor:
        """The inner objective."""
        return self.objective.measure(self.objective.read(image, population))

    def extra_repr(self) -> str:
        """State the number of dimensions."""
        return f"k={self.k}"


class RandomProjection(_Projected):
    """The mean of an objective over C Gaussian projections (RP-CoMHE).

    Parameters
    ----------
    objective : Objective
        Any of them, with or without an inner problem of its own.
    k : int, default 30
        Dimensions projected to.
    C : int, default 20
        Projections per call.
    redraw_every : int, default 1
        Calls between fresh projections; 0 keeps the first ones for ever.
    seed, rows
        As in `Objective`.

    Notes
    -----
    Projections are recomputed from the seed and the draw number, so they take no memory between
    calls and are the same on every rank. The sets of a batch (..., n, d) share them.

    References
    ----------
    R. Lin et al., "Regularizing neural networks via minimizing hyperspherical energy", CVPR 2020.
    arXiv:1906.04892.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        k: int = 30,
        C: int = 20,
        redraw_every: int = 1,
        seed: int = 0,
        rows: int | None = None,
    ) -> None:
        super().__init__(objective, k=k, seed=seed, rows=rows)
        self.C = whole("C", C, 1)
        self.redraw_every = whole("redraw_every", redraw_every, 0)

    def allocate(self, n: int, d: int, *, like: Tensor, batch: int = 1) -> None:
        """Allocate the inner objective for the images."""
        projected = d > self.k
        self.objective.allocate(n, min(d, self.k), like=like, batch=self.C if projected else batch)

    def project(self, weight: Tensor) -> tuple[Tensor, AddBack]:
        """Draw the projections that belong to this call and apply them."""
        return _apply(self._matrices(weight), weight)

    @property
    def changes(self) -> bool:
        """Where projections are drawn afresh, too."""
        return self.redraw_every > 0 or super().changes

    def _drawn(self) -> int:
        """The number of the draw that this call uses."""
        return self.draws // self.redraw_every if self.redraw_every else 0

    def _matrices(self, weight: Tensor) -> Tensor:
        generator = self.generator(weight.device, 0, self._drawn())
        shape = (self.C, self.k, weight.shape[-1])
        return torch.randn(shape, generator=generator, dtype=weight.dtype, device=weight.device)

    def extra_repr(self) -> str:
        """State size, number and life of the projections."""
        return f"k={self.k}, C={self.C}, redraw_every={self.redraw_every}"


class GroupProjection(RandomProjection):
    """The mean of an objective over C random groups of rows, each projected by itself.

    The papers name group CoMHE without a definition; this is our reading: every call draws C
    groups of `size` rows and projects each with a Gaussian matrix of its own. As with all
    projections rows of d <= k dimensions are left alone, and then there are no groups either.

    Parameters
    ----------
    size : int, default 64
        Rows per group; at most n is used.
    objective, k, C, redraw_every, seed
        As in `RandomProjection`.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        size: int = 64,
        k: int = 30,
        C: int = 20,
        redraw_every: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(objective, k=k, C=C, redraw_every=redraw_every, seed=seed)
        self.size = whole("size", size, 2, "rows")

    def project(self, weight: Tensor) -> tuple[Tensor, AddBack]:
        """Draw groups and projections together."""
        n, device = weight.shape[-2], weight.device
        generator = self.generator(device, 1, self._drawn())
        size = min(self.size, n)
        groups = torch.stack(
            [torch.randperm(n, generator=generator, device="cpu")[:size] for _ in range(self.C)]
        )
        groups, matrices = groups.to(device), self._matrices(weight)

        def add_back(into: Tensor, gradient: Tensor) -> Tensor:
            return into.index_add_(-2, groups.flatten(), (gradient @ matrices).flatten(-3, -2))

        return weight[..., groups, :] @ matrices.mT, add_back


class LearnedProjection(_Projected):
    """An objective on one projection that is kept up to date by an inner problem.

    Parameters
    ----------
    objective : Objective
    goal : {"angles", "energy", "cosines", "full-energy"}
        "angles" (AP-CoMHE) keeps the angles between rows: it lowers the mean squared difference
        of angles before and after. "energy" (adversarial) raises the objective. In their place
        the authors' code lowers the Frobenius norm of the difference of "cosines", and raises
        the "full-energy", that of full space at s = 2, by plain gradient steps with a little
        weight decay.
    k : int, default 30
    inner_steps : int, default 1
        Gradient steps on the projection per call.
    inner_lr : float, default 0.1
        Length of a step, relative to the norm of the projection; the learning rate of plain ones.
    unroll : bool, default False
        Let the gradient to the weight pass through one more inner step, as the authors' code
        does; without it the projection is a constant (Danskin).
    seed, rows
        As in `Objective`.

    Notes
    -----
    The sets of a batch (..., n, d) share the projection, which serves their mean.

    References
    ----------
    R. Lin et al., "Regularizing neural networks via minimizing hyperspherical energy", CVPR 2020.
    arXiv:1906.04892.
    """

    projection: Tensor

    def __init__(
        self,
        objective: Objective,
        *,
        goal: Literal["angles", "energy", "cosines", "full-energy"],
        k: int = 30,
        inner_steps: int = 1,
        inner_lr: float = 0.1,
        unroll: bool = False,
        seed: int = 0,
        rows: int | None = None,
    ) -> None:
        super().__init__(objective, k=k, seed=seed, rows=rows)
        self.goal = goal
        self.inner_steps = whole("inner_steps", inner_steps, 0)
        self.inner_lr = positive("inner_lr", inner_lr)
        self.unroll = unroll
        self.linear = not unroll
        self.register_buffer("projection", torch.empty(0))

    def allocate(self, n: int, d: int, *, like: Tensor, batch: int = 1) -> None:
        """Draw the first projection."""
        if d > self.k:
            self.projection = self._fresh(d, like)
        self.objective.allocate(n, min(d, self.k), like=like)

    def project(self, weight: Tensor) -> tuple[Tensor, AddBack]:
        """Advance the projection, then apply it."""
        if self.projection.shape != (self.k, weight.shape[-1]):
            self.projection = self._fresh(weight.shape[-1], weight)
        projection = self.projection.to(weight)
        if self.training:
            with torch.enable_grad():
                for _ in range(self.inner_steps):
                    projection = self._step(projection, weight.detach()).detach()
            self.projection = projection.detach()
        if self.unroll and torch.is_grad_enabled():
            projection = self._step(projection, weight)
        return _apply(projection[None], weight)

    changes = True

    def extra_repr(self) -> str:
        """State the inner problem."""
        return f"goal={self.goal!r}, k={self.k}, inner_steps={self.inner_steps}"

    def _step(self, projection: Tensor, weight: Tensor) -> Tensor:
        """One step down ("angles", "cosines") or up ("energy", "full-energy")."""
        leaf = projection.detach().requires_grad_()
        value = self._goal(weight, leaf)
        (gradient,) = torch.autograd.grad(value, leaf, create_graph=self.unroll)
        sign = -1.0 if self.goal in ("angles", "cosines") else 1.0
        if self.goal in ("cosines", "full-energy"):
            return leaf + self.inner_lr * (sign * gradient - _DECAY * leaf)
        size = gradient.detach().norm()
        step = gradient / torch.where(size > 0, size, 1.0)  # none where the goal is flat
        return leaf + sign * self.inner_lr * leaf.detach().norm() * step

    def _goal(self, weight: Tensor, projection: Tensor) -> Tensor:
        """What the inner problem lowers or raises."""
        if self.goal == "angles":
            return _angle_error(self._subset(weight), projection)
        image = weight @ projection.mT
        if self.goal == "cosines":
            return _reference.cosine_gap(weight, image).mean()
        if self.goal == "full-energy":
            return mhe(image, s=2.0, preset="reference").mean()
        was = self.objective.training
        value: Tensor = self.objective.eval()(image.unsqueeze(-3))
        self.objective.train(was)
        return value

    def _subset(self, weight: Tensor) -> Tensor:
        """At most 128 random rows: their pairs estimate the mean over all pairs."""
        if weight.shape[-2] <= _PAIRS:
            return weight
        return weight.index_select(-2, self.random_rows(weight, _PAIRS, stream=4))

    def _fresh(self, d: int, like: Tensor) -> Tensor:
        dtype = torch.promote_types(like.dtype, torch.float32)
        generator = self.generator(like.device, 5, 0)
        noise = torch.randn(self.k, d, generator=generator, dtype=torch.float64, device="cpu")
        return noise.to(like.device, dtype)


def _apply(projections: Tensor, weight: Tensor) -> tuple[Tensor, AddBack]:
    """Images (..., C, n, k) of rows (..., n, d) under projections (C, k, d), and the way back."""

    def add_back(into: Tensor, gradient: Tensor) -> Tensor:
        gathered, matrix = gradient.transpose(-3, -2).flatten(-2), projections.flatten(0, 1)
        return into.addmm_(gathered, matrix) if into.ndim == 2 else into.add_(gathered @ matrix)

    if weight.ndim > 2:
        return weight.unsqueeze(-3) @ projections.mT, add_back
    found = images(weight, projections.flatten(0, 1)).unflatten(-1, projections.shape[:2])
    return found.transpose(0, 1).contiguous(), add_back


def _angle_error(weight: Tensor, projection: Tensor) -> Tensor:
    """Mean squared difference of the angles between rows, before and after projecting."""
    n = weight.shape[-2]
    first, second = torch.triu_indices(n, n, 1, device=weight.device)
    if first.numel() == 0:
        return projection.sum() * 0
    before = _pair_angles(directions(weight), first, second)
    after = _pair_angles(directions(weight @ projection.mT), first, second)
    return (before - after).square().mean()


def _pair_angles(rows: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Angles of row pairs from the Gram matrix; nearly equal pairs are held constant."""
    p = (2 - 2 * rows @ rows.mT)[..., first, second]
    inside = p.clamp(1e-6, 4 - 1e-6)
    return 2 * torch.atan2(inside.sqrt(), (4 - inside).sqrt())
