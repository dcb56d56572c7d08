"""The exit of a system call: finds the thread's Call record, and hands the call on to the program of its kind.

That is a tail call with the kind as the index. Two kinds are dealt with at once, by code of their own families, as a
tail call would cost too much: plain reads and writes, which most calls are, and an io_submit that leaves nothing to be
done.
"""

from __future__ import annotations

from typing import Callable, NamedTuple

from asm import U32, U64, ProgramSpec, Slot, r0, r1, r2, r3
from programs.facts.catalogue import Kind, SystemCall
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.members import SIGNAL_PENDING
from programs.facts.records import Call, Signature
from programs.facts.signatures import KIND_MASK, SWITCH
from programs.way.body import Body, begin, spare_name
from programs.way.registers import CALL, CTX, POINTER, RESULT, SIGNATURE
from programs.way.stacks import only_marked_stacks
from programs.way.threads import begin_part, find_call

ENOSYS = 38


class AtOnce(NamedTuple):
    """What the exit does itself. Both find CTX, CALL and SIGNATURE set."""

    scalar: Callable[[Body], None]
    """Accounts for a plain read or write, with RESULT set; may jump to "out", where the program ends."""
    submitted: Callable[[Body, str], None]
    """Jumps to the label that it is given if an io_submit needs no program of its own; may clobber r0 to r5."""


def exit_main(kernel: Kernel, options: Options, maps: Maps, at_once: AtOnce, copy: int = 0) -> ProgramSpec:
    """The exit of every system call: deals with it `at_once`, or hands it on by its kind.

    A call that is accounted for is no longer noted, so that a spare finds nothing to do. One that had no entry is left
    to the first copy: a spare cannot tell whether that has dealt with it.
    """
    b = begin(spare_name("exit", copy), kernel, options, maps)
    a, without_entry = b.a, options.attach != "fentry" and not copy
    if options.attach == "raw":
        only_marked_stacks(b)
        _only_ours(b, "unlisted" if without_entry else "out")
    find_call(b, "out")
    a.ldx(SIGNATURE, CALL[Call.call])
    a.jeq(SIGNATURE, 0, "alone" if without_entry else "out", "its entry was not seen, or is not traced")
    b.signature(r1, Signature.kind)
    a.jeq(r1, Kind.SCALAR, "scalar")
    hand_on(b, at_once)
    a.label("scalar")
    a.st(CALL[Call.call], 0)
    load_result(b)
    at_once.scalar(b)
    if without_entry:
        _without_entry(b)
    a.label("out")
    a.ret(0)
    return b.program()


def hand_on(b: Body, at_once: AtOnce) -> None:
    """On to the program of the kind in r1, unless it is an io_submit that needs none. Falls through to nowhere."""
    a = b.a
    a.jne(r1, Kind.AIO_SUBMIT, "other")
    at_once.submitted(b, "over")
    a.mov(r1, Kind.AIO_SUBMIT)
    a.label("other")
    a.tail_call(CTX, b.maps.jumps, r1)
    a.ja("out")
    a.label("over")
    a.st(CALL[Call.call], 0)
    a.ret(0)


def function_leave(kernel: Kernel, options: Options, maps: Maps, call: SystemCall) -> ProgramSpec:
    """fexit on the kernel's function of one call (struct pt_regs *regs, long ret): on to the program of all exits."""
    b = begin(f"leave_{call.name}", kernel, options, maps)
    a = b.a
    a.tail_call(CTX, maps.jumps, Jump.EXIT)
    a.ret(0)
    return b.program()


def _by_number(b: Body) -> bool:
    """Whether reading the number of a call at its exit costs next to nothing."""
    return b.raw and b.kernel.registers.number >= 0 and b.typed("pt_regs")


def _only_ours(b: Body, unlisted: str) -> None:
    """Turns the exits of other system calls away by their number, where reading it costs next to nothing.

    Jumps to `unlisted` if no traced call has so high a number.
    """
    a, number, at = b.a, b.a.slot("number", U32), b.kernel.registers.number
    if not _by_number(b):
        return
    a.ldx(r3, CTX[0], "pt_regs")
    b.cast(r3, "pt_regs")
    a.ldx(r1, r0.u64(at))
    a.stx(number, r1)
    a.lookup(b.maps.syscalls, number)
    a.jeq(r0, 0, unlisted)
    a.ldx(r1, r0.u64(0))
    a.jeq(r1, 0, "out")


