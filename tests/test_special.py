import math
import subprocess
import sys

import mpmath as mp
import numpy as np
import pytest
from scipy import special as sc

from sphuni import special

DIMENSIONS = (2, 3, 4, 5, 8, 24, 100, 1000, 10_000)


def exact_cap(theta, d):
    """Cap measure to 40 digits."""
    with mp.workdps(40):
        angle, a = mp.mpf(float(theta)), mp.mpf(d - 1) / 2
        tail = mp.betainc(a, mp.mpf(1) / 2, 0, mp.sin(angle) ** 2, regularized=True) / 2
        return tail if angle <= mp.pi / 2 else 1 - tail


def exact_moment(power, d):
    """E t^power for the cosine of two independent uniform points."""
    if power % 2:
        return 0.0
    return math.prod((2 * j - 1) / (d + 2 * j - 2) for j in range(1, power // 2 + 1))


@pytest.mark.parametrize(
    ("d", "area"), [(2, 2 * math.pi), (3, 4 * math.pi), (4, 2 * math.pi**2), (8, math.pi**4 / 3)]
)
def test_sphere_area_has_its_closed_forms(d, area):
    assert special.sphere_area(d) == pytest.approx(area, rel=4e-16)
    assert special.log_sphere_area(d) == pytest.approx(math.log(area), rel=1e-15)


@pytest.mark.parametrize("d", [2, 17, 340, 341, 400])
def test_sphere_area_agrees_with_high_precision(d):
    with mp.workdps(40):
        exact = 2 * mp.pi ** (mp.mpf(d) / 2) / mp.gamma(mp.mpf(d) / 2)
        assert abs(special.sphere_area(d) / exact - 1) < 5e-13


def test_log_sphere_area_outlives_the_area():
    assert special.sphere_area(10_000) == 0.0
    with mp.workdps(40):
        exact = mp.log(2 * mp.pi**5000 / mp.gamma(5000))
    assert special.log_sphere_area(10_000) == pytest.approx(float(exact), rel=1e-14)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_cap_measure_is_accurate_in_both_tails_and_at_the_equator(d):
    for theta in (1e-8, 1e-3, 0.3, 0.785, 0.8, 1.4, 1.55, 1.5707963, 1.5707964, 1.6, 2.5, 3.1):
        exact = exact_cap(theta, d)
        if exact > 1e-300:
            relative = abs(special.cap_measure(theta, d) / exact - 1)
            assert relative < 1e-15 * (10 + 0.2 * d), theta


@pytest.mark.parametrize("d", DIMENSIONS)
def test_cap_angle_inverts_cap_measure(d):
    measures = np.array([1e-100, 1e-9, 0.1, 0.4999999, 0.5, 0.9])
    theta = special.cap_angle(measures, d)
    np.testing.assert_allclose(special.cap_measure(theta, d), measures, rtol=1e-14 * (100 + d))


def test_caps_have_closed_forms_on_the_circle_and_on_s2():
    theta = np.linspace(0.0, math.pi, 41)
    np.testing.assert_allclose(special.cap_measure(theta, 2), theta / math.pi, rtol=1e-14)
    np.testing.assert_allclose(special.cap_measure(theta, 3), np.sin(theta / 2) ** 2, rtol=1e-14)
    assert special.cap_measure(1e-200, 2) == pytest.approx(1e-200 / math.pi, rel=1e-14)
    assert special.cap_measure(0.0, 7) == 0.0
    assert special.cap_measure(math.pi, 7) == 1.0
    assert special.cap_angle(0.0, 7) == 0.0
    assert special.cap_angle(1.0, 7) == math.pi
    # the square of the sine of such an arc underflows
    assert special.cap_angle([1e-300, 1.0], 2).tolist() == [math.pi * 1e-300, math.pi]


def test_shapes_and_scalars_follow_the_argument():
    for function in (special.cap_measure, special.cap_angle):
        assert isinstance(function(0.5, 3), np.float64)
        assert function(np.full((2, 3), 0.5), 3).shape == (2, 3)
    for function in (special.cosine_density, special.cosine_cdf):
        assert isinstance(function(0.5, 3), np.float64)
        assert function([[0.5], [0.1]], 3).shape == (2, 1)
    assert special.gegenbauer(4, np.zeros((2, 3)), 3).shape == (5, 2, 3)
    assert special.gegenbauer_derivative(4, 0.0, 3).shape == (5,)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_cosine_cdf_is_the_integral_of_the_density(d):
    spread = 3.0 / math.sqrt(d)
    for low, high in ((-min(0.9, spread), 0.1 * spread), (0.0, min(0.9, spread))):
        nodes, weights = sc.roots_legendre(60)
        t = 0.5 * (high - low) * nodes + 0.5 * (high + low)
        integral = 0.5 * (high - low) * (weights @ special.cosine_density(t, d))
        difference = special.cosine_cdf(high, d) - special.cosine_cdf(low, d)
        assert difference == pytest.approx(integral, rel=1e-11)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_cosine_cdf_agrees_with_the_cap_of_the_same_cosine(d):
    theta = np.array([0.2, 1.0, 1.5, 1.6, 3.0])
    measure = special.cap_measure(theta, d)
    np.testing.assert_allclose(special.cosine_cdf(-np.cos(theta), d), measure, rtol=1e-14 * d)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_cosine_density_agrees_with_high_precision(d):
    for t in (-0.99, -0.3, 0.0, 0.01, 0.6):
        with mp.workdps(40):
            scale = mp.gamma(mp.mpf(d) / 2) / mp.gamma(mp.mpf(d - 1) / 2) / mp.sqrt(mp.pi)
            exact = scale * (1 - mp.mpf(t) ** 2) ** (mp.mpf(d - 3) / 2)
        if exact > 1e-300:
            assert abs(special.cosine_density(t, d) / exact - 1) < 1e-15 * (8 + 0.2 * d)


def test_cosine_law_at_and_beyond_the_ends():
    np.testing.assert_array_equal(special.cosine_density([-1.5, 1.5], 5), [0.0, 0.0])
    np.testing.assert_array_equal(special.cosine_cdf([-1.5, -1.0, 1.0, 1.5], 5), [0, 0, 1, 1])
    assert special.cosine_density(1.0, 3) == 0.5
    assert special.cosine_density(1.0, 5) == 0.0
    assert special.cosine_density(1.0, 2) == math.inf


def test_harmonic_dimensions():
    assert [special.harmonic_dimension(k, 2) for k in range(5)] == [1, 2, 2, 2, 2]
    assert [special.harmonic_dimension(k, 3) for k in range(5)] == [1, 3, 5, 7, 9]
    assert [special.harmonic_dimension(k, 4) for k in range(5)] == [1, 4, 9, 16, 25]
    assert special.harmonic_dimension(1, 10_000) == 10_000
    exact = math.comb(10_049, 9_999) - math.comb(10_047, 9_999)
    assert special.harmonic_dimension(50, 10_000) == exact


@pytest.mark.parametrize("d", [3, 4, 5, 8, 24, 100])
def test_gegenbauer_agrees_with_scipy(d):
    t = np.linspace(-1.0, 1.0, 23)
    values = special.gegenbauer(30, t, d)
    for degree in range(31):
        alpha = 0.5 * d - 1.0
        reference = sc.eval_gegenbauer(degree, alpha, t) / sc.eval_gegenbauer(degree, alpha, 1.0)
        np.testing.assert_allclose(values[degree], reference, atol=2e-13)


def test_gegenbauer_is_chebyshev_on_the_circle_and_legendre_on_s2():
    theta = np.linspace(0.0, math.pi, 19)
    degrees = np.arange(201)[:, None]
    values = special.gegenbauer(200, np.cos(theta), 2)
    np.testing.assert_allclose(values, np.cos(degrees * theta), atol=2e-12)
    legendre = sc.eval_legendre(degrees, np.cos(theta))
    np.testing.assert_allclose(special.gegenbauer(200, np.cos(theta), 3), legendre, atol=1e-12)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_gegenbauer_is_bounded_by_one_and_has_parity(d):
    t = np.linspace(-1.0, 1.0, 101)
    values = special.gegenbauer(60, t, d)
    assert np.abs(values).max() <= 1.0 + 1e-13
    np.testing.assert_allclose(values[:, -1], 1.0, rtol=1e-13)
    signs = (-1.0) ** np.arange(61)[:, None]
    np.testing.assert_allclose(values[:, ::-1], signs * values, atol=1e-14)


@pytest.mark.parametrize("d", [2, 3, 7, 100])
def test_gegenbauer_derivative_agrees_with_high_precision(d):
    t = 0.37
    derivatives = special.gegenbauer_derivative(12, t, d)
    assert derivatives[0] == 0.0
    for degree in (1, 2, 5, 12):
        with mp.workdps(40):
            if d == 2:
                exact = mp.diff(lambda x, k=degree: mp.chebyt(k, x), mp.mpf(t))
            else:
                alpha = mp.mpf(d) / 2 - 1
                exact = 2 * alpha * mp.gegenbauer(degree - 1, alpha + 1, mp.mpf(t))
                exact /= mp.gegenbauer(degree, alpha, 1)
        assert derivatives[degree] == pytest.approx(float(exact), rel=1e-12)


def test_gegenbauer_derivative_of_degree_zero_only():
    np.testing.assert_array_equal(special.gegenbauer_derivative(0, [0.1, 0.2], 3), [[0.0, 0.0]])


@pytest.mark.parametrize("d", DIMENSIONS)
@pytest.mark.parametrize("count", [1, 2, 7, 40, 200])
def test_quadrature_is_exact_for_polynomials(d, count):
    nodes, weights = special.cosine_quadrature(d, count)
    assert nodes.shape == weights.shape == (count,)
    assert weights.sum() == pytest.approx(1.0, rel=1e-14)
    assert np.all(np.diff(nodes) > 0.0)
    assert np.all(np.abs(nodes) < 1.0)
    for power in range(min(2 * count, 60)):
        allowed = 1e-15 if power % 2 else 0.0
        expected = pytest.approx(exact_moment(power, d), rel=5e-13, abs=allowed)
        assert weights @ nodes**power == expected


def test_quadrature_agrees_with_scipy():
    nodes, weights = special.cosine_quadrature(6, 25)
    reference_nodes, reference_weights = sc.roots_gegenbauer(25, 2.0)
    np.testing.assert_allclose(nodes, reference_nodes, atol=1e-15)
    np.testing.assert_allclose(weights, reference_weights / reference_weights.sum(), rtol=1e-11)


def test_quadrature_survives_weights_that_underflow():
    nodes, weights = special.cosine_quadrature(10_000, 400)
    assert weights[0] == 0.0
    assert weights @ nodes**2 == pytest.approx(1e-4, rel=1e-13)


@pytest.mark.parametrize("d", [2, 3, 5, 24, 1000])
def test_gegenbauer_polynomials_are_orthogonal_with_the_harmonic_dimension(d):
    nodes, weights = special.cosine_quadrature(d, 20)
    values = special.gegenbauer(9, nodes, d)
    gram = values * weights @ values.T
    roots = np.sqrt([float(special.harmonic_dimension(degree, d)) for degree in range(10)])
    np.testing.assert_allclose(gram * roots * roots[:, None], np.eye(10), atol=1e-12)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_coefficients_recover_a_polynomial(d):
    coefficients = np.array([0.3, -1.0, 0.0, 2.0])

    def polynomial(t):
        return coefficients @ special.gegenbauer(3, t, d)

    recovered = special.gegenbauer_coefficients(polynomial, 3, d)
    np.testing.assert_allclose(recovered, coefficients, atol=1e-14 * d**1.5)


def test_coefficients_of_the_poisson_kernel_are_in_closed_form():
    for d, r in ((3, 0.6), (5, 0.4)):
        coefficients = special.gegenbauer_coefficients(
            lambda t, d=d, r=r: (1 - r * r) / (1 - 2 * r * t + r * r) ** (d / 2), 20, d
        )
        exact = [special.harmonic_dimension(degree, d) * r**degree for degree in range(21)]
        np.testing.assert_allclose(coefficients, exact, atol=2e-13)


def test_the_first_coefficient_is_the_mean():
    gaussian = special.gegenbauer_coefficients(lambda t: np.exp(2 * t - 2), 4, 3)
    assert gaussian[0] == pytest.approx((1 - math.exp(-4)) / 4, rel=1e-14)
    circle = special.gegenbauer_coefficients(np.exp, 4, 2)
    np.testing.assert_allclose(circle, sc.iv(np.arange(5), 1.0) * [1, 2, 2, 2, 2], atol=3e-15)


def test_coefficients_in_dimensions_beyond_float64_integers():
    coefficients = special.gegenbauer_coefficients(lambda t: t, 140, 10_000)
    assert coefficients[1] == pytest.approx(1.0, rel=1e-12)
    assert np.all(np.isfinite(coefficients))


@pytest.mark.parametrize(
    "call",
    [
        special.sphere_area,
        special.log_sphere_area,
        lambda d: special.cap_measure(0.1, d),
        lambda d: special.cap_angle(0.1, d),
        lambda d: special.cosine_density(0.1, d),
        lambda d: special.cosine_cdf(0.1, d),
        lambda d: special.harmonic_dimension(2, d),
        lambda d: special.gegenbauer(2, 0.1, d),
        lambda d: special.gegenbauer_derivative(2, 0.1, d),
        lambda d: special.cosine_quadrature(d, 5),
        lambda d: special.gegenbauer_coefficients(np.cos, 2, d),
    ],
)
def test_dimensions_below_two_are_refused(call):
    with pytest.raises(ValueError, match=r"d must be an ambient dimension of at least 2.*got 1\."):
        call(1)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: special.sphere_area(2.5), "d"),
        (lambda: special.gegenbauer(2.5, 0.1, 3), "degree_max"),
        (lambda: special.harmonic_dimension("2", 3), "degree"),
        (lambda: special.cosine_quadrature(3, 5.0), "count"),
    ],
)
def test_counts_that_are_not_whole_are_named(call, name):
    with pytest.raises(TypeError, match=f"^{name} must be a whole number; got"):
        call()


