"""The native loops: each pair once, the same numbers as the tiles."""

import os
import subprocess
import sys

import pytest
import torch
from pair_cases import KERNELS, close_set, degenerate_set, points

import sphuni
from sphuni._jit import native_jit
from sphuni.kernels import Dirichlet, Gaussian, Riesz
from sphuni.pairwise import explain, pair_reduce
from sphuni.pairwise.loops import _native
from sphuni.pairwise.loops._formula import formula

SPELLED = [
    Riesz(1.0),
    Riesz(-1.0).antipodal(),
    pytest.param(Dirichlet(degree=3), marks=pytest.mark.slow),
    Riesz(0.0),
    pytest.param(Riesz(2.2), marks=pytest.mark.slow),
    pytest.param(Riesz(1.0, metric="geodesic"), marks=pytest.mark.slow),
    Gaussian(1.0),
]


def value_and_gradient(x, kernel, engine):
    leaf = x.clone().requires_grad_()
    total = pair_reduce(leaf, kernel=kernel, engine=engine)
    (gradient,) = torch.autograd.grad(total.sum(), leaf)
    return total.detach(), gradient


def assert_agrees(x, kernel, tolerance=1e-12):
    assert _native.serves(x, kernel)
    value, gradient = value_and_gradient(x, kernel, "compiled")
    expected, reference = value_and_gradient(x, kernel, "blockwise")
    torch.testing.assert_close(value, expected, rtol=tolerance, atol=1e-11)
    without_forces = pair_reduce(x, kernel=kernel, engine="compiled")
    torch.testing.assert_close(without_forces, expected, rtol=tolerance, atol=1e-11)
    scale = reference.norm(dim=-1, keepdim=True).clamp_min(reference.norm(dim=-1).mean())
    assert bool(((gradient - reference).abs() <= 20 * tolerance * scale).all())


@pytest.mark.parametrize("kernel", SPELLED, ids=lambda kernel: kernel.label)
def test_sums_and_gradients_are_those_of_the_tiles(kernel):
    for n in (1, 2, 3, 33, 1025):
        assert_agrees(points(n, 3, seed=n), kernel)
    assert_agrees(points(20, 3, batch=5), kernel)
    many = points(33, 3, batch=70)
    many[17] = degenerate_set(33, 3)
    assert_agrees(many, kernel)
    assert_agrees(degenerate_set(33, 3), kernel)
    assert_agrees(close_set(30, 3), kernel, 1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.label)
@pytest.mark.parametrize("d", [2, 3, 8])
def test_every_kernel_that_can_be_spelled_out(kernel, d):
    if formula(kernel) is None:
        assert not _native.serves(points(5, d), kernel)
        return
    assert_agrees(points(70, d), kernel)
    assert_agrees(degenerate_set(33, d), kernel)


def test_the_formula_is_the_kernel():
    spelled = formula(Riesz(3.0).antipodal())
    scope = {
        "sqrt": lambda z: z**0.5,
        "rsqrt": lambda z: z**-0.5,
        "one": 1.0,
        "zero": 0.0,
        "p": 1.3,
        "q": 2.7,
    }
    scope |= dict(spelled.constants)
    exec("\n".join(spelled.lines), scope)
    expected = 1.3**-1.5 + 2.7**-1.5, 3 * (1.3**-2.5 - 2.7**-2.5)
    assert (scope[spelled.value], scope[spelled.slope]) == pytest.approx(expected, rel=1e-15)


def test_float32_gradients_of_ten_thousand_points():
    x = points(10_000, 3).float()
    value, found = value_and_gradient(x, Riesz(1.0), "compiled")
    exact_value, exact = value_and_gradient(x.double(), Riesz(1.0), "compiled")
    assert explain(x, kernel=Riesz(1.0)).engine == "compiled"
    assert float(value) == pytest.approx(float(exact_value), rel=2e-7)
    norm = float(found.norm(dtype=torch.float64))
    assert norm == pytest.approx(float(exact.norm()), rel=1e-5)


@pytest.mark.usefixtures("two_threads")
def test_the_number_of_threads_does_not_matter():
    x = points(3000, 3).float()
    two = value_and_gradient(x, Riesz(2.0), "compiled")
    torch.set_num_threads(1)
    one = value_and_gradient(x, Riesz(2.0), "compiled")
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])


def test_second_derivatives_are_handed_to_the_tiles():
    x = (1.5 * points(5, 3)).requires_grad_()

    def function(raw):
        return pair_reduce(sphuni.normalize(raw), kernel=Riesz(1.0), engine="compiled")

    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)


def test_without_numba_torch_compile_takes_over(monkeypatch):
    monkeypatch.setattr(_native, "native_jit", lambda: None)
    assert not _native.serves(points(5, 3), Riesz(1.0))


@pytest.mark.parametrize("failure", [ImportError("no numba"), OSError("libllvmlite.so")])
def test_without_room_for_numba_there_are_no_native_loops(failure, monkeypatch):
    class Finder:
        @staticmethod
        def find_spec(*_):
            raise failure

    monkeypatch.delitem(sys.modules, "numba", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder])
    assert native_jit.__wrapped__() is None


_TURNED_OFF = """
import torch
from sphuni import random_points
from sphuni.kernels import Riesz
from sphuni.pairwise import explain, nearest, pair_reduce

for n, d in ((300, 3), (300, 9), (5000, 3)):
    x = torch.from_numpy(random_points(n, d, rng=0))
    assert nearest(x).distance.min() > 0
    if n < 5000:
        assert explain(x, kernel=Riesz(1.0)).engine == "blockwise"
        ours, plain = (float(pair_reduce(x, kernel=Riesz(1.0), engine=engine))
                       for engine in ("auto", "reference"))
        assert abs(ours / plain - 1) < 1e-12
"""


def test_where_numba_is_told_not_to_compile_plain_operations_serve():
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", _TURNED_OFF], env=environment, check=True)
