"""Look at a pickle programme without running it: which names it calls, and what it would cost.

`torch.load(weights_only=True)` runs no foreign code, but it does not bound time or memory: a
1.5 KB file can claim a 64 GiB matrix, a tuple of tuples can take for ever to hash. The programme
is therefore followed here on symbols first, and refused before torch sees it.
"""

import pickletools
from typing import Any

from sphuni._errors import RefusedFileError, UnreadableFileError
from sphuni.analysis.readers._model import ReadLimits
from sphuni.analysis.readers._pickle_machine import Machine, ProblemError, Programme

__all__ = ["Programme", "scan"]


def scan(stream: Any, limits: ReadLimits) -> Programme:
    """Follow one pickle programme on symbols.

    Parameters
    ----------
    stream : bytes or seekable binary stream
        Left just behind the last instruction.
    limits : ReadLimits
        `max_nodes` bounds instructions and copied elements.

    Raises
    ------
    UnreadableFileError
        If it ends early or is no pickle.
    RefusedFileError
        If it is longer than `max_nodes` instructions.
    """
    machine = Machine(limits)
    programme = machine.programme
    count = 0
    texts = ["", ""]
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            count += 1
            if count > limits.max_nodes:
                raise RefusedFileError(f"it has more than {limits.max_nodes} pickle instructions")
            if opcode.name in ("GLOBAL", "INST"):
                machine.note(str(argument).replace(" ", ".", 1))
            elif opcode.name == "STACK_GLOBAL":
                machine.note(".".join(texts))
            elif isinstance(argument, str):
                texts = [texts[1], argument]
            if programme.problem is None:
                try:
                    machine.step(opcode.name, argument, count)
                except ProblemError as error:
                    programme.problem = str(error)
                except (IndexError, KeyError, TypeError, AttributeError, ValueError):
                    programme.problem = "its pickle programme is inconsistent"
    except (ValueError, EOFError, OverflowError, RecursionError) as error:
        raise UnreadableFileError("its pickle programme is cut short or damaged") from error
    return programme