def test_half_turns_of_single_precision_are_half_turns():
    """In float32 pi is rounded up, and is the distance of antipodes."""
    assert special.cap_measure(np.float32(np.pi), 3) == 1.0
    assert special.cap_measure(np.array([0, np.pi], dtype=np.float32), 17).tolist() == [0.0, 1.0]
    with pytest.raises(ValueError, match=r"theta must be an angle .* got np.float64\(3.14159274"):
        special.cap_measure(float(np.float32(np.pi)), 3)


def test_wrong_values_are_named():
    with pytest.raises(ValueError, match=r"theta must be an angle in \[0, pi\] radians; got"):
        special.cap_measure([0.1, 3.2], 3)
    with pytest.raises(ValueError, match=r"measure must be a share .* got np.float64\(-0.1\)"):
        special.cap_angle([0.1, -0.1], 3)
    with pytest.raises(ValueError, match=r"degree must be an integer of at least 0; got -1"):
        special.harmonic_dimension(-1, 3)
    with pytest.raises(ValueError, match=r"count must be an integer of at least 1; got 0"):
        special.cosine_quadrature(3, 0)
    with pytest.raises(ValueError, match=r"count must exceed degree_max = 5; got 5"):
        special.gegenbauer_coefficients(np.cos, 5, 3, count=5)
    with pytest.raises(ValueError, match=r"function_of_t must return one value per cosine"):
        special.gegenbauer_coefficients(lambda t: t[:2], 5, 3)


def test_special_functions_need_no_torch():
    code = "import sys, sphuni.special; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(("n", "d"), [(100, 400), (400, 100), (300, 300)])
def test_marchenko_pastur_matches_uniform_rows(n, d):
    x = np.random.default_rng(1).standard_normal((n, d))
    observed = np.linalg.svd(x / np.linalg.norm(x, axis=1, keepdims=True), compute_uv=False)
    place = (np.arange(observed.size) + 0.5) / observed.size
    assert observed == pytest.approx(special.marchenko_pastur(place, n, d), abs=0.1)
    ends = special.marchenko_pastur(np.array([0.0, 1.0]), n, d)
    assert ends == pytest.approx([1 + np.sqrt(n / d), abs(1 - np.sqrt(n / d))])
