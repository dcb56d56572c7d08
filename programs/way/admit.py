"""Which calls are traced: the first part of every entry, with the cheapest tests first.

The system call's number comes first, as most calls move no data. Whether a process is a target is looked up once for
each thread and generation of the targets: afterwards a target's thread is known by its Call record, any other by its
stack or its entry in the map `strangers`.
"""

from __future__ import annotations

from asm import U32, U64, Register, Slot, r0, r1, r2
from programs.facts.maps import STRANGERS
from programs.facts.members import COMPAT
from programs.facts.records import STRANGER_TGID, STRANGER_TID, TARGET_NONE, Call, LightCall, Lost, Target
from programs.facts.signatures import SWITCH
from programs.way.body import Body
from programs.way.cgroups import unless_in_cgroups
from programs.way.numbers import only_at_home
from programs.way.registers import CALL, GENERATION, NUMBER, POINTER, ROW, SIGNATURE, TID
from programs.way.stacks import by_stack, mark_stack, not_strangers_stacks
from programs.way.threads import claim_call, find_call, slot


def admit(b: Body, copy: int = 0) -> None:
    """From the system call's NUMBER to its SIGNATURE and the CALL. Jumps to the labels of `reject` for all others.

    A spare (`copy`) has nothing to do with a call that is noted, and must not look at its thread anew. That would
    forget, if targets have changed since, what the program before it has noted: the call would have no namespace.
    """
    a = b.a
    _only_switched_on(b)
    if by_stack(b):
        not_strangers_stacks(b)
    who_calls(b)
    if b.kernel.tid_slots:
        slot(b, "no_room")
        a.jne(r1, TID, "look_up")
        a.ldx(r1, a.slot("generation", U64))
        a.ldx(r2, CALL[Call.checked])
        a.jeq(r1, r2, "admitted")
        a.label("look_up")
    if copy:
        unknown = a.unique("not_noted")
        find_call(b, unknown)
        _unless_noted(b)
        a.label(unknown)
    admit_thread(b)
    a.label("admitted")
    a.mov(SIGNATURE, ROW)
    if not b.typed("task_struct"):
        a.call("get_current_task")
        a.stx(a.slot("task", U64), r0)
    if b.options.attach == "raw":
        reject_compat(b, "compat")
    if copy:
        _unless_noted(b)


def _unless_noted(b: Body) -> None:
    """Jumps to "out" if the entry of CALL is noted: in a spare, that the kernel did not skip the program before it."""
    b.a.ldx(r1, CALL[Call.call])
    b.a.jne(r1, 0, "out")


def admit_thread(b: Body, *, entering: bool = True) -> None:
    """CALL = the record of the thread TID, if it is a target's. Jumps to "stranger", "out" or "no_room" if not.

    `entering`: it is outside of a call, which it is about to make. The slots "generation" and "pid_tgid" are set, and
    "mark" and "row" where strangers are known by their stacks.
    """
    a = b.a
    if not by_stack(b):
        _not_strangers(b)
    a.ldx(r1, a.slot("pid_tgid", U64))
    a.rsh(r1, 32, "tgid")
    only_targets(b, r1, "stranger")
    claim_call(b, "no_room")
    a.ldx(r1, a.slot("generation", U64))
    a.stx(CALL[Call.checked], r1)
    if entering:
        a.stx(CALL[Call.known], r1)
    a.st(CALL[Call.mnt_ns], 0, "it may have changed while the process was not a target")
    a.ldx(r1, a.slot("pid_tgid", U64))
    a.rsh(r1, 32)
    a.stx(CALL[Call.process], r1)
    if b.options.attach == "raw":
        mark_stack(b)


def _only_switched_on(b: Body) -> None:
    """ROW = what the map `syscalls` has for NUMBER; turns calls away that are not traced now.

    Sets GENERATION and the slot of that name too, before the targets are read, so that no change goes unnoticed.
    """
    a, number = b.a, b.a.slot("number", U32)
    a.stx(number, NUMBER)
    a.lookup(b.maps.syscalls, number)
    a.jeq(r0, 0, "out")
    a.ldx(ROW, r0.u64(0))
    a.mov(r1, ROW)
    a.rsh(r1, SWITCH)
    a.jeq(r1, 0, "out", "a call of no interest, or not now")
    read_generation(b, number)


def read_generation(b: Body, zero: Slot) -> None:
    """GENERATION and the slot of that name = the generation of the targets, plus one. `zero` becomes 0."""
    a = b.a
    a.st(zero, 0)
    a.lookup(b.maps.generation, zero)
    a.jeq(r0, 0, "out")
    a.ldx(GENERATION, r0.u64(0))
    a.add(GENERATION, 1, "read before the targets, so that no change goes unnoticed")
    a.stx(a.slot("generation", U64), GENERATION)


