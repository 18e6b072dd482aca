"""Training as usual, with the uniformity of the trained layers among the numbers of the last epoch.

The last row of the log also has ``objective.<name>``, every objective of the regularizers whatever
was trained; ``excess.full`` and ``excess.half``, energy (s = 2) above the optimum in units of what
random directions have; ``layers.separation`` in degrees, ``layers.rank``, the effective rank
against random directions; and ``rejected.<test>``, the share of layers in per cent whose
uniformity a test rejects at 0.05. All are means over hidden layers.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sphuni.training.runner import Task, train_classifier

__all__ = ["run", "summarised"]

_LEVEL = 0.05
Row = dict[str, Any]


def run(task: Task, *, report: Callable[[list[Row]], None]) -> list[Row]:
    """Train one network and summarise its layers."""
    rows = train_classifier(task, report=report)
    return summarised(rows, has_classifier=task.settings.loss.name == "softmax")


def summarised(rows: Sequence[Row], *, has_classifier: bool = True) -> list[Row]:
    """Return the log with the last measurement of layers added to the last epoch.

    Angular losses hold the class weights themselves, so all layers of such a network are hidden.
    """
    measured = [row for row in rows if row.get("event") == "layers"]
    last = max(k for k, row in enumerate(rows) if row.get("event") == "epoch")
    if not measured or measured[-1]["epoch"] != rows[last]["epoch"]:
        return list(rows)
    summary = {f"objective.{name}": value for name, value in measured[-1]["objectives"].items()}
    summary |= _of_layers(measured[-1]["layers"][: -1 if has_classifier else None])
    added = {key: value for key, value in summary.items() if value is not None}
    return [{**row, **added} if k == last else row for k, row in enumerate(rows)]


def _of_layers(layers: Sequence[Row]) -> dict[str, float | None]:
    """Means over hidden layers; a number that no layer has is None."""
    summary = {
        "excess.full": _mean([layer["excess"].get("2") for layer in layers]),
        "excess.half": _mean([layer["excess"].get("half:2") for layer in layers]),
        "layers.separation": _mean([layer["separation_deg"] for layer in layers]),
        "layers.rank": _mean([layer["effective_rank_ratio"] for layer in layers]),
    }
    for test in sorted({name for layer in layers for name in layer["p"]}):
        values = [layer["p"].get(test) for layer in layers]
        rejected = [None if p is None else 100.0 * (p < _LEVEL) for p in values]
        summary[f"rejected.{test}"] = _mean(rejected)
    return summary


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
