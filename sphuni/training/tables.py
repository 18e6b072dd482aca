"""The tables of experiments as text, as Markdown, as JSON, and inserted into pages."""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from sphuni._text import plural
from sphuni.training.compare import CaseTable, ClaimRow, Comparison, MethodRow
from sphuni.training.statistics import CONFIRMED, FAILED, NOT_RUN, ONE_SEED, OPEN, Paired

__all__ = ["as_dict", "headline", "insert", "markdown", "overview", "text", "verdicts"]

_Lines = list[list[str]]
_FURTHER = "Further numbers, in brackets the shift in deviations of the reference"
_MARK = re.compile(r"(<!-- sphuni train: ([^\n]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def text(comparison: Comparison) -> str:
    """Lay out all tables of an experiment for a terminal."""
    return _render(comparison, _plain_table, "{}", "")


def markdown(comparison: Comparison) -> str:
    """Lay out all tables of an experiment for a page."""
    return _render(comparison, _markdown_table, "**{}**", "\n")


def headline(comparison: Comparison) -> str:
    """Return name and title of an experiment; pages have headings of their own."""
    experiment = comparison.experiment
    return f"{experiment.name}: {experiment.title}" if experiment.title else experiment.name


def verdicts(comparisons: Sequence[Comparison], *, links: str = "") -> str:
    """Return one Markdown table of all claims.

    Parameters
    ----------
    comparisons : sequence of Comparison
    links : str, default ""
        Folder of the experiments' pages, as seen from the page with the table.
    """
    head = ["claim", "experiment", "the paper", "here", "difference [95 %]", "seeds", "verdict"]
    lines = []
    for comparison in comparisons:
        name = comparison.experiment.name
        link = f"[{name}]({links}{name}.md)"
        lines += [
            [
                row.claim.text,
                link if len(comparison.cases) < 2 else f"{link}, {row.label}",
                _paper(row.claim.paper_worse, row.claim.paper_better),
                _two(row),
                _difference(row.difference),
                f"{row.difference.pairs}" + (f" ({row.failed} diverged)" if row.failed else ""),
                _strong(row.verdict),
            ]
            for row in comparison.claims
        ]
    return _markdown_table(head, lines)


def overview(comparisons: Sequence[Comparison], *, links: str = "") -> str:
    """Return one Markdown line per experiment with the number of claims of each verdict."""
    kinds = (CONFIRMED, OPEN, FAILED, ONE_SEED, NOT_RUN)
    lines = []
    for comparison in comparisons:
        experiment = comparison.experiment
        counts = Counter(row.verdict for row in comparison.claims)
        seeds = {max((row.seeds for row in table.rows), default=0) for table in comparison.cases}
        shown = sorted({min(seeds, default=0), max(seeds, default=0)})
        lines.append(
            [
                f"[{experiment.name}]({links}{experiment.name}.md)",
                experiment.title,
                " to ".join(map(str, shown)),
                *(str(counts[kind]) for kind in kinds),
            ]
        )
    return _markdown_table(["experiment", "what", "seeds", *kinds], lines)


def insert(page: str, comparisons: Sequence[Comparison], *, links: str = "") -> str:
    r"""Replace what is between the marks of a page by tables.

    Parameters
    ----------
    page : str
        Marks are lines ``<!-- sphuni train: NAME -->`` and ``<!-- end -->``; NAME is that of an
        experiment, or "verdicts" or "overview". Marks of other experiments are left alone.
    comparisons : sequence of Comparison
    links : str

    Examples
    --------
    >>> insert("a <!-- sphuni train: other -->\nold <!-- end --> b", [])
    'a <!-- sphuni train: other -->\nold <!-- end --> b'
    """
    known: dict[str, Callable[[], str]] = {
        comparison.experiment.name: lambda comparison=comparison: markdown(comparison)
        for comparison in comparisons
    }
    known["verdicts"] = lambda: verdicts(comparisons, links=links)
    known["overview"] = lambda: overview(comparisons, links=links)

    def fill(match: re.Match[str]) -> str:
        make = known.get(match[2])
        return match[0] if make is None else f"{match[1]}\n{make()}\n\n{match[3]}"

    return _MARK.sub(fill, page)


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Return everything as plain numbers and strings; what is not a number is None."""
    table = _plain(dataclasses.asdict(comparison))
    table["experiment"] = comparison.experiment.name
    return {"schema": "sphuni.training.table", "version": 1, **table}


def _render(
    comparison: Comparison, table: Callable[[list[str], _Lines], str], strong: str, gap: str
) -> str:
    parts = [] if gap else [headline(comparison)]
    for case in comparison.cases:
        title = f"{case.label}: {case.metric} at the last epoch"
        parts.append(f"{strong.format(title)}\n{gap}{table(*_methods(case))}")
        parts.append(_ranks_line(case))
        if case.further:
            parts.append(f"{strong.format(_FURTHER)}\n{gap}{table(*_further(case))}")
    if comparison.overall is not None:
        pairs = zip(comparison.overall_arms, comparison.overall.mean, strict=True)
        ranked = ", ".join(f"{arm} {rank:.2f}" for arm, rank in sorted(pairs, key=lambda p: p[1]))
        parts.append(
            f"Mean ranks over all data sets: {ranked}. Friedman p = {_p(comparison.overall.p)}, "
            f"critical difference {comparison.overall.critical:.2f}."
        )
    if comparison.claims:
        parts.append(f"{strong.format('Claims')}\n{gap}{table(*_claims(comparison.claims))}")
        sources = _sources(comparison.claims)
        between = f"\n{gap}"
        parts.append(between.join(f"[{number}] {name}" for name, number in sources.items()))
    parts += [comparison.extra if gap else "", _cost_line(comparison)]
    return "\n\n".join(part for part in parts if part)


def _methods(case: CaseTable) -> tuple[list[str], _Lines]:
    head = ["method", "mean ± sd", f"difference to {case.reference} [95 %]", "p (Holm)", "rank"]
    head += ["seeds", "chosen", "s per run"]
    return head, [_method(row, case.reference) for row in case.rows]


def _method(row: MethodRow, reference: str) -> list[str]:
    own = row.arm == reference
    failed = f" ({row.failed} diverged)" if row.failed else ""
    chosen = ", ".join(f"{k.rpartition('.')[2]} {_short(v)}" for k, v in row.chosen.items())
    return [
        row.label,
        f"{_number(row.mean)} ± {_number(row.deviation)}",
        "" if own else _difference(row.difference),
        "" if own else _p(row.adjusted),
        _number(row.rank),
        f"{row.seeds}{failed}",
        chosen,
        f"{row.seconds:.1f}",
    ]


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _claims(rows: Sequence[ClaimRow]) -> tuple[list[str], _Lines]:
    several = len({row.case for row in rows}) > 1
    head = ["claim", "the paper", "here", "difference [95 %]", "p (Holm)", "verdict"]
    lines, sources = [], _sources(rows)
    for row in rows:
        name = f"{row.claim.text} ({row.label})" if several else row.claim.text
        failed = f" ({row.failed} runs diverged)" if row.failed else ""
        lines.append(
            [
                name,
                _paper(row.claim.paper_worse, row.claim.paper_better)
                + (f" [{sources[row.claim.source]}]" if row.claim.source else ""),
                _two(row),
                _difference(row.difference),
                _p(row.adjusted),
                row.verdict + failed,
            ]
        )
    return head, lines


def _further(case: CaseTable) -> tuple[list[str], _Lines]:
    """Means of the further metrics, in brackets the shift in deviations of the reference."""
    head = ["method", *(one.metric for one in case.further)]
    places = [_places(_spread(one.means) / 2) for one in case.further]
    lines = []
    for k, row in enumerate(case.rows):
        cells = [row.label]
        for one, digits in zip(case.further, places, strict=True):
            shift = one.shifts[k]
            shown = "" if row.arm == case.reference or math.isnan(shift) else f" ({shift:+.1f})"
            cells.append(_number(one.means[k], digits) + shown)
        lines.append(cells)
    correlations = [_difference(one.correlation) for one in case.further]
    lines.append([f"rank correlation with {case.metric} [95 %]", *correlations])
    return head, lines


def _sources(rows: Sequence[ClaimRow]) -> dict[str, int]:
    """The papers' tables, numbered in the order of the claims."""
    names = dict.fromkeys(row.claim.source for row in rows if row.claim.source)
    return {name: number for number, name in enumerate(names, 1)}


def _ranks_line(case: CaseTable) -> str:
    ranks = case.ranks
    if math.isnan(ranks.p):
        return ""
    return (
        f"Friedman test over {ranks.blocks} seeds: p = {_p(ranks.p)}. Two mean ranks differ "
        f"(Nemenyi, 0.05) if they are {ranks.critical:.2f} apart."
    )


def _cost_line(comparison: Comparison) -> str:
    failed = f", {comparison.failed} diverged" if comparison.failed else ""
    unfinished = _unfinished(comparison)
    time = f"{comparison.hours:.2f} hours of training, one run at a time"
    return f"{plural(comparison.runs, 'run')}{failed}, {time}.{unfinished}"


def _unfinished(comparison: Comparison) -> str:
    """Say so while runs are missing, all those of a method too."""
    experiment = comparison.experiment
    least: dict[str, int] = {}
    for table in comparison.cases:
        ended = {row.arm: row.seeds + row.failed for row in table.rows}
        for arm in experiment.arms:
            if not arm.cases or table.case in arm.cases:
                found = ended.get(arm.name, 0)
                least[arm.name] = min(found, least.get(arm.name, experiment.seeds))
    wanted = {arm: experiment.arm(arm).seeds or experiment.seeds for arm in least}
    behind = [arm for arm in least if least[arm] < wanted[arm]]
    if not behind:
        return ""
    return f" Unfinished: {min(least[arm] for arm in behind)} of {experiment.seeds} seeds so far."


def _paper(worse: float | None, better: float | None) -> str:
    if better is None:
        return "-"
    return f"{better:g}" if worse is None else f"{worse:g} → {better:g}"


def _two(row: ClaimRow) -> str:
    if math.isnan(row.better):
        return "-"
    places = _places_of(row.difference)
    return f"{_number(row.worse, places)} → {_number(row.better, places)}"


def _difference(result: Paired) -> str:
    if math.isnan(result.mean):
        return "-"
    if result.pairs < 2:
        return f"{result.mean:+.3g}"
    places = _places_of(result)
    return f"{result.mean:+.{places}f} [{result.low:+.{places}f}, {result.high:+.{places}f}]"


def _number(value: float, places: int = 2) -> str:
    if math.isnan(value):
        return "-"
    fixed = 0.1 <= abs(value) < 1e4 or value == 0 or places > 2
    return f"{value:.{places}f}" if fixed else f"{value:.3g}"


def _places_of(result: Paired) -> int:
    return _places((result.high - result.low) / 2)


def _places(width: float) -> int:
    """Decimals that show a half width: two at least, six at most."""
    if not 0 < width < math.inf:
        return 2
    return min(max(2, -math.floor(math.log10(width))), 6)


def _spread(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return max(known) - min(known) if known else 0.0


def _p(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def _strong(name: str) -> str:
    return f"**{name}**" if name == CONFIRMED else name


def _plain_table(head: list[str], lines: _Lines) -> str:
    widths = [max(len(line[k]) for line in (head, *lines)) for k in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *lines)
    )


def _markdown_table(head: list[str], lines: _Lines) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
