"""The native loops as text: what is written per pair comes from the kernel's own formula."""

from collections.abc import Sequence

from sphuni.kernels import Kernel
from sphuni.pairwise.loops._formula import Formula

__all__ = [
    "MARK",
    "cosine_slopes",
    "cosine_values",
    "lanes",
    "potential_gradients",
    "potentials",
    "tile",
]

MARK = 4.0
"""Stands in a tile of cosines where no pair is to be counted; formulas are finite there."""


def tile(kernel: Kernel, spelled: Formula, d: int, forces: bool) -> tuple[str, str]:
    """One set: rows l0:l1 against rows r0:r1 of sets b0:b1; on the diagonal each pair once.

    Without `forces` the gradients are left as they are. The inner function takes one point against
    a run of others: x0, x1, ... are the planes of the run, a0, a1, ... the point. The reaction is
    gathered in the precision of the points for one tile only, then in float64.
    """
    axes = range(d)
    there, here = [f"x{k}[j]" for k in axes], [f"a{k}" for k in axes]
    body = _pair(kernel, spelled, there, here, masked=True)
    body += ["value += v", *(["coincident += met"] if kernel.singular else [])]
    for k in axes if forces else ():
        body += [f"b{k} += t{k}", f"g{k}[j] -= {_reaction(kernel, k)}"]
    arguments = ", ".join(f"{name}{k}" for name in "xga" for k in axes)
    results = ", ".join(["value", "coincident", *(f"b{k}" for k in axes)])
    inner = f"""def inner({arguments}):
    {results} = {", ".join(["zero"] * (d + 2))}
    for j in range(x0.size):
        {_indented(body)}
    return {results}
"""
    runs = [f"x[b, {k}, first:r1]" for k in axes] + [f"part[{k}, first - r0 :]" for k in axes]
    call = ", ".join(runs + [f"x[b, {k}, i]" for k in axes])
    adds = [f"gradients[b, {k}, i] += b{k}" for k in axes if forces]
    adds += ["sums[b, l0] += value", "coincidences[b, l0] += coincident"]
    reactions = f"""for k in range({d}):
            for j in range(r1 - r0):
                gradients[b, k, r0 + j] += part[k, j]"""
    outer = f"""def outer(x, gradients, sums, coincidences, b0, b1, l0, l1, r0, r1):
    part = np.empty(({d}, r1 - r0), dtype)
    for b in range(b0, b1):
        part[:] = zero
        for i in range(l0, l1):
            first = i + 1 if l0 == r0 else r0
            {results} = inner({call})
            {_indented(adds, 12)}
        {reactions if forces else ""}
"""
    return inner, outer


def lanes(kernel: Kernel, spelled: Formula, d: int, width: int, forces: bool) -> tuple[str, str]:
    """Many sets: rows of x (n, d width) and of out (n, (d + 1) width), a lane to each set.

    Without `forces` out has the last `width` columns only, those of the sums. A set with coincident
    (or, for kernels singular there, opposite) points comes out not finite. Offsets are literals and
    each point is one array, or the compiler could not tell that the planes of x and out do not
    overlap, and would not vectorise.
    """
    axes = range(d)
    at = [f"[{k * width} + j]" for k in range(d + 1)]
    there, here = [f"xj{at[k]}" for k in axes], [f"xi{at[k]}" for k in axes]
    body = _pair(kernel, spelled, there, here, masked=False)
    body.append(f"gi{at[d if forces else 0]} += v")
    for k in axes if forces else ():
        body += [f"gi{at[k]} += t{k}", f"gj{at[k]} -= {_reaction(kernel, k)}"]
    inner = f"""def inner(xi, xj, gi, gj):
    for j in range({width}):
        {_indented(body)}
"""
    outer = """def outer(x, out):
    for i in range(x.shape[0]):
        for k in range(i + 1, x.shape[0]):
            inner(x[i], x[k], out[i], out[k])
"""
    return inner, outer


def potentials(kernel: Kernel, spelled: Formula, d: int) -> tuple[str, str]:
    """Rows l0:l1 of x against rows r0:r1 of y with weights w: adds to out[b, i].

    An `own` tile is a block of one set against itself, in which no row meets itself.
    """
    axes = range(d)
    body = _weighted_pair(kernel, spelled, d)
    body.append("value += v * w[j] if w[j] != zero else zero")  # where 0 inf = 0
    inner = f"""def inner({", ".join(f"{name}{k}" for name in "ya" for k in axes)}, w):
    value = zero
    for j in range(w.size):
        {_indented(body)}
    return value
"""
    call = [f"y[b, {k}, first:last]" for k in axes] + [f"x[b, {k}, i]" for k in axes]
    outer = f"""def outer(x, y, w, out, own, b0, b1, l0, l1, r0, r1):
    for b in range(b0, b1):
        for i in range(l0, l1):
            {_RUNS}
                out[b, i] += inner({", ".join(call)}, w[b, first:last])
"""
    return inner, outer


