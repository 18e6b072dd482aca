"""`sphuni records`: the table of best known values, with sources."""

import argparse
import json
from typing import Any

from sphuni.cli import _output

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "records",
        help="best known values and their sources",
        description=(
            "List the best known values of a problem: thomson, log, riesz, tammes, covering, "
            "polarization, maxdet, gaussian, design."
        ),
    )
    add = parser.add_argument
    add("problem", help="which table")
    add("-n", "--n", type=_output.parse_positive, help="this number of points only")
    add("-d", "--d", type=_output.parse_positive, help="this ambient dimension only")
    add("-s", "--s", type=float, help="this exponent (or strength of a design) only")
    add("--antipodal", action="store_true", help="lines {x, -x} only")
    add("--json", action="store_true", help="print JSON")
    _output.add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the rows that fit."""
    from sphuni.configurations import records

    lines = True if arguments.antipodal else None
    rows = [
        row.to_dict()
        for row in records(arguments.problem, d=arguments.d, s=arguments.s, antipodal=lines)
        if arguments.n in (None, row.n)
    ]
    if arguments.json:
        content = {"schema": "sphuni.records", "version": 1, "records": rows}
        _output.write(lambda: print(json.dumps(content, indent=1)))
    else:
        text = "\n".join([_HEAD, *map(_line, rows)])
        _output.write(lambda: print(text))
    if not rows:
        _output.say("nothing on record there")
    return 0


_HEAD = f"{'n':>6} {'d':>3} {'s':>5}  {'value':<22} {'status':<10}  source"


def _line(row: dict[str, Any]) -> str:
    exponent = "" if row["s"] is None else f"{row['s']:g}"
    lines = " (lines)" if row["antipodal"] else ""
    value = f"{row['value']:.{max(row['digits'], 1)}g}"
    source = row["source"] + (f", doi:{row['doi']}" if row["doi"] else "")
    place = f"{row['n']:>6} {row['d']:>3} {exponent:>5}"
    return f"{place}  {value:<22} {row['status']:<10}  {source}{lines}"
