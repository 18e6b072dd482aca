"""Write the tables of results into the README, between its markers.

python -m benchmarks.readme
"""

import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- benchmarks: generated -->", "<!-- benchmarks: end -->"


def main() -> int:
    """Replace what stands between the markers."""
    text = README.read_text()
    if START not in text or END not in text:
        print(f"README.md has no lines {START} and {END}", file=sys.stderr)
        return 2
    before, rest = text.split(START, 1)
    _, after = rest.split(END, 1)
    README.write_text(f"{before}{START}\n{tables()}{END}{after}")
    return 0


def tables() -> str:
    """The tables as Markdown."""
    parts = [
        write(rows) + _machine(rows)
        for family, needed, write in FAMILIES
        if (rows := [row for row in _read(family) if row.get(needed)])
    ]
    return "\n".join(parts)


def _read(family: str) -> list[dict[str, str]]:
    path = RESULTS / f"{family}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _machine(rows: list[dict[str, str]]) -> str:
    """Where the rows of a table come from."""
    found = dict.fromkeys(
        f"{row['machine'].replace('(R)', '')}, torch {row['torch']}"
        for row in rows
        if row.get("machine") and row.get("torch")
    )
    return f"\n{'; '.join(found)}\n" if found else ""


def _against_peers(rows: list[dict[str, str]]) -> str:
    heads = ("case", "sphuni", "of the roofline", "peers: time and extra memory over sphuni's")
    found = []
    for case in dict.fromkeys(row["case"] for row in rows):
        ours = next(r for r in rows if r["case"] == case and r["method"] == "sphuni")
        others = [_peer(r) for r in rows if r["case"] == case and r["method"] != "sphuni"]
        time = _seconds(ours["seconds"]) if ours.get("seconds") else ours.get("status", "failed")
        found.append((case, time, _percent(ours), "; ".join(others)))
    return _table(heads, found)


def _peer(row: dict[str, str]) -> str:
    name = row["method"]
    if row.get("status") == "absent":
        return f"{name} absent"
    if row.get("error"):
        return f"{name} failed"
    if not row.get("ratio"):
        return f"{name} {row.get('status', '')}"
    memory = f", {_ratio(row['memory_ratio'])} memory" if row.get("memory_ratio") else ""
    value_only = " (value only)" if row.get("returns") == "value" else ""
    remark = ""
    if row.get("status", "right") != "right":
        error = row.get("gradient_error") or row.get("value_error")
        remark = f", **{row['status']}**" + (f" by {float(error):.0e}" if error else "")
    won = f"; {row['note']}" if row.get("note") else ""
    return f"{name} {_ratio(row['ratio'])}{value_only}{memory}{remark}{won}"


def _ratio(text: str) -> str:
    return f"{float(text):.2g}x" if float(text) < 99.5 else f"{float(text):,.0f}x"


def _seconds(text: str) -> str:
    value = float(text)
    if value >= 100:
        return f"{value:.0f} s"
    return f"{value:.2g} s" if value >= 1 else f"{1e3 * value:.3g} ms"


def _percent(row: dict[str, str]) -> str:
    share = row.get("roofline_fraction")
    if not share:
        return ""
    return f"{100 * float(share):.0f} %" if float(share) >= 0.01 else "< 1 %"


def _exponents(rows: list[dict[str, str]]) -> str:
    base = {"n log n": "(n log n)", "n": "n"}
    found = []
    for row in rows:
        steady = row.get("exponent_of_products")
        products = f"{base[row['of']]}^{float(steady):.2f}" if steady else ""
        found.append((row["method"], f"{base[row['of']]}^{float(row['exponent']):.2f}", products))
    return _table(("method", "time grows as", "in products timed beside it"), found)


def _statistics(rows: list[dict[str, str]]) -> str:
    found = []
    for row in rows:
        peer, _, case = row["case"].partition(" ")
        if peer not in ("astropy", "QuadratiK"):
            peer, case = "sphunif 1.4.4, timed elsewhere,", row["case"]
        if row["of"]:
            case = case.replace("all tests", f"{row['tests']} of {row['of']} tests")
        won = "; it wins: sphuni checks its points and gives both tails"
        ratio = _ratio(row["speed_ratio"]) + (won if float(row["speed_ratio"]) < 1 else "")
        found.append((case, _seconds(row["seconds"]), f"{peer} {ratio}"))
    return _table(("tests of uniformity", "sphuni", "peer"), found)


def _threads(rows: list[dict[str, str]]) -> str:
    found = [
        (
            row["case"],
            _seconds(row["seconds"]),
            _ratio(row["gain_ratio"]),
            _ratio(row["busy_gain_ratio"]),
            _ratio(row["cdist_ratio"]) if row.get("cdist_ratio") else "",
        )
        for row in rows
    ]
    count = rows[0]["threads"]
    heads = (
        f"on {count} threads, wall-clock",
        "sphuni",
        "one thread's time over it",
        "the same beside a busy process",
        f"torch.cdist on {count}",
    )
    return _table(heads, found)


def _ring(rows: list[dict[str, str]]) -> str:
    found = [
        (
            row["case"],
            f"{100 * float(row['efficiency_ratio']):.0f} %",
            f"{float(row['gradient_error']):.0e}",
        )
        for row in rows
    ]
    return _table(("shared by a ring of two processes", "efficiency", "gradient error"), found)


def _minimisations(rows: list[dict[str, str]]) -> str:
    peers = {
        "gram": "scipy L-BFGS-B, BLAS Gram form",
        "difference": "difference form",
        "pymanopt_torch": "pymanopt, cost in torch",
        "pymanopt_numpy": "gradient in numpy",
    }
    found = []
    for row in rows:
        ratios = [_ratio(row[f"ratio_{name}"]) if row[f"ratio_{name}"] else "" for name in peers]
        found.append((row["case"].split(",")[0], f"{float(row['ours_ms']):.3g} ms", *ratios))
    return _table(("one local minimisation", "sphuni", *peers.values()), found)


def _million(rows: list[dict[str, str]]) -> str:
    found = []
    for row in rows:
        memory = f"{float(row['extra_bytes']) / 2**30:.2g} GiB"
        if row.get("resident_bytes"):
            memory = f"{float(row['resident_bytes']) / 2**30:.2g} GiB, the whole process"
        found.append((row["case"], _seconds(row["seconds"]), memory))
    return _table(("two threads", "time", "memory beside the points"), found)


FAMILIES: tuple[tuple[str, str, Callable[[list[dict[str, str]]], str]], ...] = (
    *((name, "method", _against_peers) for name in ("engine", "engine_amd")),
    *((name, "method", _against_peers) for name in ("separation", "layers", "descent")),
    ("threads", "gain_ratio", _threads),
    ("scaling", "exponent", _exponents),
    ("statistics", "speed_ratio", _statistics),
    ("ring", "efficiency_ratio", _ring),
    ("configurations", "ratio_gram", _minimisations),
    ("million", "seconds", _million),
)
"""Results, the column that a row of the table needs, and the table."""


if __name__ == "__main__":
    sys.exit(main())
