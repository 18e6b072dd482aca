"""The pictures of one layer, as SVG: cosines, nearest neighbours, spectrum."""

import numpy as np

from sphuni.analysis._advice import number
from sphuni.analysis._svg import Frame, curve, label, line, nice_ticks, steps, svg
from sphuni.analysis.report import LayerReport
from sphuni.plots._nulls import (
    cosine_curve,
    middle_ranks,
    nearest_line,
    rebin,
    shown_angles,
    spread,
)
from sphuni.special import marchenko_pastur

__all__ = ["cosine_chart", "nearest_chart", "spark", "spectrum_chart"]

_WIDTH, _HEIGHT = 340.0, 210.0
_MOST_BARS = 64


def spark(layer: LayerReport) -> str:
    """Draw the cosines in units of their null spread, so that uniform layers all look the same."""
    histogram = layer.cosine_histogram
    if histogram is None or layer.d < 2 or not histogram.counts.sum() > 0:
        return ""
    half = spread(layer.d, 7.0)
    t, null = cosine_curve(layer.d, -half, half, 40)
    counts, edges = _clip(histogram.counts, histogram.edges, half)
    density = counts / counts.sum() / np.diff(edges)
    top = 1.25 * float(np.sqrt(max(_finite_max(null), 1e-300)))
    frame = Frame(150, 54, -half, half, 0.0, top, 1, 1, 3, 3)
    body = [
        steps(frame.x(edges), frame.y(np.sqrt(density)), frame.floor, "bar"),
        line(1, frame.floor, 149, frame.floor, "axis"),
        curve(frame.x(t), frame.y(np.sqrt(null)), "null"),
    ]
    if any(mark > half for *_, mark in layer.worst_pairs) and layer.verdict == "collapsed pair":
        body.append('<path class="mark" d="M141 28l5 6l-5 6l-5 -6zM141 41V50" stroke="none"/>')
    return svg(150, 54, body, title="cosines of all pairs against uniform rows", css="spark")


def cosine_chart(layer: LayerReport) -> str:
    """Draw the cosines of all pairs, as a rootogram, against their exact null density."""
    histogram = layer.cosine_histogram
    if histogram is None or layer.d < 2 or not histogram.counts.sum() > 0:
        return ""
    counts, edges = rebin(histogram.counts, histogram.edges, _MOST_BARS)
    density = counts / counts.sum() / np.diff(edges)
    half = spread(layer.d, 4.5)
    marks = np.array([pair[2] for pair in layer.worst_pairs])
    seen = np.concatenate([edges, marks, [-half, half]])
    low, high = max(-1.0, float(seen.min())), min(1.0, float(seen.max()))
    pad = 0.02 * (high - low)
    t, null = cosine_curve(layer.d, low, high)
    top = 1.08 * float(np.sqrt(max(density.max(), _finite_max(null))))
    frame = Frame(_WIDTH, _HEIGHT, low - pad, high + pad, 0.0, top)
    body = [
        steps(frame.x(edges), frame.y(np.sqrt(density)), frame.floor, "bar"),
        curve(frame.x(t), frame.y(np.sqrt(null)), "null"),
        *_x_axis(frame),
        *(_triangle(float(frame.x(mark)), frame.floor) for mark in marks),
    ]
    title = (
        f"Cosines of all pairs of rows; largest {number(layer.max_cosine)}. "
        "Triangles mark the worst pairs; heights are on a square-root scale."
    )
    return svg(_WIDTH, _HEIGHT, body, title=title, css="chart")


def nearest_chart(layer: LayerReport) -> str:
    """Draw the angles to the nearest other row against their exact null law."""
    histogram = layer.angle_histogram
    if histogram is None or layer.d < 2 or not histogram.counts.sum() > 1:
        return ""
    counts, edges = rebin(histogram.counts, histogram.edges, _MOST_BARS)
    density = counts / counts.sum() / np.diff(edges)
    # dead rows, and those left out of a sample, are nobody's neighbours
    degrees, null = nearest_line(int(histogram.counts.sum()), layer.d, edges, 64)
    low, high = shown_angles(edges, degrees)
    top = 1.08 * max(float(density.max()), float(null.max()))
    frame = Frame(_WIDTH, _HEIGHT, low, high, 0.0, top)
    body = [
        steps(frame.x(edges), frame.y(density), frame.floor, "bar"),
        curve(frame.x(degrees), frame.y(null), "null"),
        *_x_axis(frame, "°"),
    ]
    title = f"Angle of each row to its nearest other row; smallest {number(layer.separation_deg)}°."
    return svg(_WIDTH, _HEIGHT, body, title=title, css="chart")


