"""Log-determinants of kernel matrices."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from exact_codes import moved

import sphuni
from sphuni._errors import NotPositiveDefiniteError, NumericalWarning
from sphuni.kernels import Dirichlet, Gaussian, GegenbauerSeries, Laplace, Poisson, Riesz

KERNELS = [Gaussian(1.0), Laplace(2.0), Poisson(0.6, 3), Dirichlet(degree=4)]
every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.label)


@every_kernel
def test_the_value_is_that_of_numpy(kernel, rng):
    points = sphuni.random_points(6, 3, batch=2, rng=rng)
    matrix = kernel(np.clip(points @ points.swapaxes(-1, -2), -1, 1))
    expected = np.linalg.slogdet(matrix)[1]
    found = sphuni.gram_logdet(points, kernel=kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(
        sphuni.gram_logdet(moved(points, rng), kernel=kernel), found, rtol=1e-9
    )


@every_kernel
def test_antipodal_is_the_determinant_of_the_doubled_set(kernel, rng):
    points = sphuni.random_points(5, 3, batch=3, rng=rng)
    doubled = np.concatenate([points, -points], axis=-2)
    found = sphuni.gram_logdet(points, kernel=kernel, antipodal=True)
    np.testing.assert_allclose(found, sphuni.gram_logdet(doubled, kernel=kernel), rtol=1e-7)


def test_extremal_points_reach_the_hadamard_bound():
    """Four points and degree 1 on S^2: the simplex makes the Dirichlet matrix diagonal."""
    simplex = sphuni.configurations.construct("simplex_3")
    value = sphuni.gram_logdet(simplex, kernel=Dirichlet(degree=1))
    assert value == pytest.approx(4 * np.log(4 / (4 * np.pi)), rel=1e-12)
    assert sphuni.gram_logdet(np.eye(5), kernel=GegenbauerSeries((0.0, 1.0), d=5)) == 0.0


@pytest.mark.parametrize("antipodal", [False, True])
def test_gradients(antipodal, rng):
    x = torch.tensor(rng.standard_normal((4, 3)), requires_grad=True)

    def logdet(x):
        unit = sphuni.normalize(x)
        return sphuni.gram_logdet(unit, kernel=Gaussian(1.5), antipodal=antipodal)

    assert torch.autograd.gradcheck(logdet, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(logdet, x, fast_mode=True)


@pytest.mark.parametrize("n", [3, 20, 100])
@pytest.mark.parametrize("seed", range(6))
def test_duplicates_are_minus_infinity_whatever_rounding_does(n, seed):
    points = sphuni.random_points(n, 8, rng=seed)
    points[-1] = points[0] if seed % 2 else points[n // 2]
    with pytest.warns(NumericalWarning, match=r"numerically singular.*pass jitter > 0"):
        assert sphuni.gram_logdet(points) == -np.inf


@pytest.mark.parametrize("kernel", [Dirichlet(degree=7), GegenbauerSeries((0.0, 1.0), d=3)])
@pytest.mark.parametrize("more", [1, 2])
def test_more_points_than_dimensions_are_minus_infinity_whatever_rounding_does(kernel, more):
    """The last pivots are rounding times the condition number of the others, hence not tiny."""
    n = (64 if len(kernel.coefficients) > 2 else 3) + more
    sets = np.stack([sphuni.random_points(n, 3, rng=seed) for seed in range(20)])
    with pytest.warns(NumericalWarning, match="numerically singular"):
        assert np.isneginf(sphuni.gram_logdet(sets, kernel=kernel)).all()


def test_points_of_a_subspace_have_no_volume(rng):
    flat = sphuni.normalize(np.pad(rng.standard_normal((40, 20, 19)), ((0, 0), (0, 0), (0, 1))))
    turned = flat @ np.linalg.qr(rng.standard_normal((20, 20)))[0]
    with pytest.warns(NumericalWarning, match="numerically singular"):
        value = sphuni.gram_logdet(turned, kernel=GegenbauerSeries((0.0, 1.0), d=20))
    assert np.isneginf(value).all()


def test_flat_kernels_keep_their_small_eigenvalues(rng):
    points = sphuni.random_points(40, 3, rng=rng)
    exact = np.linalg.slogdet(Gaussian(1.0)(np.clip(points @ points.T, -1, 1)))[1]
    assert exact < -100
    assert sphuni.gram_logdet(points) == pytest.approx(exact, rel=1e-6)


def test_a_duplicate_in_one_set_leaves_the_others_alone(rng):
    points = torch.tensor(sphuni.random_points(5, 4, batch=3, rng=rng))
    expected = sphuni.gram_logdet(points[[0, 2]])
    points[1, 4] = points[1, 0]
    leaf = points.requires_grad_()
    with pytest.warns(NumericalWarning, match="numerically singular"):
        values = sphuni.gram_logdet(leaf)
    assert values[1] == -torch.inf
    torch.testing.assert_close(values[[0, 2]], expected)
    values[[0, 2]].sum().backward()
    assert bool(torch.isfinite(leaf.grad).all())
    assert not leaf.grad[1].any()


def test_jitter_acts_only_where_it_must_and_says_so(rng):
    points = sphuni.random_points(5, 4, rng=rng)
    assert sphuni.gram_logdet(points, jitter=1e-6) == sphuni.gram_logdet(points)
    points[4] = points[0]
    with pytest.warns(NumericalWarning, match="added up to 1e-06 to the diagonal"):
        value = sphuni.gram_logdet(points, jitter=1e-6)
    matrix = Gaussian(1.0)(np.clip(points @ points.T, -1, 1)) + 1e-6 * np.eye(5)
    assert value == pytest.approx(np.linalg.slogdet(matrix)[1], rel=1e-6)


def test_a_kernel_that_is_not_positive_definite_is_refused(rng):
    points = sphuni.random_points(6, 3, rng=rng)
    with pytest.raises(NotPositiveDefiniteError, match=r"not positive definite even with 0.1"):
        sphuni.gram_logdet(points, kernel=GegenbauerSeries((0.1, -1.0, 2.0), 3), jitter=1e-4)


def test_unbounded_kernels_and_negative_jitter_are_refused():
    with pytest.raises(ValueError, match=r"kernel must be bounded.*Riesz s=1 is not"):
        sphuni.gram_logdet(np.eye(3), kernel=Riesz(1.0))
    with pytest.raises(ValueError, match="jitter must be finite, at least 0; got -1"):
        sphuni.gram_logdet(np.eye(3), jitter=-1.0)


def test_one_point_is_the_kernel_at_one():
    assert sphuni.gram_logdet(np.array([[0.0, 1.0]]), kernel=Gaussian(2.0)) == 0.0
    value = sphuni.gram_logdet(np.array([[0.0, 1.0]]), antipodal=True)
    assert value == pytest.approx(np.log(1 - np.exp(-8)), rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("d", [3, 8, 20])
@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("kernel", ["Gaussian(1.0)", "Laplace(1.0)", "Dirichlet(degree=2)"])
def test_the_budget_is_that_of_the_peak(d, gradient, kernel):
    if "Dirichlet" in kernel and d != 3:
        pytest.skip("a kernel of R^3")
    spread = 0.01 if kernel.startswith("Laplace") else 1.0  # its near pairs are listed
    program = f"""
import pathlib, re, warnings, torch, sphuni
from sphuni.kernels import Dirichlet, Gaussian, Laplace
from sphuni.pairwise import gram_bytes
warnings.simplefilter("ignore")
def work(n):
    x = torch.from_numpy(sphuni.random_points(n, {d}, rng=0))
    x = sphuni.normalize(x + ({1 / spread} - 1.0) * x[0]).requires_grad_({gradient})
    value = sphuni.gram_logdet(x, kernel={kernel})
    if {gradient}:
        value.backward()
    return gram_bytes(x, {kernel})
def peak():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) * 1024
work(200)
before = peak()
print(work(1500) / (peak() - before))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert 0.85 < float(done.stdout) < 2, done.stderr


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_jitter_is_a_number(bad):
    with pytest.raises(ValueError, match="jitter must be finite, at least 0"):
        sphuni.gram_logdet(np.eye(3), jitter=bad)
