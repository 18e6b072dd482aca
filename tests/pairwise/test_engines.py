"""Every engine is held to the slow and obvious one: values, gradients, second derivatives."""

import functools

import pytest
import torch
from pair_cases import KERNELS, close_set, degenerate_set, points

import sphuni
from sphuni._errors import EngineError
from sphuni.kernels import Gaussian, GegenbauerSeries, Laplace, Poisson, Riesz
from sphuni.pairwise import _blockwise, _dispatch, explain, pair_reduce, sum_and_gradient
from sphuni.pairwise.loops import _native, _potentials
from sphuni.pairwise.tiles import _schedule, _sums, _sweep

every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.label)
FAST_LOOPS = {0, 3, 9, 14, 21, 22}
"""Places of kernels whose loops the fast tests compile; the others there take plain operations."""


def is_fast(place, d, loops):
    """Loops are compiled for each kernel; in few dimensions plain operations are tested too."""
    return loops == (place in FAST_LOOPS) or (d == 3 and not loops)


every_path = pytest.mark.parametrize(
    ("kernel", "d", "loops"),
    [
        pytest.param(
            *(kernel, d, loops),
            marks=() if is_fast(i, d, loops) else pytest.mark.slow,
            id=f"{kernel.label}-{d}{'-loops' if loops else ''}",
        )
        for i, kernel in enumerate(KERNELS)
        for d in (3, 11)
        for loops in (False, True)
    ],
    indirect=["loops"],
)
ENGINES = ("reference", "blockwise")


def sets(fast):
    """Kinds of sets, of which the fast tests see one."""
    kinds = (points, close_set, degenerate_set)
    cases = [pytest.param(kind, marks=() if kind is fast else pytest.mark.slow) for kind in kinds]
    return pytest.mark.parametrize("make", cases)


def assert_same_sum(found, expected, terms):
    """Equal to 1e-12 of the sum of absolute terms; infinite in the same places."""
    assert torch.equal(torch.isinf(found), torch.isinf(expected))
    assert not bool(torch.isnan(found).any())
    finite = torch.isfinite(expected)
    assert bool(((found - expected).abs() <= 1e-12 * terms + 1e-300)[finite].all())


def absolute_terms(x, y, kernel):
    """Sum of |K| over all pairs, as a scale for rounding errors."""
    difference = (x[..., :, None, :] - y[..., None, :, :]).square().sum(-1)
    total = (x[..., :, None, :] + y[..., None, :, :]).square().sum(-1)
    value = kernel.value(difference, total).abs()
    return torch.where(torch.isfinite(value), value, torch.zeros_like(value)).sum((-2, -1))


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of 8 rows, so that small sets have diagonal and other tiles and a ragged edge."""
    set_block(monkeypatch, 8)


def set_block(monkeypatch, rows):
    monkeypatch.setattr(_potentials, "_BLOCK", rows)
    for module, name in ((_schedule, "block_size"), (_sums, "block_size"), (_sums, "_swept_block")):
        monkeypatch.setattr(module, name, lambda n, *_: min(n, rows))


@pytest.fixture
def loops(request, monkeypatch):
    """Whether sets as small as those of the tests are given to native loops."""
    if request.param:
        monkeypatch.setattr(_sweep, "_FEWEST_PAIRS", 0)
        monkeypatch.setattr(_native, "FEWEST_PAIRS", 0)
    return request.param


@pytest.mark.usefixtures("small_tiles")
@every_path
@sets(fast=degenerate_set)
def test_blockwise_values_agree_with_the_reference(kernel, d, loops, make):
    x, y = make(21, d), points(13, d, seed=5)
    scale = absolute_terms(x, x, kernel)
    w = torch.linspace(0.5, 2, 21, dtype=torch.float64)
    for arguments in ({}, {"op": "rows"}, {"weights": w}, {"op": "rows", "weights": w}):
        found, expected = (
            pair_reduce(x, kernel=kernel, engine=engine, **arguments) for engine in ENGINES[::-1]
        )
        assert_same_sum(found, expected, 4 * scale)
    for arguments in ({}, {"op": "rows"}, {"weights": w[:13]}, {"op": "rows", "weights": w[:13]}):
        found, expected = (
            pair_reduce(x, y, kernel=kernel, engine=engine, **arguments) for engine in ENGINES[::-1]
        )
        assert_same_sum(found, expected, 4 * absolute_terms(x, y, kernel))


@pytest.mark.usefixtures("small_tiles")
@every_path
@sets(fast=close_set)
def test_blockwise_gradients_agree_with_the_reference(kernel, d, loops, make):
    """Compared row by row: a row's scale is the largest pair force that acts on it."""
    x, w = make(21, d), torch.linspace(0.5, 2, 21, dtype=torch.float64)
    for weights in (None, w):
        gradients = []
        for engine in ENGINES:
            leaf = x.clone().requires_grad_()
            total = pair_reduce(leaf, kernel=kernel, weights=weights, engine=engine)
            (gradient,) = torch.autograd.grad(total.sum(), leaf)
            gradients.append(gradient)
        reference, blockwise = gradients
        assert bool(torch.isfinite(blockwise).all())
        size = pair_forces(x, kernel) * 4
        error = (blockwise - reference).norm(dim=-1)
        assert bool((error <= 1e-12 * size + 1e-300).all()), float((error / size).max())
        assert float((blockwise * x).sum(-1).abs().max()) <= 1e-12 * float(size.max())


