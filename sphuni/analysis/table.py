"""The table that a terminal shows: by rich where it is installed, in plain text elsewhere."""

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sphuni._text import plural, shorten, shorten_apart, visible
from sphuni.analysis._advice import excess_text, headline, number, pvalue
from sphuni.analysis.comparison import Comparison, LayerChange
from sphuni.analysis.report import LayerReport, ModelReport

__all__ = ["comparison_table", "plain_table", "print_table"]

_HEADS = (
    "layer", "rows × dim", "max cos", "sep °", "excess", "rank", "mean R", "adj. p", "verdict"
)  # fmt: skip
_LEFT = (0, 8)
_NAME_WIDTH = 60
_LEAST_NAME = 16
_GIVEN_UP = (3, 6, 5, 7, 1, 4, 2)
"""Columns that a narrow terminal does without, the first one first."""
_STYLES = {
    "failed": "bold red",
    "dead neurons": "bold red",
    "collapsed pair": "red",
    "few directions": "magenta",
    "common direction": "yellow",
    "clustered": "yellow",
    "more regular than random": "blue",
    "uniform": "green",
    "skipped": "dim",
}
LEGEND = (
    "excess: half-space energy at s = 2, 0 = optimum, 1 = random (≤, ≥: over a bound); "
    "rank: effective rank over random; mean R: mean resultant length; "
    "adj. p: smallest over tests and tails"
)


def plain_table(report: ModelReport, *, top: int | None = None) -> str:
    """Lay out a report as plain text.

    Parameters
    ----------
    report : ModelReport
        What to show.
    top : int, optional
        Show only so many layers, worst first. Default: all, worst first.

    Returns
    -------
    str
        Several lines without a final line break. Names are shortened in the middle and control
        characters are written as escapes.
    """
    layers = _shown(report, top)
    body = _grid(_HEADS, _rows(layers), _LEFT)
    return "\n".join([_title(report), "", *body, *([""] if body else []), *footer(report, layers)])


def print_table(report: ModelReport, stream: Any = None, *, top: int | None = None) -> None:
    """Write a report to a stream, in colour if it is a terminal and rich is installed.

    Parameters
    ----------
    report : ModelReport
        What to show.
    stream : text stream, optional
        Where to write. Default: standard output.
    top : int, optional
        Show only so many layers, worst first. Default: all.

    Notes
    -----
    The environment variable ``NO_COLOR`` turns colour off.
    """
    stream = sys.stdout if stream is None else stream
    console = _rich_console(stream)
    if console is None:
        stream.write(plain_table(report, top=top) + "\n")
        return
    _print_rich(console, report, _shown(report, top))


def comparison_table(comparison: Comparison) -> str:
    """Lay out a comparison as plain text.

    Parameters
    ----------
    comparison : Comparison
        What to show. Layers analysed on both sides are listed, worsened ones first.

    Returns
    -------
    str
        Several lines without a final line break.
    """
    order = {"worse": 0, "better": 1, "same": 2}
    both = sorted(
        (change for change in comparison.changes if change.direction),
        key=lambda change: order[change.direction],
    )
    heads = ("layer", "max cos", "sep °", "excess", "rank", "mean R", "verdict")
    counts = comparison.summary()
    names = shorten_apart([change.name for change in both], _NAME_WIDTH)
    body = _grid(heads, list(map(_change_row, both, names)), (0, 6))
    return "\n".join(
        [
            f"before: {shorten(comparison.before.source, 100)}",
            f"after:  {shorten(comparison.after.source, 100)}",
            "",
            *body,
            *([""] if body else []),
            *map(_uncompared, comparison.not_compared),
            f"{counts['better']} better, {counts['worse']} worse, {counts['same']} the same; "
            f"{counts['only_before']} only before, {counts['only_after']} only after.",
        ]
    )


def _uncompared(change: LayerChange) -> str:
    """Say of a layer with a number on one side at most what became of it."""
    before, after = change.sides
    reason = shorten(after.reason or before.reason, 160)
    name = shorten(change.name, _NAME_WIDTH)
    return f"not compared {name}: {before.verdict} → {after.verdict} ({reason})"


def _change_row(change: LayerChange, name: str) -> tuple[str, ...]:
    """Return the cells of one compared layer."""
    before, after = change.sides
    old, new = _row(before, name), _row(after, name)
    same = before.verdict == after.verdict
    verdict = after.verdict if same else f"{before.verdict} → {after.verdict}"
    return (old[0], *(f"{old[k]} → {new[k]}" for k in (2, 3, 4, 5, 6)), verdict)


