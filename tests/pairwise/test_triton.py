"""The Triton engine: on a GPU where there is one, else through Triton's interpreter."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch
from pair_cases import KERNELS, degenerate_set, points
from torch._subclasses.fake_tensor import FakeTensorMode

from sphuni._errors import EngineError
from sphuni.kernels import Gaussian, GegenbauerSeries, Laplace, Riesz
from sphuni.nn._tempered import tempered_riesz
from sphuni.pairwise import _dispatch, _reference, _triton, explain, pair_reduce
from sphuni.pairwise.loops._scalar import can_spell
from sphuni.stats import build_test

TritonError = pytest.importorskip("triton.errors").TritonError
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SERVED = [kernel for kernel in KERNELS if can_spell(kernel)]
(PROJECTED,) = build_test("prt").kernels(9)  # by a table: no formula
FEW = [Riesz(1.0), Riesz(0.0), Riesz(1.0, "geodesic"), Laplace(1.0)]
FEW = [*FEW, *(kernel.antipodal() for kernel in FEW)]


def by_label(kernel):
    return kernel.label


def on_device(x):
    return x.float().to(DEVICE)


def near_set(n, d, *, seed=0):
    """Random points of which some have neighbours, or opposites, at angles 1e-2 to 1e-6."""
    x, step = points(n, d, seed=seed), points(n, d, seed=seed + 1)
    for row, exponent in enumerate((2, 3, 4, 5, 6)):
        near = x[row] + 10.0**-exponent * step[row]
        x[-1 - row] = near / near.norm() * (-1 if row % 2 else 1)
    return x


def value_and_gradient(x, kernel):
    leaf = x.clone().requires_grad_()
    total = pair_reduce(leaf, kernel=kernel, engine="triton")
    (gradient,) = torch.autograd.grad(total.sum(), leaf)
    return total.detach().double().cpu(), gradient.double().cpu()


def truth(x, kernel):
    """Value and gradient of the same rounded points in float64, and the sizes of their terms."""
    exact = x.double().cpu()
    leaf = exact.clone().requires_grad_()
    total = _reference.total(leaf[None], (kernel,))[0, 0]
    (gradient,) = torch.autograd.grad(total, leaf)
    p = (exact[:, None] - exact[None]).square().sum(-1)
    q = (exact[:, None] + exact[None]).square().sum(-1)
    hidden = (p == 0) | (q == 0)
    p, q = p.masked_fill(hidden, 2.0), q.masked_fill(hidden, 2.0)
    value, slope = kernel.value_and_derivative(p, q)
    forces = slope.abs() * torch.minimum(p, q).sqrt()
    return total.detach(), gradient, value.abs().sum(), (forces + 1).sum(-1, keepdim=True)


def assert_right(x, kernel, tolerance=1e-5):
    """Values to the rounding of their terms, each gradient row to that of its forces."""
    found, gradient = value_and_gradient(x, kernel)
    total, exact, terms, forces = truth(x, kernel)
    if total.isinf():
        assert torch.equal(found, total)
    else:
        assert float((found - total).abs()) <= tolerance * float(terms + total.abs())
    assert float(((gradient - exact).abs() / forces).max()) <= tolerance


@pytest.mark.parametrize("kernel", SERVED, ids=by_label)
@pytest.mark.parametrize("d", [3, 17])
def test_values_and_gradients_agree_with_the_reference(kernel, d):
    assert_right(on_device(near_set(33, d)), kernel)


@pytest.mark.parametrize("kernel", FEW, ids=by_label)
@pytest.mark.parametrize("d", [2, 17])
def test_coincident_and_opposite_points_exert_no_force(kernel, d):
    assert_right(on_device(degenerate_set(20, d)), kernel)


@pytest.mark.parametrize("s", [0.0, 2.0])
def test_kernels_with_a_floor_stay_finite(s):
    kernel = tempered_riesz(s, "chordal", 1e-3, torch.float32).antipodal()
    for make in (near_set, degenerate_set):
        assert_right(on_device(make(20, 17)), kernel)


@pytest.mark.parametrize("n", [1, 2, 33, 130])
@pytest.mark.parametrize("d", [2, 3, 17, 65])
def test_ragged_sizes(n, d):
    assert_right(on_device(points(n, d, seed=n)), Riesz(1.0).antipodal())
    assert_right(on_device(points(n, d, seed=n)), Gaussian(1.2))


@pytest.mark.parametrize("exponent", range(2, 7))
@pytest.mark.parametrize("d", [3, 65])
def test_float32_distances_of_close_pairs_keep_their_digits(exponent, d):
    x, step = points(2, d, seed=exponent)
    near = x + 10.0**-exponent * (step - (step @ x) * x)
    pair = on_device(torch.stack([x, near / near.norm()]))
    exact = float((pair[0].double() - pair[1].double()).norm())
    for lines in (pair, pair * torch.tensor([[1.0], [-1.0]], device=DEVICE)):
        found = pair_reduce(lines, kernel=Riesz(2.0).antipodal(), engine="triton")
        assert float(found) == pytest.approx(exact**-2 + 1 / (4 - exact**2), rel=2e-6)


@pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # the interpreter's NumPy
@pytest.mark.parametrize(("s", "gap"), [(2.0, 1e-10), (1.0, 3e-15), (1.0, 1e-16), (2.0, 1e-13)])
@pytest.mark.parametrize("d", [3, 17])
def test_forces_stay_finite_where_slopes_leave_the_range_of_float32(s, gap, d):
    x = torch.eye(d)[[0, 0, 1, 2]].to(DEVICE)
    x[1, 1] = gap
    _, gradient = value_and_gradient(x, Riesz(s))
    exact = x.double().requires_grad_()
    pair_reduce(exact, kernel=Riesz(s), engine="blockwise").backward()
    largest = torch.finfo(torch.float32).max
    expected = exact.grad.cpu().clamp(-largest, largest)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)


def test_batches_and_sequences_of_kernels_equal_single_calls():
    x = on_device(points(40, 11, batch=(2, 3)))
    kernels = (Riesz(2.0), Gaussian(1.0))
    together, gradient = value_and_gradient(x, kernels)
    assert together.shape == (2, 3, 2)
    for i in range(2):
        for j in range(3):
            single = [value_and_gradient(x[i, j], kernel) for kernel in kernels]
            torch.testing.assert_close(together[i, j], torch.stack([v for v, _ in single]))
            torch.testing.assert_close(gradient[i, j], sum(g for _, g in single))
    assert pair_reduce(x[:0], kernel=Riesz(2.0), engine="triton").shape == (0, 3)


def test_the_formulas_of_different_kernels_have_different_names():
    """By which alone older versions of Triton tell compiled kernels apart."""
    from sphuni.pairwise._triton_kernels import pair_function

    kernels = [*SERVED, *(Riesz(s).antipodal() for s in (0.0, 0.5, 1.0, 2.0)), Gaussian(3.0)]
    names = {kernel: pair_function(kernel).fn.__qualname__ for kernel in kernels}
    assert len(set(names.values())) == len(names)
    pair_function.cache_clear()
    assert all(pair_function(kernel).fn.__qualname__ == names[kernel] for kernel in kernels)


def test_values_alone_are_the_same_numbers():
    x = on_device(near_set(70, 20))
    with torch.no_grad():
        alone = pair_reduce(x.clone().requires_grad_(), kernel=Riesz(1.0), engine="triton")
    assert not alone.requires_grad
    assert float(alone) == pytest.approx(float(value_and_gradient(x, Riesz(1.0))[0]), rel=1e-6)


def test_half_precision_is_computed_in_float32():
    x = on_device(points(50, 16)).to(torch.bfloat16).requires_grad_()
    total = pair_reduce(x, kernel=Riesz(1.0), engine="triton")
    total.backward()
    assert (total.dtype, x.grad.dtype) == (torch.bfloat16, torch.bfloat16)
    expected = pair_reduce(x.detach(), kernel=Riesz(1.0), engine="reference")
    assert float(total.detach()) == pytest.approx(float(expected), rel=1e-2)


def test_nan_is_not_hidden():
    x = on_device(points(40, 16))
    x[3, 2] = torch.nan
    assert bool(pair_reduce(x, kernel=Riesz(1.0), engine="triton").isnan())


def test_second_derivatives_are_those_of_the_reference():
    x = on_device(points(40, 12))
    along = on_device(points(40, 12, seed=1))
    for kernel in (Riesz(1.0), Riesz(0.0, "geodesic").antipodal()):
        seconds = []
        for engine in ("triton", "reference"):
            leaf = x.clone().requires_grad_()
            total = pair_reduce(leaf, kernel=kernel, engine=engine)
            (first,) = torch.autograd.grad(total, leaf, create_graph=True)
            seconds.append(torch.autograd.grad((first * along).sum(), leaf)[0])
        torch.testing.assert_close(*seconds, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("with_gradient", [True, False])
def test_the_operator_passes_the_checks_of_torch(with_gradient):
    _triton._KERNELS["coulomb"] = Riesz(1.0)
    x = on_device(points(20, 9, batch=2)).requires_grad_()
    checked = torch.library.opcheck(_triton._pairs, (x, "coulomb", with_gradient))
    assert set(checked.values()) == {"SUCCESS"}
    sums, _ = _triton._pairs(x, "coulomb", with_gradient)
    (gradient,) = torch.autograd.grad(sums.sum(), x)
    _, expected = value_and_gradient(x.detach(), Riesz(1.0))
    torch.testing.assert_close(gradient.double().cpu(), expected)


@pytest.mark.parametrize(
    ("x", "arguments", "message"),
    [
        (points(9, 9), {}, "computes in float32, and the points are float64"),
        (points(9, 9).float(), {"op": "rows"}, "unweighted set only"),
        (points(9, 9).float(), {"weights": torch.ones(9)}, "unweighted set only"),
        (points(9, 9).float(), {"kernel": PROJECTED}, "has no scalar form"),
    ],
)
def test_calls_it_does_not_serve_say_why(x, arguments, message):
    with pytest.raises(EngineError, match=f"engine='triton' cannot serve this call: .*{message}"):
        pair_reduce(x, **{"kernel": Riesz(1.0), "engine": "triton", **arguments})


def test_it_is_refused_where_every_run_must_give_the_same_digits(monkeypatch):
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    with pytest.raises(EngineError, match=r"torch\.use_deterministic_algorithms is on"):
        pair_reduce(points(9, 9).float(), kernel=Riesz(1.0), engine="triton")


def test_what_is_missing_is_named_with_its_remedy(monkeypatch):
    x = points(9, 9).float()
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(EngineError, match=r"on cpu: move them there .*TRITON_INTERPRET=1"):
        pair_reduce(x, kernel=Riesz(1.0), engine="triton")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"not installed; pip install 'sphuni\[gpu\]'"):
        pair_reduce(x, kernel=Riesz(1.0), engine="triton")


def test_auto_takes_it_for_large_float32_sets_on_a_gpu(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)

    def chosen(n, d, dtype=torch.float32, **arguments):
        with FakeTensorMode():
            x = torch.empty(n, d, dtype=dtype, device="cuda")
        return explain(x, **{"kernel": Riesz(1.0), **arguments})

    assert chosen(2048, 16).engine == "triton"
    assert chosen(2048, 16).reason == "large n and d on a GPU"
    assert chosen(5000, 64, torch.bfloat16).engine == "triton"
    assert chosen(2047, 16).engine == chosen(2048, 15).engine == "blockwise"
    series = GegenbauerSeries((1.0,) * 121, 16)  # minutes to compile, for milliseconds saved
    assert chosen(2048, 16, kernel=[Riesz(1.0), series]).engine == "blockwise"
    assert chosen(16_384, 16, kernel=[Riesz(1.0), series]).engine == "triton"
    assert "scalar form" in chosen(2048, 16, kernel=PROJECTED).refused["triton"]
    assert "float64" in chosen(4096, 64, torch.float64).refused["triton"]
    assert "unweighted" in chosen(4096, 64, op="rows").refused["triton"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (TritonError("out of resource: shared memory"), "out of resource"),
        (RuntimeError("Failed to find C compiler"), "Failed to find C compiler"),
        (subprocess.CalledProcessError(1, ["gcc"]), r"Command .*gcc.* non-zero exit status 1"),
        (
            PermissionError(13, "Permission denied", "/root/.triton"),
            r"\[Errno 13\] Permission denied: .*triton",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failed_launch_falls_back_to_the_tiles(monkeypatch, error, message):
    from sphuni.pairwise import _triton_kernels

    def fails(kernel):
        raise error

    monkeypatch.setattr(_triton_kernels, "pair_function", fails)
    monkeypatch.setattr(_triton, "_FAILED", set())
    x = on_device(points(30, 16))
    with pytest.raises(EngineError, match=f"the Triton engine failed: {message}"):
        pair_reduce(x, kernel=Riesz(1.0), engine="triton")
    decision = _dispatch.Decision("triton", "", {})
    found = _dispatch._total(decision, x[None], [Riesz(1.0)], fall_back=True)
    assert float(found) == pytest.approx(float(pair_reduce(x, kernel=Riesz(1.0))), rel=1e-6)


def test_auto_does_not_try_again_what_failed(monkeypatch):
    from sphuni.pairwise import _triton_kernels

    def fails(kernel):
        raise RuntimeError("Failed to find C compiler")

    def chosen(d, kernel):
        with FakeTensorMode():
            return explain(torch.empty(4096, d, device="cuda"), kernel=kernel).engine

    monkeypatch.setattr(_triton_kernels, "pair_function", fails)
    monkeypatch.setattr(_triton, "_FAILED", set())
    with pytest.raises(EngineError, match="Failed to find C compiler"):
        pair_reduce(on_device(points(30, 16)), kernel=Riesz(1.0), engine="triton")
    failed = {(kernel, d, "cuda") for kernel, d, _ in _triton._FAILED}  # as if it had been there
    monkeypatch.setattr(_triton, "_FAILED", failed)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert chosen(16, Riesz(1.0)) == chosen(16, [Riesz(2.0), Riesz(1.0)]) == "blockwise"
    assert chosen(16, Riesz(2.0)) == chosen(17, Riesz(1.0)) == "triton"


_COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from sphuni.kernels import Riesz
from sphuni.pairwise import _triton
from sphuni.pairwise._triton_kernels import tiles

types = {"x": "*fp32", "sums": "*fp64", "gradients": "*fp32"}
types |= dict.fromkeys(("n", "d", "blocks"), "i32")
units = {
    75: (64, "fma.rn.f32"),
    80: (163, "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"),
    89: (99, "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"),
    90: (227, "wgmma.mma_async.sync.aligned.m64n64k8.f32.tf32.tf32"),
}
for generation, (kilobytes, instruction) in units.items():
    options = _triton.launch_options(Riesz(1.0, "geodesic").antipodal(), d=64, with_gradient=True)
    launch = {name: options.pop(name) for name in ("num_warps", "num_stages")}
    source = triton.compiler.ASTSource(tiles, types | dict.fromkeys(options, "constexpr"), options)
    compiled = triton.compile(source, target=GPUTarget("cuda", generation, 32), options=launch)
    assert instruction in compiled.asm["ptx"], generation
    assert compiled.metadata.shared <= kilobytes * 1024, generation
"""


@pytest.mark.slow
def test_the_kernel_compiles_for_a_gpu_that_is_not_here(tmp_path):
    """The interpreter takes more than the compiler does; PTX and SASS need no GPU."""
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _COMPILE], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
