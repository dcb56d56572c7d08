"""The errors of this package, and the line of the caller that each of them blames.

Everything wrong with a program is wrong on some line outside this package: a mnemonic called with a register that
has no value, a label that nobody placed. The errors carry that line, and instructions remember it too (`caller`), so
that a listing or the verifier's complaint can be read back to the Python that emitted the instruction.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import Optional, Tuple

Where = Tuple[str, int]
"""A file, as its folder and name, and a line in it."""

_PACKAGE = __name__.rpartition(".")[0]
_WITHIN = _PACKAGE + "."


class AsmError(ValueError):
    """Anything this package refuses."""


class LayoutError(AsmError):
    """A record that C would lay out differently from how it is written, or values that do not fit it."""


class DecodeError(AsmError):
    """Bytes that are not BPF instructions."""


class EncodeError(AsmError):
    """A program that cannot be written as bytes: a field out of range, a map without a descriptor."""


class AssembleError(AsmError):
    """A mistake in a program, found while assembling it. `where` is the line outside this package that made it."""

    def __init__(self, message: str, where: Optional[Where] = None) -> None:
        self.where = where or caller()
        super().__init__(f"{place(self.where)}: {message}")


def caller() -> Where:
    """The innermost line on the stack that is not in this package."""
    frame = sys._getframe(2)  # whoever asks is in this package
    while frame.f_back is not None:
        name = frame.f_globals.get("__name__", "")
        if name != _PACKAGE and not name.startswith(_WITHIN):
            break
        frame = frame.f_back
    return _short(frame.f_code.co_filename), frame.f_lineno


@functools.lru_cache(maxsize=None)
def _short(path: str) -> str:
    """The folder and the name, not the whole path: listings must not depend on where a checkout lies."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.basename(folder), name)


def place(where: Optional[Where]) -> str:
    """`programs/read.py:31`"""
    return f"{where[0]}:{where[1]}" if where else "an unknown line"
