"""From a task to what it sees: the file behind a descriptor, and the mount namespace of its paths."""

from __future__ import annotations

from typing import Optional

from asm import U32, U64, Register, Slot, r0, r1, r2, r3
from programs.facts.records import Call
from programs.way.body import Body, low
from programs.way.registers import CALL, DESCRIPTOR, FILE, POINTER


def resolve(b: Body, argument: Optional[int] = None, task: Optional[Slot] = None) -> None:
    """FILE = the `struct file *` behind a descriptor of this task, 0 if it has none. Clobbers r0 to r5.

    It is found as fs/file.c: files_lookup_fd_raw() does it. The descriptor is the system call's argument of that
    number, or else what DESCRIPTOR holds, the same register as FILE. `task` may hold the `struct task_struct *`.
    """
    a, o = b.a, b.kernel.offsets
    fd = a.slot("fd", U32)
    none, end = a.unique("no_file"), a.unique("resolved")
    if argument is None:
        a.stx(fd, DESCRIPTOR)
    else:
        a.ldx(r1, low(b.argument(argument)), "an int, whatever the upper half holds")
        a.stx(fd, r1)
    if task is None:
        a.call("get_current_task")
        a.mov(POINTER, r0)
    else:
        a.ldx(POINTER, task)
    b.load(POINTER, POINTER, o["task.files"], of="task_struct")
    b.load(POINTER, POINTER, o["files.fdt"], of="files_struct")
    b.load(r1, POINTER, o["fdt.max_fds"], size=4, of="fdtable")
    a.ldx(r2, fd)
    a.jge(r2, r1, none)
    b.load(POINTER, POINTER, o["fdt.fd"], of="fdtable")
    a.ldx(r1, fd)
    a.lsh(r1, 3)
    a.add(POINTER, r1)
    b.load(FILE, POINTER, 0, "the descriptor's file", of="list_head")
    a.ja(end)
    a.label(none)
    a.mov(FILE, 0)
    a.label(end)


def unshared(b: Body, file: Register, alone: str, shared: str) -> None:
    """Jumps to `alone` if nobody but the thread in the slot "task" can use the `struct file` now, else to `shared`.

    That is, if it has one reference, and one thread has the table that it is in. Clobbers r0 to r5.
    """
    a, o, table = b.a, b.kernel.offsets, b.a.slot("table", U64)
    b.load(r1, file, o["file.ref"], of="file")
    a.jne(r1, b.kernel.one_reference, shared)
    a.ldx(r3, a.slot("task", U64))
    b.load(r1, r3, o["task.files"], of="task_struct")
    a.stx(table, r1)
    a.ldx(r3, table)
    b.load(r1, r3, o["files.count"], "threads that share the table", size=4, of="files_struct")
    a.jeq(r1, 1, alone)


def read_namespace(b: Body) -> None:
    """Call.mnt_ns = the mount namespace of the task at POINTER, which is overwritten. Clobbers r0 to r5."""
    a, o = b.a, b.kernel.offsets
    b.load(POINTER, POINTER, o["task.nsproxy"], of="task_struct")
    b.load(POINTER, POINTER, o["nsproxy.mnt_ns"], of="nsproxy")
    a.stx(CALL[Call.mnt_ns], POINTER)