def only_targets(b: Body, tgid: Register, reject: str) -> None:
    """Jumps to `reject` unless this process is traced. Clobbers r0 to r5."""
    a, key = b.a, b.a.slot("tgid", U32)
    a.stx(key, tgid)
    a.lookup(b.maps.targets, key)
    if b.options.everything:
        a.jne(r0, 0, reject, "one that is left out")
        only_at_home(b, key, reject)
    elif b.options.cgroups:
        unknown, chosen = a.unique("not_chosen"), a.unique("chosen")
        a.jeq(r0, 0, unknown)
        a.ldx(r1, r0[Target.flags])
        a.jeq(r1, TARGET_NONE, reject, "one that is left out")
        a.ja(chosen)
        a.label(unknown)
        unless_in_cgroups(b, reject)
        a.label(chosen)
    else:
        a.jeq(r0, 0, reject, "not traced")


def who_calls(b: Body) -> None:
    """TID, and the slot "pid_tgid" = that with the process's above it; the slot "task" too where it is read there."""
    a, word = b.a, b.a.slot("pid_tgid", U64)
    if not b.typed("task_struct"):
        a.call("get_current_pid_tgid")
        a.stx(word, r0)
        a.mov32(TID, r0, "tid")
        return
    a.call("get_current_task")
    a.stx(a.slot("task", U64), r0)
    b.cast(r0, "task_struct")
    a.ldx(TID, r0.u32(b.kernel.offsets["task.pid"]), "tid")
    a.ldx(r1, r0.u32(b.kernel.offsets["task.tgid"]))
    a.lsh(r1, 32)
    a.or_(r1, TID)
    a.stx(word, r1)


def _not_strangers(b: Body) -> None:
    """Turns thread TID away if it was found not to be a target's in this generation, which the slot of that name holds.

    The slot "mark" = what says so, the slot "row" = where.
    """
    a, mark, row = b.a, b.a.slot("mark", U64), b.a.slot("row", U32)
    a.ldx(r1, a.slot("generation", U64))
    a.lsh(r1, 64 - STRANGER_TGID)
    a.rsh(r1, 64 - STRANGER_TGID)
    a.ldx(r2, a.slot("pid_tgid", U64))
    a.rsh(r2, 32)
    a.lsh(r2, STRANGER_TGID)
    a.or_(r1, r2)
    a.mov(r2, TID)
    a.rsh(r2, STRANGERS.bit_length() - 1)
    a.lsh(r2, STRANGER_TID)
    a.or_(r1, r2)
    a.stx(mark, r1)
    a.mov(r1, TID)
    a.and_(r1, STRANGERS - 1)
    a.stx(row, r1)
    a.lookup(b.maps.strangers, row)
    a.jeq(r0, 0, "out")
    a.ldx(r1, r0.u64(0))
    a.ldx(r2, mark)
    a.jeq(r1, r2, "out")


def reject_compat(b: Body, compat: str) -> None:
    """Jumps to `compat` for calls of 32-bit tasks, as their numbers mean other calls. The slot "task" is set.

    For perf tracepoints the kernel does this itself (ARCH_TRACE_IGNORE_COMPAT_SYSCALLS), and kernel functions are not
    told apart by numbers.
    """
    a = b.a
    _, bit = COMPAT[b.kernel.machine]
    a.ldx(POINTER, a.slot("task", U64))
    b.load(r1, POINTER, b.kernel.offsets["compat"], "thread_info", size=4, of="task_struct")
    a.and_(r1, bit)
    a.jne(r1, 0, compat)


def reject(b: Body) -> None:
    """The end of a program that began with `admit`: remembers who was turned away, and counts what was lost."""
    a = b.a
    a.label("stranger")
    if b.options.light and b.options.attach == "raw":
        unknown = a.unique("not_known")
        find_call(b, unknown)
        a.st(CALL[LightCall.registers], 0, "should it be a target's again, nothing is known of its call")
        a.label(unknown)
    a.lookup(b.maps.idle_stacks if by_stack(b) else b.maps.strangers, a.slot("row", U32))
    a.jeq(r0, 0, "out")
    a.ldx(r1, a.slot("mark", U64))
    a.stx(r0.u64(0), r1)
    a.label("out")
    a.ret(0)
    if b.options.attach == "raw":
        a.label("compat")
        b.lost(Lost.compat)
        a.ret(0)
    a.label("no_room")
    b.lost(Lost.calls)
    a.ret(0)
