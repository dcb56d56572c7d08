"""The ring of completion events that the kernel shares with the process, mapped at the address of its context.

The kernel writes events at the ring's tail; whoever takes them moves its head: the kernel itself in io_getevents, or a
library in user space, without any system call. `AioContext.seen` is how far this ring was looked at, so that what lies
between there and the head was taken by somebody, and has not been accounted for. A page of the ring that cannot be
read has never been looked at by the process either, whose events then all came by io_getevents.
"""

from __future__ import annotations

from asm import Slot, r0, r1, r2, r3
from programs.facts.records import AioContext, AioRing, Call
from programs.requests.aio.abi import RING_MAGIC
from programs.way.body import Body
from programs.way.registers import AIO_CONTEXT, CALL


def read_ring(b: Body, unreadable: str) -> Slot:
    """The slot "ring" = the AioRing at Call.space, or a jump to `unreadable` if there is none, or none with room."""
    a, ring = b.a, b.a.slot("ring", AioRing)
    a.ldx(r3, CALL[Call.space])
    b.probe(ring, AioRing.size, r3, 0)
    a.jne(r0, 0, unreadable)
    a.ldx(r1, ring[AioRing.magic])
    a.mov32(r2, RING_MAGIC)
    a.jne(r1, r2, unreadable)
    a.ldx(r1, ring[AioRing.entries])
    a.jeq(r1, 0, unreadable)
    return ring


def take_unseen(b: Body, nothing: str) -> None:
    """Call.next, count, base and wrap = the events of the slot "ring" that lie before index r3 and were not looked at.

    From now on they are, in AIO_CONTEXT. Jumps to `nothing` if there are none.
    """
    a, ring, known, in_order = b.a, b.a.slot("ring", AioRing), b.a.unique("known"), b.a.unique("in_order")
    a.ldx(r1, AIO_CONTEXT[AioContext.known])
    a.jne(r1, 0, known)
    a.ldx(r1, ring[AioRing.head], "older than tracing: what was taken before does not count")
    a.stx(AIO_CONTEXT[AioContext.seen], r1)
    a.st(AIO_CONTEXT[AioContext.known], 1)
    a.label(known)
    a.ldx(r2, ring[AioRing.entries])
    a.ldx(r1, AIO_CONTEXT[AioContext.seen])
    a.mod(r1, r2)
    a.stx(CALL[Call.next], r1)
    a.stx(AIO_CONTEXT[AioContext.seen], r3)
    a.stx(CALL[Call.wrap], r2)
    a.jge(r3, r1, in_order)
    a.add(r3, r2)
    a.label(in_order)
    a.stx(CALL[Call.count], r3, "an index, maybe beyond the ring's end")
    a.ldx(r2, CALL[Call.space])
    a.add(r2, AioRing.size)
    a.stx(CALL[Call.base], r2)
    a.jeq(r1, r3, nothing)
