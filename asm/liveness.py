"""What each register holds at a point of a program, as the verifier will see it.

The verifier refuses a program that reads a register nobody wrote, or r1 to r5 after a call, and names a slot number;
following the registers while assembling names the Python line instead. Whether a register holds a number or a pointer
decides which arithmetic is safe on all kernels (`asm.hazards`).

All of this is what is known for certain: where paths come together with different things in a register, or a value
comes from where nothing is known of it, it is UNKNOWN.
"""

from __future__ import annotations

from typing import Dict, Mapping, Optional

from asm.errors import Where

ARGUMENTS = range(1, 6)
"""The registers that a call leaves without a value."""
_CLOBBERED = (0, *ARGUMENTS)


class Held:
    """What a register holds. Each of these is equal to itself alone."""

    __slots__ = ("pointer", "text")

    def __init__(self, text: str, *, pointer: bool = False) -> None:
        self.text = text
        self.pointer = pointer

    def __repr__(self) -> str:
        return self.text


UNKNOWN = Held("something unknown")
NUMBER = Held("a number")
NEGATIVE_32 = Held("a negative number of 32 bits")
CONTEXT = Held("the context", pointer=True)
IN_CONTEXT = Held("an address in the context", pointer=True)
STACK = Held("an address on the stack", pointer=True)
MAP = Held("a map", pointer=True)
OUTER_MAP = Held("a map of maps", pointer=True)
VALUE = Held("the address of a map's value", pointer=True)
IN_VALUE = Held("an address in a map's value", pointer=True)


class Found(Held):
    """The result of one lookup before it is compared with 0; `what` it is if it is not 0."""

    __slots__ = ("what",)

    def __init__(self, what: Held) -> None:
        super().__init__("the result of a lookup that is not compared with 0", pointer=True)
        self.what = what


class Liveness:
    """The registers with a value and what that is; for those without, the line of the last call that took one away."""

    __slots__ = ("held", "lost", "spilled")

    def __init__(
        self,
        held: Mapping[int, Held],
        lost: Optional[Mapping[int, Optional[Where]]] = None,
        spilled: Optional[Mapping[int, Held]] = None,
    ) -> None:
        self.held: Dict[int, Held] = dict(held)
        self.lost: Dict[int, Optional[Where]] = dict(lost or {})
        self.spilled: Dict[int, Held] = dict(spilled or {})
        """What lies on the stack, in the 8 bytes at an offset from the frame pointer, as far as it is known."""

    def copy(self) -> Liveness:
        return Liveness(self.held, self.lost, self.spilled)

    def call(self, where: Optional[Where], result: Optional[Held]) -> None:
        """A call: it takes the arguments away, and gives r0 a value (`result`) or takes that too (None)."""
        for register in _CLOBBERED:
            self.held.pop(register, None)
            self.lost[register] = where
        if result is not None:
            self.held[0] = result

    def compared_with_zero(self, found: Found, *, is_zero: bool) -> None:
        """The result of a lookup was compared: all its copies are 0 now, or what it was looked up for."""
        known = NUMBER if is_zero else found.what
        for places in (self.held, self.spilled):
            for place, held in places.items():
                if held is found:
                    places[place] = known

    def stored(self, offset: int, size: int, held: Held) -> None:
        """A store to the stack at `offset` from the frame pointer."""
        if size == 8 and held is not UNKNOWN:
            # Old verifiers keep pointers alone; of a number that is loaded again they know nothing.
            self.spilled[offset] = NUMBER if held is NEGATIVE_32 else held
        else:
            self.spilled.pop(offset & ~7, None)

    def meet(self, other: Liveness) -> Liveness:
        """What holds where two paths come together."""
        theirs = other.held
        held = {
            register: mine if mine is theirs[register] else UNKNOWN
            for register, mine in self.held.items()
            if register in theirs
        }
        on_stack = other.spilled
        spilled = {offset: mine for offset, mine in self.spilled.items() if on_stack.get(offset) is mine}
        return Liveness(held, {**other.lost, **self.lost}, spilled)
