"""Optimisers that try to beat every bound, from random starts and with their own formulas."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.spatial import ConvexHull

from sphuni.geometry.bounds import (
    covering_bound,
    discrepancy_bound,
    energy_bound,
    logdet_bound,
    polarization_bound,
    separation_bound,
)
from sphuni.kernels import Dirichlet, Gaussian, GegenbauerSeries, Laplace, Riesz

STARTS = 8


def some_slow(fast, slow):
    """Parameters of which the second list runs with the slow tests only."""
    return [*fast, *(pytest.param(*row, marks=pytest.mark.slow) for row in slow)]


SIZES = some_slow(
    [(4, 3), (5, 2)],
    [(2, 3), (7, 3), (8, 4), (5, 3), (6, 3), (12, 3), (11, 4), (9, 6), (20, 3), (16, 5), (27, 6)],
)
MONOTONE = [Riesz(s) for s in (-1.0, 0.0, 1.0, 2.0, 3.5)] + [Gaussian(1.0)]
OTHERS = [
    *(Riesz(s, metric="geodesic") for s in (-2.0, -1.0, -0.5, 0.0, 1.0, 4.0)),
    Riesz(-3.0),
    GegenbauerSeries((0.0, 0.3, -1.0, 0.4), 3),
    Dirichlet(degree=3),
]


def unit(x):
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)


def optimise(objective, n, d, *, seed=0, starts=STARTS, iterations=400, first=None):
    """Minimise `objective` of `starts` sets at once; the sum over sets separates."""
    generator = np.random.default_rng([n, d, seed])

    def value_and_gradient(flat):
        x = torch.tensor(flat.reshape(starts, n, d), requires_grad=True)
        total = objective(unit(x)).sum()
        (gradient,) = torch.autograd.grad(total, x)
        return total.item(), gradient.numpy().ravel()

    if first is None:
        first = generator.standard_normal((starts, n, d))
    options = {"maxiter": iterations, "maxfun": 2 * iterations, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(
        value_and_gradient, np.ravel(first), jac=True, method="L-BFGS-B", options=options
    )
    return unit(torch.tensor(found.x.reshape(starts, n, d)))


def pair_values(kernel, points, antipodal):
    """Energies (..., ) by the definition, over the 2 n points when antipodal."""
    if antipodal:
        points = torch.cat([points, -points], dim=-2)
    n = points.shape[-2]
    i, j = torch.triu_indices(n, n, 1)
    near = (points[..., i, :] - points[..., j, :]).square().sum(-1)
    far = (points[..., i, :] + points[..., j, :]).square().sum(-1)
    if antipodal:
        opposite = j == i + n // 2
        # Opposite points never move relative to each other: constants keep the gradient finite.
        near, far = torch.where(opposite, 4.0, near), torch.where(opposite, 1e-300, far)
    return kernel.value(near, far).sum(-1)


def check_energy(n, d, kernel, antipodal):
    # Starting from spread points: near-coincident pairs would rule the line search of all sets.
    spread = optimise(lambda x: pair_values(Riesz(0.0), x, antipodal), n, d, iterations=40)
    points = optimise(lambda x: pair_values(kernel, x, antipodal), n, d, first=spread)
    best = float(pair_values(kernel, points, antipodal).min())
    bound = energy_bound(n, d, kernel=kernel, antipodal=antipodal)
    assert bound.value <= best + 1e-11 * max(abs(best), 1)
    if bound.attained:
        assert best == pytest.approx(bound.value, rel=1e-6, abs=1e-6)
    return bound.value, best


@pytest.mark.parametrize("antipodal", [False, True])
@pytest.mark.parametrize("kernel", MONOTONE, ids=lambda kernel: kernel.label)
@pytest.mark.parametrize(("n", "d"), SIZES)
def test_energy_of_monotone_kernels(n, d, kernel, antipodal):
    value, best = check_energy(n, d, kernel, antipodal)
    assert best - value < 0.05 * max(abs(best), n)


@pytest.mark.parametrize("antipodal", [False, True])
@pytest.mark.parametrize("kernel", OTHERS, ids=lambda kernel: kernel.label)
@pytest.mark.parametrize(("n", "d"), some_slow([(3, 3)], [(5, 3), (6, 3), (9, 3), (7, 4)]))
def test_energy_of_other_kernels(n, d, kernel, antipodal):
    check_energy(n, d, kernel, antipodal)


@pytest.mark.slow
def test_universal_bound_would_fail_for_geodesic_kernels():
    """The linear programme is needed: the nodes' value can exceed a real energy."""

    class Claimed(Riesz):
        absolutely_monotone = True

    kernel = Riesz(0.0, metric="geodesic")
    excess = []
    for n in (5, 7):
        points = optimise(lambda x: pair_values(kernel, x, False), n, 3)
        best = float(pair_values(kernel, points, False).min())
        excess.append(energy_bound(n, 3, kernel=Claimed(0.0, metric="geodesic")).value - best)
        assert energy_bound(n, 3, kernel=kernel).value <= best
    assert max(excess) > 1e-6


