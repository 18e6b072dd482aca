"""The energy bound against exact codes, published values, records and its own laws."""

import math

import numpy as np
import pytest

from sphuni.configurations import available_constructions, records
from sphuni.geometry import riesz_energy
from sphuni.geometry.bounds import (
    BoundResult,
    _linear_programme,
    energy_bound,
)
from sphuni.geometry.bounds._known import sharp_code, sharp_lines
from sphuni.geometry.bounds._levenshtein import _nodes_and_weights, polynomial_dimension, rule
from sphuni.kernels import Gaussian, GegenbauerSeries, Laplace, Poisson, Riesz
from sphuni.special import gegenbauer

KERNELS = [
    *(Riesz(s) for s in (-1.5, -1.0, 0.0, 1.0, 2.0, 3.5)),
    Gaussian(1.0),
    Laplace(1.0),
    Poisson(0.4, 5),
]
CODES = {code.name: code for code in available_constructions()}
SHARP = [name for name, code in CODES.items() if sharp_code(code.n, code.d)]
BLUNT = ["cube_3", "dodecahedron", "24-cell", "600-cell", "120-cell"]


def code_energy(code, kernel):
    """Sum over pairs from inner products and multiplicities."""
    counts = np.array(code.multiplicities, dtype=float)
    return float(code.n / 2 * (counts @ kernel(np.array(code.inner_products))))


def relative(value, reference):
    return (value - reference) / abs(reference)


class TestRule:
    @pytest.mark.parametrize("lines", [False, True])
    @pytest.mark.parametrize(
        ("n", "d"),
        [
            (2, 3),
            (5, 3),
            (7, 3),
            (100, 3),
            (9999, 3),
            (17, 4),
            (120, 4),
            (31, 9),
            (700, 24),
            (5000, 512),
            (19999, 10000),
            (13, 2),
            (10**9, 10),
            (10**40, 60),
        ],
    )
    def test_integrates_polynomials_of_its_strength_with_mass_one_over_n_at_one(self, n, d, lines):
        levenshtein = rule(n, d, lines=lines)
        degrees = np.arange(0, levenshtein.strength * (2 if lines else 1) + 1, 2 if lines else 1)
        sampled = np.linspace(0, len(degrees) - 1, min(len(degrees), 40)).astype(int)
        moments = gegenbauer(int(degrees[-1]), levenshtein.nodes, d)[degrees[sampled]]
        found = moments @ levenshtein.weights + 1 / n
        assert found == pytest.approx(np.where(sampled == 0, 1.0, 0.0), abs=2e-13)
        assert np.all(levenshtein.weights >= 0)
        assert levenshtein.size == n
        assert np.all(np.diff(levenshtein.nodes) > 0)
        assert levenshtein.nodes[-1] < 1

    def test_intervals_begin_at_the_sizes_of_tight_designs(self):
        assert [polynomial_dimension(m, 3, lines=False) for m in range(6)] == [1, 2, 4, 6, 9, 12]
        assert polynomial_dimension(7, 8, lines=False) == 240
        assert polynomial_dimension(11, 24, lines=False) == 196560
        assert [polynomial_dimension(m, 7, lines=True) for m in range(3)] == [1, 7, 28]
        assert polynomial_dimension(3, 8, lines=True) == 120
        assert polynomial_dimension(5, 24, lines=True) == 98280

    def test_circle_rule_is_the_limit_formula_of_the_general_one(self):
        levenshtein = rule(7, 2)
        assert levenshtein.nodes == pytest.approx(np.cos(2 * np.pi * np.array([3, 2, 1]) / 7))
        assert levenshtein.weights == pytest.approx(np.full(3, 2 / 7))

    @pytest.mark.parametrize("lines", [False, True])
    @pytest.mark.parametrize("d", [3, 4, 24])
    @pytest.mark.parametrize("strength", [1, 2, 3, 4, 7, 8])
    def test_rules_of_neighbouring_strengths_agree_where_their_intervals_meet(
        self, strength, d, lines
    ):
        n = polynomial_dimension(strength, d, lines=lines)
        below, above = (_nodes_and_weights(n, d, strength + step, lines=lines) for step in (-1, 0))
        for values in (np.exp, lambda x: 1 / np.sqrt(2 - 2 * x), lambda x: x**3):
            found = [weights @ values(nodes) for nodes, weights in (below, above)]
            assert found[0] == pytest.approx(found[1], rel=1e-13, abs=1e-14)

    @pytest.mark.parametrize("antipodal", [False, True])
    @pytest.mark.parametrize("d", [3, 4, 8])
    def test_mean_energy_increases_with_n(self, d, antipodal):
        def mean(n, kernel):
            options = {"kernel": kernel, "antipodal": antipodal, "reduction": "mean"}
            return energy_bound(n, d, **options).value

        for kernel in (Riesz(-1.0), Riesz(0.0), Riesz(2.0), Gaussian(1.0)):
            values = np.array([mean(n, kernel) for n in range(2, 60)])
            assert np.all(np.diff(values) > 0)

    def test_largest_rule_serves_every_larger_n(self):
        kernel = Riesz(1.0)
        assert rule(10**9, 3).size < 10**9
        previous = -math.inf
        for n in (10**6, 2 * 10**6, 5 * 10**6, 10**8, 10**12):
            value = energy_bound(n, 3, kernel=kernel, reduction="mean").value
            assert previous < value < kernel.mean(3)
            previous = value


