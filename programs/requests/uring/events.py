"""An event of io_uring."""

from __future__ import annotations

from asm import U32, Slot, r0, r7
from programs.facts.kernel import Uring
from programs.facts.maps import BORROWED
from programs.facts.records import (
    PendingKey,
)
from programs.way.body import Body
from programs.way.registers import CALL, CTX


def event_key(b: Body, uring: Uring, event: str) -> Slot:
    """r7 = the request that the event is about, which is also the key of its note; a jump to ``out`` if it has none."""
    a, at = b.a, uring.request[event]
    key = a.slot("pending", PendingKey)
    a.ldx(r7, CTX[8 * at] if b.raw else CTX.u64(at), "struct io_kiocb *")
    a.jeq(r7, 0, "out", "an event of the ring")
    a.stx(key[PendingKey.request], r7)
    for place in (PendingKey.space, PendingKey.owner):
        a.st(key[place], 0)
    return key


def borrow_call(b: Body, missing: str) -> None:
    """CALL = this CPU's own Call record, for what happens where no traced thread is: in an interrupt, in a worker.

    Where programs are preempted, another thread's may run in the midst of this one: there are several then, by thread.
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
