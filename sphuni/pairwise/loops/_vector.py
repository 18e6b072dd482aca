"""Logarithms, exponential, angle and 1 / sqrt in forms that compilers turn into vector code.

The libraries' own functions are calls, one number at a time, which would rule the native loops.
Argument reductions and polynomials are those of S. L. Moshier's Cephes library; errors stay
within three units of rounding of the result (tests/pairwise/test_vector.py). Below the smallest
normal number, and of negative ones, 1 / sqrt is inf in float64 and undefined in float32.
"""

import functools
from typing import Any

import numpy as np

from sphuni._jit import native_jit

__all__ = ["vector_functions"]


@functools.lru_cache(maxsize=2)
def vector_functions(dtype: np.dtype[Any]) -> dict[str, Any]:
    """Compiled functions of one number each, for float32 or float64; `angle` is of two."""
    single = dtype == np.float32
    parts = (_log_single, _exp_single) if single else (_log_double, _exp_double)
    tangent = _arctan(dtype.type, _ARCTAN_SINGLE if single else _ARCTAN_DOUBLE, single)
    log = _log(dtype.type, parts[0]())
    return {
        "log": log,
        "log1p": _log1p(dtype.type, log),
        "exp": parts[1](),
        "angle": _angle(dtype.type, tangent),
        "rsqrt": _rsqrt_single() if single else _rsqrt_double(),
    }


def _log(number: Any, regular: Any) -> Any:
    """Natural logarithm with its limit at zero; below it, and of NaN, NaN."""
    zero, smallest = number(0), np.finfo(number).tiny
    lift, lifted = number(2.0**64), number(64 * np.log(2.0))
    none, lowest = number(np.nan), number(-np.inf)

    def log(x: Any) -> Any:
        subnormal = x < smallest
        found = regular(x * lift if subnormal else x)
        found = found - lifted if subnormal else found
        limit = lowest if x == zero else none
        return found if x > zero else limit

    return native_jit(reorder=False)(log)


def _log_single() -> Any:
    f, i = np.float32, np.int32
    exponent_bits, fraction, half_bits, bias = i(23), i(0x007FFFFF), i(0x3F000000), i(126)
    c0, c1, c2 = f(7.0376836292e-2), f(-1.1514610310e-1), f(1.1676998740e-1)
    c3, c4, c5 = f(-1.2420140846e-1), f(1.4249322787e-1), f(-1.6668057665e-1)
    c6, c7, c8 = f(2.0000714765e-1), f(-2.4999993993e-1), f(3.3333331174e-1)
    root, one, half = f(np.sqrt(0.5)), f(1), f(0.5)
    high, low = f(0.693359375), f(-2.12194440e-4)

    def log(x: Any) -> Any:
        bits = f(x).view(i)
        e = f(i((bits >> exponent_bits) - bias))
        m = i((bits & fraction) | half_bits).view(f)
        lower = m < root
        e = e - one if lower else e
        m = m + m - one if lower else m - one
        z = m * m
        series = ((c0 * m + c1) * m + c2) * m + c3
        series = (((series * m + c4) * m + c5) * m + c6) * m
        series = ((series + c7) * m + c8) * m * z
        return m + (series + low * e - half * z) + high * e

    return native_jit(reorder=False)(log)


def _log_double() -> Any:
    f, i = np.float64, np.int64
    exponent_bits, bias = i(52), i(1022)
    fraction, half_bits = i(0x000FFFFFFFFFFFFF), i(0x3FE0000000000000)
    p0, p1, p2 = (
        f(1.01875663804580931796e-4),
        f(4.97494994976747001425e-1),
        f(4.70579119878881725854),
    )
    p3, p4, p5 = f(1.44989225341610930846e1), f(1.79368678507819816313e1), f(7.70838733755885391666)
    q0, q1, q2 = (
        f(1.12873587189167450590e1),
        f(4.52279145837532221105e1),
        f(8.29875266912776603211e1),
    )
    q3, q4 = f(7.11544750618563894466e1), f(2.31251620126765340583e1)
    root, one, half = f(np.sqrt(0.5)), f(1), f(0.5)
    high, low = f(0.693359375), f(-2.121944400546905827679e-4)

    def log(x: Any) -> Any:
        bits = f(x).view(i)
        e = f((bits >> exponent_bits) - bias)
        m = i((bits & fraction) | half_bits).view(f)
        lower = m < root
        e = e - one if lower else e
        m = m + m - one if lower else m - one
        z = m * m
        above = ((((p0 * m + p1) * m + p2) * m + p3) * m + p4) * m + p5
        below = ((((m + q0) * m + q1) * m + q2) * m + q3) * m + q4
        series = m * z * above / below
        return m + (series + low * e - half * z) + high * e

    return native_jit(reorder=False)(log)


def _log1p(number: Any, log: Any) -> Any:
    """log(1 + x) for x >= 0; the rounding of the sum is divided out again (W. Kahan)."""
    zero, one = number(0), number(1)

    def log1p(x: Any) -> Any:
        whole = one + x
        rest = whole - one
        return log(whole) * (x / rest) if rest > zero else x

    return native_jit(reorder=False)(log1p)


def _rsqrt_single() -> Any:
    """The compiler's own, from the processor's estimate.

    Not to be asked below the smallest normal number: a choice would cost a third of a pair.
    """
    one = np.float32(1)

    def rsqrt(x: Any) -> Any:
        return one / np.sqrt(x)

    return native_jit()(rsqrt)


