"""Arguments that are single numbers: what is taken, and what refusals say."""

import numpy as np
import pytest
import torch

import sphuni
from sphuni._numbers import finite, positive, whole


def test_numbers_of_any_library_are_taken():
    assert whole("n", np.int64(3), 1) == 3
    assert whole("k", -5) == -5
    assert finite("s", np.float32(0.5)) == 0.5
    assert positive("lr", 2) == 2.0
    for one in (np.array(3), np.array([3]), torch.tensor(3), torch.tensor([[3]])):
        assert whole("n", one, 1) == 3
        assert finite("s", one) == 3.0
    assert whole("n", 10**400, 1) == 10**400


@pytest.mark.parametrize(
    ("check", "error", "message"),
    [
        (lambda: whole("n", 2.0, 1), TypeError, "n must be a whole number; got 2.0"),
        (lambda: whole("n", True, 1), TypeError, "n must be a whole number; got True"),
        (lambda: whole("n", "2", 1), TypeError, "n must be a whole number; got '2'"),
        (lambda: whole("n", 0, 1), ValueError, "n must be at least 1; got 0"),
        (lambda: whole("n", 0, 1, "points"), ValueError, r"at least 1 \(points\); got 0"),
        (lambda: finite("s", "2"), TypeError, "s must be a number; got '2'"),
        (lambda: finite("s", None), TypeError, "s must be a number; got None"),
        (lambda: finite("s", float("nan")), ValueError, "s must be finite; got nan"),
        (lambda: finite("w", -1.0, 0.0), ValueError, "w must be finite, at least 0; got -1.0"),
        (lambda: positive("lr", 0), ValueError, "lr must be positive; got 0"),
        (lambda: whole("n", np.True_), TypeError, "n must be a whole number; got np.True_"),
        (lambda: whole("n", torch.tensor(True)), TypeError, r"whole number; got tensor\(True\)"),
        (lambda: finite("s", np.True_), TypeError, "s must be a number; got np.True_"),
        (lambda: finite("s", np.array(True)), TypeError, r"s must be a number; got array\(True\)"),
        (lambda: finite("s", np.complex128(2)), TypeError, "s must be a number; got np.complex128"),
        (lambda: finite("s", np.array("2")), TypeError, "s must be a number; got array"),
        (lambda: finite("s", 10**400), ValueError, "finite; got a whole number of 1329 bits"),
        (lambda: finite("s", -(10**6000)), ValueError, "finite; got a whole number of 19932 bits"),
        (lambda: whole("n", -(10**6000), 1), ValueError, "1; got a whole number of 19932 bits"),
    ],
)
def test_what_is_no_such_number_is_refused(check, error, message):
    with pytest.raises(error, match=message):
        check()


@pytest.mark.parametrize("library", [np, torch])
@pytest.mark.parametrize("check", [whole, finite, positive])
def test_arrays_of_several_numbers_are_refused_by_name(check, library):
    """Their own errors did not say which argument it was."""
    for many in (library.ones(3), library.ones(0), library.ones((2, 2))):
        with pytest.raises(TypeError, match=r"s must be a .*number; got \w+ of shape \("):
            check("s", many)


def test_numbers_that_ask_for_a_gradient_are_refused():
    """The kernel was made of the number alone, and its gradient was lost in silence."""
    epsilon = torch.tensor(2.0, requires_grad=True)
    with pytest.raises(TypeError, match=r"epsilon must be a plain number.*Pass its \.item\(\)"):
        sphuni.Gaussian(epsilon)
    assert sphuni.Gaussian(epsilon.detach()) == sphuni.Gaussian(2.0)
