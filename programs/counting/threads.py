"""How many threads do I/O on a file: exactly as long as there are fewer than MOST_THREADS.

A thread is a word of its own as long as tracing lasts: where the kernel keeps it, and its id, which alone may be used
again. Whether it has been counted for a file is looked up once, and then remembered: by the thread for the file that it
uses last, by an open file description for some of the threads that use it.

The first thread of a file stands in its FileState, as mostly there is no other. More are in the map `threads`, and
FileState.threads counts them.
"""

from __future__ import annotations

from asm import U64, Mem, r0, r1, r2, r3, r4
from programs.facts.records import (
    MOST_THREADS,
    THREAD_SHIFT,
    THREADS_KEPT,
    Call,
    FileState,
    Lost,
    OpenFile,
    ThreadKey,
)
from programs.way.body import BPF_NOEXIST, Body
from programs.way.registers import CALL, OPEN_FILE

_TASK_SHIFT = THREAD_SHIFT + 16  # a task lies at a multiple of 64 bytes, and no id has more than 22 bits
_EEXIST = 17


def used(b: Body, *, lent: bool = False) -> None:
    """This thread does I/O on the file of OPEN_FILE. CALL is its record, or one that is `lent`. Clobbers r0 to r5."""
    a, done = b.a, b.a.unique("counted_for")
    if not lent:
        a.ldx(r1, OPEN_FILE[OpenFile.id])
        a.ldx(r2, CALL[Call.used])
        a.jeq(r1, r2, done, "as mostly: the file that it used last")
        a.stx(CALL[Call.used], r1)
    who(b)
    _count(b, done)
    a.label(done)


def used_by(b: Body, thread: Mem) -> None:
    """The thread in `thread`, a word made by `who`, does I/O on the file of OPEN_FILE; 0: nobody knows which."""
    a, done = b.a, b.a.unique("counted_for")
    a.ldx(r1, thread)
    a.jeq(r1, 0, done)
    _count(b, done)
    a.label(done)


def who(b: Body) -> None:
    """r1 = the word for the current thread. Clobbers r0 to r5."""
    a, task = b.a, b.a.slot("word", U64)
    a.call("get_current_task")
    a.lsh(r0, _TASK_SHIFT)
    a.stx(task, r0)
    a.call("get_current_pid_tgid")
    a.mov32(r1, r0, "tid")
    a.lsh(r1, THREAD_SHIFT)
    a.ldx(r2, task)
    a.add(r1, r2)


def _count(b: Body, done: str) -> None:
    """Counts the thread r1 for the file of OPEN_FILE if it is a new one; may jump to `done`."""
    a, key, file_id, one = b.a, b.overlay("thread", ThreadKey), b.a.slot("id", U64), b.a.slot("one", U64)
    others, full = a.unique("not_the_first"), a.unique("threads_full")
    a.mov(r3, r1)
    a.rsh(r3, THREAD_SHIFT - 3)
    a.and_(r3, 8 * (THREADS_KEPT - 1))
    a.mov(r2, OPEN_FILE)
    a.add(r2, r3)
    a.ldx(r3, r2[OpenFile.threads[0]])
    a.jeq(r3, r1, done, "OPEN_FILE knows of it")
    a.stx(r2[OpenFile.threads[0]], r1)
    a.stx(key[ThreadKey.thread], r1)
    a.ldx(r1, OPEN_FILE[OpenFile.id])
    a.stx(key[ThreadKey.id], r1)
    a.stx(file_id, r1)
    a.lookup(b.maps.states, file_id)
    a.jeq(r0, 0, done)
    a.ldx(r1, key[ThreadKey.thread])
    a.ldx(r2, r0[FileState.threads])
    a.jne(r2, 0, others)
    if b.kernel.fetch_atomics:
        a.mov(r4, r0)
        a.mov(r0, 0)
        a.mov(r3, r1)
        a.cmpxchg(r4[FileState.threads], r3)
        a.jeq(r0, 0, done)
        a.mov(r2, r0, "a sibling was quicker")
    else:
        a.stx(r0[FileState.threads], r1)
        a.ja(done)
    a.label(others)
    a.mov(r3, r2)
    a.and_(r3, -1 << THREAD_SHIFT)
    a.jeq(r3, r1, done, "the first one")
    a.and_(r2, (1 << THREAD_SHIFT) - 1)
    a.jge(r2, MOST_THREADS - 1, done, "as many as are counted")
    a.st(one, 0)
    a.update(b.maps.threads, key, one, BPF_NOEXIST)
    a.jne(r0, 0, full)
    a.lookup(b.maps.states, file_id)
    a.jeq(r0, 0, done)
    b.count(r0[FileState.threads])
    a.ja(done)
    a.label(full)
    a.jeq(r0, -_EEXIST, done)
    b.lost(Lost.tallies)