def _rsqrt_double() -> Any:
    """Half the bits make a guess, then Newton's method: 2.4 times as fast as root and division.

    The guess is off by at most 3.5 %, two steps of Newton's take that to 5e-6 and a third of
    Householder's, of third order, to rounding.
    """
    f, i = np.float64, np.int64
    guess, one_bit = i(0x5FE6EB50C7B537A9), i(1)
    half, three_halves, one, c = f(0.5), f(1.5), f(1), f(0.375)
    smallest, above = f(np.finfo(f).tiny), f(np.inf)

    def rsqrt(x: Any) -> Any:
        y = i(guess - (f(x).view(i) >> one_bit)).view(f)
        y = y * (three_halves - half * x * y * y)
        y = y * (three_halves - half * x * y * y)
        rest = one - x * y * y
        y = y + y * rest * (half + c * rest)
        return above if x < smallest else y

    return native_jit(reorder=False)(rsqrt)


def _exp_single() -> Any:
    f, i = np.float32, np.int32
    exponent_bits, bias = i(23), i(127)
    c0, c1, c2 = f(1.9875691500e-4), f(1.3981999507e-3), f(8.3334519073e-3)
    c3, c4, c5 = f(4.1665795894e-2), f(1.6666665459e-1), f(5.0000001201e-1)
    inverse, high, low = f(1 / np.log(2.0)), f(0.693359375), f(-2.12194440e-4)
    least, most, zero, one = f(-87.0), f(88.0), f(0), f(1)
    above, none = f(np.inf), f(np.nan)

    def exp(x: Any) -> Any:
        y = min(max(x, least), most)
        n = np.rint(y * inverse)
        r = y - n * high - n * low
        series = ((((c0 * r + c1) * r + c2) * r + c3) * r + c4) * r + c5
        scale = i((i(n) + bias) << exponent_bits).view(f)
        found = (series * r * r + r + one) * scale
        found = zero if x < least else found
        found = above if x > most else found
        return found if x == x else none

    return native_jit(reorder=False)(exp)


def _exp_double() -> Any:
    f, i = np.float64, np.int64
    exponent_bits, bias = i(52), i(1023)
    p0, p1, p2 = (
        f(1.26177193074810590878e-4),
        f(3.02994407707441961300e-2),
        f(9.99999999999999999910e-1),
    )
    q0, q1 = f(3.00198505138664455042e-6), f(2.52448340349684104192e-3)
    q2, q3 = f(2.27265548208155028766e-1), f(2.0)
    inverse, high, low = f(1 / np.log(2.0)), f(6.93145751953125e-1), f(1.42860682030941723212e-6)
    least, most, zero, one, two = f(-708.0), f(709.0), f(0), f(1), f(2)
    above, none = f(np.inf), f(np.nan)

    def exp(x: Any) -> Any:
        y = min(max(x, least), most)
        n = np.rint(y * inverse)
        r = y - n * high - n * low
        z = r * r
        odd = r * ((p0 * z + p1) * z + p2)
        even = ((q0 * z + q1) * z + q2) * z + q3
        scale = i((i(n) + bias) << exponent_bits).view(f)
        found = (one + two * (odd / (even - odd))) * scale
        found = zero if x < least else found
        found = above if x > most else found
        return found if x == x else none

    return native_jit(reorder=False)(exp)


_ARCTAN_SINGLE = (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1)
_ARCTAN_DOUBLE = (
    (
        -8.750608600031904122785e-1,
        -1.615753718733365076637e1,
        -7.500855792314704667340e1,
        -1.228866684490136173410e2,
        -6.485021904942025371773e1,
    ),
    (
        2.485846490142306297962e1,
        1.650270098316988542046e2,
        4.328810604912902668951e2,
        4.853903996359136964868e2,
        1.945506571482613964425e2,
    ),
)


def _arctan(number: Any, coefficients: Any, single: bool) -> Any:
    """arctan(y / x) on [0, tan(pi/8)], as y / x plus a small series."""
    if single:
        c0, c1, c2, c3 = (number(c) for c in coefficients)

        def series(z: Any) -> Any:
            return ((c0 * z + c1) * z + c2) * z + c3

    else:
        p0, p1, p2, p3, p4 = (number(c) for c in coefficients[0])
        q0, q1, q2, q3, q4 = (number(c) for c in coefficients[1])

        def series(z: Any) -> Any:
            above = (((p0 * z + p1) * z + p2) * z + p3) * z + p4
            return above / (((((z + q0) * z + q1) * z + q2) * z + q3) * z + q4)

    return native_jit(reorder=False)(series)


def _angle(number: Any, series: Any) -> Any:
    """The angle atan2(y, x), zero at the origin."""
    fold, quarter, half, zero = (number(c) for c in (np.tan(np.pi / 8), np.pi / 4, np.pi / 2, 0))
    whole = number(np.pi)

    def angle(y: Any, x: Any) -> Any:
        across, up = abs(x), abs(y)
        above, below = min(across, up), max(across, up)
        steep = above > fold * below
        ratio = (above - below) / (above + below) if steep else above / below
        z = ratio * ratio
        turn = ratio + ratio * z * series(z) + (quarter if steep else zero)
        turn = half - turn if up > across else turn
        turn = whole - turn if x < zero else turn
        turn = turn if below > zero else zero
        return -turn if y < zero else turn

    return native_jit(reorder=False)(angle)
