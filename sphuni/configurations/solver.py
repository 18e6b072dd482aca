"""`optimize`: one call from the name of a problem to coordinates, value, certificate and gap."""

import dataclasses
import math
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sphuni._arrays import check_like, like_caller
from sphuni._budget import require
from sphuni._devices import on_cpu
from sphuni._numbers import finite, positive, whole
from sphuni._result import Result
from sphuni._rng import numpy_generator
from sphuni._typing import Metric, Seed
from sphuni._workers import check_workers
from sphuni.configurations._clock import GRACE
from sphuni.configurations.certificate import Certificate, trivial
from sphuni.configurations.descent._objectives import choose_engine
from sphuni.configurations.problems._base import Problem
from sphuni.configurations.problems._resolve import resolve
from sphuni.configurations.records import Record
from sphuni.configurations.search._checkpoint import State
from sphuni.configurations.search._search import Progress, Search, Status, count_hits, gap_to
from sphuni.kernels import Kernel
from sphuni.pairwise import Engine

__all__ = ["OptimizeResult", "Progress", "optimize"]


@dataclasses.dataclass(frozen=True, repr=False)
class OptimizeResult(Result):
    """An optimised configuration and the evidence for it.

    Attributes
    ----------
    problem : str
    n, d : int
    s : float or None
        Exponent, where the problem has one.
    antipodal : bool
    points : array (n, d)
        Unit rows, float64 (or in the library and dtype of `like`).
    value : float
        As `record` defines it for the problem.
    direction : {"lower", "higher"}
        Which values are better.
    record : Record or None
        The best known value, if one is on record.
    gap : float or None
        How far the value falls short of the record, in the value's unit: positive is worse,
        negative better, and rounding of the record's digits shows as a difference of that size.
    certificate : Certificate
    hits : int
        How many of `tried` local optima equal the best.
    tried : int
        Local optima compared: all starts for smooth problems, the polished ones for max-min.
    starts : int
        Starts that were run.
    status : {"finished", "closed form", "target reached", "time limit", "interrupted"}
    advice : str
        What the outcome suggests, in a sentence.
    engine : str
        The pair engine; the answer depends on it in the last digits.
    seed : int
        Reproduces the run when passed as `rng`.
    seconds : float
        Wall time of this call.
    """

    problem: str
    n: int
    d: int
    s: float | None
    antipodal: bool
    points: Any
    value: float
    direction: str
    record: Record | None
    gap: float | None
    certificate: Certificate
    hits: int
    tried: int
    starts: int
    status: Status
    advice: str
    engine: str
    seed: int
    seconds: float


