"""Every objective, minimised alone, reaches its own optimum set.

The sets: the simplex for full-space objectives and n <= d + 1; orthogonal rows for half-space ones
and n <= d; a zero sum for R-MHP and for MHP with n <= d; 0 in the convex hull for MHC with n <= d;
the records of `configurations` for n > d + 1. Compressed objectives have the set of the objective
inside where the projection can keep all angles.
"""

import functools
import math

import pytest
import torch

import sphuni as su
import sphuni.nn as snn
from sphuni.nn import functional as F

F64 = torch.float64


def descend(objective, n, d, *, seed=0, steps=200, lr=0.05):
    """Adam with a cosine schedule from random rows; returns directions."""
    w = torch.randn(n, d, dtype=F64, generator=torch.Generator().manual_seed(seed))
    w.requires_grad_()
    optimizer = torch.optim.Adam([w], lr=lr)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        objective(w).backward()
        optimizer.step()
    return su.normalize(w.detach())


def off_diagonal(x):
    gram = x @ x.T
    return gram[~torch.eye(len(x), dtype=torch.bool)]


FULL = {
    "mhe": F.mhe,
    "log": lambda w: F.mhe(w, s=0),
    "geodesic": lambda w: F.mhe(w, metric="geodesic"),
    "mhs": F.mhs,
    "soft mhs": lambda w: F.mhs(w, minimum="soft", sharpness=50.0),
    "top-k mhs": lambda w: F.mhs(w, minimum="top-k", k=3),
    "row-mean mhs": lambda w: F.mhs(w, minimum="row-mean"),
    "mgd": F.mgd,
    "uniformity": F.uniformity,
    "koleo": F.koleo,
}
HALF = {
    "hs-mhe": lambda w: F.mhe(w, half_space=True),
    "hs-mhs": lambda w: F.mhs(w, half_space=True),
    "soft hs-mhs": lambda w: F.mhs(w, half_space=True, minimum="soft", sharpness=50.0),
    "top-k hs-mhs": lambda w: F.mhs(w, half_space=True, minimum="top-k", k=3),
    "hs-mgd": lambda w: F.mgd(w, half_space=True),
    "so": F.so,
    "dso": F.dso,
    "srip": lambda w: F.srip(w, exact=True),
    "orthogonal": F.orthogonal,
    "mutual-coherence": F.mutual_coherence,
    "hs-uniformity": lambda w: F.uniformity(w, half_space=True),
}
VARIANTS = {"log", "soft mhs", "top-k mhs", "row-mean mhs", "dso", "hs-uniformity"}
VARIANTS |= {"soft hs-mhs", "top-k hs-mhs"}


def every_objective(objectives):
    """One of each kind in the fast tests, its variants in the slow ones."""
    marks = {name: pytest.mark.slow if name in VARIANTS else () for name in objectives}
    cases = [pytest.param(name, marks=marks[name]) for name in objectives]
    return pytest.mark.parametrize("name", cases)


@every_objective(FULL)
def test_full_space_objectives_reach_the_simplex(name):
    cosines = off_diagonal(descend(FULL[name], 5, 6))
    torch.testing.assert_close(cosines, torch.full_like(cosines, -1 / 4), atol=5e-3, rtol=0)


@every_objective(HALF)
def test_half_space_objectives_reach_orthogonality(name):
    assert off_diagonal(descend(HALF[name], 5, 6)).abs().max() < 2e-2


def test_relaxed_polarization_reaches_zero_sum_only():
    x = descend(F.r_mhp, 5, 6)
    assert x.sum(0).norm() < 1e-2
    assert off_diagonal(x).std() > 0.05


@pytest.mark.slow
def test_polarization_reaches_a_zero_sum_and_covering_a_right_angle():
    for name, measure, best in (
        ("mhp", lambda x: x.sum(0).norm().item(), 0.0),
        ("mhc", lambda x: su.covering_radius(x).radius.item(), math.pi / 2),
    ):
        reached = measure(descend(snn.build(name), 5, 6))
        assert reached == pytest.approx(best, abs=0.05), name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mhp", "mhc"])
