"""The bookkeeping of assembling: labels, functions, stack slots, and which registers hold a value.

The mnemonics of `Assembler` are built on `Emitter.emit`, which checks an instruction and appends it. A mistake is
reported when it is made, with the line of the caller; jumps are checked and resolved in `program`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import ClassVar, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from asm import isa
from asm.errors import AssembleError, Where, caller, place
from asm.instruction import Instruction
from asm.kinds import ProgramType
from asm.layout import DataType
from asm.liveness import ARGUMENTS, CONTEXT, STACK, UNKNOWN, Found, Held, Liveness
from asm.operands import Mem, Place, Register, Slot, SlotType
from asm.program import ProgramSpec

# After these the next instruction does not run.
_ENDS = (isa.JMP | isa.JA, isa.JMP | isa.EXIT)
_NULL_CHECKS = (isa.JMP | isa.JEQ, isa.JMP | isa.JNE)


class _Label(NamedTuple):
    at: int
    """In the list of instructions."""
    function: int
    where: Where


@contextmanager
def unchecked() -> Iterator[None]:
    """Programs that are begun within are not searched for mistakes that need every path followed, in half the time.

    For what a test has assembled before. What is emitted is the same; the verifier looks at it anyway.
    """
    before, Emitter._checking = Emitter._checking, False
    try:
        yield
    finally:
        Emitter._checking = before


class Emitter:
    """A program that grows by one instruction at a time; its `license` decides which helpers it may call."""

    _checking: ClassVar[bool] = True
    """Whether programs that are begun now are checked: see `unchecked`."""

    def __init__(self, name: str, kind: ProgramType, license: str = "Dual BSD/GPL") -> None:
        self.name = name
        self.kind = kind
        self.license = license
        self._code: List[Instruction] = []
        self._labels: Dict[str, _Label] = {}
        self._functions: List[Tuple[int, str]] = [(0, name)]
        self._unique: Dict[str, int] = {}
        self._slots: Dict[str, Slot] = {}
        self._checked = Emitter._checking
        # None where nothing can arrive: after a jump or an exit, until a label; and everywhere if nothing is checked.
        self._state: Optional[Liveness] = None
        if self._checked:
            self._state = Liveness({1: CONTEXT, isa.FRAME_POINTER: STACK})
        # What the jumps to labels that are not placed yet bring with them.
        self._incoming: Dict[str, Liveness] = {}

    # Instructions

    def emit(
        self,
        instruction: Instruction,
        reads: Sequence[Register] = (),
        writes: Optional[Register] = None,
        held: Held = UNKNOWN,
    ) -> None:
        """Append an instruction that reads and writes these registers; for what there is no mnemonic for.

        `held` is what is written.
        """
        self._append(instruction, reads, writes, held, within=0)

    def _append(
        self,
        instruction: Instruction,
        reads: Sequence[Register] = (),
        writes: Optional[Register] = None,
        held: Held = UNKNOWN,
        within: int = 1,
    ) -> None:
        """`emit` for what at least `within` functions of this package were called for: mnemonics."""
        instruction.where = caller(within)
        if self._checked:
            self._follow(reads, writes, held, instruction.where)
        self._code.append(instruction)

    def _follow(self, reads: Sequence[Register], writes: Optional[Register], held: Held, where: Where) -> None:
        """What registers hold behind an instruction. Raises AssembleError if it reads one that has no value."""
        if self._state is None:
            raise AssembleError("nothing leads here: the line before jumps away or exits, and there is no label", where)
        live = self._state.held
        for register in reads:
            if register.number not in live:
                self._refuse_dead(register, self._state, where)
        if writes is not None:
            if writes.number == isa.FRAME_POINTER:
                raise AssembleError("r10 is the frame pointer and cannot be written", where)
            live[writes.number] = held

    def _emit_jump(self, instruction: Instruction, reads: Sequence[Register] = ()) -> None:
        """Append a jump to the label `instruction.goto`."""
        self._append(instruction, reads, within=2)
        label, there = str(instruction.goto), self._state
        if there is None:
            return
        if instruction.op in _NULL_CHECKS and instruction.imm == 0:
            there = self._check_for_null(instruction, there)
        if label not in self._labels:
            known = self._incoming.get(label)
            self._incoming[label] = there.meet(known) if known else there.copy()
        if instruction.op == isa.JMP | isa.JA:
            self._state = None

    def _check_for_null(self, jump: Instruction, here: Liveness) -> Liveness:
        """What holds where a comparison with 0 jumps to; what holds behind it is noted in `here`."""
        found = here.held.get(jump.dst)
        if not isinstance(found, Found):
            return here
        there, equal = here.copy(), jump.op == isa.JMP | isa.JEQ
        there.compared_with_zero(found, is_zero=equal)
        here.compared_with_zero(found, is_zero=not equal)
        return there

    def _emit_call(self, instruction: Instruction, result: Optional[Held], *, writes_memory: bool) -> None:
        """Append a call, after which r1 to r5 have no value, and r0 has none if `result` is None."""
        self._append(instruction, within=2)
        if self._state is None:
            return
        if writes_memory and any(self._state.held.get(register) in (STACK, UNKNOWN) for register in ARGUMENTS):
            self._state.spilled.clear()
        self._state.call(instruction.where, result)

    def _held(self, register: Register) -> Held:
        """What a register holds here."""
        return UNKNOWN if self._state is None else self._state.held.get(register.number, UNKNOWN)

    def _emit_exit(self, note: str) -> None:
        """Append the end of the program or function, whose result is in r0."""
        self._append(Instruction(isa.JMP | isa.EXIT, note=note), [Register(0)], within=2)
        self._state = None

    def _refuse_dead(self, register: Register, state: Liveness, where: Where) -> None:
        call = state.lost.get(register.number)
        reason = f"clobbered by the call at {place(call)}" if call else "not every path here writes it"
        raise AssembleError(f"{register!r} has no value ({reason})", where)

    # Labels and functions

    def label(self, name: str) -> None:
        """Place the label `name` here. A register has a value here if it has one on every path that leads here."""
        where = caller()
        if name in self._labels:
            raise AssembleError(f"the label {name} is already at {place(self._labels[name].where)}", where)
        incoming = self._incoming.pop(name, None)
        if not self._checked:
            pass
        elif self._state is None:
            # Only a jump from further on can get here, and what it brings is not known yet: the verifier will say.
            self._state = incoming or Liveness(
                {**dict.fromkeys(range(isa.REGISTERS), UNKNOWN), isa.FRAME_POINTER: STACK}
            )
        elif incoming:
            self._state = self._state.meet(incoming)
        self._labels[name] = _Label(len(self._code), len(self._functions), where)

    def unique(self, prefix: str) -> str:
        """A name that no other label has, for a macro that is used more than once."""
        number = self._unique.get(prefix, 0) + 1
        self._unique[prefix] = number
        return f"{prefix}.{number}"

    def function(self, name: str, args: int = 5) -> None:
        """Begin a function of the program, with `args` arguments in r1 and on and a stack of its own (4.16)."""
        where = caller()
        if self._state is not None:
            raise AssembleError(f"the code before the function {name} runs into it: it needs an exit", where)
        self._functions.append((len(self._code), name))
        self._slots = {}
        if self._checked:
            self._state = Liveness({**dict.fromkeys(ARGUMENTS[:args], UNKNOWN), isa.FRAME_POINTER: STACK})
        if name in self._labels:
            raise AssembleError(f"the label {name} is already at {place(self._labels[name].where)}", where)
        self._labels[name] = _Label(len(self._code), len(self._functions), where)

    # The stack

    def slot(self, name: str, type: SlotType) -> Slot:
        """The slot `name` on the stack of the function, aligned to 8 bytes. It is made when it is first asked for.

        Raises AssembleError if it was made with another type, and if the 512 bytes of the stack are used up.
        """
        element, count = type if isinstance(type, tuple) else (type, 0)
        old = self._slots.get(name)
        if old is not None:
            if (old.type, old.count) != (element, count):
                raise AssembleError(f"the slot {name} is already {_describe(old.type, old.count)}")
            return old
        lowest = min((slot.offset for slot in self._slots.values()), default=0)
        size = element.size * (count or 1)
        slot = Slot(name, element, count, (lowest - size) & ~7)
        if slot.offset < -isa.STACK_SIZE:
            taken = ", ".join(f"{other.name} {other.size}" for other in self._slots.values()) or "none"
            raise AssembleError(f"no room for the slot {name} of {size} bytes in {isa.STACK_SIZE}, taken by {taken}")
        self._slots[name] = slot
        return slot

    @property
    def stack(self) -> List[Slot]:
        """The slots on the stack of the function so far."""
        return list(self._slots.values())

    def _memory(self, operand: Place, sizes: Sequence[int] = (1, 2, 4, 8)) -> Mem:
        """The operand of a load or store. Raises AssembleError if it is too large, too far away or misaligned."""
        mem = operand.mem if isinstance(operand, Slot) else operand
        if not mem.scalar:
            raise AssembleError(f"{mem!r} are not one integer: choose a field or an element")
        if mem.size not in sizes:
            raise AssembleError(f"{mem!r}: this instruction works on {' or '.join(map(str, sizes))} bytes")
        if not -0x8000 <= mem.offset < 0x8000:
            raise AssembleError(f"{mem!r}: the offset does not fit 16 bits")
        if mem.base.number == isa.FRAME_POINTER:
            if not -isa.STACK_SIZE <= mem.offset <= -mem.size:
                raise AssembleError(f"{mem!r} are not on the stack, r10-{isa.STACK_SIZE} to r10")
            if mem.offset % mem.size:
                raise AssembleError(f"{mem!r}: the stack is accessed at multiples of the size")
        return mem

    # The end

    def program(self) -> ProgramSpec:
        """The finished program, jumps and calls resolved. Raises AssembleError for a label missing or too far away."""
        if self._state is not None:
            raise AssembleError("the program runs off its end: it needs an exit")
        starts, slot = [], 0
        for instruction in self._code:
            starts.append(slot)
            slot += 2 if instruction.op == isa.LD_IMM64 else 1
        for index, instruction in enumerate(self._code):
            if instruction.goto is not None or instruction.call is not None:
                self._link(index, instruction, starts)
        if self._checked:
            self._check_reachable()
        return ProgramSpec(self.name, self.kind, tuple(self._code), self.license)

    def _link(self, index: int, instruction: Instruction, starts: List[int]) -> None:
        """Set the distance of a jump or function, which nothing that is appended later changes."""
        if not instruction.goto and not instruction.takes_function:
            return
        name = str(instruction.goto or instruction.call)
        label = self._labels.get(name)
        if label is None:
            raise AssembleError(f"there is no label {name}", instruction.where)
        distance = starts[label.at] - starts[index] - 1
        if instruction.takes_function:
            if (label.at, name) not in self._functions:
                raise AssembleError(f"{name} is a label, not a function", instruction.where)
            instruction.imm = distance & 0xFFFFFFFF if instruction.wide else distance
            return
        if label.function != self._function_of(index):
            raise AssembleError(f"the label {name} is in another function", instruction.where)
        if not -0x8000 <= distance < 0x8000:
            raise AssembleError(f"the label {name} is {distance} slots away, too far for a jump", instruction.where)
        instruction.off = distance

    def _function_of(self, index: int) -> int:
        return sum(1 for start, _ in self._functions if start <= index)

    def _check_reachable(self) -> None:
        """Refuse code that nothing leads to, as the verifier does ("unreachable insn")."""
        code, seen = self._code, bytearray(len(self._code))
        todo = [0]
        while todo:
            index = todo.pop()
            while not seen[index]:
                seen[index] = True
                instruction = code[index]
                name = instruction.goto or instruction.call
                if name is not None and (instruction.goto or instruction.takes_function):
                    todo.append(self._labels[name].at)
                if instruction.op in _ENDS:
                    break
                index += 1
        if not all(seen):
            raise AssembleError("nothing leads to this instruction", code[seen.index(0)].where)


def _describe(type: DataType, count: int) -> str:
    name = getattr(type, "name", None) or getattr(type, "__name__", "")
    return f"{name}[{count}]" if count else str(name)
