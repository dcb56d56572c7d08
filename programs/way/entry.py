"""The ways in: how a raw tracepoint and a perf tracepoint present a system call, and what is noted at its entry.

Both forms leave the same Call record behind, so that everything after them is one body.  An uninteresting call is
turned away by the cheapest test that can tell: its number first, then one look-up of the process.
"""

from __future__ import annotations

from typing import Optional

from asm import U32, U64, Assembler, ProgramSpec, Register, Slot, r0, r1, r2, r3, r7, r8
from programs.facts.catalogue import NUMBERS, Kind, Position, Route, SystemCall, runs
from programs.facts.jumps import Jump
from programs.facts.kernel import COMPAT, Kernel, Options
from programs.facts.maps import IDLE_STACKS, STACKS, STRANGERS, Maps
from programs.facts.records import STRANGER_TGID, STRANGER_TID, Call, Lost, OpenFile, OpenKey
from programs.facts.signatures import KIND_MASK, SWITCH
from programs.way.body import Body, begin, low
from programs.way.registers import CALL, CTX, GENERATION

RESOLVED = runs()[0][1]  # of the kinds whose descriptor is the first argument, the last one
assert {kind for kind in Kind if kind <= RESOLVED} == {kind for kind in Kind if kind.route is Route.RESOLVE}

STACK_SHIFT = 14  # no thread's stack is smaller than 16 KiB (THREAD_SIZE), nor aligned to less


def find_call(b: Body, missing: str) -> None:
    """CALL = the Call record of this thread, or a jump to ``missing``.  Clobbers r0 to r5; leaves tid in r7.

    The record in the array is a thread's own from its first traced call to its death.
    """
    a, key, have = b.a, b.a.slot("tid", U32), b.a.unique("have_call")
    a.call("get_current_pid_tgid")
    a.mov32(r7, r0, "tid")
    if b.kernel.tid_slots:
        _slot(b, missing)
        if b.kernel.tid_direct:
            a.jne(r1, r7, missing)
            return
        a.jeq(r1, r7, have)
    a.stx(key, r7)
    a.lookup(b.maps.calls, key)
    a.jeq(r0, 0, missing)
    a.mov(CALL, r0)
    a.label(have)


def claim_call(b: Body, missing: str) -> None:
    """CALL = the Call record of this thread, made if this is its first call.  ``missing``: no room.  tid in r7."""
    a, key, have = b.a, b.a.slot("tid", U32), b.a.unique("have_call")
    if b.kernel.tid_slots:
        _claim_slot(b, have, missing)
    if not b.kernel.tid_direct:
        again = b.a.unique("have_call")
        a.stx(key, r7)
        a.lookup(b.maps.calls, key)
        a.jne(r0, 0, again)
        fresh = a.slot("new_call", Call)
        a.zero(fresh)
        a.stx(fresh[Call.owner], r7)
        a.update(b.maps.calls, key, fresh)
        a.lookup(b.maps.calls, key)
        a.jeq(r0, 0, missing)
        a.label(again)
        a.mov(CALL, r0)
    a.label(have)


def _claim_slot(b: Body, have: str, missing: str) -> None:
    """CALL = this thread's record in the array and a jump to ``have``; falls through where it is another thread's."""
    a, other = b.a, b.a.unique("not_mine")
    _slot(b, missing)
    a.jeq(r1, r7, have)
    if b.kernel.tid_direct:
        a.stx(CALL[Call.owner], r7, "nobody else has this remainder")
    else:
        a.jne(r1, 0, other)
        a.mov(r0, 0)
        a.cmpxchg(CALL[Call.owner], r7)
        a.jne(r0, 0, other)
    for place in (Call.call, Call.mnt_ns, Call.checked):
        a.st(CALL[place], 0)
    a.ja(have)
    if not b.kernel.tid_direct:
        a.label(other)