class TestEnergyOfExactCodes:
    @pytest.mark.parametrize("name", SHARP)
    @pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.label)
    def test_sharp_codes_attain_the_bound(self, name, kernel):
        code = CODES[name]
        bound = energy_bound(code.n, code.d, kernel=kernel)
        assert bound.attained is True
        assert bound.value == pytest.approx(code_energy(code, kernel), rel=1e-11, abs=1e-10)

    @pytest.mark.parametrize("name", BLUNT)
    @pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.label)
    def test_other_codes_stay_above_it(self, name, kernel):
        code = CODES[name]
        bound = energy_bound(code.n, code.d, kernel=kernel)
        assert bound.attained is not True
        assert bound.value < code_energy(code, kernel) - 1e-8

    def test_ratio_of_the_600_cell(self):
        bound = energy_bound(120, 4, kernel=Riesz(1.0))
        assert bound.attained is False
        ratio = bound.value / code_energy(CODES["600-cell"], Riesz(1.0))
        assert ratio == pytest.approx(0.99995051, abs=5e-9)

    @pytest.mark.parametrize("d", [2, 3, 5, 17, 1000])
    @pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.label)
    def test_simplex_and_cross_polytope_families(self, d, kernel):
        for n in {2, 3, (d + 3) // 2, d + 1}:
            bound = energy_bound(n, d, kernel=kernel, reduction="mean")
            assert bound.attained is True
            assert bound.value == pytest.approx(kernel(-1 / (n - 1)), rel=1e-12)
        cross = d * kernel(-1.0) + 2 * d * (d - 1) * kernel(0.0)
        bound = energy_bound(2 * d, d, kernel=kernel)
        assert bound.attained is True
        assert bound.value == pytest.approx(cross, rel=1e-12)

    @pytest.mark.parametrize("n", [2, 3, 5, 8, 101, 1000])
    @pytest.mark.parametrize("antipodal", [False, True])
    def test_regular_polygons(self, n, antipodal):
        kernel = Riesz(2.0)
        vertices = 2 * n if antipodal else n
        bound = energy_bound(n, 2, kernel=kernel, antipodal=antipodal)
        # sum over j of 1 / (4 sin^2(pi j / N)) = (N^2 - 1) / 12
        assert bound.value == pytest.approx(vertices * (vertices**2 - 1) / 24, rel=1e-12)
        assert bound.attained is True


class TestEnergyOfLines:
    @pytest.mark.parametrize(
        "name", ["icosahedron", "K56", "E8_roots", "552", "4600", "leech_196560", "24-cell"]
    )
    @pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.label)
    def test_antipodal_sharp_codes_attain_the_bound(self, name, kernel):
        code = CODES[name]
        bound = energy_bound(code.n // 2, code.d, kernel=kernel, antipodal=True)
        assert bound.attained is True
        assert bound.value == pytest.approx(code_energy(code, kernel), rel=1e-11, abs=1e-10)

    @pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.label)
    @pytest.mark.parametrize(("n", "d"), [(1, 3), (2, 3), (3, 3), (7, 9), (512, 512), (4, 10000)])
    def test_orthonormal_frames(self, n, d, kernel):
        bound = energy_bound(n, d, kernel=kernel, antipodal=True)
        assert bound.attained is True
        exact = n * kernel(-1.0) + 2 * n * (n - 1) * kernel(0.0)
        assert bound.value == pytest.approx(exact, rel=1e-13)

    @pytest.mark.parametrize(
        ("n", "d", "cosines"),
        [
            (36, 6, [0, 1 / 2]),
            (63, 7, [0, 1 / 2]),
            (144, 16, [0, 1 / 4]),
            (16, 6, [1 / 3]),
            (126, 21, [1 / 5]),
            (176, 22, [1 / 5]),
            (64, 28, [1 / 7]),
            (120, 35, [1 / 7]),
            (10, 5, [1 / 3]),
            (18, 9, [1 / math.sqrt(17)]),
            (6, 5, [1 / 5]),
        ],
    )
    def test_nodes_are_the_angles_of_the_lines_that_attain_it(self, n, d, cosines):
        bound = energy_bound(n, d, kernel=Riesz(1.0), antipodal=True)
        assert bound.attained is True
        assert bound.nodes == pytest.approx(np.array(cosines), abs=1e-12)
        assert n * bound.weights == pytest.approx(np.rint(n * bound.weights), abs=1e-9)

    def test_lines_are_bounded_at_least_as_well_as_points(self):
        for n, d in [(5, 3), (9, 3), (13, 4), (30, 8), (40, 3)]:
            for kernel in KERNELS:
                lines = energy_bound(n, d, kernel=kernel, antipodal=True)
                points = energy_bound(2 * n, d, kernel=kernel)
                assert lines.value >= points.value - 1e-11 * abs(points.value)

    def test_names_of_sharp_lines(self):
        assert sharp_lines(12, 4) == "the 3 mutually unbiased bases"
        assert sharp_lines(7, 3) is None
        assert sharp_code(325, 52) is not None  # isotropic subspaces over 16 elements
        assert sharp_code(326, 52) is None


