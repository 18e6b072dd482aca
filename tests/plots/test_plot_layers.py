import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.integrate import trapezoid

from sphuni import plots, random_points
from sphuni.plots._nulls import cosine_curve, nearest_curve, nearest_line, rebin, shown_angles
from sphuni.special import cap_angle

N, D = 200, 24


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((N, D))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def cosines(rows):
    return np.histogram((rows @ rows.T)[np.triu_indices(N, 1)], bins=100, range=(-1, 1))


@pytest.fixture(scope="module")
def nearest(rows):
    closest = (rows @ rows.T - 3 * np.eye(N)).max(1)
    return np.histogram(np.degrees(np.arccos(closest)), bins=180, range=(0, 180))


def test_cosine_curve_is_the_density(cosines):
    t, density = cosine_curve(D, -1.0, 1.0, 2001)
    assert trapezoid(density, t) == pytest.approx(1.0, abs=1e-4)
    counts, edges = cosines
    middle = 0.5 * (edges[1:] + edges[:-1])
    observed = counts / counts.sum() / np.diff(edges)
    assert np.abs(observed - np.interp(middle, t, density)).max() < 0.25


def test_cosine_curve_of_the_circle_is_finite():
    t, density = cosine_curve(2, -1.0, 1.0)
    assert np.isfinite(density).all()
    assert t[0] > -1.0


@pytest.mark.parametrize(("n", "d"), [(2, 2), (2, 3), (30, 4), (N, D), (50_000, 768)])
def test_nearest_curve_is_a_density(n, d):
    degrees, density = nearest_curve(n, d)
    assert (density >= 0).all()
    assert trapezoid(density, degrees) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("n", "d"), [(10**3, 2), (10**5, 2), (10**9, 2), (10**6, 3), (10**7, 3), (10**7, 50)]
)
def test_nearest_curve_of_crowded_points_is_a_density(n, d):
    degrees, density = nearest_curve(n, d)
    assert trapezoid(density, degrees) == pytest.approx(1.0, abs=1e-3)
    # the angle of a cap that holds 1/n of the sphere is exceeded with probability 1/e
    typical = np.degrees(cap_angle(1 / n, d))
    beyond = degrees >= typical
    assert trapezoid(density[beyond], degrees[beyond]) == pytest.approx(np.exp(-1), abs=0.02)


def test_nearest_curve_of_the_circle_is_exponential():
    degrees, density = nearest_curve(10**5, 2)
    rate = (10**5 - 1) / 180
    assert density == pytest.approx(rate * np.exp(-rate * degrees), rel=2e-3, abs=1e-6 * rate)


def test_narrow_laws_are_drawn_as_heights_of_bars():
    edges = np.arange(20.0, 41.0)
    places, heights = nearest_line(10**5, 2, edges)
    assert (places[0], places[-1], heights.max()) == (0.0, 1.0, pytest.approx(1.0))
    places, heights = nearest_line(4000, 768, edges + 0.5)
    assert trapezoid(heights, places) == pytest.approx(1.0, abs=1e-5)
    assert (places % 1.0 == 0.5).all()
    fine = nearest_line(N, D, np.linspace(20.0, 40.0, 401))
    assert np.array_equal(fine, nearest_curve(N, D))


def test_axis_of_nearest_angles_holds_law_and_data():
    assert shown_angles(np.array([0.0, 1.0]), np.array([99.0, 100.0])) == (0.0, 104.0)
    gaps = np.random.default_rng(0).exponential(180 / 1e5, 100_000)
    figure = plots.nearest_angles(*np.histogram(gaps, 1000, (0, 0.1)), n=10**5, d=2)
    low, high = figure.axes[0].get_xlim()
    assert 0.0 == low < gaps.max() < high < 0.04
    (patch,) = figure.axes[0].patches
    (law,) = figure.axes[0].lines
    assert patch.get_data().values.max() == pytest.approx(law.get_ydata().max(), rel=0.1)


def test_nearest_curve_of_two_points_on_the_sphere_is_sin():
    degrees, density = nearest_curve(2, 3)
    theta = np.radians(degrees)
    assert density == pytest.approx(0.5 * np.sin(theta) * np.pi / 180, abs=1e-5)


def test_nearest_curve_matches_uniform_rows(nearest):
    counts, edges = nearest
    degrees, density = nearest_curve(N, D)
    mean = trapezoid(degrees * density, degrees)
    observed = (counts * 0.5 * (edges[1:] + edges[:-1])).sum() / counts.sum()
    assert observed == pytest.approx(mean, abs=0.6)