def _slot(b: Body, missing: str) -> None:
    """CALL = the record in the array that threads with the tid in r7 may have, r1 = its owner."""
    a, key = b.a, b.a.slot("tid", U32)
    a.mov(r1, r7)
    a.and_(r1, b.kernel.tid_slots - 1)
    a.stx(key, r1)
    a.lookup(b.maps.slots, key)
    a.jeq(r0, 0, missing)
    a.mov(CALL, r0)
    a.ldx(r1, CALL[Call.owner])


def only_targets(b: Body, tgid: Register, reject: str) -> None:
    """Jumps to ``reject`` unless this process is traced."""
    a, key = b.a, b.a.slot("tgid", U32)
    a.stx(key, tgid)
    a.lookup(b.maps.targets, key)
    if b.options.everything:
        a.jne(r0, 0, reject, "one that is left out")
    else:
        a.jeq(r0, 0, reject, "not traced")


def _enter(b: Body) -> None:
    """r7 holds the descriptor of the call, the arguments are in the Call record once ``arguments`` has run."""
    a, kernel = b.a, b.kernel
    a.mov(r8, r7)
    a.and_(r8, KIND_MASK, "kind")
    a.jeq(r8, Kind.AIO_REAP, "untimed", "each of its requests has a time of its own")
    a.call("ktime_get_ns")
    a.stx(CALL[Call.entered], r0)
    a.label("untimed")
    a.stx(CALL[Call.call], r7)
    a.st(CALL[Call.file], 0)
    a.st(CALL[Call.target], 0)
    a.st(CALL[Call.shared], 0)
    a.ldx(r1, CALL[Call.mnt_ns])
    a.jne(r1, 0, "placed")
    a.ldx(r8, a.slot("task", U64))
    b.load(r8, r8, kernel.offsets["task.nsproxy"], of="task_struct")
    b.load(r8, r8, kernel.offsets["nsproxy.mnt_ns"], of="nsproxy")
    a.stx(CALL[Call.mnt_ns], r8)
    a.label("placed")
    a.mov(r8, r7)
    a.and_(r8, KIND_MASK, "kind")
    a.jgt(r8, RESOLVED, "other")
    resolve(b, 0, task=a.slot("task", U64))
    a.stx(CALL[Call.file], r8)
    a.jeq(r8, 0, "done")
    _note_shared(b)
    a.label("done")
    a.ret(0)
    a.label("other")
    _by_route(a, r8)
    a.tail_call(CTX, b.maps.jumps, Jump.ENTER_OTHER)
    a.ja("noted")
    a.label("aio")
    a.tail_call(CTX, b.maps.jumps, Jump.AIO_ENTER)
    a.label("noted")
    a.ret(0)