def potential_gradients(kernel: Kernel, spelled: Formula, d: int) -> tuple[str, str]:
    """The same tile: adds the gradients of sum_i go_i sum_j w_j K(x_i, y_j) in x, y and w."""
    axes = range(d)
    body = [*_weighted_pair(kernel, spelled, d), "f = go * w[j]"]
    for k in axes:
        body += [f"b{k} += f * t{k}", f"g{k}[j] -= f * {_reaction(kernel, k)}"]
    body.append(f"g{d}[j] += go * v if go != zero else zero")
    arguments = [f"{name}{k}" for name in "yga" for k in axes] + [f"g{d}", "w", "go"]
    results = ", ".join(f"b{k}" for k in axes)
    inner = f"""def inner({", ".join(arguments)}):
    {results} = {", ".join(["zero"] * d)}
    for j in range(w.size):
        {_indented(body)}
    return {results}
"""
    part = [f"part[{k}, first - r0 : last - r0]" for k in range(d + 1)]
    call = [f"y[b, {k}, first:last]" for k in axes] + part[:d]
    call += [f"x[b, {k}, i]" for k in axes] + [part[d], "w[b, first:last]", "go[b, i]"]
    outer = f"""def outer(x, y, w, go, dx, dy, dw, own, b0, b1, l0, l1, r0, r1):
    part = np.empty(({d + 1}, r1 - r0), dtype)
    for b in range(b0, b1):
        part[:] = zero
        for i in range(l0, l1):
            {_RUNS}
                {results} = inner({", ".join(call)})
                {_indented([f"dx[b, {k}, i] += b{k}" for k in axes], 16)}
        for j in range(r1 - r0):
            {_indented([f"dy[b, {k}, r0 + j] += part[{k}, j]" for k in axes], 12)}
            dw[b, r0 + j] += part[{d}, j]
"""
    return inner, outer


_RUNS = """middle, after = (i, i + 1) if own else (r1, r1)
            for first, last in ((r0, middle), (after, r1)):"""


def _weighted_pair(kernel: Kernel, spelled: Formula, d: int) -> list[str]:
    """Lines for the pair of one point a and y[j], with the kernel's limit where they meet."""
    there, here = [f"y{k}[j]" for k in range(d)], [f"a{k}" for k in range(d)]
    lines = _pair(kernel, spelled, there, here, masked=True)
    return lines + (["v = v if met == zero else at_one"] if kernel.singular else [])


def cosine_values(spelled: Sequence[Formula], near: str) -> tuple[str, ...]:
    """Tiles of cosines g (b, r, c): adds each kernel's sum over tile b to sums[b, k].

    In a last column it counts the pairs for which the condition `near` on the cosine t holds.
    """
    plain = [k for k, one in enumerate(spelled) if not one.logarithms]
    found = "".join(f"total{k}, " for k in plain)
    body = [line for one in spelled for line in one.lines]
    body += [f"total{k} += counted * {spelled[k].value}" for k in plain]
    body.append(_counting(near))
    inner = f"""def inner(g, many_p, many_q):
    {"".join(f"total{k} = " for k in plain)}close = zero
    for j in range(g.size):
        {_indented([*_COSINE, *body, *_products(spelled)])}
    return {found}close
"""
    adds = [f"sums[b, {k}] += total{k}" for k in plain] + [f"sums[b, {len(spelled)}] += close"]
    outer = f"""def outer(g, sums, many):
    many_p, many_q, width = many[0], many[1], {_width(spelled)}
    for b in range(g.shape[0]):
        for i in range(g.shape[1]):
            for start in range(0, g.shape[2], width):
                {found}close = inner(g[b, i, start : start + width], many_p, many_q)
                {_indented(adds, 16)}
            {_indented(_end_of_row(spelled), 12)}
"""
    return inner, _LOGARITHM, outer


