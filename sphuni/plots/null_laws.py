"""A test's null law with the observed statistic marked."""

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sphuni._rows import numpy_directions
from sphuni.plots._style import OBSERVED, axes_or_new, figure_of, ink_on, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sphuni.stats import UniformityTest, UniformityTestResult
    from sphuni.stats._base import LawChoice

__all__ = ["null_density"]

_FLOAT = NDArray[np.float64]
_Found: TypeAlias = "tuple[UniformityTest, LawChoice, float, tuple[float, float]]"
_TEST = "bingham"
_GRID = 400
_MOST_BINS = 80
_DOUBLINGS = 200
_HEADROOM = 1.25
"""Height of the picture over that of the curve: the statistic is written above it."""


def null_density(
    points: Any,
    /,
    test: str = _TEST,
    *,
    null: str = "auto",
    n_resamples: int | None = None,
    color: str = OBSERVED,
    ax: "Axes | None" = None,
    **parameters: Any,
) -> "Figure":
    """Draw the null law of a test with the statistic of the points marked.

    Parameters
    ----------
    points : array_like of shape (n, d) or UniformityTestResult
        Unit rows, or what `sphuni.stats.uniformity_test` found of one set.
    test, null, n_resamples, **parameters
        As in `sphuni.stats.uniformity_test`. A result has its own.
    color : str, optional
        Any matplotlib colour.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    A simulated law is a histogram, a known one a curve. The smaller tail is filled. The p-value of
    a result is the one it has; a simulated law is simulated again.
    """
    from sphuni.stats import UniformityTestResult

    axes = axes_or_new(ax, 4.8, 3.2)
    if isinstance(points, UniformityTestResult):
        _refuse_options(test, null, n_resamples, parameters)
        built, choice, statistic, (upper, lower) = _of_result(points)
        n, d = points.n, points.d
    else:
        x = numpy_directions(points)
        n, d = x.shape
        built, choice, statistic, (upper, lower) = _of_points(
            x, test, null, n_resamples, parameters
        )
    stepped = built.discrete and choice.kind != "asymptotic"
    edges = _edges(choice, discrete=stepped)
    middle = 0.5 * (edges[1:] + edges[:-1])
    density = _density(choice, edges)
    if getattr(choice.law, "sample", None) is not None or stepped:
        axes.stairs(density, edges, color=ink_on(axes), lw=1.1)
    else:
        axes.plot(middle, density, color=ink_on(axes), lw=1.5)
    beyond = edges[1:] > statistic if upper <= lower else edges[:-1] < statistic
    axes.stairs(np.where(beyond, density, 0.0), edges, fill=True, color=color, alpha=0.45)
    _mark(axes, statistic, upper, lower, density.max(), color)
    law = "simulated" if choice.kind == "monte-carlo" else choice.kind
    axes.set(xlabel=f"statistic of {built.name}, n = {n}, d = {d}", ylabel=f"null density ({law})")
    axes.set_ylim(0, _HEADROOM * density.max())
    axes.locator_params(axis="x", nbins=6)
    tidy(axes)
    return figure_of(axes)


def _of_points(
    x: _FLOAT, test: str, null: str, n_resamples: int | None, parameters: dict[str, Any]
) -> _Found:
    """The test, its law, the statistic, and both tails."""
    import torch

    from sphuni.stats import build_test
    from sphuni.stats.nulls._null import Null, choose

    n, d = x.shape
    built = build_test(test, **parameters)
    built.check(n, d)
    choice = choose(built, n, d, Null(null, n_resamples))
    statistic = float(built.statistic(torch.from_numpy(x)))
    tails = choice.law.tails(np.array([statistic]))
    return built, choice, statistic, (float(tails.upper[0]), float(tails.lower[0]))


def _of_result(result: "UniformityTestResult") -> _Found:
    """The same of a result: the law is of the kind that it was read against."""
    from sphuni.stats import build_test
    from sphuni.stats.nulls._null import Null, choose

    shape = tuple(result.statistic.shape)
    if shape:
        raise ValueError(
            f"points must be the result of one set; got one of a batch of shape {shape}. Give the "
            "points of one set"
        )
    built = build_test(result.test, **result.parameters)
    best = built.best_law(result.n, result.d)
    simulated = result.n_resamples is not None
    usual = best is None if simulated else best is not None and best.kind == result.null
    asked = Null("auto" if usual else result.null, result.n_resamples)
    tails = float(result.pvalue), float(result.pvalue_lower)
    return built, choose(built, result.n, result.d, asked), float(result.statistic), tails


