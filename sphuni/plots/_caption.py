"""What stands above a picture of a configuration: problem, size, value, gap, symmetry."""

import math
from collections import Counter
from typing import Any

from sphuni._text import plural
from sphuni.plots._diagram import Index

__all__ = [
    "cell_kinds",
    "gap_text",
    "group_math",
    "heading",
    "plain",
    "shade_of",
    "value_text",
]

_TITLES = {
    "thomson": "Thomson problem",
    "log": "Logarithmic energy",
    "riesz": "Riesz energy",
    "energy": "Energy",
    "tammes": "Tammes problem",
    "covering": "Covering",
    "polarization": "Polarization",
    "maxdet": "Greatest determinant",
    "design": "Spherical design",
}
_VALUES = {
    "tammes": "smallest angle",
    "covering": "covering radius",
    "polarization": "least potential",
    "maxdet": "log det",
    "design": "residual",
}
_ANGLES = ("tammes", "covering")
_CELLS = {3: "triangle", 4: "square", 5: "pentagon", 6: "hexagon", 7: "heptagon"}


def heading(result: Any, n: int) -> str:
    """Name the problem and its size; of bare points, the size."""
    problem = getattr(result, "problem", None)
    if problem is None:
        return f"{plural(n, 'point')} on the sphere"
    kind = "lines" if getattr(result, "antipodal", False) else "points"
    title = _TITLES.get(problem, str(problem))
    s = getattr(result, "s", None)
    if problem == "design" and s is not None:
        title = f"Spherical {s:g}-design"
    elif problem in ("riesz", "polarization") and s is not None:
        title = f"{title}, s = {s:g}"
    return f"{title}: n = {result.n} {kind}"


def value_text(result: Any) -> str:
    """Write the value with its name, angles in degrees; empty for bare points."""
    value, problem = getattr(result, "value", None), getattr(result, "problem", None)
    if value is None or problem is None:
        return ""
    name = _VALUES.get(problem, "energy")
    if problem in _ANGLES:
        return f"{name} {math.degrees(value):.9f}°"
    if problem == "design":
        return f"{name} {value:.1e}".replace("e-", "e−")
    return f"{name} {value:.13g}".replace("-", "−")


def gap_text(result: Any) -> str:
    """Say how the value compares with the record; empty for bare points."""
    if not hasattr(result, "gap"):
        return ""
    gap, record = result.gap, result.record
    if gap is None or record is None:
        return "no record for this size"
    name = "proven optimum" if record.status == "proven" else "record"
    rounding = 10.0 ** (1 - record.digits) * abs(record.value)
    meaning = max(1e-9 * max(1.0, abs(result.value)), rounding)
    if result.problem == "design":
        meaning = max(meaning, 1e-7)
    if abs(gap) <= meaning:
        return f"equals the {name}"
    size = f"{math.degrees(abs(gap)):.2g}°" if result.problem in _ANGLES else f"{abs(gap):.1e}"
    return f"{size} {'short of' if gap > 0 else 'better than'} the {name}".replace("e-", "e−")


def shade_of(sides: int) -> int:
    """Number of sides, 3 to 8, whose colour a cell has."""
    return min(max(sides, 3), 8)


def cell_kinds(sides: Index) -> list[tuple[int, str]]:
    """Shade and wording of the cells of each number of sides, from the fewest sides on."""
    return [
        (shade_of(k), plural(count, _CELLS[k]) if k in _CELLS else f"{count:,} with {k} sides")
        for k, count in sorted(Counter(sides.tolist()).items())
    ]


def plain(text: str) -> str:
    """Keep matplotlib from reading a text as mathematics."""
    return text.replace("$", r"\$")


def group_math(name: str) -> str:
    """Write a Schoenflies name for matplotlib, its suffix lowered."""
    suffix = name[1:].replace("∞", r"\infty ")
    return f"${name[0]}_{{{suffix}}}$" if suffix else f"${name[0]}$"
