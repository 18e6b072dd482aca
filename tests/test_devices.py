"""Where tensors are made: beside the caller's, and nowhere else.

`torch.set_default_device` is for the caller's own tensors: nothing of the library follows it. What
is done on a GPU is tried on a pretended device, see there.
"""

import dataclasses

import pytest
import torch
from pretended_device import brought_back, pretended_device, sent
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import sphuni as su
from sphuni.pairwise import _products, nearest, pair_reduce
from sphuni.pairwise._schedule import block_size, run_tiles


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
    total = sum(one.double().nan_to_num(0.0, 0.0, 0.0).sum() for one in found if one.requires_grad)
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
