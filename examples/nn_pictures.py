"""Draw the pictures of the documentation pages on regularizers, layers and losses.

Run: python examples/nn_pictures.py [FOLDER]
"""

import math
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch

import sphuni
import sphuni.nn as snn

matplotlib.use("Agg")
from matplotlib import pyplot

F64 = torch.float64
SMALL = {"figsize": (8, 3.2), "layout": "constrained"}


def on_circle(degrees: list[float]) -> torch.Tensor:
    """Unit rows in the plane."""
    angles = torch.deg2rad(torch.tensor(degrees, dtype=F64))
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def circle(axis: Any, title: str) -> None:
    """An empty unit circle."""
    turn = np.linspace(0, 2 * np.pi, 200)
    axis.plot(np.cos(turn), np.sin(turn), color="0.8", lw=1)
    axis.set(title=title, aspect="equal", xlim=(-1.6, 1.6), ylim=(-1.6, 1.6))
    axis.axis("off")


def energy() -> Any:
    """Kernels against the angle, and the simplex against orthogonal rows."""
    figure, (left, right) = pyplot.subplots(1, 2, **SMALL)
    theta = torch.linspace(0.15, math.pi, 300, dtype=F64)
    for s in (0.0, 1.0, 2.0):
        for metric, style in (("chordal", "-"), ("geodesic", "--")):
            pairs = torch.stack(
                [on_circle([0.0]).expand(300, 2), torch.stack([theta.cos(), theta.sin()], -1)], 1
            )
            left.plot(theta.rad2deg(), snn.mhe(pairs, s=s, metric=metric), style, label=f"s={s:g}")
            left.lines[-1].set_color(f"C{int(s)}")
    left.set(xlabel="angle of two rows, degrees", ylabel="energy", ylim=(-1.5, 6))
    left.set_title("chordal (solid), geodesic (dashed)", fontsize=9)
    left.legend(handles=left.lines[::2])
    turn = torch.linspace(30, 330, 301, dtype=F64).tolist()
    sets = torch.stack([on_circle([0.0, angle]) for angle in turn])
    right.plot(turn, snn.mhe(sets), label="mhe: opposite rows")
    right.plot(turn, snn.mhe(sets, half_space=True), label="hs-mhe: orthogonal rows")
    right.set(xlabel="angle of two rows, degrees", ylabel="energy, s=2", ylim=(0, 2))
    right.legend()
    return figure


def separation() -> Any:
    """What the forms of the minimum push."""
    figure, axes = pyplot.subplots(1, 3, **SMALL)
    points = on_circle([0, 22, 50, 95, 170, 240, 300])
    for axis, options in zip(
        axes,
        ({"minimum": "hard"}, {"minimum": "row-mean"}, {"minimum": "soft", "sharpness": 8.0}),
        strict=True,
    ):
        leaf = points.clone().requires_grad_()
        snn.mhs(leaf, **options).backward()
        step = -leaf.grad / leaf.grad.norm(dim=1).max()
        circle(axis, f'minimum="{options["minimum"]}"')
        axis.plot(*points.T, "o")
        axis.quiver(*points.T, *step.T, angles="xy", scale_units="xy", scale=2, width=0.012)
    return figure


def polarization() -> Any:
    """The potential around the circle, its lowest pole and the deepest hole."""
    figure, (left, right) = pyplot.subplots(1, 2, **SMALL)
    points = on_circle([10, 60, 100, 190, 240])
    turn = torch.linspace(0, 360, 721, dtype=F64)
    poles = on_circle(turn.tolist())
    potential = torch.stack([-snn.mhp(points, poles=pole[None]) for pole in poles])
    left.plot(turn, potential)
    left.plot(turn[potential.argmin()], potential.min(), "v", color="C3", label="pole of mhp")
    left.set(xlabel="pole, degrees", ylabel="mean potential, s=2", ylim=(0, 8))
    left.legend()
    circle(right, "mhc: the largest empty cap")
    hole = sphuni.covering_radius(points)
    right.plot(*points.T, "o")
    centre = math.atan2(*hole.witness.flip(0).tolist())
    cap = np.linspace(centre - float(hole.radius), centre + float(hole.radius), 100)
    right.plot(1.1 * np.cos(cap), 1.1 * np.sin(cap), color="C3", lw=2)
    right.plot(*hole.witness, "v", color="C3")
    return figure


def determinant() -> Any:
    """The log-determinant of three rows in the plane."""
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
    turn = torch.linspace(5, 355, 141, dtype=F64).tolist()
    sets = torch.stack([on_circle([0.0, a, b]) for b in turn for a in turn])
    for axis, half in zip(axes, (False, True), strict=True):
        value = -snn.mgd(sets, half_space=half).reshape(len(turn), -1)
        low = float(value.quantile(0.1))
        image = axis.imshow(
            value.clamp_min(low), origin="lower", extent=(5, 355, 5, 355), cmap="viridis"
        )
        axis.set(
            xlabel="angle of row 2",
            ylabel="angle of row 3",
            title="half space" if half else "full space",
        )
        figure.colorbar(image, ax=axis, label="logdet")
    return figure


