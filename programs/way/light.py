"""The exits of system calls where data calls have no program at their entry (`Options.light`).

The exit finds out itself what an entry would have noted: the registers still hold the arguments, and the descriptor
table its files. The place of the registers tells whose call it is: it is the thread's own as long as that lives, so
that its `LightCall` has it, and one map leads there from its stack. A thread that is not known yet is looked at by
`exit_admit`, once a generation of the targets.

A call counts if it returns while it is traced. One that a filter has made a SIGSYS of counts too, if it has no entry:
at an exit it cannot be told from one that has returned as many bytes as its number, 1 of a write. Kinds of `ENTERED`
alone have an entry, which leaves their record as in the other forms.
"""

from __future__ import annotations

from typing import Iterable

from asm import U32, U64, Assembler, Mem, ProgramSpec, ProgramType, Slot, r0, r1, r2, r3
from programs.facts.catalogue import ENTERED, TIMED, Kind
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import Call, LightCall, Lost, Signature, Window
from programs.facts.signatures import KIND_MASK, SWITCH
from programs.way.admit import admit_thread, read_generation, reject, reject_compat, who_calls
from programs.way.body import Body, begin, spare_name
from programs.way.descriptors import read_namespace, resolve
from programs.way.exit import ENOSYS, AtOnce, hand_on, load_result, read_number
from programs.way.registers import CALL, CTX, FILE, NUMBER, POINTER, RESULT, SIGNATURE
from programs.way.stacks import by_stack, find_mark, not_strangers_stacks
from programs.way.threads import find_call, find_slot


def exit_light(kernel: Kernel, options: Options, maps: Maps, at_once: AtOnce, copy: int = 0) -> ProgramSpec:
    """The exit of every system call: a plain read or write is accounted for at once, others are handed on.

    Long because it is one way, on which nothing may be looked up twice.
    """
    b = begin(spare_name("exit", copy), kernel, options, maps)
    a = b.a
    number = _read_number(b)
    a.lookup(maps.syscalls, number)
    a.jeq(r0, 0, "unlisted")
    a.ldx(SIGNATURE, r0.u64(0))
    a.jeq(SIGNATURE, 0, "out", "a call of no interest")
    _find_thread(b, "unknown")
    _once(b, copy)
    _only_lately(b, "unknown")
    a.ldx(r1, CALL[LightCall.task])
    a.stx(a.slot("task", U64), r1)
    reject_compat(b, "compat")
    b.signature(r1, Signature.kind)
    a.jeq(r1, Kind.SCALAR, "scalar")
    for kind in sorted(ENTERED):
        a.jeq(r1, kind, "entered")
    _only_now(b, copy)
    a.tail_call(CTX, maps.jumps, Jump.UNENTERED)
    a.ja("out")
    a.label("scalar")
    _only_now(b, copy)
    begin_without_entry(b)
    read_arguments(b, (0, 2, 3))
    resolve(b, 0, task=a.slot("task", U64))
    a.stx(CALL[Call.file], FILE)
    load_result(b)
    at_once.scalar(b)
    a.label("entered")
    _note_handled(b, copy)
    a.ldx(SIGNATURE, CALL[Call.call])
    a.jeq(SIGNATURE, 0, "out" if copy else "without_entry", "its entry was not seen, or is not traced")
    b.signature(r1, Signature.kind)
    hand_on(b, at_once)
    _unknown(b, copy)
    a.label("unlisted")
    if not copy:
        _alone(b, number)
    a.label("out")
    a.ret(0)
    a.label("compat")
    b.lost(Lost.compat)
    a.ret(0)
    return b.program()


def _read_number(b: Body) -> Slot:
    """The slot "number" = that of the call that is over."""
    if not b.typed("pt_regs"):
        return read_number(b)
    a, number = b.a, b.a.slot("number", U32)
    a.ldx(r3, CTX[0], "pt_regs")
    b.cast(r3, "pt_regs")
    a.ldx(r1, r0.u32(b.kernel.registers.called))
    a.stx(number, r1)
    return number


