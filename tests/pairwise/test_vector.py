"""Logarithm, exponential, angle and 1 / sqrt of the native loops: errors and limits."""

import numpy as np
import pytest

from sphuni._jit import native_jit
from sphuni.pairwise.loops._vector import vector_functions

DTYPES = [np.float32, np.float64]


def over(function, *arguments):
    """Apply a function of numbers to arrays, in one compiled loop as the pair loops do."""

    def loop_one(out, x):
        for j in range(out.size):
            out[j] = function(x[j])

    def loop_two(out, x, y):
        for j in range(out.size):
            out[j] = function(x[j], y[j])

    out = np.empty_like(arguments[0])
    native_jit()(loop_one if len(arguments) == 1 else loop_two)(out, *arguments)
    return out


def units(found, exact):
    """The largest error in units in the last place of the exact result."""
    spacing = np.spacing(np.abs(exact).astype(found.dtype))
    return float(np.max(np.abs(found.astype(np.longdouble) - exact) / spacing))


@pytest.mark.parametrize("dtype", DTYPES)
def test_logarithms_are_right_to_a_unit(dtype, rng):
    x = np.concatenate([rng.uniform(0, 4, 5000), 10.0 ** rng.uniform(-30, 2, 5000)]).astype(dtype)
    assert units(over(vector_functions(np.dtype(dtype))["log"], x), np.log(np.longdouble(x))) < 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_logarithms_beside_one_are_right_to_three_units(dtype, rng):
    x = np.concatenate([rng.uniform(0, 4, 5000), 10.0 ** rng.uniform(-30, 20, 5000)]).astype(dtype)
    log1p = vector_functions(np.dtype(dtype))["log1p"]
    assert units(over(log1p, x), np.log1p(np.longdouble(x))) < 3
    assert over(log1p, np.zeros(1, dtype)) == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponentials_are_right_to_two_units(dtype, rng):
    x = rng.uniform(-80, 80, 10_000).astype(dtype)
    assert units(over(vector_functions(np.dtype(dtype))["exp"], x), np.exp(np.longdouble(x))) < 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_angles_are_right_to_three_units(dtype, rng):
    y = (rng.standard_normal(10_000) * 10.0 ** rng.uniform(-6, 3, 10_000)).astype(dtype)
    x = rng.standard_normal(10_000).astype(dtype)
    exact = np.arctan2(np.longdouble(y), np.longdouble(x))
    assert units(over(vector_functions(np.dtype(dtype))["angle"], y, x), exact) < 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_reciprocal_roots_are_right_to_three_units(dtype, rng):
    x = np.concatenate([rng.uniform(0, 4, 5000), 10.0 ** rng.uniform(-30, 2, 5000)]).astype(dtype)
    exact = 1 / np.sqrt(np.longdouble(x))
    assert units(over(vector_functions(np.dtype(dtype))["rsqrt"], x), exact) < 3


def test_reciprocal_roots_keep_their_limits():
    tiny = np.finfo(np.float64).tiny
    given = np.array([0.0, np.nan, tiny, 1e-200, 1e30])
    found = over(vector_functions(np.dtype(np.float64))["rsqrt"], given)
    assert found[0] == np.inf
    assert np.isnan(found[1])
    assert found[2:] == pytest.approx(given[2:] ** -0.5, rel=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_limits(dtype):
    functions = vector_functions(np.dtype(dtype))
    subnormal = np.finfo(dtype).smallest_subnormal * 8
    given = np.array([0.0, -1.0, np.nan, 1.0, subnormal], dtype)
    found = over(functions["log"], given)
    assert found[0] == -np.inf
    assert np.isnan(found[1:3]).all()
    assert found[3] == 0.0
    assert found[4] == pytest.approx(np.log(np.longdouble(subnormal)), rel=1e-6)
    found = over(functions["exp"], np.array([0.0, -1e4, 1e4, np.nan], dtype))
    np.testing.assert_array_equal(found, np.array([1.0, 0.0, np.inf, np.nan], dtype))
    y, x = np.array([0.0, 2.0, 0.0, 0.0], dtype), np.array([2.0, 0.0, 0.0, -2.0], dtype)
    found = over(functions["angle"], y, x)
    np.testing.assert_allclose(found, [0.0, np.pi / 2, 0.0, np.pi], rtol=1e-6)
