"""Completions."""

from __future__ import annotations

from asm import ProgramSpec, r0, r1, r2, r3, r7, r8
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import AioContext, AioEvent, AioKey, AioRing, Call, Lost, PendingKey
from programs.requests.aio.contexts import context_key
from programs.requests.aio.iocb import pending_key
from programs.requests.aio.repeat import advance, repeat, stop_at_end
from programs.requests.aio.ring import go_on, read_ring
from programs.requests.lifecycle import complete, complete_whole
from programs.way.body import Body
from programs.way.entry import begin_exit, begin_part
from programs.way.registers import CALL, CTX

EVENTS_AT_ONCE, PLAIN_EVENTS_AT_ONCE = 2, 10  # as many as 4,096 instructions hold


def events(kernel: Kernel, options: Options, maps: Maps, *, entering: bool) -> ProgramSpec:
    """Accounts for the events Call.next to Call.count of those at Call.base: at entry from the ring, at exit from the
    caller's buffer.

    In straight code only for what is plain, but for more of it; the rest is left to ``rare_events``.
    """
    b = begin_part("aio_ring" if entering else "aio_events", kernel, options, maps)
    a = b.a
    account_for_events(b, entering=entering)
    a.label("out")
    a.ret(0)
    return b.program()


def account_for_events(b: Body, *, entering: bool) -> None:
    """The end of a program that accounts for events, but for the label "out"."""
    a, kernel, maps = b.a, b.kernel, b.maps
    a.call("ktime_get_ns")
    a.stx(CALL[Call.now], r0, "of all that this call shows")
    if kernel.straight:
        a.st(CALL[Call.stuck], 0)
        repeat(b, "event", PLAIN_EVENTS_AT_ONCE, lambda over: _event(b, over, plain=True))
    else:
        repeat(b, "event", 0, lambda over: _event(b, over))
    if not kernel.loops:
        stop_at_end(b, "finished")
        if kernel.straight:
            a.ldx(r1, CALL[Call.stuck])
            a.jeq(r1, 0, "again")
            a.tail_call(CTX, maps.jumps, Jump.AIO_RARE_RING if entering else Jump.AIO_RARE_EVENTS)
            a.ret(0)
            a.label("again")
        a.tail_call(CTX, maps.jumps, Jump.AIO_RING if entering else Jump.AIO_EVENTS)
        a.label("finished")
    if entering:
        go_on(b)


def rare_events(kernel: Kernel, options: Options, maps: Maps, *, entering: bool) -> ProgramSpec:
    """Two events of any kind, in straight code."""
    b = begin_part("aio_rare_ring" if entering else "aio_rare_events", kernel, options, maps)
    a = b.a
    a.call("ktime_get_ns")
    a.stx(CALL[Call.now], r0, "of all that this call shows")
    repeat(b, "event", EVENTS_AT_ONCE, lambda over: _event(b, over))
    a.tail_call(CTX, maps.jumps, Jump.AIO_RING if entering else Jump.AIO_EVENTS)
    a.label("out")
    a.ret(0)
    return b.program()


def _event(b: Body, over: str, *, plain: bool = False) -> None:
    a, event = b.a, b.overlay("event", AioEvent)
    within, full, counted, rare = (a.unique(name) for name in ("within", "no_room", "next_event", "rare"))
    stop_at_end(b, over)
    a.ldx(r2, CALL[Call.wrap])
    a.jlt(r1, r2, within)
    a.sub(r1, r2)
    a.label(within)
    a.lsh(r1, AioEvent.size.bit_length() - 1)
    a.ldx(r3, CALL[Call.base])
    a.add(r3, r1)
    if not plain:
        advance(b)
    b.probe(event, AioEvent.size, r3, 0)
    a.jne(r0, 0, counted, "nobody has looked at it: it was handed over by a call")
    a.ldx(r1, event[AioEvent.request])
    a.stx(CALL[Call.iocb], r1)
    a.ldx(r8, event[AioEvent.result])
    key = pending_key(b, b.overlay("pending", PendingKey))
    if plain:
        complete_whole(b, key, unknown=counted, rare=rare)
        a.ja(counted)
        a.label(rare)
        a.st(CALL[Call.stuck], 1)
        a.ja(over)
        a.label(counted)
        advance(b)
        return
    complete(b, key, unknown=counted, full=full)
    a.ja(counted)
    a.label(full)
    b.lost(Lost.calls)
    a.label(counted)


def exit_reap(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of io_getevents and io_pgetevents: the events that it handed over.

    Where a loop needs no tail call, it accounts for them itself.
    """
    b = begin_exit("exit_aio_reap", kernel, options, maps)
    a = b.a
    a.jslt(r8, 1, "out")
    for place, argument in ((Call.space, 0), (Call.base, 3)):
        a.ldx(r1, b.argument(argument))
        a.stx(CALL[place], r1)
    a.st(CALL[Call.next], 0)
    a.stx(CALL[Call.count], r8)
    a.stx(CALL[Call.wrap], r8)
    key = context_key(b)
    a.ldx(r1, CALL[Call.space])
    a.stx(key[AioKey.context], r1)
    a.lookup(maps.contexts, key)
    a.jeq(r0, 0, "events")
    a.mov(r7, r0)
    ring = read_ring(b, "unmapped")
    a.ldx(r2, ring[AioRing.entries])
    a.ldx(r3, ring[AioRing.head])
    a.ldx(r1, r7[AioContext.seen])
    a.add(r1, r8)
    a.mod(r1, r2)
    a.jne(r1, r3, "events", "somebody took others out of the ring, which must still be looked at")
    a.stx(r7[AioContext.seen], r3)
    a.ja("events")
    a.label("unmapped")
    a.xadd(r7[AioContext.seen], r8, "nobody but the kernel has taken any")
    a.label("events")
    if kernel.loops:
        account_for_events(b, entering=False)
    else:
        a.tail_call(CTX, maps.jumps, Jump.AIO_EVENTS)
    a.label("out")
    a.ret(0)
    return b.program()