class TestEnergyRecords:
    @pytest.mark.parametrize("problem", ["thomson", "log", "riesz"])
    def test_bound_is_below_every_record_and_close(self, problem):
        rows = [row for row in records(problem) if not row.antipodal]
        assert len(rows) > 8
        for row in rows:
            bound = energy_bound(row.n, row.d, kernel=Riesz(row.s))
            # Records are printed to some digits; the bound is exact for the sharp ones.
            slack = max(10.0 ** (1 - row.digits), 1e-13) * abs(row.value)
            assert bound.value <= row.value + slack
            if row.s == 1 and row.n > 2:
                assert bound.value > 0.99 * row.value

    def test_mean_is_the_sum_over_the_number_of_pairs(self):
        kernel = Riesz(1.0)
        for antipodal, points in [(False, 20), (True, 40)]:
            total = energy_bound(20, 3, kernel=kernel, antipodal=antipodal)
            mean = energy_bound(20, 3, kernel=kernel, antipodal=antipodal, reduction="mean")
            assert mean.value == pytest.approx(total.value / math.comb(points, 2), rel=1e-15)
            assert (total.reduction, mean.reduction) == ("sum", "mean")

    def test_certificate_recomputes_the_value(self):
        kernel = Gaussian(0.7)
        bound = energy_bound(33, 5, kernel=kernel)
        assert bound.value == pytest.approx(33**2 / 2 * bound.weights @ kernel(bound.nodes))
        assert (bound.better, bound.coefficients) == ("lower", None)
        assert isinstance(bound, BoundResult)
        assert set(bound.to_dict()) >= {"value", "attained", "method", "reason", "nodes"}