def _by_route(a: Assembler, kind: Register) -> None:
    """Jumps to the label of the kind's route; falls through for those that are handed on.

    From the highest kind down one comparison tells a whole run of them; below a run that falls through, each kind
    takes one.
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


def resolve(b: Body, argument: Optional[int] = None, task: Optional[Slot] = None) -> None:
    """r8 = the ``struct file *`` behind a descriptor of this task, 0 if it has none.

    The descriptor is the system call's argument of that number, or else what r8 holds.  ``task`` may hold the task.
    fs/file.c: files_lookup_fd_raw().
    """
    a, o = b.a, b.kernel.offsets
    fd = a.slot("fd", U32)
    none, end = a.unique("no_file"), a.unique("resolved")
    if argument is None:
        a.stx(fd, r8)
    else:
        a.ldx(r1, low(b.argument(argument)), "an int, whatever the upper half holds")
        a.stx(fd, r1)
    if task is None:
        a.call("get_current_task")
        a.mov(r8, r0)
    else:
        a.ldx(r8, task)
    b.load(r8, r8, o["task.files"], of="task_struct")
    b.load(r8, r8, o["files.fdt"], of="files_struct")
    b.load(r1, r8, o["fdt.max_fds"], size=4, of="fdtable")
    a.ldx(r2, fd)
    a.jge(r2, r1, none)
    b.load(r8, r8, o["fdt.fd"], of="fdtable")
    a.ldx(r1, fd)
    a.lsh(r1, 3)
    a.add(r8, r1)
    b.load(r8, r8, 0, "the descriptor's file", of="list_head")
    a.ja(end)
    a.label(none)
    a.mov(r8, 0)
    a.label(end)


def _note_shared(b: Body) -> None:
    """Counts a transfer at the file position in OpenFile.inflight if another thread could move that position meanwhile.

    Then, and only then, a position that is ahead of what was accounted may be a sibling's transfer that has not
    reached its own exit yet, and not a seek.  r8 holds the file.
    """
    a, o = b.a, b.kernel.offsets
    a.ldx(r1, CALL[Call.call])
    a.rsh(r1, 8)
    a.and_(r1, 0xFF, "position")
    a.jeq(r1, Position.EXPLICIT, "done")
    a.mov(r2, r7)
    a.and_(r2, KIND_MASK)
    a.jeq(r2, Kind.SYNC, "done")
    b.load(r1, r8, o["file.ref"], of="file")
    a.jne(r1, b.kernel.one_reference, "shared")
    a.ldx(r8, a.slot("task", U64))
    b.load(r8, r8, o["task.files"], of="task_struct")
    b.load(r1, r8, o["files.count"], "threads that share the table", size=4, of="files_struct")
    a.jeq(r1, 1, "done")
    a.label("shared")
    key = a.slot("open", OpenKey)
    a.ldx(r1, CALL[Call.file])
    a.stx(key[OpenKey.file], r1)
    a.ldx(r1, CALL[Call.mnt_ns])
    a.stx(key[OpenKey.mnt_ns], r1)
    a.lookup(b.maps.opens, key)
    a.jeq(r0, 0, "done")
    b.count(r0[OpenFile.inflight])
    a.st(CALL[Call.shared], 1)


def _admit(b: Body) -> None:
    """From the system call's number in r7 to its descriptor in r7 and the Call record in CALL; turns all others away.

    Whether a process is a target is looked up once for each thread and generation of targets: a target's thread is
    known by its Call record afterwards, any other by its stack, or its entry in ``strangers``.
    """
    a, number, generation = b.a, b.a.slot("number", U32), b.a.slot("generation", U64)
    a.stx(number, r7)
    a.lookup(b.maps.syscalls, number)
    a.jeq(r0, 0, "out")
    a.ldx(r8, r0.u64(0))
    a.mov(r1, r8)
    a.rsh(r1, SWITCH)
    a.jeq(r1, 0, "out", "a call of no interest, or not now")
    a.st(number, 0)
    a.lookup(b.maps.generation, number)
    a.jeq(r0, 0, "out")
    a.ldx(GENERATION, r0.u64(0))
    a.add(GENERATION, 1, "read before the targets are, lest a change goes unnoticed")
    a.stx(generation, GENERATION)
    if _by_stack(b):
        _not_strangers_stacks(b)
    _who(b)
    if b.kernel.tid_slots:
        _slot(b, "no_room")
        a.jne(r1, r7, "look_up")
        a.ldx(r1, generation)
        a.ldx(r2, CALL[Call.checked])
        a.jeq(r1, r2, "admitted")
        a.label("look_up")
    if not _by_stack(b):
        _not_strangers(b)
    a.ldx(r1, a.slot("pid_tgid", U64))
    a.rsh(r1, 32, "tgid")
    only_targets(b, r1, "stranger")
    claim_call(b, "no_room")
    a.ldx(r1, generation)
    a.stx(CALL[Call.checked], r1)
    a.ldx(r1, a.slot("pid_tgid", U64))
    a.rsh(r1, 32)
    a.stx(CALL[Call.process], r1)
    if b.options.attach == "raw":
        _mark_stack(b)
    a.label("admitted")
    a.mov(r7, r8)
    if not b.typed("task_struct"):
        a.call("get_current_task")
        a.stx(a.slot("task", U64), r0)
    if b.options.attach == "raw":
        _reject_compat(b)


def _who(b: Body) -> None:
    """r7 = the thread's id, the slot "pid_tgid" = that with the process's above it; and the slot "task" if it is
    quicker to read them there."""
    a, word = b.a, b.a.slot("pid_tgid", U64)
    if not b.typed("task_struct"):
        a.call("get_current_pid_tgid")
        a.stx(word, r0)
        a.mov32(r7, r0, "tid")
        return
    a.call("get_current_task")
    a.stx(a.slot("task", U64), r0)
    b.cast(r0, "task_struct")
    a.ldx(r7, r0.u32(b.kernel.offsets["task.pid"]), "tid")
    a.ldx(r1, r0.u32(b.kernel.offsets["task.tgid"]))
    a.lsh(r1, 32)
    a.or_(r1, r7)
    a.stx(word, r1)


def _by_stack(b: Body) -> bool:
    """Whether threads that are no target's are known by their stacks: where the context tells, and a new thread of a
    target, which may have the stack of one that was none, begins another generation.  That of no others does.

    To fentry the registers are a typed pointer, which is no number.
    """
    return b.options.attach == "raw" and not b.options.everything


def _not_strangers_stacks(b: Body) -> None:
    """Turns a thread away whose stack was found to be no target's in this generation; the slot "mark" = what tells so.

    All of that is known without a helper.  GENERATION is set.  An address has 48 bits, of which the lowest
    are the same for all stacks.
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