def test_rebin_keeps_every_count():
    counts, edges = np.array([0, 0, 1, 2, 3, 4, 5, 0]), np.arange(9.0)
    merged, bins = rebin(counts, edges, 2)
    assert merged.tolist() == [6.0, 9.0]
    assert bins.tolist() == [2.0, 5.0, 7.0]
    assert rebin(np.zeros(3), np.arange(4.0), 2)[0].size == 0


def area(figure: Figure) -> float:
    """The area of the histogram in the first axes."""
    (patch,) = figure.axes[0].patches
    values, edges, _ = patch.get_data()
    return float((values * np.diff(edges)).sum())


def test_cosine_histogram_is_a_rootogram(cosines):
    figure = plots.cosine_histogram(*cosines, d=D, worst=[0.7])
    (patch,) = figure.axes[0].patches
    values, edges, _ = patch.get_data()
    assert (values**2 * np.diff(edges)).sum() == pytest.approx(1.0)
    assert 0.7 in figure.axes[0].lines[1].get_xdata()


def test_nearest_angles_has_area_one(nearest):
    assert area(plots.nearest_angles(*nearest, n=N, d=D)) == pytest.approx(1.0)


def test_singular_values_are_drawn_in_order(rows):
    values = np.linalg.svd(rows, compute_uv=False)
    line = plots.singular_values(values[::-1], n=N, d=D).axes[0].lines[0]
    assert line.get_ydata() == pytest.approx(values)


def test_panel_can_be_saved_whatever_its_title(rows, cosines, nearest, tmp_path):
    values = np.linalg.svd(rows, compute_uv=False)
    figure = plots.layer_panel(
        cosines=cosines, nearest=nearest, spectrum=values, n=N, d=D, title=r"$\frac{1}{0 <b>"
    )
    figure.savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert len(figure.axes) == 3


def test_map_draws_every_layer_and_caps_infinity(tmp_path):
    verdicts = ["collapsed pair", "uniform", "uniform"]
    figure = plots.layer_map(
        [1.0, 0.9, 0.8], [np.inf, 1.0, 1.1], verdicts=verdicts, names=["$", "b", "c"]
    )
    figure.savefig(tmp_path / "a.png")
    drawn = [line for line in figure.axes[0].lines if line.get_label() in verdicts]
    assert sum(line.get_xdata().size for line in drawn) == 3
    assert all(np.isfinite(line.get_ydata()).all() for line in drawn)


@pytest.mark.parametrize("letters", [10, 100, 200, 700])
def test_titles_of_any_length_lie_within_the_panel(letters, rows, cosines, nearest):
    """200 letters were cut at both sides."""
    spectrum = np.linalg.svd(rows, compute_uv=False)
    title = ("decoder.layers.11.attention.weight:" * 20)[:letters]
    heights = []
    for text in ("one line", title, f"two\n{title}"):
        figure = plots.layer_panel(
            cosines=cosines, nearest=nearest, spectrum=spectrum, n=N, d=D, title=text
        )
        figure.draw_without_rendering()
        heights.append(figure.axes[0].get_window_extent().height)
        extent = figure.texts[0].get_window_extent()
        width, height = figure.get_size_inches() * figure.dpi
        assert extent.x0 >= 0
        assert extent.x1 <= width
        assert extent.y1 <= height
        assert figure.texts[0].get_text().replace("\n", "") == text.replace("\n", "")
    assert min(heights) > 0.9 * heights[0]


@pytest.mark.parametrize(
    ("n", "d", "values"),
    [(20_000, 200, [9.75, 10.1]), (10**3, 10**9, [1.0, 1.0001]), (10, 10, [1e-4, 3.0])],
)
def test_ticks_of_singular_values_are_plain_numbers(n, d, values):
    """A narrow range had labels such as 9.75 x 10^0."""
    axes = plots.singular_values(values, n=n, d=d).axes[0]
    axes.figure.draw_without_rendering()
    low, high = axes.get_ylim()
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    shown = [float(text) for text in labels]
    assert 2 <= len(ticks) <= 8
    assert shown == pytest.approx(list(axes.get_yticks()), rel=1e-6)
    assert not axes.yaxis.get_minorticklocs().size


def test_names_on_a_reference_line_are_not_struck_through():
    figure = plots.layer_map(
        [0.5, 0.6], [0.0, 1.0], verdicts=["uniform", "uniform"], names=["a", "b"]
    )
    for name in figure.axes[0].texts[-2:]:
        (halo,) = name.get_path_effects()
        assert halo._gc == {"linewidth": 3, "foreground": figure.axes[0].get_facecolor()}


