"""The entry of a system call: what each form of attachment sees of one, and what is noted for its exit.

A raw tracepoint, a perf tracepoint and a kernel function present a call differently. All of them leave the same Call
record behind, so that everything after them is one body.
"""

from __future__ import annotations

from asm import U64, Assembler, ProgramSpec, Register, Slot, r0, r1, r2, r3
from programs.facts.catalogue import NUMBERS, Kind, Position, Route, SystemCall, runs
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import Call, OpenFile, OpenKey, Signature
from programs.facts.signatures import KIND_MASK
from programs.way.admit import admit, reject
from programs.way.body import Body, begin, spare_name
from programs.way.descriptors import read_namespace, resolve
from programs.way.registers import CALL, CTX, FILE, KIND, NUMBER, POINTER, SIGNATURE

RESOLVED = runs()[0][1]  # of the kinds whose descriptor is the first argument, the last one
assert {kind for kind in Kind if kind <= RESOLVED} == {kind for kind in Kind if kind.route is Route.RESOLVE}, (
    "kinds whose route is RESOLVE come first in programs.facts.catalogue.Kind"
)


def raw_enter(kernel: Kernel, options: Options, maps: Maps, copy: int = 0) -> ProgramSpec:
    """raw_tracepoint/sys_enter (struct pt_regs *regs, long id): every system call of every task. 4.17."""
    b = begin(spare_name("enter", copy), kernel, options, maps)
    a = b.a
    a.ldx(NUMBER, CTX[8], "system call number")
    admit(b, copy)
    _read_arguments(b)
    _note(b)
    reject(b)
    return b.program()


def perf_enter(kernel: Kernel, options: Options, maps: Maps, arity: int, copy: int = 0) -> ProgramSpec:
    """tracepoint/syscalls/sys_enter_*, for calls with `arity` arguments. 4.7."""
    b = begin(spare_name(f"enter_{arity}", copy), kernel, options, maps)
    a = b.a
    a.ldx(NUMBER, CTX.u32(kernel.fields["sys_enter.nr"]), "system call number")
    admit(b, copy)
    for number in range(arity):
        a.ldx(r1, CTX.u64(kernel.fields["sys_enter.args"] + 8 * number))
        a.stx(b.argument(number), r1)
    _note(b)
    reject(b)
    return b.program()


def function_enter(kernel: Kernel, options: Options, maps: Maps, call: SystemCall) -> ProgramSpec:
    """fentry on the kernel's function of one system call (struct pt_regs *regs). 5.5, aarch64 6.4.

    Nothing is attached to any other call. A 32-bit task enters by other functions.
    """
    b = begin(f"enter_{call.name}", kernel, options, maps)
    a = b.a
    a.mov(NUMBER, NUMBERS[kernel.machine][call.name], "system call number")
    admit(b)
    _read_arguments(b)
    _note(b)
    reject(b)
    return b.program()


def _read_arguments(b: Body) -> None:
    """Call.args = the words of pt_regs that hold the arguments, in the order of the machine."""
    a, regs = b.a, b.kernel.registers
    a.ldx(r3, CTX[0], "pt_regs")
    if b.typed("pt_regs"):
        b.cast(r3, "pt_regs")
        for word in regs.words:
            a.ldx(r1, r0.u64(regs.block + 8 * word))
            a.stx(CALL[Call.args[word]], r1)
        return
    if regs.block:
        a.add(r3, regs.block)
    b.address(r1, CALL[Call.args])
    a.mov(r2, regs.count * 8)
    a.call("probe_read")