def pair_forces(x, kernel):
    """Sum over the others of |K'| |x -+ y|, what the tangent forces on each point add up to."""
    p = (x[:, None] - x[None]).square().sum(-1)
    q = (x[:, None] + x[None]).square().sum(-1)
    hidden = torch.eye(len(x), dtype=torch.bool) | (p == 0) | (q == 0)
    p, q = p.masked_fill(hidden, 2.0), q.masked_fill(hidden, 2.0)
    slope = kernel.derivative(p, q).abs() * torch.minimum(p, q).sqrt()
    return slope.masked_fill(hidden, 0.0).sum(-1) + 1.0


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("engine", ENGINES)
def test_sum_and_gradient_without_autograd(engine):
    x = points(21, 5, batch=(2, 3)).requires_grad_()
    total = pair_reduce(x, kernel=Riesz(1.0))
    (gradient,) = torch.autograd.grad(total.sum(), x)
    found = sum_and_gradient(x, kernel=Riesz(1.0), engine=engine)
    assert not any(part.requires_grad for part in found)
    torch.testing.assert_close(found, (total.detach(), gradient), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("arguments", [{}, {"op": "rows"}])
def test_batches_equal_loops(engine, arguments):
    x, y = points(9, 4, batch=(2, 3)), points(5, 4, batch=(2, 3), seed=1)
    for other, count in ((None, 9), (y, 5)):
        w = torch.rand(2, 3, count, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        for weights in (None, w):
            whole = pair_reduce(
                x, other, kernel=Riesz(1.0), weights=weights, engine=engine, **arguments
            )
            for i in range(2):
                for j in range(3):
                    one = pair_reduce(
                        x[i, j],
                        None if other is None else other[i, j],
                        kernel=Riesz(1.0),
                        weights=None if weights is None else weights[i, j],
                        engine=engine,
                        **arguments,
                    )
                    torch.testing.assert_close(whole[i, j], one, rtol=1e-13, atol=0)


@pytest.mark.parametrize("n", [65, 70, 75])
def test_kernels_summed_in_one_look_have_their_own_sums(n):
    """Logarithms are added up as products of eight; near pairs of singular kernels are apart."""
    x = close_set(n, 12)
    kernels = (Riesz(0.0), Riesz(1.0), Riesz(0.0).antipodal(), Gaussian(1.0), Riesz(2.0))
    together = pair_reduce(x, kernel=kernels, engine="blockwise")
    for found, kernel in zip(together, kernels, strict=True):
        expected = pair_reduce(x, kernel=kernel, engine="reference")
        assert_same_sum(found, expected, absolute_terms(x, x, kernel))


def test_a_sequence_of_kernels_adds_an_axis():
    x = points(30, 5, batch=2)
    kernels = (Riesz(0.0), Riesz(2.0), Gaussian(1.0), Laplace(1.0))
    for engine in ENGINES:
        for op in ("sum", "rows"):
            together = pair_reduce(x, kernel=kernels, op=op, engine=engine)
            single = [pair_reduce(x, kernel=kernel, op=op, engine=engine) for kernel in kernels]
            torch.testing.assert_close(together, torch.stack(single, -1), rtol=1e-13, atol=0)


def test_sizes_around_the_tile_do_not_matter():
    for n in (1, 2, 3, 127, 128, 129, 257, 767, 770, 1025):
        x = points(n, 3, seed=n)
        total = pair_reduce(x, kernel=Riesz(1.0), engine="blockwise")
        halves = pair_reduce(x, kernel=Riesz(1.0), op="rows", engine="blockwise")
        assert halves.shape == (n,)
        torch.testing.assert_close(total, 0.5 * halves.sum(), rtol=1e-13, atol=0)
        direct = (1 / torch.pdist(x)).sum()
        torch.testing.assert_close(total, direct, rtol=1e-10, atol=0)


def of_raw(kernel, engine, op="sum"):
    def function(raw, weights=None):
        unit = sphuni.normalize(raw)
        return pair_reduce(unit, kernel=kernel, engine=engine, op=op, weights=weights)

    return function


@pytest.mark.usefixtures("small_tiles")
@every_kernel
def test_first_and_second_derivatives_of_the_tiles(kernel):
    """One random direction per check keeps the product of cases fast; the slow test does all."""
    x = (1.5 * points(9, 3, seed=3)).requires_grad_()
    assert torch.autograd.gradcheck(of_raw(kernel, "blockwise"), x, fast_mode=True, rtol=1e-4)
    assert torch.autograd.gradgradcheck(of_raw(kernel, "blockwise"), x, fast_mode=True, rtol=1e-4)


@pytest.mark.slow
@every_kernel
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("d", [2, 3, 9])
def test_every_derivative_of_every_kernel(kernel, engine, d, monkeypatch):
    set_block(monkeypatch, 4)
    # well apart, as lines too: finite differences lose the digits of the forces of close pairs
    sets = (points(6, d, seed=seed) for seed in range(50))
    x = max(sets, key=lambda one: float(sphuni.separation(one, antipodal=True).distance))
    x = (1.5 * x).requires_grad_()
    w = torch.linspace(0.5, 1.5, 6, dtype=torch.float64, requires_grad=True)
    for op in ("sum", "rows"):
        assert torch.autograd.gradcheck(of_raw(kernel, engine, op), (x, w))
        assert torch.autograd.gradgradcheck(of_raw(kernel, engine, op), (x, w))


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(("d", "loops"), [(3, False), (3, True), (9, False)], indirect=["loops"])
@pytest.mark.parametrize(
    "kernel", [Riesz(1.0), Riesz(0.5, "geodesic").antipodal()], ids=lambda kernel: kernel.label
)
def test_derivatives_with_respect_to_both_sets_and_the_weights(kernel, d, loops):
    x = points(9, d, seed=1).mul(1.3).requires_grad_()
    y = points(5, d, seed=2).mul(0.7).requires_grad_()
    w = torch.linspace(0.5, 1.5, 5, dtype=torch.float64, requires_grad=True)
    for op in ("sum", "rows"):

        def function(x, y, w, op=op):
            left, right = sphuni.normalize(x), sphuni.normalize(y)
            return pair_reduce(left, right, kernel=kernel, weights=w, op=op, engine="blockwise")

        assert torch.autograd.gradcheck(function, (x, y, w), fast_mode=True)
        assert torch.autograd.gradgradcheck(function, (x, y, w), fast_mode=True)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("d", [3, 9])
@pytest.mark.parametrize("sets", [1, 2])
@pytest.mark.parametrize("product", ["hvp", "vhp"])
def test_products_with_second_derivatives(product, sets, d):
    """`hvp` differentiates second derivatives once more, in the vector they are taken along."""
    at = [points(9, d, seed=1), points(12, d, seed=2)][-sets:]
    at.append(torch.linspace(0.5, 1.5, 12, dtype=torch.float64))
    along = tuple(torch.cos(7 * part) for part in at)

    def rows(*at, engine):
        kernels = [Riesz(1.0), Gaussian(2.0)]
        found = pair_reduce(*at[:-1], kernel=kernels, weights=at[-1], op="rows", engine=engine)
        return found.sin().sum()

    def total(*at, engine):
        return pair_reduce(at[0], kernel=Riesz(0.0), engine=engine).square()

    take = getattr(torch.autograd.functional, product)
    for function, count in ((rows, len(at)), (total, 1)):
        expected, found = (
            take(functools.partial(function, engine=engine), tuple(at[:count]), along[:count])[1]
            for engine in ENGINES
        )
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_third_derivatives_are_refused_rather_than_lost():
    x = points(9, 3).requires_grad_()
    total = pair_reduce(x, kernel=Riesz(1.0), engine="blockwise")
    (first,) = torch.autograd.grad(total, x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="first and second derivatives"):
        torch.autograd.grad(second.square().sum(), x)


@pytest.mark.parametrize(
    ("engine", "d", "kernel"),
    [
        ("reference", 3, Riesz(1.0078125).antipodal()),
        ("blockwise", 12, Riesz(1.0234375).antipodal()),
        ("moments", 3, GegenbauerSeries((0.25, 0.0546875, 0.125), d=3)),
    ],
)
def test_another_default_device_changes_nothing(engine, d, kernel):
    """What is found out about a kernel is kept: these are used here only."""
    x = points(20, d).requires_grad_()
    with torch.device("meta"):
        inside = pair_reduce(x, kernel=kernel, engine=engine)
        (gradient,) = torch.autograd.grad(inside, x)
    assert torch.equal(inside, pair_reduce(x, kernel=kernel, engine=engine))
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "kernel", [Riesz(2.0), Riesz(0.0, "geodesic"), Laplace(1.0)], ids=lambda kernel: kernel.label
)
@pytest.mark.parametrize(
    ("d", "loops"),
    [
        *((3, False), (11, False)),
        *(pytest.param(d, True, marks=pytest.mark.slow) for d in (3, 11)),
    ],
    indirect=["loops"],
)
def test_duplicates_and_antipodes_exert_no_force(engine, kernel, d, loops):
    """Their gradient is what it is without the pair; second derivatives stay finite."""
    x = degenerate_set(20, d)
    for used in (kernel, kernel.antipodal()):
        leaf = x.clone().requires_grad_()
        total = pair_reduce(leaf, kernel=used, engine=engine)
        assert torch.isinf(total) == (used.at_one == torch.inf)
        (first,) = torch.autograd.grad(total, leaf, create_graph=True)
        assert bool(torch.isfinite(first).all())
        (second,) = torch.autograd.grad(first.square().sum(), leaf)
        assert bool(torch.isfinite(second).all())
    rows = pair_reduce(x, kernel=Riesz(2.0), op="rows", engine=engine)
    assert torch.isinf(rows).nonzero()[:, 0].tolist() == [0, 1, 2, 10, 18]


def test_weight_zero_takes_a_point_out():
    x = degenerate_set(12, 3)
    w = torch.ones(12, dtype=torch.float64)
    w[[1, 2, 10]] = 0.0
    kept = x[w > 0]
    for engine in ENGINES:
        total = pair_reduce(x, kernel=Riesz(1.0), weights=w, engine=engine)
        expected = pair_reduce(kept, kernel=Riesz(1.0), engine=engine)
        torch.testing.assert_close(total, expected, rtol=1e-13, atol=0)
        rows = pair_reduce(x, kernel=Riesz(1.0), weights=w, engine=engine, op="rows")
        assert not bool(rows.isnan().any())


def test_weight_zero_takes_out_a_point_that_meets_weights_of_both_signs():
    x = points(1, 3).expand(3, 3)
    w = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64)
    for engine in ENGINES:
        assert pair_reduce(x, kernel=Riesz(1.0), weights=w, engine=engine) == -torch.inf


