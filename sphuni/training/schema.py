"""From TOML tables to the classes of `experiment` and `config`, with errors that name the key."""

import dataclasses
import importlib.resources
import itertools
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar

from sphuni.training.checks import complaint, complaint_of_place, complaint_of_settings
from sphuni.training.config import (
    DataConfig,
    EvaluationConfig,
    RegularizerConfig,
    Settings,
    TrainingConfig,
)
from sphuni.training.experiment import Arm, Case, Claim, Experiment, SelectConfig

__all__ = [
    "available",
    "candidates",
    "load",
    "override",
    "parse",
    "settings_of",
    "source",
    "to_table",
]

T = TypeVar("T")
SECTIONS = tuple(field.name for field in dataclasses.fields(Settings))
_LISTS = {"arm": Arm, "case": Case, "claim": Claim}
_TOP = (
    "name",
    "title",
    "kind",
    "budget_minutes",
    "seeds",
    "device",
    "note",
    "metric",
    "reference",
    "further",
    "options",
)
_OWN_KEYS: dict[type, tuple[str, ...]] = {
    Arm: ("name", "label", "select", "cases", "seeds"),
    Case: ("name", "label"),
}


def available() -> list[str]:
    """Return the names of the packaged experiments, sorted."""
    folder = importlib.resources.files("sphuni.training") / "experiments"
    return sorted(
        item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")
    )


def load(name: str) -> Experiment:
    """Read a packaged experiment by name, or any by the path of its TOML file.

    Raises
    ------
    ValueError
        If there is none of that name, or the file says something that is not understood: the
        message names file, key and what is allowed. If a file of one's own has the name of a
        packaged experiment: its results would be shown with the methods and claims of that one.
    """
    text = source(name)
    experiment = parse(text, origin=Path(name).name.removesuffix(".toml") + ".toml")
    if experiment.name in available() and text != source(experiment.name):
        raise ValueError(
            f"{name!r} has the name of a packaged experiment, {experiment.name!r}, but is another; "
            "give it a name of its own"
        )
    return experiment


def source(name: str) -> str:
    """Return the text of an experiment's file; see `load`."""
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise ValueError(f"there is no file {name!r}")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name!r} is not text in UTF-8: {error}") from None
    known = available()
    if name not in known:
        hint = _nearest(name, known)
        raise ValueError(
            f"there is no experiment {name!r}{hint} They are: {', '.join(known)}; "
            "an experiment of your own is named by a path that ends with .toml"
        )
    folder = importlib.resources.files("sphuni.training") / "experiments"
    return (folder / f"{name}.toml").read_text(encoding="utf-8")


def parse(text: str, *, origin: str = "experiment") -> Experiment:
    r"""Read an experiment from the text of a TOML file.

    Parameters
    ----------
    text : str
    origin : str, default "experiment"
        Name that errors begin with.

    Examples
    --------
    >>> parse('name = "x"\n[[arm]]\nname = "a"').arms[0].name
    'a'
    >>> parse('name = "x"\nsedes = 3')
    Traceback (most recent call last):
    ValueError: experiment: unknown key 'sedes'; did you mean 'seeds'? Allowed here: ...
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{origin}: not valid TOML: {error}") from None
    try:
        return _experiment(table)
    except _SchemaError as error:
        raise ValueError(f"{origin}: {error}") from None


def settings_of(
    experiment: Experiment, case: Case, arm: Arm, chosen: Mapping[str, Any] | None = None
) -> Settings:
    """Return the settings of a run: base, then case, then arm, then values chosen by selection.

    Parameters
    ----------
    chosen : mapping of dotted key to value, optional
        Such as ``{"regularizer.scale": 3.0}``.
    """
    settings = experiment.base
    for overrides in (case.overrides, arm.overrides):
        settings = _override(settings, overrides, "")
    for key, value in (chosen or {}).items():
        settings = _override(settings, _nested(key, value), "")
    return settings


def override(settings: Settings, tables: Mapping[str, Any]) -> Settings:
    """Return settings with single keys of single sections replaced.

    Raises
    ------
    ValueError
        If a section or a key does not exist, or a value is of the wrong type.

    Examples
    --------
    >>> override(Settings(), {"optimizer": {"lr": 1}}).optimizer.lr
    1.0
    """
    return _override(settings, tables, "")


def candidates(arm: Arm) -> list[dict[str, Any]]:
    """Return every combination of the values that selection tries for an arm."""
    return [
        dict(zip(arm.select, values, strict=True))
        for values in itertools.product(*arm.select.values())
    ]


def to_table(value: Any) -> Any:
    """Return dataclasses as plain tables, for logs and digests."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_table(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_table(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_table(item) for item in value]
    return value


