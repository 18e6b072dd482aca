"""Pictures of the rows of a weight matrix, each against what uniform random rows would show."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from sphuni._text import shorten_apart
from sphuni.plots._nulls import (
    cosine_curve,
    middle_ranks,
    nearest_line,
    rebin,
    shown_angles,
    spread,
)
from sphuni.plots._style import (
    MARKERS,
    OBSERVED,
    axes_or_new,
    figure_of,
    ink_on,
    key_within,
    new_figure,
    tidy,
)
from sphuni.special import marchenko_pastur

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "cosine_histogram",
    "layer_map",
    "layer_panel",
    "nearest_angles",
    "singular_values",
]

_TITLE_WIDTH = 0.94
_HEADROOM = 1.3
"""Height of a picture over that of its law: where the bars leave no room, the key is above them."""
_FEW = 24
_NAME_LETTERS = 36
_MAP_TICKS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0, 1e3, 1e4, 1e5, 1e6)


def cosine_histogram(
    counts: ArrayLike,
    edges: ArrayLike,
    *,
    d: int,
    worst: "Sequence[float] | np.ndarray" = (),
    color: str = OBSERVED,
    ax: "Axes | None" = None,
) -> "Figure":
    r"""Draw the cosines of all pairs of rows against their exact null density.

    Parameters
    ----------
    counts : array_like of shape (k,)
        Pairs per bin.
    edges : array_like of shape (k + 1,)
        Increasing edges of the bins, in [-1, 1].
    d : int
        Ambient dimension, at least 2.
    worst : array_like, optional
        Cosines to mark below the axis.
    color : str, optional
        Any matplotlib colour.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    A rootogram: heights are square roots of densities, so that sampling noise has the same size
    everywhere and tails can be seen. The null density is proportional to
    :math:`(1 - t^2)^{(d-3)/2}`.
    """
    heights, bins = _density(counts, edges)
    half = spread(_dimension(d), 4.5)
    low, high = min(float(bins[0]), -half), max(float(bins[-1]), half)
    t, null = cosine_curve(d, low, high, 400)
    axes = axes_or_new(ax, 4.2, 2.8)
    _against_null(axes, np.sqrt(heights), bins, t, np.sqrt(null), color)
    marks = np.asarray(worst, dtype=np.float64)
    axes.plot(marks, np.zeros_like(marks), "^", color=color, ms=5, clip_on=False)
    axes.set(xlabel="cosine of a pair of rows", ylabel="density, square-root scale")
    axes.locator_params(axis="x", nbins=6)
    return figure_of(axes)


def nearest_angles(
    counts: ArrayLike,
    edges: ArrayLike,
    *,
    n: int,
    d: int,
    color: str = OBSERVED,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw the angles from each row to its nearest other row against their exact null density.

    Parameters
    ----------
    counts : array_like of shape (k,)
        Rows per bin.
    edges : array_like of shape (k + 1,)
        Increasing edges of the bins, in degrees.
    n, d : int
        Number of rows and ambient dimension, both at least 2.
    color : str, optional
        Any matplotlib colour.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    For uniform rows the angle exceeds theta with probability (1 - c(theta))^(n - 1), where c is the
    measure of a cap of that radius. Where this law is narrower than 32 bins, what is drawn is the
    mean height of such bins, not its density.
    """
    if n < 2:
        raise ValueError(f"n must be at least 2 for rows to have neighbours; got {n}")
    heights, bins = _density(counts, edges)
    degrees, null = nearest_line(n, _dimension(d), bins)
    axes = axes_or_new(ax, 4.2, 2.8)
    _against_null(axes, heights, bins, degrees, null, color)
    axes.set(xlabel="angle to the nearest row, degrees", ylabel="density")
    axes.set_xlim(*shown_angles(bins, degrees))
    return figure_of(axes)


def singular_values(
    values: ArrayLike,
    *,
    n: int,
    d: int,
    color: str = OBSERVED,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw the singular values of the unit rows by rank against the Marchenko-Pastur law.

    Parameters
    ----------
    values : array_like of shape (k,)
        Singular values of the matrix of unit rows, evenly thinned out if there are many.
    n, d : int
        Number of rows and ambient dimension.
    color : str, optional
        Any matplotlib colour.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    For uniform rows the values fill [abs(1 - sqrt(n/d)), 1 + sqrt(n/d)] as n and d grow. The k-th
    of m values is drawn at (k - 1/2) / m, where that of few uniform rows lies near the curve too.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))[::-1]
    if ordered.ndim != 1 or ordered.size < 2 or not ordered[0] > 0:
        raise ValueError(
            "values must be a 1-D array of at least 2 singular values, not all zero; got shape "
            f"{ordered.shape}"
        )
    axes = axes_or_new(ax, 4.2, 2.8)
    rank = np.linspace(0.0, 1.0, 400)
    null = marchenko_pastur(rank, n, _dimension(d))
    floor = 1e-3 * max(ordered[0], null[0])
    marker = "o" if ordered.size <= _FEW else ""
    axes.semilogy(
        middle_ranks(ordered.size), np.maximum(ordered, floor), color=color, lw=2.4,
        label="observed", marker=marker, ms=5,
    )  # fmt: skip
    axes.semilogy(
        rank, np.maximum(null, floor), color=ink_on(axes), lw=1.3, label="Marchenko–Pastur"
    )
    axes.set(xlabel="relative rank", ylabel="singular value")
    _plain_numbers(axes)
    tidy(axes, left=True)
    key_within(axes)
    return figure_of(axes)