def _not_strangers(b: Body) -> None:
    """Turns a thread away that was found to be no target's in this generation; the slot "mark" = what tells so.

    The tid is in r7, the generation plus one in its slot.
    """
    a, mark, row = b.a, b.a.slot("mark", U64), b.a.slot("row", U32)
    a.ldx(r1, a.slot("generation", U64))
    a.lsh(r1, 64 - STRANGER_TGID)
    a.rsh(r1, 64 - STRANGER_TGID)
    a.ldx(r2, a.slot("pid_tgid", U64))
    a.rsh(r2, 32)
    a.lsh(r2, STRANGER_TGID)
    a.or_(r1, r2)
    a.mov(r2, r7)
    a.rsh(r2, STRANGERS.bit_length() - 1)
    a.lsh(r2, STRANGER_TID)
    a.or_(r1, r2)
    a.stx(mark, r1)
    a.mov(r1, r7)
    a.and_(r1, STRANGERS - 1)
    a.stx(row, r1)
    a.lookup(b.maps.strangers, row)
    a.jeq(r0, 0, "out")
    a.ldx(r1, r0.u64(0))
    a.ldx(r2, mark)
    a.jeq(r1, r2, "out")


def _mark_stack(b: Body) -> None:
    """Says that the exits on this stack may be a target's."""
    a, unmarked = b.a, b.a.unique("unmarked")
    _stack_row(b, unmarked)
    a.st(r0.u64(0), 1)
    a.label(unmarked)


def only_marked_stacks(b: Body) -> None:
    """Turns the exits of all other threads away, by the cheapest test that there is: where their registers lie.

    A stack holds its thread's registers at one place from its first call to its last.  A mark stays for whoever has the
    stack next, whom a closer look then turns away.  For the raw form, whose context CTX points to.
    """
    a = b.a
    _stack_row(b, "out")
    a.ldx(r1, r0.u64(0))
    a.jeq(r1, 0, "out")


def _stack_row(b: Body, missing: str) -> None:
    a, row = b.a, b.a.slot("stack", U32)
    a.ldx(r1, CTX[0], "struct pt_regs *")
    a.rsh(r1, STACK_SHIFT)
    a.and_(r1, STACKS - 1)
    a.stx(row, r1)
    a.lookup(b.maps.stacks, row)
    a.jeq(r0, 0, missing)


def _reject_compat(b: Body) -> None:
    """Counts and leaves out calls of 32-bit tasks: their numbers mean other calls.

    The kernel does this by itself for perf tracepoints (ARCH_TRACE_IGNORE_COMPAT_SYSCALLS), and functions have no
    numbers to be mistaken.
    """
    a = b.a
    _, bit = COMPAT[b.kernel.machine]
    a.ldx(r8, a.slot("task", U64))
    b.load(r1, r8, b.kernel.offsets["compat"], "thread_info", size=4, of="task_struct")
    a.and_(r1, bit)
    a.jne(r1, 0, "compat")