def _find_thread(b: Body, unknown: str) -> None:
    """CALL = the record of this thread, which was found to be a target's; or a jump to `unknown`.

    No helper is called for that, but where its record is in the hash.
    """
    a, tid, place = b.a, b.a.slot("tid", U32), b.a.slot("place", U32)
    have = a.unique("have_call")
    a.ldx(POINTER, CTX[0], "where its registers are")
    a.mov(r1, POINTER)
    find_mark(b, unknown)
    a.ldx(r1, r0.u64(0))
    a.jeq(r1, 0, unknown, "no target's stack, as mostly")
    a.stx(tid, r1)
    if b.kernel.tid_slots:
        find_slot(b, place, unknown)
        a.ldx(r1, CALL[LightCall.registers])
        a.jeq(r1, POINTER, have)
    if not b.kernel.tid_direct:
        a.lookup(b.maps.calls, tid)
        a.jeq(r0, 0, unknown)
        a.mov(CALL, r0)
        a.ldx(r1, CALL[LightCall.registers])
        a.jeq(r1, POINTER, have)
    a.ja(unknown)
    a.label(have)


def _only_lately(b: Body, unknown: str) -> None:
    """Jumps to `unknown` unless the thread of CALL was looked at in this generation of the targets."""
    a, place = b.a, b.a.slot("place", U32)
    a.st(place, 0)
    a.lookup(b.maps.generation, place)
    a.jeq(r0, 0, unknown)
    a.ldx(r1, r0.u64(0))
    a.add(r1, 1)
    a.ldx(r2, CALL[Call.checked])
    a.jne(r1, r2, unknown)


def _once(b: Body, copy: int) -> None:
    """Makes a spare do nothing unless the kernel has skipped the programs before it. The last one forgets that.

    That comes before the thread is looked at more closely, for which `exit_admit` begins again with the first copy.
    """
    if copy:
        _unless_handled(b, copy)
    elif b.kernel.spares:
        b.a.st(CALL[LightCall.handled], 0)


def _unless_handled(b: Body, copy: int) -> None:
    """Jumps to "out" if a program before this spare has dealt with the call."""
    a = b.a
    a.ldx(r2, CALL[LightCall.handled])
    if copy == b.kernel.spares:
        a.st(CALL[LightCall.handled], 0)
    a.jne(r2, 0, "out")


def _only_now(b: Body, copy: int) -> None:
    """Jumps to "out" for data calls that are not traced now; those that are will be dealt with. Clobbers r2."""
    a = b.a
    a.mov(r2, SIGNATURE)
    a.rsh(r2, SWITCH)
    a.jeq(r2, 0, "out", "not now")
    _note_handled(b, copy)


def _note_handled(b: Body, copy: int) -> None:
    """Has the spares behind this program do nothing. One that finds new targets would begin again with the first."""
    if copy < b.kernel.spares:
        b.a.st(CALL[LightCall.handled], 1)


def _unknown(b: Body, copy: int) -> None:
    """On to the program that looks whose thread this is, unless its stack says that it is no target's.

    A thread whose stack has lost its mark to another one is known to a spare all the same.
    """
    a = b.a
    a.label("unknown")
    if by_stack(b):
        read_generation(b, a.slot("place", U32))
        not_strangers_stacks(b)
    if copy:
        unseen = a.unique("not_seen")
        find_call(b, unseen)
        _unless_handled(b, copy)
        a.label(unseen)
    a.tail_call(CTX, b.maps.jumps, Jump.ADMIT)
    b.lost(Lost.calls)
    a.ret(0)


def _alone(b: Body, number: Slot) -> None:
    """Calls without the entry that they should have, and such as a tracer has taken away: `programs.calls.answered`."""
    a = b.a
    a.ldx(r1, number)
    a.lsh(r1, 32)
    a.arsh(r1, 32)
    a.jne(r1, -1, "out")
    load_result(b)
    a.jne(RESULT, -ENOSYS, "out")
    a.label("without_entry")
    a.tail_call(CTX, b.maps.jumps, Jump.ANSWERED)


def begin_without_entry(b: Body) -> None:
    """What the entry of a data call notes besides its arguments and files: when it was, where that is known, and so on.

    The slot "task" is set.
    """
    a, untimed, clean, placed = b.a, b.a.unique("untimed"), b.a.unique("nothing_brought"), b.a.unique("placed")
    a.ldx(r1, CALL[LightCall.timed])
    a.stx(CALL[Call.entered], r1)
    a.jeq(r1, 0, untimed, "as mostly")
    a.st(CALL[LightCall.timed], 0)
    a.label(untimed)
    a.ldx(r1, CALL[LightCall.brought])
    a.stx(CALL[Call.pages], r1)
    a.jeq(r1, 0, clean, "as mostly")
    a.st(CALL[LightCall.brought], 0)
    a.label(clean)
    a.ldx(r1, CALL[Call.mnt_ns])
    a.jne(r1, 0, placed)
    a.ldx(POINTER, a.slot("task", U64))
    read_namespace(b)
    a.label(placed)


