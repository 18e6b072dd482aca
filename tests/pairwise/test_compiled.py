"""The compiled engine through torch.compile: the same numbers, never silently eager."""

import pytest
import torch
from pair_cases import BASE, KERNELS, close_set, degenerate_set, points

import sphuni
from sphuni._errors import EngineError
from sphuni.kernels import Gaussian, Riesz
from sphuni.pairwise import _compiled, _dispatch, _inductor, explain, pair_reduce
from sphuni.pairwise.loops import _native


@pytest.fixture(autouse=True)
def no_native_loops(monkeypatch):
    monkeypatch.setattr(_native, "serves", lambda *_: False)


def value_and_gradient(x, kernel, engine):
    leaf = x.clone().requires_grad_()
    total = pair_reduce(leaf, kernel=kernel, engine=engine)
    (gradient,) = torch.autograd.grad(total.sum(), leaf)
    return total.detach(), gradient


def assert_agrees(x, kernel, tolerance=1e-12):
    value, gradient = value_and_gradient(x, kernel, "compiled")
    expected, reference = value_and_gradient(x, kernel, "blockwise")
    finite = expected.isfinite()
    assert torch.equal(value.isfinite(), finite)
    torch.testing.assert_close(value[finite], expected[finite], rtol=tolerance, atol=1e-11)
    scale = reference.norm(dim=-1, keepdim=True).clamp_min(reference.norm(dim=-1).mean())
    assert bool(((gradient - reference).abs() <= 20 * tolerance * scale).all())


def graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def breaks():
    return sum(torch._dynamo.utils.counters["graph_break"].values())


@pytest.mark.usefixtures("cpp_compiler")
@pytest.mark.slow
def test_many_sizes_share_one_graph_and_agree_with_the_tiles():
    """A second set of sizes may compile nothing: past a limit torch would run eagerly."""
    kernel = Riesz(1.0)
    before = graphs(), breaks()
    for n in (40, 61):
        assert_agrees(points(n, 3, seed=n), kernel)
    assert 1 <= graphs() - before[0] <= 2
    after = graphs()
    with torch.compiler.set_stance("fail_on_recompile"):
        for n in (3, 7, 50, 64, 100, 333, 600, 1025, 2000):
            assert_agrees(points(n, 3, seed=n), kernel)
        assert_agrees(close_set(30, 3), kernel, 1e-11)
        assert_agrees(degenerate_set(30, 3), kernel)
    assert graphs() == after
    assert breaks() == before[1]


@pytest.mark.usefixtures("cpp_compiler")
@pytest.mark.slow
def test_small_and_degenerate_sizes_recompile_a_bounded_number_of_times():
    before = graphs()
    for n in (1, 2, 3, 5, 600):
        assert_agrees(points(n, 4, seed=n), Riesz(1.0))
    for batch in (2, 3, 7):
        for n in (1, 2, 5, 40, 511):
            assert_agrees(points(n, 4, seed=n, batch=batch), Riesz(1.0))
    assert graphs() - before <= 8
    assert not breaks()


@pytest.mark.usefixtures("cpp_compiler")
@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.label)
@pytest.mark.parametrize("d", [2, 3])
def test_every_kernel_agrees_with_the_tiles(kernel, d):
    assert_agrees(points(33, d), kernel)
    assert_agrees(points(20, d, batch=3), kernel)
    assert_agrees(degenerate_set(33, d), kernel)


@pytest.mark.usefixtures("cpp_compiler")
@pytest.mark.slow
@pytest.mark.parametrize("kernel", BASE[:3], ids=lambda kernel: kernel.label)
def test_derivatives_pass_through_both_backward_passes(kernel):
    x = (1.5 * points(5, 3)).requires_grad_()

    def function(raw):
        return pair_reduce(sphuni.normalize(raw), kernel=kernel, engine="compiled")

    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setattr(_inductor, "compiler_missing", lambda _: "torch.compile does not work here")


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_everything_still_works():
    x = points(5_000, 3)
    decision = explain(x, kernel=Riesz(1.0))
    assert decision.engine == "blockwise"
    assert decision.refused == {"compiled": "torch.compile does not work here"}
    found = pair_reduce(x[:5_000], kernel=Riesz(-2.0))
    assert float(found) == pytest.approx(float(x.sum(0).square().sum() - 5_000**2), rel=1e-10)
    with pytest.raises(EngineError, match=r"does not work here. Use engine='auto'"):
        pair_reduce(x, kernel=Riesz(1.0), engine="compiled")


def test_the_probe_turns_any_failure_into_a_reason(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("Failed to find C++ compiler.\n\nlong story")

    monkeypatch.setattr(_inductor.torch, "compile", broken)
    reason = _inductor.compiler_missing.__wrapped__()
    assert reason == "torch.compile does not work here (Failed to find C++ compiler.)"


def test_the_probe_runs_where_the_points_are(monkeypatch):
    places = []
    probe = _inductor.compiler_missing.__wrapped__
    monkeypatch.setattr(_inductor.torch, "compile", lambda *_, **__: places.append)
    monkeypatch.setattr(_inductor, "compiler_missing", probe)
    assert (
        _compiled.supports(torch.empty(1, 9, 3, device="meta"), None, [Riesz(1.0)], "sum") is None
    )
    assert [one.device.type for one in places] == ["meta"]


def test_a_failure_while_compiling_is_an_engine_error(monkeypatch):
    def fails(*_):
        raise torch._dynamo.exc.Unsupported("no such operation")

    monkeypatch.setattr(_inductor, "compiler_missing", lambda _: None)
    monkeypatch.setattr(_inductor, "compiled_body", lambda *_: fails)
    with pytest.raises(EngineError, match="the compiled engine failed: no such operation"):
        pair_reduce(points(10, 3), kernel=Riesz(1.0), engine="compiled")
    assert _dispatch._ENGINES["compiled"] is _compiled


@pytest.mark.usefixtures("cpp_compiler")
@pytest.mark.slow
def test_lines_of_a_bounded_kernel_keep_their_limits():
    """The limits at both ends are read before tracing: inside it they once came out as NaN."""
    assert_agrees(degenerate_set(33, 3), Gaussian(1.2).antipodal())