@on_cpu()
def optimize(
    problem: str,
    *,
    n: int,
    d: int = 3,
    s: float | None = None,
    metric: Metric = "chordal",
    kernel: Kernel | None = None,
    antipodal: bool = False,
    restarts: int | None = None,
    rng: Seed = 0,
    time_limit: float | None = None,
    target: float | None = None,
    callback: Callable[[Progress], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    workers: int = 1,
    engine: Engine = "auto",
    like: Tensor | None = None,
) -> OptimizeResult:
    r"""Search for the best configuration of n points on S^(d-1).

    Parameters
    ----------
    problem : str
        What is optimised: ``"thomson"`` (least sum of 1/r), ``"log"`` (of -log r), ``"riesz"``
        (of r^-s; -r^-s for s < 0), ``"energy"`` (of any `kernel`), ``"tammes"`` (greatest smallest
        angle), ``"covering"`` (least covering radius), ``"polarization"`` (greatest least
        potential of r^-s), ``"maxdet"`` (greatest log-determinant of the Gram matrix of `kernel`,
        by default the Dirichlet kernel of degree sqrt(n) - 1), ``"design"`` (least residual of a
        spherical design of strength `s`). The values are those of `record`.
    n : int
        Number of points, at least 1 (``"tammes"``: 2).
    d : int, default 3
        Ambient dimension, at least 2.
    s : float, optional
        Exponent of ``"riesz"``, in (-2, 200], and of ``"polarization"``, in (-2, 50]; strength of
        ``"design"``.
    metric : {"chordal", "geodesic"}, default "chordal"
        Distance of ``"riesz"``.
    kernel : Kernel, optional
        Kernel of ``"energy"``, and of ``"maxdet"`` where it is not the Dirichlet kernel.
    antipodal : bool, default False
        The n points stand for the 2n points {x, -x}: half-space energies, packings of lines.
        ``"maxdet"`` then needs a `kernel`.
    restarts : int, optional
        Number of starts; by default enough for moderate n.
    rng : int, generator or None, default 0
        Seed; start i has a stream of its own.
    time_limit : float, optional
        Seconds after which the search ends with what it has, at most one more or an evaluation of
        the starts side by side later; parts of the certificate that take longer are left out. A
        polarization whose worst place was not found by then is a bound, and the certificate's
        `value_is_bound` says so.
        Compiling (``engine``), some seconds once on a machine, is not cut short.
    target : float, optional
        The search ends as soon as the value is as good as this, up to rounding (``"design"``:
        1e-7).
    callback : callable, optional
        Called with a `Progress` after every batch.
    checkpoint : path-like, optional
        File that keeps the state of the search, replaced in one step every few seconds.
    resume : bool, default False
        Go on from `checkpoint` if it exists. Without it an existing file is refused.
    workers : int, default 1
        Processes that share the batches of starts, one thread each. The answer does not depend
        on it. With more than one, a script needs the usual ``if __name__ == "__main__"``.
    engine : {"auto", "compiled", "blockwise"}, default "auto"
        ``"auto"`` compiles the inner loop (some seconds, once) where the search is long enough.
    like : torch.Tensor, optional
        Return points of its dtype on its device; NumPy float64 by default.

    Returns
    -------
    OptimizeResult

    Raises
    ------
    ValueError
        If the arguments do not describe a problem, the checkpoint is another search's, the
        energies asked for underflow, or one hull of so many points takes more than ten minutes.
    BudgetError
        If the starts side by side, or one hull, do not fit into memory.
    UnreadableFileError
        If the checkpoint is damaged; it is left as it is.
    OSError
        If the checkpoint cannot be written before the search begins.

    Warns
    -----
    UserWarning
        If it cannot be written later, as on a full disk: the search goes on all the same.

    Notes
    -----
    Smooth problems (energies, ``"maxdet"``, ``"design"``): batched L-BFGS from all starts, then
    Newton's method for the best two of every batch; for s above 40 and for kernels that are tiny
    at the typical distance on the logarithm of the energy, the kernel's power growing up to the one
    asked for. ``"tammes"``: sums of r^-2a with growing a
    and noise, then linear programmes on the contacts for the best sixteen of every batch, whose
    best is then varied: one point moves to a deep hole, all are shaken, and what is better stays;
    of thousands of points, d = 3 or 4, the sums are over neighbours, and go on to steep ones.
    ``"covering"`` and ``"polarization"``: rough minima of an energy, shaken, then linear
    programmes on the hull's facets, or quadratic ones on the local minima of the potential, for
    the best six or three; an exact code is among them as it is, too.
    Start 0 is an exact code of that size where one is known (of lines, those of an antipodal code
    of twice the size or of a code without opposite points), start 1 a jittered spiral (d = 3),
    starts 2 and 3 come from the atlas's optima of one point more, without its hottest point, and
    of one fewer, with a point in its deepest hole; half of the others (d = 3, n >= 20;
    beyond 150 points three of four) have the symmetry of a random rotation group, all others are
    random. Beyond 150 points (``"maxdet"``: 64)
    the best minima of every batch are varied and relaxed again: a hot point moves to a deep hole,
    a cap is shaken or turned.

    The answer depends on the problem, n, d, s, seed, number of restarts and engine, not on the
    number of workers or on how often the search was stopped and resumed.
    On the circle the regular polygon is returned where it is known to be optimal.

    Ctrl-C ends the search at its next step, saves the checkpoint and returns the best so far; with
    several workers it waits for one of their batches. Once the search has ended, what takes longer
    than a second is left out of the certificate. A second Ctrl-C ends it at once.

    References
    ----------
    D. J. Wales, S. Ulker, "Structure and dynamics of spherical crystals characterized for the
    Thomson problem", Physical Review B 74 (2006) 212101, doi:10.1103/PhysRevB.74.212101.
    D. A. Kottwitz, "The densest packing of equal circles on a sphere", Acta Crystallographica A
    47 (1991) 158-165, doi:10.1107/S0108767390011370.

    Examples
    --------
    >>> result = optimize("thomson", n=12, restarts=8)
    >>> result.value, result.certificate.symmetry_order
    (49.1652530576, 120)
    """
    started = time.monotonic()
    check_like(like)
    task = resolve(problem, n, d, s, metric=metric, kernel=kernel, antipodal=antipodal)
    total = _restarts(restarts, task)
    workers = check_workers(workers)
    end = started + _time_limit(time_limit)
    target = None if target is None else finite("target", target)
    require(
        task.working_bytes,
        None,
        what=task.working_size,
        remedy="lower n or d",
    )
    seed = _seed(rng)
    chosen = choose_engine(engine, task.n, task.d, task.default_restarts)
    record = task.best_known()
    known = task.closed_form()
    state = State()
    status: Status = "finished"
    if known is not None:
        state = State(0, [], [task.value(known)], task.value(known), known)
        status = "closed form"
    else:
        search = Search(task, total, seed, chosen, record, started, workers)
        search.open(checkpoint, resume=resume)
        status = search.run(end, target, callback)
        state = search.state
    best = state.best(task)
    assert best is not None
    found, points = best
    spare = GRACE if status in ("time limit", "interrupted") else math.inf
    try:
        value, certificate = _account(task, found, points, spare)
    except KeyboardInterrupt:
        if status == "interrupted":
            raise
        status = "interrupted"
        value, certificate = _account(task, found, points, GRACE)
    if state.cut_is_bound and state.value is None:
        certificate = dataclasses.replace(certificate, value_is_bound=True)
    hits, tried = count_hits(task, state)
    gap = None if record is None else gap_to(record, task, value)
    return OptimizeResult(
        problem=task.name,
        n=task.n,
        d=task.d,
        s=task.s,
        antipodal=task.antipodal,
        points=like_caller(points, like),
        value=value,
        direction=task.direction,
        record=record,
        gap=gap,
        certificate=certificate,
        hits=hits,
        tried=tried,
        starts=state.done,
        status=status,
        advice=_advice(task, status, gap, value, certificate, hits),
        engine=chosen,
        seed=seed,
        seconds=time.monotonic() - started,
    )


def _account(
    task: Problem, found: float, points: NDArray[np.float64], seconds: float
) -> tuple[float, Certificate]:
    """Value and certificate of the points, as far as so many seconds allow."""
    value = _worse(task, found, task.verify(points, seconds))
    return value, trivial(value) if task.n == 1 else task.certify(points, seconds)


def _worse(task: Problem, first: float, second: float) -> float:
    """Two evaluations of the same points: the more modest, where they differ beyond rounding."""
    if math.isnan(second):
        return first
    same = abs(first - second) <= 1e-13 * task.scale(first)
    return first if same or task.sign * (second - first) < 0 else second


def _advice(
    task: Problem,
    status: str,
    gap: float | None,
    value: float,
    certificate: Certificate,
    hits: int,
) -> str:
    """Say what the outcome suggests."""
    if status == "closed form" or _at_bound(task, value, certificate):
        return "optimal: the value is known in closed form or equals a certified bound"
    if certificate.value_is_bound:
        return "cut short before the worst place was found: the value is a bound; give it more time"
    smooth = certificate.kind == "smooth"
    scale = task.slope(value)
    stationary = certificate.residual <= (1e-9 if smooth else 1e-6) * scale
    cut = status in ("time limit", "interrupted")
    if cut and not stationary:
        return "cut short before the best was polished: give it more time"
    if (smooth or stationary) and _can_be_left(certificate, scale):
        remedy = "give it more time" if cut else "use another seed"
        return f"the Hessian has a negative eigenvalue: a saddle; {remedy}"
    if not stationary:
        return "not stationary to full precision: the optimum is not smooth there, or n is large"
    meaning = task.resolution * task.scale(value)
    if gap is not None and gap > meaning:
        remedy = "give it more time" if cut else "raise restarts or change the seed"
        return f"worse than the record: {remedy}"
    if gap is not None and gap < -meaning:
        return "better than the record: verify in higher precision before believing it"
    if hits > 1:
        return "found repeatedly" + ("" if gap is None else " and equal to the record")
    if gap is not None:
        return "equal to the record, found once"
    remedy = "give it more time" if cut else "raise restarts"
    return f"the best was found once: {remedy} to see whether it can be improved"


def _can_be_left(certificate: Certificate, scale: float) -> bool:
    """Whether the curvature shows a better place near by.

    That of a Lagrangian does so at stationary points only, and where strict complementarity fails,
    members without weight may forbid the move.
    """
    least, weights = certificate.smallest_eigenvalue, certificate.multipliers
    strict = weights is None or bool((weights > 0).all())
    return strict and least is not None and least < -1e-6 * scale


def _at_bound(task: Problem, value: float, certificate: Certificate) -> bool:
    distance = abs(value - certificate.bound)
    return bool(certificate.bound_attained) and distance <= 1e-10 * task.scale(value)


def _restarts(restarts: int | None, task: Problem) -> int:
    if restarts is None:
        return task.default_restarts
    return whole("restarts", restarts, 1)


def _time_limit(seconds: float | None) -> float:
    if seconds is None or seconds == math.inf:
        return math.inf
    return positive("time_limit", seconds)


def _seed(rng: Seed) -> int:
    if isinstance(rng, int | np.integer) and not isinstance(rng, bool) and rng >= 0:
        return int(rng)
    return int(numpy_generator(rng).integers(1 << 62))
