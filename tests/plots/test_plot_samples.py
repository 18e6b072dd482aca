"""Pictures of samples and tests: what is drawn where."""

import inspect

import matplotlib.style
import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from sphuni import plots, random_points
from sphuni.configurations import optimize
from sphuni.distributions import von_mises_fisher
from sphuni.plots._style import OBSERVED
from sphuni.stats import power, uniformity_test, uniformity_tests


def dots(figure):
    """All drawn markers as one array of places."""
    lines = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    return np.concatenate([line.get_xydata() for line in lines])


def test_hemispheres_show_every_point_once():
    x = random_points(300, 3, rng=0)
    places = dots(plots.sphere(x))
    assert len(places) == 300
    left = places[places[:, 0] < 0] + [1.06, 0]
    right = places[places[:, 0] > 0] - [1.06, 0]
    assert len(left) == (x[:, 2] >= 0).sum()
    assert np.linalg.norm(np.vstack([left, right]), axis=1).max() <= 1 + 1e-12
    # equal areas: half of a hemisphere lies within radius sqrt(1/2)
    many = random_points(20_000, 3, rng=1)
    places = dots(plots.sphere(many))
    radius = np.linalg.norm(np.abs(places) - [1.06, 0], axis=1)
    assert (radius < np.sqrt(0.5)).mean() == pytest.approx(0.5, abs=0.02)


def test_mollweide_knows_the_poles_and_the_middle():
    x = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1], [0.6, 0, 0.8]])
    places = dots(plots.mollweide(x))
    assert places[0] == pytest.approx([0, 0])
    assert places[1] == pytest.approx([1, 0])
    assert places[2] == pytest.approx([0, 1], abs=1e-3)
    assert places[3] == pytest.approx([0, -1], abs=1e-3)
    # 2 a + sin 2a = pi sin(latitude)
    height = places[4, 1]
    assert 2 * np.arcsin(height) + np.sin(2 * np.arcsin(height)) == pytest.approx(0.8 * np.pi)
    assert len(dots(plots.mollweide(x, antipodal=True))) == 10


def test_circle_stacks_what_would_be_hidden():
    x = np.repeat(random_points(5, 2, rng=0), 4, axis=0)
    places = dots(plots.circle(x))
    assert len(np.unique(places.round(9), axis=0)) == 20
    assert isinstance(plots.circle(torch.from_numpy(x), antipodal=True), Figure)


def test_stacks_of_round_angles_stand_at_their_angle():
    """Points at 90 degrees up to rounding had been stacked at 88.5 and 91.5."""
    degrees = np.repeat([0.0, 45.0, 90.0, 213.0], 10)
    angles = np.radians(degrees) + 1e-9 * (-1.0) ** np.arange(40)
    places = dots(plots.circle(np.column_stack([np.cos(angles), np.sin(angles)])))
    shown = np.degrees(np.arctan2(places[:, 1], places[:, 0])) % 360
    assert np.abs((shown - degrees + 180) % 360 - 180).max() < 1e-6
    assert len(np.unique(places.round(6), axis=0)) == 40


@pytest.mark.parametrize("draw", [plots.sphere, plots.mollweide, plots.circle])
def test_antipodes_do_not_hide_points(draw):
    x = np.eye(2 if draw is plots.circle else 3)
    last = draw(np.vstack([x, -x]), antipodal=True).axes[0]
    filled = [
        line.get_markerfacecolor() != "white" for line in last.lines if line.get_marker() == "o"
    ]
    assert filled == sorted(filled) or draw is plots.sphere
    assert filled[-1]


@pytest.mark.parametrize(("n", "d"), [(1, 3), (2, 50), (40, 1000)])
def test_projections_rise_from_zero_to_one_within_the_picture(n, d):
    """One point had no curve at all, and others began at 1/n or outside."""
    x = random_points(n, d, rng=0)
    axes = plots.projected_ecdf(x, n_directions=3).axes[0]
    for line in axes.lines[:-1]:
        places, heights = line.get_xydata().T
        assert (heights[0], heights[-1]) == (0.0, 1.0)
        assert np.abs(places[1:-1]).max() <= axes.get_xlim()[1] + 1e-12
        assert np.diff(heights)[:-1] == pytest.approx(1 / n)


def test_directions_are_not_the_points_of_the_same_seed():
    x = random_points(60, 20, rng=0)
    lines = plots.projected_ecdf(x, n_directions=60, rng=0).axes[0].lines[:60]
    assert max(line.get_xdata()[-2] for line in lines) < 0.9


