"""`sphuni cite`: the papers behind a test."""

import argparse
import json
from typing import Any

from sphuni.cli import _output

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "cite",
        help="the papers behind a test of uniformity",
        description="Print the references of tests, as listed by sphuni test --list.",
        epilog="example: sphuni cite gine_fn --bibtex",
    )
    add = parser.add_argument
    add("tests", nargs="+", metavar="TEST", help="name of a test")
    add("--bibtex", action="store_true", help="print BibTeX entries")
    add("--json", action="store_true", help="print JSON")
    _output.add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print every reference once, in the order of the tests."""
    from sphuni.stats.references import references

    if arguments.bibtex and arguments.json:
        raise _output.UsageError("only one of --bibtex and --json can be printed")
    found = {test: references(test) for test in arguments.tests}
    distinct = list(dict.fromkeys(entry for entries in found.values() for entry in entries))
    if arguments.json:
        rows = {test: [_fields(entry) for entry in entries] for test, entries in found.items()}
        content = {"schema": "sphuni.references", "version": 1, "tests": rows}
        text = json.dumps(content, indent=1)
    elif arguments.bibtex:
        text = "\n\n".join(entry.bibtex() for entry in distinct)
    else:
        text = "\n".join(entry.text for entry in distinct)
    _output.write(lambda: print(text))
    return 0


def _fields(entry: Any) -> dict[str, Any]:
    return {
        "text": entry.text,
        "authors": list(entry.authors),
        "title": entry.title,
        "year": entry.year,
        "doi": entry.doi,
    }