def smallest_angle(points, antipodal):
    gram = points @ points.mT
    gram = gram.abs() if antipodal else gram
    gram.diagonal(dim1=-2, dim2=-1).fill_(-1)
    return float(torch.arccos(gram.amax((-1, -2)).clamp(-1, 1)).max())


@pytest.mark.parametrize("antipodal", [False, True])
@pytest.mark.parametrize(("n", "d"), SIZES)
def test_separation(n, d, antipodal):
    bound = separation_bound(n, d, antipodal=antipodal)
    best = 0.0
    for seed, s in enumerate((4.0, 24.0, 80.0)):
        kernel = Riesz(s)

        def objective(x, kernel=kernel):
            return pair_values(kernel, x, antipodal).log()

        best = max(best, smallest_angle(optimise(objective, n, d, seed=seed), antipodal))
    # A zero angle between opposite points limits the arc cosine to 1e-8.
    assert best <= bound.value + 1e-7
    assert best > 0.8 * bound.value
    if bound.attained:
        assert best == pytest.approx(bound.value, rel=0.03)


def covering_radius(points):
    """Exact by the facets of the convex hull, which must contain the origin."""
    return float(np.arccos(np.min(-ConvexHull(points).equations[:, -1])))


@pytest.mark.parametrize("antipodal", [False, True])
@pytest.mark.parametrize(
    ("n", "d"),
    some_slow([(4, 3)], [(6, 3), (5, 4), (5, 3), (8, 3), (12, 3), (8, 4), (14, 4)]),
)
def test_covering(n, d, antipodal):
    bound = covering_bound(n, d, antipodal=antipodal)
    poles = unit(torch.tensor(np.random.default_rng(1).standard_normal((1500, d))))

    def objective(x):
        cosines = poles @ x.mT
        cosines = cosines.abs() if antipodal else cosines
        nearest = torch.logsumexp(40 * cosines, -1) / 40
        return torch.logsumexp(-40 * nearest, -1) / 40

    candidates = torch.cat(
        [
            optimise(objective, n, d, iterations=60, starts=4),
            optimise(lambda x: pair_values(Riesz(2.0), x, antipodal), n, d),
        ]
    ).numpy()
    both = np.concatenate([candidates, -candidates], 1) if antipodal else candidates
    best = min(covering_radius(points) for points in both)
    assert bound.value <= best + 1e-9
    assert best < 1.35 * bound.value
    if bound.attained:
        assert best == pytest.approx(bound.value, rel=0.02)


def lowest_potential(kernel, points):
    """Least potential over poles, by descent from many starts (an upper estimate)."""
    poles = optimise(
        lambda z: kernel.value(*squared_distances(z, points)).sum(-1).sum(-1),
        64,
        points.shape[-1],
        starts=1,
        iterations=200,
    )[0]
    return float(kernel.value(*squared_distances(poles, points)).sum(-1).min())


