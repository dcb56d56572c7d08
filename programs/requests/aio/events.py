"""Completion events: each is matched with the note of its request, and accounted for.

At the entry of a call they lie in the ring, at the exit of io_getevents in the caller's buffer; Call.base, wrap, next
and count say where, the same for both.

A program without any loop (before 5.3) holds few events, because most instructions of one are for what is rare: errors,
short transfers, first transfers on a file. So there are two kinds of programs there. One has room for more events, but
only those that are plain (`complete_whole`); it stops at any other and leaves that to the second kind, which has room
for two events of any sort and goes back to the first.
"""

from __future__ import annotations

from asm import ProgramSpec, Slot, r0, r1, r2, r3
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import AioEvent, Call, Lost, PendingKey
from programs.requests.aio.entry import after_ring
from programs.requests.aio.iocb import pending_key
from programs.requests.aio.repeat import advance, repeat, stop_at_end
from programs.requests.lifecycle import complete, complete_whole
from programs.way.body import Body
from programs.way.registers import CALL, CTX, RESULT
from programs.way.threads import begin_part

EVENTS_AT_ONCE, PLAIN_EVENTS_AT_ONCE = 2, 9  # as many as 4,096 instructions hold
OWNED_TIMED_EVENTS_AT_ONCE = 8  # plain ones, where rows are apart by who does the I/O, and over time


def events(kernel: Kernel, options: Options, maps: Maps, *, entering: bool) -> ProgramSpec:
    """Accounts for events: at entry for those of the ring, at exit for those of the caller's buffer."""
    b = begin_part("aio_ring" if entering else "aio_events", kernel, options, maps)
    account_for_events(b, entering=entering)
    b.a.label("out")
    b.a.ret(0)
    return b.program()


def rare_events(kernel: Kernel, options: Options, maps: Maps, *, entering: bool) -> ProgramSpec:
    """Accounts for the next events, whatever they are, and goes back to `events`."""
    b = begin_part("aio_rare_ring" if entering else "aio_rare_events", kernel, options, maps)
    a = b.a
    b.fill_stack()
    _take_time(b)
    repeat(b, "event", EVENTS_AT_ONCE, lambda over: _event(b, over))
    a.tail_call(CTX, maps.jumps, Jump.AIO_RING if entering else Jump.AIO_EVENTS)
    a.label("out")
    a.ret(0)
    return b.program()


def account_for_events(b: Body, *, entering: bool) -> None:
    """The end of a program that accounts for events, but for its label "out"."""
    a, kernel, maps = b.a, b.kernel, b.maps
    b.fill_stack()
    _take_time(b)
    if kernel.straight:
        a.st(CALL[Call.rare], 0)
        both = b.options.by and b.options.series
        at_once = OWNED_TIMED_EVENTS_AT_ONCE if both else PLAIN_EVENTS_AT_ONCE
        repeat(b, "event", at_once, lambda over: _plain_event(b, over))
    else:
        repeat(b, "event", 0, lambda over: _event(b, over))
    if not kernel.loops:
        stop_at_end(b, "finished")
        if kernel.straight:
            a.ldx(r1, CALL[Call.rare])
            a.jeq(r1, 0, "again")
            a.tail_call(CTX, maps.jumps, Jump.AIO_RARE_RING if entering else Jump.AIO_RARE_EVENTS)
            a.ret(0)
            a.label("again")
        a.tail_call(CTX, maps.jumps, Jump.AIO_RING if entering else Jump.AIO_EVENTS)
        a.label("finished")
    if entering:
        after_ring(b)


def _take_time(b: Body) -> None:
    """Call.now: all that one call shows is taken to have been completed by now."""
    b.a.call("ktime_get_ns")
    b.a.stx(CALL[Call.now], r0, "of all events that this call shows")


def _event(b: Body, over: str) -> None:
    """Accounts for the next event, or jumps to `over` if there is none."""
    a = b.a
    full, counted = a.unique("no_room"), a.unique("next_event")
    _find_event(b, over)
    advance(b)
    key = _read_event(b, counted)
    complete(b, key, unknown=counted, full=full)
    a.ja(counted)
    a.label(full)
    b.lost(Lost.calls)
    a.label(counted)


def _plain_event(b: Body, over: str) -> None:
    """The same if it is plain. Otherwise it stays the next one, Call.rare = 1, and there is a jump to `over`."""
    a = b.a
    counted, rare = a.unique("next_event"), a.unique("rare")
    _find_event(b, over)
    key = _read_event(b, counted)
    complete_whole(b, key, unknown=counted, rare=rare)
    a.ja(counted)
    a.label(rare)
    a.st(CALL[Call.rare], 1)
    a.ja(over)
    a.label(counted)
    advance(b)


def _find_event(b: Body, over: str) -> None:
    """r3 = the address of the event Call.next, or a jump to `over` if there is none."""
    a, within = b.a, b.a.unique("within")
    stop_at_end(b, over)
    a.ldx(r2, CALL[Call.wrap])
    a.jlt(r1, r2, within)
    a.sub(r1, r2)
    a.label(within)
    a.lsh(r1, AioEvent.size.bit_length() - 1)
    a.ldx(r3, CALL[Call.base])
    a.add(r3, r1)


def _read_event(b: Body, unreadable: str) -> Slot:
    """Call.iocb and RESULT = those of the event at r3; the key of the request's note. Jumps to `unreadable` without."""
    a, event = b.a, b.overlay("event", AioEvent)
    b.probe(event, AioEvent.size, r3, 0)
    a.jne(r0, 0, unreadable, "nobody has looked there: the kernel handed it over")
    a.ldx(r1, event[AioEvent.request])
    a.stx(CALL[Call.iocb], r1)
    a.ldx(RESULT, event[AioEvent.result])
    return pending_key(b, b.overlay("pending", PendingKey))
