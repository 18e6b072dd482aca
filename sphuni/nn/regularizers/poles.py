"""Polarization and covering with poles that are warm-started from step to step."""

from typing import Any, Literal

import torch
from torch import Tensor

from sphuni._numbers import finite, positive, whole
from sphuni.geometry._ascent import Height, cosine_height, descend, potential_height
from sphuni.kernels import Riesz
from sphuni.nn._directions import directions
from sphuni.nn._precision import widen
from sphuni.nn.functional import mhc, mhp
from sphuni.nn.regularizers._base import Objective
from sphuni.sphere import unit_rows

__all__ = ["Poles"]

_SOFT_COSINE = 20.0


class Poles(Objective):
    """MHP or MHC with a few poles per layer, improved by some descent steps per call.

    Parameters
    ----------
    kind : {"mhp", "mhc"}
        The objective.
    options : dict
        Keyword arguments of `sphuni.nn.functional.mhp` or `mhc`.
    n_aux : int, default 8
        Poles per layer; the worst one counts. (The authors' code keeps one.)
    inner_steps : int, default 5
        Descent steps on the poles per call, each accepted only if it improves its pole.
    inner_lr : float, default 0.05
        First step length, in radians.
    reset_every : int, default 0
        Draw all poles afresh every so many calls; 0 is never.
    redraw : float, default 0.5
        Share of the poles, the least bad ones, that every call draws afresh. Without it all of
        them settle in one hole and miss those that open elsewhere.
    seed : int, default 0
    """

    poles: Tensor

    def __init__(
        self,
        kind: Literal["mhp", "mhc"],
        options: dict[str, Any],
        *,
        n_aux: int = 8,
        inner_steps: int = 5,
        inner_lr: float = 0.05,
        reset_every: int = 0,
        redraw: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__(seed=seed)
        if not 0 <= finite("redraw", redraw) < 1:
            raise ValueError(f"redraw must lie in [0, 1); got {redraw}")
        self.kind = kind
        self.options = dict(options)
        self.n_aux = whole("n_aux", n_aux, 1)
        self.inner_steps = whole("inner_steps", inner_steps, 0)
        self.inner_lr = positive("inner_lr", inner_lr)
        self.reset_every = whole("reset_every", reset_every, 0)
        self.kept = n_aux - int(redraw * n_aux)
        self.register_buffer("poles", torch.empty(0))

    changes = True

    def allocate(self, n: int, d: int, *, like: Tensor, batch: int = 1) -> None:
        """Draw the first poles."""
        self.poles = self._fresh(batch, d, like)

    def penalty(self, weight: Tensor, population: int | None) -> Tensor:
        """Improve the poles, then evaluate the objective at the worst of them."""
        rows = weight.reshape(-1, *weight.shape[-2:])
        batch, d = rows.shape[0], rows.shape[-1]
        if self.poles.shape != (batch, self.n_aux, d):
            self.poles = self._fresh(batch, d, rows)
        if self.training:
            if self.reset_every and self.draws and self.draws % self.reset_every == 0:
                self.poles = self._fresh(batch, d, rows)
            with torch.no_grad(), torch.autocast(weight.device.type, enabled=False):
                unit = directions(widen(rows.detach()))
                if self.draws and self.kept < self.n_aux:
                    self._renew(unit)
                self._improve(unit)
        function = mhp if self.kind == "mhp" else mhc
        return function(rows, poles=self.poles, **self.options)

    def extra_repr(self) -> str:
        """Name the objective and its inner problem."""
        return f"{self.kind}, n_aux={self.n_aux}, inner_steps={self.inner_steps}"

    def _fresh(self, batch: int, d: int, like: Tensor) -> Tensor:
        dtype = torch.promote_types(like.dtype, torch.float32)
        noise = torch.randn(
            batch,
            self.n_aux,
            d,
            generator=self.generator(like.device, 3),
            dtype=torch.float64,
            device="cpu",
        )
        return unit_rows(noise).to(like.device, dtype)

    def _renew(self, rows: Tensor) -> None:
        """Draw all but the worst poles afresh; what is kept moves to the front."""
        poles = self.poles.to(rows)  # where the model has been moved to
        fresh = self._fresh(rows.shape[0], rows.shape[-1], poles)
        heights = torch.stack([self._height(one)(z)[0] for z, one in zip(poles, rows, strict=True)])
        worst = heights.topk(self.kept, dim=-1, largest=False).indices
        kept = poles.gather(1, worst[..., None].expand(-1, -1, poles.shape[-1]))
        self.poles = torch.cat([kept, fresh[:, self.kept :]], dim=1)

    def _improve(self, rows: Tensor) -> None:
        for index, one in enumerate(rows):
            poles = self.poles[index].to(one)
            better = descend(self._height(one), poles, steps=self.inner_steps, step=self.inner_lr)
            self.poles[index] = better

    def _height(self, rows: Tensor) -> Height:
        """What a pole descends on: the potential, or a soft maximum of its cosines."""
        half_space = bool(self.options.get("half_space"))
        if self.kind == "mhc":
            both = torch.cat([rows, -rows]) if half_space else rows
            return cosine_height(both, _SOFT_COSINE)
        kernel = Riesz(self.options.get("s", 2.0))
        return potential_height(rows, kernel.antipodal() if half_space else kernel)
