"""Zonal kernels: values, derivatives, limits, and what they refuse."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch

import sphuni
from sphuni.kernels import Dirichlet, Gaussian, GegenbauerSeries, Laplace, Poisson, Riesz

EXPONENTS = (-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.5, 9.25, -0.3)
BASE = [
    *(Riesz(s) for s in EXPONENTS),
    *(Riesz(s, "geodesic") for s in EXPONENTS),
    Gaussian(1.3),
    Laplace(0.7),
    Poisson(0.4, 4),
    GegenbauerSeries((0.3, -1.0, 0.5, 0.25, 1.5), 5),
    GegenbauerSeries((0.1, 1.0, 0.5, 0.2), 2),
    Dirichlet(degree=6),
]
KERNELS = [*BASE, *(kernel.antipodal() for kernel in BASE)]
COSINES = np.array([-0.999, -0.7, -0.1, 0.0, 0.35, 0.8, 0.999])
every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.label)


def exact(kernel, t):
    """The kernel by its textbook formula, in mpmath."""
    rho = mpmath.acos(t) if getattr(kernel, "metric", "") == "geodesic" else mpmath.sqrt(2 - 2 * t)
    match kernel:
        case Riesz(s=s):
            return -mpmath.log(rho) if s == 0 else mpmath.sign(s) * rho ** mpmath.mpf(-s)
        case Gaussian(epsilon=epsilon):
            return mpmath.exp(-(mpmath.mpf(epsilon) ** 2) * rho**2)
        case Laplace(a=a):
            return mpmath.exp(-mpmath.mpf(a) * rho)
        case Poisson(rho=r, d=d):
            return ((1 - r) / mpmath.sqrt(1 - 2 * r * t + mpmath.mpf(r) ** 2)) ** d
        case GegenbauerSeries(coefficients=coefficients, d=d):
            return sum(a * zonal(l, t, d) for l, a in enumerate(coefficients))
        case _:
            return exact(kernel.base, t) + exact(kernel.base, -t)


def zonal(l, t, d):
    """The Gegenbauer polynomial of R^d scaled to 1 at t = 1."""
    if d == 2:
        return mpmath.chebyt(l, t)
    half = mpmath.mpf(d - 2) / 2
    terms = (
        (-1) ** k
        * mpmath.rf(half, l - k)
        / mpmath.factorial(k)
        / mpmath.factorial(l - 2 * k)
        * (2 * t) ** (l - 2 * k)
        for k in range(l // 2 + 1)
    )
    return sum(terms) / mpmath.binomial(l + d - 3, l)


@every_kernel
def test_value_and_derivatives_are_those_of_the_formula(kernel):
    p, q = torch.tensor(2 - 2 * COSINES), torch.tensor(2 + 2 * COSINES)
    found = np.stack([kernel.value(p, q), kernel.derivative(p, q), kernel.second(p, q)])
    with mpmath.workdps(40):
        expected = [
            [float(mpmath.diff(lambda u: exact(kernel, u), mpmath.mpf(t), order)) for t in COSINES]
            for order in range(3)
        ]
    np.testing.assert_allclose(found, expected, rtol=2e-12, atol=2e-12)
    np.testing.assert_allclose(kernel(COSINES), expected[0], rtol=2e-13, atol=2e-13)


@every_kernel
def test_derivatives_agree_with_autograd(kernel):
    t = torch.linspace(-0.95, 0.95, 21, dtype=torch.float64, requires_grad=True)
    value = kernel(t)
    (first,) = torch.autograd.grad(value.sum(), t, create_graph=True)
    second = torch.zeros_like(t)
    if first.requires_grad:
        (second,) = torch.autograd.grad(first.sum(), t)
    p, q = (2 - 2 * t).detach(), (2 + 2 * t).detach()
    torch.testing.assert_close(first, kernel.derivative(p, q), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(second, kernel.second(p, q), rtol=1e-11, atol=1e-11)
    together = kernel.value_and_derivative(p, q)
    torch.testing.assert_close(together[0], kernel.value(p, q), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(together[1], kernel.derivative(p, q), rtol=1e-14, atol=1e-14)


@every_kernel
def test_end_points_and_flags_are_true(kernel):
    at_one, at_minus_one = float(kernel(1.0)), float(kernel(-1.0))
    assert at_one == pytest.approx(kernel.at_one, rel=1e-13, abs=1e-13)
    assert at_minus_one == pytest.approx(kernel.at_minus_one, rel=1e-13, abs=1e-13)
    four, zero = torch.tensor([4.0]).double(), torch.tensor([0.0]).double()
    for p, q, singular in (
        (zero, four, kernel.singular),
        (four, zero, kernel.singular_opposite),
    ):
        parts = torch.stack([kernel.value(p, q), kernel.derivative(p, q), kernel.second(p, q)])
        assert bool(torch.isfinite(parts).all()) or singular
    if not kernel.reads_q:
        p = torch.tensor([0.5, 3.0])
        for method in (kernel.value, kernel.derivative, kernel.second):
            assert torch.equal(method(p, 4 - p), method(p, torch.full_like(p, torch.nan)))


@every_kernel
def test_orders_bound_the_growth_at_the_end_points(kernel):
    theta = np.array([1e-3, 1e-5, 1e-7])
    for order, flip in ((kernel.order_at_one, False), (kernel.order_at_minus_one, True)):
        near, far = (
            torch.tensor(4 * np.sin(theta / 2) ** 2),
            torch.tensor(4 * np.cos(theta / 2) ** 2),
        )
        value = kernel.value(far, near) if flip else kernel.value(near, far)
        scaled = value.abs().numpy() * theta**order
        assert scaled.max() < 25 + 5 * abs(np.log(theta[-1])) * ("log" in kernel.label)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_squared_angle_keeps_its_curvature_near_coincidence(dtype):
    """-2 (sin - theta cos) / sin^3 tends to -2/3; the difference had lost all its digits."""
    theta = np.array([1e-9, 1e-6, 1e-3, 0.1, 0.39, 0.41, 1.0])
    with mpmath.workdps(40):
        expected = [
            float(-2 * (mpmath.sin(a) - a * mpmath.cos(a)) / mpmath.sin(a) ** 3)
            for a in map(mpmath.mpf, theta)
        ]
    p, q = (torch.tensor(4 * f(theta / 2) ** 2, dtype=dtype) for f in (np.sin, np.cos))
    found = Riesz(-2.0, "geodesic").second(p, q)
    np.testing.assert_allclose(found, expected, rtol=100 * torch.finfo(dtype).eps)


@pytest.mark.parametrize(
    "kernel", [Poisson(0.999, 10), Poisson(1 - 1e-9, 2), Poisson(1 - 1e-9, 100)]
)
def test_derivatives_of_narrow_kernels_in_single_precision(kernel):
    """Their parts leave float32 where they themselves do not."""
    p = torch.tensor([1e-12, 1e-6, 0.01, 1.0, 4.0], dtype=torch.float32)
    for method in (kernel.derivative, kernel.second):
        expected = method(p.double(), 4 - p.double())
        torch.testing.assert_close(method(p, 4 - p).double(), expected, rtol=1e-4, atol=1e-37)


@pytest.mark.parametrize(
    "kernel", [k for k in KERNELS if k.absolutely_monotone], ids=lambda kernel: kernel.label
)
def test_absolutely_monotone_kernels_have_non_negative_derivatives(kernel):
    with mpmath.workdps(50):
        for t in (-0.95, 0.0, 0.6):
            for order in range(1, 7):
                assert mpmath.diff(lambda u: exact(kernel, u), mpmath.mpf(t), order) > -1e-12


def test_half_powers_agree_with_the_general_power():
    p = torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4
    for quarter in range(-40, 41):
        s = quarter / 4
        expected = torch.sign(torch.tensor(s)).item() * p ** (-s / 2) if s else -0.5 * p.log()
        torch.testing.assert_close(Riesz(s).value(p, 4 - p), expected, rtol=2e-14, atol=0)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@every_kernel
def test_kernels_of_a_gram_matrix(kernel, library):
    """Its diagonal passes 1 by roundings; a kernel that diverges there must not change sign."""
    points = sphuni.random_points(60, 8, rng=0)
    gram = points @ points.T
    gram[0, 0], gram[0, 1] = 1 + 4e-16, -1 - 4e-16
    given = torch.from_numpy(gram) if library == "torch" else gram
    values = np.asarray(kernel(given))
    assert not np.isnan(values).any()
    assert values[0, 0] == pytest.approx(kernel.at_one, rel=1e-12, abs=1e-12)
    assert values[0, 1] == pytest.approx(kernel.at_minus_one, rel=1e-12, abs=1e-12)


def test_kernels_of_single_precision_grams_and_of_whole_numbers():
    points = sphuni.random_points(60, 64, rng=0, like=torch.zeros(1, dtype=torch.float32))
    assert not bool(torch.isnan(Riesz(-1.0)(points @ points.T)).any())
    assert Riesz(1.0)(torch.tensor([-1])).item() == 0.5
    assert np.isnan(Riesz(1.0)(np.nan))
    assert Riesz(1.0)([]).shape == (0,)
    slopes = torch.func.vmap(torch.func.grad(Gaussian(1.0)))(torch.tensor([0.5, 0.2]))
    expected = Gaussian(1.0).derivative(2 - 2 * torch.tensor([0.5, 0.2]), torch.zeros(2))
    torch.testing.assert_close(slopes, expected)


def test_another_default_device_changes_nothing():
    """Means are kept: those of these kernels are asked for here only."""
    kernels = [Laplace(0.6328125), Gaussian(1.6328125), Riesz(-1.6328125, metric="geodesic")]
    for kernel in kernels:
        with torch.device("meta"):
            moments = kernel.mean(3), kernel.variance(3), kernel.at_minus_one
            values = kernel(np.linspace(-1, 1, 5))
        assert np.isfinite(moments).all()
        np.testing.assert_array_equal(values, kernel(np.linspace(-1, 1, 5)))


def test_a_kernels_repr_makes_it_again():
    names = {cls.__name__: cls for cls in (Dirichlet, Gaussian, Riesz)}
    for kernel in (Dirichlet(degree=40), Gaussian(0.5), Riesz(1.0, "geodesic")):
        assert eval(repr(kernel), names) == kernel
    assert repr(Dirichlet(degree=40)) == "Dirichlet(degree=40)"


def test_kernels_compare_hash_and_answer_in_the_callers_library():
    assert Riesz(1) == Riesz(1.0)
    assert hash(Riesz(1)) == hash(Riesz(1.0))
    assert Riesz(1.0) != Riesz(1.0, "geodesic")
    assert Riesz(np.float32(0.5)) == Riesz(0.5)
    assert Riesz(Fraction(1, 2)) == Riesz(0.5)
    assert Riesz(1.0).antipodal() == Riesz(1.0).antipodal()
    assert isinstance(Riesz(1.0)(0.5), np.float64)
    assert isinstance(Riesz(1.0)([0.5, 0.1]), np.ndarray)
    assert Riesz(1.0)(torch.tensor([0.5])).dtype == torch.float32
    assert Dirichlet(degree=2).coefficients == pytest.approx(np.array([1, 3, 5]) / (4 * np.pi))


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (Gaussian(np.float32(0.5)), Gaussian(0.5)),
        (Laplace(np.float64(2.0)), Laplace(2.0)),
        (Poisson(np.float64(0.5), np.int64(12)), Poisson(0.5, 12)),
        (GegenbauerSeries(np.array([0.5, 0.5]), np.int64(12)), GegenbauerSeries((0.5, 0.5), 12)),
        (GegenbauerSeries(torch.tensor([0.5, 0.5]), 12), GegenbauerSeries((0.5, 0.5), 12)),
        (GegenbauerSeries([Fraction(1, 2)], 12), GegenbauerSeries((0.5,), 12)),
        (Dirichlet(degree=np.int64(2)), Dirichlet(degree=2)),
    ],
    ids=lambda kernel: kernel.label,
)
def test_numpy_numbers_are_as_good_as_plain_ones(given, plain):
    assert given == plain
    points = sphuni.random_points(80, plain.d if hasattr(plain, "d") else 12, rng=0)
    assert sphuni.kernel_energy(points, kernel=given) == sphuni.kernel_energy(points, kernel=plain)
    assert all(type(value) in (int, float, tuple) for value in vars(given).values())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Riesz("1"), TypeError, "s must be a real number; got str"),
        (lambda: Riesz(True), TypeError, "s must be a real number; got bool"),
        (lambda: Riesz(float("inf")), ValueError, "s must be finite.*use separation"),
        (lambda: Riesz(1.0, "taxi"), ValueError, "metric must be 'chordal' or 'geodesic'"),
        (lambda: Gaussian(0.0), ValueError, "epsilon must be positive; got 0"),
        (lambda: Gaussian(1e200), ValueError, r"epsilon must be at most 1e\+75.*got 1e\+200"),
        (lambda: Riesz(1.0)(1.001), ValueError, r"t must hold cosines, in \[-1, 1\]; got 1.001"),
        (lambda: Riesz(1.0)(-np.inf), ValueError, "t must hold cosines.*got -inf"),
        (lambda: Laplace(float("nan")), ValueError, "a must be finite; got nan"),
        (lambda: Gaussian("1"), TypeError, "epsilon must be a number; got '1'"),
        (lambda: Laplace(True), TypeError, "a must be a number; got True"),
        (lambda: Poisson(1.0), ValueError, "rho must lie strictly between 0 and 1; got 1"),
        (lambda: Poisson(0.5, 3.0), TypeError, "d must be a whole number; got 3.0"),
        (lambda: Poisson(0.5, 1), ValueError, "d must be at least 2; got 1"),
        (lambda: GegenbauerSeries(()), ValueError, "non-empty tuple of finite numbers"),
        (lambda: GegenbauerSeries((np.nan,)), ValueError, "non-empty tuple of finite numbers"),
        (lambda: GegenbauerSeries((1.0,), 1), ValueError, "d must be at least 2; got 1"),
        (lambda: Dirichlet(degree=-1), ValueError, "degree must be at least 0; got -1"),
        (lambda: Riesz().antipodal().antipodal(), ValueError, "antipodal already"),
        (lambda: Riesz(1.0).mean(1), ValueError, "d must be at least 2"),
        (lambda: Riesz(1.0).mean("3"), TypeError, "d must be a whole number; got '3'"),
        (lambda: Poisson(0.5, 3).mean(2.5), TypeError, "d must be a whole number; got 2.5"),
        (lambda: Gaussian().variance(None), TypeError, "d must be a whole number; got None"),
        (lambda: Riesz(1.0).gegenbauer(3, -1), ValueError, "degree_max must be at least 0; got -1"),
        (lambda: Poisson(0.5, 3).gegenbauer(3, -1), ValueError, "degree_max must be at least 0"),
        (lambda: Gaussian().gegenbauer(3, 2.0), TypeError, "degree_max must be a whole number"),
        (lambda: Dirichlet(degree=2).gegenbauer(3, -1), ValueError, "degree_max must be at least"),
        (lambda: GegenbauerSeries(1.0), TypeError, "coefficients must be a non-empty tuple"),
        (lambda: GegenbauerSeries("12"), TypeError, r"coefficients\[0\] must be a number; got '1'"),
        (lambda: Gaussian().variance(1), ValueError, "d must be at least 2"),
        (lambda: Riesz(3.0).gegenbauer(3, 4), ValueError, "no Gegenbauer series in R.3"),
    ],
)
def test_bad_parameters_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()