@pytest.mark.parametrize("exponent", range(2, 7))
@pytest.mark.parametrize("d", [3, 64, 768])
def test_float32_distances_of_close_pairs_keep_their_digits(exponent, d):
    """K = rho and K = theta read the distance of one close pair off the reduction."""
    x, step = points(2, d, seed=exponent)[:, None, :].unbind(0)
    step = step - (step * x).sum() * x
    y = x + 10.0**-exponent * step / step.norm()
    pair = torch.cat([x, y / y.norm()]).float()
    exact = (pair[0].double() - pair[1].double()).norm()
    for metric in ("chordal", "geodesic"):
        distance = -pair_reduce(pair, kernel=Riesz(-1.0, metric), engine="blockwise")
        assert float(distance) == pytest.approx(float(exact), rel=1e-3)
        inverse = pair_reduce(torch.stack([pair[0]]), pair[1:], kernel=Riesz(1.0, metric))
        assert float(inverse) == pytest.approx(1 / float(exact), rel=1e-3)


def gradient_norm(x, engine):
    leaf = x.clone().requires_grad_()
    pair_reduce(leaf, kernel=Riesz(1.0), engine=engine).backward()
    return float(leaf.grad.norm(dtype=torch.float64))


@pytest.mark.parametrize("n", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_float32_gradient_norm_of_many_points(n):
    """At n = 10,000 torch.cdist is 12 % off, and the plain Gram form gives NaN."""
    x = points(n, 3)
    exact = gradient_norm(x.float().double(), "blockwise")
    assert gradient_norm(x.float(), "blockwise") == pytest.approx(exact, rel=1e-4)


def test_dtypes_come_back_and_half_is_computed_in_float32(dtype_and_tolerance):
    dtype, tolerance = dtype_and_tolerance
    x = points(70, 12)  # enough of them for native loops
    exact = pair_reduce(x, kernel=Riesz(1.0))
    rounded = x.to(dtype)
    for engine in ENGINES:
        found = pair_reduce(rounded, kernel=Riesz(1.0), engine=engine)
        assert found.dtype == dtype
        assert float(found) == pytest.approx(float(exact), rel=tolerance)
    leaf = rounded.clone().requires_grad_()
    pair_reduce(leaf, kernel=Riesz(1.0)).backward()
    assert leaf.grad.dtype == dtype
    assert bool(torch.isfinite(leaf.grad).all())


def test_rows_that_are_unit_to_rounding_only_are_taken_as_unit():
    x = points(40, 16).float()
    off = x * (1 + 3e-6 * torch.linspace(-1, 1, 40))[:, None]
    near = pair_reduce(off, kernel=Riesz(1.0))
    assert float(near) == pytest.approx(float(pair_reduce(x, kernel=Riesz(1.0))), rel=1e-6)


@pytest.mark.parametrize(
    ("n", "d", "dtype"),
    [
        (100, 5, torch.float64),
        (600, 3, torch.float64),
        (1700, 3, torch.float64),
        (1700, 16, torch.float64),
        (3200, 96, torch.float32),
        (700, 300, torch.float32),
    ],
)
def test_results_do_not_depend_on_the_number_of_threads(n, d, dtype, set_threads):
    x = points(n, d).to(dtype)
    w = torch.linspace(0.5, 2, n).to(dtype)
    results = []
    for threads in (1, 2, 3, 1):
        set_threads(threads)
        leaf = x.clone().requires_grad_()
        total = pair_reduce(leaf, kernel=Riesz(1.0), engine="blockwise")
        total.backward()
        rows = pair_reduce(x, kernel=Riesz(1.0), op="rows", weights=w, engine="blockwise")
        results.append((total.detach(), leaf.grad, rows))
        assert torch.get_num_threads() == threads
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_inference_mode_and_no_grad_change_nothing():
    x = points(3200, 9)
    expected = pair_reduce(x, kernel=Riesz(1.0))
    with torch.inference_mode():
        assert torch.equal(pair_reduce(x.clone(), kernel=Riesz(1.0)), expected)
    leaf = x.clone().requires_grad_()
    with torch.no_grad():
        assert not pair_reduce(leaf, kernel=Riesz(1.0)).requires_grad


def test_autocast_is_left_outside():
    x = points(200, 32).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = pair_reduce(x, kernel=Riesz(2.0))
    assert torch.equal(inside, pair_reduce(x, kernel=Riesz(2.0)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"engine": "fast"}, ValueError, "engine must be one of 'auto'.*'compiled'.*got 'fast'"),
        ({"op": "max"}, ValueError, "op must be 'sum' or 'rows'; got 'max'"),
        (
            {"engine": "compiled", "op": "rows"},
            EngineError,
            "unweighted set only. Use engine='auto'",
        ),
        ({"engine": "compiled"}, EngineError, "cannot serve this call: d = 9 is above 8"),
        ({"engine": "compiled", "weights": torch.ones(5)}, EngineError, "unweighted set only"),
    ],
)
def test_calls_that_no_engine_serves_say_why(arguments, error, message):
    with pytest.raises(error, match=message):
        pair_reduce(points(5, 9), kernel=Riesz(1.0), **arguments)


