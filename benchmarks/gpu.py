"""On a GPU: pair energies with their gradients, and a regularizer's share of a training step.

Every answer is held to float64 before its time is reported. The roofline is the faster of a float32
product and a third of a tf32 one, which is what three tf32 products for one accurate product can
reach; both are measured in the same run. Small d has no such products, and no fraction of it. What
is asked of a case stands beside its figures. Extra memory is what the allocator handed out at the
peak.
"""

import functools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import sphuni
import sphuni.nn as snn
from benchmarks.engine import unit_points
from benchmarks.training_cost import BATCH, resnet18
from sphuni.kernels import Gaussian, Kernel, Riesz
from sphuni.pairwise import explain, pair_reduce

__all__ = ["CASES", "measure", "run"]

Evaluation = Callable[[Tensor], tuple[Tensor, Tensor]]


class Case(NamedTuple):
    """Points, a kernel, and the gradient error that is still right.

    A million points on S^2 in float32 have pairs so close that rounding the points moves them.
    """

    n: int
    d: int
    kernel: Kernel
    tolerance: float = 1e-4
    near: bool = False
    asked: tuple[tuple[str, float], ...] = ()

    @property
    def name(self) -> str:
        """What the results call it."""
        close = ", 64 rows with neighbours at 1e-3" if self.near else ""
        return f"({self.n}, {self.d}) {self.kernel.label}{close}"


_ASKED = (("asked_roofline_fraction", 0.5), ("asked_ratio_of_cdist", 5.0))
CASES = (
    Case(10_000, 3, Riesz(1.0)),
    Case(1_000_000, 3, Riesz(1.0), tolerance=1e-2, asked=(("asked_seconds", 1.0),)),
    Case(4_096, 1_024, Riesz(1.0)),
    Case(4_096, 1_024, Riesz(1.0, "geodesic")),
    Case(4_096, 1_024, Riesz(2.0).antipodal(), near=True),
    Case(20_000, 128, Gaussian(1.0)),
    Case(65_536, 1_024, Riesz(1.0), asked=_ASKED),
)


def run(only: str = "") -> Iterator[dict[str, Any]]:
    """One row per case and method; none without a GPU."""
    if not torch.cuda.is_available():
        print("no CUDA device is present, so the GPU benchmarks were not run")
        return
    device = {"device": torch.cuda.get_device_name()}
    ceiling = _roofline() if any(only in case.name for case in CASES) else 0.0
    for case in CASES:
        if only in case.name:
            for row in measure(case, "cuda", ceiling):
                yield row | device
    if only in _SHARE:
        yield _share_of_a_step() | device


def measure(case: Case, device: str, ceiling: float) -> Iterator[dict[str, Any]]:
    """What "auto" takes, every other engine that serves the case, and torch.cdist."""
    points = _points(case).to(device)
    exact = _exact(points, case.kernel)
    chosen = explain(points, kernel=case.kernel).engine
    engines = [chosen, *({"triton", "blockwise"} - {chosen} if case.d > 8 else ())]
    methods: dict[str, Evaluation] = {
        name: functools.partial(_ours, kernel=case.kernel, engine=name) for name in engines
    }
    if case.kernel == Riesz(1.0):
        methods["torch.cdist"] = _cdist
    work = 3 * case.n * (case.n - 1) * case.d  # a cosine and two forces of 2 d for each pair
    ours = None
    for name, method in methods.items():
        figures = _figures(method, points, exact, case.tolerance)
        row = {"case": case.name, "method": name, **figures, **dict(case.asked)}
        if "seconds" in row:
            ours = row["seconds"] if name == chosen else ours
            if ours is not None:
                row["ratio"] = row["seconds"] / ours
            if case.d > 8:
                row["roofline_fraction"] = work / row["seconds"] / ceiling
        yield row