def squared_distances(poles, points):
    difference, total = poles[..., :, None, :] - points, poles[..., :, None, :] + points
    return difference.square().sum(-1) + 1e-30, total.square().sum(-1) + 1e-30


@pytest.mark.parametrize("antipodal", [False, True])
@pytest.mark.parametrize("s", [-1.0, 1.0, 2.0, *some_slow([], [(0.0,), (3.5,)])])
@pytest.mark.parametrize(("n", "d"), some_slow([(3, 3)], [(6, 3), (2, 3), (4, 3), (5, 4), (4, 2)]))
def test_polarization(n, d, s, antipodal):
    kernel = Riesz(s)
    bound = polarization_bound(n, d, s=s, antipodal=antipodal)
    poles = unit(torch.tensor(np.random.default_rng(2).standard_normal((400, d))))

    def doubled(x):
        return torch.cat([x, -x], -2) if antipodal else x

    def objective(x):
        values = kernel.value(*squared_distances(poles, doubled(x)[..., None, :, :])).sum(-1)
        return torch.logsumexp(-20 * values, -1) / 20

    smooth = optimise(objective, n, d, iterations=40, starts=3)
    even = optimise(lambda x: pair_values(Riesz(1.0), x, antipodal), n, d, starts=3)
    best = max(lowest_potential(kernel, doubled(points)) for points in torch.cat([smooth, even]))
    assert best <= bound.value + 1e-9 * max(abs(bound.value), 1)
    if bound.attained:
        assert best == pytest.approx(bound.value, rel=0.03, abs=0.03)


@pytest.mark.parametrize("n", [2, 4, 6, *some_slow([], [(3,), (5,), (9,), (12,), (20,)])])
def test_discrepancy(n):
    points = optimise(lambda x: pair_values(Riesz(-1.0), x, False), n, 3)
    distances = -2 * pair_values(Riesz(-1.0), points, False)
    best = float(torch.sqrt((4 / 3 - distances.max() / n**2) / 4))
    bound = discrepancy_bound(n)
    assert bound.value <= best + 1e-12
    assert best < 1.05 * bound.value
    if bound.attained:
        assert best == pytest.approx(bound.value, rel=1e-6)


@pytest.mark.parametrize("antipodal", [False, True])
@pytest.mark.parametrize("kernel", [Gaussian(1.0), Gaussian(3.0), Laplace(1.0)], ids=str)
@pytest.mark.parametrize(
    ("n", "d"), some_slow([(3, 3)], [(7, 3), (2, 3), (4, 3), (9, 3), (5, 4), (12, 4)])
)
def test_logdet(n, d, kernel, antipodal):
    def objective(x):
        x = torch.cat([x, -x], -2) if antipodal else x
        p, q = squared_distances(x, x[..., None, :, :])
        return -torch.linalg.slogdet(kernel.value(p, q))[1]

    best = -float(objective(optimise(objective, n, d)).min())
    bound = logdet_bound(n, d, kernel=kernel, antipodal=antipodal)
    assert best <= bound.value + 1e-9
    if bound.attained:
        assert best == pytest.approx(bound.value, abs=1e-6)


@pytest.mark.parametrize("antipodal", [False, True])
@pytest.mark.parametrize("kernel", MONOTONE, ids=lambda kernel: kernel.label)
def test_random_sets_of_many_shapes(kernel, antipodal):
    rng = np.random.default_rng(5)
    for n, d in [(3, 50), (30, 2), (60, 3), (50, 17), (40, 300)]:
        points = unit(torch.tensor(rng.standard_normal((4, n, d))))
        value = energy_bound(n, d, kernel=kernel, antipodal=antipodal).value
        assert value < float(pair_values(kernel, points, antipodal).min())
