"""One tile of the pair matrix in one GPU program, written in Triton: sums and gradient rows.

A tile is ROWS points against ROWS points, each pair of tiles once. The cosines come from matrix
units: each float32 number is the sum of two tf32 ones and three of the four products are taken.
The fourth and the rounding of the low parts change a cosine by at most 3 2^-22 = 7e-7, which adds
to the rounding of the sum; pairs that are so close that this matters (see `_tiles`) make the whole
tile go by differences of coordinates, value and gradient. Cosines and slopes stay in registers.

`pair`, made by `pair_function`, is the kernel: (p, q) -> K, dK/dt.
"""

import functools
import hashlib
import linecache
import re
from typing import Any

import triton
import triton.language as tl
from triton.errors import TritonError

from sphuni.kernels import Kernel
from sphuni.pairwise.loops._scalar import spell

__all__ = ["TritonError", "pair_function", "tiles"]

NEAR_COSINE = tl.constexpr(1 - 2.0**-7)


@triton.jit
def tiles(
    x,
    sums,
    gradients,
    n,
    d,
    blocks,
    pair: tl.constexpr,
    at_one: tl.constexpr,
    at_minus_one: tl.constexpr,
    close: tl.constexpr,
    opposite: tl.constexpr,
    direct: tl.constexpr,
    with_gradient: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    GROUP: tl.constexpr,
):
    """Rows of block i against those of block j of one set of x (b, n, d), where they come later.

    Adds to sums (b, blocks), float64, and to gradients (b, n, d), whose radial part is arbitrary.
    `close` and `opposite` say that it is singular or steep there, with limits `at_...`; `direct`
    that all tiles go by differences.
    """
    across = tl.cdiv(n, COLUMNS)
    batch = (tl.program_id(0) // (blocks * across)).to(tl.int64)
    tile = tl.program_id(0) % (blocks * across)
    # GROUP blocks of rows at a time, so that programs side by side share what they read
    first = tile // (GROUP * across) * GROUP
    height = tl.minimum(blocks - first, GROUP)
    i = first + tile % (GROUP * across) % height
    j = tile % (GROUP * across) // height
    if (j + 1) * COLUMNS <= i * ROWS + 1:
        return
    x += batch * n * d
    gradients += batch * n * d
    left = i * ROWS + tl.arange(0, ROWS)
    right = j * COLUMNS + tl.arange(0, COLUMNS)
    counted = (left[:, None] < right[None, :]) & (right[None, :] < n)
    by_differences = direct
    t = tl.zeros((ROWS, COLUMNS), tl.float32)
    if not direct:
        t = cosines(x, left, right, n, d, t, DEPTH)
        t = tl.where(counted, t, 0.0)
        if close or opposite:
            most = tl.max(t) if close else 0.0
            by_differences = tl.maximum(most, tl.max(-t) if opposite else 0.0) > NEAR_COSINE
    if by_differences:
        total = tile_by_differences(
            x, gradients, left, right, counted, n, d,
            pair, at_one, at_minus_one, close, opposite, with_gradient,
        )  # fmt: skip
    else:
        total = tile_by_products(
            x, gradients, t, left, right, counted, n, d, pair, with_gradient, DEPTH
        )
    tl.atomic_add(sums + batch * blocks + i, total.to(tl.float64))


@triton.jit
def cosines(x, left, right, n, d, t, DEPTH: tl.constexpr):
    """Inner products of the rows `left` and `right`, added to t."""
    for k in range(0, d, DEPTH):
        a = corner(x, left, k, n, d, DEPTH)
        b = corner(x, right, k, n, d, DEPTH)
        t = tl.dot(a, tl.trans(b), t, input_precision="tf32x3")
    return t


@triton.jit
def corner(x, rows, k, n, d, DEPTH: tl.constexpr):
    """Coordinates k to k + DEPTH of the rows, zero beyond the end."""
    columns = k + tl.arange(0, DEPTH)
    inside = (rows[:, None] < n) & (columns[None, :] < d)
    return tl.load(x + rows.to(tl.int64)[:, None] * d + columns[None, :], mask=inside, other=0.0)


@triton.jit
def tile_by_products(
    x,
    gradients,
    t,
    left,
    right,
    counted,
    n,
    d,
    pair: tl.constexpr,
    with_gradient: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """The sum over a tile of cosines t (0 where not counted), and slopes times rows added up."""
    value, slope = pair(tl.abs(2.0 - 2.0 * t), tl.abs(2.0 + 2.0 * t))
    if with_gradient:
        weights = tl.where(counted, slope, 0.0)
        add_products(gradients, weights, x, left, right, n, d, DEPTH)
        add_products(gradients, tl.trans(weights), x, right, left, n, d, DEPTH)
    return tl.sum(tl.where(counted, value, 0.0))


@triton.jit
def add_products(gradients, weights, x, rows, others, n, d, DEPTH: tl.constexpr):
    """Add weights times the other rows to the gradients at the rows."""
    for k in range(0, d, DEPTH):
        push = tl.dot(weights, corner(x, others, k, n, d, DEPTH), input_precision="tf32x3")
        columns = k + tl.arange(0, DEPTH)
        inside = (rows[:, None] < n) & (columns[None, :] < d)
        places = gradients + rows.to(tl.int64)[:, None] * d + columns[None, :]
        tl.atomic_add(places, push, mask=inside, sem="relaxed")


@triton.jit
def tile_by_differences(
    x,
    gradients,
    left,
    right,
    counted,
    n,
    d,
    pair: tl.constexpr,
    at_one: tl.constexpr,
    at_minus_one: tl.constexpr,
    close: tl.constexpr,
    opposite: tl.constexpr,
    with_gradient: tl.constexpr,
):
    """The same, coordinate by coordinate; opposite points by their sums."""
    p = tl.zeros(counted.shape, tl.float32)
    q = tl.zeros(counted.shape, tl.float32)
    x_left, x_right = x + left.to(tl.int64) * d, x + right.to(tl.int64) * d
    for k in range(d):
        a = tl.load(x_left + k, mask=left < n, other=0.0)[:, None]
        b = tl.load(x_right + k, mask=right < n, other=0.0)[None, :]
        p += (b - a) * (b - a)
        if opposite:
            q += (b + a) * (b + a)
    if not opposite:
        q = 4.0 - p
    met = counted & (p < 1.17549435e-38) if close else counted & (p < 0.0)
    faced = counted & (q < 1.17549435e-38) if opposite else counted & (p < 0.0)
    regular = counted & ~met & ~faced
    sign = tl.where(p <= q, 1.0, -1.0)
    value, slope = pair(tl.where(regular, p, 2.0), tl.where(regular, q, 2.0))
    if with_gradient:
        weights = tl.where(regular, slope, 0.0)
        g_left, g_right = gradients + left.to(tl.int64) * d, gradients + right.to(tl.int64) * d
        for k in range(d):
            a = tl.load(x_left + k, mask=left < n, other=0.0)[:, None]
            b = tl.load(x_right + k, mask=right < n, other=0.0)[None, :]
            push = weights * (b - sign * a)
            tl.atomic_add(g_left + k, tl.sum(push, 1), mask=left < n, sem="relaxed")
            tl.atomic_add(g_right + k, -tl.sum(sign * push, 0), mask=right < n, sem="relaxed")
    value = tl.where(met, at_one, tl.where(faced, at_minus_one, value))
    return tl.sum(tl.where(counted, value, 0.0))


@triton.jit
def angle(y, x):
    """atan2 of float32 numbers that are not negative and not both zero, as in `_vector`."""
    least, most = tl.minimum(x, y), tl.maximum(x, y)
    steep = least > 0.41421356 * most
    ratio = tl.where(steep, least - most, least) / tl.where(steep, least + most, most)
    z = ratio * ratio
    series = ((8.05374449538e-2 * z - 1.38776856032e-1) * z + 1.99777106478e-1) * z
    turn = ratio + ratio * z * (series - 3.33329491539e-1)
    turn = tl.where(steep, turn + 0.78539816, turn)
    return tl.where(y > x, 1.57079633 - turn, turn)


@triton.jit
def log1p(x):
    """log(1 + x) for x >= 0, as in `_vector`."""
    whole = 1.0 + x
    rest = whole - 1.0
    met = rest > 0.0
    return tl.where(met, tl.log(whole) * (x / tl.where(met, rest, 1.0)), x)


@functools.lru_cache(maxsize=256)
def pair_function(kernel: Kernel) -> Any:
    """Write the kernel's formula out as a Triton function of p and q.

    The caches of Triton 3.2, that on disk too, know a function that is an argument by its name
    alone: each formula has a name of its own.
    """
    spelled = spell(kernel)
    words = {"zero": "0.0", "one": "1.0", **{name: repr(v) for name, v in spelled.constants}}
    lines = [*spelled.lines, f"return {spelled.value}, {spelled.slope}"]
    body = "\n    ".join(lines)
    body = re.sub(r"\b(sqrt|rsqrt|log|exp)\(", r"tl.\1(", body)
    body = re.sub(r"\((\w+) if (\w+) else (\w+)\)", r"tl.where(\2, \1, \3)", body)
    body = re.sub(r"\b\w+\b", lambda word: words.get(word[0], word[0]), body)
    called = f"pair_{hashlib.sha256(body.encode()).hexdigest()[:16]}"
    source = f"def {called}(p, q):\n    {body}\n"
    name = f"<the kernel {kernel!r}>"
    # Triton reads the source of a function back from its file
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    scope: dict[str, Any] = {"tl": tl, "angle": angle, "log1p": log1p, "__name__": __name__}
    exec(compile(source, name, "exec"), scope)
    return triton.jit(scope[called])
