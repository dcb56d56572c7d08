"""One instruction, and its encoding.

A wide instruction (LD_IMM64) is one `Instruction` that takes two slots of 8 bytes, so lists of instructions have no
gaps. Jumps and the verifier count slots, which `slots` adds up.
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


@dataclass(unsafe_hash=True)
class Instruction:
    """An instruction as the kernel takes it (`op` to `imm`), and what it was written as.

    Nobody changes one but the assembler that makes it. It is not frozen, since that takes half a program's time.

    `imm` is a signed number of 32 bits, except for LD_IMM64, where it is an unsigned one of 64: the lower half is in
    the first slot, the upper half in the second.
    """

    op: int
    dst: int = 0
    src: int = 0
    off: int = 0
    imm: int = 0
    goto: Optional[str] = None
    """The label that it jumps to."""
    map: Optional[MapSpec] = None
    """The map whose descriptor `encode` writes to the lower half of the immediate."""
    call: Optional[str] = None
    """The helper, the function of the same program or the function of the kernel that it calls."""
    note: str = ""
    """A remark for the reader of a listing or of the verifier's log."""
    where: Optional[Where] = None
    """The line that emitted it."""
    mem: Optional[Mem] = field(default=None, compare=False, repr=False)
    """What `off` was written as, or `imm` where it is the distance of an address: the listing's name for it."""
    value: Optional[int] = field(default=None, compare=False, repr=False)
    """What `imm` was written as: a member of an enumeration keeps its name in the listing."""

    @property
    def wide(self) -> bool:
        """Whether it takes two slots: LD_IMM64."""
        return self.op == isa.LD_IMM64

    @property
    def width(self) -> int:
        """The number of slots of 8 bytes that it takes."""
        return 2 if self.wide else 1

    @property
    def is_function_call(self) -> bool:
        """Whether it calls a function of the same program (not a helper)."""
        return self.op == isa.JMP | isa.CALL and self.src == isa.PSEUDO_CALL

    @property
    def is_kernel_call(self) -> bool:
        """Whether it calls a function of the kernel by its BTF id (not a helper by its number)."""
        return self.op == isa.JMP | isa.CALL and self.src == isa.PSEUDO_KERNEL_CALL

    @property
    def is_jump(self) -> bool:
        """Whether it is a jump, conditional or not. Calls and exits are none."""
        return self.op & 7 in (isa.JMP, isa.JMP32) and self.op & 0xF0 not in (isa.CALL, isa.EXIT)

    @property
    def takes_function(self) -> bool:
        """Whether `imm` is the distance to a function of the same program, to call it or to take its address."""
        return self.is_function_call or (self.wide and self.src == isa.PSEUDO_FUNC)

    @property
    def distance(self) -> int:
        """How many slots a jump's target, or a function's start, lies beyond the slot after this one."""
        if self.takes_function:
            return (self.imm & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
        return self.imm if self.op == isa.JMP32 | isa.JA else self.off

    def encode(self, fds: Optional[Mapping[str, int]] = None) -> bytes:
        """The 8 or 16 bytes of the instruction, little-endian; `fds` gives the descriptors of maps by name.

        Raises EncodeError for a map that is not in `fds`, and for a value that is out of range.
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
    """Pairs of the number of the first slot and the instruction."""
    slot, two = 0, isa.LD_IMM64
    for instruction in instructions:
        yield slot, instruction
        slot += 2 if instruction.op == two else 1


def encode(instructions: Iterable[Instruction], fds: Mapping[str, int]) -> bytes:
    """What `Instruction.encode` makes of each, in one piece and half the time. Raises EncodeError."""
    pieces: List[bytes] = []
    pack, two = _SLOT.pack, isa.LD_IMM64
    for instruction in instructions:
        op, dst = instruction.op, instruction.dst
        if op != two and 0 <= dst < 16 and instruction.map is None:
            try:
                pieces.append(pack(op, dst | instruction.src << 4, instruction.off, instruction.imm))
                continue
            except struct.error:
                pass  # it says what is wrong itself
        pieces.append(instruction.encode(fds))
    return b"".join(pieces)


def decode(code: bytes) -> List[Instruction]:
    """The instructions that a program's bytes encode, whichever assembler wrote them. Unknown opcodes are kept.

    Raises DecodeError for a length that is not a multiple of 8, for registers beyond r10, and for a wide instruction
    that is cut off or whose second slot holds more than an immediate.
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