def test_the_level_of_a_report_is_inside_it_and_names_are_no_mathematics():
    names = {"$\\frac{a$": 0.5, "b$x_1$": 1.0}
    for level in (1e-9, 0.05):
        axes = plots.uniformity_report(np.eye(3), names, alpha=level).axes[1]
        assert axes.get_xlim()[0] < level
    axes = plots.uniformity_report(np.eye(3), names, alpha=0.0).axes[1]
    axes.figure.canvas.draw()
    assert [label.get_text() for label in axes.get_yticklabels()] == list(names)
    assert not any(label.get_parse_math() for label in axes.get_yticklabels())
    assert len(axes.texts) == 0


@pytest.mark.parametrize("d", [2, 3, 40])
def test_projections_and_report(d):
    x = von_mises_fisher(50, d, kappa=2.0, rng=0)
    axes = plots.projected_ecdf(x, n_directions=5).axes[0]
    null = axes.lines[-1].get_xydata()
    assert null[0, 1] == pytest.approx(0.0, abs=1e-9)
    assert null[-1, 1] == pytest.approx(1.0)
    assert np.interp(0.0, null[:, 0], null[:, 1]) == pytest.approx(0.5, abs=1e-3)
    pvalues = {"one": 0.2, "two": 0.0, "three": 1e-4}
    figure = plots.uniformity_report(x, pvalues, alpha=0.05)
    names = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert names == list(pvalues)


def test_tests_without_a_pvalue_have_no_dot():
    x = random_points(20, 3, rng=0)
    axes = plots.uniformity_report(x, {"one": 0.2, "two": np.nan, "three": 1e-20}).axes[1]
    markers = {
        line.get_ydata()[0]: line.get_marker() for line in axes.lines if len(line.get_xdata()) == 1
    }
    assert markers == {0: "o", 2: "<"}
    assert [text.get_text() for text in axes.texts] == ["no p-value"]


def test_symmetric_points_have_no_mean_direction():
    labels = plots.projected_ecdf(np.vstack([np.eye(3), -np.eye(3)])).axes[0].get_legend()
    assert "mean direction" not in [text.get_text() for text in labels.get_texts()]


@pytest.mark.parametrize("name", ["gine_fn", "kuiper", "hodges_ajne", "packing", "range"])
def test_null_densities_integrate_to_one(name):
    x = random_points(30, 2, rng=2)
    axes = plots.null_density(x, name).axes[0]
    curve = [line for line in axes.lines if len(line.get_xdata()) > 10]
    if curve:
        middle, density = curve[0].get_xydata().T
        area = density.sum() * (middle[1] - middle[0])
    else:
        data = axes.patches[0].get_data()
        area = (data.values * np.diff(data.edges)).sum()
    assert area == pytest.approx(1.0, abs=0.03)
    p = float(uniformity_test(x, name).pvalue)
    texts = " ".join(text.get_text() for text in axes.texts)
    assert f"{p:.3g}" in texts or "p lower" in texts


@pytest.mark.parametrize("n", [150, 2_000])
def test_null_densities_of_laws_without_moments_hold_their_law(n):
    axes = plots.null_density(random_points(n, 2, rng=0), "hodges_ajne").axes[0]
    data = axes.patches[0].get_data()
    assert (data.values * np.diff(data.edges)).sum() == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("n", [12, 40])
def test_bins_of_a_discrete_law_are_about_its_values(n):
    axes = plots.null_density(random_points(n, 2, rng=0), "num_uncover", n_resamples=999).axes[0]
    edges = axes.patches[0].get_data().edges
    step = 1 / np.sqrt(n * (np.exp(-1) - 2 * np.exp(-2)))
    assert np.diff(edges) == pytest.approx(step, rel=1e-9)
    count = n * np.exp(-1) + 0.5 * (edges[1:] + edges[:-1]) / step
    assert count == pytest.approx(np.rint(count), abs=1e-6)


def test_bins_of_many_counts_hold_equally_many():
    x = random_points(1500, 2, rng=0)
    data = plots.null_density(x, "cressie", n_resamples=1999).axes[0].patches[0].get_data()
    assert len(data.values) <= 80
    assert np.diff(data.edges) == pytest.approx(round(data.edges[1] - data.edges[0]))
    assert data.edges % 1 == pytest.approx(0.5)


def test_a_discrete_test_with_a_normal_limit_law_is_a_curve():
    axes = plots.null_density(random_points(2500, 2, rng=0), "num_uncover").axes[0]
    assert any(len(line.get_xdata()) > 100 for line in axes.lines)


def test_the_law_of_a_constant_is_one_bin():
    axes = plots.null_density(random_points(4, 2, rng=0), "vacancy", a=4000.0, n_resamples=99).axes[
        0
    ]
    data = axes.patches[0].get_data()
    assert len(data.values) == 1
    assert np.isfinite(data.values).all()


