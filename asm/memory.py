"""Loads, stores, atomic operations, and the instructions of two slots.

    a.ldx(r6, r1[Exit.ret], "bytes read, or -errno")
    a.xadd(r0[Totals.bytes], r6)

How many bytes an instruction moves is up to the operand: `r1.u32(16)`, a scalar field, a stack slot. Everything is in
Linux 4.14 unless a first kernel is given.
"""

from __future__ import annotations

from asm import hazards, isa
from asm.emitter import Emitter
from asm.errors import AssembleError
from asm.instruction import Instruction
from asm.kinds import MapType, ProgramType
from asm.liveness import CONTEXT, IN_VALUE, MAP, NUMBER, OUTER_MAP, STACK, UNKNOWN, VALUE, Held
from asm.maps import MapSpec
from asm.operands import Mem, Place, Register, r0, signed_32

_MAPS = {MapType.ARRAY_OF_MAPS: OUTER_MAP, MapType.HASH_OF_MAPS: OUTER_MAP}
# The context of these kinds of programs holds no pointers that the verifier knows as such.
_NUMBERS_ALONE = (ProgramType.KPROBE, ProgramType.TRACEPOINT, ProgramType.PERF_EVENT, ProgramType.RAW_TRACEPOINT)


class Memory(Emitter):
    """Accesses to memory, and loads of what takes 64 bits: constants, maps, addresses of map values and functions."""

    # Loads and stores.

    def ldx(self, dst: Register, mem: Place, note: str = "") -> None:
        """Emit `dst = mem`, zero-extended to 64 bits."""
        self._load(isa.MEM, dst, self._memory(mem), note)

    def ldsx(self, dst: Register, mem: Place, note: str = "") -> None:
        """Emit `dst = mem`, the 1, 2 or 4 bytes of `mem` sign-extended to 64 bits (6.6)."""
        self._load(isa.MEMSX, dst, self._memory(mem, (1, 2, 4)), note)

    def stx(self, mem: Place, src: Register, note: str = "") -> None:
        """Emit `mem = src`, of whose lower bytes as many are stored as `mem` has."""
        at = self._memory(mem)
        op = isa.STX | isa.MEM | isa.SIZE_BITS[at.size]
        self._append(Instruction(op, at.base.number, src.number, at.offset, note=note, mem=at), [at.base, src])
        self._note_store(at, self._held(src))

    def st(self, mem: Place, imm: int, note: str = "") -> None:
        """Emit `mem = imm`. Where `mem` has 8 bytes, the immediate is sign-extended from 32 bits."""
        at = self._memory(mem)
        bits = 8 * min(at.size, 4)
        highest = (1 << 31) - 1 if at.size == 8 else (1 << bits) - 1
        if not -(1 << (bits - 1)) <= imm <= highest:
            raise AssembleError(f"{imm:#x} does not fit a store of {at.size} bytes: load a register first")
        op = isa.ST | isa.MEM | isa.SIZE_BITS[at.size]
        instruction = Instruction(op, at.base.number, 0, at.offset, signed_32(imm), note=note, mem=at, value=imm)
        hazards.store(self._held(at.base))
        self._append(instruction, [at.base])
        self._note_store(at, NUMBER)

    # Atomic operations, on 4 or 8 bytes.

    def xadd(self, mem: Place, src: Register, note: str = "") -> None:
        """Emit `lock mem += src`, for `mem` of 4 or 8 bytes."""
        self._atomic(isa.ADD, mem, src, note)

    def atomic_or(self, mem: Place, src: Register, note: str = "") -> None:
        """Emit `lock mem |= src` (5.12)."""
        self._atomic(isa.OR, mem, src, note)

    def atomic_and(self, mem: Place, src: Register, note: str = "") -> None:
        """Emit `lock mem &= src` (5.12)."""
        self._atomic(isa.AND, mem, src, note)

    def atomic_xor(self, mem: Place, src: Register, note: str = "") -> None:
        """Emit `lock mem ^= src` (5.12)."""
        self._atomic(isa.XOR, mem, src, note)

    def fetch_add(self, mem: Place, src: Register, note: str = "") -> None:
        """Emit `lock mem += src`; src becomes what `mem` was before (5.12)."""
        self._atomic(isa.ADD | isa.FETCH, mem, src, note)

    def fetch_or(self, mem: Place, src: Register, note: str = "") -> None:
        """Emit `lock mem |= src`; src becomes what `mem` was before (5.12)."""
        self._atomic(isa.OR | isa.FETCH, mem, src, note)

    def fetch_and(self, mem: Place, src: Register, note: str = "") -> None:
        """Emit `lock mem &= src`; src becomes what `mem` was before (5.12)."""
        self._atomic(isa.AND | isa.FETCH, mem, src, note)

    def fetch_xor(self, mem: Place, src: Register, note: str = "") -> None:
        """Emit `lock mem ^= src`; src becomes what `mem` was before (5.12)."""
        self._atomic(isa.XOR | isa.FETCH, mem, src, note)

    def xchg(self, mem: Place, src: Register, note: str = "") -> None:
        """Emit `src = xchg(mem, src)`: the two change places (5.12)."""
        self._atomic(isa.XCHG, mem, src, note)

    def cmpxchg(self, mem: Place, src: Register, note: str = "") -> None:
        """Emit `r0 = cmpxchg(mem, r0, src)`: `mem` becomes src if it equals r0; r0 becomes what it was (5.12)."""
        self._atomic(isa.CMPXCHG, mem, src, note)

    # Instructions of two slots.

    def ld_imm64(self, dst: Register, value: int, note: str = "") -> None:
        """Emit `dst = value`, any 64 bits, written signed or unsigned."""
        if not -(1 << 63) <= value < 1 << 64:
            raise AssembleError(f"{value:#x} does not fit 64 bits")
        self._wide(dst, Instruction(isa.LD_IMM64, dst.number, imm=value & ((1 << 64) - 1), note=note), NUMBER)

    def ld_map(self, dst: Register, map: MapSpec, note: str = "") -> None:
        """Emit `dst = map`, the reference that helpers take as their first argument."""
        self._wide(
            dst, Instruction(isa.LD_IMM64, dst.number, isa.PSEUDO_MAP_FD, map=map, note=note), _MAPS.get(map.type, MAP)
        )

    def ld_map_value(self, dst: Register, map: MapSpec, offset: int = 0, note: str = "") -> None:
        """Emit `dst = &map[0] + offset`, an address in the value of an array map with one entry (5.2)."""
        if not 0 <= offset < max(map.value_size, 1):
            raise AssembleError(f"byte {offset} is not in the value of {map.name}, which has {map.value_size}")
        imm = offset << 32
        self._wide(
            dst, Instruction(isa.LD_IMM64, dst.number, isa.PSEUDO_MAP_VALUE, imm=imm, map=map, note=note), IN_VALUE
        )

    def ld_function(self, dst: Register, name: str, note: str = "") -> None:
        """Emit `dst = &name`, the address of a function of this program, for helpers that call it back (5.13)."""
        self._wide(dst, Instruction(isa.LD_IMM64, dst.number, isa.PSEUDO_FUNC, call=name, note=note), UNKNOWN)

    def _load(self, mode: int, dst: Register, at: Mem, note: str) -> None:
        op = isa.LDX | mode | isa.SIZE_BITS[at.size]
        instruction = Instruction(op, dst.number, at.base.number, at.offset, note=note, mem=at)
        self._append(instruction, [at.base], dst, self._loaded(at), within=2)

    def _loaded(self, at: Mem) -> Held:
        """What a load gives: a number, unless a pointer may lie there."""
        base = self._held(at.base)
        if base is VALUE or base is IN_VALUE or (base is CONTEXT and self.kind in _NUMBERS_ALONE):
            return NUMBER
        if self._state is not None and at.base.number == isa.FRAME_POINTER:
            return self._state.spilled.get(at.offset, UNKNOWN) if at.size == 8 else NUMBER
        return UNKNOWN

    def _note_store(self, at: Mem, held: Held) -> None:
        if self._state is None:
            return
        if at.base.number == isa.FRAME_POINTER:
            self._state.stored(at.offset, at.size, held)
        elif self._held(at.base) in (STACK, UNKNOWN):
            self._state.spilled.clear()

    def _atomic(self, operation: int, mem: Place, src: Register, note: str) -> None:
        at = self._memory(mem, (4, 8))
        op = isa.STX | isa.ATOMIC | isa.SIZE_BITS[at.size]
        reads, writes = [at.base, src], src if operation & isa.FETCH else None
        if operation == isa.CMPXCHG:
            reads, writes = [*reads, r0], r0
        hazards.atomic(self._held(at.base), at.offset, at.size)
        instruction = Instruction(op, at.base.number, src.number, at.offset, operation, note=note, mem=at)
        self._append(instruction, reads, writes, NUMBER, within=2)
        self._note_store(at, UNKNOWN)

    def _wide(self, dst: Register, instruction: Instruction, held: Held) -> None:
        self._append(instruction, (), dst, held, within=2)