def _note(b: Body) -> None:
    """Notes the call, whose SIGNATURE and arguments are known, and goes on by its route. Ends the program."""
    a = b.a
    b.signature(KIND, Signature.kind)
    a.jeq(KIND, Kind.AIO_REAP, "untimed", "each of its requests has a time of its own")
    a.call("ktime_get_ns")
    a.stx(CALL[Call.entered], r0)
    a.label("untimed")
    a.st(CALL[Call.pages], 0)
    a.stx(CALL[Call.call], SIGNATURE)
    a.st(CALL[Call.file], 0)
    a.st(CALL[Call.target], 0)
    a.st(CALL[Call.shared], 0)
    a.ldx(r1, CALL[Call.mnt_ns])
    a.jne(r1, 0, "placed")
    a.ldx(POINTER, a.slot("task", U64))
    read_namespace(b)
    a.label("placed")
    b.signature(KIND, Signature.kind)
    a.jgt(KIND, RESOLVED, "other")
    resolve(b, 0, task=a.slot("task", U64))
    a.stx(CALL[Call.file], FILE)
    if not b.options.light:  # which has no entry of a transfer
        a.jeq(FILE, 0, "done")
        _by_kind_and_position(b)
        note_shared(b, "done")
        a.label("done")
    a.ret(0)
    if not b.options.light:
        a.label("vector")
        a.st(CALL[Call.measured], 0)
        a.tail_call(CTX, b.maps.jumps, Jump.ENTER_VECTOR)
        a.ret(0)
    a.label("other")
    by_route(a, KIND)
    a.tail_call(CTX, b.maps.jumps, Jump.ENTER_OTHER)
    a.ja("noted")
    a.label("aio")
    a.tail_call(CTX, b.maps.jumps, Jump.AIO_ENTER)
    a.label("noted")
    a.ret(0)


def by_route(a: Assembler, kind: Register) -> None:
    """Jumps to "noted" or "aio" by the kind's route; falls through for kinds that are handed on.

    Resolved kinds are dealt with before. From the highest kind down, one comparison decides for a whole run of kinds;
    below a run that falls through, each kind takes a comparison of its own.
    """
    labels, above = {Route.NOTE: "noted", Route.AIO: "aio"}, True
    for first, last in reversed(runs()[1:]):
        if first.route is Route.HAND_ON:
            above = False
        elif above:
            a.jge(kind, first, labels[first.route])
        else:
            for number in range(last, first - 1, -1):
                a.jeq(kind, number, labels[first.route])


def _by_kind_and_position(b: Body) -> None:
    """Falls through for a plain read or write at the file position; jumps to "vector", or to "done" for all others."""
    a = b.a
    a.ldx(r1, CALL[Call.call])
    a.and_(r1, 0xFFFF, "kind and position")
    a.jeq(r1, Kind.SCALAR | Position.EXPLICIT << 8 * Signature.position.offset, "done")
    a.and_(r1, KIND_MASK)
    a.jeq(r1, Kind.SYNC, "done")
    a.jeq(r1, Kind.VECTOR, "vector")


def note_shared(b: Body, done: str) -> None:
    """Counts a transfer at the file position in OpenFile.inflight if another thread could move that position meanwhile.

    Then, and only then, a position ahead of what was accounted may be due to another thread's transfer whose exit is
    yet to come, and not to a seek. FILE is set, and the slot "task" = the thread. Falls through, or jumps to `done`.
    """
    a, o = b.a, b.kernel.offsets
    b.load(r1, FILE, o["file.ref"], of="file")
    a.jne(r1, b.kernel.one_reference, "shared")
    a.ldx(POINTER, a.slot("task", U64))
    b.load(POINTER, POINTER, o["task.files"], of="task_struct")
    b.load(r1, POINTER, o["files.count"], "threads that share the table", size=4, of="files_struct")
    a.jeq(r1, 1, done)
    a.label("shared")
    made = next((slot for slot in a.stack if slot.name == "new_call"), None)
    # A record that was made for the thread is in its map by now; the stack has no room for both.
    key = a.slot("open", OpenKey) if made is None else Slot("open", OpenKey, 0, made.offset)
    a.ldx(r1, CALL[Call.file])
    a.stx(key[OpenKey.file], r1)
    a.ldx(r1, CALL[Call.mnt_ns])
    a.stx(key[OpenKey.mnt_ns], r1)
    a.lookup(b.maps.opens, key)
    a.jeq(r0, 0, done)
    b.count(r0[OpenFile.inflight])
    a.st(CALL[Call.shared], 1)
