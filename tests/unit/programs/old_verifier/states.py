"""What the verifier of 4.14 knows at one point of one way through a program, and when another way adds nothing."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from asm import isa
from tests.unit.programs.old_verifier.numbers import UNKNOWN, Value

isa.FRAME_POINTER = isa.FRAME_POINTER
Word = Any  # of the stack: a mask of its bytes that were written, or the Value of a pointer that was


class State:
    """What is known at one point of one way.

    `written` and `read` are marks for liveness: bit N for register N, bit 16 + N for the word N of the stack.
    `written` are those since the state `parent`, and `read` those that somebody reads later on.
    """

    __slots__ = ("parent", "read", "registers", "stack", "written")

    def __init__(
        self, registers: List[Optional[Value]], stack: List[Word], written: int, parent: Optional[State]
    ) -> None:
        self.registers, self.stack, self.written, self.parent = registers, stack, written, parent
        self.read = 0

    def copy(self) -> State:
        return State(self.registers[:], self.stack[:], self.written, self.parent)

    def mark_read(self, bit: int) -> None:
        state: State = self
        parent = self.parent
        while parent is not None and not state.written & bit:
            parent.read |= bit
            state, parent = parent, parent.parent

    def pointers(self) -> int:
        """The marks of the words that hold pointers, and of all registers."""
        return 0x3FF | sum(1 << 16 + at for at, word in enumerate(self.stack) if type(word) is Value)


def _within(old: Value, new: Value) -> bool:
    """Whether everything that `new` may be was possible in `old`."""
    return (
        old.umin <= new.umin
        and old.umax >= new.umax
        and old.smin <= new.smin
        and old.smax >= new.smax
        and not new.mask & ~old.mask
        and old.bits == new.bits & ~old.mask
    )


def _safe(old: Optional[Value], new: Optional[Value], ids: Dict[int, int]) -> bool:
    """Whether what was found good with `old` is good with `new` (regsafe)."""
    if old is None or old == new:
        return True
    if new is None:
        return False
    if old.kind == "number":
        return _within(old, new) if new.kind == "number" else old[4:] == UNKNOWN[4:]
    if old.kind == "value":
        return old[:3] == new[:3] and _within(old, new)
    if old.kind == "found":
        return old[:3] == new[:3] and old[4:] == new[4:] and ids.setdefault(old.id, new.id) == new.id
    return False


def covers(old: State, new: State) -> bool:
    """Whether nothing new can come of a state, after another at the same place (states_equal)."""
    ids: Dict[int, int] = {}
    for number, value in enumerate(old.registers):
        if old.read >> number & 1 and not _safe(value, new.registers[number], ids):
            return False
    if old.stack == new.stack:
        return True
    for at, word in enumerate(old.stack):
        other = new.stack[at]
        if type(word) is Value:
            if type(other) is not Value or (old.read >> 16 + at & 1 and not _safe(word, other, ids)):
                return False
        elif word and (type(other) is Value or word & ~other):
            return False
    return True


def hand_on(old: State, new: State) -> None:
    """What is read after `old` is read after `new` too, which ends here (propagate_liveness)."""
    state = old
    parent: Optional[State] = new
    written = 0
    while parent is not None:
        read = state.read & ~parent.read & ~written & state.pointers() & parent.pointers()
        if not read:
            return
        parent.read |= read
        state, parent = parent, parent.parent
        written = state.written
