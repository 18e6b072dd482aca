"""Engines that need fewer than all pairs give what the pairs give, and say when they serve."""

import math
import sys

import numpy as np
import pytest
import torch
from pair_cases import degenerate_set, points

from sphuni._errors import EngineError
from sphuni.kernels import Gaussian, GegenbauerSeries, Riesz
from sphuni.pairwise import _fmm, explain, pair_reduce

SERIES = GegenbauerSeries((0.3, -0.5, 0.25, 0.0, 0.1), 2)
CIRCLE = {
    "chord": Riesz(-1.0),
    "arc": Riesz(-1.0, "geodesic"),
    "lines, chord": Riesz(-1.0).antipodal(),
    "lines, arc": Riesz(-1.0, "geodesic").antipodal(),
    "series": SERIES,
    "lines, series": SERIES.antipodal(),
}
MOMENTS = {
    "square": Riesz(-2.0),
    "fourth power": Riesz(-4.0),
    "lines": Riesz(-4.0).antipodal(),
    "series": GegenbauerSeries((1.0, 2.0, -0.5), 5),
}


def compare(x, kernel, engine, tolerance=1e-12):
    """Value, gradient and a Hessian product against the slow engine."""
    found = []
    for name in (engine, "reference"):
        leaf = x.clone().requires_grad_()
        total = pair_reduce(leaf, kernel=kernel, engine=name)
        (gradient,) = torch.autograd.grad(total.sum(), leaf)
        found.append((total.detach(), gradient))
    scale = x.shape[-2] ** 2
    torch.testing.assert_close(found[0][0], found[1][0], rtol=tolerance, atol=tolerance * scale)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("name", CIRCLE)
def test_the_circle_by_angles(name):
    x = torch.stack([points(41, 2, seed=seed) for seed in (1, 2)])
    compare(x, CIRCLE[name], "circle")
    compare(points(1, 2), CIRCLE[name], "circle")


@pytest.mark.parametrize("name", ["chord", "arc", "series"])
def test_coincident_points_of_the_circle_do_not_pull(name):
    x = points(9, 2)
    compare(torch.cat([x, x[:4], x[:1]]), CIRCLE[name], "circle")


def test_a_polygon_has_its_known_sums():
    n = 1001
    angle = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    polygon = torch.stack([angle.cos(), angle.sin()], dim=1)
    decision = explain(polygon, kernel=Riesz(-1.0))
    assert (decision.engine, decision.reason) == ("circle", "angles on the circle need no pairs")
    chords = n / math.tan(math.pi / (2 * n))
    assert float(pair_reduce(polygon, kernel=Riesz(-1.0))) == pytest.approx(-chords, rel=1e-12)
    arcs = 2 * math.pi * (n * n - 1) / 8
    arc = pair_reduce(polygon, kernel=Riesz(-1.0, "geodesic"))
    assert float(arc) == pytest.approx(-arcs, rel=1e-12)


@pytest.mark.parametrize("name", MOMENTS)
@pytest.mark.parametrize("shape", [(30, 5), (4, 9), (1, 3)])
def test_polynomials_by_moments(name, shape):
    compare(points(*shape), MOMENTS[name], "moments")


def test_moments_are_differentiable_twice():
    x, v = points(12, 4).requires_grad_(), torch.randn(12, 4, dtype=torch.float64)
    products = []
    for engine in ("moments", "reference"):
        total = pair_reduce(x, kernel=Riesz(-4.0), engine=engine)
        (gradient,) = torch.autograd.grad(total, x, create_graph=True)
        products.append(torch.autograd.grad((gradient * v).sum(), x)[0])
    torch.testing.assert_close(products[0], products[1], rtol=1e-11, atol=1e-11)


def test_moments_keep_the_digits_of_a_cluster():
    x = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64) + 1e-7 * points(300, 3)
    x = x / x.norm(dim=1, keepdim=True)
    decision = explain(x, kernel=Riesz(-4.0))
    assert decision.engine == "moments"
    exact = pair_reduce(x, kernel=Riesz(-4.0), engine="reference")
    assert float(pair_reduce(x, kernel=Riesz(-4.0))) == pytest.approx(float(exact), rel=1e-9)


def test_several_kernels_and_single_precision():
    x = points(400, 6).float()
    kernels = (Riesz(-2.0), Riesz(-4.0))
    assert explain(x, kernel=kernels).engine == "moments"
    found = pair_reduce(x, kernel=kernels)
    assert found.dtype == torch.float32
    exact = pair_reduce(x.double(), kernel=kernels, engine="blockwise")
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)


def test_small_or_unserved_sets_go_over_pairs():
    x = points(300, 2)
    assert explain(points(50, 2), kernel=Riesz(-1.0)).engine == "blockwise"
    assert explain(x, kernel=Riesz(1.0)).engine == "compiled"
    assert explain(x, kernel=(Riesz(-1.0), Riesz(1.0))).engine == "compiled"
    assert explain(x, kernel=Riesz(-1.0), op="rows").engine == "blockwise"
    assert explain(points(300, 200), kernel=Riesz(-4.0)).engine == "blockwise"
    assert explain(points(300, 200), kernel=Riesz(-2.0)).engine == "moments"