class TestLinearProgramme:
    def test_agrees_with_the_universal_bound_where_that_is_attained(self):
        class Disguised(Riesz):
            absolutely_monotone = False

        for n, d, antipodal in [(4, 3, False), (12, 3, False), (8, 5, True), (28, 7, True)]:
            exact = energy_bound(n, d, kernel=Riesz(1.0), antipodal=antipodal)
            found = energy_bound(n, d, kernel=Disguised(1.0), antipodal=antipodal)
            assert found.method.startswith("linear programme")
            assert -1e-6 < relative(found.value, exact.value) <= 1e-13

    def test_polynomial_lies_below_the_kernel_and_gives_the_value(self):
        kernel = Riesz(1.0, metric="geodesic")
        bound = energy_bound(20, 4, kernel=kernel)
        t = np.cos(np.linspace(1e-4, np.pi, 200_001))
        gap = kernel(t) - bound.coefficients @ gegenbauer(bound.degree, t, 4)
        assert np.min(gap) >= -1e-13
        assert np.all(bound.coefficients[1:] >= 0)
        recomputed = 10 * (20 * bound.coefficients[0] - bound.coefficients.sum())
        assert bound.value == pytest.approx(recomputed, rel=1e-12)

    @pytest.mark.parametrize("n", [2, 3, 10, 11])
    def test_sum_of_angles(self, n):
        kernel = Riesz(-1.0, metric="geodesic")
        assert energy_bound(n, 5, kernel=kernel).value == pytest.approx(
            -math.pi * (n // 2) * (n - n // 2)
        )
        assert energy_bound(n, 5, kernel=kernel).attained is True
        # Opposite points of n pairs are at pi, the others come in pairs of angles adding to pi.
        assert energy_bound(n, 5, kernel=kernel, antipodal=True).value == pytest.approx(
            -math.pi * n**2
        )

    def test_strongly_negative_exponents_put_half_the_points_at_each_pole(self):
        for n in (2, 6, 20):
            bound = energy_bound(n, 3, kernel=Riesz(-4.0))
            assert relative(bound.value, -16 * (n / 2) ** 2) == pytest.approx(0, abs=1e-6)
            assert bound.value <= -16 * (n / 2) ** 2

    def test_polynomial_kernels(self):
        positive = GegenbauerSeries((0.5, 1.0, 2.0), 3)
        # A design of strength 2 attains n^2 a_0 - n K(1), here the octahedron.
        octahedron = 3 * positive(-1.0) + 12 * positive(0.0)
        bound = energy_bound(6, 3, kernel=positive)
        assert bound.value == pytest.approx(octahedron, rel=1e-8)
        assert bound.value <= octahedron
        negative = GegenbauerSeries((0.0, 0.0, -1.0), 3)
        assert energy_bound(7, 3, kernel=negative).value == pytest.approx(-21, rel=1e-8)

    @pytest.mark.parametrize(("degree", "lines"), [(512, False), (1024, True)])
    def test_oscillations_between_samples_are_seen(self, degree, lines, monkeypatch):
        monkeypatch.setattr(_linear_programme, "_CELLS", 256)
        kernel = GegenbauerSeries((0.0,) * degree + (1.0,), 2)  # 1 at every sampled angle
        angle = np.arange(7) * (1 if lines else 2) * np.pi / 7
        angle = np.concatenate([angle, angle + np.pi]) if lines else angle
        energy = np.cos(degree * (angle[:, None] - angle))[np.triu_indices(len(angle), 1)].sum()
        assert energy_bound(7, 2, kernel=kernel, antipodal=lines).value <= energy + 1e-6

    @pytest.mark.parametrize("s", [0.0, 1.0, 2.0])
    def test_kernels_singular_at_both_ends_are_bounded_by_orthonormal_sets(self, s):
        kernel = Riesz(s).antipodal()
        for n, d in ((3, 3), (40, 4096)):
            orthonormal = n * (n - 1) / 2 * float(kernel(0.0))
            bound = energy_bound(n, d, kernel=kernel).value
            assert bound <= orthonormal
            assert bound == pytest.approx(orthonormal, rel=1e-8)

    def test_refuses_a_kernel_without_lower_bound(self):
        class Bottomless(Riesz):
            absolutely_monotone = False

            def value(self, p, q):
                return -super().value(p, q)

        with pytest.raises(ValueError, match="bounded from below"):
            energy_bound(5, 3, kernel=Bottomless(1.0))


class TestGeodesic:
    """Powers of the angle, which are not absolutely monotone in the cosine."""

    @pytest.mark.parametrize("s", [-0.5, 0.0, 1.0, 30.0])
    @pytest.mark.parametrize("n", [2, 3, 8, 31])
    def test_regular_polygons_attain_their_bound(self, n, s):
        """Polygons of n points; of n lines, which are the polygon of 2 n or of n points twice."""
        kernel = Riesz(s, "geodesic")
        turns = 2 * math.pi * np.arange(n) / n
        points = np.stack([np.cos(turns), np.sin(turns)], axis=1)
        bound = energy_bound(n, 2, kernel=kernel)
        assert bound.attained
        assert relative(
            float(riesz_energy(points, s=s, metric="geodesic", reduction="sum")), bound.value
        ) == (pytest.approx(0.0, abs=1e-12))
        half = np.stack([np.cos(turns / 2), np.sin(turns / 2)], axis=1)
        both = np.concatenate([half, -half])
        bound = energy_bound(n, 2, kernel=kernel, antipodal=True)
        assert bound.attained
        assert relative(
            float(riesz_energy(both, s=s, metric="geodesic", reduction="sum")), bound.value
        ) == (pytest.approx(0.0, abs=1e-12))

    @pytest.mark.parametrize("lines", [False, True])
    @pytest.mark.parametrize("s", [20.0, 50.0, 200.0])
    @pytest.mark.parametrize(("n", "d"), [(2, 3), (8, 3), (30, 3), (300, 3), (30, 5)])
    def test_steep_powers_have_positive_bounds_below_energies(self, n, d, s, lines):
        bound = energy_bound(n, d, kernel=Riesz(s, "geodesic"), antipodal=lines).value
        points = np.random.default_rng(n).standard_normal((n, d))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        points = np.concatenate([points, -points]) if lines else points
        assert (
            0
            < bound
            <= float(riesz_energy(points, s=s, metric="geodesic", reduction="sum")) * (1 + 1e-9)
        )

    def test_a_steep_bound_is_close_where_a_code_is_optimal(self):
        """The icosahedron's 30 edges carry all of a steep energy."""
        bound = energy_bound(12, 3, kernel=Riesz(50.0, "geodesic")).value
        edges = 30 * math.acos(5**-0.5) ** -50.0
        assert 0.99 * edges < bound <= edges * (1 + 1e-6)
