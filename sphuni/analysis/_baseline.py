"""Layers read against random draws, where independent uniform rows are the wrong yardstick.

A layer's own initialiser is one such: PyTorch's linear, convolutional and recurrent layers draw
every weight from an interval, which favours the diagonals of the cube in low dimension; embeddings
draw Gaussian entries, whose directions are uniform. Products of LoRA begin with zero: they are read
against products of Gaussian factors, whose rows gather about the long axes of the second factor.
Rows that were centred, or lost their leading components, are another: they were independent before,
and are more regular after.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sphuni._rng import torch_generator
from sphuni.analysis._energies import ENERGIES, mean_energy, yardstick
from sphuni.analysis._layer import TESTS, LayerReport
from sphuni.analysis._moments import Moments
from sphuni.analysis._options import Options
from sphuni.analysis._rows import transform
from sphuni.analysis._spectrum import measure_rank
from sphuni.analysis._uniformity import Summary, log_tails

__all__ = ["Draw", "against_draws"]


class Draw(NamedTuple):
    """What is measured of one draw: kernel sums, what the tests are made of, moments."""

    sums: tuple[float, ...]
    summary: Summary
    moments: Moments


Measure = Callable[[Tensor], Draw]

_DRAWS = 99
_RANKED = 20
"""Draws whose ranks are taken: they differ little, and cost as much as all the rest."""
_LEAST = 19
_WORK = 4e11
_GAUSSIAN_KINDS = ("embedding", "lora")
_ROUNDING = 1e-9


def against_draws(
    report: LayerReport,
    summary: Summary,
    options: Options,
    measure: Measure,
    width: int | None = None,
) -> LayerReport:
    """Read a layer's energies, tests and rank against draws of its initialiser, or Gaussian rows.

    The draws are transformed as the layer was. z and p-values refer to them; the excess takes their
    mean energy for that of random rows, and the ratio of effective ranks their mean rank. Layers
    too large to be drawn again in time are left as they are, with a note, but for what a
    transformation alone makes small: z and the lower tails. Energies that are infinite on average
    have no excess here either, and those of infinite variance no z. `width` is that of the rows of
    a product that is read in its own space.
    """
    n, d = summary.n, report.d
    own = options.baseline == "init"
    what = "its initialiser" if own else "Gaussian rows"
    if own and width is not None:
        what += ", taken for products of Gaussian factors"
    most = min(_WORK / d, options.most_work / options.pair_work(d))
    draws = int(min(_DRAWS, most / (float(n) * n)))
    # a sample of rows that were transformed with all others is no set transformed on its own
    if draws < _LEAST or report.sampled:
        return _left_as_it_is(report, options, what)
    gaussian = not own or report.kind in _GAUSSIAN_KINDS
    generator = torch_generator(options.seed)
    sums, summaries, ranks = [], [], []
    for k in range(draws):
        drawn = measure(_draw(n, d, options, generator, gaussian, width if own else None))
        sums.append(drawn.sums)
        summaries.append(drawn.summary)
        if k < _RANKED:
            ranks.append(measure_rank(drawn.moments))
    upper, lower = _tails(summary, summaries)
    means, deviations = _moments(sums, summary)
    return dataclasses.replace(
        report,
        z={k: _over(report.energy[k] - means[k], deviations[k]) for k in report.energy},
        excess={k: _rescale(report, k, means[k]) for k in report.excess},
        effective_rank_ratio=report.effective_rank / np.mean(ranks).item(),
        p=upper,
        p_lower=lower,
        notes=(
            *report.notes,
            *([_beside(report)] if own and not options.transforms else []),
            f"compared with {draws} draws of {what}{_likewise(options)}",
        ),
    )


def _left_as_it_is(report: LayerReport, options: Options, what: str) -> LayerReport:
    """Keep what independent uniform rows can say: transformed rows are more regular than they."""
    note = f"too large to draw {what} many times: compared with independent uniform rows"
    if not options.transforms:
        return dataclasses.replace(report, notes=(*report.notes, note))
    note += ", in the upper tails only, as the transformation itself makes rows more regular"
    return dataclasses.replace(report, z={}, p_lower={}, notes=(*report.notes, note))


def _beside(report: LayerReport) -> str:
    """The smaller p-value of every test against uniform rows."""
    tails = (
        f"{test} {min(report.p[test], report.p_lower[test]):.2g}"
        f" ({'upper' if report.p[test] <= report.p_lower[test] else 'lower'} tail)"
        for test in TESTS
    )
    return f"p against independent uniform rows: {', '.join(tails)}"


def _likewise(options: Options) -> str:
    return ", transformed likewise" if options.transforms else ""


def _draw(
    n: int, d: int, options: Options, generator: torch.Generator, gaussian: bool, width: int | None
) -> Tensor:
    if gaussian:
        rows = torch.randn(n, d, generator=generator, dtype=torch.float64)
    else:
        rows = 2 * torch.rand(n, d, generator=generator, dtype=torch.float64) - 1
    if width is not None:
        factor = torch.randn(width, d, generator=generator, dtype=torch.float64)
        rows = rows @ torch.linalg.qr(factor, mode="r").R.T  # in the coordinates of its columns
    rows, _ = transform(rows, options)
    return rows / rows.norm(dim=1, keepdim=True)


def _tails(observed: Summary, drawn: list[Summary]) -> tuple[dict[str, float], dict[str, float]]:
    """Monte-Carlo p-values, continued beyond the draws by the shape of the uniform law's tail.

    With no draw as extreme as the layer, p = p_u(layer) / p_u(most extreme draw) / (1 + draws),
    where p_u is the p-value against uniform rows: otherwise no number of layers could be adjusted
    for with a few hundred draws.
    """
    upper, lower = {}, {}
    for test in TESTS:
        own = observed.clustering(test)
        sample = np.array([one.clustering(test) for one in drawn])
        slack = _ROUNDING * (1 + abs(own))
        upper[test] = float(1 + (sample >= own - slack).sum()) / (1 + len(sample))
        lower[test] = float(1 + (sample <= own + slack).sum()) / (1 + len(sample))
        log_upper, log_lower = log_tails(observed, test)
        if own > sample.max() + slack:
            upper[test] *= _ratio(log_upper, log_tails(drawn[int(sample.argmax())], test)[0])
        if own < sample.min() - slack:
            lower[test] *= _ratio(log_lower, log_tails(drawn[int(sample.argmin())], test)[1])
    return upper, lower


def _ratio(log_own: float, log_extreme: float) -> float:
    return math.exp(min(log_own - log_extreme, 0.0)) if math.isfinite(log_extreme) else 1.0


def _moments(
    sums: list[tuple[float, ...]], summary: Summary
) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and standard deviation of every energy over the draws; nan where the law has none."""
    n = summary.n
    table = np.array(
        [[mean_energy(e, s, n) for e, s in zip(ENERGIES, row, strict=True)] for row in sums]
    )
    laws = [yardstick(energy, n, summary.d) for energy in ENERGIES]
    keys = [energy.key for energy in ENERGIES]
    with np.errstate(invalid="ignore"):  # antipodal rows have infinite half-space energies
        means, deviations = table.mean(axis=0), table.std(axis=0, ddof=1)
    deviations[deviations <= _ROUNDING * abs(means)] = 0.0
    means[[not math.isfinite(law.random) for law in laws]] = math.nan
    deviations[[not math.isfinite(law.deviation) for law in laws]] = math.nan
    return (
        dict(zip(keys, means.tolist(), strict=True)),
        dict(zip(keys, deviations.tolist(), strict=True)),
    )


def _rescale(report: LayerReport, key: str, mean: float) -> float:
    """The excess with the draws' mean energy in the place of that of uniform rows."""
    optimum = report.optimum[key]
    return _over(report.energy[key] - optimum, mean - optimum)


def _over(part: float, whole: float) -> float:
    """A ratio that is nan where all draws are alike, as two centred rows are."""
    return part / whole if whole > 0 else math.nan
