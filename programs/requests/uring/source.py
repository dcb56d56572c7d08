"""Where a request is read from."""

from __future__ import annotations

from typing import Tuple

from asm import U64, Register
from programs.facts.kernel import Uring
from programs.requests.uring.shapes import FD_IN_FIXED_SHIFT, FIXED_FILE, FROM, PLAIN, View
from programs.way.body import Body

_STRUCTS = {"rw": "io_rw", "splice": "io_splice", "open": "io_open", "close": "io_close"}


class Source:
    """Where to read a request from: its struct io_kiocb, or the entry of the ring where it could not be prepared.

    ``base`` holds the address of that.  Reading clobbers r0 to r5.
    """

    def __init__(self, b: Body, uring: Uring, view: View = PLAIN, *, entry: bool = False) -> None:
        self.b = b
        self.offsets = uring.offsets
        self.view = view
        self.entry = entry

    def opcode(self, dst: Register, base: Register) -> None:
        self._read(dst, base, 1, ("request.opcode", 0))

    def flags(self, dst: Register, base: Register) -> None:
        """IOSQE_*: the lowest byte of the request's flags, which are of 4 bytes or 8."""
        self._read(dst, base, 1 if self.entry else 4, ("request.flags", 1))

    def fd(self, dst: Register, base: Register) -> None:
        self._read(dst, base, 4, self.view.fd)

    def position(self, dst: Register, base: Register) -> None:
        self._read(dst, base, 8, self.view.position)

    def address(self, dst: Register, base: Register) -> None:
        self._read(dst, base, 8, ("rw.address", 16))

    def length(self, dst: Register, base: Register) -> None:
        """Of 32 bits in every entry, whatever room there is in the request."""
        self._read(dst, base, 4, self.view.length)

    def operation_flags(self, dst: Register, base: Register) -> None:
        """RWF_* of a transfer, SPLICE_F_* of a splice."""
        self._read(dst, base, 4, self.view.flags)

    def slot(self, dst: Register, base: Register, member: str) -> None:
        """The index of a registered file, plus one; 0: a descriptor is meant.  ``member`` of an open or a close."""
        self._read(dst, base, 4, (member, 44))

    def registered(self, dst: Register, base: Register) -> None:
        """``dst`` = not 0 if the descriptor is the index of a registered file.  The slot "flags" holds its IOSQE_*."""
        a = self.b.a
        if self.view is FROM:
            self.operation_flags(dst, base)
            a.rsh(dst, FD_IN_FIXED_SHIFT)
            return
        a.ldx(dst, a.slot("flags", U64))
        a.and_(dst, FIXED_FILE)

    def _read(self, dst: Register, base: Register, size: int, place: Tuple[str, int]) -> None:
        name, in_entry = place
        struct = _STRUCTS.get(name.partition(".")[0])
        if self.entry:
            self.b.load(dst, base, in_entry, size=size)
        elif struct is not None:
            offset = self.offsets["request.command"] + self.offsets[name]
            # Where the command lies at the start of the request, it can be read as what it is.
            self.b.load(dst, base, offset, name, size=size, of="" if self.offsets["request.command"] else struct)
        else:
            self.b.load(dst, base, self.offsets[name], name, size=size, of="io_kiocb")
