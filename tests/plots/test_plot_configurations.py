"""Pictures of configurations: what is drawn agrees with what is known of the sets."""

import itertools
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle

import sphuni
from sphuni.configurations import construct, fibonacci_sphere, optimize
from sphuni.distributions import uniform_cap
from sphuni.kernels import Riesz
from sphuni.plots import configurations as module
from sphuni.plots._caption import gap_text, group_math, heading, value_text
from sphuni.plots._diagram import closest_pairs, diagram, rows_of
from sphuni.plots._potential import potential_at, worst_poles
from sphuni.plots._sphere import BACK, FRONT, arc, cap, polygon, visible_arc
from sphuni.plots._style import INK
from sphuni.plots.configurations import configuration, neighbour_counts, voronoi_cells
from sphuni.plots.holes import contact_graph, deepest_holes
from sphuni.plots.potentials import potential_map
from sphuni.plots.quadrature import degree_residuals, quadrature_weights


@pytest.fixture(scope="module")
def results():
    """One small optimum of every problem that has a picture of its own."""
    asked = {
        "thomson": {"n": 14},
        "tammes": {"n": 14},
        "covering": {"n": 8},
        "polarization": {"n": 6, "s": 1.0},
        "maxdet": {"n": 16},
        "design": {"n": 12, "s": 5.0},
    }
    return {
        name: optimize(name, restarts=2, engine="blockwise", **options)
        for name, options in asked.items()
    }


def words(figure: Figure) -> str:
    """Everything written in a figure."""
    figure.canvas.draw()
    parts = [text.get_text() for axes in figure.axes for text in axes.texts]
    parts += [axes.get_title() for axes in figure.axes]
    legends = [legend for axes in figure.axes if (legend := axes.get_legend()) is not None]
    return " ".join(parts + [text.get_text() for legend in legends for text in legend.get_texts()])


def shoelace(outline: np.ndarray) -> float:
    """Area of a plane polygon."""
    x, y = outline.T
    return 0.5 * abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1)))


@pytest.mark.parametrize(
    ("name", "sides"), [("cross_3", 4), ("cube_3", 3), ("icosahedron", 5), ("dodecahedron", 3)]
)
def test_neighbours_of_regular_solids(name, sides):
    assert set(neighbour_counts(construct(name)).tolist()) == {sides}


def test_diagram_obeys_euler_and_duality():
    points = sphuni.random_points(80, 3, rng=0)
    found = diagram(points)
    assert (6 - found.sides).sum() == 12
    assert len(points) - len(found.edges) + len(found.corners) == 2
    assert sum(map(len, found.facets)) == sum(map(len, found.cells)) == 2 * len(found.edges)
    cosines = found.corners @ points.T
    assert np.cos(found.radii) == pytest.approx(cosines.max(axis=1))
    for corner, facet in enumerate(found.facets):
        assert cosines[corner, facet] == pytest.approx(cosines[corner].max())


def test_flat_facets_are_one():
    found = diagram(construct("cube_3"))
    assert [len(facet) for facet in found.facets] == [4] * 6
    assert np.sort(np.abs(found.corners), axis=1) == pytest.approx(np.tile([0, 0, 1.0], (6, 1)))
    assert len(found.edges) == 12


def test_rows_in_single_precision_are_scaled():
    rounded = sphuni.random_points(20, 3, rng=0).astype(np.float32)
    assert np.linalg.norm(rows_of(rounded), axis=1) == pytest.approx(np.ones(20), abs=1e-15)
    exact = construct("icosahedron")
    assert np.array_equal(rows_of(exact), exact)


def test_diagram_of_points_in_a_half_sphere():
    points = sphuni.random_points(30, 3, rng=1)
    points[:, 2] = np.abs(points[:, 2]) + 0.2
    found = diagram(sphuni.normalize(points))
    assert found.radii.max() > np.pi / 2
    assert (6 - found.sides).sum() == 12


def test_voronoi_cells_fill_both_discs():
    points = sphuni.random_points(60, 3, rng=2)
    found = diagram(points)
    for view in (FRONT, BACK):
        parts = [polygon(found.corners[cell]).fill(view) for cell in found.cells]
        area = sum(shoelace(part) for part in parts if part is not None)
        assert area == pytest.approx(np.pi, rel=2e-3)


