"""Where tensors are made: beside the caller's, and nowhere else.

`torch.set_default_device` is for the caller's own tensors: nothing of the library follows it. What
is done on a GPU is tried on a pretended device, see there.
"""

import dataclasses
import functools

import pytest
import torch
from pretended_device import (
    brought_back,
    counted,
    device_without_float64,
    pretended_device,
    sent,
)
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import sphuni as su
from sphuni.nn.hook import regularizer
from sphuni.pairwise import nearest, pair_reduce
from sphuni.pairwise.tiles import _products
from sphuni.pairwise.tiles._schedule import block_size, run_tiles


def points():
    return su.random_points(30, 3, rng=0)


def penalty(name):
    with torch.device("cpu"):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 12), nn.Linear(12, 8))
    loss = su.nn.regularize(model, name)()
    loss.backward()
    return float(loss.detach()), [
        float(one.grad.sum()) for one in model.parameters() if one.grad is not None
    ]


CALLS = {
    "energy": lambda: float(su.riesz_energy(points(), s=1)),
    "polarization": lambda: float(su.polarization(points(), s=1).value),
    "covering": lambda: float(su.covering_radius(su.random_points(20, 5, rng=1)).radius),
    "bound": lambda: su.energy_bound(20, 3, kernel=su.Riesz(1.0)).value,
    "tests": lambda: su.stats.uniformity_tests(points(), ["riesz", "packing", "bingham"]),
    "circle": lambda: su.stats.uniformity_test(su.random_points(20, 2, rng=0), "rothman").pvalue,
    "power": lambda: su.stats.size("rayleigh", n=20, d=3, n_sets=50, rng=0),
    "tammes": lambda: su.configurations.optimize("tammes", n=7, restarts=2).value,
    "thomson": lambda: su.configurations.optimize("thomson", n=6, d=5, restarts=2).value,
    "polarizing": lambda: su.configurations.optimize("polarization", n=5, s=1, restarts=2).value,
    "analysis": lambda: (
        su.analysis.analyze({"a": torch.eye(6, 4, device="cpu")}).layers[0].max_cosine
    ),
    **{name: lambda name=name: penalty(name) for name in ("mhe", "rp-comhe", "mhp", "srip", "mhs")},
}


@pytest.mark.parametrize("name", CALLS)
def test_another_default_device_changes_nothing(name):
    expected = CALLS[name]()
    with torch.device("meta"):
        found = CALLS[name]()
    assert str(found) == str(expected)


COULOMB, GAUSSIAN = su.Riesz(1.0), su.Gaussian(1.0)
MEASURES = {
    "energy": lambda x: su.riesz_energy(x, s=1),
    "lines": lambda x: su.riesz_energy(x, s=2, metric="geodesic", antipodal=True),
    "weights": lambda x: su.riesz_energy(x, weights=x[..., 0].detach().abs()),
    "moments": lambda x: su.riesz_energy(x, s=-2),
    "circle": lambda x: su.riesz_energy(x, s=-1),
    "rows": lambda x: pair_reduce(x, kernel=[COULOMB, GAUSSIAN], op="rows"),
    "potential": lambda x: su.potential(x[..., :9, :], x, kernel=COULOMB),
    "separation": lambda x: su.separation(x, antipodal=True),
    "nearest": lambda x: nearest(x, k=2),
    "covering": su.covering_radius,
    "mesh": lambda x: su.mesh_ratio(x[..., :9, :]),
    "polarization": lambda x: su.polarization(x, s=-2.0),
    "determinant": lambda x: su.gram_logdet(x, kernel=su.Laplace(1.0), antipodal=True),
    "caps": su.cap_discrepancy,
    "design": lambda x: su.design_residual(x, t=4),
    "frame": su.frame_potential,
    "test": lambda x: su.stats.uniformity_test(x, "bingham"),
    "mhe": lambda x: su.nn.mhe(x, half_space=True),
    "mhs": su.nn.mhs,
    "mhp": su.nn.r_mhp,
    "mgd": su.nn.mgd,
    "so": su.nn.so,
    "koleo": su.nn.koleo,
    "uniformity": su.nn.uniformity,
}


