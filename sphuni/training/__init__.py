"""Experiments that put the papers to the test: paired seeds, error bars, verdicts.

An experiment is a TOML file (`experiment`, `config`, `schema`); its runs are trained by `loop` on
the data of `data` with the networks of `models`, done by `runner` in the order of `plan`, compared
by `statistics` and `compare`, and printed by `tables`. `sphuni train` does all of it from the
shell; `compare_methods` does it for a network of one's own in Python.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphuni.training.archive import Results as Results
    from sphuni.training.archive import read_results as read_results
    from sphuni.training.compare import Comparison as Comparison
    from sphuni.training.own import OwnComparison as OwnComparison
    from sphuni.training.own import compare_methods as compare_methods
    from sphuni.training.plan import run_experiment as run_experiment
    from sphuni.training.schema import available as available
    from sphuni.training.schema import load as load

_HOME = {
    "Comparison": "compare",
    "OwnComparison": "own",
    "Results": "archive",
    "available": "schema",
    "compare_methods": "own",
    "load": "schema",
    "read_results": "archive",
    "run_experiment": "plan",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sphuni.training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sphuni.training.{_HOME[name]}"), name)
