"""The instruction set: the numbers of RFC 9669 and of the kernel's uapi headers linux/bpf.h and linux/bpf_common.h.

An opcode byte is a class (three bits) and, for arithmetic and jumps, a source bit and an operation (four bits); for
loads and stores, a size (two bits) and a mode (three bits).
"""

from __future__ import annotations

from typing import Dict

# Instruction classes, op & 0x07.
LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)

# The second operand of arithmetic and jumps, op & 0x08: an immediate or a register.
K, X = 0x00, 0x08

# Arithmetic, op & 0xf0 of ALU and ALU64.
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, MOD, XOR, MOV, ARSH, END = range(0x00, 0xE0, 0x10)

# Jumps, op & 0xf0 of JMP and JMP32. JA, CALL and EXIT take no comparison.
JA, JEQ, JGT, JGE, JSET, JNE, JSGT, JSGE, CALL, EXIT, JLT, JLE, JSLT, JSLE = range(0x00, 0xE0, 0x10)

# Sizes of loads and stores, op & 0x18: 4, 2, 1 and 8 bytes.
W, H, B, DW = 0x00, 0x08, 0x10, 0x18
SIZE_BITS: Dict[int, int] = {4: W, 2: H, 1: B, 8: DW}
SIZE_BYTES: Dict[int, int] = {bits: size for size, bits in SIZE_BITS.items()}

# Modes of loads and stores, op & 0xe0. ABS and IND are the packet loads that classic BPF left behind.
IMM, ABS, IND, MEM, MEMSX, ATOMIC = 0x00, 0x20, 0x40, 0x60, 0x80, 0xC0

LD_IMM64 = LD | IMM | DW
"""The only instruction of two slots. It loads a 64-bit immediate, or refers to a map, a map's value or a function."""

# The src field of LD_IMM64 says what its immediate refers to.
PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, PSEUDO_FUNC = 1, 2, 4

PSEUDO_CALL, PSEUDO_KERNEL_CALL = 1, 2
"""The src field of a CALL of a function of the same program (the immediate is the distance) or of the kernel (its BTF
id); 0 is a helper."""

# The immediate of an ATOMIC says what it does: ADD, OR, AND and XOR of arithmetic, with or without FETCH, or these.
FETCH = 0x01
XCHG = 0xE0 | FETCH
CMPXCHG = 0xF0 | FETCH

REGISTERS = 11
FRAME_POINTER = 10
STACK_SIZE = 512
"""Bytes below the frame pointer that one function may use (MAX_BPF_STACK, linux/filter.h)."""
SLOT_BYTES = 8
