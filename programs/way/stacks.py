"""Threads known by their stacks: in the raw form, the address of the context tells threads apart without a helper.

A stack holds its thread's registers at one place from the thread's first system call to its last. So the address of
`struct pt_regs`, which is the context's first word, stands for the thread: one map says on which stacks a target's
exits may be, another on which ones only calls of others have been seen.
"""

from __future__ import annotations

from typing import Optional

from asm import U32, U64, Register, r0, r1, r2
from programs.facts.maps import IDLE_STACKS, STACKS
from programs.way.body import Body
from programs.way.registers import CTX, GENERATION, TID

STACK_SHIFT = 14  # every thread's stack has at least 16 KiB (THREAD_SIZE), and is aligned to its size


def by_stack(b: Body) -> bool:
    """Whether threads that are not a target's are known by their stacks.

    That needs the raw form: to fentry the registers are a typed pointer, on which the verifier allows no arithmetic.
    And it needs new threads of targets to begin a new generation, as they may get the stack of a thread that was not a
    target's. They do not if everything is traced except what the map of targets lists.
    """
    return b.options.attach == "raw" and not b.options.everything


def not_strangers_stacks(b: Body) -> None:
    """Turns a thread away, without a helper, if its stack was found not to be a target's in this GENERATION.

    The slot "mark" = what says so, the slot "row" where. An address has 48 bits, of which the lowest are the same for
    all stacks. Changes GENERATION.
    """
    a, mark, row = b.a, b.a.slot("mark", U64), b.a.slot("row", U32)
    a.ldx(r1, CTX[0], "struct pt_regs *")
    a.mov(r2, r1)
    a.rsh(r2, STACK_SHIFT)
    a.and_(r2, IDLE_STACKS - 1)
    a.stx(row, r2)
    a.lsh(r1, 16)
    a.rsh(r1, 16 + STACK_SHIFT)
    a.lsh(r1, 16 + STACK_SHIFT)
    a.lsh(GENERATION, 64 - 16 - STACK_SHIFT)
    a.rsh(GENERATION, 64 - 16 - STACK_SHIFT)
    a.or_(GENERATION, r1)
    a.lookup(b.maps.idle_stacks, row)
    a.jeq(r0, 0, "out")
    a.ldx(r1, r0.u64(0))
    a.jeq(r1, GENERATION, "out")
    a.stx(mark, GENERATION)


def mark_stack(b: Body, address: Optional[Register] = None) -> None:
    """Says that the exits on this stack, or that of an `address` in r1, may be a target's.

    Where data calls have no entry it says that they are the thread TID's.
    """
    a, unmarked = b.a, b.a.unique("unmarked")
    if address is None:
        a.ldx(r1, CTX[0], "struct pt_regs *")
    find_mark(b, unmarked)
    if b.options.light:
        a.stx(r0.u64(0), TID)
    else:
        a.st(r0.u64(0), 1)
    a.label(unmarked)


def only_marked_stacks(b: Body) -> None:
    """Turns the exits of all other threads away, by the cheapest test that there is. For the raw form.

    A mark outlives its thread. The next thread on that stack passes here, and is turned away by a closer look.
    """
    a = b.a
    a.ldx(r1, CTX[0], "struct pt_regs *")
    find_mark(b, "out")
    a.ldx(r1, r0.u64(0))
    a.jeq(r1, 0, "out")


def find_mark(b: Body, missing: str) -> None:
    """r0 = the mark of the stack that the address in r1 is on."""
    a, row = b.a, b.a.slot("stack", U32)
    a.rsh(r1, STACK_SHIFT)
    a.and_(r1, STACKS - 1)
    a.stx(row, r1)
    a.lookup(b.maps.stacks, row)
    a.jeq(r0, 0, missing)