def check_same(
    settings: Settings | Mapping[str, Any],
    found: Any,
    what: str,
    *,
    others: Mapping[str, Any] | None = None,
) -> None:
    """Refuse what was made with other settings; mixing them would spoil a comparison.

    Parameters
    ----------
    settings : Settings or table
    found : table
        What was recorded.
    what : str
        Of whom; the beginning of the message.
    others : mapping, optional
        What else was recorded beside the sections.

    Raises
    ------
    ValueError
        Naming the first difference. A setting that a later version added had its default before;
        of other things that were not recorded nothing is known.
    """
    beside = to_table(others or {})
    known = {**beside, **found} if isinstance(found, dict) else found
    wanted = _completed({**to_table(settings), **beside})
    difference = _first_difference(wanted, _completed(known), "")
    if found and difference:
        raise ValueError(
            f"{what} a run with other settings: {difference}. Name another folder with --out, or "
            "remove that one."
        )


def _completed(found: Any) -> Any:
    """Add the defaults of the settings that were not known when a table was written."""
    if not isinstance(found, dict):
        return found
    known = to_table(Settings())
    sections = {name: {**table, **(found.get(name) or {})} for name, table in known.items()}
    return {**found, **sections}


def _first_difference(wanted: Any, found: Any, where: str) -> str:
    """Name the first setting that differs."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in {**found, **wanted}:
            path = f"{where}.{key}" if where else key
            difference = _first_difference(wanted.get(key), found.get(key), path)
            if difference:
                return difference
        return ""
    return "" if wanted == found else f"{where} was {found!r} and is now {wanted!r}"


_LEAST: dict[tuple[type[Any], str], int] = {
    (Experiment, "seeds"): 1,
    (TrainingConfig, "epochs"): 1,
    (EvaluationConfig, "every"): 1,
    (RegularizerConfig, "every"): 1,
    (DataConfig, "pool"): 1,
}
"""Where 0 is too small: all other numbers must not be negative."""


class _SchemaError(ValueError):
    """Something that the schema does not allow."""


def _experiment(table: dict[str, Any]) -> Experiment:
    _check_keys(table, (*_TOP, *SECTIONS, "select", *_LISTS), "")
    lists = {key: _entries(table.get(key, []), kind, key) for key, kind in _LISTS.items()}
    base = _override(Settings(), {key: table[key] for key in SECTIONS if key in table}, "")
    cases = tuple(lists["case"]) or (Case(name=Path(base.data.name).stem),)
    experiment = _build(Experiment, {key: table[key] for key in _TOP if key in table}, "")
    experiment = dataclasses.replace(
        experiment,
        base=base,
        select=_build(SelectConfig, table.get("select", {}), "select"),
        arms=tuple(lists["arm"]),
        cases=cases,
        claims=tuple(lists["claim"]),
    )
    _check_references(experiment)
    _check_places(experiment)
    return experiment


def _entries(items: Any, kind: type[Any], key: str) -> list[Any]:
    """Read the tables of ``[[arm]]``, ``[[case]]`` or ``[[claim]]``."""
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise _SchemaError(f"{key!r} must be written as [[{key}]] tables")
    found = []
    for number, item in enumerate(items, 1):
        where = f"{key} {item.get('name', number)!r}"
        own = _OWN_KEYS.get(kind)
        if own is None:
            found.append(_build(kind, item, where))
            continue
        _check_keys(item, (*own, *SECTIONS), where)
        fields = {name: item[name] for name in own if name in item}
        overrides = {name: item[name] for name in SECTIONS if name in item}
        found.append(dataclasses.replace(_build(kind, fields, where), overrides=overrides))
    names = [entry.name for entry in found if hasattr(entry, "name")]
    for name in names:
        if names.count(name) > 1:
            raise _SchemaError(f"two {key}s are named {name!r}")
    return found


def _check_references(experiment: Experiment) -> None:
    """Every name that is used must exist, and every override must fit its section."""
    arms = [arm.name for arm in experiment.arms]
    cases = [case.name for case in experiment.cases]
    for arm in experiment.arms:
        _check_names(arm.cases, cases, f"arm {arm.name!r}: case")
        _check_candidates(arm)
        for case in experiment.cases:
            for candidate in candidates(arm):
                wrong = complaint_of_settings(settings_of(experiment, case, arm, candidate))
                if wrong and (not arm.cases or case.name in arm.cases):
                    raise _SchemaError(f"arm {arm.name!r} of case {case.name!r}: {wrong}")
    for claim in experiment.claims:
        where = f"claim {claim.text!r}: "
        _check_names((claim.better,), arms, f"{where}better")
        if (claim.worse == "") == (claim.than is None):
            raise _SchemaError(f"{where}exactly one of 'worse' and 'than' is needed")
        _check_names((claim.worse,) if claim.worse else (), arms, f"{where}worse")
        _check_names(claim.cases, cases, f"{where}case")
    if experiment.kind == "classification":  # others log numbers of their own
        _check_metrics(experiment)
    for name, key in (
        (experiment.select.first, "select.first"),
        (experiment.reference, "reference"),
    ):
        _check_names((name,) if name else (), arms, key)


def _check_metrics(experiment: Experiment) -> None:
    """What no run logs must be known before the runs, and not when their tables are made."""
    runs = [
        settings_of(experiment, case, arm, candidate)
        for case, arm in itertools.product(experiment.cases, experiment.arms)
        for candidate in candidates(arm)
    ]
    counts = sorted({count for run in runs for count in run.evaluation.recall})
    longest = max((run.training.epochs for run in runs), default=0)
    used = {"metric": experiment.metric}
    used |= {f"further[{k}]": metric for k, metric in enumerate(experiment.further)}
    used |= {f"claim {claim.text!r}: metric": claim.metric for claim in experiment.claims}
    for where, metric in used.items():
        _check_names((metric,), _logged("test", counts), where)
    if experiment.select.seeds:
        _check_names((experiment.select.metric,), _logged("validation", counts), "select.metric")
    for claim in experiment.claims:
        if claim.epoch > longest:
            raise _SchemaError(
                f"claim {claim.text!r}: epoch must be at most training.epochs, {longest}; got "
                f"{claim.epoch}"
            )


def _logged(part: str, counts: Iterable[int]) -> list[str]:
    """The numbers that runs of classification log where this part of the data is evaluated."""
    always = ("loss", "error", "accuracy")
    nearest = [f"{name}@{count}" for count in counts for name in ("recall", "positives")]
    of_training = [f"train.{name}" for name in (*always, "penalty")]
    return [*of_training, *(f"{part}.{name}" for name in (*always, *nearest)), "seconds"]


def _check_candidates(arm: Arm) -> None:
    """Candidates are kept in folders by their values."""
    for key, values in arm.select.items():
        if not values or any(values.index(one) < k for k, one in enumerate(values)):
            raise _SchemaError(
                f"arm {arm.name!r}: select.{key!r} must be values to try, each once; "
                f"got {list(values)}"
            )


def _check_places(experiment: Experiment) -> None:
    """There must be something to run, and every name is that of a folder of results."""
    if experiment.kind not in _kinds():
        hint = _nearest(experiment.kind, _kinds())
        raise _SchemaError(
            f"kind must be one of {', '.join(_kinds())}; got {experiment.kind!r}{hint}"
        )
    if experiment.options and experiment.kind not in _WITH_OPTIONS:
        raise _SchemaError(
            f"options are for kind {', '.join(map(repr, _WITH_OPTIONS))}, and this is "
            f"{experiment.kind!r}; got {experiment.options}. Those of a network are model.options"
        )
    named = [("name", experiment.name)]
    named += [("arm name", arm.name) for arm in experiment.arms]
    named += [("case name", case.name) for case in experiment.cases]
    for what, name in named:
        wrong = complaint_of_place(name)
        if wrong:
            raise _SchemaError(f"{what} must {wrong}")
    if not experiment.arms:
        raise _SchemaError("there is no arm; write one [[arm]] with a name for every method")
    owners: dict[str, str] = {}
    for case, arm in itertools.product(experiment.cases, experiment.arms):
        place, owner = f"{case.name}/{arm.name}", f"arm {arm.name!r} of case {case.name!r}"
        if place in owners:
            raise _SchemaError(f"{owner} and {owners[place]} are both kept in {place!r}")
        owners[place] = owner


_WITH_OPTIONS = ("conditioning",)


def _kinds() -> list[str]:
    """The sorts of runs: training, and the modules of the room `kinds`."""
    folder = importlib.resources.files("sphuni.training") / "kinds"
    modules = (item.name for item in folder.iterdir() if item.name.endswith(".py"))
    others = (name.removesuffix(".py").replace("_", "-") for name in modules if name[0] != "_")
    return ["classification", *sorted(others)]


def _check_names(names: Iterable[str], known: list[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise _SchemaError(f"{what} {name!r} does not exist{_nearest(name, known)}")


def _override(settings: Settings, tables: Mapping[str, Any], where: str) -> Settings:
    """Replace single keys of single sections; tables within a section are merged."""
    _check_keys(tables, SECTIONS, where)
    for name, table in tables.items():
        section = getattr(settings, name)
        if not isinstance(table, Mapping):
            raise _SchemaError(f"{_path(where, name)} must be a table; got {table!r}")
        merged = {
            key: {**getattr(section, key), **value}
            if isinstance(value, Mapping) and isinstance(getattr(section, key, None), dict)
            else value
            for key, value in table.items()
        }
        checked = _checked_fields(type(section), merged, _path(where, name))
        settings = dataclasses.replace(settings, **{name: dataclasses.replace(section, **checked)})
    return settings


def _build(kind: type[T], table: Any, where: str) -> T:
    if not isinstance(table, Mapping):
        raise _SchemaError(f"{where} must be a table; got {table!r}")
    fields = _checked_fields(kind, table, where)
    missing = [
        field.name
        for field in dataclasses.fields(typing.cast(Any, kind))
        if field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
        and field.name not in fields
    ]
    if missing:
        raise _SchemaError(f"{where or 'the file'} lacks the key {missing[0]!r}")
    return kind(**fields)


def _checked_fields(kind: type[Any], table: Mapping[str, Any], where: str) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    _check_keys(table, tuple(hints), where)
    checked = {key: _value(value, hints[key], _path(where, key)) for key, value in table.items()}
    for key, value in checked.items():
        least = _LEAST.get((kind, key), 0)
        if isinstance(value, int | float) and not value >= least and hints[key] in (int, float):
            raise _SchemaError(f"{_path(where, key)} must be at least {least}; got {value}")
        if isinstance(value, float) and not math.isfinite(value):
            raise _SchemaError(f"{_path(where, key)} must be a finite number; got {value}")
        wrong = complaint(kind, key, value)
        if wrong:
            raise _SchemaError(f"{_path(where, key)} must {wrong}")
    return checked


def _value(value: Any, hint: Any, where: str) -> Any:
    """Check one value against a type annotation; ints become floats, lists tuples."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is Literal:
        if value not in arguments:
            hint_text = _nearest(str(value), [str(one) for one in arguments])
            allowed = ", ".join(repr(one) for one in arguments)
            raise _SchemaError(f"{where} must be one of {allowed}; got {value!r}{hint_text}")
        return value
    if origin in (types.UnionType, typing.Union):
        return _value(value, next(one for one in arguments if one is not types.NoneType), where)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_value(item, arguments[0], where) for item in value)
    if origin is dict and isinstance(value, Mapping):
        return {
            str(key): _value(item, arguments[1], _path(where, key)) for key, item in value.items()
        }
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if (
        isinstance(hint, type)
        and isinstance(value, hint)
        and (hint is bool) == (value is True or value is False)
    ):
        return value
    expected = getattr(hint, "__name__", str(hint)) if origin is None else _LIKE[origin]
    raise _SchemaError(f"{where} must be of type {expected}; got {value!r}")


_LIKE = {tuple: "list", dict: "table"}


def _check_keys(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    allowed = tuple(known)
    for key in table:
        if key not in allowed:
            place = f" in {where}" if where else ""
            raise _SchemaError(
                f"unknown key {key!r}{place}{_nearest(key, allowed)} "
                f"Allowed here: {', '.join(allowed)}"
            )


def _nearest(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def _nested(key: str, value: Any) -> dict[str, Any]:
    """Turn a dotted key into tables within tables."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return typing.cast(dict[str, Any], value)


def _path(where: str, key: str) -> str:
    return f"{where}.{key}" if where else str(key)
