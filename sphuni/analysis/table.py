"""The table that a terminal shows: by rich where it is installed, in plain text elsewhere."""

import math
import sys
from collections import Counter
from collections.abc import Sequence
from typing import IO, Any

from sphuni.analysis._advice import headline, number, plural, pvalue
from sphuni.analysis._text import shorten, visible
from sphuni.analysis.report import LayerReport, ModelReport

__all__ = ["plain_table", "print_table"]

_HEADS = (
    "layer", "rows × dim", "max cos", "sep °", "excess", "rank", "mean R", "adj. p", "verdict"
)  # fmt: skip
_LEFT = (0, 8)
_NAME_WIDTH = 44
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
    "excess: half-space energy at s = 2, 0 = optimum, 1 = random (≤: over a bound); "
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
    rows = [_HEADS, *(_row(layer) for layer in layers)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(_HEADS))]
    lines = [_align(row, widths) for row in rows]
    if layers:
        lines.insert(1, "  ".join("─" * width for width in widths))
    body = lines if layers else []
    return "\n".join([_title(report), "", *body, *([""] if body else []), *footer(report, layers)])


def print_table(
    report: ModelReport, stream: IO[str] | None = None, *, top: int | None = None
) -> None:
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
        f"{plural(totals.parameters, 'parameter')}; {totals.analysed} analysed, "
        f"{totals.skipped} skipped, {totals.failed} failed"
    )


def _row(layer: LayerReport) -> tuple[str, ...]:
    """Return the cells of one layer."""
    name = shorten(layer.name, _NAME_WIDTH) + (" ~" if layer.sampled else "")
    excess = number(layer.excess.get("half:2", math.nan))
    if layer.excess_is_upper.get("half:2", False) and excess != "–":
        excess = "≤" + excess
    return (
        name,
        f"{layer.n} × {layer.d}",
        number(layer.max_cosine),
        number(layer.separation_deg),
        excess,
        number(layer.effective_rank_ratio),
        number(layer.mean_resultant_length),
        pvalue(layer.smallest_p),
        visible(layer.verdict),
    )


def _align(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.ljust(width) if k in _LEFT else cell.rjust(width)
        for k, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()


def _rich_console(stream: IO[str]) -> Any:
    """Return a rich console if it can improve on plain text here, else None."""
    if not stream.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream, highlight=False, soft_wrap=False)


def _print_rich(console: Any, report: ModelReport, layers: Sequence[LayerReport]) -> None:
    """Draw the table in colour; cells are Text objects, so that no name is read as markup."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    console.print(Text(_title(report), style="bold"))
    if layers:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for k, head in enumerate(_HEADS):
            table.add_column(
                head,
                justify="left" if k in _LEFT else "right",
                no_wrap=k > 0,
                overflow="fold",
            )
        for layer in layers:
            style = _STYLES[layer.verdict]
            *cells, verdict = _row(layer)
            table.add_row(*(Text(cell) for cell in cells), Text(verdict, style=style))
        console.print(table)
    for line in footer(report, layers):
        style = "bold red" if line.startswith(("PARTIAL", "failed")) else ""
        console.print(Text(line, style="dim" if line == LEGEND else style))
