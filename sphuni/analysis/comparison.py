"""What training, pruning or a regularizer changed, layer by layer."""

import dataclasses
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sphuni._files import write_text
from sphuni.analysis import _serialize
from sphuni.analysis.report import ANALYSED_VERDICTS, ENERGY_KEYS, TESTS, LayerReport, ModelReport

__all__ = ["Comparison", "LayerChange", "check_same_options", "compare_reports"]

SCHEMA = "sphuni.comparison"
SCHEMA_VERSION = 1
_MERIT = (*ANALYSED_VERDICTS[:-2], "uniform", "more regular than random")
_NUMBERS = (
    "max_cosine", "separation_deg", "effective_rank", "effective_rank_ratio", "stable_rank",
    "mean_resultant_length",
)  # fmt: skip
_DECISIVE = ("baseline", "center", "remove_top", "heads", "split_qkv")
"""Options that give the same layer other numbers."""
_WRAPPERS = re.compile(r"((module|base_model\.model)\.)*")
"""What wrappers put before every name of a model; other models have parts of these names."""
_INSERTED = re.compile(
    r"\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|base_layer)\."
)
"""What they put anywhere in a name, and nobody else does."""
_MAPPINGS = {"excess": ENERGY_KEYS, "z": ENERGY_KEYS, "p": TESTS, "p_adjusted": TESTS}


