"""Reading a request: from its `struct io_kiocb`, or from the ring's entry for one that could not be prepared."""

from __future__ import annotations

from typing import Tuple

from asm import U64, Register
from programs.requests.uring.shapes import FD_IN_FIXED_SHIFT, FIXED_FILE, FROM, PLAIN, View
from programs.way.body import Body
from programs.way.registers import ENTRY, REQUEST

_STRUCTS = {"rw": "io_rw", "splice": "io_splice", "open": "io_open", "close": "io_close"}


class Request:
    """The parts of the request that REQUEST points to, or ENTRY if it was refused; each is read into a register.

    `view` says where this kind of request keeps them. Reading clobbers r0 to r5.
    """

    def __init__(self, b: Body, view: View = PLAIN, *, refused: bool = False) -> None:
        self.b = b
        self.view = view
        self.refused = refused

    def opcode(self, dst: Register) -> None:
        """IORING_OP_*"""
        self._read(dst, 1, ("request.opcode", 0))

    def flags(self, dst: Register) -> None:
        """IOSQE_*: the lowest byte of the request's flags, which are of 4 bytes or 8."""
        self._read(dst, 1 if self.refused else 4, ("request.flags", 1))

    def fd(self, dst: Register) -> None:
        """The descriptor, or the index of a registered file: `registered` tells which."""
        self._read(dst, 4, self.view.fd)

    def position(self, dst: Register) -> None:
        """The offset in the file, -1 for the file position; when it is done, where it ended."""
        self._read(dst, 8, self.view.position)

    def address(self, dst: Register) -> None:
        """The buffer, or the iovec."""
        self._read(dst, 8, ("rw.address", 16))

    def length(self, dst: Register) -> None:
        """Of 32 bits in every entry, whatever room there is in the request."""
        self._read(dst, 4, self.view.length)

    def operation_flags(self, dst: Register) -> None:
        """RWF_* of a transfer, SPLICE_F_* of a splice."""
        self._read(dst, 4, self.view.flags)

    def slot(self, dst: Register, member: str) -> None:
        """The slot of the ring's table that an open fills or a close empties, plus one; 0: a descriptor is meant.

        `member` is "open.slot" or "close.slot".
        """
        self._read(dst, 4, (member, 44))

    def registered(self, dst: Register) -> None:
        """Not 0 if the descriptor is the index of a registered file. The slot "flags" holds its IOSQE_*."""
        a = self.b.a
        if self.view is FROM:
            self.operation_flags(dst)
            a.rsh(dst, FD_IN_FIXED_SHIFT)
            return
        a.ldx(dst, a.slot("flags", U64))
        a.and_(dst, FIXED_FILE)

    def _read(self, dst: Register, size: int, place: Tuple[str, int]) -> None:
        name, in_entry = place
        if self.refused:
            self.b.load(dst, ENTRY, in_entry, size=size)
            return
        offsets = self.b.uring.offsets
        struct = _STRUCTS.get(name.partition(".")[0])
        if struct is None:
            self.b.load(dst, REQUEST, offsets[name], name, size=size, of="io_kiocb")
            return
        command = offsets["request.command"]
        # Where the command lies at the start of the request, it can be read as what it is.
        self.b.load(dst, REQUEST, command + offsets[name], name, size=size, of="" if command else struct)
