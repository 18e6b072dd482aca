"""The whole path: a model in, a verdict on every layer out."""

import dataclasses
import datetime
import functools
import inspect
import itertools
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

import sphuni
from sphuni._budget import budget_share, limited
from sphuni._devices import on_cpu
from sphuni._ranks import rank_pool
from sphuni._rng import seeds
from sphuni._threads import side_by_side
from sphuni._typing import Seed
from sphuni.analysis._layer import LayerReport, Progress, ProgressCallback
from sphuni.analysis._options import Baseline, Options
from sphuni.analysis._passes import slab_count
from sphuni.analysis._shared import measure_shared, opening
from sphuni.analysis.comparison import Comparison, check_same_options, compare_reports
from sphuni.analysis.measure import measure_layer
from sphuni.analysis.report import ModelReport, Totals
from sphuni.analysis.sources import Source, open_source, selected
from sphuni.analysis.verdict import adjust_and_judge
from sphuni.nn.neurons import Heads, NeuronView, Skipped, split_of_nothing
from sphuni.pairwise import PairScan

__all__ = ["analyze", "compare", "restricted"]

_SMALL_ELEMENTS = 1 << 22


@on_cpu()
def analyze(
    model: Any,
    /,
    *,
    layers: Iterable[str] | str | None = None,
    exclude: Iterable[str] | str | None = None,
    baseline: Baseline = "uniform",
    center: bool = False,
    remove_top: int = 0,
    heads: Heads = None,
    split_qkv: bool = False,
    max_bytes: int | str | None = None,
    max_seconds: float = 120.0,
    rng: Seed = 0,
    progress: ProgressCallback | None = None,
) -> ModelReport:
    """Analyse every layer of a trained network, or a set of embeddings.

    Parameters
    ----------
    model : nn.Module, state dict, path, or array of shape (n, d)
        A path names a model file or folder (`.safetensors`, `.pt`, `.npz`, `.npy`, `.onnx`, ...)
        or a table of points (`.csv`).
    layers, exclude : str or sequence of str, optional
        Shell patterns of layer names to analyse, and to leave out.
    baseline : {"uniform", "init"}, default "uniform"
        Compare with uniform random rows, or with draws of the layer's own initialiser.
    center : bool, default False
        Subtract the mean row first (embeddings).
    remove_top : int, default 0
        Remove that many leading principal components first (embeddings).
    heads : int, pair of int, or mapping of name pattern to those, optional
        Split query, key and value weights into that many heads; a pair (queries, keys) is for keys
        and values of fewer heads.
    split_qkv : bool, default False
        Split fused query-key-value matrices of Linear layers.
    max_bytes : int or str, optional
        Working memory, as a number or as text ("4G"); default a quarter of what is free.
    max_seconds : float, default 120
        Per layer. Layers whose pairs would take longer on one core are sampled, and those whose
        random draws would take longer are compared with uniform rows; both say so.
    rng : int, generator or None, default 0
        Seed of what is random: the initialiser's draws and row samples.
    progress : callable, optional
        Called with a `Progress` before each layer and at the end.

    Returns
    -------
    ModelReport
        Every tensor, analysed or listed with the reason why not. After Ctrl-C the report holds
        what was finished and says that it is partial.

    Raises
    ------
    UnreadableFileError
        If a file cannot be read or is refused.
    TypeError, ValueError
        If an argument is wrong.

    Warns
    -----
    UserWarning
        If `heads` or `split_qkv` splits nothing.

    Examples
    --------
    >>> import torch
    >>> report = analyze(torch.nn.Linear(64, 32))
    >>> [(layer.name, layer.status) for layer in report.layers]
    [('weight', 'analysed'), ('bias', 'skipped')]
    """
    (seed,) = seeds(rng, 1)
    options = Options(
        baseline=baseline,
        center=center,
        remove_top=remove_top,
        max_bytes=max_bytes,
        max_seconds=max_seconds,
        seed=seed,
    )
    source = open_source(model, heads=heads, split_qkv=split_qkv)
    wanted, unwanted = _as_list(layers), _as_list(exclude)
    _check_patterns(source, wanted)
    _check_split(source, heads, split_qkv)
    todo = {
        k: item
        for k, item in enumerate(source.items)
        if isinstance(item, NeuronView) and selected(item.name, wanted, unwanted) is None
    }
    ranks = rank_pool()
    measured: Iterator[LayerReport]
    if ranks is None or not isinstance(model, str | os.PathLike):
        measured = _measured(todo.values(), options)
    else:
        own = budget_share(ranks.size, max_bytes)
        options = dataclasses.replace(options, max_bytes=own)
        measured = measure_shared(
            todo, opening(os.fspath(model), _by_pattern(heads), split_qkv), options, _measure
        )
    with limited(max_bytes):
        reports, partial = _run(
            source, measured, lambda name: selected(name, wanted, unwanted), progress
        )
    return ModelReport(
        source=source.name,
        layers=adjust_and_judge(tuple(reports)),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        version=sphuni.__version__,
        settings={
            "layers": wanted,
            "exclude": unwanted,
            "baseline": baseline,
            "center": center,
            "remove_top": remove_top,
            "heads": _by_pattern(heads),
            "split_qkv": split_qkv,
            "max_seconds": max_seconds,
            "seed": rng if isinstance(rng, int) else None,
        },
        partial=partial,
        reason=_partial_reason(reports) if partial else "",
        totals=_totals(source, reports),
    )