def orthogonality() -> Any:
    """Rows before and after: the norm counts or it does not."""
    figure, axes = pyplot.subplots(1, 3, **SMALL)
    start = on_circle([20, 55]) * torch.tensor([[1.4], [0.6]], dtype=F64)
    circle(axes[0], "start")
    for axis, name in ((axes[0], None), (axes[1], "so"), (axes[2], "orthogonal")):
        rows = start.clone().requires_grad_()
        if name is not None:
            circle(axis, name)
            optimizer = torch.optim.SGD([rows], lr=0.02)
            for _ in range(500):
                optimizer.zero_grad()
                getattr(snn, name)(rows).backward()
                optimizer.step()
        for x, y in rows.tolist():
            axis.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "->", "lw": 2})
    return figure


def compressed() -> Any:
    """Angles of a fresh layer, seen in all dimensions and in thirty."""
    figure, (left, right) = pyplot.subplots(1, 2, **SMALL)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 576, generator=generator, dtype=F64)
    images = weight @ torch.randn(576, 30, generator=generator, dtype=F64)
    first, second = torch.triu_indices(64, 64, 1)
    for rows, name in ((weight, "576 dimensions"), (images, "projected to 30")):
        unit = sphuni.normalize(rows)
        cosines = (unit @ unit.T)[first, second]
        left.hist(cosines.acos().rad2deg(), bins=40, density=True, alpha=0.6, label=name)
    left.set(xlabel="angle of two rows, degrees", ylabel="density")
    left.legend()
    sizes = [4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128]
    excess, kernel = [], sphuni.Riesz(2.0)
    for k in sizes:
        small = weight @ torch.randn(8, 576, k, generator=generator, dtype=F64)
        bound = sphuni.energy_bound(64, k, kernel=kernel, reduction="mean", antipodal=True).value
        excess.append(100 * (float(snn.mhe(small, half_space=True).mean()) / bound - 1))
    right.loglog(sizes, excess, "o-")
    right.set(xlabel="k", ylabel="hs energy above its bound, %")
    return figure


def features() -> Any:
    """Uniformity alone, and with alignment."""
    figure, axes = pyplot.subplots(1, 3, **SMALL)
    generator = torch.Generator().manual_seed(1)
    start = on_circle((40 + 60 * torch.rand(12, generator=generator)).tolist())
    pair = sphuni.normalize(start + 0.3 * torch.randn(12, 2, generator=generator, dtype=F64))
    losses = {
        "start": None,
        "uniformity": lambda x, y: snn.uniformity(torch.cat([x, y])),
        "uniformity + alignment": lambda x, y: (
            0.5 * (snn.uniformity(x) + snn.uniformity(y)) + snn.alignment(x, y)
        ),
    }
    for axis, (name, loss) in zip(axes, losses.items(), strict=True):
        x, y = start.clone().requires_grad_(), pair.clone().requires_grad_()
        optimizer = torch.optim.Adam([x, y], lr=0.02)
        for _ in range(0 if loss is None else 600):
            optimizer.zero_grad()
            loss(x, y).backward()
            optimizer.step()
        a, b = sphuni.normalize(x.detach()), sphuni.normalize(y.detach())
        circle(axis, name)
        for p, q in zip(a.tolist(), b.tolist(), strict=True):
            axis.plot([p[0], q[0]], [p[1], q[1]], color="0.6", lw=1)
        axis.plot(*a.T, "o", ms=4)
        axis.plot(*b.T, "o", ms=4)
    return figure


def layers() -> Any:
    """The functions of the angle."""
    figure, axis = pyplot.subplots(figsize=(5, 3.4), layout="constrained")
    theta = torch.linspace(0, math.pi, 300, dtype=F64)
    axis.plot(theta.rad2deg(), snn.angular(theta, "linear"), label="linear")
    axis.plot(theta.rad2deg(), snn.angular(theta, "cosine"), label="cosine")
    for k in (0.1, 0.3, 1.0):
        axis.plot(
            theta.rad2deg(), snn.angular(theta, "sigmoid", k=k), "--", label=f"sigmoid, k={k:g}"
        )
    axis.set(xlabel="angle of filter and patch, degrees", ylabel="answer")
    axis.legend()
    return figure


def losses() -> Any:
    """The margin function, and the schedule that makes it trainable."""
    figure, (left, right) = pyplot.subplots(1, 2, **SMALL)
    theta = torch.linspace(0, math.pi, 600, dtype=F64)
    for i, (g, m) in enumerate(
        (("cosine", 1), ("cosine", 4), ("linear", 4), ("sigmoid", 4), ("cosine", 1.7))
    ):
        left.plot(theta.rad2deg(), snn.psi(theta, m, g=g), label=f"{g}, m={m:g}", color=f"C{i}")
    left.set(xlabel="angle to the own class, degrees", ylabel="psi")
    left.legend(fontsize=8)
    steps = np.arange(3000)
    schedule = snn.LambdaAnneal(1000, 0.12, 1, 5)
    right.semilogy(steps, [schedule(int(step)) for step in steps])
    right.set(xlabel="iteration", ylabel="lambda", title="LambdaAnneal(1000, 0.12, 1, 5)")
    return figure


def main(folder: Path) -> None:
    """Write every picture as nn_<name>.png."""
    for draw in (
        energy,
        separation,
        polarization,
        determinant,
        orthogonality,
        compressed,
        features,
        layers,
        losses,
    ):
        figure = draw()
        figure.savefig(folder / f"nn_{draw.__name__}.png", dpi=100)
        pyplot.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
