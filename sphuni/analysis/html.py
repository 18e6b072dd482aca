"""Reports as one self-contained HTML page."""

import functools
import json
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from sphuni._pages import page_environment, render_page
from sphuni._text import plural, shorten, shorten_apart, visible
from sphuni.analysis import _charts, _overview
from sphuni.analysis._advice import MEANING, advice, excess_text, headline, number, pvalue
from sphuni.analysis.comparison import Comparison, LayerChange
from sphuni.analysis.report import (
    ANALYSED_VERDICTS,
    ENERGY_KEYS,
    TESTS,
    LayerReport,
    ModelReport,
)

__all__ = ["render_comparison", "render_report"]

_FOLDER = Path(__file__).parent / "templates"
_MOST_CARDS = 60
_MOST_CHARTS = 200
_CLOSE = 0.95
_TEST_NAMES = {
    "rayleigh": "Rayleigh (a common direction)",
    "bingham": "Bingham (axes, low rank)",
    "gine_gn": "Giné Gₙ (any departure)",
    "packing": "Packing (one close pair)",
}


def render_report(report: ModelReport) -> str:
    """Write a report as HTML.

    Parameters
    ----------
    report : ModelReport
        What to show.

    Returns
    -------
    str
        The page. The same report gives the same text, byte for byte.

    Notes
    -----
    About 13 KB per analysed layer; beyond 200 layers only the worst 200 have charts. Nothing is
    requested from anywhere.
    """
    ordered = [layer for layer in report.worst_first() if layer.status != "skipped"]
    place = {id(layer): k for k, layer in enumerate(report.layers)}
    names = shorten_apart([layer.name.removesuffix(".weight") for layer in ordered], 44)
    panels = [
        _panel(layer, names[k], place[id(layer)], charts=k < _MOST_CHARTS)
        for k, layer in enumerate(ordered)
    ]
    analysed = [layer for layer in ordered if layer.status == "analysed"]
    counts = report.summary()
    return _page(
        "report.html",
        title=f"Uniformity of {shorten(report.source, 80)}",
        report=report,
        headline=headline(report),
        bar=Markup(_overview.verdict_bar(counts)),
        legend=_legend(counts),
        map=Markup(_overview.layer_map(analysed)),
        panels=panels,
        cards=[panel for panel in panels if panel["spark"]][:_MOST_CARDS],
        undrawn=max(0, len(panels) - _MOST_CHARTS),
        skipped=[layer for layer in report.layers if layer.status == "skipped"],
        settings=[(key, json.dumps(value, default=str)) for key, value in report.settings.items()],
    )


def render_comparison(comparison: Comparison) -> str:
    """Write a comparison as HTML.

    Parameters
    ----------
    comparison : Comparison
        What to show.

    Returns
    -------
    str
        The page. The same comparison gives the same text, byte for byte.
    """
    both = [change for change in comparison.changes if change.direction]
    values = [_excess(side) for change in both for side in (change.before, change.after) if side]
    low, high = _overview.spans(values)
    order = {"worse": 0, "better": 1, "same": 2}
    rows = [_change_row(c, low, high) for c in sorted(both, key=lambda c: order[c.direction])]
    return _page(
        "compare.html",
        title="Uniformity before and after",
        comparison=comparison,
        headline=_comparison_headline(comparison),
        rows=rows,
        bars=[
            (side, _side_name(report), Markup(_overview.verdict_bar(report.summary())))
            for side, report in (("before", comparison.before), ("after", comparison.after))
        ],
        legend=_legend(
            {
                verdict: comparison.before.summary().get(verdict, 0)
                + comparison.after.summary().get(verdict, 0)
                for verdict in ANALYSED_VERDICTS
            }
        ),
        not_compared=[(change.name, *change.sides) for change in comparison.not_compared],
        missing=[change for change in comparison.changes if change.side != "both"],
    )


@functools.cache
def _environment() -> jinja2.Environment:
    environment = page_environment(_FOLDER)
    environment.filters |= {
        "short": shorten,
        "show": visible,
        "number": number,
        "pvalue": pvalue,
        "plural": plural,
        "breakable": _breakable,
        "marked": _marked,
    }
    environment.globals |= {
        "glyph": lambda verdict: Markup(_overview.glyph(verdict)),
        "css_class": _overview.css_class,
    }
    return environment


def _page(template: str, **values: Any) -> str:
    style, script = _FOLDER / "style.css", _FOLDER / "page.js"
    return render_page(_environment().get_template(template), style=style, script=script, **values)


def _breakable(text: str) -> Markup:
    """Allow a line break after every dot of a name, which adds no character to the text."""
    return Markup("<wbr>").join(part for part in re.split(r"(?<=[./])", text))


def _marked(text: str) -> Markup:
    """Write what stands between backticks as code."""
    parts = text.split("`")
    return Markup().join(
        Markup("<code>{}</code>").format(part) if k % 2 else part for k, part in enumerate(parts)
    )


def _legend(counts: dict[str, int]) -> list[dict[str, Any]]:
    """List the verdicts that occur, with what they mean."""
    return [
        {"verdict": verdict, "count": counts[verdict], "meaning": MEANING[verdict]}
        for verdict in MEANING
        if counts.get(verdict)
    ]


