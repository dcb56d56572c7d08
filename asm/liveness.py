"""Which registers have a value at a point of a program, as the verifier will see it.

The kernel refuses a program that reads a register nobody wrote, or r1 to r5 after a call, and names a slot number;
tracking it while assembling names the Python line instead.
"""

from __future__ import annotations

from typing import Dict, Iterable, Optional, Set

from asm.errors import Where

ARGUMENTS = range(1, 6)
"""The registers that a call leaves without a value."""


class Liveness:
    """The registers with a value, and for those that lost theirs the line of the call that took it."""

    def __init__(self, live: Iterable[int], lost: Optional[Dict[int, Where]] = None) -> None:
        self.live: Set[int] = set(live)
        self.lost: Dict[int, Where] = dict(lost or {})

    def copy(self) -> Liveness:
        return Liveness(self.live, self.lost)

    def write(self, register: int) -> None:
        self.live.add(register)
        self.lost.pop(register, None)

    def call(self, where: Where, returns: bool) -> None:
        """A call: it takes the arguments away, and gives r0 a value or takes that too."""
        for register in (*ARGUMENTS, 0):
            self.live.discard(register)
            self.lost[register] = where
        if returns:
            self.write(0)

    def meet(self, other: Liveness) -> Liveness:
        """What holds where two paths come together."""
        live = self.live & other.live
        lost = {register: where for register, where in {**other.lost, **self.lost}.items() if register not in live}
        return Liveness(live, lost)