def cosine_slopes(spelled: Sequence[Formula], near: str) -> tuple[str, ...]:
    """Tiles of cosines t in g (b, r, c), replaced by dK/dt, and by zero where they are marked.

    Adds the one kernel's sum over tile b to sums[b, 0], the number of pairs for which the condition
    `near` on t holds to sums[b, 1], and the sums of t dK/dt over its rows and columns to rows[b]
    and, where it has any, columns[b].
    """
    (one,) = spelled
    body = [*_COSINE, *one.lines, f"s = counted * {one.slope}", "g[j] = s", "turn += t * s"]
    body += _products(spelled) if one.logarithms else [f"total += counted * {one.value}"]
    body.append(_counting(near))
    inner = f"""def inner(g, many_p, many_q):
    total = turn = close = zero
    for j in range(g.size):
        {_indented(body)}
    return total, turn, close

def inner_both(g, many_p, many_q, column):
    total = turn = close = zero
    for j in range(g.size):
        {_indented([*body, "column[j] += t * s"])}
    return total, turn, close
"""
    outer = f"""def outer(g, sums, rows, columns, many):
    many_p, many_q, width = many[0], many[1], {_width(spelled)}
    for b in range(g.shape[0]):
        for i in range(g.shape[1]):
            for start in range(0, g.shape[2], width):
                run = g[b, i, start : start + width]
                if columns.size:
                    column = columns[b, start : start + width]
                    total, turn, close = inner_both(run, many_p, many_q, column)
                else:
                    total, turn, close = inner(run, many_p, many_q)
                sums[b, 0] += total
                sums[b, 1] += close
                rows[b, i] += turn
            {_indented(_end_of_row(spelled), 12)}
"""
    return inner, _LOGARITHM, outer


# A sum of logarithms is the logarithm of a product. `many` (2, w) has room for the products of p
# and of q, each over c / w pairs of a row: with w at least c / 8 they stay far from both ends of
# the range of numbers. The loops do not make it: that would take a fifth of a second to load.

_LOGARITHM = """def logarithm(many):
    total = zero
    for j in range(many.size):
        total += log(many[j])
        many[j] = one
    return total
"""


def _sides(spelled: Sequence[Formula]) -> list[str]:
    return sorted({side for one in spelled for _, side in one.logarithms})


def _width(spelled: Sequence[Formula]) -> str:
    return "many.shape[1]" if _sides(spelled) else "max(1, g.shape[2])"


def _products(spelled: Sequence[Formula]) -> list[str]:
    return [f"many_{side}[j] *= one if t > two else {side}" for side in _sides(spelled)]


def _counting(near: str) -> str:
    return f"close += counted if {near} else zero" if near else "close = zero"


def _end_of_row(spelled: Sequence[Formula]) -> list[str]:
    lines = [f"log_{side} = logarithm(many_{side})" for side in _sides(spelled)]
    for k, one in enumerate(spelled):
        lines += [f"sums[b, {k}] += {factor} * log_{side}" for factor, side in one.logarithms]
    return lines


_COSINE = (
    "t = g[j]",
    "counted = one if t < two else zero",
    "p = abs(two - two * t)",
    "q = abs(two + two * t)",
)


def _pair(
    kernel: Kernel, spelled: Formula, there: list[str], here: list[str], *, masked: bool
) -> list[str]:
    """Lines for one pair: its value v, its forces t0, t1, ... and, masked, whether they met."""
    axes, far = range(len(here)), kernel.singular_opposite
    lines = [f"e{k} = {there[k]} - {here[k]}" for k in axes]
    lines.append("p = " + " + ".join(f"e{k} * e{k}" for k in axes))
    if far or kernel.reads_q:
        lines += [f"f{k} = {there[k]} + {here[k]}" for k in axes]
        lines.append("q = " + " + ".join(f"f{k} * f{k}" for k in axes))
    lines += [*spelled.lines, f"v = {spelled.value}", f"s = {spelled.slope}"]
    if masked and kernel.singular:
        lines += ["apart = p >= tiny", "v = v if apart else zero", "s = s if apart else zero"]
        lines.append("met = zero if apart else one")
    if masked and far:
        lines += ["apart = q >= tiny", "v = v if apart else at_minus_one"]
        lines += ["s = s if apart else zero"]
    if far:
        lines.append("sign = one if p <= q else -one")
        return lines + [f"t{k} = s * ({there[k]} - sign * {here[k]})" for k in axes]
    return lines + [f"t{k} = s * e{k}" for k in axes]


def _reaction(kernel: Kernel, k: int) -> str:
    """Near pairs push by their difference, opposite ones by their sum."""
    return f"sign * t{k}" if kernel.singular_opposite else f"t{k}"


def _indented(lines: list[str], by: int = 8) -> str:
    return f"\n{' ' * by}".join(lines)
