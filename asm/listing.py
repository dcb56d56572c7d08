"""Listings to review: operands, labels and calls by the names that the source gives them, and no numbers of slots.

    r6 = r1[Exit.ret]                       ; bytes read, or -errno
    r2 = r10
    r2 += offset(stack[tid])
    r1 = map[totals]
    call map_lookup_elem
    if r0 == 0 goto done
    lock r0[Totals.bytes] += r6
done:

An instruction that is inserted, a field or a stack slot that moves, changes no other line. What a name stands for is
in the record, and in the bytes: `dis` shows the same instructions as the verifier would.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Dict, Iterable, List, Set, Tuple

from asm.disassembly import HELPER_NAMES, Notation, label_names, remarked, unknown
from asm.instruction import Instruction, slots
from asm.isa import SIZE_BYTES
from asm.operands import Mem, Register

_UNIQUE = re.compile(r"(.+)\.\d+")  # as Emitter.unique makes them
_DECIMAL = 4096  # from here on numbers are hexadecimal


def listing(instructions: Iterable[Instruction], notes: bool = True, where: bool = False) -> str:
    """The instructions as they are written in the source, with their labels; for what is not known, numbers.

    `notes` adds the notes, `where` the lines that emitted the instructions. A label that `Emitter.unique` numbered
    shows its number only where the jump does not go to the next label of that name (to the last one, if it goes back).
    """
    program = list(instructions)
    labels = label_names(program)
    short = _short_names(program, labels)
    notation = _Symbolic(short)
    lines: List[str] = []
    for slot, i in slots(program):
        lines += [f"{short.get(name, name)}:" for name in labels.get(slot, ())]
        lines.append(remarked(f"    {notation.body(i) or unknown(i)}", i, notes, where))
    return "".join(f"{line}\n" for line in lines)


class _Symbolic(Notation):
    """Operands by their names."""

    def __init__(self, labels: Dict[str, str]) -> None:
        self.labels = labels

    def place(self, i: Instruction, base: int, sign: str = "u") -> str:
        mem = i.mem or Mem(Register(base), i.off, SIZE_BYTES[i.op & 0x18])
        return f"(s{8 * mem.size}){mem}" if sign == "s" else str(mem)

    def address(self, i: Instruction) -> str:
        return "&" + self.place(i, i.dst)

    def immediate(self, i: Instruction) -> str:
        if i.mem is not None and i.value == i.mem.offset and i.mem.names:
            return f"offset({i.mem})"
        if isinstance(i.value, Enum):
            return f"{type(i.value).__name__}.{i.value.name}"
        return _number(i.imm)

    def compared(self, i: Instruction) -> str:
        return self.immediate(i)

    def target(self, i: Instruction) -> str:
        return self.labels.get(i.goto, i.goto) if i.goto else super().target(i)

    def callee(self, i: Instruction) -> str:
        if i.is_function_call or i.is_kernel_call:
            return i.call or super().callee(i)
        return HELPER_NAMES.get(i.imm) or super().callee(i)

    def constant(self, i: Instruction) -> str:
        if i.takes_function and i.call:
            return f"function {i.call}"
        return super().constant(i)


def _number(value: int) -> str:
    return str(value) if abs(value) < _DECIMAL else f"{value:#x}"


def _short_names(program: List[Instruction], labels: Dict[int, List[str]]) -> Dict[str, str]:
    """The labels that can go without their number, and what they are called then."""
    at: Dict[str, List[Tuple[int, str]]] = {}
    for slot, names in sorted(labels.items()):
        for name in names:
            match = _UNIQUE.fullmatch(name)
            at.setdefault(match[1] if match else name, []).append((slot, name))
    jumps = [(slot, i.goto) for slot, i in slots(program) if i.goto]
    short: Dict[str, str] = {}
    for base, placed in at.items():
        if all(name != base for _, name in placed):
            numbered = _ambiguous(placed, jumps)
            short.update((name, base) for _, name in placed if name not in numbered)
    return short


def _ambiguous(placed: List[Tuple[int, str]], jumps: List[Tuple[int, str]]) -> Set[str]:
    """Those of the labels `placed` (all of one name) that a jump passes others of them to get to."""
    names = {name: slot for slot, name in placed}
    numbered: Set[str] = set()
    ours = [(slot, name) for slot, name in jumps if name in names]
    found = True
    while found:
        found = False
        for slot, name in ours:
            low, high = sorted((slot, names[name]))
            passed = any(low < at < high and other not in numbered for at, other in placed)
            if name not in numbered and passed:
                numbered.add(name)
                found = True
    return numbered