@pytest.mark.parametrize("name", ["tetrahedron", "cross_3", "cube_3"])
def test_large_cells_fill_both_discs_too(name):
    turn = np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0]
    found = diagram(construct(name) @ turn)
    for view in (FRONT, BACK):
        parts = [polygon(found.corners[cell]).fill(view) for cell in found.cells]
        area = sum(shoelace(part) for part in parts if part is not None)
        assert area == pytest.approx(np.pi, rel=2e-3)


def test_caps_are_ellipses_cut_at_the_rim():
    top = cap(np.array([0.0, 0.0, 1.0]), 0.5)
    assert shoelace(top.fill(FRONT)) == pytest.approx(np.pi * np.sin(0.5) ** 2, rel=1e-3)
    assert top.fill(BACK) is None
    side = cap(np.array([1.0, 0.0, 0.0]), 0.5)
    segment = 0.5 - np.sin(0.5) * np.cos(0.5)
    assert shoelace(side.fill(FRONT)) == pytest.approx(segment, rel=5e-3)
    assert shoelace(side.fill(BACK)) == pytest.approx(segment, rel=5e-3)
    assert side.fill(FRONT)[:, 0].mean() - FRONT.shift == pytest.approx(
        -(side.fill(BACK)[:, 0].mean() - BACK.shift)
    )


def test_arcs_end_at_the_rim():
    path = arc(np.array([0.6, 0.0, 0.8]), np.array([0.6, 0.0, -0.8]))
    for view in (FRONT, BACK):
        seen = visible_arc(path, view) - (view.shift, 0.0)
        assert np.linalg.norm(seen, axis=1).max() == pytest.approx(1.0)
        assert np.abs(seen[:, 0]).min() == pytest.approx(0.6)


def test_contacts_of_the_icosahedron():
    pairs, angle = closest_pairs(construct("icosahedron"), tolerance=1e-9)
    assert len(pairs) == 30
    assert angle == pytest.approx(np.arctan(2))
    text = words(contact_graph(construct("icosahedron")))
    assert "30 contacts" in text
    assert "12 caps with 5" in text


def test_free_points_are_named():
    points = np.vstack([np.eye(3), -np.ones((1, 3)) / 3**0.5])
    text = words(contact_graph(points))
    assert "3 contacts" in text
    assert "1 cap free" in text
    assert "3 caps with 2" in text


def test_caps_without_force_are_free():
    points = construct("cross_3")
    pairs, angle = closest_pairs(points, tolerance=1e-9)
    force = np.where((pairs == 0).any(axis=1), 0.0, 1.0)
    result = SimpleNamespace(
        problem="tammes", n=6, s=None, antipodal=False, points=points, value=angle, gap=None,
        record=None, certificate=SimpleNamespace(active=pairs, multipliers=force),
    )  # fmt: skip
    text = words(contact_graph(result))
    assert "8 contacts" in text
    assert "1 cap free" in text
    assert "$C_{4v}$ (order 8)" in text
    result.certificate.multipliers = np.ones(len(pairs))
    assert "$O_{h}$ (order 48)" in words(contact_graph(result))


def test_deepest_holes_of_the_cube():
    figure = deepest_holes(construct("cube_3"))
    assert "6 deepest holes, radius 54.7356°" in words(figure)
    (axes,) = figure.axes
    assert any(isinstance(group, LineCollection) for group in axes.collections)


def test_what_no_facet_of_points_in_a_half_sphere_covers_has_the_deepest_colour():
    points = uniform_cap(12, 3, angle=1.2, mu=[0, 0, -1], rng=0)
    found = diagram(points)
    assert (found.radii[np.setdiff1d(np.arange(len(found.radii)), found.inner)] > np.pi / 2).all()
    figure = deepest_holes(points)
    assert "1 deepest hole, radius" in words(figure)
    (axes,) = figure.axes
    (swatch,) = [
        line.get_color()
        for line, text in zip(
            axes.get_legend().get_lines(), axes.get_legend().get_texts(), strict=True
        )
        if text.get_text() == "deep facet"
    ]
    grounds = [patch for patch in axes.patches if isinstance(patch, Circle) and patch.get_fill()]
    for view in (FRONT, BACK):
        there = [patch for patch in grounds if patch.center == (view.shift, 0.0)]
        assert to_rgb(there[-2].get_facecolor()) == pytest.approx(to_rgb(swatch))
    drawn = [color for g in axes.collections for color in g.get_facecolor()]
    assert not [color for color in drawn if np.allclose(color, swatch)]