def test_explain_says_what_runs_and_why(monkeypatch):
    few = "10000 ordered pairs are fewer than 65536: compiling would not repay"
    small = explain(points(100, 3), kernel=Riesz(1.0))
    assert (small.engine, small.refused) == ("blockwise", {"compiled": few})
    assert explain(points(256, 3), kernel=Riesz(1.0)).engine == "compiled"
    assert explain(points(100, 3).expand(7, -1, -1), kernel=Riesz(1.0)).engine == "compiled"
    wide = explain(points(5000, 9), kernel=Riesz(1.0))
    assert wide.refused == {"compiled": "d = 9 is above 8, where tiles are faster"}
    many = GegenbauerSeries((0.5,) * 200, d=3)
    assert "ordered pairs are fewer" in explain(points(300, 3), kernel=many).refused["compiled"]
    assert explain(points(1000, 3), kernel=many).engine == "compiled"
    weighted = explain(points(5000, 3), kernel=Riesz(1.0), weights=torch.ones(5000))
    assert "unweighted" in weighted.refused["compiled"]
    several = explain(points(30, 3), points(3000, 3), kernel=Riesz(1.0), op="rows")
    assert "unweighted" in several.refused["compiled"]
    named = explain(points(5, 3), kernel=Riesz(1.0), engine="reference")
    assert (named.engine, named.reason) == ("reference", "asked for by name")
    assert explain(points(5000, 3), kernel=Riesz(1.0)).engine == "compiled"
    monkeypatch.setattr(_dispatch._compiled._native, "serves", lambda *_: False)
    monkeypatch.setattr(_dispatch._compiled._inductor, "compiler_missing", lambda _: None)
    assert explain(points(5000, 3), kernel=Riesz(0.0)).engine == "compiled"
    slow = "n = 4999 is below 5000: compiling would not repay"
    assert explain(points(4999, 3), kernel=Riesz(0.0)).refused == {"compiled": slow}
    monkeypatch.setattr(_dispatch._compiled._inductor, "compiler_missing", lambda _: "no g++")
    assert explain(points(5000, 3), kernel=Riesz(0.0)).refused == {"compiled": "no g++"}