def test_a_statistic_far_outside_is_an_arrow():
    x = von_mises_fisher(60, 3, kappa=50.0, rng=0)
    axes = plots.null_density(x, "bingham").axes[0]
    assert axes.texts[0].arrow_patch is not None


def test_power_curves_have_bands_and_check_lengths():
    results = [
        power("rayleigh", "von_mises_fisher", n=10, d=3, kappa=k, n_sets=20, rng=0)
        for k in (0.0, 2.0)
    ]
    figure = plots.power_curves({"rayleigh": results}, [0.0, 2.0])
    assert len(figure.axes[0].collections) == 1
    stricter = power("rayleigh", "uniform", n=10, d=3, alpha=0.01, n_sets=20, rng=0)
    both = plots.power_curves({"a": results, "b": [stricter] * 2}, [0.0, 2.0])
    named = [text.get_text() for text in both.axes[0].get_legend().get_texts()]
    assert named == ["a", "b", "alpha = 0.01", "alpha = 0.05"]
    assert isinstance(plots.power_curves({"r": results}, [1.0, 2.0], log=True), Figure)
    with pytest.raises(ValueError, match="one result per entry of x"):
        plots.power_curves({"rayleigh": results}, [0.0])


@pytest.mark.parametrize(
    ("draw", "points", "message"),
    [
        (plots.sphere, np.eye(2), "shape"),
        (plots.circle, np.eye(3), "shape"),
        (plots.mollweide, 2 * np.eye(3), "row 0 has norm 2"),
        (plots.projected_ecdf, 2 * np.eye(3), "unit rows"),
        (plots.projected_ecdf, np.ones(3), "shape"),
    ],
)
def test_wrong_points_are_refused(draw, points, message):
    with pytest.raises(ValueError, match=message):
        draw(points)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_points_of_any_precision_are_drawn(dtype):
    points = torch.nn.functional.normalize(torch.randn(12, 3), dim=-1).to(dtype).requires_grad_()
    for picture in (plots.sphere, plots.mollweide):
        assert picture(points) is not None


SET = random_points(20, 3, rng=0)
POWER = power("rayleigh", "von_mises_fisher", n=10, d=3, kappa=1.0, n_sets=20, rng=0)
COUNTS = np.ones(4), np.linspace(-1, 1, 5)
DRAWN = {
    "circle": lambda ax: plots.circle(random_points(9, 2, rng=0), ax=ax),
    "sphere": lambda ax: plots.sphere(SET, ax=ax),
    "mollweide": lambda ax: plots.mollweide(SET, ax=ax),
    "null_density": lambda ax: plots.null_density(SET, ax=ax),
    "projected_ecdf": lambda ax: plots.projected_ecdf(SET, ax=ax),
    "power_curves": lambda ax: plots.power_curves({"a": [POWER]}, [1.0], ax=ax),
    "configuration": lambda ax: plots.configuration(SET, ax=ax),
    "voronoi_cells": lambda ax: plots.voronoi_cells(SET, ax=ax),
    "contact_graph": lambda ax: plots.contact_graph(SET, ax=ax),
    "deepest_holes": lambda ax: plots.deepest_holes(SET, ax=ax),
    "potential_map": lambda ax: plots.potential_map(SET, ax=ax),
    "quadrature_weights": lambda ax: plots.quadrature_weights(random_points(9, 3, rng=0), ax=ax),
    "degree_residuals": lambda ax: plots.degree_residuals(SET, ax=ax),
    "cosine_histogram": lambda ax: plots.cosine_histogram(*COUNTS, d=3, ax=ax),
    "nearest_angles": lambda ax: plots.nearest_angles(COUNTS[0], np.arange(5.0), n=9, d=3, ax=ax),
    "singular_values": lambda ax: plots.singular_values([1.0, 2.0], n=9, d=3, ax=ax),
    "layer_map": lambda ax: plots.layer_map([1.0], [1.0], verdicts=["uniform"], ax=ax),
}


@pytest.mark.parametrize("name", DRAWN)
def test_axes_that_cannot_be_drawn_into_are_refused(name):
    """Those of a projection raised whatever matplotlib raised, or drew nonsense."""
    for projection, kind in (("3d", "Axes3D"), ("polar", "PolarAxes")):
        axes = Figure().add_subplot(projection=projection)
        message = rf"ax must be one plain Axes, .*got {kind} \(projection='{projection}'\). Leave"
        with pytest.raises(TypeError, match=message):
            DRAWN[name](axes)
        assert not axes.lines
    with pytest.raises(TypeError, match=r"ax must be one plain Axes, .*got ndarray. Leave ax out"):
        DRAWN[name](Figure().subplots(1, 2))
    figure = Figure()
    assert DRAWN[name](figure.add_subplot()) is figure