def _reject(b: Body) -> None:
    a = b.a
    a.label("stranger")
    a.lookup(b.maps.idle_stacks if _by_stack(b) else b.maps.strangers, a.slot("row", U32))
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


def spare_name(name: str, copy: int) -> str:
    """The name of a program's copy; copy 0 is the program itself."""
    return f"{name}_s{copy}" if copy else name


def _unless_noted(b: Body, copy: int) -> None:
    """A spare does something only if the programs before it were skipped: none has noted the call."""
    if copy:
        b.a.ldx(r1, CALL[Call.call])
        b.a.jne(r1, 0, "out")


def raw_enter(kernel: Kernel, options: Options, maps: Maps, copy: int = 0) -> ProgramSpec:
    """raw_tracepoint/sys_enter (struct pt_regs *regs, long id): every system call of every task. 4.17."""
    b = begin(spare_name("enter", copy), kernel, options, maps)
    a = b.a
    a.ldx(r7, CTX[8], "system call number")
    _admit(b)
    _unless_noted(b, copy)
    _read_arguments(b)
    _enter(b)
    _reject(b)
    return b.program()


def function_enter(kernel: Kernel, options: Options, maps: Maps, call: SystemCall) -> ProgramSpec:
    """fentry on the kernel's function of one system call (struct pt_regs *regs). 5.5, aarch64 6.0.

    Nothing is attached to any other call.  A 32-bit task enters by other functions.
    """
    b = begin(f"enter_{call.name}", kernel, options, maps)
    a = b.a
    a.mov(r7, NUMBERS[kernel.machine][call.name], "system call number")
    _admit(b)
    _read_arguments(b)
    _enter(b)
    _reject(b)
    return b.program()


def function_leave(kernel: Kernel, options: Options, maps: Maps, call: SystemCall) -> ProgramSpec:
    """fexit on the same function (struct pt_regs *regs, long ret): on to the program that all exits share."""
    b = begin(f"leave_{call.name}", kernel, options, maps)
    a = b.a
    a.tail_call(CTX, maps.jumps, Jump.EXIT)
    a.ret(0)
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


def perf_enter(kernel: Kernel, options: Options, maps: Maps, arity: int, copy: int = 0) -> ProgramSpec:
    """tracepoint/syscalls/sys_enter_*, for calls with ``arity`` arguments. 4.7."""
    b = begin(spare_name(f"enter_{arity}", copy), kernel, options, maps)
    a = b.a
    a.ldx(r7, CTX.u32(kernel.fields["sys_enter.nr"]), "system call number")
    _admit(b)
    _unless_noted(b, copy)
    for number in range(arity):
        a.ldx(r1, CTX.u64(kernel.fields["sys_enter.args"] + 8 * number))
        a.stx(b.argument(number), r1)
    _enter(b)
    _reject(b)
    return b.program()


def begin_part(name: str, kernel: Kernel, options: Options, maps: Maps) -> Body:
    """The beginning of a program that is reached by a tail call, with CTX and CALL as the one before had them.

    TID is set too. Jumps to "out" if the thread has no Call record.
    """
    b = begin(name, kernel, options, maps)
    find_call(b, "out")
    return b


def begin_exit(name: str, kernel: Kernel, options: Options, maps: Maps, *, over: bool = True) -> Body:
    """The beginning of a program that accounts for a call at its exit.

    Sets CTX, CALL, SIGNATURE and RESULT. Jumps to "out" if the call's entry was not seen. Afterwards the call is over
    in its record, unless `over` is false because other programs have to find it there yet.
    """
    b = begin_part(name, kernel, options, maps)
    a = b.a
    a.ldx(r7, CALL[Call.call])
    a.jeq(r7, 0, "out")
    if over:
        a.st(CALL[Call.call], 0)
    load_result(b)
    return b


def load_result(b: Body) -> None:
    """r8 = what the system call returned."""
    b.a.ldx(r8, CTX[8] if b.raw else CTX.u64(b.kernel.fields["sys_exit.ret"]), "the result")
