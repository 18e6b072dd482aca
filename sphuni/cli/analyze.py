"""`sphuni analyze`: a verdict on every layer of a model."""

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from sphuni.cli import _models, _output

if TYPE_CHECKING:
    from sphuni.analysis.report import ModelReport
    from sphuni.analysis.rules import Rule

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "analyze",
        help="a verdict on every layer of a model",
        description=(
            "Analyse a model file (.safetensors, a folder, .pt, .npz, .npy, .onnx) or a table of "
            "points (.csv, .tsv, .txt), or show a report that was saved with --json. The table "
            "goes to standard output."
        ),
        epilog='example: sphuni analyze model.safetensors --fail-on "max_cosine > 0.99"',
    )
    parser.add_argument("path", help="model file or folder, or a saved .json report")
    _models.add_analysis_options(parser)
    add = parser.add_argument
    add("--html", metavar="FILE", help="write the report as one self-contained page")
    add("--json", metavar="FILE", help="write the report as JSON; - prints it instead of the table")
    add("--csv", metavar="FILE", help="write one row per layer; - prints it instead of the table")
    add(
        "--fail-on",
        action="append",
        default=[],
        metavar="RULE",
        help='exit with 1 if any layer matches, such as "excess[half:2] > 2 and n >= 64"',
    )
    add("--top", type=_output.parse_count, metavar="N", help="print only the N worst layers")
    _output.add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Analyse, write what was asked for, check the rules."""
    from sphuni.analysis.rules import parse_rule

    rules = [parse_rule(text) for text in arguments.fail_on]
    if arguments.json == "-" and arguments.csv == "-":
        raise _output.UsageError("only one of --json and --csv can go to standard output")
    outputs = ("--html", arguments.html), ("--json", arguments.json), ("--csv", arguments.csv)
    _output.check_inputs(arguments.path)
    _output.check_outputs(outputs, _models.files_of(arguments.path), printed=("--json", "--csv"))
    _models.refuse_options_of_saved(arguments, arguments.path)
    report = _models.obtain_report(arguments.path, arguments)
    _write(report, arguments)
    code = _models.state_code(report)
    fired = _fired(report, rules)
    if code == _output.INTERRUPTED:
        _output.say(f"partial report: {report.reason or 'interrupted'}")
        return code
    if rules and not report.totals.analysed:
        _output.say("no layer was analysed, so --fail-on had nothing to judge")
        return _output.PARTIAL
    return _output.FAILED_RULE if fired else code


def _write(report: "ModelReport", arguments: argparse.Namespace) -> None:
    """Write the files, then the one thing that goes to standard output."""
    wanted = (
        (report.to_html, arguments.html),
        (report.to_json, arguments.json),
        (report.to_csv, arguments.csv),
    )
    files = [partial(_output.save, to, path) for to, path in wanted if path not in (None, "-")]
    _output.take_all(*files, lambda: _output.write(lambda: _show(report, arguments)))


def _show(report: "ModelReport", arguments: argparse.Namespace) -> None:
    from sphuni.analysis.table import print_table

    if arguments.json == "-":
        print(report.to_json(), end="")
    elif arguments.csv == "-":
        print(report.to_csv(), end="")
    else:
        print_table(report, sys.stdout, top=arguments.top)


def _fired(report: "ModelReport", rules: "list[Rule]") -> bool:
    """Tell whether a rule fired, and say which layers made it."""
    from sphuni._text import shorten

    any_fired = False
    for rule in rules:
        layers = rule.fired(report)
        if layers:
            any_fired = True
            names = ", ".join(shorten(layer.name, 60) for layer in layers[:5])
            more = f" and {len(layers) - 5} more" if len(layers) > 5 else ""
            _output.say(f"rule fired: {rule.text}: {names}{more}")
    return any_fired
