"""What instructions work on: registers, memory at a distance from a register, and named slots on the stack.

Operands are values: `r6[8]`, `r6[Totals.bytes]` and `r1.u32(16)` say where something lies, and emit nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Tuple, Union

from asm import isa
from asm.errors import AssembleError
from asm.layout import DataType, Field, Scalar


@dataclass(frozen=True)
class Register:
    """A register: r0 (results), r1 to r5 (arguments, lost in calls), r6 to r9 (kept) or r10 (the frame, read-only)."""

    number: int

    def __getitem__(self, at: Union[int, Field]) -> Mem:
        """The 8 bytes at a distance in bytes, or a field of the record, that this register points to."""
        if isinstance(at, Field):
            return Mem(self, at.offset, at.total, at.is_scalar, (at,))
        return Mem(self, at, 8)

    def u8(self, offset: int) -> Mem:
        """The byte at `offset` from the address in this register."""
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


@dataclass(unsafe_hash=True)
class Mem:
    """`size` bytes at `base + offset`. Loads extend them with zeros, also where the field has a signed type.

    Nobody changes one. It is not frozen, as making one takes three times as long then, and every access makes one.
    """

    base: Register
    offset: int
    size: int = 8
    scalar: bool = True
    """Whether it is one integer, which a load can read. Arrays and records have only an address."""
    names: Tuple[Union[Slot, Field], ...] = field(default=(), compare=False, repr=False)
    """What it was made of: a field, a stack slot, or a field in a stack slot."""

    def at(self, offset: int, size: int = 8, scalar: bool = True) -> Mem:
        """`size` bytes at `offset` from the beginning of this. Raises AssembleError if they are not all in it."""
        if offset < 0 or offset + size > self.size:
            raise AssembleError(f"{size} bytes at {offset} are not in {self} of {self.size} bytes")
        return Mem(self.base, self.offset + offset, size, scalar, self.names)

    def __repr__(self) -> str:
        return f"{self.size} bytes at {self.base!r}{self.offset:+d}"

    def __str__(self) -> str:
        """As a listing shows it: `r9[Call.op]`, `stack[key][Key.inode]`, `r1.u32(16)`."""
        offset, text = self.offset, repr(self.base)
        for name in self.names:
            offset -= name.offset
            text = f"stack[{name.name}]" if isinstance(name, Slot) else f"{text}[{name.record}.{name.name}]"
        whole = bool(self.names) and not offset and self.size == _size(self.names[-1])
        return text if whole else f"{text}.u{8 * self.size}({offset})"


@dataclass(frozen=True)
class Slot:
    """A named place on the stack of a function, at r10 + `offset` (negative). `Assembler.slot` makes it."""

    name: str
    type: DataType
    count: int
    """The length of an array, or 0 for a single value."""
    offset: int

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self.type.size * (self.count or 1)

    @property
    def mem(self) -> Mem:
        """The whole slot as an operand."""
        return Mem(r10, self.offset, self.size, isinstance(self.type, Scalar) and not self.count, (self,))

    def __getitem__(self, field: Field) -> Mem:
        """A field of the record in this slot. Raises AssembleError if the field is not all in it."""
        if field.offset + field.total > self.size:
            raise AssembleError(f"the field {field.name} is not in the slot {self.name} of {self.size} bytes")
        return Mem(r10, self.offset + field.offset, field.total, field.is_scalar, (self, field))

    def at(self, offset: int, size: int = 8, scalar: bool = True) -> Mem:
        """`size` bytes at `offset` from the beginning of the slot. Raises AssembleError if they are not all in it."""
        return self.mem.at(offset, size, scalar)


Source = Union[Register, int]
"""The second operand of arithmetic and jumps: a register or an immediate."""
Place = Union[Mem, Slot]
"""What a load reads and a store writes."""
SlotType = Union[DataType, Tuple[DataType, int]]
"""What a stack slot holds: one value, or (type, count) for an array."""

# These work bit by bit, or compare for equality or unsigned: on 32 bits 0xffffffff and -1 are the same to them.
_UNSIGNED_32 = frozenset(
    [isa.ALU | operation for operation in (isa.MOV, isa.AND, isa.OR, isa.XOR)]
    + [isa.JMP32 | operation for operation in (isa.JEQ, isa.JNE, isa.JSET, isa.JGT, isa.JGE, isa.JLT, isa.JLE)]
)


def immediate(op: int, value: int) -> int:
    """The immediate of arithmetic or a jump: 32 bits, signed unless the instruction sees no more than 32 bits.

    Raises AssembleError for a value that does not fit.
    """
    highest = 0xFFFFFFFF if op in _UNSIGNED_32 else 0x7FFFFFFF
    if not -0x80000000 <= value <= highest:
        raise AssembleError(f"{value:#x} does not fit an immediate of 32 bits: use ld_imm64 and a register")
    return signed_32(value)


def signed_32(value: int) -> int:
    """The lower 32 bits as a signed number, which is how an instruction holds them."""
    return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


def _size(of: Union[Slot, Field]) -> int:
    return of.size if isinstance(of, Slot) else of.total
