"""Measuring one layer: every number of its report but the verdict."""

import dataclasses
import math
import time

from sphuni._typing import Points
from sphuni.analysis._baseline import Draw, against_draws
from sphuni.analysis._energies import ENERGIES, mean_energy, yardstick
from sphuni.analysis._layer import LayerReport
from sphuni.analysis._moments import moments_of
from sphuni.analysis._options import Options
from sphuni.analysis._pairs import measure_pairs, smallest_angle
from sphuni.analysis._passes import kernel_sums, scan_rows
from sphuni.analysis._rows import NotMeasurable, ProductView, Rows, prepare
from sphuni.analysis._sampling import estimate_energies, sample_rows
from sphuni.analysis._spectrum import measure_spectrum
from sphuni.analysis._uniformity import summarise, uniformity
from sphuni.nn.neurons import NeuronView
from sphuni.pairwise import PairScan

__all__ = ["measure_layer"]


def measure_layer(view: NeuronView, options: Options, scan: PairScan | None = None) -> LayerReport:
    """Measure one set of neurons; what cannot be measured becomes a status, never an error.

    Parameters
    ----------
    view : NeuronView
        Matrix (n, d) of any float dtype; one neuron per row.
    options : Options
    scan : PairScan, optional
        What the pass over the pairs of rows gave, where other processes have made it.

    Returns
    -------
    LayerReport
        Without adjusted p-values and with a preliminary verdict: those need the whole model.

    Notes
    -----
    Two passes over all pairs of rows: one for every kernel sum, one for nearest neighbours, worst
    pairs and the histogram. O(n^2 d) time, O(n d) memory.
    """
    started = time.perf_counter()
    n, d = view.matrix.shape
    base = LayerReport(
        name=view.name, kind=view.kind, status="failed", shape=(n, d), n=n, d=d, verdict="failed"
    )
    try:
        rows = prepare(view.matrix, options)
    except NotMeasurable as reason:
        return dataclasses.replace(base, reason=str(reason))
    padding = rows.dead if _is_padding(view, rows) else ()
    base = dataclasses.replace(
        base,
        status="analysed",
        verdict="uniform",
        norm_min=rows.norm_min,
        norm_max=rows.norm_max,
        dead=() if padding else rows.dead,
        notes=(*_remarks(view, padding), *rows.notes),
    )
    if rows.points.shape[0] < 2:
        return base
    width = view.width if isinstance(view, ProductView) else None
    report = _measure_rows(base, rows, options, scan, width)
    return dataclasses.replace(report, seconds=time.perf_counter() - started)


def _is_padding(view: NeuronView, rows: Rows) -> bool:
    """Whether the one dead row is the zero row that an embedding keeps for padding."""
    return (
        view.kind == "embedding"
        and len(rows.dead) == 1
        and not bool(view.matrix[rows.dead[0]].any())
    )


def _remarks(view: NeuronView, padding: tuple[int, ...]) -> list[str]:
    """What the numbers were read from, where the name does not say it."""
    remarks = []
    if not (len(view.sources) == 1 and view.name.startswith(view.sources[0])):
        remarks.append(f"computed from {', '.join(sorted(view.sources))}")
    if isinstance(view, ProductView):
        remarks.append(f"a product of rank {view.rank}: its rows in the space that they span")
        remarks.append(
            f"random factors make rows that are gathered too, as {view.rank} / {view.width} is "
            'not 0: baseline "init" compares with products of such'
        )
    remarks += [f"row {row} is zero: taken for the padding row and left out" for row in padding]
    return remarks


def _measure_rows(
    base: LayerReport, rows: Rows, options: Options, scan: PairScan | None, width: int | None
) -> LayerReport:
    sample = sample_rows(rows.points, options)
    points = sample.points
    n, d = points.shape
    scan = scan_rows(points) if scan is None else scan
    *sums, sine_sum = scan.sums.tolist()
    pairs = measure_pairs(points, rows.live[sample.places], scan)
    moments = moments_of(points)
    summary = summarise(moments, sine_sum, pairs.separation)
    whole, estimate, errors = summary, None, {}
    energy = {e.key: mean_energy(e, s, n) for e, s in zip(ENERGIES, sums, strict=True)}
    if sample.partial:
        moments = moments_of(rows.points)
        whole = summarise(moments)
        estimate = estimate_energies(rows.points, options)
        energy, errors = estimate.energy, estimate.error
    tests = uniformity(summary, whole)
    spectrum = measure_spectrum(moments)
    against = {e.key: yardstick(e, whole.n, d) for e in ENERGIES}
    report = dataclasses.replace(
        base,
        max_cosine=pairs.max_cosine,
        pair=pairs.pair,
        separation_deg=math.degrees(pairs.separation),
        energy=energy,
        optimum={key: yard.optimum for key, yard in against.items()},
        excess={key: yard.excess(energy[key]) for key, yard in against.items()},
        excess_is_upper={key: not yard.attained for key, yard in against.items()},
        z={key: yard.z(energy[key], errors.get(key, 0.0)) for key, yard in against.items()},
        statistic=tests.statistic,
        effect_size=tests.effect_size,
        p=tests.p,
        p_lower=tests.p_lower,
        effective_rank=spectrum.effective_rank,
        effective_rank_ratio=spectrum.effective_rank_ratio,
        stable_rank=spectrum.stable_rank,
        mean_resultant_length=whole.resultant / whole.n,
        worst_pairs=pairs.worst,
        cosine_histogram=pairs.cosines,
        angle_histogram=pairs.nearest,
        singular_values=spectrum.singular_values,
        sampled="" if estimate is None else estimate.sentence(sample),
        notes=(*base.notes, *([pairs.note] if pairs.note else [])),
    )
    if options.baseline == "init" or options.transforms:
        return against_draws(report, summary, options, _measure_draw, width)
    return report


def _measure_draw(points: Points) -> Draw:
    *sums, sine_sum = kernel_sums(points)
    moments = moments_of(points)
    return Draw(tuple(sums), summarise(moments, sine_sum, smallest_angle(points)), moments)