def compare(before: Any, after: Any, /, **options: Any) -> Comparison:
    """Analyse two models and show, layer by layer, what changed.

    Parameters
    ----------
    before, after : ModelReport, or anything `analyze` takes
    **options
        Passed to `analyze`. Of a report, `layers` and `exclude` choose among what it has.

    Returns
    -------
    Comparison
        Layers matched by name; layers of one model only are listed too.

    Raises
    ------
    ValueError
        If one side is a report that was made with other options; nothing is analysed then.
    TypeError
        If both sides are reports, which options cannot change.
    """
    models = before, after
    reports = [model for model in models if isinstance(model, ModelReport)]
    if len(reports) == len(models) and options:
        raise TypeError(
            f"before and after are reports, which {', '.join(options)} cannot change; "
            "give the models themselves"
        )
    if len(reports) == 1:
        names = "the report", "this call"
        check_same_options(reports[0].settings, _settings(options), names=names)
    chosen = {name: options.get(name) for name in ("layers", "exclude")}
    first, second = (
        restricted(model, **chosen) if isinstance(model, ModelReport) else analyze(model, **options)
        for model in models
    )
    return compare_reports(first, second)


def restricted(
    report: ModelReport,
    /,
    *,
    layers: Iterable[str] | str | None = None,
    exclude: Iterable[str] | str | None = None,
) -> ModelReport:
    """Return a report as `analyze` would have made it of these layers only.

    The p-values are adjusted across the layers that are left, and the verdicts follow.

    Parameters
    ----------
    report : ModelReport
    layers, exclude : str or sequence of str, optional
        As in `analyze`; with neither, the report is returned as it is.

    Raises
    ------
    ValueError
        If no layer is left that the report has analysed.
    """
    wanted, unwanted = _as_list(layers), _as_list(exclude)
    if wanted is None and unwanted is None:
        return report
    kept = [_unless_left_out(layer, wanted, unwanted) for layer in report.layers]
    if all(layer.status == "skipped" for layer in kept):
        raise ValueError(
            f"layers={wanted}, exclude={unwanted} leave no layer that the report of "
            f"{report.source!r} has analysed"
        )
    return dataclasses.replace(
        report,
        layers=adjust_and_judge(tuple(kept)),
        settings={**report.settings, "layers": wanted, "exclude": unwanted},
        totals=dataclasses.replace(report.totals, **_counted(kept)),
    )