def test_cells_show_their_points_and_differ():
    def linear(color):
        rgb = np.array(to_rgb(color))
        return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)

    def lightness(color):
        return float(linear(color) @ [0.2126, 0.7152, 0.0722])

    for color in module._COLORS.values():
        assert (lightness(color) + 0.05) / (lightness(INK) + 0.05) > 3
    for one, other in itertools.combinations(module._COLORS.values(), 2):
        assert np.abs(np.cbrt(linear(one)) - np.cbrt(linear(other))).max() > 0.15
    style = (Path(module.__file__).parent / "templates" / "sphere.css").read_text(encoding="utf-8")
    light = style[: style.index("@media")]
    assert dict(re.findall(r"--c(\d): (#\w+)", light)) == {
        str(k): color for k, color in module._COLORS.items()
    }


def test_a_long_legend_stays_below_the_discs():
    figure = voronoi_cells(sphuni.random_points(150, 3, rng=4))
    figure.canvas.draw()
    (axes,) = figure.axes
    assert len(axes.get_legend().get_texts()) > 5
    rim = axes.transData.transform((0.0, -1.0))[1]
    assert axes.get_legend().get_window_extent().y1 <= rim


def test_one_contact_is_singular():
    assert "1 contact " in words(contact_graph(sphuni.random_points(20, 3, rng=1)))


@pytest.mark.parametrize("s", [1.0, 3.0])
def test_colours_of_potentials_end_at_four_fifths_of_the_area(s):
    points = uniform_cap(12, 3, angle=1.2, mu=[0, 0, -1], rng=0)
    figure = potential_map(points, s=s)
    top = figure.axes[0].images[0].get_clim()[1]
    places = sphuni.random_points(40_000, 3, rng=0)
    assert (potential_at(places, points, s) < top).mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("highest", [0, -3])
def test_degrees_below_one_are_refused(highest):
    with pytest.raises(ValueError, match=rf"highest must be at least 1 .*; got {highest}"):
        degree_residuals(construct("icosahedron"), highest=highest)
    assert degree_residuals(construct("icosahedron"), highest=1).axes[0].get_xlim() == (0.4, 1.6)


@pytest.mark.parametrize("name", ["thomson", "tammes", "covering", "polarization", "maxdet"])
def test_every_problem_has_its_picture(results, name, tmp_path):
    figure = configuration(results[name])
    text = words(figure)
    assert f"n = {results[name].n} points" in text
    assert "symmetry" in text
    assert value_text(results[name]) in text
    figure.savefig(tmp_path / "a.png", dpi=40)
    figure.savefig(tmp_path / "a.svg")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_every_cell_is_drawn_on_one_side_at_least(results):
    (axes,) = voronoi_cells(results["thomson"]).axes
    drawn = [len(g.get_paths()) for g in axes.collections if isinstance(g, PolyCollection)]
    assert len(drawn) == 2
    assert 14 <= sum(drawn) <= 28
    text = words(configuration(results["thomson"]))
    assert "12 pentagons" in text
    assert "2 hexagons" in text
    assert "equals the" in text
    assert "$D_{6d}$ (order 24)" in text


def test_worst_poles_of_the_octahedron(results):
    text = words(configuration(results["polarization"]))
    assert "8 worst poles" in text
    assert "$O_{h}$ (order 48)" in text
    assert "8 worst poles" in words(potential_map(construct("cross_3"), s=3.0))


@pytest.mark.parametrize("s", [0.0, -1.0])
def test_potentials_of_every_exponent_are_drawn(s):
    points = construct("cross_3")
    place = np.full((1, 3), 3**-0.5)
    assert potential_at(place, points, s) == pytest.approx(Riesz(s)(place @ points.T).sum(1))
    found = optimize("polarization", n=6, s=s, restarts=1, engine="blockwise")
    text = words(configuration(found))
    assert "8 worst poles" in text
    poles, least = worst_poles(points, s, 1e-7)
    assert (len(poles), least) == (8, pytest.approx(found.value))


