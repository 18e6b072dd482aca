"""Pictures of tests of uniformity: projections, p-values, power."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sphuni._rng import seeds
from sphuni._rows import numpy_directions
from sphuni.plots._caption import plain
from sphuni.plots._style import (
    OBSERVED,
    axes_or_new,
    figure_of,
    ink_on,
    key_within,
    new_figure,
    tidy,
)
from sphuni.plots.samples import circle, mollweide
from sphuni.special import cap_measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sphuni.stats import PowerResult, TestTable, UniformityTestResult

__all__ = ["power_curves", "projected_ecdf", "uniformity_report"]

_FLOAT = NDArray[np.float64]
_REJECTED = "#c3321a"
_BAND = "#8fa3b8"
_CURVES = ("#1f6fb2", "#c3321a", "#0b8a79", "#8a2b6b", "#d9731a", "#5b6470", "#b88a0b", "#173f6b")
_DASHES = ("-", "--", "-.", ":")
_GRID = 400
_MOST_WITHIN = 6
"""Curves whose names have room among them; those of more stand beside."""


def projected_ecdf(
    points: Any,
    /,
    *,
    n_directions: int = 60,
    rng: int = 0,
    color: str = OBSERVED,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw the distribution of the points' projections against what uniform points give.

    Parameters
    ----------
    points : array_like of shape (n, d)
        Unit rows.
    n_directions : int, default 60
        Random directions, one thin curve each.
    rng : int, default 0
        Seed of the directions.
    color : str, optional
        Any matplotlib colour.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    Thick curves: the mean direction, and the axes along which the points spread most and least.
    These were chosen by the points, so that some departure is to be expected of them. The grey band
    holds 95 % of the ecdf of one direction fixed beforehand, at each abscissa. The projected tests
    (PCvM, PAD, PRt) average such departures over all directions.

    References
    ----------
    E. García-Portugués, P. Navarro-Esteban, J. A. Cuesta-Albertos, "On a projection-based class of
    uniformity tests on the hypersphere", Bernoulli 29 (2023) 181-204, doi:10.3150/21-BEJ1454.
    """
    x = numpy_directions(points)
    n, d = x.shape
    axes = axes_or_new(ax, 4.8, 3.4)
    t = np.cos(np.linspace(np.pi, 0.0, _GRID))
    null = 1.0 - np.asarray(cap_measure(np.arccos(t), d))
    low, high = _binomial_band(n, null)
    axes.fill_between(t, low, high, color=_BAND, alpha=0.35, lw=0, label="95 % of uniform sets")
    heights = np.append(np.arange(n + 1) / n, 1.0)
    # a stream of its own: points drawn with the same seed would be the directions themselves
    random = np.random.default_rng(seeds(rng, 1)[0]).standard_normal((n_directions, d))
    for k, direction in enumerate(random / np.linalg.norm(random, axis=1, keepdims=True)):
        axes.step(
            _jumps(x, direction), heights, where="post", color=color, lw=0.4, alpha=0.25,
            label="" if k else "random directions",
        )  # fmt: skip
    own = _own_directions(x)
    for label, direction, dash in own:
        axes.step(_jumps(x, direction), heights, where="post", color=color, ls=dash, label=label)
    axes.plot(t, null, color=ink_on(axes), lw=1.6, label="uniform law")
    farthest = max(float(np.abs(x @ direction).max()) for _, direction, _ in own)
    half = min(1.0, max(5.0 / np.sqrt(d), 1.05 * farthest))
    axes.set(xlabel="projection on a direction", ylabel="share of points", xlim=(-half, half))
    axes.set_ylim(0, 1)
    tidy(axes, left=True)
    key = key_within(axes)
    for line in key.get_lines():  # as thin and pale as the curves themselves it would not be seen
        line.set(alpha=1.0, lw=max(line.get_linewidth(), 0.8))
    return figure_of(axes)


