"""One thing to be timed: sphuni, its peers, and the answer in float64 that all are held to."""

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.measure import isolated, peak_memory

__all__ = ["Answer", "Entry", "Peer", "relative_errors", "rows_of"]

_PRODUCTS, _TURNS = 8, 2
_ENOUGH, _MOST, _BETWEEN = 2.0, 300, 0.2
"""Seconds after which the least time is believed, runs that are enough for anything, and seconds
between two looks at the roofline."""

Answer = dict[str, Any]
"""Named numbers and arrays, such as value and gradient."""


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another program for the same thing; `package` is what it needs, `why` where it may win."""

    run: Callable[[Any], Answer]
    package: str = "torch"
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A case.

    Attributes
    ----------
    name : str
    setup : callable
        Make the input.
    run : callable
        sphuni on the input. Its first call, which may compile, is not timed.
    peers : mapping of name to Peer
    reference : callable
        The answer in float64. What a method does not return is not compared.
    tolerance : mapping of field to float
        Largest relative error (Euclidean norm) of a right answer.
    work : float
        Floating-point operations that the case needs, 0 where that says nothing.
    repeats : int
        At least; short ones are run for two seconds.
    """

    name: str
    setup: Callable[[], Any]
    run: Callable[[Any], Answer]
    reference: Callable[[Any], Answer]
    peers: Mapping[str, Peer] = dataclasses.field(default_factory=dict)
    tolerance: Mapping[str, float] = dataclasses.field(default_factory=dict)
    work: float = 0.0
    dtype: str = "float32"
    repeats: int = 5


def rows_of(module: str, entries: Sequence[Entry], only: str = "") -> Iterator[dict[str, Any]]:
    """Measure every method of the entries of `module.ENTRIES`, each in a process of its own."""
    for entry in entries:
        if only in entry.name:
            yield from _rows(module, entry)


def _rows(module: str, entry: Entry) -> Iterator[dict[str, Any]]:
    present = [name for name, peer in entry.peers.items() if importlib.util.find_spec(peer.package)]
    # in turns, each in a process of its own, as the machine's clock drifts
    turns = [
        {name: isolated(_measure, module, entry.name, name) for name in (None, *present)}
        for _ in range(_TURNS)
    ]
    least = {name: _of_turns([turn[name] for turn in turns]) for name in turns[0]}
    ours = {"case": entry.name, "method": "sphuni"} | least[None]
    yield ours
    for name, peer in entry.peers.items():
        row: dict[str, Any] = {"case": entry.name, "method": name}
        if name not in least:
            yield row | {"status": "absent", "note": f"{peer.package} is not installed"}
            continue
        row |= {"version": _version(peer.package)} | least[name]
        if "seconds" in row and "seconds" in ours:
            row["ratio"] = row["seconds"] / ours["seconds"]
            row["memory_ratio"] = row["extra_bytes"] / max(ours["extra_bytes"], 1 << 16)
            row["working_memory_ratio"] = _working(row) / max(_working(ours), 1 << 16)
            if row["ratio"] < 1:
                row["note"] = f"{name} wins: {peer.why}" if peer.why else f"{name} wins"
        yield row


def _working(row: dict[str, Any]) -> int:
    """Bytes beside the answer, which no method can do without."""
    return max(0, int(row["extra_bytes"]) - int(row["answer_bytes"]))


def _of_turns(turns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The fastest turn, or the first whose answer was wrong or missing."""
    amiss = [turn for turn in turns if turn.get("status") != "right"]
    return amiss[0] if amiss else min(turns, key=lambda turn: float(turn["seconds"]))


def _version(package: str) -> str:
    names = {"faiss": "faiss-cpu", "sklearn": "scikit-learn"}
    return importlib.metadata.version(names.get(package, package))


def _measure(module: str, name: str, peer: str | None) -> dict[str, Any]:
    """Time one method on one thread by processor seconds, then check its answer.

    Processor seconds of the whole process: another program on the machine changes them little, and
    a peer that starts threads of its own does not gain by it.
    """
    torch.set_num_threads(1)
    entry = next(e for e in importlib.import_module(module).ENTRIES if e.name == name)
    run = entry.run if peer is None else entry.peers[peer].run
    data = entry.setup()
    started = time.perf_counter()
    answer = run(data)
    first = time.perf_counter() - started
    extra = peak_memory(lambda: run(data))
    seconds, rate = [], []
    while len(seconds) < entry.repeats or (sum(seconds) < _ENOUGH and len(seconds) < _MOST):
        if sum(seconds) >= _BETWEEN * len(rate):  # not before each: products empty the caches
            rate.append(gemm_rate(entry.dtype))
        began = time.process_time()
        answer = run(data)
        seconds.append(time.process_time() - began)
    errors = relative_errors(answer, entry.reference(data))
    wrong = [f for f, e in errors.items() if not e <= entry.tolerance.get(f, 1e-4)]
    row = {
        "status": "right" if not wrong else f"wrong {', '.join(wrong)}",
        "returns": " and ".join(answer),
        "seconds": min(seconds),
        "spread": float(np.median(seconds)) / min(seconds) - 1,
        "first_seconds": first,
        "extra_bytes": extra,
        "answer_bytes": sum(getattr(value, "nbytes", 0) for value in answer.values()),
        "gflops_of_gemm": max(rate) / 1e9,
        **{f"{field}_error": error for field, error in errors.items()},
    }
    if entry.work:
        row["roofline_fraction"] = entry.work / min(seconds) / max(rate)
    if wrong and peer is None:
        del row["seconds"]  # a wrong answer of ours has no time
    return row


def gemm_rate(dtype: str) -> float:
    """Operations per second of matrix products on one thread, now: the roofline.

    Those of torch, or of oneDNN where that is faster; over about a tenth of a second each, as a
    single product may meet a processor at a speed that it does not keep.
    """
    matrix = torch.ones(1024, 1024, dtype=getattr(torch, dtype))
    products: list[Callable[[], Any]] = [lambda: matrix @ matrix]
    linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if dtype == "float32" and linear is not None:
        products.append(lambda: linear(matrix, matrix, None, "none", [], ""))
    return max(map(_rate, products))


def _rate(product: Callable[[], Any]) -> float:
    began = time.process_time()
    for _ in range(_PRODUCTS):
        product()
    return _PRODUCTS * 2 * 1024**3 / (time.process_time() - began)


def relative_errors(answer: Answer, exact: Answer) -> dict[str, float]:
    """Relative error of every field that was returned; nan counts as wrong."""
    found = {}
    for field, value in answer.items():
        own = np.asarray(value, dtype=np.float64)
        truth = np.asarray(exact[field], dtype=np.float64)
        found[field] = float(np.linalg.norm(own - truth) / np.linalg.norm(truth))
    return found
