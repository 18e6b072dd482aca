"""`sphuni compare`: what changed between two states of a model."""

import argparse
from functools import partial
from typing import Any

from sphuni.cli import _models, _output

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "compare",
        help="what training, pruning or a regularizer changed",
        description=(
            "Analyse two model files, or read two saved reports, and show layer by layer what "
            "changed. Layers are matched by name."
        ),
    )
    parser.add_argument("before", help="model file or folder, or a saved .json report")
    parser.add_argument("after", help="the same after the change")
    _models.add_analysis_options(parser)
    add = parser.add_argument
    add("--html", metavar="FILE", help="write the comparison as one self-contained page")
    add("--json", metavar="FILE", help="write it as JSON; - prints it instead of the table")
    _output.add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Obtain both reports, compare them, write what was asked for."""
    from sphuni.analysis.comparison import compare_reports

    models = arguments.before, arguments.after
    outputs = ("--html", arguments.html), ("--json", arguments.json)
    _output.check_inputs(*models)
    _output.check_outputs(outputs, _models.files_of(*models), printed=("--json",))
    _models.refuse_options_of_saved(arguments, *models)
    _models.refuse_other_options(arguments, *models)
    before = _models.obtain_report(arguments.before, arguments)
    if before.partial:
        _output.say("interrupted during the first model; there is nothing to compare")
        return _output.INTERRUPTED
    after = _models.obtain_report(arguments.after, arguments)
    comparison = compare_reports(before, after)
    wanted = (comparison.to_html, arguments.html), (comparison.to_json, arguments.json)
    files = [partial(_output.save, to, path) for to, path in wanted if path not in (None, "-")]
    text = comparison.to_json() if arguments.json == "-" else f"{comparison}\n"
    _output.take_all(*files, lambda: _output.write(lambda: print(text, end="")))
    if not any(change.side == "both" for change in comparison.changes):
        _output.say("note: no layer of the one has the name of a layer of the other")
    if after.partial:
        _output.say(f"partial comparison: {after.reason or 'interrupted'}")
    return _models.state_code(before, after)
