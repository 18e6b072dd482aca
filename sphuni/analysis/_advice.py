"""What a report says in words: the headline, the meaning of each verdict and what to do."""

import math

from sphuni._text import plural, shorten
from sphuni.analysis.report import LayerReport, ModelReport

__all__ = ["MEANING", "advice", "excess_text", "headline", "number", "pvalue"]

MEANING = {
    "failed": "could not be analysed",
    "dead neurons": "some rows have almost no weight",
    "collapsed pair": "at least two neurons point the same way",
    "few directions": "the rows use far fewer dimensions than they have",
    "common direction": "all rows lean towards one direction",
    "clustered": "rows are closer together than chance allows",
    "more regular than random": "rows are spread better than chance",
    "uniform": "not told apart from uniform random rows",
    "skipped": "not a set of directions",
}

_ADVICE = {
    "failed": "The reason is given above; the other layers are not affected.",
    "dead neurons": (
        "Remove the listed rows, or revive them: a smaller learning rate or weight decay, or a "
        "leaky activation, keeps neurons from dying."
    ),
    "collapsed pair": (
        "The listed neurons compute nearly the same thing. Merge or prune one of each pair, or "
        "train with a half-space energy, which pushes such pairs apart."
    ),
    "few directions": (
        "A factorisation of low rank would lose little. If capacity is wanted instead, lower the "
        "weight decay or add an energy on the rows; for embeddings look at the leading components."
    ),
    "common direction": (
        "Subtract the mean row and analyse again (`--center`): if the rest is uniform, the common "
        "direction was all there is. For embeddings this is the known cone effect."
    ),
    "clustered": (
        "Structure that training put there, not a fault in itself. Compare with the checkpoint "
        "before training, or with the layer's own initialiser (`--baseline init`); a half-space "
        "energy counteracts it."
    ),
    "more regular than random": (
        "Nothing to do. Orthogonal initialisation or a uniformity regulariser leaves this trace."
    ),
    "uniform": "Nothing to do.",
    "skipped": "Nothing to do.",
}

_GOOD = {
    "uniform": "not told apart from random rows",
    "more regular than random": "more regular than random rows",
}


def advice(layer: LayerReport) -> str:
    """Say what a reader can do about a layer."""
    return _ADVICE[layer.verdict]


def headline(report: ModelReport) -> str:
    """Sum up a model in one or two sentences."""
    counts = report.summary()
    analysed = sum(1 for layer in report.layers if layer.status == "analysed")
    if not analysed:
        return "No layer could be analysed."
    failed = counts.get("failed", 0)
    rest = f" {plural(failed, 'layer')} could not be analysed." if failed else ""
    good = counts.get("uniform", 0) + counts.get("more regular than random", 0)
    if good == analysed:
        found = [text for verdict, text in _GOOD.items() if counts.get(verdict)]
        return f"{_all(analysed)} {', or '.join(found)}.{rest}"
    worst = report.worst_first()
    worst = tuple(layer for layer in worst if layer.status == "analysed")
    same = counts[worst[0].verdict]
    verb = "needs" if analysed - good == 1 else "need"
    first = f"{analysed - good:,} of {analysed:,} layers {verb} a look"
    if analysed == 1:
        first = "The one analysed layer needs a look"
    return f"{first}; {_worst_phrase(worst[0], same)}.{rest}"


def _all(count: int) -> str:
    return "The one analysed layer is" if count == 1 else f"All {count:,} analysed layers are"


def _worst_phrase(layer: LayerReport, count: int) -> str:
    """Name the worst verdict and its first layer."""
    name = shorten(layer.name, 60)
    phrase = {
        "dead neurons": "dead neurons in",
        "collapsed pair": "collapsed pairs in",
        "few directions": "few directions in",
        "common direction": "a common direction in",
        "clustered": "clustering in",
    }[layer.verdict]
    others = "" if count == 1 else f" and {plural(count - 1, 'other')}"
    return f"the worst is {phrase} {name}{others}"


def number(value: float, digits: int = 3) -> str:
    """Write a number for people: few digits, a dash for NaN, the sign of infinity."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        text = f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"
    else:
        text = f"{value:.{digits - 1}e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    return text.replace("-", "−")


def excess_text(layer: LayerReport, key: str = "half:2") -> str:
    """Write an excess, with a ≤ or ≥ where a certified bound stands for the optimum.

    A bound below the optimum moves the excess towards 1, that of random rows.
    """
    value = layer.excess.get(key, math.nan)
    if not (layer.excess_is_upper.get(key, False) and math.isfinite(value)):
        return number(value)
    return f"{'≤' if value < 1 else '≥'}{number(value)}"


def pvalue(value: float) -> str:
    """Write a p-value: two digits, and nothing finer than 1e-16, where rounding takes over."""
    if math.isnan(value):
        return "–"
    return "<1e−16" if value < 1e-16 else number(value, 2)