@pytest.mark.parametrize(
    ("engine", "n", "d", "s"),
    [
        ("reference", 40, 3, 1.0),
        ("blockwise", 40, 3, 1.0),
        ("blockwise", 700, 40, 1.0),
        ("blockwise", 700, 40, 0.0),
        ("compiled", 700, 3, 1.0),
        pytest.param("compiled", 700, 3, -1.0, marks=pytest.mark.slow),
        pytest.param("compiled", 700, 8, 2.0, marks=pytest.mark.slow),
        ("circle", 300, 2, -1.0),
        ("moments", 300, 5, -2.0),
    ],
)
def test_what_is_not_a_number_is_never_dropped(engine, n, d, s):
    x = torch.stack([points(n, d, seed=1), points(n, d, seed=2)])
    x[0, 7] = torch.nan
    found = pair_reduce(x, kernel=Riesz(s), engine=engine)
    assert found.isnan().tolist() == [True, False]


@pytest.mark.parametrize("loops", [False, True], indirect=True)
def test_a_row_that_is_no_number_is_not_dropped_from_potentials(loops):
    x, y = points(20, 3, batch=2), points(30, 3, seed=1, batch=2)
    x[0, 7] = torch.nan
    potentials = pair_reduce(x, y, kernel=Riesz(1.0), op="rows")
    assert potentials.isnan().nonzero().tolist() == [[0, 7]]
    potentials = pair_reduce(y, x, kernel=Riesz(1.0), op="rows")
    assert potentials.isnan().all(dim=1).tolist() == [True, False]