def layer_panel(
    *,
    cosines: tuple[ArrayLike, ArrayLike],
    nearest: tuple[ArrayLike, ArrayLike],
    spectrum: ArrayLike,
    n: int,
    d: int,
    worst: "Sequence[float] | np.ndarray" = (),
    title: str = "",
    color: str = OBSERVED,
) -> "Figure":
    """Draw the three pictures of one layer side by side.

    Parameters
    ----------
    cosines, nearest : tuple (counts, edges)
        Histograms as `cosine_histogram` and `nearest_angles` take them.
    spectrum : array_like
        Singular values of the unit rows.
    n, d : int
        Number of rows and ambient dimension.
    worst : array_like, optional
        Cosines to mark.
    title : str, optional
        Written above, in several lines if it is long; never read as mathematics.
    color : str, optional
        Any matplotlib colour.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(10.5, 2.9)
    left, middle, right = figure.subplots(1, 3)
    cosine_histogram(*cosines, d=d, worst=worst, color=color, ax=left)
    nearest_angles(*nearest, n=n, d=d, color=color, ax=middle)
    singular_values(spectrum, n=n, d=d, color=color, ax=right)
    if title:
        _write_title(figure, title)
    return figure


def layer_map(
    rank_ratio: ArrayLike,
    excess: ArrayLike,
    *,
    verdicts: Sequence[str],
    names: Sequence[str] = (),
    labels: int = 5,
    ax: "Axes | None" = None,
) -> "Figure":
    """Place layers by how many directions they use and how crowded their rows are.

    Parameters
    ----------
    rank_ratio : array_like of shape (k,)
        Effective rank over that of uniform random rows.
    excess : array_like of shape (k,)
        Energy excess: 0 at the optimum, 1 for random rows. Infinite values are put on the edge.
    verdicts : sequence of str
        One verdict per layer; it chooses marker and colour.
    names : sequence of str, optional
        Names of the layers.
    labels : int, optional
        How many names to write, from the first layer on.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no layer, lengths differ or a verdict is unknown.
    """
    x, y = np.asarray(rank_ratio, dtype=np.float64), np.asarray(excess, dtype=np.float64)
    unknown = sorted(set(verdicts) - set(MARKERS))
    if unknown:
        raise ValueError(f"verdicts must be among {', '.join(MARKERS)}; got {unknown[0]!r}")
    if x.shape != y.shape or x.ndim != 1 or len(verdicts) != x.size:
        raise ValueError(
            "rank_ratio, excess and verdicts must have the same length; got "
            f"{x.shape}, {y.shape} and {len(verdicts)}"
        )
    if not x.size:
        raise ValueError("rank_ratio must hold at least one layer to be placed; got none")
    from matplotlib.patheffects import withStroke

    axes = axes_or_new(ax, 6.0, 4.4)
    halo = [withStroke(linewidth=3, foreground=axes.get_facecolor())]  # lines end at a name
    known = y[np.isfinite(y)]
    edge = max(3.0, 1.3 * float(known.max(initial=0.0)))
    infinite, y = bool((y == np.inf).any()), np.minimum(y, edge)
    for verdict, (marker, color) in MARKERS.items():
        chosen = np.array([v == verdict for v in verdicts], dtype=bool)
        if chosen.any():
            axes.plot(
                x[chosen], y[chosen], marker, color=color, ms=7, mew=1.5, mec=color, label=verdict
            )
    for level, meaning in ((0.0, "optimum"), (1.0, "random")):
        axes.axhline(level, color=ink_on(axes), lw=0.7, ls=(0, (3, 4)))
        axes.text(
            1.01, level, meaning, transform=axes.get_yaxis_transform(), style="italic",
            va="center", size="small",
        )  # fmt: skip
    axes.axvline(1.0, color=ink_on(axes), lw=0.7, ls=(0, (3, 4)))
    axes.set_yscale("asinh", linear_width=1.0)
    top = edge if infinite else max(3.0, float(known.max(initial=0.0)))
    ticks = _map_ticks(0.8 * top if infinite else top)
    texts = [f"{tick:g}" for tick in ticks]
    axes.set_yticks([*ticks, edge] if infinite else ticks, [*texts, "∞"] if infinite else texts)
    axes.set_yticks([], minor=True)
    # room for a marker, as the axis would end in the middle of the first and last
    low, high = np.arcsinh([float(known.min(initial=0.0)), top])
    room = 0.05 * (high - low)
    axes.set(xlim=(0, None), ylim=(min(-0.3, np.sinh(low - room)), np.sinh(high + room)))
    axes.set(xlabel="effective rank over random", ylabel="energy excess")
    middle = 0.5 * axes.get_xlim()[1]
    placed = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    placed = placed[placed < len(names)]
    shown = shorten_apart(names, _NAME_LETTERS, _NAME_LETTERS // 2)
    for k in placed[_apart(np.arcsinh(y[placed]), placed.size, labels)]:
        right = bool(x[k] > middle)
        axes.annotate(
            shown[k], (x[k], y[k]),
            xytext=(-8 if right else 8, 0), textcoords="offset points",
            ha="right" if right else "left", va="center", size="small", parse_math=False,
            path_effects=halo,
        )  # fmt: skip
    tidy(axes, left=True)
    axes.legend(
        frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3
    )
    return figure_of(axes)


def _plain_numbers(axes: "Axes") -> None:
    """Ticks of a logarithmic axis without powers, also where it spans less than a decade."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

    low, high = axes.get_ylim()
    decades = np.log10(high / low)
    near = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])
    far = LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2 else (1.0,))
    axes.yaxis.set_major_locator(near if decades < 1 else far)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FormatStrFormatter("%.7g"))


