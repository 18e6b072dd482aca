"""What single settings must be beyond their type: each check says what is wrong, or nothing."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from sphuni.training.config import (
    DataConfig,
    EvaluationConfig,
    LossConfig,
    OptimizerConfig,
    ScheduleConfig,
    Settings,
)

__all__ = ["complaint", "complaint_of_place", "complaint_of_settings"]


def complaint(section: type[Any], key: str, value: Any) -> str:
    """Return what the value of a key must be and what it is, or an empty string if it is that.

    Examples
    --------
    >>> complaint(ScheduleConfig, "milestones", (0.5, 0.75))
    ''
    >>> complaint(ScheduleConfig, "milestones", (30.0,))
    'be fractions of the run, increasing, in (0, 1), and not epochs; got [30.0]'
    """
    check = _CHECKS.get((section, key))
    return "" if check is None else check(value)


def complaint_of_place(name: str) -> str:
    """Return why a name cannot be that of a folder within another, or an empty string.

    Examples
    --------
    >>> complaint_of_place("digits/small")
    ''
    >>> complaint_of_place("../digits")
    "be a path of results, without empty, '.' and '..' parts; got '../digits'"
    """
    if name.isprintable() and not {"", ".", ".."} & set(name.split("/")):
        return ""
    return f"be a path of results, without empty, '.' and '..' parts; got {name!r}"


def complaint_of_settings(settings: Settings) -> str:
    """Return which settings do not go together, or an empty string.

    Examples
    --------
    >>> complaint_of_settings(Settings(schedule=ScheduleConfig(name="multistep")))
    "schedule.name = 'multistep' needs schedule.milestones; got []"
    """
    optimizer, schedule, loss = settings.optimizer, settings.schedule, settings.loss
    if schedule.name == "multistep" and not schedule.milestones:
        return "schedule.name = 'multistep' needs schedule.milestones; got []"
    if optimizer.name == "sgd" and optimizer.nesterov and not optimizer.momentum:
        return "optimizer.nesterov needs a positive optimizer.momentum; got 0"
    if loss.label_smoothing and loss.name != "softmax":
        return (
            f"loss.label_smoothing is for loss.name = 'softmax' and must be 0 for {loss.name!r}; "
            f"got {loss.label_smoothing:g}"
        )
    return _unknown(settings)


def _unknown(settings: Settings) -> str:
    """Return that the method or the network does not exist, or an empty string."""
    # these load torch, which a look at the sections does without
    from sphuni.nn.regularizers import find_method
    from sphuni.training.models import check_name

    try:
        if settings.regularizer.method != "none":
            find_method(settings.regularizer.method, "regularizer.method")
        if ":" not in settings.model.name:
            check_name(settings.model.name)
    except ValueError as error:
        return str(error)
    return ""


def _fractions(values: tuple[float, ...]) -> str:
    if all(low < high for low, high in zip((0.0, *values), (*values, 1.0), strict=True)):
        return ""
    return f"be fractions of the run, increasing, in (0, 1), and not epochs; got {list(values)}"


def _betas(values: tuple[float, ...]) -> str:
    if len(values) == 2 and all(0 <= value < 1 for value in values):
        return ""
    return f"be two numbers in [0, 1); got {list(values)}"


def _no_options(values: Mapping[str, Any]) -> str:
    return f"be empty, as no data set has options; got {dict(values)}" if values else ""


def _counts(values: tuple[int, ...]) -> str:
    return "" if all(value >= 1 for value in values) else f"be at least 1 each; got {list(values)}"


def _share(value: float) -> str:
    return "" if 0 <= value <= 1 else f"be in [0, 1]; got {value}"


def _patterns(values: tuple[str, ...]) -> str:
    for pattern in values:
        try:
            re.compile(pattern)
        except re.error as error:
            return f"be regular expressions; got {pattern!r}: {error}"
    return ""


def _rates(values: Mapping[str, Any]) -> str:
    for pattern, factor in values.items():
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not factor >= 0:
            return f"hold numbers of at least 0; got {factor!r} for {pattern!r}"
    return _patterns(tuple(values))


_CHECKS: dict[tuple[type[Any], str], Callable[[Any], str]] = {
    (DataConfig, "options"): _no_options,
    (EvaluationConfig, "parameters"): _patterns,
    (EvaluationConfig, "recall"): _counts,
    (LossConfig, "label_smoothing"): _share,
    (OptimizerConfig, "betas"): _betas,
    (OptimizerConfig, "no_decay"): _patterns,
    (OptimizerConfig, "rates"): _rates,
    (ScheduleConfig, "milestones"): _fractions,
    (ScheduleConfig, "warmup"): _share,
}
