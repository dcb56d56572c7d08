"""The disassembler: instructions in the notation of the kernel's verifier (kernel/bpf/disasm.c).

A listing, a verifier log and `bpftool prog dump xlated` then read alike, and can be compared line by line.
"""

from __future__ import annotations

from typing import Dict, Iterable, List, Optional

from asm import isa
from asm.errors import place
from asm.instruction import Instruction, slots
from asm.requirements import HELPERS

_ALU = {
    isa.ADD: "+=",
    isa.SUB: "-=",
    isa.MUL: "*=",
    isa.DIV: "/=",
    isa.OR: "|=",
    isa.AND: "&=",
    isa.LSH: "<<=",
    isa.RSH: ">>=",
    isa.MOD: "%=",
    isa.XOR: "^=",
    isa.MOV: "=",
    isa.ARSH: "s>>=",
}
_JUMP = {
    isa.JEQ: "==",
    isa.JGT: ">",
    isa.JGE: ">=",
    isa.JSET: "&",
    isa.JNE: "!=",
    isa.JSGT: "s>",
    isa.JSGE: "s>=",
    isa.JLT: "<",
    isa.JLE: "<=",
    isa.JSLT: "s<",
    isa.JSLE: "s<=",
}
_ATOMIC = {isa.ADD: ("+=", "add"), isa.OR: ("|=", "or"), isa.AND: ("&=", "and"), isa.XOR: ("^=", "xor")}
_HELPER_NAMES = {helper.id: name for name, helper in HELPERS.items()}
_NOTE_COLUMN = 44


def text(instruction: Instruction) -> str:
    """One instruction without its number: `(79) r7 = *(u64 *)(r0 +0)`. What is unknown shows its fields."""
    kind = instruction.op & 7
    if kind in (isa.ALU, isa.ALU64):
        body = _alu(instruction)
    elif kind in (isa.JMP, isa.JMP32):
        body = _jump(instruction)
    else:
        body = _memory(instruction)
    if body is None:
        i = instruction
        body = f"unknown opcode, dst {i.dst} src {i.src} off {i.off} imm {i.imm}"
    return f"({instruction.op:02x}) {body}"


def dis(instructions: Iterable[Instruction], notes: bool = True, where: bool = False) -> str:
    """A listing, a line for each instruction with its slot number, and one for each label that something refers to."""
    program = list(instructions)
    labels = _labels(program)
    lines: List[str] = []
    for slot, instruction in slots(program):
        lines += [f"{name}:" for name in labels.get(slot, ())]
        line = f"{slot:4d}: {text(instruction)}"
        remarks = [instruction.note] if notes and instruction.note else []
        if where and instruction.where:
            remarks.append(place(instruction.where))
        lines.append(f"{line:{_NOTE_COLUMN}s}; {'   '.join(remarks)}" if remarks else line)
    return "".join(f"{line}\n" for line in lines)


def _labels(program: List[Instruction]) -> Dict[int, List[str]]:
    """The names of slots: what jumps call their targets, and calls their functions."""
    labels: Dict[int, List[str]] = {}
    for slot, instruction in slots(program):
        name = instruction.call if instruction.takes_function else instruction.goto
        names = labels.setdefault(slot + 1 + instruction.distance, [])
        if name and name not in names:
            names.append(name)
    return labels


def _alu(i: Instruction) -> Optional[str]:
    operation = i.op & 0xF0
    r = "r" if i.op & 7 == isa.ALU64 else "w"
    dst, by_register = f"{r}{i.dst}", i.op & isa.X
    if operation == isa.NEG:
        return f"{dst} = -{dst}"
    if operation == isa.END:
        order = "bswap" if r == "r" else "be" if by_register else "le"
        return f"r{i.dst} = {order}{i.imm} r{i.dst}"
    if operation not in _ALU:
        return None
    sign = ""
    if i.off and operation in (isa.DIV, isa.MOD):
        sign = "s"
    source = f"{r}{i.src}" if by_register else str(i.imm)
    if i.off and operation == isa.MOV and by_register:
        source = f"(s{i.off}){source}"
    return f"{dst} {sign}{_ALU[operation]} {source}"


def _jump(i: Instruction) -> Optional[str]:
    operation = i.op & 0xF0
    if operation in _JUMP:
        r = "r" if i.op & 7 == isa.JMP else "w"
        source = f"{r}{i.src}" if i.op & isa.X else f"{i.imm & 0xFFFFFFFF:#x}"
        return f"if {r}{i.dst} {_JUMP[operation]} {source} goto pc{i.off:+d}"
    if i.op == isa.JMP | isa.JA:
        return f"goto pc{i.off:+d}"
    if i.op == isa.JMP32 | isa.JA:
        return f"gotol pc{i.imm:+d}"
    if i.op == isa.JMP | isa.EXIT:
        return "exit"
    if i.is_function_call:
        return f"call pc{i.imm:+d}"
    if i.is_kernel_call:
        return f"call {i.call or 'kernel-function'}#{i.imm}"
    if i.op == isa.JMP | isa.CALL:
        name = _HELPER_NAMES.get(i.imm)
        return f"call bpf_{name}#{i.imm}" if name and not i.src else f"call #{i.imm}"
    return None


def _memory(i: Instruction) -> Optional[str]:
    kind, mode, size = i.op & 7, i.op & 0xE0, isa.SIZE_BYTES[i.op & 0x18] * 8
    if kind == isa.LDX and mode in (isa.MEM, isa.MEMSX):
        sign = "s" if mode == isa.MEMSX else "u"
        return f"r{i.dst} = *({sign}{size} *)(r{i.src} {i.off:+d})"
    at = f"*(u{size} *)(r{i.dst} {i.off:+d})"
    if kind == isa.ST and mode == isa.MEM:
        return f"{at} = {i.imm}"
    if kind == isa.STX and mode == isa.MEM:
        return f"{at} = r{i.src}"
    if kind == isa.STX and mode == isa.ATOMIC and size >= 32:
        return _atomic(i, at)
    if kind == isa.LD and mode == isa.ABS:
        return f"r0 = *(u{size} *)skb[{i.imm}]"
    if kind == isa.LD and mode == isa.IND:
        return f"r0 = *(u{size} *)skb[r{i.src} + {i.imm}]"
    return _wide(i) if i.wide else None


def _atomic(i: Instruction, at: str) -> Optional[str]:
    pointer, name = at[1:], "atomic64" if i.op & 0x18 == isa.DW else "atomic"
    if i.imm in _ATOMIC:
        return f"lock {at} {_ATOMIC[i.imm][0]} r{i.src}"
    if i.imm == isa.XCHG:
        return f"r{i.src} = {name}_xchg({pointer}, r{i.src})"
    if i.imm == isa.CMPXCHG:
        return f"r0 = {name}_cmpxchg({pointer}, r0, r{i.src})"
    if i.imm & ~isa.FETCH in _ATOMIC:
        return f"r{i.src} = {name}_fetch_{_ATOMIC[i.imm & ~isa.FETCH][1]}({pointer}, r{i.src})"
    return None


def _wide(i: Instruction) -> str:
    name = i.map.name if i.map else f"fd:{i.imm & 0xFFFFFFFF}"
    if i.src == isa.PSEUDO_MAP_FD:
        return f"r{i.dst} = map[{name}]"
    if i.src == isa.PSEUDO_MAP_VALUE:
        return f"r{i.dst} = map[{name}][0]+{i.imm >> 32}"
    if i.src == isa.PSEUDO_FUNC:
        return f"r{i.dst} = subprog[{i.distance:+d}]"
    return f"r{i.dst} = {i.imm:#x}"