@pytest.mark.parametrize("s", [-1.0, 0.0, 2.5])
def test_worst_poles_are_searched_for_once(s, monkeypatch):
    """The search is what takes long; its margin covers the tolerance whatever the least is."""
    from sphuni.configurations.maxmin import _poles

    asked = []

    def search(points, kernel, margin):
        asked.append(margin)
        return lowest_poles(points, kernel, margin)

    lowest_poles = _poles.lowest_poles
    monkeypatch.setattr(_poles, "lowest_poles", search)
    for points in (sphuni.random_points(30, 3, rng=0), construct("cross_3")):
        poles, least = worst_poles(points, s, 0.05)
        values = potential_at(poles, points, s)
        every = lowest_poles(torch.from_numpy(points), Riesz(s), np.inf).numpy()
        every = potential_at(every, points, s)
        assert values.min() == least == every.min()
        assert len(poles) == np.sum(every - least <= 0.05 * abs(least))
    assert len(asked) == 2
    assert np.isfinite(asked).all()


@pytest.mark.parametrize("s", [0.0, 1.0, 3.0])
def test_worst_poles_are_reached_from_the_lowest_starts(s, monkeypatch):
    """A picture of 20,000 points took minutes, all in descents from places far too high."""
    from sphuni.configurations.maxmin import _poles

    started = []

    def settle(kernel):
        descend = native_wells(kernel)
        return lambda points, starts: (started.append(len(starts)), descend(points, starts))[1]

    native_wells = _poles.native_wells
    monkeypatch.setattr(_poles, "native_wells", settle)
    for points in (fibonacci_sphere(400), sphuni.random_points(400, 3, rng=0)):
        started.clear()
        poles, least = worst_poles(points, s, 1e-7)
        assert sum(started) < 600
        every = _poles.lowest_poles(torch.from_numpy(points), Riesz(s), np.inf).numpy()
        assert sum(started) > 1_200
        values = potential_at(every, points, s)
        assert least == pytest.approx(values.min(), rel=1e-12)
        assert len(poles) == np.sum(values - least <= 1e-7 * abs(least))


@pytest.mark.parametrize("draw", [contact_graph, deepest_holes, potential_map])
@pytest.mark.parametrize(
    ("tolerance", "error", "message"),
    [
        (-1.0, ValueError, "tolerance must be finite, at least 0; got -1.0"),
        (float("nan"), ValueError, "tolerance must be finite, at least 0; got nan"),
        ("tight", TypeError, "tolerance must be a number; got 'tight'"),
    ],
)
def test_tolerances_that_mark_nothing_are_refused(draw, tolerance, error, message):
    with pytest.raises(error, match=message):
        draw(construct("icosahedron"), tolerance=tolerance)


def test_the_potential_at_a_point_is_that_of_coincidence():
    points = construct("icosahedron")
    assert np.isposinf(potential_at(points, points, 1.0)).all()
    assert np.isfinite(potential_at(points, points, -1.0)).all()


def test_weights_of_extremal_points(results):
    figure = configuration(results["maxdet"])
    assert "Extremal points of degree 3" in words(figure)
    other = optimize("maxdet", n=12, restarts=2, kernel=sphuni.Gaussian(1.0))
    assert "Greatest determinant: n = 12 points" in words(configuration(other))


def test_quadrature_weights_are_even_for_the_tetrahedron():
    from sphuni.plots.quadrature import _weights

    assert _weights(construct("tetrahedron")) == pytest.approx(np.full(4, np.pi))
    weights = _weights(sphuni.random_points(25, 3, rng=0))
    assert weights.sum() == pytest.approx(4 * np.pi)


def test_degree_residuals_of_the_icosahedron(results):
    figure = configuration(results["design"])
    assert "Spherical 5-design" in figure.get_suptitle()
    good, off = figure.axes[0].lines[:2]
    assert set(range(1, 6)) <= set(good.get_xdata().tolist())
    assert off.get_xdata().tolist() == [6, 10, 12]
    t = np.array([1.0] + [5**-0.5] * 5 + [-(5**-0.5)] * 5 + [-1.0])
    legendre = np.polynomial.legendre.legval(t, [0] * 6 + [1]).mean()
    assert off.get_ydata()[0] == pytest.approx(legendre**0.5)


def test_degree_residuals_of_points_that_may_not_be_written_to():
    points = construct("icosahedron")
    points.setflags(write=False)
    assert degree_residuals(points).axes


def test_degree_residuals_of_lines_are_those_of_both_ends():
    lines = optimize("design", n=6, s=5, antipodal=True, rng=0)
    good, off = degree_residuals(lines).axes[0].lines[:2]
    assert good.get_xdata().tolist() == [1, 2, 3, 4, 5, 7, 8, 9, 11]
    assert off.get_xdata().tolist() == [6, 10, 12]