def _write_title(figure: "Figure", title: str) -> None:
    """Break a title that is wider than the figure, which grows by every line but the first."""
    text = figure.suptitle(title, parse_math=False)
    width, height = figure.get_size_inches() * figure.dpi
    lines, own = title.splitlines(), text.get_window_extent().width
    if own > _TITLE_WIDTH * width:
        letters = max(1, int(max(map(len, lines)) * _TITLE_WIDTH * width / own))
        lines = [part for line in lines for part in textwrap.wrap(line, letters) or [""]]
        text.set_text("\n".join(lines))
    added = text.get_window_extent().height * (1 - 1 / len(lines))
    figure.set_figheight((height + added) / figure.dpi)


def _map_ticks(top: float) -> list[float]:
    """Ticks from 0 to `top`, as many as have room between them on the axis."""
    ticks = [0.0]
    for tick in _MAP_TICKS[1:]:
        if tick <= top and np.arcsinh(tick) - np.arcsinh(ticks[-1]) > 0.05 * np.arcsinh(top):
            ticks.append(tick)
    return ticks


def _against_null(
    axes: "Axes",
    heights: np.ndarray,
    edges: np.ndarray,
    x: np.ndarray,
    null: np.ndarray,
    color: str,
) -> None:
    """Draw a histogram and, over it, the curve that uniform rows would give."""
    from matplotlib.colors import to_rgba

    # with an outline, as a bar thinner than a pixel would be lost
    axes.stairs(
        heights, edges, fill=True, fc=to_rgba(color, 0.45), ec=color, lw=0.7, label="observed"
    )
    axes.plot(x, null, color=ink_on(axes), lw=1.3, label="uniform rows")
    top = max(float(heights.max()), float(np.max(null[np.isfinite(null)], initial=0.0)))
    axes.set_ylim(0, _HEADROOM * top)
    tidy(axes)
    key_within(axes)


def _apart(y: np.ndarray, size: int, most: int) -> list[int]:
    """Choose up to `most` of the first `size` points, each with a row of its own for its name."""
    chosen: list[int] = []
    gap = 0.05 * max(float(np.ptp(y)), 1.0) if y.size else 0.0
    for k in range(size):
        if all(abs(y[k] - y[other]) > gap for other in chosen) and len(chosen) < most:
            chosen.append(k)
    return chosen


def _density(counts: ArrayLike, edges: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Check a histogram, drop its empty ends and scale it to area one."""
    raw, bins = np.asarray(counts, dtype=np.float64), np.asarray(edges, dtype=np.float64)
    if raw.ndim != 1 or bins.shape != (raw.size + 1,):
        raise ValueError(
            f"edges must hold one number more than counts; got shapes {bins.shape} and {raw.shape}"
        )
    if not raw.sum() > 0:
        raise ValueError("counts must hold at least one value; all bins are empty")
    raw, bins = rebin(raw, bins, 120)
    return raw / raw.sum() / np.diff(bins), bins


def _dimension(d: int) -> int:
    if d < 2:
        raise ValueError(f"d must be at least 2 for a picture of directions; got {d}")
    return d