def _refuse_options(
    test: str, null: str, n_resamples: int | None, parameters: dict[str, Any]
) -> None:
    """Refuse what would ask a result for another test than its own."""
    given = {"test": test != _TEST, "null": null != "auto", "n_resamples": n_resamples is not None}
    names = [name for name, here in given.items() if here] + list(parameters)
    if names:
        raise TypeError(
            f"{', '.join(names)} cannot be given with a result, which has its own test and law; "
            "give the points instead"
        )


def _edges(choice: "LawChoice", *, discrete: bool) -> _FLOAT:
    """Bins that hold all but a thousandth of the law on either side."""
    sample = getattr(choice.law, "sample", None)
    if sample is not None:
        finite = sample[np.isfinite(sample)]
        bins = max(20, min(_MOST_BINS, int(2 * len(finite) ** (1 / 3))))
        low = float(np.quantile(finite, 0.0005, method="lower"))
        high = float(np.quantile(finite, 0.9995, method="higher"))
        if low == high:
            return np.array([low - 0.5, low + 0.5])
        if discrete:
            return _lattice(np.unique(finite), low, high)
        return np.linspace(low, high, bins + 1)
    low, high = (_quantile(choice, level) for level in (0.0005, 0.9995))
    if discrete:
        return np.arange(np.floor(low) - 0.5, np.ceil(high) + 1.0)
    return np.linspace(low, high, _GRID + 1)


def _lattice(values: _FLOAT, low: float, high: float) -> _FLOAT:
    """Bins about equally spaced values, each of the same number of them."""
    step = float(np.diff(values).min())
    count = round((high - low) / step) + 1
    each = math.ceil(count / _MOST_BINS)
    return low - 0.5 * step + step * each * np.arange(math.ceil(count / each) + 1.0)


def _quantile(choice: "LawChoice", level: float) -> float:
    """Invert the law by bisection, between bounds that move outwards until they enclose it."""
    law = choice.law
    spread = np.sqrt(law.variance) if np.isfinite(law.variance) and law.variance > 0 else 1.0
    centre = law.mean if np.isfinite(law.mean) else 0.0

    def below(x: float) -> float:
        return float(np.asarray(law.tails(np.array([x])).lower)[0])

    low, high = centre - spread, centre + spread
    for _ in range(_DOUBLINGS):
        if below(low) < level:
            break
        low = centre - 2 * (centre - low)
    for _ in range(_DOUBLINGS):
        if below(high) >= level:
            break
        high = centre + 2 * (high - centre)
    for _ in range(80):
        middle = 0.5 * (low + high)
        if below(middle) < level:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _density(choice: "LawChoice", edges: _FLOAT) -> _FLOAT:
    sample = getattr(choice.law, "sample", None)
    if sample is not None:
        counts = np.histogram(sample, edges)[0]
        return np.asarray(counts / sample.size / np.diff(edges))
    below = np.asarray(choice.law.tails(edges).lower)
    return np.asarray(np.maximum(np.diff(below), 0.0) / np.diff(edges))


def _mark(
    axes: "Axes", statistic: float, upper: float, lower: float, top: float, color: str
) -> None:
    """A line at the statistic, or an arrow where it lies outside the picture."""
    name, p = ("p", upper) if upper <= lower else ("p lower", lower)
    text = f"{statistic + 0.0:.4g}\n{name} = {p:.3g}"  # + 0: zero has no sign
    left, right = axes.get_xlim()
    if not left <= statistic <= right:
        reach = 0.45 * (right - left)
        if np.isfinite(statistic) and left - reach < statistic < right + reach:
            axes.set_xlim(min(left, statistic - 0.1 * reach), max(right, statistic + 0.1 * reach))
        else:
            edge, inside = (right, -1) if statistic > right else (left, 1)
            start = edge + inside * 0.3 * (right - left)
            axes.annotate(
                text, xy=(edge, 0.55 * top), xytext=(start, 0.55 * top), color=color,
                arrowprops={"arrowstyle": "-|>", "color": color}, va="center", ha="center",
            )  # fmt: skip
            return
    axes.axvline(statistic, color=color, lw=1.8)
    left, right = axes.get_xlim()
    side = -1 if statistic > 0.75 * right + 0.25 * left else 1
    axes.annotate(
        text, xy=(statistic, 1.0), xycoords=axes.get_xaxis_transform(),
        xytext=(6 * side, 0), textcoords="offset points",
        ha="left" if side > 0 else "right", va="top", color=color,
    )  # fmt: skip