def read_number(b: Body) -> Slot:
    """The slot "number" = that of the call that is over, or whose registers a tracer has left with another one."""
    a, number = b.a, b.a.slot("number", U32)
    if b.raw:
        a.ldx(r3, CTX[0], "pt_regs")
        b.probe(number, 4, r3, b.kernel.registers.called, "the number")
    else:
        a.ldx(r1, CTX.u32(b.kernel.fields["sys_exit.nr"]))
        a.stx(number, r1)
    return number


def _without_entry(b: Body) -> None:
    """What becomes of an exit that had no entry: of calls that may have been answered by a filter, Jump.ANSWERED.

    The kernel asks seccomp's filters before it shows an entry (syscall_trace_enter of kernel/entry/common.c). Calls of
    no interest, and those whose entry found that nothing has to be done, are turned away. A number of -1 is what a
    tracer leaves where it takes a call away, and the return from a signal handler too: ENOSYS tells them apart.
    """
    a, kind = b.a, r1
    a.label("alone")
    number = b.a.slot("number", U32) if _by_number(b) else read_number(b)
    a.lookup(b.maps.syscalls, number)
    a.jeq(r0, 0, "unlisted")
    a.ldx(kind, r0.u64(0))
    a.mov(r2, kind)
    a.rsh(r2, SWITCH)
    a.jeq(r2, 0, "out")
    a.and_(kind, KIND_MASK)
    for other in (Kind.MMAP, Kind.NAMESPACE):
        a.jeq(kind, other, "out")
    a.jgt(kind, Kind.NAMES, "out")
    a.ja("answered")
    a.label("unlisted")
    a.ldx(r1, number)
    a.lsh(r1, 32)
    a.arsh(r1, 32)
    a.jne(r1, -1, "out")
    load_result(b)
    a.jne(RESULT, -ENOSYS, "out")
    a.label("answered")
    a.tail_call(CTX, b.maps.jumps, Jump.ANSWERED)


def begin_exit(name: str, kernel: Kernel, options: Options, maps: Maps, *, over: bool = True) -> Body:
    """The beginning of a program that accounts for calls of a kind at their exit.

    Sets CTX, CALL, SIGNATURE and RESULT. Jumps to "out" if the call's entry was not seen. Afterwards the call is over
    in its record, unless `over` is false because other programs have to find it there yet.
    """
    b = begin_part(name, kernel, options, maps)
    a = b.a
    a.ldx(SIGNATURE, CALL[Call.call])
    a.jeq(SIGNATURE, 0, "out")
    if over:
        a.st(CALL[Call.call], 0)
    load_result(b)
    return b


def load_result(b: Body) -> None:
    """RESULT = what the system call returned."""
    b.a.ldx(RESULT, CTX[8] if b.raw else CTX.u64(b.kernel.fields["sys_exit.ret"]), "the result")


def unless_trapped(b: Body, number: Slot, trapped: str) -> None:
    """Jumps to `trapped` if the call was made a SIGSYS of (SECCOMP_RET_TRAP): it is as if it had not been made.

    The kernel puts the registers back (syscall_rollback), so that the "result" is what was in its place: on x86_64 the
    number, on aarch64 the first argument. And a signal is on its way, which a result of the same value does not bring.
    The slot "task" is set. RESULT is, too.
    """
    a, other = b.a, b.a.unique("not_trapped")
    load_result(b)
    a.ldx(r1, number if b.kernel.machine == "x86_64" else b.argument(0))
    a.jne(r1, RESULT, other)
    a.ldx(POINTER, a.slot("task", U64))
    b.load(r1, POINTER, 0, "thread_info.flags", of="task_struct")
    a.jset(r1, SIGNAL_PENDING[b.kernel.machine], trapped)
    a.label(other)