def _figures(
    method: Evaluation, points: Tensor, exact: tuple[Tensor, Tensor], tolerance: float
) -> dict[str, Any]:
    """Time, memory and errors of one method; a wrong answer or none has no time."""
    try:
        return _measured(method, points, exact, tolerance)
    except (RuntimeError, sphuni.EngineError) as error:
        # libraries of the device that find no memory raise the plain kind, at any of the calls
        return {"status": f"{type(error).__name__}: {error}".split("\n")[0]}


def _measured(
    method: Evaluation, points: Tensor, exact: tuple[Tensor, Tensor], tolerance: float
) -> dict[str, Any]:
    began = time.perf_counter()
    answer = method(points)
    _wait()
    first = time.perf_counter() - began
    value, gradient = (
        float((found.double() - truth).norm() / truth.norm())
        for found, truth in zip(answer, exact, strict=True)
    )
    right = value <= 1e-5 and gradient <= tolerance
    errors = {"value_error": value, "gradient_error": gradient, "first_seconds": first}
    if not right:
        return {"status": "wrong", **errors}
    peak = _peak(lambda: method(points))
    return {
        "status": "right",
        "seconds": _seconds(lambda: method(points)),
        "extra_bytes": peak,
        **errors,
    }


def _points(case: Case) -> Tensor:
    points = unit_points(case.n, case.d, "float64")
    if case.near:
        points[:64] = sphuni.normalize(points[64:128] + 1e-3 * points[128:192])
    return points.float()


def _ours(points: Tensor, *, kernel: Kernel, engine: str) -> tuple[Tensor, Tensor]:
    leaf = points.detach().requires_grad_()
    value = pair_reduce(leaf, kernel=kernel, engine=engine)
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach(), gradient


def _exact(points: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    engine = "compiled" if points.shape[1] <= 8 else "blockwise"
    return _ours(sphuni.normalize(points.double()), kernel=kernel, engine=engine)


def _cdist(points: Tensor) -> tuple[Tensor, Tensor]:
    leaf = points.detach().requires_grad_()
    distance = torch.cdist(leaf, leaf) + torch.eye(len(leaf), device=leaf.device)
    value = ((1 / distance).sum() - len(leaf)) / 2
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach(), gradient - (gradient * points).sum(1, keepdim=True) * points


def _roofline() -> float:
    """Operations per second of a product that is accurate in float32."""
    matrix = torch.randn(8192, 8192, device="cuda")
    before, rates = torch.get_float32_matmul_precision(), []
    for precision, passes in (("highest", 1), ("high", 3)):
        torch.set_float32_matmul_precision(precision)
        rates.append(2 * 8192**3 / _seconds(lambda: matrix @ matrix) / passes)
    torch.set_float32_matmul_precision(before)
    return max(rates)


_SHARE = "hs-mhe of ResNet-18 beside a bfloat16 step"


def _share_of_a_step(device: str = "cuda") -> dict[str, Any]:
    """Cost of hs-mhe over all layers as a share of one training step, batch 128."""
    torch.manual_seed(0)
    model = resnet18().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    x = torch.randn(BATCH, 3, 32, 32, device=device)
    y = torch.randint(10, (BATCH,), device=device)
    reg = snn.regularize(model, "hs-mhe")

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()

    whole, part = _seconds(step), _seconds(lambda: reg().backward())
    return {
        "case": _SHARE,
        "method": "sphuni",
        "seconds": part,
        "step_seconds": whole,
        "percent_of_step": 100 * part / whole,
        "asked_percent": 3.0,
    }


def _seconds(work: Callable[[], Any], *, least: float = 1.0, most: int = 50) -> float:
    """Median of calls that together take at least a second, after two to warm up."""
    for _ in range(2):
        work()
    taken: list[float] = []
    while sum(taken) < least and len(taken) < most:
        _wait()
        began = time.perf_counter()
        work()
        _wait()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _peak(work: Callable[[], Any]) -> int:
    if not torch.cuda.is_available():
        return 0
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    return torch.cuda.max_memory_allocated() - before


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
