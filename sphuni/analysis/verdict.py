"""From numbers to a word: the verdict on a layer, in a fixed order of severity."""

import dataclasses
import math

import numpy as np

from sphuni.analysis._layer import TESTS, LayerReport
from sphuni.stats import adjust_pvalues

__all__ = ["adjust_and_judge", "judge"]

_LEVEL = 0.01
_COLLAPSED = 0.95
_FEW_DIRECTIONS = 0.5
_COMMON_DIRECTION = 0.1
_NAMES = {"rayleigh": "Rayleigh", "bingham": "Bingham", "gine_gn": "Giné Gn", "packing": "packing"}


def adjust_and_judge(layers: tuple[LayerReport, ...]) -> tuple[LayerReport, ...]:
    """Adjust every test's p-values across the layers of a model and give each its verdict.

    The adjustment is Benjamini and Hochberg's, per test and tail, over the layers that have that
    p-value (Y. Benjamini, Y. Hochberg, JRSS B 57, 1995, 289-300,
    doi:10.1111/j.2517-6161.1995.tb02031.x).
    """
    upper = _adjusted([layer.p for layer in layers])
    lower = _adjusted([layer.p_lower for layer in layers])
    judged = []
    for layer, above, below in zip(layers, upper, lower, strict=True):
        if layer.status == "analysed":
            layer = dataclasses.replace(layer, p_adjusted=above, p_lower_adjusted=below)
            word, why = judge(layer)
            layer = dataclasses.replace(layer, verdict=word, why=why)
        judged.append(layer)
    return tuple(judged)


def judge(layer: LayerReport) -> tuple[str, str]:
    """Return the first verdict that holds, and one sentence with its numbers.

    In this order: dead neurons (norm under 1e-6 of the mean), collapsed pair (cosine > 0.95 and
    packing p < 0.01), few directions (effective rank under half of that of random rows), common
    direction (Rayleigh p < 0.01 and mean resultant length > 0.1), clustered (any upper tail
    p < 0.01), more regular than random (any lower tail p < 0.01), uniform. All p-values are
    adjusted across the model.
    """
    above, below = layer.p_adjusted, layer.p_lower_adjusted
    few, common = _few(layer), _common(layer)
    if layer.dead:
        return "dead neurons", _dead(layer)
    if layer.max_cosine > _COLLAPSED and _small(above.get("packing")):
        i, j = layer.pair or (-1, -1)
        return "collapsed pair", (
            f"rows {i} and {j} have cosine {_cosine(layer.max_cosine)}, closer than chance allows "
            f"(packing {_p(above['packing'])}){_besides(few, common)}"
        )
    if few:
        return "few directions", f"{few}{_besides(common)}"
    if common:
        return "common direction", common
    test = _strongest(above)
    if test is not None:
        return "clustered", (
            f"closer together than random rows: {_NAMES[test]} {_p(above[test])}"
            f"{_size_of_effect(layer)}{_yet_regular(below)}"
        )
    test = _strongest(below)
    if test is not None:
        return "more regular than random", (
            f"spread more evenly than random rows: {_NAMES[test]} {_p(below[test])} in the "
            f"lower tail{_size_of_effect(layer)}"
        )
    return "uniform", f"no test rejects uniform random rows{_size_of_effect(layer)}"


def _adjusted(tables: list[dict[str, float]]) -> list[dict[str, float]]:
    """Adjust each test's p-values over the layers that have one."""
    out: list[dict[str, float]] = [{} for _ in tables]
    for test in TESTS:
        places = [k for k, table in enumerate(tables) if not math.isnan(table.get(test, math.nan))]
        if places:
            values = adjust_pvalues(np.array([tables[k][test] for k in places]))
            for k, value in zip(places, values.tolist(), strict=True):
                out[k][test] = value
    return out


def _small(p: float | None) -> bool:
    return p is not None and p < _LEVEL


def _strongest(table: dict[str, float]) -> str | None:
    """The test with the smallest p-value below the level, if any."""
    below = {test: p for test, p in table.items() if _small(p)}
    return min(below, key=lambda test: below[test]) if below else None


def _dead(layer: LayerReport) -> str:
    shown = ", ".join(map(str, layer.dead[:8])) + (", ..." if len(layer.dead) > 8 else "")
    have = "has" if len(layer.dead) == 1 else "have"
    if layer.n - len(layer.dead) < 2:
        return f"{len(layer.dead)} of {layer.n} rows are dead: fewer than two directions are left"
    return f"{len(layer.dead)} of {layer.n} rows ({shown}) {have} practically zero norm"


def _few(layer: LayerReport) -> str:
    """Say that the rows have few directions, if they have."""
    if not layer.effective_rank_ratio < _FEW_DIRECTIONS:
        return ""
    return (
        f"its effective rank, {layer.effective_rank:.3g}, is "
        f"{layer.effective_rank_ratio:.2g} of that of random rows of the same shape"
    )


def _common(layer: LayerReport) -> str:
    """Say that the rows share a direction, if they do."""
    p = layer.p_adjusted.get("rayleigh", math.nan)
    if not (_small(p) and layer.mean_resultant_length > _COMMON_DIRECTION):
        return ""
    return (
        f"the rows share a direction: the mean of the unit rows has length "
        f"{layer.mean_resultant_length:.2g} (Rayleigh {_p(p)})"
    )


def _besides(*others: str) -> str:
    """Add what would have been milder verdicts: often they are the cause of the worse one."""
    return "".join(f"; {other}" for other in others if other)


def _size_of_effect(layer: LayerReport) -> str:
    """The half-space excess at s = 2, which says how much where p-values say whether."""
    value = layer.excess.get("half:2", math.nan)
    if value == math.inf:  # equal rows have another verdict
        return "; its half-space energy is infinite, as rows lie exactly opposite each other"
    if not math.isfinite(value):
        return ""
    limit = ""
    if layer.excess_is_upper.get("half:2"):
        limit = "at most " if value < 1 else "at least "
    share = f"{limit}{value:.3g} of the way from optimal (0) to random (1)"
    return f"; its half-space energy is {share}"


def _yet_regular(below: dict[str, float]) -> str:
    """Say so where another test finds the same layer too regular: the simplex does that.

    Its rows are spread as far as points can be, but as lines they are closer than random ones.
    """
    test = _strongest(below)
    if test is None:
        return ""
    return f"; yet {_NAMES[test]} finds it more regular than random ({_p(below[test])})"


def _cosine(value: float) -> str:
    if value < 0.9999:
        return f"{value:.4f}"
    return f"1 - {1 - value:.1g}" if value < 1 else "1"


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value > 1e-300 else "p < 1e-300"