def test_every_picture_that_takes_axes_is_tested_for_them():
    takes = [
        name for name in plots.__all__ if "ax" in inspect.signature(getattr(plots, name)).parameters
    ]
    assert sorted(takes) == sorted(DRAWN)


@pytest.mark.parametrize(
    ("test", "options"),
    [
        ("rayleigh", {}),
        ("rayleigh", {"null": "asymptotic"}),
        ("bingham", {"null": "monte-carlo", "n_resamples": 199, "rng": 0}),
        ("riesz", {"s": 0.5, "n_resamples": 999}),
        ("packing", {}),
    ],
)
def test_null_densities_of_results_show_what_the_result_says(test, options):
    result = uniformity_test(SET, test, **options)
    of_result = plots.null_density(result).axes[0]
    p, lower = float(result.pvalue), float(result.pvalue_lower)
    words = f"p = {p:.3g}" if p <= lower else f"p lower = {lower:.3g}"
    assert [text.get_text() for text in of_result.texts] == [f"{result.statistic:.4g}\n{words}"]
    kind = "simulated" if result.null == "monte-carlo" else result.null
    assert of_result.get_ylabel() == f"null density ({kind})"
    if "rng" not in options:
        of_points = plots.null_density(SET, test, **options).axes[0]
        assert of_points.get_xlabel() == of_result.get_xlabel()
        for one, other in zip(of_points.lines, of_result.lines, strict=True):
            np.testing.assert_array_equal(one.get_xydata(), other.get_xydata())


def test_results_that_are_not_of_one_test_of_one_set_are_refused():
    table = uniformity_tests(SET, tests=["rayleigh", "bingham"])
    with pytest.raises(TypeError, match=r"points must be an array of shape .*; got TestTable"):
        plots.null_density(table)
    batch = uniformity_test(random_points(9, 3, batch=(2,), rng=0), "rayleigh")
    with pytest.raises(ValueError, match=r"result of one set; got one of a batch of shape \(2,\)"):
        plots.null_density(batch)
    with pytest.raises(ValueError, match=r"those of one set; .* batch of shape \(2,\)"):
        plots.uniformity_report(SET, batch)
    with pytest.raises(TypeError, match="null, s cannot be given with a result"):
        plots.null_density(table["rayleigh"], null="asymptotic", s=1.0)
    with pytest.raises(TypeError, match=r"points must be an array .*got UniformityTestResult"):
        plots.sphere(table["rayleigh"])
    with pytest.raises(TypeError, match=r"pvalues must map names of tests to numbers.*got list"):
        plots.uniformity_report(SET, [0.5])
    with pytest.raises(TypeError, match=r"curves must map names to lists .*got list"):
        plots.power_curves([], [])
    with pytest.raises(TypeError, match=r"curves\['a'\] must be a list of results.*got float"):
        plots.power_curves({"a": 0.5}, [1.0])
    with pytest.raises(ValueError, match="curves must hold at least one test; got none"):
        plots.power_curves({}, [])


def test_a_report_takes_the_results_of_tests():
    table = uniformity_tests(SET, tests=["rayleigh", "riesz:s=0.5"])
    for given in (table, table["rayleigh"]):
        axes = plots.uniformity_report(SET, given).axes[1]
        results = table.results if given is table else (given,)
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert names == [result.label for result in results]
        shown = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
        assert shown == [float(result.pvalue) for result in results]


def test_points_of_a_result_are_drawn():
    found = optimize("thomson", n=12, d=3, restarts=2, rng=0)
    assert len(dots(plots.mollweide(found))) == 12


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.ma.masked_less(np.eye(3), 0.5), "must not hold masked entries; drop those rows"),
        (np.eye(3) + 1j, "must be an array of real numbers; got dtype complex128"),
        (torch.eye(3) + 1j, "must be an array of real numbers; got dtype complex64"),
        (np.eye(3) > 0, "must be an array of real numbers; got dtype bool"),
        (np.eye(3).astype(str), "must be an array of real numbers; got dtype <U"),
        (np.array([[1.0, 0.0, "a"]], dtype=object), "must be .*; could not convert string"),
    ],
    ids=["masked", "complex", "complex tensor", "truth values", "text", "a word"],
)
def test_what_is_not_real_numbers_is_not_drawn(points, message):
    for draw in (plots.sphere, plots.projected_ecdf):
        with pytest.raises(TypeError, match=f"points {message}"):
            draw(points)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[1.0, 0.0, 0.0], [0.0, np.nan, 1.0]], r"row 1 has norm nan\. Drop or repair it first"),
        (2 * np.eye(3), r"row 0 has norm 2\. Call sphuni\.normalize\(points\) first"),
        ([[1.0, 0.0, 0.0], [0.0, 1.0]], "must be an array; its rows differ in length"),
    ],
)
def test_rows_that_are_no_points_are_not_drawn(points, message):
    for draw in (plots.sphere, plots.projected_ecdf):
        with pytest.raises(ValueError, match=f"points .*{message}"):
            draw(points)


