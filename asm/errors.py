"""The errors of this package, and the line of the caller that each of them blames.

What is wrong with a program is wrong on some line outside this package: a mnemonic is called with a register that has
no value, a label is never placed. The errors carry that line. Instructions remember it too (`caller`), so that a
listing or the verifier's message can be traced back to the Python that emitted the instruction.
"""

from __future__ import annotations

import os
import sys
from types import CodeType, FrameType
from typing import Dict, Optional, Tuple

Where = Tuple[str, int]
"""A line: the file, as the name of its folder and its own, and the number."""

_PACKAGE = __name__.rpartition(".")[0]
_WITHIN = _PACKAGE + "."
_files: Dict[str, str] = {}  # source files and how they are shown; nothing for those of this package
_lines: Dict[Tuple[int, int], Tuple[Where, CodeType]] = {}  # by code and place in it: a macro's come by the thousand


class AsmError(ValueError):
    """The base of all errors that this package raises."""


class LayoutError(AsmError):
    """A record that C would lay out differently from how it is declared, or values that do not fit its fields."""


class DecodeError(AsmError):
    """Bytes that are not BPF instructions."""


class EncodeError(AsmError):
    """A program that has no encoding: a field is out of range, or a map has no descriptor."""


class AssembleError(AsmError):
    """A mistake in a program, found while assembling it. `where` is the line outside this package that made it."""

    def __init__(self, message: str, where: Optional[Where] = None) -> None:
        self.where = where or caller()
        super().__init__(f"{place(self.where)}: {message}")


def caller(within: int = 0) -> Where:
    """The line outside this package that made the call: the innermost such frame on the stack.

    Whoever asks was called by at least `within` functions of this package. Python makes an object for each frame that
    is looked at, and a program has tens of thousands of lines.
    """
    shown = _files.get
    frame = sys._getframe(2 + within)  # whoever asks is in this package
    short = shown(frame.f_code.co_filename)
    while not short:
        if short is None:
            _note(frame)
        elif frame.f_back is None:
            short = _short(frame.f_code.co_filename)
            break
        else:
            frame = frame.f_back
        short = shown(frame.f_code.co_filename)
    code = frame.f_code
    known = _lines.get((id(code), frame.f_lasti))
    if known is None:  # the code is kept with it, or its id would go to another one
        known = _lines[id(code), frame.f_lasti] = (short, frame.f_lineno), code
    return known[0]


def _note(frame: FrameType) -> None:
    """Find out how the source file of a frame is shown."""
    path, module = frame.f_code.co_filename, frame.f_globals.get("__name__", "")
    ours = module == _PACKAGE or module.startswith(_WITHIN)
    _files[path] = "" if ours else _short(path)


def _short(path: str) -> str:
    """The folder and the name instead of the whole path: listings must not depend on where a checkout lies."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.basename(folder), name)


def place(where: Optional[Where]) -> str:
    """The line as text: `programs/read.py:31`."""
    return f"{where[0]}:{where[1]}" if where else "an unknown line"
