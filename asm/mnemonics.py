"""The instructions by name: one method for each, one instruction for each call.

    a.ldx(r6, r1[Exit.ret], "bytes read, or -errno")
    a.jslt(r6, 0, "failed")
    a.xadd(r0[Totals.bytes], r6)

The second operand of arithmetic and jumps is a register or an immediate; the instruction follows from its type. Each
method takes a note for the listing last, and raises AssembleError, with the caller's line, for operands that the
instruction cannot take. Everything is in Linux 4.14 unless a first kernel is given.
"""

from __future__ import annotations

import difflib

from asm import isa
from asm.emitter import Emitter
from asm.errors import AssembleError
from asm.instruction import Instruction
from asm.maps import MapSpec
from asm.operands import Mem, Place, Register, Source, r0
from asm.requirements import HELPERS, VOID_HELPERS

# These work bit by bit or compare for equality or unsigned: on 32 bits 0xffffffff says what -1 says.
_UNSIGNED_32 = frozenset(
    [isa.ALU | operation for operation in (isa.MOV, isa.AND, isa.OR, isa.XOR)]
    + [isa.JMP32 | operation for operation in (isa.JEQ, isa.JNE, isa.JSET, isa.JGT, isa.JGE, isa.JLT, isa.JLE)]
)


class Mnemonics(Emitter):
    """The instruction set."""

    # Arithmetic on 64 bits: immediates are sign-extended from 32.

    def mov(self, dst: Register, src: Source, note: str = "") -> None:
        """dst = src"""
        self._alu(isa.ALU64 | isa.MOV, dst, src, note)

    def add(self, dst: Register, src: Source, note: str = "") -> None:
        """dst += src"""
        self._alu(isa.ALU64 | isa.ADD, dst, src, note)

    def sub(self, dst: Register, src: Source, note: str = "") -> None:
        """dst -= src"""
        self._alu(isa.ALU64 | isa.SUB, dst, src, note)

    def mul(self, dst: Register, src: Source, note: str = "") -> None:
        """dst *= src"""
        self._alu(isa.ALU64 | isa.MUL, dst, src, note)

    def div(self, dst: Register, src: Source, note: str = "") -> None:
        """dst /= src, unsigned; by 0 it is 0"""
        self._alu(isa.ALU64 | isa.DIV, dst, src, note)

    def mod(self, dst: Register, src: Source, note: str = "") -> None:
        """dst %= src, unsigned; by 0 it is dst"""
        self._alu(isa.ALU64 | isa.MOD, dst, src, note)

    def or_(self, dst: Register, src: Source, note: str = "") -> None:
        """dst |= src"""
        self._alu(isa.ALU64 | isa.OR, dst, src, note)

    def and_(self, dst: Register, src: Source, note: str = "") -> None:
        """dst &= src"""
        self._alu(isa.ALU64 | isa.AND, dst, src, note)

    def xor(self, dst: Register, src: Source, note: str = "") -> None:
        """dst ^= src"""
        self._alu(isa.ALU64 | isa.XOR, dst, src, note)

    def lsh(self, dst: Register, src: Source, note: str = "") -> None:
        """dst <<= src"""
        self._alu(isa.ALU64 | isa.LSH, dst, src, note)

    def rsh(self, dst: Register, src: Source, note: str = "") -> None:
        """dst >>= src, filled with zeros"""
        self._alu(isa.ALU64 | isa.RSH, dst, src, note)

    def arsh(self, dst: Register, src: Source, note: str = "") -> None:
        """dst s>>= src, filled with the sign"""
        self._alu(isa.ALU64 | isa.ARSH, dst, src, note)

    def neg(self, dst: Register, note: str = "") -> None:
        """dst = -dst"""
        self.emit(Instruction(isa.ALU64 | isa.NEG, dst.number, note=note), [dst], dst)

    # Arithmetic on the low 32 bits: the high half of dst becomes 0.

    def mov32(self, dst: Register, src: Source, note: str = "") -> None:
        """dst = src"""
        self._alu(isa.ALU | isa.MOV, dst, src, note)

    def add32(self, dst: Register, src: Source, note: str = "") -> None:
        """dst += src"""
        self._alu(isa.ALU | isa.ADD, dst, src, note)

    def sub32(self, dst: Register, src: Source, note: str = "") -> None:
        """dst -= src"""
        self._alu(isa.ALU | isa.SUB, dst, src, note)

    def mul32(self, dst: Register, src: Source, note: str = "") -> None:
        """dst *= src"""
        self._alu(isa.ALU | isa.MUL, dst, src, note)

    def div32(self, dst: Register, src: Source, note: str = "") -> None:
        """dst /= src, unsigned; by 0 it is 0"""
        self._alu(isa.ALU | isa.DIV, dst, src, note)

    def mod32(self, dst: Register, src: Source, note: str = "") -> None:
        """dst %= src, unsigned; by 0 it is dst"""
        self._alu(isa.ALU | isa.MOD, dst, src, note)

    def or32(self, dst: Register, src: Source, note: str = "") -> None:
        """dst |= src"""
        self._alu(isa.ALU | isa.OR, dst, src, note)

    def and32(self, dst: Register, src: Source, note: str = "") -> None:
        """dst &= src"""
        self._alu(isa.ALU | isa.AND, dst, src, note)

    def xor32(self, dst: Register, src: Source, note: str = "") -> None:
        """dst ^= src"""
        self._alu(isa.ALU | isa.XOR, dst, src, note)

    def lsh32(self, dst: Register, src: Source, note: str = "") -> None:
        """dst <<= src"""
        self._alu(isa.ALU | isa.LSH, dst, src, note)

    def rsh32(self, dst: Register, src: Source, note: str = "") -> None:
        """dst >>= src, filled with zeros"""
        self._alu(isa.ALU | isa.RSH, dst, src, note)

    def arsh32(self, dst: Register, src: Source, note: str = "") -> None:
        """dst s>>= src, filled with the sign"""
        self._alu(isa.ALU | isa.ARSH, dst, src, note)

    def neg32(self, dst: Register, note: str = "") -> None:
        """dst = -dst"""
        self.emit(Instruction(isa.ALU | isa.NEG, dst.number, note=note), [dst], dst)

    # Arithmetic of instruction set v4, and byte order

    def sdiv(self, dst: Register, src: Source, note: str = "") -> None:
        """dst s/= src, signed (6.6)"""
        self._alu(isa.ALU64 | isa.DIV, dst, src, note, off=1)

    def smod(self, dst: Register, src: Source, note: str = "") -> None:
        """dst s%= src, signed (6.6)"""
        self._alu(isa.ALU64 | isa.MOD, dst, src, note, off=1)

    def sdiv32(self, dst: Register, src: Source, note: str = "") -> None:
        """dst s/= src, signed, on 32 bits (6.6)"""
        self._alu(isa.ALU | isa.DIV, dst, src, note, off=1)

    def smod32(self, dst: Register, src: Source, note: str = "") -> None:
        """dst s%= src, signed, on 32 bits (6.6)"""
        self._alu(isa.ALU | isa.MOD, dst, src, note, off=1)

    def movsx(self, dst: Register, src: Register, bits: int, note: str = "") -> None:
        """dst = the low 8, 16 or 32 bits of src, sign-extended to 64 (6.6)"""
        if bits not in (8, 16, 32):
            raise AssembleError(f"movsx extends 8, 16 or 32 bits, not {bits}")
        self._alu(isa.ALU64 | isa.MOV, dst, src, note, off=bits)

    def movsx32(self, dst: Register, src: Register, bits: int, note: str = "") -> None:
        """dst = the low 8 or 16 bits of src, sign-extended to 32 (6.6)"""
        if bits not in (8, 16):
            raise AssembleError(f"movsx32 extends 8 or 16 bits, not {bits}")
        self._alu(isa.ALU | isa.MOV, dst, src, note, off=bits)

    def be16(self, dst: Register, note: str = "") -> None:
        """dst = the low 16 bits, from or to big-endian"""
        self._swap(isa.ALU | isa.X, dst, 16, note)

    def be32(self, dst: Register, note: str = "") -> None:
        """dst = the low 32 bits, from or to big-endian"""
        self._swap(isa.ALU | isa.X, dst, 32, note)

    def be64(self, dst: Register, note: str = "") -> None:
        """dst from or to big-endian"""
        self._swap(isa.ALU | isa.X, dst, 64, note)

    def le16(self, dst: Register, note: str = "") -> None:
        """dst = the low 16 bits, from or to little-endian"""
        self._swap(isa.ALU, dst, 16, note)

    def le32(self, dst: Register, note: str = "") -> None:
        """dst = the low 32 bits, from or to little-endian"""
        self._swap(isa.ALU, dst, 32, note)

    def le64(self, dst: Register, note: str = "") -> None:
        """dst from or to little-endian"""
        self._swap(isa.ALU, dst, 64, note)

    def bswap16(self, dst: Register, note: str = "") -> None:
        """dst = the low 16 bits with their bytes swapped (6.6)"""
        self._swap(isa.ALU64, dst, 16, note)

    def bswap32(self, dst: Register, note: str = "") -> None:
        """dst = the low 32 bits with their bytes swapped (6.6)"""
        self._swap(isa.ALU64, dst, 32, note)

    def bswap64(self, dst: Register, note: str = "") -> None:
        """dst with its bytes swapped (6.6)"""
        self._swap(isa.ALU64, dst, 64, note)

    # Memory. How many bytes is up to the operand: `r1.u32(16)`, a scalar field, a slot.

    def ldx(self, dst: Register, mem: Place, note: str = "") -> None:
        """dst = mem, zero-extended"""
        self._load(isa.MEM, dst, self.memory(mem), note)

    def ldsx(self, dst: Register, mem: Place, note: str = "") -> None:
        """dst = mem of 1, 2 or 4 bytes, sign-extended (6.6)"""
        self._load(isa.MEMSX, dst, self.memory(mem, (1, 2, 4)), note)

    def stx(self, mem: Place, src: Register, note: str = "") -> None:
        """mem = src"""
        at = self.memory(mem)
        op = isa.STX | isa.MEM | isa.SIZE_BITS[at.size]
        self.emit(Instruction(op, at.base.number, src.number, at.offset, note=note), [at.base, src])

    def st(self, mem: Place, imm: int, note: str = "") -> None:
        """mem = imm; 8 bytes are sign-extended from 32 bits"""
        at = self.memory(mem)
        bits = 8 * min(at.size, 4)
        highest = (1 << 31) - 1 if at.size == 8 else (1 << bits) - 1
        if not -(1 << (bits - 1)) <= imm <= highest:
            raise AssembleError(f"{imm:#x} does not fit a store of {at.size} bytes: load a register first")
        op = isa.ST | isa.MEM | isa.SIZE_BITS[at.size]
        self.emit(Instruction(op, at.base.number, 0, at.offset, _signed_32(imm), note=note), [at.base])

    def xadd(self, mem: Place, src: Register, note: str = "") -> None:
        """lock mem += src, of 4 or 8 bytes"""
        self._atomic(isa.ADD, mem, src, note)

    def atomic_or(self, mem: Place, src: Register, note: str = "") -> None:
        """lock mem |= src (5.12)"""
        self._atomic(isa.OR, mem, src, note)

    def atomic_and(self, mem: Place, src: Register, note: str = "") -> None:
        """lock mem &= src (5.12)"""
        self._atomic(isa.AND, mem, src, note)

    def atomic_xor(self, mem: Place, src: Register, note: str = "") -> None:
        """lock mem ^= src (5.12)"""
        self._atomic(isa.XOR, mem, src, note)

    def fetch_add(self, mem: Place, src: Register, note: str = "") -> None:
        """lock mem += src; src = what mem was (5.12)"""
        self._atomic(isa.ADD | isa.FETCH, mem, src, note)

    def fetch_or(self, mem: Place, src: Register, note: str = "") -> None:
        """lock mem |= src; src = what mem was (5.12)"""
        self._atomic(isa.OR | isa.FETCH, mem, src, note)

    def fetch_and(self, mem: Place, src: Register, note: str = "") -> None:
        """lock mem &= src; src = what mem was (5.12)"""
        self._atomic(isa.AND | isa.FETCH, mem, src, note)

    def fetch_xor(self, mem: Place, src: Register, note: str = "") -> None:
        """lock mem ^= src; src = what mem was (5.12)"""
        self._atomic(isa.XOR | isa.FETCH, mem, src, note)

    def xchg(self, mem: Place, src: Register, note: str = "") -> None:
        """src, mem = mem, src at once (5.12)"""
        self._atomic(isa.XCHG, mem, src, note)

    def cmpxchg(self, mem: Place, src: Register, note: str = "") -> None:
        """if mem == r0: mem = src; r0 = what mem was, at once (5.12)"""
        self._atomic(isa.CMPXCHG, mem, src, note)

    # Instructions of two slots

    def ld_imm64(self, dst: Register, value: int, note: str = "") -> None:
        """dst = value, any 64 bits, signed or unsigned"""
        if not -(1 << 63) <= value < 1 << 64:
            raise AssembleError(f"{value:#x} does not fit 64 bits")
        self._wide(dst, Instruction(isa.LD_IMM64, dst.number, imm=value & ((1 << 64) - 1), note=note))

    def ld_map(self, dst: Register, map: MapSpec, note: str = "") -> None:
        """dst = map, as helpers want it"""
        self._wide(dst, Instruction(isa.LD_IMM64, dst.number, isa.PSEUDO_MAP_FD, map=map, note=note))

    def ld_map_value(self, dst: Register, map: MapSpec, offset: int = 0, note: str = "") -> None:
        """dst = the address of byte `offset` in the only value of an array map (5.2)"""
        if not 0 <= offset < max(map.value_size, 1):
            raise AssembleError(f"byte {offset} is not in the value of {map.name}, which has {map.value_size}")
        imm = offset << 32
        self._wide(dst, Instruction(isa.LD_IMM64, dst.number, isa.PSEUDO_MAP_VALUE, imm=imm, map=map, note=note))

    def ld_function(self, dst: Register, name: str, note: str = "") -> None:
        """dst = the address of a function of this program, for helpers that call back (5.13)"""
        self._wide(dst, Instruction(isa.LD_IMM64, dst.number, isa.PSEUDO_FUNC, call=name, note=note))

    # Jumps on 64 bits. The s in a name is for signed; jlt, jle, jslt and jsle need 4.14.

    def jeq(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg == src: goto label"""
        self._jump(isa.JMP | isa.JEQ, reg, src, label, note)

    def jne(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg != src: goto label"""
        self._jump(isa.JMP | isa.JNE, reg, src, label, note)

    def jgt(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg > src: goto label"""
        self._jump(isa.JMP | isa.JGT, reg, src, label, note)

    def jge(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg >= src: goto label"""
        self._jump(isa.JMP | isa.JGE, reg, src, label, note)

    def jlt(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg < src: goto label"""
        self._jump(isa.JMP | isa.JLT, reg, src, label, note)

    def jle(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg <= src: goto label"""
        self._jump(isa.JMP | isa.JLE, reg, src, label, note)

    def jset(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg & src: goto label"""
        self._jump(isa.JMP | isa.JSET, reg, src, label, note)

    def jsgt(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg s> src: goto label"""
        self._jump(isa.JMP | isa.JSGT, reg, src, label, note)

    def jsge(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg s>= src: goto label"""
        self._jump(isa.JMP | isa.JSGE, reg, src, label, note)

    def jslt(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg s< src: goto label"""
        self._jump(isa.JMP | isa.JSLT, reg, src, label, note)

    def jsle(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg s<= src: goto label"""
        self._jump(isa.JMP | isa.JSLE, reg, src, label, note)

    # Jumps on the low 32 bits (5.1).

    def jeq32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg == src: goto label"""
        self._jump(isa.JMP32 | isa.JEQ, reg, src, label, note)

    def jne32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg != src: goto label"""
        self._jump(isa.JMP32 | isa.JNE, reg, src, label, note)

    def jgt32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg > src: goto label"""
        self._jump(isa.JMP32 | isa.JGT, reg, src, label, note)

    def jge32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg >= src: goto label"""
        self._jump(isa.JMP32 | isa.JGE, reg, src, label, note)

    def jlt32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg < src: goto label"""
        self._jump(isa.JMP32 | isa.JLT, reg, src, label, note)

    def jle32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg <= src: goto label"""
        self._jump(isa.JMP32 | isa.JLE, reg, src, label, note)

    def jset32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg & src: goto label"""
        self._jump(isa.JMP32 | isa.JSET, reg, src, label, note)

    def jsgt32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg s> src: goto label"""
        self._jump(isa.JMP32 | isa.JSGT, reg, src, label, note)

    def jsge32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg s>= src: goto label"""
        self._jump(isa.JMP32 | isa.JSGE, reg, src, label, note)

    def jslt32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg s< src: goto label"""
        self._jump(isa.JMP32 | isa.JSLT, reg, src, label, note)

    def jsle32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """if reg s<= src: goto label"""
        self._jump(isa.JMP32 | isa.JSLE, reg, src, label, note)

    # Going elsewhere

    def ja(self, label: str, note: str = "") -> None:
        """goto label"""
        self.emit_jump(Instruction(isa.JMP | isa.JA, goto=label, note=note))

    def call(self, helper: str, note: str = "") -> None:
        """r0 = helper(r1, ..., r5); r1 to r5 are lost. The name is without bpf_: `call("ktime_get_ns")`."""
        if helper not in HELPERS:
            close = difflib.get_close_matches(helper, HELPERS, 1)
            raise AssembleError(f"there is no helper {helper}" + (f": {close[0]}?" if close else ""))
        instruction = Instruction(isa.JMP | isa.CALL, imm=HELPERS[helper].id, call=helper, note=note)
        self.emit_call(instruction, returns=helper not in VOID_HELPERS)

    def call_function(self, name: str, note: str = "") -> None:
        """r0 = name(r1, ..., r5), a function of this program; r1 to r5 are lost (4.16)"""
        self.emit_call(Instruction(isa.JMP | isa.CALL, 0, isa.PSEUDO_CALL, call=name, note=note), returns=True)

    def call_kernel(self, name: str, type_id: int, note: str = "") -> None:
        """r0 = name(r1, ..., r5), a function of the kernel's own with this BTF id; r1 to r5 are lost (5.13)"""
        self.emit_call(
            Instruction(isa.JMP | isa.CALL, 0, isa.PSEUDO_KERNEL_CALL, imm=type_id, call=name, note=note), returns=True
        )

    def exit(self, note: str = "") -> None:
        """return r0"""
        self.emit_exit(note)

    # How they are made

    def _alu(self, op: int, dst: Register, src: Source, note: str, off: int = 0) -> None:
        # Only a move writes a register without reading it.
        reads = [] if op & 0xF0 == isa.MOV else [dst]
        if isinstance(src, Register):
            self.emit(Instruction(op | isa.X, dst.number, src.number, off, note=note), [src, *reads], dst)
            return
        operation, bits = op & 0xF0, 64 if op & 7 == isa.ALU64 else 32
        if operation in (isa.DIV, isa.MOD) and src == 0:
            raise AssembleError("a division by zero")
        if operation in (isa.LSH, isa.RSH, isa.ARSH) and not 0 <= src < bits:
            raise AssembleError(f"a shift of {bits} bits by {src}")
        self.emit(Instruction(op, dst.number, 0, off, _immediate(op, src), note=note), reads, dst)

    def _swap(self, order: int, dst: Register, bits: int, note: str) -> None:
        self.emit(Instruction(order | isa.END, dst.number, imm=bits, note=note), [dst], dst)

    def _load(self, mode: int, dst: Register, at: Mem, note: str) -> None:
        op = isa.LDX | mode | isa.SIZE_BITS[at.size]
        self.emit(Instruction(op, dst.number, at.base.number, at.offset, note=note), [at.base], dst)

    def _atomic(self, operation: int, mem: Place, src: Register, note: str) -> None:
        at = self.memory(mem, (4, 8))
        op = isa.STX | isa.ATOMIC | isa.SIZE_BITS[at.size]
        reads, writes = [at.base, src], src if operation & isa.FETCH else None
        if operation == isa.CMPXCHG:
            reads, writes = [*reads, r0], r0
        self.emit(Instruction(op, at.base.number, src.number, at.offset, operation, note=note), reads, writes)

    def _wide(self, dst: Register, instruction: Instruction) -> None:
        self.emit(instruction, (), dst)

    def _jump(self, op: int, reg: Register, src: Source, label: str, note: str) -> None:
        if isinstance(src, Register):
            jump = Instruction(op | isa.X, reg.number, src.number, goto=label, note=note)
            self.emit_jump(jump, [reg, src])
        else:
            self.emit_jump(Instruction(op, reg.number, imm=_immediate(op, src), goto=label, note=note), [reg])


def _immediate(op: int, value: int) -> int:
    """The immediate of arithmetic or a jump: 32 bits, signed unless the instruction sees no more than 32 bits."""
    highest = 0xFFFFFFFF if op in _UNSIGNED_32 else 0x7FFFFFFF
    if not -0x80000000 <= value <= highest:
        raise AssembleError(f"{value:#x} does not fit an immediate of 32 bits: use ld_imm64 and a register")
    return _signed_32(value)


def _signed_32(value: int) -> int:
    return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
