"""Which processes are traced: the set of targets, kept up to date by the rare events that change it.

A process is a target by its id, by descent, or by its name, which is that of the thread group's leader
(`/proc/PID/comm`): threads may call themselves what they like.

Names are matched by the automaton of `programs.way.patterns`, whose rows the `comm` map holds.
"""

from __future__ import annotations

from asm import U8, U32, U64, ProgramSpec, Register, r0, r1, r2, r3, r4
from programs.facts.catalogue import NUMBERS
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import (
    COMM_ACCEPT,
    COMM_BYTES,
    COMM_LOOP,
    COMM_SEEN,
    COMM_START,
    COMM_WORDS,
    TARGET_COMM,
    TARGET_DESCENT,
    TARGET_FOLLOW,
    Call,
    CommWords,
    Lost,
    Target,
)
from programs.facts.signatures import SWITCH
from programs.way.body import Body, begin
from programs.way.cgroups import unless_in_cgroups
from programs.way.numbers import only_at_home
from programs.way.registers import CALL, CTX, FLAGS, PID_TGID, POINTER, TID
from programs.way.stacks import mark_stack
from programs.way.threads import claim_call, free_call

CLONE_THREAD, CLONE_INTO_CGROUP = 0x10000, 0x200000000


def new_task(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """task/task_newtask: a child of a target, or one with a name to be traced, becomes a target. The parent is current.

    A new thread of a target may have the stack of a thread that was not a target's, so it begins a new generation.
    """
    b = begin("new_task", kernel, options, maps, task=True)
    a, tgid, flags = b.a, b.a.slot("tgid", U32), b.a.slot("flags", Target)
    a.ldx(r1, CTX[8] if b.raw else CTX.u64(kernel.fields["task_newtask.clone_flags"]))
    a.mov(FLAGS, r1)
    a.and_(FLAGS, CLONE_THREAD)
    a.st(flags[Target.flags], 0)
    a.stx(flags[Target.since], _generation(b))
    a.call("get_current_pid_tgid")
    a.rsh(r0, 32)
    a.stx(tgid, r0)
    a.lookup(maps.targets, tgid)
    if options.everything:
        a.jeq(r0, 0, "born", "traced, whatever it is")
    a.jne(FLAGS, 0, "thread")
    a.jeq(r0, 0, "by_name")
    a.ldx(r1, r0[Target.flags])
    a.and_(r1, TARGET_FOLLOW)
    a.jeq(r1, 0, "by_name")
    a.st(flags[Target.flags], TARGET_FOLLOW | TARGET_DESCENT)
    a.label("by_name")
    if options.comm:
        _child_by_name(b)
    others = "by_cgroup" if options.cgroups else "out"
    a.ldx(r1, flags[Target.flags])
    a.jeq(r1, 0, others)
    _read_pid(b, "task_newtask.pid", 0)
    _make_target(b)
    a.ja("born")
    a.label("thread")
    a.jeq(r0, 0, others)
    if options.cgroups:
        a.ja("chosen")
        _child_by_cgroup(b)
        a.label("chosen")
    _new_generation(b)
    a.label("born")
    if options.attach != "fentry":
        a.tail_call(CTX, maps.jumps, Jump.BORN)
    a.label("out")
    a.ret(0)
    return b.program()


def _child_by_name(b: Body) -> None:
    """Adds to the slot "flags" that the child has a name to be traced, if it has. It is its parent's."""
    a, comm, flags = b.a, b.a.slot("comm", (U8, COMM_BYTES)), b.a.slot("flags", Target)
    _only_at_home(b, "other_name", child=True)
    if b.raw:
        a.ldx(r3, CTX[0], "the child")
        b.probe(comm, COMM_BYTES, r3, b.kernel.offsets["task.comm"])
    else:
        _copy_comm(b, b.kernel.fields["task_newtask.comm"])
    _match(b, "other_name")
    a.ldx(r1, flags[Target.flags])
    a.or_(r1, _by_name(b.options))
    a.stx(flags[Target.flags], r1)
    a.label("other_name")


def _child_by_cgroup(b: Body) -> None:
    """Jumps to "out" unless the child, or the thread, may be in a cgroup that is traced: it will be looked at then."""
    a = b.a
    a.label("by_cgroup")
    a.ldx(r1, CTX[8] if b.raw else CTX.u64(b.kernel.fields["task_newtask.clone_flags"]))
    a.ld_imm64(r2, CLONE_INTO_CGROUP)
    a.and_(r1, r2)
    a.jne(r1, 0, "chosen", "whatever its parent is in")
    unless_in_cgroups(b, "out")


def moved(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """cgroup/cgroup_attach_task: a task is in another cgroup, so that all are looked at again. 4.12."""
    b = begin("moved", kernel, options, maps, task=True, context=False)
    _new_generation(b)
    b.a.ret(0)
    return b.program()


def born(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The rest of task_newtask for a thread of a target: it is in none of the calls that are traced.

    So an exit that had no entry will be one that a filter has answered, also where it is the first that is seen of it.
    """
    b = begin("born", kernel, options, maps)
    a, number, tid = b.a, b.a.slot("number", U32), b.a.slot("tgid", U32)
    a.st(number, NUMBERS[kernel.machine]["close"])
    a.lookup(maps.syscalls, number)
    a.jeq(r0, 0, "out")
    a.ldx(r1, r0.u64(0))
    a.rsh(r1, SWITCH)
    a.jeq(r1, 0, "out", "it may be in one when tracing begins")
    _read_pid(b, "task_newtask.pid", 0)
    a.ldx(TID, tid)
    claim_call(b, "out")
    a.stx(CALL[Call.known], _generation(b))
    if b.raw and "task.stack" in kernel.offsets:
        a.ldx(r3, CTX[0], "the task")
        b.load(r1, r3, kernel.offsets["task.stack"], "as a number: a typed pointer could not be cut")
        mark_stack(b, r1)
    a.label("out")
    a.ret(0)
    return b.program()


def rename(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """task/task_rename: by prctl, by /proc/PID/comm, and by each exec. Only a leader's name is the process's."""
    b = begin("rename", kernel, options, maps, task=True)
    a, tgid, flags = b.a, b.a.slot("tgid", U32), b.a.slot("flags", Target)
    _read_pid(b, "task_rename.pid", 0)
    a.call("get_current_pid_tgid")
    a.rsh(r0, 32)
    a.ldx(r1, tgid)
    a.jne(r1, r0, "out", "a thread's own name; nobody can rename another process")
    a.st(flags[Target.flags], 0)
    a.stx(flags[Target.since], _generation(b))
    a.lookup(maps.targets, tgid)
    a.jeq(r0, 0, "no_target")
    for place in (Target.flags, Target.since):
        a.ldx(r1, r0[place])
        a.stx(flags[place], r1)
    a.label("no_target")
    comm = a.slot("comm", (U8, COMM_BYTES))
    _only_at_home(b, "other_name")
    if b.raw:
        a.ldx(r3, CTX[8], "the new name")
        a.addr(r1, comm)
        a.mov(r2, COMM_BYTES)
        a.call("probe_read_str")
    else:
        _copy_comm(b, kernel.fields["task_rename.newcomm"])
    _match(b, "other_name")
    a.ldx(r1, flags[Target.flags])
    a.or_(r1, _by_name(options))
    a.stx(flags[Target.flags], r1)
    _make_target(b)
    a.ja("out")
    a.label("other_name")
    a.ldx(r1, flags[Target.flags])
    a.mov(r2, r1)
    a.and_(r2, TARGET_COMM)
    a.jeq(r2, 0, "out")
    a.and_(r1, ~TARGET_COMM)
    a.stx(flags[Target.flags], r1)
    a.and_(r1, ~TARGET_FOLLOW)
    a.jeq(r1, 0, "left")
    a.update(maps.targets, tgid, flags)
    a.ja("out")
    a.label("left")
    a.delete(maps.targets, tgid)
    _new_generation(b)
    a.label("out")
    a.ret(0)
    return b.program()


def _only_at_home(b: Body, reject: str, *, child: bool = False) -> None:
    """Jumps to `reject` unless current, or the new task, is one of those that iotrace's proc shows: names are theirs.

    A perf tracepoint does not show the new task, so its parent stands for it there. A child that is to be in another
    namespace than its parent has its parent's name only until it calls exec.
    """
    if b.kernel.pids is not None:
        only_at_home(b, b.a.slot("row", U32), reject, CTX[0] if child and b.raw else None)


def _generation(b: Body) -> Register:
    """r1 = the generation of the targets, plus one, as it is now. Clobbers r0 to r5."""
    a, zero, none = b.a, b.a.slot("zero", U32), b.a.unique("no_generation")
    a.st(zero, 0)
    a.lookup(b.maps.generation, zero)
    a.mov(r1, 0)
    a.jeq(r0, 0, none)
    a.ldx(r1, r0.u64(0))
    a.add(r1, 1)
    a.label(none)
    return r1


def _make_target(b: Body) -> None:
    """Makes the process in the slot "tgid" a target, with the flags in the slot "flags"."""
    a, no_room, done = b.a, b.a.unique("no_room"), b.a.unique("target_made")
    a.update(b.maps.targets, a.slot("tgid", U32), a.slot("flags", Target))
    a.jne(r0, 0, no_room)
    _new_generation(b)
    a.ja(done)
    a.label(no_room)
    b.lost(Lost.targets)
    a.label(done)


def _new_generation(b: Body) -> None:
    """Makes every thread check again whether it belongs to a target. Called after the set has changed, never before."""
    a, zero, done = b.a, b.a.slot("zero", U32), b.a.unique("told")
    a.st(zero, 0)
    a.lookup(b.maps.generation, zero)
    a.jeq(r0, 0, done)
    b.count(r0.u64(0))
    a.label(done)


def exit_task(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """sched/sched_process_exit: frees the thread's Call record. The last thread takes the process from the targets."""
    b = begin("exit_task", kernel, options, maps, task=True, context=False)
    a, key = b.a, b.a.slot("tid", U32)
    a.call("get_current_pid_tgid")
    a.mov(PID_TGID, r0)
    a.mov32(TID, r0, "tid")
    free_call(b)
    a.call("get_current_task")
    a.mov(POINTER, r0)
    b.load(POINTER, POINTER, kernel.offsets["task.signal"])
    b.load(r1, POINTER, kernel.offsets["signal.live"], "threads that have not exited", size=4)
    a.jne(r1, 0, "out")
    a.rsh(PID_TGID, 32)
    a.stx(key, PID_TGID)
    a.delete(maps.targets, key)
    a.label("out")
    a.ret(0)
    return b.program()


def exec_task(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """sched/sched_process_exec: frees the Call record of the id that a thread gives up.

    A thread that is not the leader takes the leader's id when it calls exec (de_thread of the kernel's fs/exec.c), and
    its own becomes free for any process, without an exit of that id.
    """
    b = begin("exec_task", kernel, options, maps, task=True)
    a = b.a
    a.ldx(TID, CTX[8] if b.raw else CTX.u32(kernel.fields["sched_process_exec.old_pid"]), "the id before")
    a.mov32(TID, TID)
    a.call("get_current_pid_tgid")
    a.mov32(r1, r0)
    a.jeq(r1, TID, "out", "the leader")
    free_call(b)
    a.label("out")
    a.ret(0)
    return b.program()


def _by_name(options: Options) -> int:
    return TARGET_COMM | (TARGET_FOLLOW if options.follow else 0)


def _read_pid(b: Body, name: str, argument: int) -> None:
    """The slot `tgid` = the pid of the task that the event is about."""
    a, tgid = b.a, b.a.slot("tgid", U32)
    if b.raw:
        a.ldx(r3, CTX[8 * argument], "the task")
        b.probe(tgid, 4, r3, b.kernel.offsets["task.pid"])
        return
    a.ldx(r1, CTX.u32(b.kernel.fields[name]))
    a.stx(tgid, r1)


def _copy_comm(b: Body, offset: int) -> None:
    """The slot `comm` = the name in the context: in words of four bytes, as the fields are aligned."""
    comm = b.a.slot("comm", (U8, COMM_BYTES))
    for at in range(0, COMM_BYTES, 4):
        b.a.ldx(r1, CTX.u32(offset + at))
        b.a.stx(comm.at(at, 4), r1)


def _match(b: Body, no: str) -> None:
    """Falls through if the name in the slot `comm` matches a pattern, else jumps to `no`. Clobbers r0 to r5."""
    a = b.a
    comm, row = a.slot("comm", (U8, COMM_BYTES)), a.slot("row", U32)
    states, loops = a.slot("states", (U64, COMM_WORDS)), a.slot("loops", (U64, COMM_WORDS))
    matched = a.unique("matched")
    for number, slot in ((COMM_START, states), (COMM_LOOP, loops)):
        _row(b, number, no)
        for word in range(COMM_WORDS):
            a.ldx(r1, r0[CommWords.words[word]])
            a.stx(slot.at(8 * word), r1)
    for position in range(COMM_BYTES - 1):
        a.ldx(r1, comm.at(position, 1))
        a.jeq(r1, 0, "comm_ended")
        a.stx(row, r1)
        a.lookup(b.maps.comm, row)
        a.jeq(r0, 0, no)
        for word in range(COMM_WORDS):
            a.ldx(r1, states.at(8 * word))
            a.mov(r2, r1)
            a.lsh(r2, 1)
            a.ldx(r3, r0[CommWords.words[word]])
            a.and_(r2, r3, "states that this byte leads on to")
            a.ldx(r4, loops.at(8 * word))
            a.and_(r1, r4, "states that * stays in")
            a.or_(r1, r2)
            a.stx(states.at(8 * word), r1)
    a.label("comm_ended")
    _row(b, COMM_ACCEPT, no)
    a.mov(r4, 0)
    for word in range(COMM_WORDS):
        a.ldx(r1, states.at(8 * word))
        a.ldx(r2, r0[CommWords.words[word]])
        a.and_(r1, r2)
        a.stx(states.at(8 * word), r1)
        a.or_(r4, r1)
    a.jeq(r4, 0, no)
    _row(b, COMM_SEEN, matched)
    for word in range(COMM_WORDS):  # two at the same instant may leave one out: it is for a hint to the user alone
        a.ldx(r1, states.at(8 * word))
        a.ldx(r2, r0[CommWords.words[word]])
        a.or_(r2, r1)
        a.stx(r0[CommWords.words[word]], r2)
    a.label(matched)


def _row(b: Body, number: int, missing: str) -> None:
    a, row = b.a, b.a.slot("row", U32)
    a.st(row, number)
    a.lookup(b.maps.comm, row)
    a.jeq(r0, 0, missing)