def test_pole_objectives_reach_the_simplex_of_one_row_more_than_dimensions(name):
    cosines = off_diagonal(descend(snn.build(name, n_aux=16), 4, 3, steps=800))
    torch.testing.assert_close(cosines, torch.full_like(cosines, -1 / 3), atol=2e-2, rtol=0)


@pytest.mark.parametrize("name", ["hs-mhp", pytest.param("hs-mhc", marks=pytest.mark.slow)])
def test_half_space_pole_objectives_spread_the_lines_of_their_projection(name):
    """Three lines in the plane that they are projected to, at 60 degrees."""
    objective = snn.build(name, shape=(3, 5), n_aux=16)
    image = objective.read(descend(objective, 3, 5)).image[0]
    assert off_diagonal(su.normalize(image)).abs().tolist() == pytest.approx([0.5] * 6, abs=2e-2)


@pytest.mark.parametrize("name", ["rp-comhe", "ap-comhe", "group-comhe"])
@pytest.mark.parametrize("inner", ["hs-mhe", pytest.param("mhe", marks=pytest.mark.slow)])
def test_compressed_objectives_have_the_optimum_of_the_objective_inside(name, inner):
    """Where a projection to k >= n dimensions can keep all angles."""
    cosines = off_diagonal(descend(snn.build(name, k=8, objective=inner), 5, 12))
    best = 0.0 if inner == "hs-mhe" else -1 / 4
    torch.testing.assert_close(cosines, torch.full_like(cosines, best), atol=0.06, rtol=0)


@pytest.mark.parametrize("name", ["rp-comhe", pytest.param("adv-comhe", marks=pytest.mark.slow)])
def test_a_projection_at_rest_reaches_the_icosahedron(name):
    rest = {"C": 1, "redraw_every": 0} if name == "rp-comhe" else {"inner_steps": 0}
    objective = snn.build(name, k=3, objective="mhe", s=1.0, **rest)
    reached = objective(descend(objective, 12, 20, steps=400)).item()
    best = F.mhe(torch.from_numpy(su.configurations.construct("icosahedron")), s=1.0).item()
    assert reached == pytest.approx(best, rel=1e-4)


def test_an_adversary_that_moves_far_enough_beats_every_weight():
    """So adversarial CoMHE has no optimum set; what it does comes from few inner steps."""
    orthogonal = torch.eye(5, 12, dtype=F64)
    objective = snn.build("adv-comhe", k=3)
    drawn = objective.eval()(orthogonal).item()
    objective.train()
    assert max(objective(orthogonal).item() for _ in range(60)) > 10 * drawn


RECORDS = {
    "thomson": (F.mhe, 1.0, lambda x: su.riesz_energy(x, s=1.0, reduction="sum"), 1e-5),
    "log": (F.mhe, 0.0, lambda x: su.riesz_energy(x, s=0.0, reduction="sum"), 1e-5),
    "tammes": (F.mhs, None, lambda x: su.separation(x).distance, 1e-4),
    "covering": ("mhc", None, lambda x: su.covering_radius(x).radius, 1e-2),
    "polarization": ("mhp", 2.0, lambda x: su.polarization(x, s=2.0).value, 1e-3),
}


@pytest.mark.slow
@pytest.mark.parametrize("problem", RECORDS)
def test_over_complete_optima_are_the_records(problem):
    name, s, measure, within = RECORDS[problem]
    options = {} if s is None else {"s": s}
    if isinstance(name, str):
        objective = snn.build(name, n_aux=16, **options)
    else:
        objective = functools.partial(name, **options)
    best = su.configurations.record(problem, n=7, d=3, s=s).value
    reached = measure(descend(objective, 7, 3, steps=1500)).item()
    assert reached == pytest.approx(best, rel=within)