@dataclasses.dataclass(frozen=True, eq=False)
class LayerChange:
    """One layer before and after.

    Attributes
    ----------
    name : str
        Name of the layer.
    before, after : LayerReport or None
        None where the layer exists on the other side only.
    """

    name: str
    before: LayerReport | None
    after: LayerReport | None

    @property
    def side(self) -> str:
        """Where the layer exists: "both", "before" or "after"."""
        if self.before is None:
            return "after"
        return "before" if self.after is None else "both"

    @property
    def direction(self) -> str:
        """Return "better", "worse" or "same" if both sides were analysed, else "".

        The order is that of the verdicts, with more regular than random above uniform.
        """
        if self.before is None or self.after is None:
            return ""
        if self.before.status != "analysed" or self.after.status != "analysed":
            return ""
        step = _MERIT.index(self.after.verdict) - _MERIT.index(self.before.verdict)
        return "same" if step == 0 else ("better" if step > 0 else "worse")

    @property
    def sides(self) -> tuple[LayerReport, LayerReport]:
        """Both sides of a layer that has both."""
        if self.before is None or self.after is None:
            raise ValueError(f"layer {self.name!r} exists on one side only")
        return self.before, self.after

    @property
    def delta(self) -> dict[str, float]:
        """After minus before, keyed like the rules: ``max_cosine``, ``excess[half:2]``, ..."""
        before, after = self.before, self.after
        if before is None or after is None:
            return {}
        deltas = {name: getattr(after, name) - getattr(before, name) for name in _NUMBERS}
        for name, keys in _MAPPINGS.items():
            old, new = getattr(before, name), getattr(after, name)
            for key in keys:
                difference = new.get(key, math.nan) - old.get(key, math.nan)
                deltas[f"{name}[{key}]"] = difference
        return {key: value for key, value in deltas.items() if not math.isnan(value)}

    def to_dict(self) -> dict[str, Any]:
        """Return the change as plain values, without the full reports of the two sides."""
        return {
            "name": self.name,
            "side": self.side,
            "direction": self.direction,
            "verdict_before": None if self.before is None else self.before.verdict,
            "verdict_after": None if self.after is None else self.after.verdict,
            "before": _numbers_of(self.before),
            "after": _numbers_of(self.after),
            "delta": self.delta,
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Two reports side by side.

    ``str(comparison)`` is the table that `sphuni compare` prints.

    Attributes
    ----------
    before, after : ModelReport
        What was compared.
    changes : tuple of LayerChange
        One per layer of either side, in the order of `after`, then what only `before` has.
    """

    before: ModelReport
    after: ModelReport
    changes: tuple[LayerChange, ...]

    def __str__(self) -> str:
        from sphuni.analysis.table import comparison_table

        return comparison_table(self)

    @property
    def not_compared(self) -> tuple[LayerChange, ...]:
        """Layers of both sides that failed on one, or were analysed on one only."""
        return tuple(
            change
            for change in self.changes
            if change.side == "both"
            and not change.direction
            and {side.status for side in change.sides} != {"skipped"}
        )

    def summary(self) -> dict[str, int]:
        """Count the layers by what became of them."""
        directions = Counter(change.direction for change in self.changes)
        sides = Counter(change.side for change in self.changes)
        return {
            "better": directions["better"],
            "worse": directions["worse"],
            "same": directions["same"],
            "only_before": sides["before"],
            "only_after": sides["after"],
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain numbers, strings, lists and dicts."""
        return {
            "schema": SCHEMA,
            "version": SCHEMA_VERSION,
            "sphuni_version": self.after.version,
            "before": self.before.source,
            "after": self.after.source,
            "summary": self.summary(),
            "layers": [change.to_dict() for change in self.changes],
        }

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the comparison as strict JSON, and write it to `path` if one is given.

        Numbers are written as by `ModelReport.to_json`.
        """
        text = _serialize.dump_json(self.to_dict())
        if path is not None:
            write_text(path, text)
        return text

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the comparison as one self-contained page, and write it to `path` if given."""
        from sphuni.analysis.html import render_comparison

        text = render_comparison(self)
        if path is not None:
            write_text(path, text)
        return text


def compare_reports(before: ModelReport, after: ModelReport, /) -> Comparison:
    """Compare two reports layer by layer.

    Parameters
    ----------
    before, after : ModelReport
        Reports of two states of a model. Layers are matched by name, without what DataParallel
        ("module.") or PEFT ("base_model.model.") puts before all names of one side, or
        torch.compile, FSDP, checkpointing or PEFT ("_orig_mod.", "base_layer.") into a name; where
        a name occurs more than once, in order.

    Returns
    -------
    Comparison
        With every layer of either report.

    Raises
    ------
    ValueError
        If the reports were made with other options, so that their numbers differ for that alone.
    """
    check_same_options(before.settings, after.settings)
    old, new = _common_names(before, after)
    waiting: dict[str, list[LayerReport]] = defaultdict(list)
    for name, layer in zip(reversed(old), reversed(before.layers), strict=True):
        waiting[name].append(layer)
    changes = []
    for name, layer in zip(new, after.layers, strict=True):
        found = waiting[name].pop() if waiting[name] else None
        alike = found is not None and found.name == layer.name
        changes.append(LayerChange(layer.name if alike else name, found, layer))
    left = {id(layer) for layers in waiting.values() for layer in layers}
    changes += [
        LayerChange(name, layer, None)
        for name, layer in zip(old, before.layers, strict=True)
        if id(layer) in left
    ]
    return Comparison(before, after, tuple(changes))


def _common_names(before: ModelReport, after: ModelReport) -> tuple[list[str], list[str]]:
    """Names of the layers of two models without what was wrapped around only one of them."""
    names = [[_INSERTED.sub("", layer.name) for layer in side.layers] for side in (before, after)]
    old, new = map(_wrapper, names)
    if old == new:
        return names[0], names[1]
    return [one.removeprefix(old) for one in names[0]], [one.removeprefix(new) for one in names[1]]


def _wrapper(names: list[str]) -> str:
    """What a wrapped model's names all begin with, and those of the model itself do not."""
    found = _WRAPPERS.match(names[0]) if names else None
    prefix = found.group() if found else ""
    return prefix if all(name.startswith(prefix) for name in names) else ""


def check_same_options(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    /,
    *,
    names: tuple[str, str] = ("before", "after"),
) -> None:
    """Refuse settings of two analyses whose numbers cannot be compared.

    Parameters
    ----------
    before, after : mapping
        `ModelReport.settings`; an option that only one of them records is no difference.
    names : tuple of two str, default ("before", "after")
        What the message calls the two sides.

    Raises
    ------
    ValueError
        Naming the first option that differs, and both values.
    """
    for option in _DECISIVE:
        if option not in before or option not in after:
            continue
        old, new = (_serialize.plain(side[option]) for side in (before, after))
        if old != new:
            raise ValueError(
                f"{names[0]} has {option}={old!r} but {names[1]} has {option}={new!r}, so their "
                f"numbers cannot be compared; analyse both with the same {option}"
            )


def _numbers_of(layer: LayerReport | None) -> dict[str, Any] | None:
    """Return the compared numbers of one side."""
    if layer is None:
        return None
    keys: Sequence[str] = (*_NUMBERS, *_MAPPINGS)
    return {key: _serialize.plain(getattr(layer, key)) for key in keys}