def footer(report: ModelReport, layers: Sequence[LayerReport]) -> list[str]:
    """Return the lines under the table: the rest of the layers, skipped tensors, the headline."""
    lines = []
    analysed = sum(1 for layer in report.layers if layer.status == "analysed")
    hidden = analysed - sum(1 for layer in layers if layer.status == "analysed")
    if hidden:
        lines.append(f"{plural(hidden, 'more layer')} not shown.")
    skipped = Counter(layer.reason for layer in report.layers if layer.status == "skipped")
    for reason, count in skipped.most_common(6):
        lines.append(f"skipped {plural(count, 'tensor')}: {shorten(reason, 120)}")
    if len(skipped) > 6:
        rest = sum(count for _, count in skipped.most_common()[6:])
        lines.append(f"skipped {plural(rest, 'more tensor')} for other reasons")
    lines += [
        f"failed {shorten(layer.name, 60)}: {shorten(layer.reason, 160)}"
        for layer in report.layers
        if layer.status == "failed"
    ]
    if any(layer.sampled for layer in report.layers):
        lines.append("Layers marked ~ were sampled; the JSON and HTML reports give the errors.")
    if layers:
        lines.append(LEGEND)
    lines.append(headline(report))
    if report.partial:
        lines.append(f"PARTIAL REPORT: {shorten(report.reason, 200)}")
    return lines


def _shown(report: ModelReport, top: int | None) -> tuple[LayerReport, ...]:
    layers = tuple(layer for layer in report.worst_first() if layer.status != "skipped")
    return layers if top is None else layers[:top]


def _title(report: ModelReport) -> str:
    totals = report.totals
    return (
        f"{shorten(report.source, 100)}: {plural(totals.tensors, 'tensor')}, "
        f"{plural(totals.parameters, 'parameter')}; {totals.analysed:,} analysed, "
        f"{totals.skipped:,} skipped, {totals.failed:,} failed"
    )


def _rows(layers: Sequence[LayerReport]) -> list[tuple[str, ...]]:
    names = shorten_apart([layer.name for layer in layers], _NAME_WIDTH)
    return list(map(_row, layers, names))


def _row(layer: LayerReport, name: str) -> tuple[str, ...]:
    """Return the cells of one layer."""
    return (
        name + (" ~" if layer.sampled else ""),
        f"{layer.n} × {layer.d}",
        number(layer.max_cosine),
        number(layer.separation_deg),
        excess_text(layer),
        number(layer.effective_rank_ratio),
        number(layer.mean_resultant_length),
        pvalue(layer.smallest_p),
        visible(layer.verdict),
    )


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    """Align cells in columns under their heads; no rows give no lines."""
    if not rows:
        return []
    widths = [max(len(row[k]) for row in (heads, *rows)) for k in range(len(heads))]
    lines = [
        "  ".join(
            cell.ljust(width) if k in left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (heads, *rows)
    ]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return lines


def _rich_console(stream: Any) -> Any:
    """Return a rich console if it can improve on plain text here, else None."""
    if not stream.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream, highlight=False, soft_wrap=False)


def _fitting(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Columns that fit into so many characters, with names on several lines if need be."""
    kept = list(range(len(_HEADS)))
    widths = [max(len(row[k]) for row in (_HEADS, *rows)) for k in kept]
    widths[0] = min(widths[0], _LEAST_NAME)
    for k in _GIVEN_UP:
        if sum(widths[i] + 2 for i in kept) - 1 <= width:
            break
        kept.remove(k)
    return kept


def _print_rich(console: Any, report: ModelReport, layers: Sequence[LayerReport]) -> None:
    """Draw the table in colour; cells are Text objects, so that no name is read as markup."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    console.print(Text(_title(report), style="bold"))
    if layers:
        rows = _rows(layers)
        columns = _fitting(rows, console.width)
        gap = (0, 1, 0, 0)  # beside the one that stands for a rule
        table = Table(box=SIMPLE_HEAD, padding=gap, show_edge=False, header_style="bold")
        for k in columns:
            justify: Any = "left" if k in _LEFT else "right"
            table.add_column(_HEADS[k], justify=justify, no_wrap=k > 0, overflow="fold")
        for row, layer in zip(rows, layers, strict=True):
            styles = {len(_HEADS) - 1: _STYLES[layer.verdict]}
            table.add_row(*(Text(row[k], style=styles.get(k, "")) for k in columns))
        console.print("", table, "", sep="\n")
        hidden = ", ".join(head for k, head in enumerate(_HEADS) if k not in columns)
        if hidden:
            text = f"No room for {hidden}: a wider terminal, --json and --html have them."
            console.print(Text(text, style="dim"))
    for line in footer(report, layers):
        style = "bold red" if line.startswith(("PARTIAL", "failed")) else ""
        console.print(Text(line, style="dim" if line == LEGEND else style))
