"""What the programs on io_uring's events begin with: the request, whom it belongs to, and a Call record to work in.

An event runs in whatever thread submits, works on or completes a request, or in an interrupt. None of these has a
system call on a file that the request could be described in, so a CPU lends its own Call record.
"""

from __future__ import annotations

from asm import U32, Slot, r0, r1
from programs.facts.maps import BORROWED
from programs.facts.records import Call, PendingKey
from programs.way.admit import only_targets
from programs.way.body import Body
from programs.way.registers import CALL, CTX, REQUEST


def event_key(b: Body, event: str) -> Slot:
    """REQUEST = what the event (a key of Uring.events) is about; the key of its note. Jumps to "out" if it has none."""
    a, at = b.a, b.uring.request[event]
    key = a.slot("pending", PendingKey)
    a.ldx(REQUEST, CTX[8 * at] if b.raw else CTX.u64(at), "struct io_kiocb *")
    a.jeq(REQUEST, 0, "out", "an event of the ring itself")
    a.stx(key[PendingKey.request], REQUEST)
    for place in (PendingKey.space, PendingKey.owner):
        a.st(key[place], 0)
    return key


def only_traced(b: Body) -> None:
    """Jumps to "out" unless the process is traced. A worker is a thread of the ring's owner (5.12)."""
    a = b.a
    a.call("get_current_pid_tgid")
    a.rsh(r0, 32)
    only_targets(b, r0, "out")


def borrow_call(b: Body, missing: str) -> None:
    """CALL = the record that this CPU lends. Clobbers r0 to r5.

    Where programs are preempted, one may run on behalf of another thread in the middle of this one: then there are
    several records, chosen by thread.
    """
    a, which = b.a, b.a.slot("zero", U32)
    if b.kernel.spares:
        a.call("get_current_pid_tgid")
        a.and_(r0, BORROWED - 1)
        a.stx(which, r0)
    else:
        a.st(which, 0)
    a.lookup(b.maps.borrowed, which)
    a.jeq(r0, 0, missing)
    a.mov(CALL, r0)


def mark(b: Body, what: int) -> None:
    """Call.marks |= `what`, a NOTE_*. Clobbers r1."""
    a = b.a
    a.ldx(r1, CALL[Call.marks])
    a.or_(r1, what)
    a.stx(CALL[Call.marks], r1)


def go_on(b: Body, after: int) -> None:
    """The end of a program: on to the program `after`, if that is not 0."""
    if after:
        b.a.tail_call(CTX, b.maps.jumps, after)
    b.a.ret(0)