@pytest.mark.parametrize("n", [1, 2, 30])
def test_degrees_are_whole_numbers_and_nothing_is_written_over_them(n):
    (axes,) = degree_residuals(sphuni.random_points(n, 3, rng=0)).axes
    axes.figure.canvas.draw()
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    assert len(axes.texts) == 0
    assert "random points" in words(axes.figure)


@pytest.mark.parametrize("n", [30, 300, 3000])
def test_keys_lie_within_the_figure(n):
    figure = voronoi_cells(sphuni.random_points(n, 3, rng=0))
    figure.canvas.draw()
    box = figure.axes[0].get_legend().get_window_extent()
    assert figure.bbox.x0 <= box.x0
    assert box.x1 <= figure.bbox.x1


def test_pictures_of_lines_show_both_ends():
    lines = optimize("tammes", n=6, restarts=2, antipodal=True, engine="blockwise")
    text = words(configuration(lines))
    assert "n = 6 lines" in text
    assert "30 contacts" in text


def test_pictures_are_drawn_where_asked(results):
    axes = Figure().add_subplot()
    for draw in (voronoi_cells, contact_graph, deepest_holes, degree_residuals):
        assert draw(results["thomson"], ax=axes) is axes.figure


def test_captions():
    record = sphuni.configurations.record("thomson", n=12)
    fake = type("R", (), {"problem": "riesz", "s": 2.5, "n": 7, "value": -1.5, "antipodal": False})
    assert heading(fake, 7) == "Riesz energy, s = 2.5: n = 7 points"
    assert value_text(fake) == "energy −1.5"
    assert heading(None, 1) == "1 point on the sphere"
    assert heading(None, 2) == "2 points on the sphere"
    fake.gap, fake.record = None, None
    assert gap_text(fake) == "no record for this size"
    fake.gap, fake.record = 1e-3, record
    assert gap_text(fake) == "1.0e−03 short of the proven optimum"
    fake.gap = -1e-3
    assert gap_text(fake) == "1.0e−03 better than the proven optimum"
    fake.gap = 1e-13
    assert gap_text(fake) == "equals the proven optimum"
    assert group_math("D∞h") == r"$D_{\infty h}$"
    assert group_math("T") == "$T$"


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.eye(4), r"points must have shape \(n, 3\) with n >= 4; got \(4, 4\)"),
        (np.eye(3), r"points must have shape \(n, 3\) with n >= 4"),
        (2 * construct("cross_3"), "row 0 has norm 2"),
        (np.full((5, 3), np.nan), "unit rows"),
        (np.vstack([construct("cube"), construct("cube")[:1]]), r"points must be distinct; row \d"),
        (
            np.column_stack([construct("polygon_6"), np.zeros(6)]),
            "points must not lie in one plane",
        ),
    ],
)
def test_refusals(points, message):
    with pytest.raises(ValueError, match=message):
        configuration(points)


def test_refusals_of_single_pictures():
    with pytest.raises(ValueError, match=r"points must be \(L \+ 1\)\^2 in number"):
        quadrature_weights(construct("icosahedron"))
    half = sphuni.random_points(8, 3, rng=0)
    with pytest.raises(ValueError, match="points must fix polynomials of degree 3 by their values"):
        quadrature_weights(np.vstack([half, -half]))
    with pytest.raises(ValueError, match="s must be finite and above -2; got -2"):
        potential_map(construct("icosahedron"), s=-2.0)


def test_steep_potentials_have_logarithmic_colours():
    points = sphuni.random_points(100, 3, rng=1)
    image = potential_map(points, s=30).axes[0].images[0]
    shades = np.ma.compressed(image.norm(image.get_array()))
    inside = (shades > 0.1) & (shades < 0.9)
    assert inside.mean() > 0.3  # of a linear scale nearly all is at one end or the other


def test_potentials_without_poles_are_shown_in_full():
    points = uniform_cap(12, 3, angle=1.2, mu=[0, 0, -1], rng=0)
    top = potential_map(points, s=-1).axes[0].images[0].get_clim()[1]
    places = sphuni.random_points(5_000, 3, rng=0)
    assert (potential_at(places, points, -1.0) <= top + 1e-2).all()
