"""Arithmetic: one method for each instruction, named as in the instruction set.

    a.mov(r6, r1)
    a.and_(r6, 0xFF, "the low byte")

The second operand is a register or an immediate; the instruction follows from its type. On 32 bits an immediate may be
written signed or unsigned where the two say the same. A division by the immediate 0 and a shift by more bits than the
register has are refused, as the verifier refuses them. Everything is in Linux 4.14 unless a first kernel is given.
"""

from __future__ import annotations

from typing import Optional

from asm import hazards, isa
from asm.emitter import Emitter
from asm.errors import AssembleError
from asm.instruction import Instruction
from asm.liveness import NEGATIVE_32, NUMBER, Held
from asm.operands import Mem, Register, Source, immediate


class Arithmetic(Emitter):
    """Moves, arithmetic on 64 and on 32 bits, and conversions of byte order."""

    # Arithmetic on 64 bits. Immediates are sign-extended from 32 bits.

    def mov(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst = src`."""
        self._alu(isa.ALU64 | isa.MOV, dst, src, note)

    def add(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst += src`."""
        self._alu(isa.ALU64 | isa.ADD, dst, src, note)

    def sub(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst -= src`."""
        self._alu(isa.ALU64 | isa.SUB, dst, src, note)

    def mul(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst *= src`."""
        self._alu(isa.ALU64 | isa.MUL, dst, src, note)

    def div(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst /= src`, unsigned. By 0 it is 0 (before 4.16: exit with r0 = 0)."""
        self._alu(isa.ALU64 | isa.DIV, dst, src, note)

    def mod(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst %= src`, unsigned. By 0 it is dst (before 4.16: exit with r0 = 0)."""
        self._alu(isa.ALU64 | isa.MOD, dst, src, note)

    def or_(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst |= src`."""
        self._alu(isa.ALU64 | isa.OR, dst, src, note)

    def and_(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst &= src`."""
        self._alu(isa.ALU64 | isa.AND, dst, src, note)

    def xor(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst ^= src`."""
        self._alu(isa.ALU64 | isa.XOR, dst, src, note)

    def lsh(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst <<= src`."""
        self._alu(isa.ALU64 | isa.LSH, dst, src, note)

    def rsh(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst >>= src`, shifting zeros in."""
        self._alu(isa.ALU64 | isa.RSH, dst, src, note)

    def arsh(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst s>>= src`, shifting the sign in."""
        self._alu(isa.ALU64 | isa.ARSH, dst, src, note)

    def neg(self, dst: Register, note: str = "") -> None:
        """Emit `dst = -dst`."""
        self._unary(isa.ALU64 | isa.NEG, dst, 0, note)

    # Arithmetic on the low 32 bits. The upper half of dst becomes 0.

    def mov32(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst = src` on 32 bits."""
        self._alu(isa.ALU | isa.MOV, dst, src, note)

    def add32(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst += src` on 32 bits."""
        self._alu(isa.ALU | isa.ADD, dst, src, note)

    def sub32(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst -= src` on 32 bits."""
        self._alu(isa.ALU | isa.SUB, dst, src, note)

    def mul32(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst *= src` on 32 bits."""
        self._alu(isa.ALU | isa.MUL, dst, src, note)

    def div32(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst /= src`, unsigned, on 32 bits. By 0 it is 0 (before 4.16: exit with r0 = 0)."""
        self._alu(isa.ALU | isa.DIV, dst, src, note)

    def mod32(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst %= src`, unsigned, on 32 bits. By 0 it is dst (before 4.16: exit with r0 = 0)."""
        self._alu(isa.ALU | isa.MOD, dst, src, note)

    def or32(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst |= src` on 32 bits."""
        self._alu(isa.ALU | isa.OR, dst, src, note)

    def and32(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst &= src` on 32 bits."""
        self._alu(isa.ALU | isa.AND, dst, src, note)

    def xor32(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst ^= src` on 32 bits."""
        self._alu(isa.ALU | isa.XOR, dst, src, note)

    def lsh32(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst <<= src` on 32 bits."""
        self._alu(isa.ALU | isa.LSH, dst, src, note)

    def rsh32(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst >>= src` on 32 bits, shifting zeros in."""
        self._alu(isa.ALU | isa.RSH, dst, src, note)

    def arsh32(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst s>>= src` on 32 bits, shifting the sign in (5.0)."""
        self._alu(isa.ALU | isa.ARSH, dst, src, note)

    def neg32(self, dst: Register, note: str = "") -> None:
        """Emit `dst = -dst` on 32 bits."""
        self._unary(isa.ALU | isa.NEG, dst, 0, note)

    # Arithmetic of instruction set v4.

    def sdiv(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst s/= src`, signed (6.6)."""
        self._alu(isa.ALU64 | isa.DIV, dst, src, note, off=1)

    def smod(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst s%= src`, signed (6.6)."""
        self._alu(isa.ALU64 | isa.MOD, dst, src, note, off=1)

    def sdiv32(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst s/= src`, signed, on 32 bits (6.6)."""
        self._alu(isa.ALU | isa.DIV, dst, src, note, off=1)

    def smod32(self, dst: Register, src: Source, note: str = "") -> None:
        """Emit `dst s%= src`, signed, on 32 bits (6.6)."""
        self._alu(isa.ALU | isa.MOD, dst, src, note, off=1)

    def movsx(self, dst: Register, src: Register, bits: int, note: str = "") -> None:
        """Emit `dst = src`, the low 8, 16 or 32 bits sign-extended to 64 (6.6)."""
        if bits not in (8, 16, 32):
            raise AssembleError(f"movsx extends 8, 16 or 32 bits, not {bits}")
        self._alu(isa.ALU64 | isa.MOV, dst, src, note, off=bits)

    def movsx32(self, dst: Register, src: Register, bits: int, note: str = "") -> None:
        """Emit `dst = src`, the low 8 or 16 bits sign-extended to 32 (6.6)."""
        if bits not in (8, 16):
            raise AssembleError(f"movsx32 extends 8 or 16 bits, not {bits}")
        self._alu(isa.ALU | isa.MOV, dst, src, note, off=bits)

    # Byte order.

    def be16(self, dst: Register, note: str = "") -> None:
        """Emit `dst = be16 dst`: the low 16 bits of dst, converted from or to big-endian."""
        self._unary(isa.ALU | isa.X | isa.END, dst, 16, note)

    def be32(self, dst: Register, note: str = "") -> None:
        """Emit `dst = be32 dst`: the low 32 bits of dst, converted from or to big-endian."""
        self._unary(isa.ALU | isa.X | isa.END, dst, 32, note)

    def be64(self, dst: Register, note: str = "") -> None:
        """Emit `dst = be64 dst`: dst, converted from or to big-endian."""
        self._unary(isa.ALU | isa.X | isa.END, dst, 64, note)

    def le16(self, dst: Register, note: str = "") -> None:
        """Emit `dst = le16 dst`: the low 16 bits of dst, converted from or to little-endian."""
        self._unary(isa.ALU | isa.END, dst, 16, note)

    def le32(self, dst: Register, note: str = "") -> None:
        """Emit `dst = le32 dst`: the low 32 bits of dst, converted from or to little-endian."""
        self._unary(isa.ALU | isa.END, dst, 32, note)

    def le64(self, dst: Register, note: str = "") -> None:
        """Emit `dst = le64 dst`: dst, converted from or to little-endian."""
        self._unary(isa.ALU | isa.END, dst, 64, note)

    def bswap16(self, dst: Register, note: str = "") -> None:
        """Emit `dst = bswap16 dst`: the low 16 bits of dst, the bytes swapped (6.6)."""
        self._unary(isa.ALU64 | isa.END, dst, 16, note)

    def bswap32(self, dst: Register, note: str = "") -> None:
        """Emit `dst = bswap32 dst`: the low 32 bits of dst, the bytes swapped (6.6)."""
        self._unary(isa.ALU64 | isa.END, dst, 32, note)

    def bswap64(self, dst: Register, note: str = "") -> None:
        """Emit `dst = bswap64 dst`: dst, the bytes swapped (6.6)."""
        self._unary(isa.ALU64 | isa.END, dst, 64, note)

    def _alu(self, op: int, dst: Register, src: Source, note: str, *, off: int = 0, mem: Optional[Mem] = None) -> None:
        if isinstance(src, Register):
            instruction = Instruction(op | isa.X, dst.number, src.number, off, note=note)
        else:
            operation, bits = op & 0xF0, 64 if op & 7 == isa.ALU64 else 32
            if operation in (isa.DIV, isa.MOD) and src == 0:
                raise AssembleError("a division by zero")
            if operation in (isa.LSH, isa.RSH, isa.ARSH) and not 0 <= src < bits:
                raise AssembleError(f"a shift of {bits} bits by {src}")
            instruction = Instruction(op, dst.number, 0, off, immediate(op, src), note=note, mem=mem, value=src)
        if self._checked:
            self._emit_alu(instruction, op, dst, src)
        else:
            self._append(instruction, within=2)

    def _emit_alu(self, instruction: Instruction, op: int, dst: Register, src: Source) -> None:
        # Only a move writes a register without reading it.
        move, wide = op & 0xF0 == isa.MOV, op & 7 == isa.ALU64
        source: Optional[Held] = None
        held = NUMBER
        reads = [] if move else [dst]
        if isinstance(src, Register):
            source = self._held(src)
            if move and wide and not instruction.off:
                held = source
            reads = [src, *reads]
        elif instruction.imm < 0 and op == isa.ALU | isa.MOV:
            held = NEGATIVE_32
        if wide and not move:
            held = hazards.arithmetic(op & 0xF0, self._held(dst), source)
        self._append(instruction, reads, dst, held, within=3)

    def _unary(self, op: int, dst: Register, imm: int, note: str) -> None:
        self._append(Instruction(op, dst.number, imm=imm, note=note), [dst], dst, NUMBER, within=2)
