"""The walk itself: one instruction after the other, on every way that is not covered by one before it."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from asm import ProgramSpec, isa
from asm.instruction import Instruction, slots
from tests.unit.programs.old_verifier import numbers
from tests.unit.programs.old_verifier.numbers import UNKNOWN, Value
from tests.unit.programs.old_verifier.states import State, covers, hand_on

LIMIT = 131072
"""BPF_COMPLEXITY_LIMIT_INSNS until 5.2 (c04c0d2b968a "bpf: increase complexity limit and maximum program size")."""

# The arguments of each helper: its number of registers, and whether r1 and r2 are memory that it fills, and its size.
_ARGUMENTS = {
    "map_lookup_elem": 2,
    "map_update_elem": 4,
    "map_delete_elem": 2,
    "probe_read": 3,
    "probe_read_str": 3,
    "ktime_get_ns": 0,
    "get_smp_processor_id": 0,
    "tail_call": 3,
    "get_current_pid_tgid": 0,
    "get_current_comm": 2,
    "get_current_task": 0,
    "get_current_uid_gid": 0,
    "current_task_under_cgroup": 2,
    "get_current_cgroup_id": 0,
    "perf_event_output": 5,
}
_FILLS = ("probe_read", "probe_read_str", "get_current_comm")


class Walk:
    """One program's."""

    def __init__(self, program: ProgramSpec) -> None:
        self.code: Dict[int, Instruction] = dict(slots(program.instructions))
        self.kept: Dict[int, List[State]] = {slot: [] for slot in self._marked()}
        self.ids = 0
        self.visits: Dict[int, int] = dict.fromkeys(self.code, 0)
        registers: List[Optional[Value]] = [None] * 11
        registers[1], registers[isa.FRAME_POINTER] = (
            Value(kind, None, 0, 0, *numbers.exactly(0)) for kind in ("context", "stack")
        )
        self.state = State(registers, [0] * (isa.STACK_SIZE // 8), 0, None)
        self.later: List[Tuple[int, State]] = []

    def _marked(self) -> List[int]:
        """Where states are kept (check_cfg)."""
        found = []
        for slot, instruction in self.code.items():
            if instruction.op & 7 != isa.JMP:
                continue
            operation = instruction.op & 0xF0
            if operation in (isa.CALL, isa.JA):
                found.append(slot + 1)
            elif operation != isa.EXIT:
                found += [slot, slot + 1 + instruction.off]
        return [slot for slot in found if slot in self.code]

    def run(self, limit: int = LIMIT) -> int:
        """The number of instructions processed; `limit` + 1 where it is given up."""
        processed, slot = 0, 0
        step = {
            isa.ALU: self._arithmetic,
            isa.ALU64: self._arithmetic,
            isa.LDX: self._load,
            isa.STX: self._store,
            isa.ST: self._store,
            isa.LD: self._constant,
        }
        while processed < limit:
            processed += 1
            instruction = self.code[slot]
            self.visits[slot] += 1
            following: Optional[int] = None
            if not self._seen(slot):
                kind = instruction.op & 7
                if kind != isa.JMP:
                    step[kind](instruction)
                    following = slot + instruction.width
                else:
                    following = self._jump(slot, instruction)
            if following is None:
                if not self.later:
                    return processed
                following, self.state = self.later.pop()
            slot = following
        return limit + 1

    def _seen(self, slot: int) -> bool:
        """Whether a state here covers the one that has come; if not it is kept (is_state_visited)."""
        kept = self.kept.get(slot)
        if kept is None:
            return False
        state = self.state
        for old in reversed(kept):
            if covers(old, state):
                hand_on(old, state)
                return True
        kept.append(state)
        self.state = State(state.registers[:], state.stack[:], 0, state)
        return False

    def _read(self, register: int) -> Value:
        value = self.state.registers[register]
        assert value is not None, f"r{register} is read before it was written"
        if register != isa.FRAME_POINTER:
            self.state.mark_read(1 << register)
        return value

    def _write(self, register: int, value: Optional[Value]) -> None:
        self.state.registers[register] = value
        self.state.written |= 1 << register

    def _operand(self, instruction: Instruction) -> Value:
        if instruction.op & isa.X:
            return self._read(instruction.src)
        return Value("number", None, 0, 0, *numbers.exactly(instruction.imm))

    def _arithmetic(self, instruction: Instruction) -> None:
        operation, half, dst = instruction.op & 0xF0, instruction.op & 7 == isa.ALU, instruction.dst
        if operation in (isa.NEG, isa.END):
            self._read(dst)
            self._write(dst, UNKNOWN)
        elif operation == isa.MOV:
            value = self._operand(instruction)
            if instruction.op & isa.X and half:
                value = numbers.bounded(UNKNOWN, numbers.low(UNKNOWN, 4))
            elif instruction.op & isa.X and instruction.src == dst:
                value = UNKNOWN  # a register that is moved to itself is forgotten
            self._write(dst, value)
        else:
            other = self._operand(instruction)
            self._write(dst, numbers.combined(operation, self._read(dst), other, half=half))

    def _constant(self, instruction: Instruction) -> None:
        if instruction.map is not None:
            self._write(instruction.dst, Value("map", instruction.map.name))
        else:
            self._write(instruction.dst, Value("number", None, 0, 0, *numbers.exactly(instruction.imm)))

    def _load(self, instruction: Instruction) -> None:
        size, base = isa.SIZE_BYTES[instruction.op & 0x18], self._read(instruction.src)
        self._write(instruction.dst, UNKNOWN)
        if base.kind == "stack":
            at = self._place(base, instruction.off)
            word = self.state.stack[at >> 3]
            if type(word) is Value:
                # With the pointer its marks come back, also that it was written (check_stack_read).
                bit = 1 << instruction.dst
                self.state.registers[instruction.dst] = word
                if not self.state.written >> 16 + (at >> 3) & 1:
                    self.state.written &= ~bit
                self.state.mark_read(1 << 16 + (at >> 3))
                return
        if size < 8:
            self.state.registers[instruction.dst] = numbers.bounded(UNKNOWN, numbers.low(UNKNOWN, size))

    def _place(self, base: Value, off: int) -> int:
        """The distance from the lowest byte of the stack."""
        return isa.STACK_SIZE + base.off + off + numbers.signed(base.bits)

    def _store(self, instruction: Instruction) -> None:
        value = None
        if instruction.op & 7 == isa.STX:
            value = self._read(instruction.src)
        base = self._read(instruction.dst)
        if base.kind != "stack":
            return
        at = self._place(base, instruction.off)
        if instruction.op & 0xE0 == isa.ATOMIC or value is None or value.number:
            self._fill(at, isa.SIZE_BYTES[instruction.op & 0x18])
        else:
            self.state.stack[at >> 3] = value
            self.state.written |= 1 << 16 + (at >> 3)

    def _fill(self, at: int, size: int) -> None:
        """Bytes of the stack have something in them that is no pointer."""
        stack = self.state.stack
        while size > 0:
            word, first = at >> 3, at & 7
            count = min(8 - first, size)
            bytes_, before = (1 << count) - 1 << first, stack[word]
            if type(before) is Value:
                assert bytes_ == 0xFF, "a pointer on the stack is overwritten in part"
                before = 0
            stack[word] = before | bytes_
            self.state.written &= ~(1 << 16 + word)
            at, size = at + count, size - count

    def _jump(self, slot: int, instruction: Instruction) -> Optional[int]:
        operation = instruction.op & 0xF0
        if operation == isa.EXIT:
            self._read(0)
            return None
        if operation == isa.CALL:
            self._call(instruction)
            return slot + 1
        target = slot + 1 + instruction.off
        if operation == isa.JA:
            return target
        other, one = self._operand(instruction), self._read(instruction.dst)
        by_constant = not instruction.op & isa.X
        if by_constant and operation in (isa.JEQ, isa.JNE) and one.number and one.constant and one.bits == other.bits:
            return target if operation == isa.JEQ else slot + 1
        taken = self.state.copy()
        self.later.append((target, taken))
        for state, so in ((self.state, numbers.OPPOSITE.get(operation, operation)), (taken, operation)):
            if one.number and other.number:
                self._compare(state.registers, so, instruction, one, other)
            elif one.kind == "found" and by_constant and other.bits == 0 and so in (isa.JEQ, isa.JNE):
                self._found(state, one.id, so == isa.JNE)
        return slot + 1

    @staticmethod
    def _compare(registers: List[Optional[Value]], so: int, instruction: Instruction, one: Value, other: Value) -> None:
        """What is known of two numbers if the comparison `so` of them holds."""
        if other.constant:
            registers[instruction.dst] = numbers.told(one, so, other.bits)
        elif one.constant:
            registers[instruction.src] = numbers.told(other, numbers.SWAPPED.get(so, so), one.bits)
        elif so == isa.JEQ:
            bounds = numbers.both(other, one)
            registers[instruction.src], registers[instruction.dst] = (
                numbers.bounded(other, bounds),
                numbers.bounded(one, bounds),
            )

    @staticmethod
    def _found(state: State, id: int, there: bool) -> None:
        """Wherever a value of a map was, that may have been missing: it is `there`, or NULL (mark_map_regs)."""
        values: List[Any]
        for values in (state.registers, state.stack):
            for at, value in enumerate(values):
                if type(value) is Value and value.kind == "found" and value.id == id:
                    values[at] = (
                        value._replace(kind="value", id=0) if there else Value("number", None, 0, 0, *value[4:])
                    )

    def _call(self, instruction: Instruction) -> None:
        helper = instruction.call
        assert helper is not None
        values = [self._read(number) for number in range(1, 1 + _ARGUMENTS[helper])]
        if helper in _FILLS and values[0].kind == "stack" and values[1].constant:
            self._fill(self._place(values[0], 0), values[1].umax)
        for register in range(6):
            self._write(register, None)
        if helper == "map_lookup_elem":
            self.ids += 1
            self.state.registers[0] = Value("found", values[0].map, 0, self.ids, *numbers.exactly(0))
        else:
            self.state.registers[0] = UNKNOWN


def processed(program: ProgramSpec, limit: int = LIMIT) -> int:
    """The instructions that 4.14 processes of a program; `limit` + 1 if it gives up."""
    return Walk(program).run(limit)
