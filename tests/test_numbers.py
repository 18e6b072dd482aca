"""Arguments that are single numbers: what is taken, and what refusals say."""

import numpy as np
import pytest

from sphuni._numbers import finite, positive, whole


def test_numbers_of_any_library_are_taken():
    assert whole("n", np.int64(3), 1) == 3
    assert whole("k", -5) == -5
    assert finite("s", np.float32(0.5)) == 0.5
    assert positive("lr", 2) == 2.0


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
    ],
)
def test_what_is_no_such_number_is_refused(check, error, message):
    with pytest.raises(error, match=message):
        check()
