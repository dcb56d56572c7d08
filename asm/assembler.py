"""The assembler: the instruction set, and the few macros that every program needs.

    a = Assembler("read_enter", ProgramType.TRACEPOINT)
    tid = a.slot("tid", U64)
    a.call("get_current_pid_tgid")
    a.stx(tid, r0)
    a.lookup(INFLIGHT, tid)
    a.jeq(r0, 0, "done", "not ours")
    ...
    a.label("done")
    a.ret(0)
    program = a.program()

A macro emits the instructions that its docstring lists and no others, so that slots can be counted by reading.
"""

from __future__ import annotations

from asm import isa
from asm.arithmetic import Arithmetic
from asm.control import Control
from asm.errors import AssembleError
from asm.maps import MapSpec
from asm.memory import Memory
from asm.operands import Mem, Place, Register, Slot, Source, r0, r1, r2, r3, r4


class Assembler(Arithmetic, Memory, Control):
    """Assembles one program. Every method raises AssembleError, with the line of its caller, for what cannot work."""

    def ret(self, value: int, note: str = "") -> None:
        """Emit `r0 = value; exit`."""
        self.mov(r0, value)
        self.exit(note)

    def addr(self, dst: Register, of: Place, note: str = "") -> None:
        """Emit `dst = base; dst += offset`: the address of a stack slot or of any other operand in memory."""
        mem = _mem(of)
        self.mov(dst, mem.base)
        self._alu(isa.ALU64 | isa.ADD, dst, mem.offset, note, mem=mem)

    def zero(self, of: Place, note: str = "") -> None:
        """Emit stores of 8 bytes, then of 4, 2 and 1, that clear the whole operand."""
        mem = _mem(of)
        offset, end = mem.offset, mem.offset + mem.size
        while offset < end:
            size = next(size for size in (8, 4, 2, 1) if offset % size == 0 and offset + size <= end)
            self.st(Mem(mem.base, offset, size, names=mem.names), 0, note)
            offset += size
            note = ""

    def lookup(self, map: MapSpec, key: Place, note: str = "") -> None:
        """Emit `r2 = &key; r1 = map; call map_lookup_elem`: r0 is the address of the value, or 0.

        Before 4.18 the key must lie on the stack.
        """
        self._argument(r2, key, map.key_size, f"the key of {map.name}")
        self.ld_map(r1, map)
        self.call("map_lookup_elem", note)

    def update(self, map: MapSpec, key: Place, value: Place, flags: int = 0, note: str = "") -> None:
        """Emit `r2 = &key; r3 = &value; r1 = map; r4 = flags; call map_update_elem`: r0 is 0 or -errno.

        `flags` is 0 (BPF_ANY), 1 (BPF_NOEXIST: the key must be new) or 2 (BPF_EXIST: it must not be).
        """
        self._argument(r2, key, map.key_size, f"the key of {map.name}")
        self._argument(r3, value, map.value_size, f"the value of {map.name}")
        self.ld_map(r1, map)
        self.mov(r4, flags)
        self.call("map_update_elem", note)

    def delete(self, map: MapSpec, key: Place, note: str = "") -> None:
        """Emit `r2 = &key; r1 = map; call map_delete_elem`: r0 is 0 or -errno."""
        self._argument(r2, key, map.key_size, f"the key of {map.name}")
        self.ld_map(r1, map)
        self.call("map_delete_elem", note)

    def tail_call(self, context: Register, programs: MapSpec, index: Source, note: str = "") -> None:
        """Emit `r3 = index; r1 = context; r2 = programs; call tail_call`, without moves of a register to itself.

        The program goes on behind it only if there is no program at the index; r0 has no value then.
        """
        if context in (r2, r3):
            raise AssembleError(f"the context in {context!r} would be overwritten: keep it in r6 to r9")
        if index == r2:
            raise AssembleError("the index in r2 would be overwritten: keep it elsewhere")
        if index != r3:
            self.mov(r3, index)
        if context != r1:
            self.mov(r1, context)
        self.ld_map(r2, programs)
        self.call("tail_call", note)

    def _argument(self, dst: Register, of: Place, size: int, what: str) -> None:
        """Emit the address of an argument of exactly `size` bytes, for a helper."""
        mem = _mem(of)
        if mem.size != size:
            raise AssembleError(f"{what} has {size} bytes, not {mem.size}")
        if mem.base in (r1, r2, r3, r4):
            raise AssembleError(f"{mem!r}: the macro sets {mem.base!r} itself, keep the address in r5 to r9")
        self.addr(dst, mem)


def _mem(of: Place) -> Mem:
    return of.mem if isinstance(of, Slot) else of