@pytest.mark.parametrize(("n", "d", "seed"), [(40, 50, 0), (12, 3, 0), (12, 3, 4)])
def test_the_statistic_is_written_above_the_null_density(n, d, seed):
    figure = plots.null_density(random_points(n, d, rng=seed))
    axes = figure.axes[0]
    figure.canvas.draw()
    curve = max(
        [line.get_ydata().max() for line in axes.lines if len(line.get_xdata()) > 2]
        + [patch.get_data().values.max() for patch in axes.patches]
    )
    foot = axes.texts[0].get_window_extent().y0
    assert foot > axes.transData.transform((0.0, curve))[1]


def _one_power(alpha=0.05, kappa=1.0):
    return power(
        "rayleigh", "von_mises_fisher", n=10, d=3, kappa=kappa, n_sets=20, rng=0, alpha=alpha
    )


def test_power_curves_of_many_tests_are_told_apart_and_named_beside():
    """The ninth had colour and dash of the first, and the names lay over the curves."""
    result = _one_power()
    axes = plots.power_curves({f"t{k}": [result] * 2 for k in range(24)}, [0.0, 1.0]).axes[0]
    curves = [line for line in axes.lines if line.get_label().startswith("t")]
    assert len({(line.get_color(), line.get_linestyle()) for line in curves}) == 24
    axes.figure.canvas.draw()
    assert axes.get_legend().get_window_extent().x0 >= axes.get_window_extent().x1


def test_power_curves_show_what_they_are_given():
    result = _one_power()
    with pytest.raises(ValueError, match="x must be positive on a logarithmic axis; got 0"):
        plots.power_curves({"a": [result] * 2}, [0.0, 1.0], log=True)
    axes = plots.power_curves({"two$x$": [result]}, [1.0]).axes[0]
    axes.figure.canvas.draw()
    assert axes.get_legend().get_texts()[0].get_text() == r"two\$x\$"
    (interval,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    assert interval.get_segments()[0][:, 1] == pytest.approx(result.upper_interval)


def test_levels_of_power_curves_have_lines_of_their_own():
    curves = {"a": [_one_power(0.01)], "b": [_one_power(0.1)]}
    axes = plots.power_curves(curves, [1.0]).axes[0]
    levels = [line for line in axes.lines if line.get_label().startswith("alpha")]
    assert len({str(line._unscaled_dash_pattern) for line in levels}) == 2


def _brightness(color):
    return float(np.dot(to_rgb(color), (0.299, 0.587, 0.114)))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.null_density(random_points(30, 3, rng=0), "rayleigh"),
        lambda: plots.projected_ecdf(random_points(30, 3, rng=0)),
        lambda: plots.circle(random_points(30, 2, rng=0)),
        lambda: plots.sphere(random_points(30, 3, rng=0)),
        lambda: plots.mollweide(random_points(30, 3, rng=0)),
        lambda: plots.uniformity_report(random_points(30, 3, rng=0), {"a": 0.01}, alpha=0.05),
        lambda: plots.power_curves({"a": [_one_power()] * 2}, [0.0, 1.0]),
    ],
    ids=["null", "ecdf", "circle", "sphere", "mollweide", "report", "power"],
)
@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_words_and_null_laws_are_seen_in_dark_styles(draw, style):
    with matplotlib.style.context(style):
        figure = draw()
    ground = _brightness(figure.get_facecolor()[:3])
    for axes in figure.axes:
        for text in axes.texts:
            if text.get_text() and text.get_color() != OBSERVED:
                assert abs(_brightness(text.get_color()) - ground) > 0.5
        for line in axes.lines:
            if line.get_label() in ("uniform law", "alpha = 0.05"):
                assert abs(_brightness(line.get_color()) - ground) > 0.5


def test_a_statistic_of_zero_has_no_sign():
    axes = plots.null_density(np.tile(np.eye(3)[:1], (60, 1)), "packing").axes[0]
    assert axes.texts[0].get_text().startswith("0\n")
