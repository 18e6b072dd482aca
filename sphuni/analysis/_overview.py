"""The pictures of a whole model, as SVG: the verdict bar, the map of layers, the comparison."""

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from sphuni._text import shorten, shorten_apart
from sphuni.analysis._advice import number
from sphuni.analysis._svg import Frame, label, line, nice_ticks, svg
from sphuni.analysis.report import ANALYSED_VERDICTS, LayerReport

__all__ = ["css_class", "dumbbell", "glyph", "layer_map", "spans", "verdict_bar"]

_MAP_TICKS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0, 1e3, 1e4, 1e6)
_HIGHEST = 1e6
_TICK_HEIGHT = 13.0
_GLYPHS = {
    "failed": "M-4 -4L4 4M4 -4L-4 4",
    "dead neurons": "M-4.2 -4.2L4.2 4.2M4.2 -4.2L-4.2 4.2",
    "collapsed pair": "M0 -6L6 0L0 6L-6 0Z",
    "few directions": "M-6 -2.4H6V2.4H-6Z",
    "common direction": "M0 -5.8L5.6 4.6H-5.6Z",
    "clustered": "M-4.4 -4.4H4.4V4.4H-4.4Z",
    "more regular than random": "M0 -5.5L5.2 -1.7L3.2 4.5H-3.2L-5.2 -1.7Z",
    "uniform": "M-4.6 0A4.6 4.6 0 1 0 4.6 0A4.6 4.6 0 1 0 -4.6 0Z",
    "skipped": "M-4 0H4",
}


def css_class(verdict: str) -> str:
    """Return the class that carries the colour of a verdict."""
    return "v-" + verdict.replace(" ", "-")


def glyph(verdict: str) -> str:
    """Draw the mark of a verdict; its shape alone tells it from the others."""
    path = f'<path class="{_glyph_class(verdict)}" d="{_GLYPHS[verdict]}"/>'
    return f'<svg class="glyph" viewBox="-8 -8 16 16" aria-hidden="true">{path}</svg>'


def verdict_bar(counts: Mapping[str, int]) -> str:
    """Draw one bar whose parts are the verdicts on analysed layers, worst first."""
    shown = [(v, counts[v]) for v in ANALYSED_VERDICTS if counts.get(v)]
    total = sum(count for _, count in shown)
    if not total:
        return ""
    parts, left = [], 0.0
    for verdict, count in shown:
        width = 1000.0 * count / total
        parts.append(
            f'<rect class="{css_class(verdict)} fill" x="{left + 1:.1f}" y="0" '
            f'width="{max(width - 2, 1):.1f}" height="34" rx="3"/>'
        )
        if width > 24:
            parts.append(label(left + width / 2, 23, str(count), css="onbar"))
        left += width
    title = ", ".join(f"{count} {verdict}" for verdict, count in shown)
    return svg(1000, 34, parts, title=title, css="bar-of-verdicts")


def layer_map(layers: Sequence[LayerReport], *, labels: int = 6) -> str:
    """Place every analysed layer by how many directions it uses and how crowded its rows are."""
    placed = [(layer, layer.effective_rank_ratio, _excess(layer)) for layer in layers]
    placed = [item for item in placed if not (math.isnan(item[1]) or math.isnan(item[2]))]
    if not placed:
        return ""
    high_x = max(1.15, 1.05 * max(x for _, x, _ in placed))
    top = _robust_top([y for _, _, y in placed])
    frame = Frame(640, 400, 0.0, high_x, _squeeze(-0.35), _squeeze(top), 40, 16, 26, 44)
    parts = [*_map_axes(frame, top)]
    for layer, x, y in reversed(placed):
        where = f'transform="translate({float(frame.x(x)):.1f} {float(frame.y(_squeeze(y))):.1f})"'
        tip = shorten(layer.name, 80)
        parts.append(
            f'<g class="dot" {where}><path class="{_glyph_class(layer.verdict)}" '
            f'd="{_GLYPHS[layer.verdict]}"/>{_tip(tip, layer)}</g>'
        )
        if y > top:
            at = float(frame.x(x))
            parts.append(f'<path class="axis" d="M{at:.1f} 18V7m-4 4l4 -4l4 4"/>')
    parts += _map_labels(frame, placed, labels)
    title = "Layers by effective rank (over random) and half-space energy excess at s = 2"
    return svg(640, 400, parts, title=title, css="chart map")