def tensors_of(result):
    if isinstance(result, torch.Tensor):
        return [result]
    found = [getattr(result, field.name) for field in dataclasses.fields(result)]
    return [value for value in found if isinstance(value, torch.Tensor)]


def values_and_gradient(measure, x):
    found = tensors_of(measure(x))
    total = sum(one.nan_to_num(0.0, 0.0, 0.0).sum() for one in found if one.requires_grad)
    (gradient,) = torch.autograd.grad(total, x)
    return [*(one.detach() for one in found), gradient]


@pytest.mark.parametrize("batch", [(), (2,)], ids=["single", "batch"])
@pytest.mark.parametrize("d", [2, 3, 12])
@pytest.mark.parametrize("name", MEASURES)
def test_elsewhere_the_same_comes_out_and_stays_there(name, d, batch, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    x = su.normalize(torch.randn(*batch, 30, d, generator=generator, dtype=torch.float64))
    expected = values_and_gradient(MEASURES[name], x.clone().requires_grad_())
    with pretended_device(monkeypatch):
        found = values_and_gradient(MEASURES[name], sent(x).requires_grad_())
    for there, here in zip(found, expected, strict=True):
        torch.testing.assert_close(brought_back(there), here, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("d", [2, 3, 12])
@pytest.mark.parametrize("name", MEASURES)
def test_a_device_without_float64_gets_what_the_processor_computes(name, d, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    x = su.normalize(torch.randn(2, 30, d, generator=generator))
    expected = values_and_gradient(MEASURES[name], x.clone().requires_grad_())
    with device_without_float64(monkeypatch):
        found = values_and_gradient(MEASURES[name], sent(x).requires_grad_())
    for there, here in zip(found, expected, strict=True):
        numbers = brought_back(there)
        torch.testing.assert_close(numbers, here.to(numbers.dtype), equal_nan=True)


def test_points_on_two_devices_are_refused_where_one_lacks_float64(monkeypatch):
    x = su.normalize(torch.randn(9, 3))
    with device_without_float64(monkeypatch), pytest.raises(TypeError, match="field_points is on"):
        su.potential(sent(x), x, kernel=COULOMB)


def tiles(device, *shape, other=None):
    """The tiles of the pairs of a set, or of two."""
    found = []
    with FakeTensorMode():
        x = torch.empty(shape, device=device)
        y = None if other is None else torch.empty(other, device=device)
        run_tiles(found.append, x, y)
    return found


def test_tiles_on_a_gpu_are_large_enough_for_it():
    assert len(tiles("cuda", 1, 65_536, 64)) == 32 * 33 // 2
    assert len(tiles("cuda", 1, 2048, 64)) == 1
    assert len(tiles("cuda", 10_000, 100, 9)) == 24
    assert len(tiles("cuda", 1, 5000, 3, other=(1, 100, 3))) == 3
    with su.limit_memory("100M"):
        assert len(tiles("cuda", 1, 2048, 64)) == len(tiles("cpu", 1, 2048, 64)) == 6


@pytest.mark.parametrize("n", [1, 2047, 2048, 2049, 9001])
def test_tiles_on_a_gpu_meet_every_pair_once(n):
    rows = block_size(n, "cuda")
    assert rows <= 2048
    edges = {(part.start, part.stop) for task in tiles("cuda", 1, n, 9) for part in task[1:3]}
    assert sorted(edges) == [(start, min(start + rows, n)) for start in range(0, n, rows)]
    met = [(task.left.start, task.right.start) for task in tiles("cuda", 1, n, 9)]
    blocks = range(0, n, rows)
    assert sorted(met) == [(a, b) for a in blocks for b in blocks if a <= b]


def test_products_of_a_set_with_itself_are_one_operation_on_a_gpu(monkeypatch):
    made, x = [], torch.eye(512)[None]
    monkeypatch.setattr(_products, "product", lambda x, y: made.append(x.shape) or x @ y.mT)
    with pretended_device(monkeypatch):
        found = _products.own_products(sent(x))
    assert torch.equal(brought_back(found), x)
    assert made == [(512, 512)]


def network(dtype, *, ordinary):
    """Layers of several shapes; where they are not `ordinary` each has its own oddity."""
    torch.manual_seed(0)
    shapes = [(12, 20), (20, 12), (12, 20), (15, 30), (9, 40), (12, 20), (10, 10), (8, 9)]
    rows = [torch.randn(shape, dtype=dtype) for shape in shapes]
    if not ordinary:
        rows[0][3] = 0.0
        rows[1][5] = 2 * rows[1][2]
        rows[2][7] = -rows[2][4]
        rows[3][1] = rows[3][0] + 1e-3
        rows[4] *= 1e-20
        rows[6][0] *= 1e18
    layers = [nn.Linear(d, n, bias=False, dtype=dtype) for n, d in shapes]
    for layer, one in zip(layers, rows, strict=True):
        layer.weight.data = one
    return nn.Sequential(*layers)


PENALTIES = {
    "mhe": functools.partial(su.nn.regularize, method="mhe"),
    "lines": functools.partial(su.nn.regularize, method="hs-mhe"),
    "angles": functools.partial(su.nn.regularize, method="hs-mhe", s=1, metric="geodesic"),
    "distances": functools.partial(su.nn.regularize, method="mhe", s=-1),
    "floor": functools.partial(su.nn.regularize, method="hs-mhe", s=0, floor=0.5),
    "uniformity": functools.partial(su.nn.regularize, method="uniformity"),
}


def penalise(model, reg):
    """Penalty and gradients; one way, as a graph calls it, or straight into the gradients."""
    if reg.mode == "decoupled":
        reg.add_gradients()
        return [one.grad for one in model.parameters()]
    reg().backward()
    opaque = reg.penalty_and_gradients([one.detach() for one in model.parameters()])
    return [*(one.grad for one in model.parameters()), *opaque]


def moved(model):
    for layer in model:
        layer.weight = nn.Parameter(sent(layer.weight))


@pytest.mark.parametrize("mode", ["graph", "decoupled"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("ordinary", [True, False], ids=["ordinary", "odd"])
@pytest.mark.parametrize("method", PENALTIES)
def test_penalties_elsewhere_are_those_of_the_processor(method, ordinary, dtype, mode, monkeypatch):
    model, twin = network(dtype, ordinary=ordinary), network(dtype, ordinary=ordinary)
    first, second = (PENALTIES[method](one, mode=mode) for one in (model, twin))
    expected = penalise(model, first)
    with pretended_device(monkeypatch):
        moved(twin)
        found = penalise(twin, second)
    digits = 1e-3 if dtype == torch.float32 else 1e-9
    for there, here in zip(found, expected, strict=True):
        scale = float(here.abs().max())
        torch.testing.assert_close(brought_back(there), here, rtol=digits, atol=digits * scale)
    assert [one.draws for one in second.objectives] == [one.draws for one in first.objectives]


@pytest.mark.parametrize("mode", ["graph", "decoupled"])
@pytest.mark.parametrize("method", ["hs-mhe", "mhs", "mgd", "r-mhp", "srip", "uniformity"])
def test_penalties_on_a_device_without_float64(method, mode, monkeypatch):
    model, twin = (network(torch.float32, ordinary=True)[:4] for _ in range(2))
    first, second = (su.nn.regularize(one, method, mode=mode) for one in (model, twin))
    expected = penalise(model, first)
    with device_without_float64(monkeypatch):
        moved(twin)
        found = penalise(twin, second)
        assert second.summary() == first.summary()
    for there, here in zip(found, expected, strict=True):
        if here is None:  # orthogonality leaves the output layer out
            assert there is None
            continue
        scale = float(here.abs().max())
        torch.testing.assert_close(brought_back(there), here, rtol=1e-3, atol=1e-3 * scale)


def work_of(model, monkeypatch, method="lines", mode="graph"):
    """What the second call of a penalty does on the device."""
    reg = PENALTIES[method](model, mode=mode)
    with pretended_device(monkeypatch):
        moved(model)
        penalise(model, reg)
        with counted() as count:
            reg.add_gradients() if mode == "decoupled" else reg().backward()
    return count


@pytest.mark.parametrize("mode", ["graph", "decoupled"])
@pytest.mark.parametrize("method", [name for name in PENALTIES if name != "floor"])
def test_a_network_elsewhere_is_waited_for_once_not_for_each_layer(method, mode, monkeypatch):
    model = network(torch.float32, ordinary=True)
    assert work_of(model, monkeypatch, method, mode).waits == 1


def test_a_compiled_network_elsewhere_is_waited_for_once(monkeypatch):
    model = network(torch.float32, ordinary=True)
    reg = PENALTIES["lines"](model)
    with pretended_device(monkeypatch):
        moved(model)
        with counted() as count:
            reg.penalty_and_gradients([one.detach() for one in model.parameters()])
    assert count.waits == 1


def residual_network(blocks):
    """Rows of the layers of a residual network, an eighth as wide."""
    shapes = [(8, 27)]
    for before, width in [(8, 8), (8, 16), (16, 32), (32, 64)]:
        shortcut = [(width, before)] if before != width and before > 8 else []
        shapes += [(width, 9 * before), *((2 * blocks - 1) * [(width, 9 * width)]), *shortcut]
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(d, n, bias=False) for n, d in [*shapes, (100, 64)]))


@pytest.mark.parametrize(("mode", "most", "each"), [("graph", 160, 3), ("decoupled", 140, 2)])
def test_layers_elsewhere_take_few_operations(mode, most, each, monkeypatch):
    few, many = (
        work_of(residual_network(blocks), monkeypatch, mode=mode).started for blocks in (2, 4)
    )
    assert few <= most
    assert many == few + 16 * each


def test_only_layers_elsewhere_that_are_out_of_the_ordinary_are_looked_at_closely(monkeypatch):
    def waits(*, ordinary, layers):
        model = network(torch.float32, ordinary=True)[:layers]
        if not ordinary:
            model[1].weight.data[1] = model[1].weight.data[0]
        return work_of(model, monkeypatch).waits

    assert waits(ordinary=False, layers=8) == waits(ordinary=False, layers=3) > 1
    assert waits(ordinary=True, layers=8) == waits(ordinary=True, layers=3) == 1


def test_many_numbers_elsewhere_do_not_wait_for_one_another(monkeypatch):
    model, twin = (network(torch.float64, ordinary=True) for _ in range(2))
    monkeypatch.setattr(regularizer, "LARGEST_HELD", 600)
    expected = penalise(model, PENALTIES["lines"](model, mode="decoupled"))
    reg = PENALTIES["lines"](twin, mode="decoupled")
    with pretended_device(monkeypatch):
        moved(twin)
        with counted() as count:
            found = penalise(twin, reg)
    assert 1 < count.waits < len(twin)
    for there, here in zip(found, expected, strict=True):
        torch.testing.assert_close(brought_back(there), here)


def test_layers_elsewhere_may_be_of_two_types(monkeypatch):
    model, twin = (
        nn.Sequential(
            *network(torch.float32, ordinary=True), *network(torch.float64, ordinary=True)
        )
        for _ in range(2)
    )
    expected = penalise(model, PENALTIES["lines"](model, mode="decoupled"))
    reg = PENALTIES["lines"](twin, mode="decoupled")
    with pretended_device(monkeypatch):
        moved(twin)
        found = penalise(twin, reg)
    for there, here in zip(found, expected, strict=True):
        torch.testing.assert_close(brought_back(there), here, rtol=1e-4, atol=1e-7)