@pytest.mark.parametrize("engine", ["auto", "reference", "blockwise", "compiled", "moments"])
def test_no_points_have_no_pairs(engine):
    kernels = [Riesz(-2.0), Riesz(-4.0)]
    x = torch.zeros(2, 0, 3, requires_grad=True)
    total = pair_reduce(x, kernel=kernels, engine=engine)
    assert total.tolist() == [[0.0, 0.0]] * 2
    total.sum().backward()
    assert x.grad.shape == (2, 0, 3)
    if engine != "moments":
        one = pair_reduce(points(1, 3), kernel=kernels, engine=engine)
        assert one.tolist() == [0.0, 0.0]


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("engine", ["blockwise", "compiled"])
def test_forward_mode_is_refused_rather_than_lost(engine):
    x = points(20, 3)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        with pytest.raises(NotImplementedError, match="no forward mode"):
            pair_reduce(dual, kernel=Riesz(1.0), engine=engine)
        others = points(5, 3, seed=1)
        for pair in ((dual,), (dual, others), (others, dual)):
            with pytest.raises(NotImplementedError, match="no forward mode"):
                pair_reduce(*pair, kernel=Riesz(1.0), op="rows")
        found = pair_reduce(dual, kernel=Riesz(1.0), engine="reference")
        assert torch.autograd.forward_ad.unpack_dual(found).tangent is not None


