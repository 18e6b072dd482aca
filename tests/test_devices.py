"""`torch.set_default_device` is for the caller's own tensors: nothing of the library follows it."""

import pytest
import torch
from torch import nn

import sphuni as su


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
