"""Jumps, calls and the exit.

    a.jslt(r6, 0, "failed", "an errno")
    a.call("ktime_get_ns")

A jump names its label, which may be placed later; a comparison takes a register or an immediate. Everything is in
Linux 4.14 unless a first kernel is given.
"""

from __future__ import annotations

import difflib

from asm import hazards, isa
from asm.emitter import Emitter
from asm.errors import AssembleError
from asm.instruction import Instruction
from asm.liveness import MAP, NUMBER, OUTER_MAP, UNKNOWN, VALUE, Found, Held
from asm.operands import Register, Source, immediate, r1
from asm.requirements import HELPERS, POINTER_HELPERS, VOID_HELPERS

# Some of the helpers that write to no memory of the program, whatever they are given.
_NAMES = (
    "map_lookup_elem map_update_elem map_delete_elem map_push_elem tail_call perf_event_output ringbuf_output "
    "trace_printk ktime_get_ns get_smp_processor_id get_current_pid_tgid get_current_uid_gid get_current_task "
    "get_prandom_u32 get_stackid"
)
_READERS = frozenset(_NAMES.split())


class Control(Emitter):
    """What decides which instruction runs next."""

    # Jumps that compare 64 bits. The s in a name stands for signed; jlt, jle, jslt and jsle are new in 4.14.

    def jeq(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg == src goto label`."""
        self._jump(isa.JMP | isa.JEQ, reg, src, label, note)

    def jne(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg != src goto label`."""
        self._jump(isa.JMP | isa.JNE, reg, src, label, note)

    def jgt(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg > src goto label`."""
        self._jump(isa.JMP | isa.JGT, reg, src, label, note)

    def jge(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg >= src goto label`."""
        self._jump(isa.JMP | isa.JGE, reg, src, label, note)

    def jlt(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg < src goto label`."""
        self._jump(isa.JMP | isa.JLT, reg, src, label, note)

    def jle(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg <= src goto label`."""
        self._jump(isa.JMP | isa.JLE, reg, src, label, note)

    def jset(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg & src goto label`."""
        self._jump(isa.JMP | isa.JSET, reg, src, label, note)

    def jsgt(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg s> src goto label`."""
        self._jump(isa.JMP | isa.JSGT, reg, src, label, note)

    def jsge(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg s>= src goto label`."""
        self._jump(isa.JMP | isa.JSGE, reg, src, label, note)

    def jslt(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg s< src goto label`."""
        self._jump(isa.JMP | isa.JSLT, reg, src, label, note)

    def jsle(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg s<= src goto label`."""
        self._jump(isa.JMP | isa.JSLE, reg, src, label, note)

    # Jumps that compare the low 32 bits (5.1).

    def jeq32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg == src goto label` on 32 bits (5.1)."""
        self._jump(isa.JMP32 | isa.JEQ, reg, src, label, note)

    def jne32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg != src goto label` on 32 bits (5.1)."""
        self._jump(isa.JMP32 | isa.JNE, reg, src, label, note)

    def jgt32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg > src goto label` on 32 bits (5.1)."""
        self._jump(isa.JMP32 | isa.JGT, reg, src, label, note)

    def jge32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg >= src goto label` on 32 bits (5.1)."""
        self._jump(isa.JMP32 | isa.JGE, reg, src, label, note)

    def jlt32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg < src goto label` on 32 bits (5.1)."""
        self._jump(isa.JMP32 | isa.JLT, reg, src, label, note)

    def jle32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg <= src goto label` on 32 bits (5.1)."""
        self._jump(isa.JMP32 | isa.JLE, reg, src, label, note)

    def jset32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg & src goto label` on 32 bits (5.1)."""
        self._jump(isa.JMP32 | isa.JSET, reg, src, label, note)

    def jsgt32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg s> src goto label` on 32 bits (5.1)."""
        self._jump(isa.JMP32 | isa.JSGT, reg, src, label, note)

    def jsge32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg s>= src goto label` on 32 bits (5.1)."""
        self._jump(isa.JMP32 | isa.JSGE, reg, src, label, note)

    def jslt32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg s< src goto label` on 32 bits (5.1)."""
        self._jump(isa.JMP32 | isa.JSLT, reg, src, label, note)

    def jsle32(self, reg: Register, src: Source, label: str, note: str = "") -> None:
        """Emit `if reg s<= src goto label` on 32 bits (5.1)."""
        self._jump(isa.JMP32 | isa.JSLE, reg, src, label, note)

    # Other jumps, calls and the exit.

    def ja(self, label: str, note: str = "") -> None:
        """Emit `goto label`."""
        self._emit_jump(Instruction(isa.JMP | isa.JA, goto=label, note=note))

    def call(self, helper: str, note: str = "") -> None:
        """Emit `r0 = helper(r1, ..., r5)`, named without its prefix bpf_; r1 to r5 have no value afterwards."""
        if helper not in HELPERS:
            close = difflib.get_close_matches(helper, HELPERS, 1)
            raise AssembleError(f"there is no helper {helper}" + (f": {close[0]}?" if close else ""))
        instruction = Instruction(isa.JMP | isa.CALL, imm=HELPERS[helper].id, call=helper, note=note)
        hazards.context(self._held(r1))
        result = None if helper in VOID_HELPERS else self._looked_up(helper)
        self._emit_call(instruction, result, writes_memory=helper not in _READERS)

    def call_function(self, name: str, note: str = "") -> None:
        """Emit `r0 = name(r1, ..., r5)`, a function of this program; r1 to r5 have no value afterwards (4.16)."""
        instruction = Instruction(isa.JMP | isa.CALL, 0, isa.PSEUDO_CALL, call=name, note=note)
        self._emit_call(instruction, UNKNOWN, writes_memory=True)

    def call_kernel(self, name: str, type_id: int, note: str = "") -> None:
        """Emit `r0 = name(r1, ..., r5)`, the kernel's function with this BTF id; r1 to r5 are lost (5.13)."""
        instruction = Instruction(isa.JMP | isa.CALL, 0, isa.PSEUDO_KERNEL_CALL, imm=type_id, call=name, note=note)
        self._emit_call(instruction, UNKNOWN, writes_memory=True)

    def exit(self, note: str = "") -> None:
        """Emit `exit`: the program, or the function, returns r0."""
        self._emit_exit(note)

    def _looked_up(self, helper: str) -> Held:
        """What a helper returns: a number, or what it was asked to find."""
        if helper == "map_lookup_elem":
            return Found(MAP if self._held(r1) is OUTER_MAP else VALUE)
        return UNKNOWN if helper in POINTER_HELPERS else NUMBER

    def _jump(self, op: int, reg: Register, src: Source, label: str, note: str) -> None:
        if isinstance(src, Register):
            jump = Instruction(op | isa.X, reg.number, src.number, goto=label, note=note)
            self._emit_jump(jump, [reg, src])
        else:
            jump = Instruction(op, reg.number, imm=immediate(op, src), goto=label, note=note, value=src)
            if op & 7 == isa.JMP:
                hazards.comparison(self._held(reg))
            self._emit_jump(jump, [reg])
