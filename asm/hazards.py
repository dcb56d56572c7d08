"""What the assembler refuses because some kernel gets it wrong, or refuses it: each with its source.

The verifier learned to follow values in 4.14 (f1174f77b50c ("bpf/verifier: rework value tracking")), and did not get
all of it right at once. What it got wrong is refused here, so that nobody has to find it on the one machine that still
runs such a kernel. A function raises AssembleError only for what is wrong for certain: where it is not known what a
register holds, the verifier has the last word.
"""

from __future__ import annotations

from typing import Optional

from asm import isa
from asm.errors import AssembleError
from asm.liveness import (
    CONTEXT,
    IN_CONTEXT,
    IN_VALUE,
    MAP,
    NEGATIVE_32,
    NUMBER,
    OUTER_MAP,
    STACK,
    UNKNOWN,
    VALUE,
    Found,
    Held,
)

_MOVES = (isa.ADD, isa.SUB)
_MOVED = {CONTEXT: IN_CONTEXT, VALUE: IN_VALUE}
_NEGATIVE_32 = "verifiers before 4.15 take it for the same number of 64 bits, so load it with mov or ld_imm64"


def arithmetic(operation: int, dst: Held, src: Optional[Held]) -> Held:
    """What dst holds after arithmetic on 64 bits that is not a move, with a register that holds `src`, or an immediate.

    0962590e5533 ("bpf: fix partial copy of map_ptr when dst is scalar", 4.20): in number += pointer the verifier gives
    the sum the type of the pointer but not its map. It follows whatever lies there instead when the sum is used, and
    oopses while it holds its lock, so that every later load on that machine hangs.

    82abbf8d2fc4 ("bpf: do not allow root to mangle valid pointers", 4.15): before, all other arithmetic on a pointer
    made it a number; since then it is refused. With a number on the left it left a pointer without a map as above.
    """
    if src is None:
        if dst is NEGATIVE_32:
            return dst
        src = NUMBER
    if src.pointer:
        if dst.pointer:
            if operation == isa.SUB:
                return NUMBER
            raise AssembleError(f"both hold an address, {dst} and {src}: they can only be subtracted")
        if dst is not UNKNOWN:
            _refuse_number_first(operation, src)
        return UNKNOWN
    if not dst.pointer:
        # Whatever is not refused, and neither a sum nor a difference, is a number.
        return UNKNOWN if operation in _MOVES and (dst is UNKNOWN or src is UNKNOWN) else NUMBER
    _check_moved(operation, dst)
    if src is NEGATIVE_32:
        # 95a762e2c8c9 ("bpf: fix incorrect sign extension in check_alu_op()", 4.15): see `comparison`.
        raise AssembleError(f"this adds {src} to {dst}: {_NEGATIVE_32}")
    return UNKNOWN if src is UNKNOWN else _MOVED.get(dst, dst)


def _refuse_number_first(operation: int, src: Held) -> None:
    if operation == isa.ADD:
        raise AssembleError(
            f"this adds {src} to a number, on which verifiers before 4.20 crash: add the number to the address"
        )
    raise AssembleError(f"the second operand is {src}, the first a number: only two addresses can be subtracted")


def _check_moved(operation: int, dst: Held) -> None:
    """Which pointers can be moved: adjust_ptr_min_max_vals() of kernel/bpf/verifier.c since f1174f77b50c (4.14)."""
    if isinstance(dst, Found):
        raise AssembleError(f"this is arithmetic on {dst}")
    if dst in (MAP, OUTER_MAP):
        raise AssembleError(f"this is arithmetic on {dst}")
    if operation not in _MOVES:
        raise AssembleError(f"this is arithmetic on {dst} other than adding to it and subtracting from it")
    if operation == isa.SUB and dst is STACK:
        raise AssembleError(f"this subtracts from {dst}, which the verifier refuses: add the negative")


def comparison(held: Held) -> None:
    """A comparison of 64 bits with an immediate.

    95a762e2c8c9 ("bpf: fix incorrect sign extension in check_alu_op()", 4.15): before, the verifier takes w1 = -1 for
    r1 = -1, follows the wrong way only, and lets the program run instructions that it has never looked at.
    """
    if held is NEGATIVE_32:
        raise AssembleError(f"this compares {held}: {_NEGATIVE_32}")


def store(base: Held) -> None:
    """A store of an immediate, or an atomic operation, at an address in `base`.

    f37a8cb84cce ("bpf: reject stores into ctx via st and xadd", 4.15): before, these were let through, and went to that
    offset of the kernel's own structure, since only stores of registers were translated.
    """
    if base is CONTEXT:
        raise AssembleError("only a register can be stored in the context, not an immediate or what an atomic makes")


def atomic(base: Held, offset: int, size: int) -> None:
    """An atomic operation on `size` bytes at `base + offset`.

    ca36960211eb ("bpf: allow xadd only on aligned memory", 4.16): before, a misaligned one was let through, and crashes
    aarch64. Values of maps are aligned to 8 bytes. (On the stack nothing misaligned can be accessed at all.)
    """
    store(base)
    if base is VALUE and offset % size:
        raise AssembleError(f"an atomic operation at byte {offset} of a value is not aligned to its {size} bytes")


def context(held: Held) -> None:
    """The first argument of a helper.

    58990d1ff3f7 ("bpf: reject passing modified ctx to helper functions", 4.18): before, the address of a part of the
    context was let through, and the helper, or the program that a tail call leads to, took that for the context.
    """
    if held is IN_CONTEXT:
        raise AssembleError("r1 is an address in the context, where a helper wants the context itself")