def test_sums_over_an_empty_other_set_are_zero():
    x = points(4, 3)
    assert pair_reduce(x, x[:0], kernel=Riesz(1.0), op="rows").tolist() == [0.0] * 4
    assert float(pair_reduce(x, x[:0], kernel=Riesz(1.0))) == 0.0


@pytest.mark.parametrize(
    "s", [1.0, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.0, 2.0, 3.0))]
)
@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-20), (torch.float64, 1e-158)])
@pytest.mark.parametrize("engine", ["reference", "blockwise", "compiled"])
def test_points_too_close_for_digits_coincide_in_every_engine(engine, dtype, apart, s):
    points = torch.tensor([[1, 0, 0], [1, apart, 0], [0, 1, 0]], dtype=dtype, requires_grad=True)
    total = pair_reduce(points, kernel=Riesz(s), engine=engine)
    assert total == torch.inf
    (gradient,) = torch.autograd.grad(total, points)
    assert bool(torch.isfinite(gradient).all())


def test_second_sets_that_do_not_fit_are_refused():
    points = torch.eye(3)
    for other, message in [
        (torch.eye(4), "must have the leading axes and the dimension of points"),
        (torch.eye(3)[None], "must have the leading axes and the dimension of points"),
    ]:
        with pytest.raises(ValueError, match=message):
            pair_reduce(points, other, kernel=Riesz(1.0))
    with pytest.raises(TypeError, match="must have the type and device of points"):
        pair_reduce(points, torch.eye(3, dtype=torch.float64), kernel=Riesz(1.0))
    with pytest.raises(ValueError, match="must be a kernel or a sequence of some"):
        pair_reduce(points, kernel=[])
    with pytest.raises(ValueError, match=r"must have shape \(..., n, d\)"):
        pair_reduce(points[0], kernel=Riesz(1.0))


@pytest.mark.parametrize("engine", ["blockwise", "compiled"])
def test_forces_between_float32_points_whose_slope_overflows(engine):
    x = torch.tensor([[1, 0, 0], [1, 1e-7, 0], [0, 0, 1.0]], requires_grad=True)
    wide = x.detach().double().requires_grad_()
    for leaf in (x, wide):
        pair_reduce(leaf, kernel=Riesz(4.0), engine=engine).backward()
    torch.testing.assert_close(x.grad, wide.grad.float())
    assert float(x.grad.abs().max()) > 1e35


@pytest.mark.parametrize("s", [4.0, 6.0])
def test_forces_whose_slope_overflows_under_weights_and_between_two_sets(s):
    x = torch.tensor([[1, 0, 0], [1, 1e-7, 0], [0, 0, 1.0]])
    largest = torch.finfo(x.dtype).max

    def gradients(x):
        left, right, w = x[:1].clone(), x[1:].clone(), torch.ones(3, dtype=x.dtype)
        leaves = [part.requires_grad_() for part in (x.clone(), left, right)]
        total = pair_reduce(leaves[0], kernel=Riesz(s), weights=w)
        return torch.autograd.grad(total + pair_reduce(*leaves[1:], kernel=Riesz(s)), leaves)

    for narrow, wide in zip(gradients(x), gradients(x.double()), strict=True):
        torch.testing.assert_close(narrow, wide.clamp(-largest, largest).float())