@pytest.mark.parametrize("top", [2.0, 30.0, 1e4, 1e8])
def test_map_keeps_its_ticks_and_names_apart(top):
    """Ticks had run into each other below a large excess, and names into the legend."""
    names = [f"features.{k}.convolution.weight" for k in range(4)]
    figure = plots.layer_map(
        [0.05, 0.57, 0.9, 1.1], [0.0, 0.5, 1.0, top], verdicts=["uniform"] * 4, names=names
    )
    figure.canvas.draw()
    (axes,) = figure.axes
    height = axes.get_window_extent().height
    ticks = axes.transData.transform([(0, t) for t in axes.get_yticks()])[:, 1]
    assert np.diff(ticks).min() > 0.04 * height
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    assert not any(axes.get_legend().get_window_extent().overlaps(box) for box in boxes)


def test_given_axes_are_used(cosines):
    axes = Figure().add_subplot()
    assert plots.cosine_histogram(*cosines, d=D, ax=axes) is axes.figure


def test_wrong_input_is_named(cosines, nearest):
    with pytest.raises(ValueError, match="d must be at least 2"):
        plots.cosine_histogram(*cosines, d=1)
    with pytest.raises(ValueError, match="n must be at least 2"):
        plots.nearest_angles(*nearest, n=1, d=3)
    with pytest.raises(ValueError, match="one number more than counts"):
        plots.cosine_histogram([1, 2], [0, 1], d=3)
    with pytest.raises(ValueError, match="all bins are empty"):
        plots.cosine_histogram([0, 0], [0, 0.5, 1], d=3)
    with pytest.raises(ValueError, match="not all zero"):
        plots.singular_values([0.0, 0.0], n=3, d=3)
    with pytest.raises(ValueError, match="got 'bad'"):
        plots.layer_map([1], [1], verdicts=["bad"])
    with pytest.raises(ValueError, match="same length"):
        plots.layer_map([1, 2], [1], verdicts=["uniform"])
    with pytest.raises(ValueError, match="at least one layer to be placed; got none"):
        plots.layer_map([], [], verdicts=[])


def test_importing_the_room_does_not_load_matplotlib():
    code = "import sys, sphuni.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_few_singular_values_of_uniform_rows_lie_near_their_law():
    rows = random_points(2000, 3, rng=0)
    values = np.linalg.svd(rows, compute_uv=False)
    observed, null = plots.singular_values(values, n=2000, d=3).axes[0].lines
    np.testing.assert_allclose(observed.get_xdata(), [1 / 6, 1 / 2, 5 / 6])
    expected = np.interp(observed.get_xdata(), null.get_xdata(), null.get_ydata())
    np.testing.assert_allclose(values, expected, rtol=0.05)


def test_histograms_of_few_rows_are_no_spikes():
    spread_out = np.zeros(720)
    spread_out[np.arange(20, 120, 2)] = 1  # every second bin: spikes, unless they are merged
    axes = plots.nearest_angles(spread_out, np.linspace(0, 180, 721), n=50, d=3).axes[0]
    heights, _, _ = axes.patches[0].get_data()
    assert (heights > 0).all()


def test_infinite_excess_has_a_tick_of_its_own_and_no_marker_is_cut():
    axes = plots.layer_map([1.0, 0.5], [np.inf, 2.0], verdicts=["uniform"] * 2).axes[0]
    assert "∞" in [tick.get_text() for tick in axes.get_yticklabels()]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    highest = max(float(np.max(line.get_ydata())) for line in dots)
    assert highest < axes.get_ylim()[1]


def test_a_layer_without_numbers_takes_no_name_from_the_others():
    axes = plots.layer_map(
        [1.0, 0.5, 0.7], [3.0, np.nan, 1.0], verdicts=["uniform"] * 3, names=["a", "b", "c"]
    ).axes[0]
    assert {"a", "c"} <= {text.get_text() for text in axes.texts}
    assert "b" not in {text.get_text() for text in axes.texts}


def test_long_names_keep_both_ends():
    name = "model.layers.17.self_attn." + "very_" * 12 + "q_proj.weight"
    axes = plots.layer_map([1.0], [1.0], verdicts=["uniform"], names=[name]).axes[0]
    (shown,) = (text.get_text() for text in axes.texts if "…" in text.get_text())
    assert shown.startswith("model.layers.17")
    assert shown.endswith("q_proj.weight")
    assert len(shown) <= 36
