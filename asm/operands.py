"""What instructions work on: registers, memory at a register, and named places on the stack.

Operands are values without side effects: `r6[8]`, `r6[Totals.bytes]` and `r1.u32(16)` only say where something lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple, Union

from asm import isa
from asm.errors import AssembleError
from asm.layout import DataType, Field, Scalar


@dataclass(frozen=True)
class Register:
    """One of r0 (results), r1 to r5 (arguments, lost in calls), r6 to r9 (kept), r10 (the frame, read-only)."""

    number: int

    def __getitem__(self, at: Union[int, Field]) -> Mem:
        """The 8 bytes at a distance in bytes, or the field of the record that this register points to."""
        if isinstance(at, Field):
            return Mem(self, at.offset, at.total, at.is_scalar)
        return Mem(self, at, 8)

    def u8(self, offset: int) -> Mem:
        """The byte at `offset`."""
        return Mem(self, offset, 1)

    def u16(self, offset: int) -> Mem:
        """The 2 bytes at `offset`."""
        return Mem(self, offset, 2)

    def u32(self, offset: int) -> Mem:
        """The 4 bytes at `offset`."""
        return Mem(self, offset, 4)

    def u64(self, offset: int) -> Mem:
        """The 8 bytes at `offset`."""
        return Mem(self, offset, 8)

    def __repr__(self) -> str:
        return f"r{self.number}"


r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10 = (Register(number) for number in range(isa.REGISTERS))


@dataclass(frozen=True)
class Mem:
    """`size` bytes at `base + offset`. Loads are zero-extended, whatever the type of the field."""

    base: Register
    offset: int
    size: int = 8
    scalar: bool = True
    """Whether it is one integer. Whole arrays and records have an address, but no load reads them."""

    def __repr__(self) -> str:
        return f"{self.size} bytes at {self.base!r}{self.offset:+d}"


@dataclass(frozen=True)
class Slot:
    """A named place on the stack of one function, at r10 + `offset` (negative). Made by `Assembler.slot`."""

    name: str
    type: DataType
    count: int
    """0 for a single value, else the length of an array."""
    offset: int

    @property
    def size(self) -> int:
        return self.type.size * (self.count or 1)

    @property
    def mem(self) -> Mem:
        """All of it as an operand."""
        return Mem(r10, self.offset, self.size, isinstance(self.type, Scalar) and not self.count)

    def __getitem__(self, field: Field) -> Mem:
        """A field of the record that lies here."""
        return self.at(field.offset, field.total, field.is_scalar)

    def at(self, offset: int, size: int = 8, scalar: bool = True) -> Mem:
        """`size` bytes at `offset` from the beginning of the slot. Raises AssembleError if that is not inside it."""
        if offset < 0 or offset + size > self.size:
            raise AssembleError(f"{size} bytes at {offset} are not in the slot {self.name} of {self.size} bytes")
        return Mem(r10, self.offset + offset, size, scalar)


Source = Union[Register, int]
"""The second operand of arithmetic and jumps: a register or an immediate."""
Place = Union[Mem, Slot]
"""Where a load reads and a store writes."""
SlotType = Union[DataType, Tuple[DataType, int]]
"""What a stack slot holds: one value, or (type, count) for an array."""
