"""Calls that a filter of seccomp has answered: the kernel shows their exit alone.

Such a call is counted like any other, by what its registers still hold at the exit and by the file that its descriptor
refers to then. When it was entered is not known.

An exit without an entry may also be that of a call under way when its process became a target. So it counts only if the
thread has been seen outside of a call since then (Call.known, Target.since).
"""

from __future__ import annotations

from asm import U32, U64, ProgramSpec, Slot, r0, r1, r2, r3
from programs.calls.copies import note_by_kind
from programs.facts.catalogue import Kind
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import Call, Lost, OpenFile, Signature, Target
from programs.files.identify import SCRATCH_EXIT, identify, send_name
from programs.way.admit import only_targets, reject_compat
from programs.way.body import Body
from programs.way.descriptors import read_namespace, resolve
from programs.way.enter import RESOLVED
from programs.way.exit import read_number, unless_trapped
from programs.way.registers import CALL, CTX, FILE, OPEN_FILE, POINTER
from programs.way.threads import begin_part


def exit_answered(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Notes the call as an entry would have done, and has its exit begin again."""
    b = begin_part("exit_answered", kernel, options, maps)
    a = b.a
    _only_known_threads(b)
    a.call("get_current_task")
    a.stx(a.slot("task", U64), r0)
    if b.raw:
        reject_compat(b, "out")
    number = read_number(b)
    a.ldx(r1, number)
    a.lsh(r1, 32)
    a.arsh(r1, 32)
    a.jslt(r1, 0, "replaced")
    _read_registers(b, number)
    unless_trapped(b, number, "trapped")
    a.lookup(maps.syscalls, number)
    a.jeq(r0, 0, "out")
    a.ldx(r1, r0.u64(0))
    a.stx(CALL[Call.call], r1)
    b.lost(Lost.answered)
    a.call("ktime_get_ns")
    a.stx(CALL[Call.entered], r0)
    for place in (Call.file, Call.target, Call.shared, Call.measured, Call.pages):
        a.st(CALL[place], 0)
    a.ldx(r1, CALL[Call.mnt_ns])
    a.jne(r1, 0, "placed")
    a.ldx(POINTER, a.slot("task", U64))
    read_namespace(b)
    a.label("placed")
    a.ldx(r1, a.slot("registers", U64))
    a.jeq(r1, 0, "noted", "nobody knows which descriptor it was")
    _note_files(b)
    a.label("noted")
    a.tail_call(CTX, maps.jumps, Jump.EXIT)
    a.ret(0)
    for label, what in (("replaced", Lost.replaced), ("trapped", Lost.trapped)):
        a.label(label)
        b.lost(what)
        a.ret(0)
    a.label("out")
    a.ret(0)
    return b.program()


def _only_known_threads(b: Body) -> None:
    """Jumps to "out" unless this thread's process is traced, and the thread was seen since it is. Is seen from now on.

    What an entry does for a thread that it looks up is done here too, if need be.
    """
    a, zero, generation = b.a, b.a.slot("zero", U32), b.a.slot("generation", U64)
    a.st(zero, 0)
    a.lookup(b.maps.generation, zero)
    a.jeq(r0, 0, "out")
    a.ldx(r1, r0.u64(0))
    a.add(r1, 1)
    a.stx(generation, r1)
    a.call("get_current_pid_tgid")
    a.rsh(r0, 32)
    a.stx(CALL[Call.process], r0)
    a.mov(r1, r0)
    only_targets(b, r1, "out")
    if b.options.everything or b.options.cgroups:
        a.mov(r2, 0)
    else:
        a.ldx(r2, r0[Target.since])
    a.ldx(r1, CALL[Call.known])
    a.ldx(r3, generation)
    a.stx(CALL[Call.known], r3)
    a.jle(r1, r2, "out", "under way when it became one, for all that is known")
    a.ldx(r1, CALL[Call.checked])
    a.jeq(r1, r3, "same_generation")
    a.st(CALL[Call.mnt_ns], 0)
    a.label("same_generation")


def _read_registers(b: Body, number: Slot) -> None:
    """Call.args = the arguments; the slot "registers" = where the `struct pt_regs` is, 0 if it was not found."""
    a, where, regs = b.a, b.a.slot("registers", U64), b.kernel.registers
    if b.raw:
        a.ldx(r1, CTX[0], "pt_regs")
        a.stx(where, r1)
    else:
        _search_stack(b, number)
    a.ldx(r3, where)
    b.probe(CALL[Call.args], regs.count * 8, r3, regs.block)
    a.ldx(r3, where)
    b.probe(b.argument(0), 8, r3, regs.first, "at an exit it may have the result in its place")


def _search_stack(b: Body, number: Slot) -> None:
    """The same where the context does not lead there: it lies on the thread's stack, at whose end the registers are.

    What is found there must have the call's number and its result. 0 leads to no memory, so that nothing is read there.
    """
    a, where, regs = b.a, b.a.slot("registers", U64), b.kernel.registers
    found, word = a.slot("found", U32), a.slot("word", U64)
    a.stx(CALL[Call.now], CTX, "in a map an address becomes a number")
    for bits, below in regs.stacks:
        other = a.unique("not_there")
        a.ldx(r3, CALL[Call.now])
        a.or_(r3, (1 << bits) - 1)
        a.add(r3, 1 - below)
        a.stx(where, r3)
        b.probe(found, 4, r3, regs.called)
        a.ldx(r1, found)
        a.ldx(r2, number)
        a.jne(r1, r2, other)
        a.ldx(r3, where)
        b.probe(word, 8, r3, regs.result)
        a.ldx(r1, word)
        a.ldx(r2, CTX.u64(b.kernel.fields["sys_exit.ret"]))
        a.jeq(r1, r2, "registers_found")
        a.label(other)
    a.st(where, 0)
    a.label("registers_found")


def _note_files(b: Body) -> None:
    """Call.file and what else the entry finds out about the descriptors. Falls through, or ends the program."""
    a, kind = b.a, r1
    for what, label in ((Kind.CLOSE, "close"), (Kind.SENDFILE, "sendfile"), (Kind.COPY, "copy")):
        b.signature(kind, Signature.kind, CALL[Call.call])
        a.jeq(kind, what, label)
    a.jgt(kind, RESOLVED, "noted")
    resolve(b, 0, task=a.slot("task", U64))
    a.stx(CALL[Call.file], FILE)
    a.ja("noted")
    note_by_kind(b, "noted")
    a.label("close")
    for place in (Call.moved, Call.id):
        a.st(CALL[place], 0)
    resolve(b, 0, task=a.slot("task", U64))
    a.stx(CALL[Call.file], FILE)
    a.jeq(FILE, 0, "noted")
    identify(b, scratch=SCRATCH_EXIT, skip="noted")
    a.ldx(r1, OPEN_FILE[OpenFile.id])
    a.stx(CALL[Call.id], r1)
    send_name(b, SCRATCH_EXIT, Jump.EXIT)
