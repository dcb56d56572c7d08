"""The exit of io_getevents and io_pgetevents: the events that they handed over."""

from __future__ import annotations

from asm import ProgramSpec, r0, r1, r2, r3
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import AioContext, AioKey, AioRing, Call
from programs.requests.aio.contexts import context_key
from programs.requests.aio.events import account_for_events
from programs.requests.aio.ring import read_ring
from programs.way.body import Body
from programs.way.exit import begin_exit
from programs.way.registers import AIO_CONTEXT, CALL, CTX, RESULT


def exit_reap(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Accounts for the events in the caller's buffer; where that takes tail calls, Jump.AIO_EVENTS does it."""
    b = begin_exit("exit_aio_reap", kernel, options, maps)
    a = b.a
    a.jslt(RESULT, 1, "out")
    for place, number in ((Call.space, 0), (Call.base, 3)):
        a.ldx(r1, b.argument(number))
        a.stx(CALL[place], r1)
    a.st(CALL[Call.next], 0)
    a.stx(CALL[Call.count], RESULT)
    a.stx(CALL[Call.wrap], RESULT)
    _have_seen(b)
    a.label("events")
    if kernel.loops:
        account_for_events(b, entering=False)
    else:
        a.tail_call(CTX, maps.jumps, Jump.AIO_EVENTS)
    a.label("out")
    a.ret(0)
    return b.program()


def _have_seen(b: Body) -> None:
    """AioContext.seen moves on by the RESULT events that the kernel has taken out of the ring, if nobody else took any.

    Otherwise it stays, and all that was taken will be looked at in the ring: whose notes are gone by then, counts no
    more. Ends in the label "events", or in a jump there.
    """
    a, key = b.a, context_key(b)
    a.ldx(r1, CALL[Call.space])
    a.stx(key[AioKey.context], r1)
    a.lookup(b.maps.contexts, key)
    a.jeq(r0, 0, "events")
    a.mov(AIO_CONTEXT, r0)
    ring = read_ring(b, "unmapped")
    a.ldx(r2, ring[AioRing.entries])
    a.ldx(r3, ring[AioRing.head])
    a.ldx(r1, AIO_CONTEXT[AioContext.seen])
    a.add(r1, RESULT)
    a.mod(r1, r2)
    a.jne(r1, r3, "events", "somebody took others out of the ring: they are still to be looked at")
    a.stx(AIO_CONTEXT[AioContext.seen], r3)
    a.ja("events")
    a.label("unmapped")
    a.xadd(AIO_CONTEXT[AioContext.seen], RESULT, "nobody but the kernel has taken any")