def read_arguments(b: Body, which: Iterable[int], registers: Mem = CTX[0]) -> None:
    """Call.args = these arguments, at least, as the `struct pt_regs` still has them whose address is in `registers`."""
    a, regs = b.a, b.kernel.registers
    if b.typed("pt_regs"):
        a.ldx(r3, registers, "pt_regs")
        b.cast(r3, "pt_regs")
        for argument in which:
            at = regs.block + 8 * regs.words[argument] if argument else regs.first
            a.ldx(r1, r0.u64(at))
            a.stx(b.argument(argument), r1)
        return
    a.ldx(r3, registers, "pt_regs")
    b.probe(CALL[Call.args], regs.count * 8, r3, regs.block)
    a.ldx(r3, registers)
    b.probe(b.argument(0), 8, r3, regs.first, "at an exit it may have the result in its place")


def exit_admit(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of a thread that is not known in this generation: is it a target's? Then its exit begins again."""
    b = begin("exit_admit", kernel, options, maps)
    a, number = b.a, b.a.slot("number", U32)
    read_generation(b, number)
    if by_stack(b):
        not_strangers_stacks(b)
    who_calls(b)
    if not b.typed("task_struct"):
        a.call("get_current_task")
        a.stx(a.slot("task", U64), r0)
    admit_thread(b, entering=False)
    a.ldx(r1, CTX[0])
    a.ldx(r2, CALL[LightCall.registers])
    a.jeq(r1, r2, "same", "and what is known of the call that returns")
    a.stx(CALL[LightCall.registers], r1)
    a.ldx(r1, a.slot("task", U64))
    a.stx(CALL[LightCall.task], r1)
    for place in (LightCall.timed, LightCall.brought):
        a.st(CALL[place], 0)
    a.label("same")
    a.ldx(POINTER, a.slot("task", U64))
    read_namespace(b)  # which an entry has asked for in vain
    reject_compat(b, "compat")
    _seen_outside(b)
    a.tail_call(CTX, maps.jumps, Jump.EXIT)
    a.ret(0)
    reject(b)
    return b.program()


def _seen_outside(b: Body) -> None:
    """Call.known = the generation, unless the call that returns should have an entry: that it has none may mean that it
    was under way when its process became a target."""
    a, number = b.a, _read_number(b)
    a.lookup(b.maps.syscalls, number)
    a.jeq(r0, 0, "entered")
    a.ldx(r1, r0.u64(0))
    a.and_(r1, KIND_MASK)
    for kind in sorted(ENTERED):
        a.jeq(r1, kind, "entered")
    a.ldx(r1, CALL[Call.checked])
    a.stx(CALL[Call.known], r1)
    a.label("entered")


def enter_timed(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """raw_tracepoint/sys_enter while a window is open: when a data call of a thread that is known was entered."""
    b = begin("enter_timed", kernel, options, maps)
    a, number = b.a, b.a.slot("number", U32)
    a.ldx(NUMBER, CTX[8])
    a.stx(number, NUMBER)
    a.lookup(maps.syscalls, number)
    a.jeq(r0, 0, "out")
    a.ldx(r1, r0.u64(0))
    a.and_(r1, KIND_MASK)
    for kind in sorted(TIMED):
        a.jeq(r1, kind, "data")
    a.ja("out")
    a.label("data")
    _find_thread(b, "out")  # its exit tells whether it is a target's
    a.call("ktime_get_ns")
    a.mov(POINTER, r0)
    a.st(number, 0)
    a.lookup(maps.window, number)
    a.jeq(r0, 0, "out")
    a.ldx(r1, r0[Window.opens])
    a.jlt(POINTER, r1, "out")
    a.ldx(r1, r0[Window.closes])
    a.jge(POINTER, r1, "out")
    a.stx(CALL[LightCall.timed], POINTER)
    a.label("out")
    a.ret(0)
    return b.program()


def read_jiffies(maps: Maps) -> ProgramSpec:
    """Window.jiffies = those of the kernel now; user space runs it, by BPF_PROG_TEST_RUN. 5.6."""
    a = Assembler("read_jiffies", kind=ProgramType.SOCKET_FILTER)
    zero = a.slot("zero", U32)
    a.call("jiffies64")
    a.mov(POINTER, r0)
    a.st(zero, 0)
    a.lookup(maps.window, zero)
    a.jeq(r0, 0, "out")
    a.stx(r0[Window.jiffies], POINTER)
    a.label("out")
    a.ret(0)
    return a.program()
