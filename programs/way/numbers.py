"""Numbers of processes where iotrace is not in the initial PID namespace, whose numbers the kernel's own side uses.

There user space knows a process by another number than the programs do. It opens the process's directory in a proc,
which refers to the process itself, and asks the program `number` what the descriptor leads to. And a program can tell
whether a process is in iotrace's namespace or below: only those have a number there.

Nothing of this is built in the initial namespace (`Kernel.pids` is None).
"""

from __future__ import annotations

from typing import Optional

from asm import U8, U32, U64, Mem, ProgramSpec, Slot, r0, r1, r2, r3
from programs.facts.kernel import Kernel, Options, Pids
from programs.facts.maps import Maps
from programs.facts.records import COMM_BYTES, Home, Numbering
from programs.way.body import Body, begin
from programs.way.descriptors import resolve
from programs.way.registers import FILE, NUMBERING, POINTER


def number(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Answers what the map `numbering` asks, for the thread that has the name there, or for whoever runs it.

    It runs by BPF_PROG_TEST_RUN where that takes raw tracepoints (5.10), else when iotrace renames a thread of its own.
    """
    b = begin("number", kernel, options, maps, task=True, context=False)
    a, pids, zero, name = b.a, _pids(b), b.a.slot("zero", U32), b.a.slot("name", (U8, COMM_BYTES))
    a.st(zero, 0)
    a.lookup(maps.numbering, zero)
    a.jeq(r0, 0, "out")
    a.mov(NUMBERING, r0)
    a.ldx(r1, NUMBERING[Numbering.name[0]])
    a.jeq(r1, 0, "ours", "nobody else runs it")
    a.addr(r1, name)
    a.mov(r2, COMM_BYTES)
    a.call("get_current_comm")
    for word in range(COMM_BYTES // 8):
        a.ldx(r1, name.at(8 * word, 8))
        a.ldx(r2, NUMBERING[Numbering.name[word]])
        a.jne(r1, r2, "out", "another thread")
    a.label("ours")
    a.ldx(FILE, NUMBERING[Numbering.descriptor])
    resolve(b)
    a.jeq(FILE, 0, "out")
    b.load(POINTER, FILE, kernel.offsets["file.inode"], of="file")
    b.load(POINTER, POINTER, pids.proc_pid, "struct pid *")
    b.load(r1, POINTER, pids.number, "in the initial namespace", size=4)
    a.jeq(r1, 0, "out", "no directory of a process")
    a.stx(NUMBERING[Numbering.number], r1)
    b.load(r1, POINTER, pids.level, size=4)
    a.stx(NUMBERING[Numbering.level], r1)
    a.mul(r1, pids.stride)
    a.add(POINTER, r1)
    b.load(r1, POINTER, pids.namespace, "struct pid_namespace *")
    a.stx(NUMBERING[Numbering.namespace], r1)
    a.st(NUMBERING[Numbering.answered], 1)
    a.label("out")
    a.ret(0)
    return b.program()


def only_at_home(b: Body, key: Slot, reject: str, task: Optional[Mem] = None) -> None:
    """Jumps to `reject` unless a task, current if none is given, is in iotrace's PID namespace or below.

    Everybody is where iotrace is in the initial one: then this is nothing. `key` is a slot of 4 bytes that is free, as
    the stack of an entry is nearly full: what is read in between stays in the slot "word". Clobbers r0 to r5.
    """
    if b.kernel.pids is None:
        return
    a, pids, word = b.a, b.kernel.pids, b.a.slot("word", U64)
    _pid(b, task)
    b.load(r1, r3, pids.level, size=4)
    a.stx(word, r1)
    _home(b, key, reject)
    a.ldx(r1, word)
    a.ldx(r2, r0[Home.level])
    a.jlt(r1, r2, reject, "further up")
    _pid(b, task)
    a.stx(word, r3)
    _home(b, key, reject)
    a.ldx(r3, word)
    a.ldx(r2, r0[Home.place])
    a.add(r3, r2)
    b.load(r1, r3, 0, "struct pid_namespace *, at iotrace's level")
    a.stx(word, r1)
    _home(b, key, reject)
    a.ldx(r1, word)
    a.ldx(r2, r0[Home.namespace])
    a.jne(r1, r2, reject, "in another branch")


def _pid(b: Body, task: Optional[Mem]) -> None:
    """r3 = the `struct pid *` of a task. Not by a typed load: the verifier allows no arithmetic on what that gives."""
    if task is None:
        b.a.call("get_current_task")
    else:
        b.a.ldx(r0, task)
    b.load(r3, r0, _pids(b).thread_pid, "struct pid *")


def _home(b: Body, key: Slot, missing: str) -> None:
    """r0 = the `Home` of iotrace."""
    b.a.st(key, 0)
    b.a.lookup(b.maps.home, key)
    b.a.jeq(r0, 0, missing)


def _pids(b: Body) -> Pids:
    assert b.kernel.pids is not None
    return b.kernel.pids
