"""The bounds of separation, covering, polarization, discrepancy and log-determinant."""

import math

import mpmath as mp
import numpy as np
import pytest
from scipy import special

from sphuni.configurations import available_constructions, construct, records
from sphuni.distributions import random_points
from sphuni.geometry.bounds import (
    covering_bound,
    discrepancy_bound,
    energy_bound,
    logdet_bound,
    polarization_bound,
    separation_bound,
)
from sphuni.geometry.bounds._checks import check_size
from sphuni.geometry.bounds._known import sharp_code
from sphuni.geometry.bounds._levenshtein import rule
from sphuni.geometry.discrepancy import cap_discrepancy
from sphuni.kernels import Dirichlet, Gaussian, Laplace, Poisson, Riesz

CODES = {code.name: code for code in available_constructions()}
SHARP = [name for name, code in CODES.items() if sharp_code(code.n, code.d)]


class TestSeparation:
    @pytest.mark.parametrize("name", SHARP)
    def test_sharp_codes(self, name):
        code = CODES[name]
        bound = separation_bound(code.n, code.d)
        assert bound.attained is True
        assert math.cos(bound.value) == pytest.approx(max(code.inner_products), abs=1e-13)

    @pytest.mark.parametrize(("n", "d"), [(240, 8), (196560, 24)])
    def test_kissing_numbers(self, n, d):
        assert separation_bound(n, d).value == pytest.approx(math.pi / 3, abs=1e-13)
        assert separation_bound(n + 1, d).value < math.pi / 3 - 1e-9

    def test_published_levenshtein_values(self):
        # L(4, 1/2) = 26, L(3, 1/2) = 13.28: Levenshtein's bounds on kissing numbers.
        assert separation_bound(26, 4).value == pytest.approx(math.pi / 3, abs=1e-12)
        assert math.acos(rule(13, 3).nodes[-1]) > math.pi / 3 > math.acos(rule(14, 3).nodes[-1])

    def test_records(self):
        for row in records("tammes"):
            bound = separation_bound(row.n, row.d, antipodal=row.antipodal)
            assert bound.value >= row.value - 1e-9
            assert bound.value < 1.15 * row.value
            assert bound.better == "higher"

    def test_proven_records_are_bounds_that_are_attained(self):
        for row in records("tammes"):
            if row.status == "proven":
                bound = separation_bound(row.n, row.d, antipodal=row.antipodal)
                assert (bound.value, bound.attained) == (pytest.approx(row.value, abs=1e-12), True)

    @pytest.mark.parametrize(
        ("n", "d", "degree", "least"),
        [(10, 4, 3, -2), (50, 21, 7, -3), (56, 20, 10, -4), (77, 21, 16, -6)],
    )
    def test_triangle_free_strongly_regular_graphs(self, n, d, degree, least):
        # In the eigenspace of the least eigenvalue the cosine is least / degree at an edge, and
        # the cosines from one point add up to 0.
        bound = separation_bound(n, d)
        assert bound.attained is True
        rest = -(1 + least) / (n - degree - 1)
        assert math.cos(bound.value) == pytest.approx(rest, abs=1e-14)

    @pytest.mark.parametrize("d", [16, 64, 256, 1024])
    def test_both_ends_of_mutually_unbiased_bases_are_as_good_as_any_points(self, d):
        points = separation_bound(d * (d + 2), d)
        lines = separation_bound(d * (d + 2) // 2, d, antipodal=True)
        assert points.attained is lines.attained is True
        assert points.value == pytest.approx(lines.value, abs=1e-13)

    def test_more_points_are_no_farther_apart_than_the_optimum_of_fewer(self):
        assert separation_bound(15, 3).value == separation_bound(14, 3).value
        assert separation_bound(15, 3).attained is None

    @pytest.mark.parametrize("repeats", [2, 3])
    @pytest.mark.parametrize(("k", "name"), [(2, "polygon_6"), (3, "icosahedron"), (7, "K56")])
    def test_complements_of_repeated_equiangular_lines(self, k, name, repeats):
        ends = np.asarray(construct(name))
        lines = ends[ends @ np.arange(1.0, k + 1) ** 0.5 > 0]
        signs = np.kron(np.sign(lines @ lines.T), np.ones((repeats, repeats)))
        n = len(signs)
        bound = separation_bound(n, n - k, antipodal=True)
        cosine = math.cos(bound.value)
        gram = (1 + cosine) * np.eye(n) - cosine * signs  # of n lines of R^(n - k)
        spectrum = np.linalg.eigvalsh(gram)
        assert spectrum[:k] == pytest.approx(0, abs=1e-12)
        assert spectrum[k] > 0.1
        assert bound.attained is True

    def test_families(self):
        for d in (3, 10, 5000):
            assert separation_bound(d + 1, d).value == pytest.approx(math.acos(-1 / d), abs=1e-14)
            for n in (d + 2, 2 * d):
                bound = separation_bound(n, d)
                assert (bound.value, bound.attained) == (pytest.approx(math.pi / 2), True)
        assert separation_bound(17, 2).value == pytest.approx(2 * math.pi / 17)
        assert separation_bound(2, 9).value == pytest.approx(math.pi)

    def test_fejes_toth(self):
        for n, degrees in [(3, 120), (4, 109.4712206), (6, 90), (12, 63.4349488)]:
            assert math.degrees(separation_bound(n, 3).value) == pytest.approx(degrees)
        assert separation_bound(1000, 3).attained is False
        n = 10**12
        hexagonal = math.sqrt(8 * math.pi / (math.sqrt(3) * n))
        assert separation_bound(n, 3).value == pytest.approx(hexagonal, rel=1e-6)

    @pytest.mark.parametrize(
        ("n", "d", "cosine"),
        [
            (3, 2, 1 / 2),
            (6, 3, 1 / math.sqrt(5)),
            (28, 7, 1 / 3),
            (276, 23, 1 / 5),
            (4, 3, 1 / 3),
            (12, 4, 1 / 2),
            (120, 8, 1 / 2),
            (98280, 24, 1 / 2),
            (5, 5, 0),
            (11, 4, 1 / 2),
            (5, 3, 1 / math.sqrt(5)),
            (7, 3, 1 / math.sqrt(3)),
            (6, 4, 1 / 3),
            (9, 7, 1 / 5),
            (60, 4, (1 + math.sqrt(5)) / 4),
        ],
    )
    def test_lines(self, n, d, cosine):
        bound = separation_bound(n, d, antipodal=True)
        assert bound.attained is True
        assert math.cos(bound.value) == pytest.approx(cosine, abs=1e-13)

    def test_orthoplex_bound_just_above_the_welch_range(self):
        bound = separation_bound(37, 8, antipodal=True)
        assert bound.method == "orthoplex (lines)"
        assert math.cos(bound.value) == pytest.approx(math.sqrt(1 / 8))

    @pytest.mark.parametrize("antipodal", [False, True])
    @pytest.mark.parametrize("d", [2, 3, 4, 7])
    def test_does_not_increase_with_n(self, d, antipodal):
        values = [separation_bound(n, d, antipodal=antipodal).value for n in range(2, 150)]
        assert np.all(np.diff(values) <= 1e-12)


class TestCovering:
    def test_records(self):
        for row in records("covering"):
            bound = covering_bound(row.n, row.d, antipodal=row.antipodal)
            quality = 0.9 if row.d == 3 else 0.8
            assert quality * row.value < bound.value <= row.value + 1e-9
            if row.status == "proven":
                assert (bound.value, bound.attained) == (pytest.approx(row.value, abs=1e-12), True)

    @pytest.mark.parametrize(
        ("n", "d", "cosine"),
        [
            (1, 3, -1),
            (2, 3, 0),
            (3, 3, 0),
            (4, 3, 1 / 3),
            (6, 3, 1 / math.sqrt(3)),
            (8, 4, 1 / 2),
            (12, 3, math.cos(math.atan(3 - math.sqrt(5)))),
            (6, 5, 1 / 5),
            (5, 3, math.cos(math.atan(2))),  # two poles and a triangle
            (7, 3, math.cos(math.atan(1 / math.cos(math.pi / 5)))),  # two poles and a pentagon
            (9, 2, math.cos(math.pi / 9)),
        ],
    )
    def test_exact_values(self, n, d, cosine):
        bound = covering_bound(n, d)
        assert bound.attained is True
        assert math.cos(bound.value) == pytest.approx(cosine, abs=1e-14)

    def test_lines(self):
        assert covering_bound(3, 3, antipodal=True).value == pytest.approx(math.acos(3**-0.5))
        assert covering_bound(6, 3, antipodal=True).value == pytest.approx(
            math.atan(3 - math.sqrt(5))
        )
        # the optima of eight and of ten points are no lines
        assert covering_bound(4, 3, antipodal=True).value == covering_bound(8, 3).value
        assert covering_bound(4, 3, antipodal=True).attained is None
        assert covering_bound(4, 5, antipodal=True).value == math.pi / 2
        assert covering_bound(50, 50, antipodal=True).value == pytest.approx(math.acos(50**-0.5))

    @pytest.mark.parametrize("antipodal", [False, True])
    @pytest.mark.parametrize("d", [2, 3, 4, 9])
    def test_does_not_increase_with_n(self, d, antipodal):
        values = [covering_bound(n, d, antipodal=antipodal).value for n in range(1, 80)]
        assert np.all(np.diff(values) <= 1e-12)

    def test_codes_of_the_table_cover_no_better(self):
        for n, d, degrees in [(16, 5, 63.4349488), (56, 7, 54.7356103), (240, 8, 45.0)]:
            assert covering_bound(n, d).value < math.radians(degrees)


class TestPolarization:
    def test_records(self):
        for row in records("polarization"):
            bound = polarization_bound(row.n, row.d, s=row.s, antipodal=row.antipodal)
            assert bound.value >= row.value - 1e-8

    def test_exact_values(self):
        assert polarization_bound(4, 3, s=1.0).value == pytest.approx(0.5 + 3 / math.sqrt(4 / 3))
        assert polarization_bound(5, 4, s=2.0).value == pytest.approx(35 / 12)
        assert polarization_bound(7, 2, s=2.0).value == pytest.approx(49 / 4)
        assert polarization_bound(3, 7, s=2.0).value == pytest.approx(3 / 2)
        assert polarization_bound(3, 3, s=1.0, antipodal=True).value == pytest.approx(
            4.952040371657
        )
        assert polarization_bound(10, 3, s=-2.0).value == -20

    def test_is_below_the_mean_and_finite_where_the_mean_is_not(self):
        assert polarization_bound(40, 3, s=0.0).value <= 40 * Riesz(0.0).mean(3)
        for s in (0.5, 1.0, 1.9):
            assert polarization_bound(40, 3, s=s).value < 40 * Riesz(s).mean(3)
        for s in (2.0, 3.5, 8.0):
            assert Riesz(s).mean(3) == math.inf
            values = [polarization_bound(n, 3, s=s).value for n in (5, 40, 300, 10**6)]
            assert np.all(np.isfinite(values))
            assert np.all(np.diff(values) > 0)


class TestDiscrepancyAndLogdet:
    def test_discrepancy_of_the_octahedron(self):
        distances = 12 * math.sqrt(2) + 3 * 2
        exact = math.sqrt((4 / 3 - 2 * distances / 36) / 4)
        bound = discrepancy_bound(6)
        assert (bound.value, bound.attained) == (pytest.approx(exact, rel=1e-12), True)

    def test_discrepancy_decays_at_the_optimal_rate(self):
        scaled = [discrepancy_bound(n).value * n**0.75 for n in (100, 1000, 10_000, 100_000)]
        assert np.ptp(scaled) < 0.01 * np.mean(scaled)

    @pytest.mark.parametrize("n", [1_040_000, 1_100_000, 1_500_000, 10**7, 10**12, 10**18])
    def test_discrepancy_keeps_its_rate_past_the_largest_rule(self, n):
        bound = discrepancy_bound(n)
        heat = (3 * math.sqrt(math.pi)) ** -0.5
        assert heat * (1 - 1e-12) <= bound.value * n**0.75 < 0.44633

    @pytest.mark.parametrize(
        "name", ["polygon_7", "polygon_500", "cross_4", "simplex_9", "schlafli_27", "E8_roots"]
    )
    def test_discrepancy_of_sharp_codes_in_every_dimension(self, name):
        points = construct(name)
        bound = discrepancy_bound(*points.shape)
        found = (bound.value, bound.attained)
        assert found == (pytest.approx(cap_discrepancy(points), rel=1e-10), True)

    @pytest.mark.parametrize("n", [1, 2, 60, 78, 79, 10**4, 10**9])
    def test_discrepancy_of_polygons_to_the_last_digits(self, n):
        with mp.workdps(40):
            x = mp.pi / (2 * n)
            exact = float(2 / mp.pi * mp.sqrt(1 - x * mp.cot(x)))
        assert discrepancy_bound(n, 2).value == pytest.approx(exact, rel=1e-12)

    @pytest.mark.parametrize("d", [4, 8, 128])
    def test_discrepancy_bounds_fall_to_zero_where_rounding_leaves_nothing(self, d):
        values = [discrepancy_bound(n, d).value for n in (1, 2, 10, 10**3, 10**5)]
        assert np.all(np.diff(values) < 0)
        assert 0 < values[3] < cap_discrepancy(random_points(10**3, d, rng=0))
        assert values[4] > 0
        assert discrepancy_bound(10**40, d).value == 0

    def test_heat_kernels_lie_below_the_expansion_of_the_distance(self):
        degrees = np.arange(1, 200)
        mixture = 0.5 * (degrees + 0.5) ** -3.0
        nodes, weights = np.polynomial.legendre.leggauss(400)
        r = (nodes + 1) * 1.0  # t = 1 - r^2 / 2, dt = r dr
        legendre = special.eval_legendre(degrees[:, None], 1 - r**2 / 2)
        coefficients = -0.5 * (legendre * r**2) @ weights
        assert np.all(coefficients > mixture * (1 - 1e-9))

    @pytest.mark.parametrize("kernel", [Gaussian(1.0), Laplace(0.5), Poisson(0.3, 4)])
    @pytest.mark.parametrize(("n", "d"), [(1, 4), (2, 4), (4, 4), (5, 4), (40, 60)])
    def test_logdet_of_simplex_and_frame(self, n, d, kernel):
        def exact(gram):
            return np.linalg.slogdet(gram)[1]

        off = -1 / (n - 1) if n > 1 else 0.0
        simplex = kernel(np.where(np.eye(n), 1.0, off))
        bound = logdet_bound(n, d, kernel=kernel)
        assert (bound.value, bound.attained) == (pytest.approx(exact(simplex), abs=1e-10), True)
        if n <= d:
            frame = np.block([[np.eye(n), -np.eye(n)], [-np.eye(n), np.eye(n)]])
            bound = logdet_bound(n, d, kernel=kernel, antipodal=True)
            found = (bound.value, bound.attained)
            assert found == (pytest.approx(exact(kernel(frame)), abs=1e-10), True)

    def test_logdet_records_and_hadamard(self):
        for row in records("maxdet"):
            kernel = Dirichlet(degree=math.isqrt(row.n) - 1)
            bound = logdet_bound(row.n, 3, kernel=kernel)
            assert row.value - 1e-9 <= bound.value <= row.n * math.log(kernel.at_one) + 1e-9
            assert bound.value > row.value - 0.1 * row.n

    def test_a_simplex_that_meets_the_bound_attains_it_for_any_kernel(self):
        kernel = Dirichlet(degree=1)
        assert logdet_bound(4, 3, kernel=kernel).attained
        assert logdet_bound(1, 3, kernel=kernel).attained
        assert logdet_bound(3, 3, kernel=kernel).attained is None  # as cosines of -1/3 are better

    def test_logdet_beats_hadamard_and_knows_the_rank(self):
        assert logdet_bound(30, 3, kernel=Gaussian(1.0)).value < -37
        assert logdet_bound(10, 3, kernel=Dirichlet(degree=2)).value == -math.inf
        assert logdet_bound(9, 3, kernel=Dirichlet(degree=2)).value > -math.inf
        with pytest.raises(ValueError, match="finite and positive at cosine 1"):
            logdet_bound(5, 3, kernel=Riesz(1.0))


class TestArgumentsAndSize:
    def test_refusals(self):
        kernel = Riesz(1.0)
        with pytest.raises(ValueError, match="n must be a number of points between 2 and 1e150"):
            energy_bound(1, 3, kernel=kernel)
        with pytest.raises(ValueError, match="d must be at least 2"):
            separation_bound(5, 1)
        with pytest.raises(TypeError, match="n must be an integer; got float"):
            check_size(5.0, 3, least=1)
        with pytest.raises(TypeError, match="kernel must be a Kernel such as"):
            energy_bound(5, 3, kernel=lambda t: t)
        with pytest.raises(ValueError, match="d must be at least 2"):
            discrepancy_bound(5, 1)
        with pytest.raises(ValueError, match="finite at cosine -1"):
            energy_bound(5, 3, kernel=kernel.antipodal(), antipodal=True)

    @pytest.mark.parametrize("antipodal", [False, True])
    @pytest.mark.parametrize(
        ("n", "d"), [(10**6, 10_000), (10**9, 2), (10**9, 3), (10**150, 10_000), (3, 10_000)]
    )
    def test_huge_arguments_stay_finite(self, n, d, antipodal):
        kernel = Riesz(1.0)
        results = [
            energy_bound(n, d, kernel=kernel, reduction="mean", antipodal=antipodal),
            energy_bound(n, d, kernel=kernel, antipodal=antipodal),
            separation_bound(n, d, antipodal=antipodal),
            covering_bound(n, d, antipodal=antipodal),
            polarization_bound(n, d, s=1.0, antipodal=antipodal),
        ]
        assert all(math.isfinite(result.value) and result.value > 0 for result in results)
        assert results[0].value <= kernel.mean(d) or results[0].value <= 1
        assert results[2].value <= 2 * math.pi