@pytest.mark.parametrize("engine", ["blockwise", "compiled", "moments", "reference"])
def test_many_gradients_in_one_pass(engine):
    """As `torch.autograd.functional.jacobian` asks for them with vectorize=True."""
    x = points(9, 3, batch=3).requires_grad_()
    total = pair_reduce(x, kernel=Riesz(-2.0), engine=engine)
    every = torch.eye(3, dtype=torch.float64)
    (together,) = torch.autograd.grad(total, x, every, is_grads_batched=True, retain_graph=True)
    for upstream, found in zip(every, together, strict=True):
        (alone,) = torch.autograd.grad(total, x, upstream, retain_graph=True)
        torch.testing.assert_close(found, alone, rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    "kernel",
    [Gaussian(300.0), Gaussian(300.0).antipodal(), Poisson(0.99, 16)],
    ids=lambda kernel: kernel.label,
)
@pytest.mark.parametrize("loops", [False, True], indirect=True)
def test_steep_kernels_of_close_float32_points_keep_their_digits(kernel, loops):
    """At a width of 1/300 a rounding of the cosine is a hundredth of the kernel."""
    x = points(40, 16)
    near = sphuni.normalize(x + 1e-3 * points(40, 16, seed=1)) * (-1) ** torch.arange(40)[:, None]
    more = sphuni.normalize(x + 1e-3 * points(40, 16, seed=2))
    narrow = torch.cat([x, near, more]).float()
    found = []
    for rows in (narrow, sphuni.normalize(narrow.double())):
        leaf = rows.clone().requires_grad_()
        pair_reduce(leaf, kernel=kernel, engine="blockwise").backward()
        weighted = pair_reduce(rows, kernel=kernel, weights=torch.ones(120).to(rows))
        found.append((leaf.grad.double(), weighted.double()))
    assert float((found[0][0] - found[1][0]).norm()) < 1e-5 * float(found[1][0].norm())
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-6, atol=0)


def test_many_gradients_of_row_sums_at_once_are_refused_with_the_remedy():
    x = points(8, 10)

    def rows(x):
        return pair_reduce(x, kernel=Riesz(1.0), op="rows")

    with pytest.raises(NotImplementedError, match="vectorize=False"):
        torch.autograd.functional.jacobian(rows, x, vectorize=True)
    assert torch.autograd.functional.jacobian(rows, x).shape == (8, 8, 10)


@pytest.mark.parametrize("d", [3, 20])
@pytest.mark.parametrize("n", [40, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_forces_beyond_the_range_of_numbers_leave_the_other_gradients_alone(n, d, dtype):
    kernel, x = Riesz(150.0), points(n, d)
    x[1] = sphuni.normalize(x[0] + 1e-3 * x[2])
    for call in (
        lambda x: pair_reduce(x, kernel=kernel),
        lambda x: pair_reduce(x, kernel=kernel, op="rows").sum(),
    ):
        leaf = x.to(dtype).requires_grad_()
        value = call(leaf)
        assert value == torch.inf
        value.backward()
        assert bool(leaf.grad.isfinite().all())


def test_an_upstream_gradient_that_is_no_number_stays_one():
    leaf = points(9, 4).requires_grad_()
    (pair_reduce(leaf, kernel=Riesz(1.0), op="rows").sum() * torch.nan).backward()
    assert bool(leaf.grad.isnan().all())


@pytest.mark.parametrize(("dtype", "passes"), [(torch.float64, 1), (torch.float32, 2)])
def test_lost_row_gradients_are_taken_again_in_a_wider_type_only(dtype, passes, monkeypatch):
    x = points(12, 3).to(dtype).requires_grad_()
    sums = pair_reduce(x, kernel=Riesz(1.0), op="rows", engine="blockwise")
    (plain,) = torch.autograd.grad(sums.sum(), x, retain_graph=True)
    taken, gradients = [], _blockwise._gradients

    def watched(x, *rest):
        taken.append(x.dtype)
        return gradients(x, *rest)

    monkeypatch.setattr(_blockwise, "_gradients", watched)
    monkeypatch.setattr(_blockwise, "lost", lambda *parts: True)
    (again,) = torch.autograd.grad(sums.sum(), x)
    assert taken == [dtype, torch.float64][:passes]
    torch.testing.assert_close(again, plain)


def test_arrays_of_other_libraries_are_refused_by_name():
    x = torch.eye(3, dtype=torch.float64)
    with pytest.raises(TypeError, match=r"points must be a torch tensor; got ndarray. Pass torch"):
        pair_reduce(x.numpy(), kernel=Riesz(1.0))
    with pytest.raises(TypeError, match="other must be a torch tensor; got list"):
        pair_reduce(x, [[1.0, 0.0, 0.0]], kernel=Riesz(1.0))
    with pytest.raises(TypeError, match="weights must be a torch tensor; got ndarray"):
        pair_reduce(x, kernel=Riesz(1.0), weights=x[0].numpy())
