"""The disassembler: instructions in the notation of the kernel's verifier (kernel/bpf/disasm.c).

`dis`, a verifier log and `bpftool prog dump xlated` read alike and can be compared line by line. `Notation` holds the
shapes of all instructions; `asm.listing` writes their operands otherwise.
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
HELPER_NAMES = {helper.id: name for name, helper in HELPERS.items()}
NOTE_COLUMN = 44


class Notation:
    """How instructions are written. A method returns None for an instruction that does not exist."""

    def body(self, i: Instruction) -> Optional[str]:
        """One instruction, such as `r7 = *(u64 *)(r0 +0)`."""
        kind = i.op & 7
        if kind in (isa.ALU, isa.ALU64):
            return self._alu(i)
        if kind in (isa.JMP, isa.JMP32):
            return self._jump(i)
        return self._memory(i)

    # Operands.

    def place(self, i: Instruction, base: int, sign: str = "u") -> str:
        """What a load reads or a store writes, in memory at the register `base`."""
        size = isa.SIZE_BYTES[i.op & 0x18] * 8
        return f"*({sign}{size} *)(r{base} {i.off:+d})"

    def address(self, i: Instruction) -> str:
        """The address of the memory that an atomic operation works on."""
        return self.place(i, i.dst)[1:]

    def immediate(self, i: Instruction) -> str:
        """The second operand of arithmetic and what a store stores."""
        return str(i.imm)

    def compared(self, i: Instruction) -> str:
        """The second operand of a comparison."""
        return f"{i.imm & 0xFFFFFFFF:#x}"

    def target(self, i: Instruction) -> str:
        """Where a jump goes."""
        return f"pc{i.distance:+d}"

    def callee(self, i: Instruction) -> str:
        """What is called."""
        if i.is_function_call:
            return f"pc{i.imm:+d}"
        if i.is_kernel_call:
            return f"{i.call or 'kernel-function'}#{i.imm}"
        name = HELPER_NAMES.get(i.imm)
        return f"bpf_{name}#{i.imm}" if name and not i.src else f"#{i.imm}"

    def constant(self, i: Instruction) -> str:
        """What an instruction of two slots loads."""
        name = i.map.name if i.map else f"fd:{i.imm & 0xFFFFFFFF}"
        if i.src == isa.PSEUDO_MAP_FD:
            return f"map[{name}]"
        if i.src == isa.PSEUDO_MAP_VALUE:
            return f"map[{name}][0]+{i.imm >> 32}"
        if i.src == isa.PSEUDO_FUNC:
            return f"subprog[{i.distance:+d}]"
        return f"{i.imm:#x}"

    # Shapes.

    def _alu(self, i: Instruction) -> Optional[str]:
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
        sign = "s" if i.off and operation in (isa.DIV, isa.MOD) else ""
        source = f"{r}{i.src}" if by_register else self.immediate(i)
        if i.off and operation == isa.MOV and by_register:
            source = f"(s{i.off}){source}"
        return f"{dst} {sign}{_ALU[operation]} {source}"

    def _jump(self, i: Instruction) -> Optional[str]:
        operation = i.op & 0xF0
        if operation in _JUMP:
            r = "r" if i.op & 7 == isa.JMP else "w"
            source = f"{r}{i.src}" if i.op & isa.X else self.compared(i)
            return f"if {r}{i.dst} {_JUMP[operation]} {source} goto {self.target(i)}"
        if operation == isa.JA:
            return f"{'goto' if i.op & 7 == isa.JMP else 'gotol'} {self.target(i)}"
        if i.op == isa.JMP | isa.EXIT:
            return "exit"
        return f"call {self.callee(i)}" if i.op == isa.JMP | isa.CALL else None

    def _memory(self, i: Instruction) -> Optional[str]:
        kind, mode = i.op & 7, i.op & 0xE0
        size = isa.SIZE_BYTES[i.op & 0x18] * 8
        if kind == isa.LDX and mode in (isa.MEM, isa.MEMSX):
            return f"r{i.dst} = {self.place(i, i.src, 's' if mode == isa.MEMSX else 'u')}"
        if kind == isa.ST and mode == isa.MEM:
            return f"{self.place(i, i.dst)} = {self.immediate(i)}"
        if kind == isa.STX and mode == isa.MEM:
            return f"{self.place(i, i.dst)} = r{i.src}"
        if kind == isa.STX and mode == isa.ATOMIC and size >= 32:
            return self._atomic(i)
        if kind == isa.LD and mode == isa.ABS:
            return f"r0 = *(u{size} *)skb[{i.imm}]"
        if kind == isa.LD and mode == isa.IND:
            return f"r0 = *(u{size} *)skb[r{i.src} + {i.imm}]"
        return f"r{i.dst} = {self.constant(i)}" if i.wide else None

    def _atomic(self, i: Instruction) -> Optional[str]:
        name = "atomic64" if i.op & 0x18 == isa.DW else "atomic"
        if i.imm in _ATOMIC:
            return f"lock {self.place(i, i.dst)} {_ATOMIC[i.imm][0]} r{i.src}"
        if i.imm == isa.XCHG:
            return f"r{i.src} = {name}_xchg({self.address(i)}, r{i.src})"
        if i.imm == isa.CMPXCHG:
            return f"r0 = {name}_cmpxchg({self.address(i)}, r0, r{i.src})"
        if i.imm & ~isa.FETCH in _ATOMIC:
            return f"r{i.src} = {name}_fetch_{_ATOMIC[i.imm & ~isa.FETCH][1]}({self.address(i)}, r{i.src})"
        return None


_NOTATION = Notation()


def dis(instructions: Iterable[Instruction], notes: bool = True, where: bool = False) -> str:
    """The instructions in the verifier's notation: a line for each, and one for each label that something refers to.

    A line is the slot number, the opcode byte and the instruction, `7: (79) r7 = *(u64 *)(r0 +0)`; with `notes` the
    note follows, with `where` the line that emitted it. Instructions that do not exist show their fields.
    """
    program = list(instructions)
    labels = label_names(program)
    lines: List[str] = []
    for slot, i in slots(program):
        lines += [f"{name}:" for name in labels.get(slot, ())]
        body = _NOTATION.body(i) or unknown(i)
        lines.append(remarked(f"{slot:4d}: ({i.op:02x}) {body}", i, notes, where))
    return "".join(f"{line}\n" for line in lines)


def unknown(i: Instruction) -> str:
    """An instruction that does not exist: its fields."""
    return f"unknown opcode, dst {i.dst} src {i.src} off {i.off} imm {i.imm}"


def remarked(line: str, i: Instruction, notes: bool, where: bool) -> str:
    """A line of a listing with the instruction's note and the line that emitted it, as far as they are wanted."""
    remarks = [i.note] if notes and i.note else []
    if where and i.where:
        remarks.append(place(i.where))
    return f"{line:{NOTE_COLUMN}s}; {'   '.join(remarks)}" if remarks else line


def label_names(program: List[Instruction]) -> Dict[int, List[str]]:
    """By slot, what jumps call their targets, and calls and loads their functions."""
    labels: Dict[int, List[str]] = {}
    for slot, instruction in slots(program):
        name = instruction.call if instruction.takes_function else instruction.goto
        if name:
            names = labels.setdefault(slot + 1 + instruction.distance, [])
            if name not in names:
                names.append(name)
    return labels