def _unless_left_out(
    layer: LayerReport, wanted: list[str] | None, unwanted: list[str] | None
) -> LayerReport:
    reason = None if layer.status == "skipped" else selected(layer.name, wanted, unwanted)
    return layer if reason is None else _skipped(layer.name, layer.kind, layer.shape, reason)


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `analyze` would record of a call with these options."""
    call = inspect.signature(analyze).bind(None, **options)
    call.apply_defaults()
    return {**call.arguments, "heads": _by_pattern(call.arguments["heads"])}


def _run(
    source: Source,
    measured: Iterator[LayerReport],
    reason_to_skip: Callable[[str], str | None],
    progress: ProgressCallback | None,
) -> tuple[list[LayerReport], bool]:
    """Take one measured layer after the other; on Ctrl-C list the rest as skipped."""
    started = time.perf_counter()
    todo = [
        isinstance(item, NeuronView) and reason_to_skip(item.name) is None for item in source.items
    ]
    work = [_work(item) if wanted else 0.0 for item, wanted in zip(source.items, todo, strict=True)]
    total, done, partial = sum(work) or 1.0, 0.0, False
    reports: list[LayerReport] = []
    for k, item in enumerate(source.items):
        name = item.name
        if isinstance(item, Skipped):
            reports.append(_skipped(name, item.kind, item.shape, item.reason))
            continue
        reason = "the analysis was interrupted" if partial else reason_to_skip(name)
        if reason is not None:
            reports.append(_skipped(name, item.kind, tuple(item.matrix.shape), reason))
            continue
        try:
            _tell(progress, sum(todo[:k]), sum(todo), name, done / total, started)
            reports.append(next(measured))
        except KeyboardInterrupt:
            partial = True
            interrupted = "the analysis was interrupted"
            reports.append(_skipped(name, item.kind, tuple(item.matrix.shape), interrupted))
        done += work[k]
    _tell(progress, sum(todo), sum(todo), "", 1.0, started)
    return reports, partial


def _measured(views: Iterable[NeuronView], options: Options) -> Iterator[LayerReport]:
    """Measure one layer after the other; those too small for several threads go side by side."""
    for small, group in itertools.groupby(views, key=_is_small):
        measure, several = functools.partial(_measure, options=options), list(group)
        together = small and len(several) > 1  # one alone has all threads inside
        yield from side_by_side(measure, several) if together else map(measure, several)


def _is_small(view: NeuronView) -> bool:
    """Whether a layer is one piece of work and two of them do not strain the memory."""
    matrix = view.matrix
    return slab_count(matrix.shape[0]) == 1 and matrix.numel() <= _SMALL_ELEMENTS


def _measure(view: NeuronView, options: Options, scan: PairScan | None = None) -> LayerReport:
    """Measure a layer; running out of memory is the layer's failure, not the report's."""
    try:
        with torch.no_grad():
            return measure_layer(view, options, scan)
    except MemoryError as error:
        shape = tuple(view.matrix.shape)
        return LayerReport(
            name=view.name,
            kind=view.kind,
            status="failed",
            reason=str(error) or "out of memory",
            shape=shape,
            n=shape[0],
            d=shape[1],
        )


def _tell(
    progress: ProgressCallback | None,
    done: int,
    total: int,
    name: str,
    fraction: float,
    started: float,
) -> None:
    if progress is not None:
        seconds = time.perf_counter() - started
        progress(Progress(done=done, total=total, name=name, fraction=fraction, seconds=seconds))


def _work(item: NeuronView | Skipped) -> float:
    """Estimated cost of a layer, in multiply-adds."""
    if isinstance(item, Skipped):
        return 0.0
    n, d = item.matrix.shape
    return float(n) * n * (d + 100) + float(n) * d * min(n, d) + 1e6


def _skipped(name: str, kind: str, shape: tuple[int, ...], reason: str) -> LayerReport:
    return LayerReport(name=name, kind=kind, status="skipped", reason=reason, shape=shape)


def _partial_reason(reports: list[LayerReport]) -> str:
    finished = sum(report.status == "analysed" for report in reports)
    return f"interrupted after {finished} layers"


def _totals(source: Source, reports: list[LayerReport]) -> Totals:
    names = {name for item in source.items for name in item.sources}
    parameters = sum(item.parameters for item in source.items)
    return Totals(tensors=len(names), parameters=parameters, **_counted(reports))


def _counted(reports: Sequence[LayerReport]) -> dict[str, int]:
    """How many layers became what, by the names that `Totals` has for it."""
    return {
        status: sum(report.status == status for report in reports)
        for status in ("analysed", "skipped", "failed")
    }


def _as_list(patterns: Iterable[str] | str | None) -> list[str] | None:
    if patterns is None:
        return None
    return [patterns] if isinstance(patterns, str) else list(patterns)


def _by_pattern(heads: Heads) -> dict[str, int | list[int]] | None:
    """Numbers of heads as they are recorded, the same for every way to say them."""
    if heads is None:
        return None
    named = heads if isinstance(heads, Mapping) else {"*": heads}
    return {
        name: list(one) if isinstance(one, Sequence) else int(one) for name, one in named.items()
    }


def _check_patterns(source: Source, wanted: list[str] | None) -> None:
    """Refuse a selection that selects nothing: it is a typing error more often than a wish."""
    views = [item.name for item in source.items if isinstance(item, NeuronView)]
    if wanted is not None and not any(selected(name, wanted, None) is None for name in views):
        shown = ", ".join(views[:10]) + (", ..." if len(views) > 10 else "")
        raise ValueError(f"layers={wanted} matches no layer; there are: {shown or 'none'}")


def _check_split(source: Source, heads: Heads, split_qkv: bool) -> None:
    """Warn where nothing is called as query, key and value weights usually are."""
    views = [(item.kind, item.name) for item in source.items if isinstance(item, NeuronView)]
    nothing = split_of_nothing(views, heads, split_qkv)
    if nothing is not None:
        warnings.warn(nothing, stacklevel=3)
