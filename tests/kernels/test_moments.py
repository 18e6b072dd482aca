"""Mean, variance and Gegenbauer coefficients of kernels against mpmath and each other."""

import mpmath
import numpy as np
import pytest
from test_kernels import exact

from sphuni.kernels import Dirichlet, Gaussian, GegenbauerSeries, Laplace, Poisson, Riesz
from sphuni.special import cosine_quadrature, gegenbauer, harmonic_dimension


def integral(function, d):
    """E function(cos theta) for the angle of two independent uniform points on S^(d-1)."""
    constant = mpmath.gamma(mpmath.mpf(d) / 2) / mpmath.gamma(mpmath.mpf(d - 1) / 2)
    constant /= mpmath.sqrt(mpmath.pi)

    def integrand(theta):
        with mpmath.extradps(150):  # 1 - t must keep its digits as theta goes to 0
            t = mpmath.cos(theta)
            return (function(t) + function(-t)) * mpmath.sin(theta) ** (d - 2)

    return constant * mpmath.quad(integrand, [0, 0.01, 0.2, mpmath.pi / 2])


CASES = [
    (Riesz(1.0), 3),
    (Riesz(0.0), 2),
    (Riesz(0.5, "geodesic"), 3),
    (Riesz(0.0, "geodesic"), 4),
    (Riesz(-1.0, "geodesic"), 3),
    (Riesz(-2.0), 5),
    pytest.param(Riesz(0.3).antipodal(), 2, marks=pytest.mark.slow),
    (Riesz(2.0, "geodesic").antipodal(), 6),
    (Riesz(30.0), 64),
    (Gaussian(2.0), 3),
    (Gaussian(30.0), 40),
    (Laplace(3.0), 7),
    (Poisson(0.8, 3), 4),
    pytest.param(Dirichlet(degree=4), 6, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("kernel", "d"), CASES, ids=lambda case: getattr(case, "label", case))
def test_mean_and_variance_are_the_integrals(kernel, d):
    with mpmath.workdps(30):
        mean = integral(lambda t: exact(kernel, t), d)
        assert kernel.mean(d) == pytest.approx(float(mean), rel=1e-12)
        if 2 * kernel.order_at_one < d - 1:
            variance = integral(lambda t: (exact(kernel, t) - mean) ** 2, d)
            assert kernel.variance(d) == pytest.approx(float(variance), rel=1e-12)
        else:
            assert kernel.variance(d) == np.inf


@pytest.mark.parametrize("d", [17, 25, 30, 39, 40])
@pytest.mark.parametrize("s", [-3.0, -1.0, -0.3, 0.5, 1.0, 4.0])
def test_mean_powers_of_the_chord_are_those_of_gamma_functions_to_rounding(s, d):
    """Logarithms of gamma functions that nearly cancel would leave fewer digits."""
    with mpmath.workdps(30):
        a, h = mpmath.mpf(d - 1) / 2, mpmath.mpf(s) / 2
        moment = mpmath.gammaprod([a - h, 2 * a], [a, 2 * a - h]) / mpmath.mpf(2) ** s
    assert Riesz(s).mean(d) == pytest.approx(float(np.sign(s) * moment), rel=1e-14, abs=0)


WIDE = [768, *(pytest.param(d, marks=pytest.mark.slow) for d in (1536, 4096, 28_672)), 151_936]


@pytest.mark.parametrize("d", WIDE)
@pytest.mark.parametrize("antipodal", [False, True], ids=["points", "lines"])
@pytest.mark.parametrize("s", [0.0, 1.0, 2.0])
def test_moments_in_the_widths_of_language_models(s, antipodal, d):
    kernel = Riesz(s).antipodal() if antipodal else Riesz(s)
    with mpmath.workdps(40):
        value = (lambda p: -mpmath.log(p) / 2) if s == 0 else (lambda p: p ** (-mpmath.mpf(s) / 2))

        def both(t):
            return value(2 - 2 * t) + (value(2 + 2 * t) if antipodal else 0)

        def weight(t):
            return mpmath.exp(mpmath.log(1 - t * t) * (d - 3) / 2)

        def expectation(function):
            reach = 14 / mpmath.sqrt(d)  # beyond it the weight is below 1e-40
            parts = [-reach, -reach / 4, 0, reach / 4, reach]
            total = mpmath.quad(lambda t: function(t) * weight(t), parts)
            return total / mpmath.quad(weight, parts)

        mean = expectation(both)
        variance = expectation(lambda t: (both(t) - mean) ** 2)
    assert kernel.mean(d) == pytest.approx(float(mean), rel=1e-12)
    spread = float(mean / mpmath.sqrt(variance))  # roundings of values weigh that much more
    assert kernel.variance(d) == pytest.approx(float(variance), rel=1e-12 + 4e-16 * abs(spread))


def test_moments_of_a_kernel_too_narrow_for_a_gauss_rule():
    kernel, d = Gaussian(100.0), 64
    with mpmath.workdps(30):
        second = float(bessel_mean(4 * mpmath.mpf(100) ** 2, d))
    assert kernel.variance(d) == pytest.approx(second, rel=1e-11)


def bessel_mean(kappa, d):
    """E exp(kappa (t - 1)) in closed form."""
    nu = mpmath.mpf(d) / 2 - 1
    bessel = mpmath.besseli(nu, kappa) * mpmath.exp(-kappa)
    return mpmath.gamma(nu + 1) * (2 / mpmath.mpf(kappa)) ** nu * bessel


@pytest.mark.parametrize("d", [2, 3, 39, 40, 100, 1000])
@pytest.mark.parametrize("epsilon", [0.5, 3.0, 10.0])
def test_gaussian_moments_are_bessel_functions(epsilon, d):
    with mpmath.workdps(40):
        mean = bessel_mean(2 * epsilon**2, d)
        variance = bessel_mean(4 * epsilon**2, d) - mean**2
    assert Gaussian(epsilon).mean(d) == pytest.approx(float(mean), rel=1e-12)
    assert Gaussian(epsilon).variance(d) == pytest.approx(float(variance), rel=1e-12)


def riesz_mean(s, d):
    s, d = mpmath.mpf(s), mpmath.mpf(d)
    ratio = mpmath.gamma(d / 2) * mpmath.gamma((d - 1 - s) / 2) / mpmath.gamma(d - 1 - s / 2)
    return mpmath.mpf(2) ** (d - 2 - s) * ratio / mpmath.sqrt(mpmath.pi)


@pytest.mark.parametrize(
    ("s", "d"), [(-1.0, 3), (0.9, 3), (1.9, 3), (3.5, 8), (38.0, 40), (15.0, 40), (2.0, 768)]
)
def test_riesz_moments_are_gamma_functions(s, d):
    with mpmath.workdps(40):
        mean = riesz_mean(s, d)
        variance = riesz_mean(2 * s, d) - mean**2 if 2 * s < d - 1 else mpmath.inf
    assert Riesz(s).mean(d) == pytest.approx(np.sign(s) * float(mean), rel=1e-12)
    assert Riesz(s).variance(d) == pytest.approx(float(variance), rel=1e-12)


def test_moments_are_infinite_exactly_where_they_diverge():
    assert Riesz(2.0).mean(3) == np.inf
    assert Riesz(1.0).variance(3) == np.inf
    assert np.isfinite(Riesz(0.99).variance(3))
    assert Riesz(1.0, "geodesic").mean(2) == np.inf
    assert Riesz(1.0).antipodal().mean(2) == np.inf
    assert np.isfinite([Riesz(0.0).mean(2), Riesz(0.0).variance(2)]).all()
    assert np.isfinite(Riesz(-1.0, "geodesic").variance(2))


@pytest.mark.parametrize("d", [2, 3, pytest.param(8, marks=pytest.mark.slow), 64])
@pytest.mark.parametrize(
    "kernel",
    [
        Gaussian(1.2),
        Poisson(0.5, 3),
        Poisson(0.3, 8),
        Riesz(-1.0),
        Riesz(0.5),
        Riesz(0.0),
        Riesz(0.4, "geodesic"),
        Laplace(2.0),
        Riesz(0.5).antipodal(),
    ],
    ids=lambda kernel: kernel.label,
)
def test_coefficients_are_the_projections(kernel, d):
    """Against the kernel's own moments: a_0 = mean, and against P_l integrated in mpmath."""
    found = kernel.gegenbauer(d, 6)
    assert found[0] == pytest.approx(kernel.mean(d), rel=1e-12, abs=1e-14)
    if d == 3:
        with mpmath.workdps(25):
            for l in (1, 2, 5):
                projected = integral(lambda t, l=l: exact(kernel, t) * mpmath.legendre(l, t), d)
                expected = float((2 * l + 1) * projected)
                assert found[l] == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("d", [2, 3, 6])
@pytest.mark.parametrize(
    "kernel",
    [Gaussian(1.0), Poisson(0.4, 3), GegenbauerSeries((1, 2, 3), 4)],
    ids=lambda kernel: kernel.label,
)
def test_parseval_and_the_series_itself(kernel, d):
    coefficients = kernel.gegenbauer(d, 30)
    sizes = np.array([float(harmonic_dimension(l, d)) for l in range(31)])
    assert np.sum(coefficients[1:] ** 2 / sizes[1:]) == pytest.approx(kernel.variance(d), rel=1e-10)
    t = np.linspace(-1, 1, 11)
    np.testing.assert_allclose(coefficients @ gegenbauer(30, t, d), kernel(t), rtol=0, atol=1e-9)


def test_parseval_for_singular_kernels_in_closed_form():
    """The coefficients of the distance kernel fall like l^-3 on S^2: the tail is an integral."""
    coefficients = Riesz(-1.0).gegenbauer(3, 400)
    partial = np.sum(coefficients[1:] ** 2 / (2 * np.arange(1, 401) + 1))
    assert partial == pytest.approx(Riesz(-1.0).variance(3), rel=1e-7)
    assert np.all(coefficients[1:] > 0)
    assert Riesz(-1.0).mean(3) == pytest.approx(-4 / 3, rel=1e-15)


def test_antipodal_doubles_even_degrees_and_drops_odd_ones():
    for base in (Gaussian(1.0), Riesz(0.5), Riesz(0.5, "geodesic")):
        plain, doubled = base.gegenbauer(4, 7), base.antipodal().gegenbauer(4, 7)
        np.testing.assert_allclose(doubled[::2], 2 * plain[::2], rtol=1e-12)
        assert not doubled[1::2].any()
        assert base.antipodal().mean(4) == pytest.approx(2 * base.mean(4), rel=1e-12)


def test_a_series_returns_its_own_coefficients():
    series = GegenbauerSeries((0.5, 0.0, 2.0, -1.0), 5)
    np.testing.assert_array_equal(series.gegenbauer(5, 5), [0.5, 0, 2, -1, 0, 0])
    np.testing.assert_array_equal(series.gegenbauer(5, 1), [0.5, 0])
    elsewhere = series.gegenbauer(7, 5)
    t = np.linspace(-1, 1, 9)
    np.testing.assert_allclose(elsewhere @ gegenbauer(5, t, 7), series(t), atol=1e-13)
    assert series.mean(5) == 0.5


def test_poisson_sums_to_its_closed_form():
    nodes, weights = cosine_quadrature(6, 80)
    assert Poisson(0.6, 6).mean(6) == pytest.approx(float(weights @ Poisson(0.6, 6)(nodes)))
    assert Poisson(0.6, 6).mean(6) == pytest.approx(0.4**6 / (1 - 0.36), rel=1e-13)
