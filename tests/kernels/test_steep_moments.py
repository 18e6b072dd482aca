"""Moments and coefficients of steep and narrow kernels; expected numbers are mpmath's."""

import numpy as np
import pytest

from sphuni.kernels import Gaussian, Laplace, Poisson, Riesz

EXACT = {"rel": 1e-12}


@pytest.mark.parametrize("d", [40, 128, 256, 512, 1024, 3000])
def test_the_harmonic_kernel_has_mean_one_in_every_dimension(d):
    assert Riesz(d - 2).mean(d) == pytest.approx(1.0, rel=1e-14)
    assert Riesz(d - 2).gegenbauer(d, 0)[0] == Riesz(d - 2).mean(d)


@pytest.mark.parametrize(
    ("s", "d", "mean", "variance"),
    [
        (250.0, 512, 2.5513102412089827e-29, 2.645549428645981e-8),
        (300.0, 1024, 3.2427111486844852e-40, 4.7083782798046377e-63),
        (100.0, 3000, 1.3687005178290407e-15, 2.6329048869210561e-30),
        (40.0, 64, 0.00016479894528675016, np.inf),
    ],
)
def test_moments_of_high_powers_of_the_chord(s, d, mean, variance):
    assert Riesz(s).mean(d) == pytest.approx(mean, **EXACT)
    assert Riesz(s).variance(d) == pytest.approx(variance, **EXACT)


@pytest.mark.parametrize(
    ("d", "variance"), [(512, 7.3052141003748459e-8), (1000, 2.3278330213112504e-15)]
)
def test_variance_close_to_where_it_diverges(d, variance):
    assert Riesz(0.49 * (d - 1)).variance(d) == pytest.approx(variance, **EXACT)


def test_moments_of_high_powers_of_the_angle():
    assert Riesz(510, "geodesic").mean(512) == pytest.approx(0.86619515298089603, **EXACT)
    assert Riesz(250, "geodesic").mean(512) == pytest.approx(5.1552389297603897e-36, **EXACT)
    assert Riesz(250, "geodesic").variance(512) == pytest.approx(5.6864526072784727e-9, **EXACT)
    assert np.isfinite(Riesz(2998, "geodesic").mean(3000))


def test_steep_kernels_of_lines():
    """Where the two sides of a pair hardly overlap, moments of lines are twice those of points."""
    lines, points = Riesz(300.0).antipodal(), Riesz(300.0)
    assert lines.mean(768) == pytest.approx(2 * points.mean(768), **EXACT)
    assert lines.variance(768) == pytest.approx(2 * points.variance(768), **EXACT)


@pytest.mark.parametrize(
    ("kernel", "d", "mean", "variance"),
    [
        (Gaussian(8000), 3, 3.90625e-9, 1.9531249847412109e-9),
        (Gaussian(1e4), 2, 2.8209479195018739e-5, 1.9946318251588653e-5),
        (Gaussian(100), 64, 2.2645680069509002e-93, 7.5466863947545723e-103),
        (Laplace(1e6), 3, 5e-13, 1.2499999999975e-13),
        (Laplace(30), 3, 0.00055555555555555556, 0.00013858024691358025),
        (Poisson(1 - 1e-9, 3), 3, 4.9999997196806892e-19, 1.2499999305451722e-19),
        (Poisson(1 - 1e-9, 5), 3, 1.6666665740602296e-19, 6.2499996527258612e-20),
        (Poisson(1 - 1e-7, 3), 3, 5.0000002447364536e-15, 1.2500001236840977e-15),
        (Poisson(1 - 1e-7, 5), 3, 1.6666668315788302e-15, 6.2500006184205856e-16),
    ],
    ids=lambda case: getattr(case, "label", case),
)
def test_moments_of_narrow_kernels(kernel, d, mean, variance):
    assert kernel.mean(d) == pytest.approx(mean, **EXACT, abs=0)
    assert kernel.variance(d) == pytest.approx(variance, **EXACT, abs=0)


def test_two_sums_of_nothing_do_not_agree():
    """In R^768 a Gauss rule has no node where this kernel is not zero in float64."""
    doubled = Gaussian(100.0).antipodal()
    assert doubled.variance(64) == pytest.approx(2 * 7.5466863947545723e-103, rel=1e-11, abs=0)
    assert (Gaussian(1e4).antipodal().gegenbauer(2, 12)[::2] > 2.8e-5).all()


@pytest.mark.parametrize(
    ("kernel", "d", "degree", "expected"),
    [
        (Gaussian(1e4), 2, 0, 2.8209479195018739e-5),
        (Gaussian(1e4), 2, 12, 5.6418938079216063e-5),
        (Gaussian(30), 1000, 600, 1.9449404032460607e-29),
        (Gaussian(1), 1000, 2, 0.27093907690463454),
        (Gaussian(1), 1000, 20, 4.8486385750556628e-14),
        (Gaussian(3), 3, 50, 1.5279512818294056e-23),
        (Laplace(1), 3, 0, 0.29699707514508096),
        (Laplace(1), 3, 1, 0.24804679767870461),
        (Laplace(1), 3, 7, 0.017593304620702273),
        (Laplace(1), 3, 50, 0.00039204126233843017),
        (Laplace(1), 3, 300, 1.1074105136470427e-5),
        (Poisson(0.6, 1000), 1000, 600, 7.756255378040393e-74),
        (Riesz(1), 1000, 600, 0.028350502141586597),
        (Riesz(-1), 1000, 600, 2.952497025313131e-5),
        (Riesz(0), 1000, 600, 0.0011462244472256988),
        (Riesz(300), 1000, 600, 2.094852871496475e154),
        (Riesz(1), 50_000, 100, 0.039964129636063859),
    ],
    ids=lambda case: getattr(case, "label", case),
)
def test_coefficients_of_high_degree_and_dimension(kernel, d, degree, expected):
    found = kernel.gegenbauer(d, degree)
    assert len(found) == degree + 1
    rounding = 1e-17 * (2 * degree + 1) if isinstance(kernel, Laplace) else 0.0  # by quadrature
    assert found[-1] == pytest.approx(expected, rel=1e-12, abs=rounding)


def test_coefficients_beyond_float64():
    assert Riesz(990.0).gegenbauer(1000, 600)[-1] == np.inf
    for kernel in (Laplace(1.0), Poisson(0.5, 3)):
        with pytest.raises(OverflowError, match=r"degree_max = 600 is too high in R\^1000.*to 307"):
            kernel.gegenbauer(1000, 600)


@pytest.mark.parametrize("rho", [0.9999, 1 - 1e-5, 1 - 1e-6, 1 - 1e-7])
def test_the_mean_of_a_narrow_peak_on_a_long_tail(rho):
    """In R^4 it is (1 - rho)^2, as 1 / (1 - 2 rho t + rho^2) is sum rho^l U_l."""
    assert Poisson(rho, 2).mean(4) / (1 - rho) ** 2 == pytest.approx(1.0, **EXACT)
    assert Poisson(rho, 2).gegenbauer(4, 1)[0] / (1 - rho) ** 2 == pytest.approx(1.0, **EXACT)