def _charts_of(layer: LayerReport) -> list[tuple[str, str, Markup]]:
    """Draw what there is to draw of a layer: title, explanation, image."""
    charts = (
        (
            "Cosines of all pairs",
            "density on a square-root scale; triangles mark the worst pairs",
            _charts.cosine_chart(layer),
        ),
        (
            "Angle to the nearest row",
            "density over degrees",
            _charts.nearest_chart(layer),
        ),
        (
            "Singular values",
            "of the unit rows by relative rank, log scale; null: Marchenko–Pastur",
            _charts.spectrum_chart(layer),
        ),
    )
    return [(title, note, Markup(image)) for title, note, image in charts if image]


def _panel(layer: LayerReport, name: str, index: int, *, charts: bool) -> dict[str, Any]:
    """Collect what the page shows of one layer."""
    return {
        "layer": layer,
        "anchor": f"layer-{index}",
        "card_name": name,
        "spark": Markup(_charts.spark(layer)),
        "charts": _charts_of(layer) if charts else [],
        "advice": advice(layer),
        "excess": excess_text(layer),
        "excess_value": _sort_value(_excess(layer)),
        "energies": [_energy_row(layer, key) for key in ENERGY_KEYS if key in layer.energy],
        "tests": [_test_row(layer, key) for key in TESTS if key in layer.statistic],
        "facts": _facts(layer),
        "pairs": [
            (i, j, number(t, 5), "same way" if t > _CLOSE else "opposite" if t < -_CLOSE else "")
            for i, j, t in layer.worst_pairs
        ],
        "dead": _some(layer.dead),
    }


def _excess(layer: LayerReport) -> float:
    return layer.excess.get("half:2", float("nan"))


def _sort_value(value: float) -> str:
    """Write a number for the sorting script; NaN becomes empty and sorts last."""
    return "" if value != value else f"{value:.9g}".replace("inf", "1e999")


def _energy_row(layer: LayerReport, key: str) -> tuple[str, ...]:
    s = key.removeprefix("half:")
    space = "half" if key.startswith("half:") else "full"
    missing = float("nan")
    return (
        f"{space} space, s = {s}",
        number(layer.energy.get(key, missing), 6),
        excess_text(layer, key),
        number(layer.z.get(key, missing)),
    )


def _test_row(layer: LayerReport, key: str) -> tuple[str, ...]:
    """Write statistic, effect size and the four p-values of one test."""
    missing = float("nan")
    tails = (layer.p, layer.p_adjusted, layer.p_lower, layer.p_lower_adjusted)
    return (
        _TEST_NAMES[key],
        number(layer.statistic.get(key, missing), 5),
        number(layer.effect_size.get(key, missing)),
        *(pvalue(tail.get(key, missing)) for tail in tails),
    )


def _facts(layer: LayerReport) -> list[tuple[str, str]]:
    """List the plain numbers of a layer."""
    pair = "" if layer.pair is None else f" (rows {layer.pair[0]} and {layer.pair[1]})"
    return [
        ("Rows × dimension", f"{layer.n:,} × {layer.d:,}"),
        ("Norms", f"{number(layer.norm_min)} to {number(layer.norm_max)}"),
        ("Largest cosine", number(layer.max_cosine, 5) + pair),
        ("Separation", f"{number(layer.separation_deg, 4)}°"),
        (
            "Effective rank",
            f"{number(layer.effective_rank, 4)} ({number(layer.effective_rank_ratio)} × random)",
        ),
        ("Stable rank", number(layer.stable_rank, 4)),
        ("Mean resultant length", number(layer.mean_resultant_length)),
        ("Time", f"{number(layer.seconds)} s"),
    ]


def _some(indices: tuple[int, ...], most: int = 100) -> str:
    """List indices, not too many."""
    text = ", ".join(map(str, indices[:most]))
    return text + (f" and {len(indices) - most} more" if len(indices) > most else "")


def _change_row(change: LayerChange, low: float, high: float) -> dict[str, Any]:
    """Collect what the page shows of one compared layer."""
    before, after = change.sides
    columns = ("max_cosine", "separation_deg", "effective_rank_ratio", "mean_resultant_length")
    return {
        "change": change,
        "before": before,
        "after": after,
        "dumbbell": Markup(
            _overview.dumbbell(
                _excess(before), _excess(after), low, high, _overview.css_class(after.verdict)
            )
        ),
        "excess": (excess_text(before), excess_text(after)),
        "excess_value": _sort_value(_excess(after) - _excess(before)),
        "numbers": [
            (
                number(getattr(before, name)),
                number(getattr(after, name)),
                _sort_value(getattr(after, name) - getattr(before, name)),
            )
            for name in columns
        ],
    }


def _comparison_headline(comparison: Comparison) -> str:
    counts = comparison.summary()
    total = counts["better"] + counts["worse"] + counts["same"]
    left = len(comparison.not_compared)
    rest = f" {plural(left, 'layer')} could not be compared." if left else ""
    if not total:
        return f"No layer was analysed on both sides.{rest}"
    return (
        f"Of {plural(total, 'layer')}, {counts['better']} got a better verdict, "
        f"{counts['worse']} a worse one, {counts['same']} kept theirs.{rest}"
    )


def _side_name(report: ModelReport) -> str:
    return shorten(report.source, 80)
