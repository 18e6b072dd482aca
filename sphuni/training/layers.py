"""What `sphuni.analysis` says of every layer, as plain numbers for the log."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from sphuni.analysis import analyze
from sphuni.nn import regularizers
from sphuni.nn.neurons import NeuronView, module_neurons

__all__ = ["measure_layers", "measure_objectives", "thinned"]

OBJECTIVES = (
    "so", "srip", "mhe", "hs-mhe", "rp-comhe", "mhs", "hs-mhs", "hs-mhp", "r-mhp", "hs-mhc",
    "mgd", "hs-mgd", "mutual-coherence",
)  # fmt: skip
_NUMBERS = (
    "separation_deg", "max_cosine", "effective_rank", "effective_rank_ratio", "stable_rank",
    "mean_resultant_length",
)  # fmt: skip
_TABLES = ("energy", "optimum", "excess", "z", "p", "p_lower")


def measure_layers(network: nn.Module, *, spectrum: int = 32) -> list[dict[str, Any]]:
    """Return energies, excess, separation, p-values and spectrum of every layer.

    Parameters
    ----------
    network : nn.Module
    spectrum : int, default 32
        Singular values kept per layer, evenly thinned.

    Raises
    ------
    KeyboardInterrupt
        If the analysis was interrupted: the log has no place for a part of the layers.

    Examples
    --------
    >>> (layer,) = measure_layers(nn.Linear(16, 8))
    >>> layer["name"], layer["n"], layer["d"], 0 < layer["separation_deg"] < 180
    ('weight', 8, 16, True)
    """
    report = analyze(network)
    if report.partial:  # what the analysis keeps for whoever waits for a report
        raise KeyboardInterrupt(report.reason)
    layers = []
    for layer in report.layers:
        if layer.status != "analysed":
            continue
        row: dict[str, Any] = {"name": layer.name, "n": layer.n, "d": layer.d}
        row |= {key: _finite(getattr(layer, key)) for key in _NUMBERS}
        row |= {key: _table(getattr(layer, key)) for key in _TABLES}
        row["verdict"] = layer.verdict
        row["spectrum"] = thinned(layer.singular_values, spectrum)
        layers.append(row)
    return layers


def measure_objectives(
    network: nn.Module, *, has_classifier: bool = True
) -> dict[str, float | None]:
    """Return the value of every objective, the mean over hidden layers, whatever was trained.

    Parameters
    ----------
    network : nn.Module
    has_classifier : bool, default True
        Leave the last layer out.

    Notes
    -----
    Each is what its regularizer would add with coefficient 1, so lower is better.
    """
    views = [view for view in module_neurons(network) if isinstance(view, NeuronView)]
    found = {}
    for name in OBJECTIVES:
        values = []
        for view in views[: -1 if has_classifier else None]:
            n, d = view.matrix.shape
            if n >= 2 and d >= 2:
                objective = regularizers.build(name, role="hidden", shape=(n, d), seed=0)
                values.append(_value(objective, view.matrix.detach().cpu().float()))
        found[name] = _finite(float(np.mean(values)) if values else math.nan)
    return found


def rounded(value: float, digits: int = 7) -> float:
    """Keep the digits that a log needs."""
    return float(f"{float(value):.{digits}g}")


def thinned(values: np.ndarray, most: int) -> list[float]:
    """Keep at most so many values, evenly, with both ends."""
    if len(values) > most:
        values = values[np.linspace(0, len(values) - 1, most).round().astype(int)]
    return [rounded(value, 5) for value in values]


def _table(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: _finite(value) for key, value in values.items()}


def _finite(value: float) -> float | None:
    """What was not computed is None, as JSON has no NaN."""
    return rounded(value) if math.isfinite(value) else None


def _value(objective: regularizers.Objective, rows: torch.Tensor) -> float:
    """Poles and projections need gradients inside, though none is asked for here."""
    objective.allocate(*rows.shape, like=rows)
    return float(objective(rows.requires_grad_()).detach())