def spectrum_chart(layer: LayerReport) -> str:
    """Draw the singular values by rank, on a log scale, against the Marchenko-Pastur law."""
    values = layer.singular_values[np.isfinite(layer.singular_values)]
    if values.size < 2 or not values.max() > 0:
        return ""
    rank = np.linspace(0.0, 1.0, 96)
    null = marchenko_pastur(rank, layer.n, layer.d)
    top = max(float(values.max()), float(null.max()))
    floor = max(1e-3 * top, 0.7 * min(float(values.min()), float(null[-2])))
    frame = Frame(_WIDTH, _HEIGHT, 0.0, 1.0, np.log10(floor), np.log10(1.2 * top), left=34.0)
    at = middle_ranks(values.size)
    shown = _thin(values.size)
    body = [
        curve(frame.x(at[shown]), frame.y(np.log10(np.maximum(values[shown], floor))), "observed"),
        curve(frame.x(rank), frame.y(np.log10(np.maximum(null, floor))), "null"),
        *_x_axis(frame),
        *_log_axis(frame),
    ]
    title = (
        f"Singular values of the unit rows from largest to smallest; largest "
        f"{number(float(values.max()))}, under uniformity about {number(float(null.max()))}."
    )
    return svg(_WIDTH, _HEIGHT, body, title=title, css="chart")


def _x_axis(frame: Frame, unit: str = "") -> list[str]:
    """Draw the lower axis with its ticks."""
    parts = [line(frame.left, frame.floor, frame.width - frame.right, frame.floor, "axis")]
    for tick in nice_ticks(frame.low_x, frame.high_x):
        at = float(frame.x(tick))
        parts.append(line(at, frame.floor, at, frame.floor + 4, "axis"))
        parts.append(label(at, frame.floor + 18, f"{tick:.3g}{unit}".replace("-", "−")))
    return parts


def _log_axis(frame: Frame) -> list[str]:
    """Label the left axis of a log scale with round numbers."""
    parts = []
    for value in _log_ticks(frame.low_y, frame.high_y):
        at = float(frame.y(np.log10(value)))
        parts.append(line(frame.left, at, frame.width - frame.right, at, "grid"))
        parts.append(label(frame.left - 5, at + 4, f"{value:g}", anchor="end"))
    return parts


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two powers of 10; within half a decade they are evenly apart."""
    if high - low < 0.5:
        return nice_ticks(10.0**low, 10.0**high, 5)
    factors = (1, 2, 5) if high - low < 1.7 else (1,)
    values = (factor * 10.0**power for power in range(-6, 7) for factor in factors)
    return [value for value in values if low <= np.log10(value) <= high]


def _triangle(x: float, floor: float) -> str:
    return f'<path class="mark" d="M{x - 4:.1f} {floor + 8:.1f}h8l-4 -8z"/>'


def _clip(counts: np.ndarray, edges: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray]:
    """Gather what lies outside [-half, half] in the outermost bins and merge to few bars."""
    middle = 0.5 * (edges[1:] + edges[:-1])
    size = max(2, min(36, int(np.count_nonzero(np.abs(middle) < half))))
    grid = np.linspace(-half, half, size + 1)
    place = np.clip(np.searchsorted(grid, middle, side="right") - 1, 0, size - 1)
    return np.bincount(place, weights=counts, minlength=size), grid


def _thin(size: int, most: int = 160) -> np.ndarray:
    """Choose at most `most` of `size` places, both ends included."""
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(int))


def _finite_max(values: np.ndarray) -> float:
    """Return the largest value apart from the poles that the density of the circle has."""
    return float(np.max(values[np.isfinite(values)], initial=0.0))
