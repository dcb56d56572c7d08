"""One instruction, and its form as bytes.

A wide instruction (LD_IMM64) is one `Instruction` that takes two slots of 8 bytes, so lists of instructions have no
holes; `slots` is the one place that counts in slots, as jumps and the verifier do.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Iterable, Iterator, List, Mapping, Optional, Tuple

from asm import isa
from asm.errors import DecodeError, EncodeError, Where
from asm.maps import MapSpec
from asm.operands import Mem

# struct bpf_insn of linux/bpf.h, little-endian: op, dst in the low and src in the high half of a byte, off, imm.
_SLOT = struct.Struct("<BBhi")
_U64 = (1 << 64) - 1


@dataclass(frozen=True)
class Instruction:
    """An instruction as the kernel gets it (`op` to `imm`), and what it was before linking.

    `imm` is signed and of 32 bits, but for LD_IMM64, where it is unsigned and of 64 bits: the low half is that of the
    first slot, the high half that of the second.
    """

    op: int
    dst: int = 0
    src: int = 0
    off: int = 0
    imm: int = 0
    goto: Optional[str] = None
    """The label that a jump goes to."""
    map: Optional[MapSpec] = None
    """The map whose descriptor `encode` puts in the low half of the immediate."""
    call: Optional[str] = None
    """The helper, or the function of the same program."""
    note: str = ""
    where: Optional[Where] = None
    """The line that emitted it."""
    mem: Optional[Mem] = field(default=None, compare=False, repr=False)
    """What `off` was written as, or `imm` where it is the distance of an address: the listing's name for it."""
    value: Optional[int] = field(default=None, compare=False, repr=False)
    """What `imm` was written as: a member of an enumeration keeps its name in the listing."""

    @property
    def wide(self) -> bool:
        """Whether it takes two slots."""
        return self.op == isa.LD_IMM64

    @property
    def width(self) -> int:
        """In slots of 8 bytes."""
        return 2 if self.wide else 1

    @property
    def is_function_call(self) -> bool:
        """Whether it calls a function of the same program, not a helper of the kernel."""
        return self.op == isa.JMP | isa.CALL and self.src == isa.PSEUDO_CALL

    @property
    def is_kernel_call(self) -> bool:
        """Whether it calls a function that the kernel offers by its BTF id, not by the number of a helper."""
        return self.op == isa.JMP | isa.CALL and self.src == isa.PSEUDO_KERNEL_CALL

    @property
    def is_jump(self) -> bool:
        """Whether `off` is a distance: every jump but calls and exits."""
        return self.op & 7 in (isa.JMP, isa.JMP32) and self.op & 0xF0 not in (isa.CALL, isa.EXIT)

    @property
    def takes_function(self) -> bool:
        """Whether `imm` is the distance to a function."""
        return self.is_function_call or (self.wide and self.src == isa.PSEUDO_FUNC)

    @property
    def distance(self) -> int:
        """How many slots after the next one a jump goes, or a function begins (as if this instruction had one slot)."""
        if self.takes_function:
            return (self.imm & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
        return self.imm if self.op == isa.JMP32 | isa.JA else self.off

    def encode(self, fds: Optional[Mapping[str, int]] = None) -> bytes:
        """8 bytes, or 16. `fds` are the descriptors of maps by name.

        Raises EncodeError for a map that is not in `fds` and for a value out of range.
        """
        imm = self.imm
        if self.map is not None:
            if fds is None or self.map.name not in fds:
                raise EncodeError(f"the map {self.map.name} has no descriptor: create it first")
            imm = (imm & ~0xFFFFFFFF) | fds[self.map.name]
        try:
            registers = self.dst | self.src << 4
            if not 0 <= self.dst < 16 or (self.wide and not 0 <= imm <= _U64):
                raise EncodeError(f"out of range: {self!r}")
            if not self.wide:
                return _SLOT.pack(self.op, registers, self.off, imm)
            low, high = struct.unpack("<ii", struct.pack("<Q", imm))
            return _SLOT.pack(self.op, registers, self.off, low) + _SLOT.pack(0, 0, 0, high)
        except struct.error:
            raise EncodeError(f"out of range: {self!r}") from None


def slots(instructions: Iterable[Instruction]) -> Iterator[Tuple[int, Instruction]]:
    """Each instruction with the number of its first slot."""
    slot = 0
    for instruction in instructions:
        yield slot, instruction
        slot += instruction.width


def decode(code: bytes) -> List[Instruction]:
    """The instructions of a program's bytes, as `Instruction.encode` or any other assembler wrote them.

    Raises DecodeError for a length that is no multiple of 8, for registers beyond r10, and for a wide instruction
    that is cut off or whose second slot holds more than an immediate. An opcode may be unknown.
    """
    if len(code) % isa.SLOT_BYTES:
        raise DecodeError(f"{len(code)} bytes are not a whole number of instructions of 8 bytes")
    instructions = []
    raw = enumerate(_SLOT.iter_unpack(code))
    for slot, (op, registers, off, low) in raw:
        dst, src = registers & 15, registers >> 4
        if max(dst, src) >= isa.REGISTERS:
            raise DecodeError(f"slot {slot}: there is no register r{max(dst, src)}")
        imm = low
        if op == isa.LD_IMM64:
            _, (*rest, high) = next(raw, (0, (1, 0, 0, 0)))
            if any(rest):
                raise DecodeError(f"slot {slot}: a wide instruction without its second half")
            imm = low & 0xFFFFFFFF | (high & 0xFFFFFFFF) << 32
        instructions.append(Instruction(op, dst, src, off, imm))
    return instructions
