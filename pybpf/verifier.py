"""Why the verifier refused a program, in words that lead to the line that emitted the instruction."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import List, NamedTuple

from pybpf.syscalls import BpfError, Command
from pybpf.types.binary import Binary

__all__ = ["VerifierError", "excerpt"]

_TAIL_LINES = 12  # of an excerpt
_LOG_LINE = re.compile(r"(\d+): \([0-9a-f]{2}\) ")
# What the verifier ends with, and what needs the lines before it to mean anything.
_STATISTICS = re.compile(
    r"processed \d+ insns|verification time|stack depth|max_states|The sequence of|insns processed"
)


class VerifierError(BpfError):
    """A program that the kernel refused.

    The text is one line: the errno, what the verifier objects to, the instruction, our note and the Python line that
    emitted it, and how many lines of the log were left out. `program` is the program's name, `log` all that the
    verifier said, `excerpt()` the end of that with our notes.
    """

    def __init__(self, number: int, program: Binary, log: str, hint: str = "", *, complete: bool = True) -> None:
        """`complete` says whether `log` is all of it: its end, which names the cause, may not have fit any buffer."""
        super().__init__(number, str(Command.PROG_LOAD), f"program {program.name}", hint)
        self.program = program.name
        self.log = log
        self._binary = program
        self._complete = complete

    def __str__(self) -> str:
        useful = _useful(self.log)
        if not useful:
            return super().__str__()
        if not self._complete:
            return f"{super().__str__()}: the verifier's log, of {len(useful)} lines and more, ends before the cause"
        *before, last = useful
        at = next((number for number in range(len(before) - 1, -1, -1) if _LOG_LINE.match(before[number])), None)
        shown = [at] if at is not None and not _LOG_LINE.match(last) else []
        instruction = "".join(f", at {_annotated(self._binary, before[number]).in_a_sentence()}" for number in shown)
        cause = _annotated(self._binary, last).in_a_sentence() if _LOG_LINE.match(last) else last.strip()
        left_out = len(before) - len(shown)
        omitted = f" ({left_out} line{'' if left_out == 1 else 's'} omitted)" if left_out else ""
        return f"{super().__str__()}: {cause}{instruction}{omitted}"

    def excerpt(self, lines: int = _TAIL_LINES) -> str:
        """The last useful lines of the log, as `excerpt` has them."""
        return excerpt(self._binary, self.log, lines)


class _Line(NamedTuple):
    """A line of the log about an instruction: its code, the registers that it changed, our note and its place."""

    code: str
    state: str
    note: str
    place: str

    def in_a_sentence(self) -> str:
        return ", ".join(part for part in (f"`{self.code}`", self.note, self.place) if part)

    def in_a_listing(self) -> str:
        remark = f"; {self.note}   {self.place}" if self.note else self.place
        return f"{self.code:<44} {remark}" + (f"  [{self.state}]" if self.state else "")


def excerpt(program: Binary, log: str, lines: int = _TAIL_LINES) -> str:
    """The last useful lines of a verifier's log, each instruction with its note and the Python line that emitted it."""
    useful = _useful(log)
    shown = useful[-lines:]
    text: List[str] = []
    if len(shown) < len(useful):
        text.append(f"  ({len(useful) - len(shown)} lines omitted)")
    for line in shown:
        annotated = _annotated(program, line)
        text.append("  " + (annotated.in_a_listing() if annotated.place else line))
    return "\n".join(text)


def _useful(log: str) -> List[str]:
    return [line for line in log.replace("\0", "").splitlines() if line.strip() and not _STATISTICS.match(line)]


def _annotated(program: Binary, line: str) -> _Line:
    """A line with the note of the instruction that it is about; without, if that is none of the program's."""
    # Newer kernels print the registers that an instruction changed behind it, as "; R0=...".
    code, _, state = line.partition(" ; ")
    code, state = code.strip(), state.strip()
    match = _LOG_LINE.match(line)
    if match is not None and int(match[1]) < len(program.code) // 8:
        remarks = program.remarks()
        slots = sorted(remarks)
        before = bisect_right(slots, int(match[1]))
        if before:
            return _Line(code, state, *remarks[slots[before - 1]])
    return _Line(code, state, "", "")
