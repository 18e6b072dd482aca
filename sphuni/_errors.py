"""The errors and warnings that sphuni raises on purpose.

Wrong values raise `ValueError` and wrong types `TypeError`, as everywhere in Python; the classes
here are for what those two cannot say.
"""

import re


class SphuniError(Exception):
    """Base of every error that is particular to sphuni."""


class NotPositiveDefiniteError(SphuniError):
    """A Gram matrix has no Cholesky factor, even with the jitter that was allowed."""


class ConvergenceError(SphuniError):
    """An iteration ended without reaching its tolerance and no usable answer exists."""


class BudgetError(SphuniError, MemoryError):
    """The call needs more memory than its budget allows; the message names both sizes."""


class UnreadableFileError(SphuniError):
    """A file is missing, damaged, or not in a format that sphuni reads."""


class RefusedFileError(UnreadableFileError):
    """A file could be opened but is refused: it would run code or exceed the stated limits."""


class EngineError(SphuniError):
    """The pair engine that was asked for cannot serve the call; the message says why."""


class WorkerError(SphuniError):
    """A worker process or a rank died before it answered; what was finished before is kept."""


class NumericalWarning(UserWarning):
    """A rescue acted (jitter, clamping of a count) and the result is slightly changed."""


class PerformanceWarning(UserWarning):
    """The call works but takes far more time or memory than another form of it would."""


def first_sentence(error: Exception) -> str:
    """What a library says first, without the place in its sources."""
    return re.sub(r"^\[[^]]*] ", "", str(error).strip()).split(". ")[0].split("\n")[0]