@pytest.mark.parametrize(
    ("engine", "d", "kernel", "reason"),
    [
        ("circle", 3, Riesz(-1.0), r"it serves d = 2 only, and d = 3"),
        ("circle", 2, Riesz(1.0), r"it knows Riesz kernels with s = -1 and Gegenbauer series"),
        ("moments", 3, Gaussian(1.0), r"not a polynomial of degree at most two in the cosine"),
        ("fmm", 3, Riesz(2.0), r"it serves Riesz\(1.0\) in d = 3 only"),
    ],
)
def test_refusals_name_the_reason(engine, d, kernel, reason):
    with pytest.raises(EngineError, match=rf"engine='{engine}' cannot serve this call: .*{reason}"):
        pair_reduce(points(5, d), kernel=kernel, engine=engine)


class DirectSum:
    """FMM3D's interface, by the sum over all pairs, in the units of a version of it."""

    def __init__(self, unit):
        self.unit = unit

    def lfmm3d(self, *, eps, sources, charges, pg):
        assert sources.flags.f_contiguous
        apart = sources[:, :, None] - sources[:, None]
        r = (apart**2).sum(0) ** 0.5
        near = r == 0
        r[near] = 1.0
        self.pot = self.unit * ((~near) / r) @ charges
        self.grad = -self.unit * ((~near) * apart / r**3) @ charges
        return self


@pytest.mark.parametrize("n", [2, 30, 700])
def test_fmm_agrees_with_all_pairs(n):
    pytest.importorskip("fmm3dpy")
    compare(points(n, 3, batch=2), Riesz(1.0), "fmm")
    compare(degenerate_set(n + 20, 3), Riesz(1.0), "fmm")


@pytest.mark.parametrize("copies", [1, 2, 400])
def test_fmm_of_one_place(copies):
    pytest.importorskip("fmm3dpy")
    leaf = points(1, 3).repeat(copies, 1).requires_grad_()
    energy = pair_reduce(leaf, kernel=Riesz(1.0), engine="fmm")
    assert float(energy.detach()) == (math.inf if copies > 1 else 0.0)
    assert not torch.autograd.grad(energy, leaf)[0].any()


@pytest.mark.parametrize("unit", [1.0, 1 / (4 * math.pi)])
def test_fmm_adapter(unit, monkeypatch):
    monkeypatch.setitem(sys.modules, "fmm3dpy", DirectSum(unit))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    _fmm._unit.cache_clear()
    try:
        compare(points(30, 3, batch=2), Riesz(1.0), "fmm")
        x = points(12, 3)
        compare(torch.cat([x, x[:2]]), Riesz(1.0), "fmm")
        monkeypatch.setattr(_fmm, "_FROM", 20)
        assert explain(points(30, 3), kernel=Riesz(1.0)).engine == "fmm"
        monkeypatch.setattr(_fmm, "memory_budget", lambda: 1000)
        decision = explain(points(30, 3), kernel=Riesz(1.0))
        assert decision.engine == "blockwise"
        assert decision.refused["fmm"] == "it needs 211 KiB and 1e+03 B are to be had"
        with pytest.raises(EngineError, match=r"needs 211 KiB and 1e\+03 B are to be had"):
            pair_reduce(points(30, 3), kernel=Riesz(1.0), engine="fmm")
    finally:
        _fmm._unit.cache_clear()


def test_second_derivatives_of_fmm_are_those_of_tiles(monkeypatch):
    monkeypatch.setitem(sys.modules, "fmm3dpy", DirectSum(1.0))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    _fmm._unit.cache_clear()
    x = points(6, 3).requires_grad_()

    def squared_gradient(engine):
        total = pair_reduce(x, kernel=Riesz(1.0), engine=engine)
        (gradient,) = torch.autograd.grad(total, x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), x)[0]

    assert torch.allclose(squared_gradient("fmm"), squared_gradient("blockwise"), rtol=1e-10)


def circle_sets():
    """Sets of the circle with coincident and opposite points, as points and as lines."""
    rng = np.random.default_rng(0)

    def on_circle(n):
        angles = rng.uniform(0, 2 * math.pi, n)
        return np.column_stack([np.cos(angles), np.sin(angles)])

    z = on_circle(100)
    return {
        "opposite": np.vstack([z, -z]),
        "coincident": np.vstack([z] * 3),
        "both": np.vstack([z, -z, z, on_circle(50)]),
        "apart": on_circle(200),
    }


@pytest.mark.parametrize("name", circle_sets())
@pytest.mark.parametrize("metric", ["chordal", "geodesic"])
@pytest.mark.parametrize("lines", [False, True])
def test_singular_pairs_of_the_circle_have_no_gradient(name, metric, lines):
    kernel = Riesz(-1.0, metric)
    kernel = kernel.antipodal() if lines else kernel
    compare(torch.from_numpy(circle_sets()[name])[None], kernel, "circle")