def dumbbell(before: float, after: float, low: float, high: float, css: str) -> str:
    """Draw one change on a common scale: an open dot before, a full dot after."""
    if math.isnan(before) or math.isnan(after):
        return ""
    frame = Frame(160, 22, _squeeze(low), _squeeze(high), 0, 1, 8, 8, 2, 2)
    a, b = float(frame.x(_squeeze(before))), float(frame.x(_squeeze(after)))
    one = float(frame.x(_squeeze(1.0)))
    body = [
        line(one, 1, one, 21, "grid"),
        line(a, 11, b, 11, "stem"),
        f'<circle class="open" cx="{a:.1f}" cy="11" r="4"/>',
        f'<circle class="full" cx="{b:.1f}" cy="11" r="5"/>',
    ]
    title = f"from {number(before)} to {number(after)}"
    return svg(160, 22, body, title=title, css=f"dumbbell {css}")


def _glyph_class(verdict: str) -> str:
    stroked = verdict in ("failed", "dead neurons", "skipped")
    return f"{css_class(verdict)} {'stroke' if stroked else 'fill'}"


def _excess(layer: LayerReport) -> float:
    return layer.excess.get("half:2", math.nan)


def _squeeze(value: float) -> float:
    """Compress large values: linear near 0, logarithmic far from it."""
    return math.asinh(max(-1.0, min(value, 2 * _HIGHEST)))


def _robust_top(values: Sequence[float]) -> float:
    """Choose the upper end of a scale so that a few extreme layers do not flatten the rest."""
    high = float(np.quantile(np.minimum(values, _HIGHEST), 0.9, method="lower"))
    return max(2.5, 1.5 * high)


def _tip(name: str, layer: LayerReport) -> str:
    return f"<title>{escape(name)}: {escape(layer.verdict)}</title>"


def _map_axes(frame: Frame, top: float) -> list[str]:
    """Draw both axes and the two lines that give them meaning: random and the optimum."""
    right = frame.width - frame.right
    parts = [line(frame.left, frame.floor, right, frame.floor, "axis")]
    for tick in nice_ticks(0.0, frame.high_x):
        at = float(frame.x(tick))
        parts += [
            line(at, frame.floor, at, frame.floor + 4, "axis"),
            label(at, frame.floor + 18, f"{tick:g}"),
        ]
    written = math.inf
    for tick in _MAP_TICKS:
        if tick <= 0.97 * top:
            at = float(frame.y(_squeeze(tick)))
            meaning = {0.0: "optimum", 1.0: "random"}.get(tick)
            parts.append(line(frame.left, at, right, at, "reference" if meaning else "grid"))
            if written - at > _TICK_HEIGHT:
                parts.append(label(frame.left - 6, at + 4, number(tick, 1), anchor="end"))
                written = at
            if meaning:
                parts.append(label(frame.left + 6, at - 5, meaning, "tick em", "start"))
    one = float(frame.x(1.0))
    parts.append(line(one, frame.top, one, frame.floor, "reference"))
    parts.append(
        label(frame.width / 2, frame.height - 6, "effective rank, over that of random rows", "name")
    )
    return parts


def _map_labels(
    frame: Frame, placed: Sequence[tuple[LayerReport, float, float]], most: int
) -> list[str]:
    """Name the worst layers where a label covers neither a dot nor another label."""
    dots = [(float(frame.x(x)), float(frame.y(_squeeze(y)))) for _, x, y in placed]
    boxes: list[tuple[float, float, float]] = []
    parts = []
    names = shorten_apart([layer.name.removesuffix(".weight") for layer, _, _ in placed], 34)
    for text, (x, y) in zip(names, dots, strict=True):
        width = 6.4 * len(text)
        for anchor, at, start in (("start", x + 11, x + 11), ("end", x - 11, x - 11 - width)):
            box = (start, start + width, y)
            if frame.left < start and box[1] < frame.width and _is_free(box, dots, boxes):
                boxes.append(box)
                parts.append(label(at, y + 4, text, "name halo", anchor))
                break
        if len(boxes) == most:
            break
    return parts


def _is_free(
    box: tuple[float, float, float],
    dots: Sequence[tuple[float, float]],
    boxes: Sequence[tuple[float, float, float]],
) -> bool:
    """Tell whether a label (left, right, row) keeps clear of dots and of other labels."""
    left, right, row = box
    covered = any(left - 5 < x < right + 5 and abs(y - row) < 11 for x, y in dots)
    return not covered and all(
        abs(row - other) > 14 or left > end or right < start for start, end, other in boxes
    )


def spans(values: Sequence[float]) -> tuple[float, float]:
    """Return the interval that a common scale must show, 0 to 1 at least."""
    known = [value for value in values if not math.isnan(value)]
    return min([*known, 0.0]), _robust_top(known) if known else 2.5