def power_curves(
    curves: "Mapping[str, Sequence[PowerResult]]",
    x: ArrayLike,
    *,
    tail: Literal["upper", "lower", "two_sided"] = "upper",
    xlabel: str = "strength of the alternative",
    log: bool = False,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw how often tests reject, with their 95 % intervals.

    Parameters
    ----------
    curves : mapping of str to sequence of PowerResult
        One curve per key, one result per entry of `x`.
    x : array_like of shape (k,)
        Abscissas: strengths, or numbers of points.
    tail : {"upper", "lower", "two_sided"}, default "upper"
        Which rejections.
    xlabel : str
        What `x` is.
    log : bool, default False
        Logarithmic abscissa, of positive `x`.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not isinstance(curves, Mapping):
        raise TypeError(
            "curves must map names to lists of what power returned; got "
            f"{type(curves).__name__}. Write power_curves({{'rayleigh': results}}, x)"
        )
    if not curves:
        raise ValueError("curves must hold at least one test; got none")
    places = np.asarray(x, dtype=np.float64)
    if log and bool((places <= 0).any()):
        raise ValueError(
            f"x must be positive on a logarithmic axis; got {places.min():g}. Leave it out, or "
            "take log=False"
        )
    beside = len(curves) > _MOST_WITHIN
    axes = axes_or_new(ax, 6.6 if beside else 4.8, 3.4)
    levels: set[float] = set()
    for index, (label, results) in enumerate(curves.items()):
        if not hasattr(results, "__len__"):
            raise TypeError(
                f"curves[{label!r}] must be a list of results, one per entry of x; got "
                f"{type(results).__name__}"
            )
        if len(results) != len(places):
            raise ValueError(
                f"curves[{label!r}] must have one result per entry of x ({len(places)}); "
                f"got {len(results)}"
            )
        shade = _CURVES[index % len(_CURVES)]
        # another dash for each round of the colours
        dash = _DASHES[(index + index // len(_CURVES)) % len(_DASHES)]
        shares = [getattr(result, tail) for result in results]
        low, high = np.array([getattr(result, f"{tail}_interval") for result in results]).T
        axes.fill_between(places, low, high, color=shade, alpha=0.18, lw=0)
        if len(places) == 1:  # a band of no width
            axes.vlines(places, low, high, color=shade, alpha=0.5, lw=1.0)
        axes.plot(
            places, shares, dash, color=shade, lw=1.6, marker="o", ms=3, label=plain(str(label))
        )
        levels |= {result.alpha for result in results}
    for place, alpha in enumerate(sorted(levels)):
        dots = (0, (1, 2 + 2 * place))  # sparser for the larger level
        axes.axhline(alpha, color=ink_on(axes), lw=0.8, ls=dots, label=f"alpha = {alpha:g}")
    axes.set(xlabel=xlabel, ylabel="share of sets rejected", ylim=(-0.02, 1.02))
    if log:
        axes.set_xscale("log")
    tidy(axes, left=True)
    if beside:
        axes.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    else:
        key_within(axes)
    return figure_of(axes)


def uniformity_report(
    points: Any,
    /,
    pvalues: "Mapping[str, float] | TestTable | UniformityTestResult",
    *,
    alpha: float | None = None,
    xlabel: str = "p-value",
    antipodal: bool = False,
) -> "Figure":
    """Draw a sample beside the p-values of its tests.

    Parameters
    ----------
    points : array_like of shape (n, d)
        Unit rows. d = 2 is drawn as a circle, d = 3 as a map, others by their projections.
    pvalues : mapping of str to float, TestTable or UniformityTestResult
        p-value of each test, drawn in this order from the top; nan where there is none. Of results
        of one set: the p-values of the upper tail, not adjusted.
    alpha : float, optional
        Level to mark.
    xlabel : str
        What the p-values are.
    antipodal : bool, default False
        Draw points as lines.

    Returns
    -------
    matplotlib.figure.Figure
    """
    x = numpy_directions(points)
    pvalues = _named_pvalues(pvalues)
    height = max(3.4, 0.22 * len(pvalues) + 1.0)
    figure = new_figure(9.6, height)
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1.0))
    if x.shape[1] == 2:
        circle(x, antipodal=antipodal, ax=left)
    elif x.shape[1] == 3:
        mollweide(x, antipodal=antipodal, ax=left)
    else:
        projected_ecdf(x, ax=left)
    left.set_title(f"n = {len(x)}, d = {x.shape[1]}", fontsize="medium", color=ink_on(left))
    _pvalue_dots(right, pvalues, alpha)
    right.set_xlabel(xlabel)
    return figure


def _named_pvalues(given: Any) -> Mapping[str, float]:
    """The p-values of a mapping or of results by the names of their tests."""
    from sphuni.stats import TestTable, UniformityTestResult

    if isinstance(given, Mapping):
        return given
    if not isinstance(given, TestTable | UniformityTestResult):
        raise TypeError(
            "pvalues must map names of tests to numbers, or be what uniformity_test or "
            f"uniformity_tests returned; got {type(given).__name__}"
        )
    results = (given,) if isinstance(given, UniformityTestResult) else given.results
    for result in results:
        if tuple(result.pvalue.shape):
            raise ValueError(
                "pvalues must be those of one set; got the results of a batch of shape "
                f"{tuple(result.pvalue.shape)}"
            )
    return {result.label: float(result.pvalue) for result in results}


def _pvalue_dots(axes: "Axes", pvalues: Mapping[str, float], alpha: float | None) -> None:
    """One row a test, p on a logarithmic axis; what lies beyond it is drawn as an arrow."""
    values = np.array(list(pvalues.values()), dtype=np.float64)
    present = values[values > 0]
    level, ink = 0.0 if alpha is None else alpha, ink_on(axes)
    low = max(min(present.min(initial=1.0) / 3, level / 3 if level > 0 else 1.0, 1e-3), 1e-12)
    rows = np.arange(len(values))
    for row, value in enumerate(values):
        if np.isnan(value):
            axes.text(1.0, row, "no p-value", ha="right", va="center", fontsize="small", color=ink)
            continue
        shade = _REJECTED if value < level else OBSERVED
        beyond = value < low
        place = low if beyond else value
        axes.plot([place, 1.0], [row, row], color=shade, lw=1.0, alpha=0.35)
        axes.plot(place, row, "<" if beyond else "o", color=shade, ms=5, clip_on=False)
    if level >= low:
        axes.plot([level, level], [-0.7, len(values)], color=ink, lw=0.9, ls="--")
        axes.text(
            level, -0.75, f"α = {level:g}", ha="center", va="bottom", fontsize="small", color=ink
        )
    axes.set_xscale("log")
    axes.set(xlim=(low, 1.15), ylim=(len(values) - 0.4, -1.0))
    axes.set_yticks(rows, list(pvalues), parse_math=False)
    axes.tick_params(axis="y", length=0, labelsize="small", pad=6)  # clear of an arrow
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _own_directions(x: _FLOAT) -> list[tuple[str, _FLOAT, str]]:
    """Directions that the points themselves single out."""
    mean = x.mean(axis=0)
    _, axes = np.linalg.eigh(x.T @ x)
    # an axis has no sign: take the one that agrees with the mean
    most, least = (axis * (1.0 if axis @ mean >= 0 else -1.0) for axis in (axes[:, -1], axes[:, 0]))
    length = float(np.linalg.norm(mean))
    own = [("longest axis", most, "--"), ("shortest axis", least, ":")]
    return [("mean direction", mean / length, "-"), *own] if length > 1e-9 else own


def _jumps(x: _FLOAT, direction: _FLOAT) -> _FLOAT:
    """Places of the ecdf of projections, from the end where it is 0 to the end where it is 1."""
    return np.concatenate([[-1.0], np.sort(np.clip(x @ direction, -1.0, 1.0)), [1.0]])


def _binomial_band(n: int, null: _FLOAT) -> tuple[_FLOAT, _FLOAT]:
    from scipy import stats

    share = np.clip(null, 0.0, 1.0)
    low, high = (stats.binom.ppf(level, n, share) / n for level in (0.025, 0.975))
    return np.clip(low, 0, 1), np.clip(high, 0, 1)
