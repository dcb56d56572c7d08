"""Linux AIO: requests submitted by io_submit, completed by events in a ring that the kernel and the process share.

A request is noted at the entry of io_submit, so that a thread which reaps its completion before io_submit returns
finds it; what the kernel did not accept is taken back at the exit.  Completions are seen in the events that
io_getevents hands over, and, as libraries also take events out of the ring by themselves, without any system call, in
the part of the ring that was reaped since the last look: at each io_submit, before a request is noted whose iocb may
be that of one reaped there, and for the last time when the context or the process ends.

One system call may bring any number of requests and events.  Where there is bpf_loop (5.17) a callback handles one;
elsewhere a program handles a few, in a loop where the kernel allows one (5.3), and goes on with itself, as often as
tail calls go.
"""

from __future__ import annotations

from typing import Callable, List, Tuple

from asm import U32, U64, Field, ProgramSpec, Slot, r0, r1, r2, r3, r7, r8
from programs.calls.transfer import sum_iovec
from programs.counting import counters
from programs.facts.catalogue import BY_NAME, READ, WRITE, Kind
from programs.facts.kernel import RWF_APPEND, RWF_DSYNC, RWF_SYNC, Kernel, Options
from programs.facts.maps import (
    AIO_EVENTS,
    AIO_LAST,
    AIO_NEW,
    AIO_NOTE,
    AIO_RARE_EVENTS,
    AIO_RARE_RING,
    AIO_RING,
    AIO_UNDO,
    AIO_VECTOR,
    Maps,
)
from programs.facts.records import IOVECS, SYNC, AioContext, AioEvent, AioKey, AioRing, Call, Iocb, Lost, PendingKey
from programs.files.identify import SCRATCH_ENTER, find_open, identify, read_file, regular_only, send_name
from programs.requests.lifecycle import complete, complete_whole, submit, take_back
from programs.way.body import Body, begin
from programs.way.entry import begin_exit, find_call, load_result, resolve
from programs.way.registers import CALL, CTX, ROUNDS

RING_MAGIC = 0xA10A10A1  # fs/aio.c: AIO_RING_MAGIC
EBADF = 9
AIO_LIMIT = 1 << 16  # requests a call: fs.aio-max-nr is 65,536 unless somebody raised it
EVENTS_AT_ONCE, PLAIN_EVENTS_AT_ONCE, NOTES_AT_ONCE, UNDONE_AT_ONCE = 2, 10, 9, 8  # what 4,096 instructions hold
LOOPED_AT_ONCE = 64  # of any, where the verifier follows a loop round by round
CONTEXTS_AT_ONCE = 16  # of a process that ends
ENTRIES = 4  # of an iovec, summed in place

# include/uapi/linux/aio_abi.h: IOCB_CMD_*
OPCODES: List[Tuple[int, str, int]] = [
    (0, "aio_pread", READ),
    (1, "aio_pwrite", WRITE),
    (2, "aio_fsync", SYNC),
    (3, "aio_fdsync", SYNC),
    (7, "aio_preadv", READ),
    (8, "aio_pwritev", WRITE),
]
VECTORED = 7  # and above


# -- many at once --------------------------------------------------------------------------------------------------


def _repeat(b: Body, name: str, at_once: int, item: Callable[[str], None]) -> None:
    """Runs ``item`` again and again, with the Call record in CALL, until it jumps to the label it is given.

    With bpf_loop as often as need be, else a few times: ``at_once`` where all of it must be laid out.
    """
    a = b.a

    def callback() -> None:
        a.ldx(CALL, r2.u64(0))
        item("over")
        a.ret(0)
        a.label("over")
        a.ret(1)

    if b.kernel.loops:
        own = a.slot("own", U64)
        a.stx(own, CALL)
        b.loop(AIO_LIMIT, name, callback, own)
        return
    if b.kernel.back_jumps:
        context = a.slot("context", U64)
        a.stx(context, CTX)
        a.mov(ROUNDS, LOOPED_AT_ONCE)
        a.label(name)
        item("over")
        b.forget(context)
        a.sub(ROUNDS, 1)
        a.jne(ROUNDS, 0, name)
        a.label("over")
        a.ldx(CTX, context)
        return
    for _ in range(at_once):
        item("over")
    a.label("over")


def _more(b: Body, done: str) -> None:
    """Jumps to ``done`` if Call.next has come to Call.count.  Leaves Call.next in r1."""
    b.a.ldx(r1, CALL[Call.next])
    b.a.ldx(r2, CALL[Call.count])
    b.a.jge(r1, r2, done)


def _advance(b: Body) -> None:
    b.a.ldx(r1, CALL[Call.next])
    b.a.add(r1, 1)
    b.a.stx(CALL[Call.next], r1)


def _pending_key(b: Body, key: Slot) -> Slot:
    """``key``, filled in for this process's request at Call.iocb in the context Call.space."""
    a = b.a
    for place, own in (
        (PendingKey.owner, Call.process),
        (PendingKey.space, Call.space),
        (PendingKey.request, Call.iocb),
    ):
        a.ldx(r1, CALL[own])
        a.stx(key[place], r1)
    return key


# -- the ring ------------------------------------------------------------------------------------------------------


def enter_aio(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The entry of io_submit, io_destroy and exit_group: what was reaped from the ring since the last look.

    Of a context that goes, everything that has completed, reaped or not.
    """
    b = begin("enter_aio", kernel, options, maps)
    a = b.a
    a.mov(CTX, r1)
    find_call(b, "out")
    for place in (Call.next, Call.count):
        a.st(CALL[place], 0)
    key = _context_key(b)
    a.ldx(r2, CALL.u8(Call.call.offset), "kind")
    a.jeq(r2, Kind.AIO_EXIT, "exit")
    a.ldx(r1, CALL[Call.args[kernel.argument(0)]])
    a.stx(CALL[Call.space], r1)
    a.stx(key[AioKey.context], r1)
    a.lookup(maps.contexts, key)
    a.jne(r0, 0, "have_context")
    a.ldx(r2, CALL.u8(Call.call.offset), "kind")
    a.jne(r2, Kind.AIO_SUBMIT, "out")
    _link(b, key, known=0)
    a.lookup(maps.contexts, key)
    a.jeq(r0, 0, "nothing", "no room: what io_getevents shows will still be seen")
    a.label("have_context")
    a.mov(r7, r0)
    ring = _read_ring(b, "nothing")
    a.ldx(r3, ring[AioRing.head])
    a.ldx(r1, CALL.u8(Call.call.offset), "kind")
    a.jeq(r1, Kind.AIO_SUBMIT, "up_to_head")
    a.ldx(r3, ring[AioRing.tail])
    a.label("up_to_head")
    _take_unseen(b, "nothing")
    a.tail_call(CTX, maps.jumps, AIO_RING)
    a.label("nothing")
    _go_on(b, just_entered=True)
    a.ret(0)
    a.label("exit")
    a.st(key[AioKey.context], 0)
    a.lookup(maps.contexts, key)
    a.jeq(r0, 0, "out", "no AIO here")
    a.ldx(r1, r0[AioContext.seen], "the last one made")
    a.stx(CALL[Call.older], r1)
    a.delete(maps.contexts, key)
    a.tail_call(CTX, maps.jumps, AIO_LAST)
    a.label("out")
    a.ret(0)
    return b.program()


def last(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """exit_group: every context of the process, from Call.older on; AIO_RING in between where there is something."""
    b = begin("aio_last", kernel, options, maps)
    a = b.a
    a.mov(CTX, r1)
    find_call(b, "out")
    key = _context_key(b)
    for _ in range(CONTEXTS_AT_ONCE):
        nothing = a.unique("nothing")
        a.ldx(r1, CALL[Call.older])
        a.jeq(r1, 0, "out")
        a.stx(CALL[Call.space], r1)
        a.stx(key[AioKey.context], r1)
        a.lookup(maps.contexts, key)
        a.jeq(r0, 0, "out")
        a.mov(r7, r0)
        a.ldx(r1, r7[AioContext.older])
        a.stx(CALL[Call.older], r1)
        ring = _read_ring(b, nothing)
        a.ldx(r3, ring[AioRing.tail])
        _take_unseen(b, nothing)
        a.ja("unseen")
        a.label(nothing)
        a.delete(maps.contexts, key)
    a.tail_call(CTX, maps.jumps, AIO_LAST)
    a.ret(0)
    a.label("unseen")
    a.delete(maps.contexts, key)
    a.tail_call(CTX, maps.jumps, AIO_RING)
    a.label("out")
    a.ret(0)
    return b.program()


def _context_key(b: Body) -> Slot:
    """The key of the contexts of the process of the Call record, but for the context."""
    a, key = b.a, b.a.slot("context", AioKey)
    a.ldx(r1, CALL[Call.process])
    a.stx(key[AioKey.tgid], r1)
    return key


def _link(b: Body, key: Slot, *, known: int) -> None:
    """A record for the context of ``key``, the first in the list of its process's."""
    a, context, older, first = b.a, b.a.slot("made", U64), b.a.slot("older", U64), b.a.unique("first_context")
    _unlink(b, key)
    a.ldx(r1, key[AioKey.context])
    a.stx(context, r1)
    a.st(key[AioKey.context], 0)
    a.st(older, 0)
    a.lookup(b.maps.contexts, key)
    a.jeq(r0, 0, first)
    a.ldx(r1, r0[AioContext.seen])
    a.stx(older, r1)
    a.label(first)
    fresh = b.fresh(AioContext)
    a.ldx(r1, context)
    a.stx(fresh[AioContext.seen], r1)
    a.update(b.maps.contexts, key, fresh)
    _point(b, key, older, AioContext.newer, context)
    fresh = b.fresh(AioContext)
    a.st(fresh[AioContext.known], known)
    a.ldx(r1, older)
    a.stx(fresh[AioContext.older], r1)
    a.ldx(r1, context)
    a.stx(key[AioKey.context], r1)
    a.update(b.maps.contexts, key, fresh)


def _unlink(b: Body, key: Slot) -> None:
    """No record any more for the context of ``key``, if there was one."""
    a, context, none, linked = b.a, b.a.slot("made", U64), b.a.unique("no_record"), b.a.unique("unlinked")
    older, newer = a.slot("older", U64), a.slot("newer", U64)
    a.lookup(b.maps.contexts, key)
    a.jeq(r0, 0, none)
    for place, part in ((older, AioContext.older), (newer, AioContext.newer)):
        a.ldx(r1, r0[part])
        a.stx(place, r1)
    a.ldx(r1, key[AioKey.context])
    a.stx(context, r1)
    a.delete(b.maps.contexts, key)
    _point(b, key, older, AioContext.newer, newer)
    a.ldx(r1, newer)
    a.jeq(r1, 0, linked)
    _point(b, key, newer, AioContext.older, older)
    a.ja(none + "_restored")
    a.label(linked)
    a.st(key[AioKey.context], 0)
    a.lookup(b.maps.contexts, key)
    a.jeq(r0, 0, none + "_restored")
    a.ldx(r1, older)
    a.stx(r0[AioContext.seen], r1)
    a.label(none + "_restored")
    a.ldx(r1, context)
    a.stx(key[AioKey.context], r1)
    a.label(none)


def _point(b: Body, key: Slot, context: Slot, place: Field, to: Slot) -> None:
    """Lets ``place`` of the record of ``context``, if that has one, point to another context.  Overwrites ``key``."""
    a, none = b.a, b.a.unique("no_neighbour")
    a.ldx(r1, context)
    a.stx(key[AioKey.context], r1)
    a.lookup(b.maps.contexts, key)
    a.jeq(r0, 0, none)
    a.ldx(r1, to)
    a.stx(r0[place], r1)
    a.label(none)


def _take_unseen(b: Body, nothing: str) -> None:
    """Call.next, count, wrap and base = the events before index r3 that were not looked at; a jump without any.

    r7 = the AioContext, the slot "ring" its ring's head.
    """
    a, ring, known, in_order = b.a, b.a.slot("ring", AioRing), b.a.unique("known"), b.a.unique("in_order")
    a.ldx(r1, r7[AioContext.known])
    a.jne(r1, 0, known)
    a.ldx(r1, ring[AioRing.head], "older than tracing: what was reaped so far is none of ours")
    a.stx(r7[AioContext.seen], r1)
    a.st(r7[AioContext.known], 1)
    a.label(known)
    a.ldx(r2, ring[AioRing.entries])
    a.ldx(r1, r7[AioContext.seen])
    a.mod(r1, r2)
    a.stx(CALL[Call.next], r1)
    a.stx(r7[AioContext.seen], r3)
    a.stx(CALL[Call.wrap], r2)
    a.jge(r3, r1, in_order)
    a.add(r3, r2)
    a.label(in_order)
    a.stx(CALL[Call.count], r3, "an index, which may lie behind the ring's end")
    a.ldx(r2, CALL[Call.space])
    a.add(r2, AioRing.size)
    a.stx(CALL[Call.base], r2)
    a.jeq(r1, r3, nothing)


def _read_ring(b: Body, unreadable: str) -> Slot:
    """The head of the ring at Call.space.  A process that never looked at it has no page there to read."""
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


def _go_on(b: Body, *, just_entered: bool = False) -> None:
    """After the ring: the requests of io_submit, or the next ring.  Ends the program unless that jumps away."""
    a, out, submits = b.a, b.a.unique("nothing_submitted"), b.a.unique("submits")
    a.ldx(r1, CALL.u8(Call.call.offset), "kind")
    a.jeq(r1, Kind.AIO_SUBMIT, submits)
    a.jne(r1, Kind.AIO_EXIT, out)
    a.tail_call(CTX, b.maps.jumps, AIO_LAST)
    a.ja(out)
    a.label(submits)
    if not just_entered:
        a.call("ktime_get_ns")
        a.stx(CALL[Call.entered], r0)
    for place in (Call.next, Call.measured, Call.stuck):
        a.st(CALL[place], 0)
    a.ldx(r1, CALL[Call.args[b.kernel.argument(1)]])
    a.jslt(r1, 1, out)
    a.stx(CALL[Call.count], r1)
    a.tail_call(CTX, b.maps.jumps, AIO_NOTE)
    a.label(out)


def events(kernel: Kernel, options: Options, maps: Maps, *, entering: bool) -> ProgramSpec:
    """Accounts for the events Call.next to Call.count of those at Call.base: at entry from the ring, at exit from the
    caller's buffer.

    In straight code only for what is plain, but for more of it; the rest is left to ``rare_events``.
    """
    b = begin("aio_ring" if entering else "aio_events", kernel, options, maps)
    a = b.a
    a.mov(CTX, r1)
    find_call(b, "out")
    _events(b, entering=entering)
    a.label("out")
    a.ret(0)
    return b.program()


def _events(b: Body, *, entering: bool) -> None:
    """The end of a program that accounts for events, but for the label "out"."""
    a, kernel, maps = b.a, b.kernel, b.maps
    a.call("ktime_get_ns")
    a.stx(CALL[Call.now], r0, "of all that this call shows")
    if kernel.straight:
        a.st(CALL[Call.stuck], 0)
        _repeat(b, "event", PLAIN_EVENTS_AT_ONCE, lambda over: _event(b, over, plain=True))
    else:
        _repeat(b, "event", 0, lambda over: _event(b, over))
    if not kernel.loops:
        _more(b, "finished")
        if kernel.straight:
            a.ldx(r1, CALL[Call.stuck])
            a.jeq(r1, 0, "again")
            a.tail_call(CTX, maps.jumps, AIO_RARE_RING if entering else AIO_RARE_EVENTS)
            a.ret(0)
            a.label("again")
        a.tail_call(CTX, maps.jumps, AIO_RING if entering else AIO_EVENTS)
        a.label("finished")
    if entering:
        _go_on(b)


def rare_events(kernel: Kernel, options: Options, maps: Maps, *, entering: bool) -> ProgramSpec:
    """Two events of any kind, in straight code."""
    b = begin("aio_rare_ring" if entering else "aio_rare_events", kernel, options, maps)
    a = b.a
    a.mov(CTX, r1)
    find_call(b, "out")
    a.call("ktime_get_ns")
    a.stx(CALL[Call.now], r0, "of all that this call shows")
    _repeat(b, "event", EVENTS_AT_ONCE, lambda over: _event(b, over))
    a.tail_call(CTX, maps.jumps, AIO_RING if entering else AIO_EVENTS)
    a.label("out")
    a.ret(0)
    return b.program()


def _event(b: Body, over: str, *, plain: bool = False) -> None:
    a, event = b.a, b.overlay("event", AioEvent)
    within, full, counted, rare = (a.unique(name) for name in ("within", "no_room", "next_event", "rare"))
    _more(b, over)
    a.ldx(r2, CALL[Call.wrap])
    a.jlt(r1, r2, within)
    a.sub(r1, r2)
    a.label(within)
    a.lsh(r1, AioEvent.size.bit_length() - 1)
    a.ldx(r3, CALL[Call.base])
    a.add(r3, r1)
    if not plain:
        _advance(b)
    b.probe(event, AioEvent.size, r3, 0)
    a.jne(r0, 0, counted, "nobody has looked at it: it was handed over by a call")
    a.ldx(r1, event[AioEvent.request])
    a.stx(CALL[Call.iocb], r1)
    a.ldx(r8, event[AioEvent.result])
    key = _pending_key(b, b.overlay("pending", PendingKey))
    if plain:
        complete_whole(b, key, unknown=counted, rare=rare)
        a.ja(counted)
        a.label(rare)
        a.st(CALL[Call.stuck], 1)
        a.ja(over)
        a.label(counted)
        _advance(b)
        return
    complete(b, key, unknown=counted, full=full)
    a.ja(counted)
    a.label(full)
    b.lost(Lost.calls)
    a.label(counted)


# -- submission ----------------------------------------------------------------------------------------------------


def note(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Notes the requests from Call.next on, as long as their files are known."""
    b = begin("aio_note", kernel, options, maps)
    a = b.a
    a.mov(CTX, r1)
    find_call(b, "out")
    _repeat(b, "request", NOTES_AT_ONCE, lambda over: _note(b, over))
    _more(b, "out")
    if not kernel.loops:
        a.ldx(r1, CALL[Call.stuck])
        a.jne(r1, 0, "stuck")
        a.tail_call(CTX, maps.jumps, AIO_NOTE)
        a.ret(0)
        a.label("stuck")
        a.jeq(r1, AIO_NEW, "new")
        a.tail_call(CTX, maps.jumps, AIO_VECTOR)
        a.ret(0)
        a.label("new")
    a.tail_call(CTX, maps.jumps, AIO_NEW)
    a.label("out")
    a.ret(0)
    return b.program()


def _note(b: Body, over: str) -> None:
    a = b.a
    found, slow, stale, skip = (a.unique(name) for name in ("found", "slow", "stale", "next_request"))
    _more(b, over)
    _read_request(b, skip, over)
    find_open(b, found, slow, later=stale if b.kernel.straight else "")
    a.label(slow)
    read_file(b, r8)
    regular_only(b, skip)
    if b.kernel.straight:
        a.label(stale)
    a.st(CALL[Call.stuck], AIO_NEW)
    a.ja(over)
    a.label(found)
    _submit(b)
    a.label(skip)
    _next_request(b)


def _submit(b: Body) -> None:
    a, full, noted = b.a, b.a.unique("no_room"), b.a.unique("noted")
    key = _pending_key(b, a.slot("pending", PendingKey))
    submit(b, key, full)
    a.ja(noted)
    a.label(full)
    b.lost(Lost.calls)
    a.label(noted)


def _next_request(b: Body) -> None:
    for place in (Call.stuck, Call.measured):
        b.a.st(CALL[place], 0)
    _advance(b)


def note_new(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Notes the request Call.next, whose file has not been seen or named yet, and goes on with those after it."""
    b = begin("aio_new", kernel, options, maps)
    a = b.a
    a.mov(CTX, r1)
    find_call(b, "out")
    a.st(CALL[Call.walk], 0)
    _read_request(b, "skip", "out")
    a.st(CALL[Call.moved], 0)
    if kernel.straight:
        find_open(b, "slow", "slow")  # which ends what an earlier owner of the address has left
        a.label("slow")
    identify(b, scratch=SCRATCH_ENTER, skip="skip")
    _submit(b)
    _next_request(b)
    send_name(b, SCRATCH_ENTER, after=AIO_NOTE)
    a.label("skip")
    _next_request(b)
    a.tail_call(CTX, maps.jumps, AIO_NOTE)
    a.label("out")
    a.ret(0)
    return b.program()


def measure(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Sums the iovec of the request Call.next, where that takes a program of its own."""
    b = begin("aio_vector", kernel, options, maps)
    a = b.a
    a.mov(CTX, r1)
    find_call(b, "out")
    a.st(CALL[Call.unmeasured], 0)
    sum_iovec(b, pointer=CALL[Call.start], entries=CALL[Call.moved], scratch=SCRATCH_ENTER)
    a.st(CALL[Call.measured], 1)
    a.st(CALL[Call.stuck], 0)
    a.tail_call(CTX, maps.jumps, AIO_NOTE)
    a.label("out")
    a.ret(0)
    return b.program()


def _read_request(b: Body, skip: str, over: str) -> None:
    """The request Call.next into the Call record, its file into r8.  ``skip``: it is none that is counted."""
    a, iocb = b.a, _iocb(b)
    plain, measured, unreadable, readable = (a.unique(n) for n in ("plain", "measured", "unreadable", "readable"))
    _read_iocb(b, unreadable)
    a.ja(readable)
    a.label(unreadable)
    a.ldx(r1, CALL[Call.next])
    a.stx(CALL[Call.count], r1, "the kernel will not get further either")
    a.ja(over)
    a.label(readable)
    _operation(b, skip)
    for place in (Call.rw_flags, Call.explicit):
        a.st(CALL[place], 0)
    a.ldx(r1, CALL[Call.measured])
    a.jne(r1, 0, measured)
    a.st(CALL[Call.requested], 0)
    a.st(CALL[Call.unmeasured], 0)
    a.label(measured)
    resolved = a.unique("descriptor")
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, SYNC, resolved)
    a.st(CALL[Call.explicit], 1)
    a.ldx(r1, iocb[Iocb.offset])
    a.stx(CALL[Call.offset], r1)
    a.ldx(r1, iocb[Iocb.rw_flags])
    a.and_(r1, RWF_DSYNC | RWF_SYNC | RWF_APPEND)
    a.stx(CALL[Call.rw_flags], r1)
    a.ldx(r1, iocb[Iocb.opcode])
    a.jlt(r1, VECTORED, plain)
    a.ldx(r1, CALL[Call.measured])
    a.jne(r1, 0, resolved)
    _sum(b, resolved, over)
    a.label(plain)
    a.ldx(r1, iocb[Iocb.nbytes])
    a.stx(CALL[Call.requested], r1)
    a.label(resolved)
    a.ldx(r8, iocb[Iocb.descriptor])
    resolve(b)
    a.jeq(r8, 0, skip)


def _iocb(b: Body) -> Slot:
    """Where a request is read to: done with before anything is made of it."""
    return b.overlay("iocb", Iocb)


def _read_iocb(b: Body, unreadable: str) -> None:
    """Call.iocb = the address of request Call.next, the slot "iocb" = what is there."""
    a, iocb, word = b.a, _iocb(b), b.a.slot("word", U64)
    a.ldx(r3, CALL[Call.next])
    a.lsh(r3, 3)
    a.ldx(r1, CALL[Call.args[b.kernel.argument(2)]])
    a.add(r3, r1)
    b.probe(word, 8, r3, 0)
    a.jne(r0, 0, unreadable)
    a.ldx(r3, word)
    a.stx(CALL[Call.iocb], r3)
    b.probe(iocb, Iocb.size, r3, 0)
    a.jne(r0, 0, unreadable)


def _operation(b: Body, none: str) -> None:
    """Call.op and Call.direction by the opcode."""
    a, decided = b.a, b.a.unique("operation")
    a.ldx(r1, _iocb(b)[Iocb.opcode])
    for number, name, direction in OPCODES:
        other = a.unique("not_" + name)
        a.jne(r1, number, other)
        a.st(CALL[Call.op], BY_NAME[name].code)
        a.st(CALL[Call.direction], direction)
        a.ja(decided)
        a.label(other)
    a.ja(none)
    a.label(decided)


def _sum(b: Body, done: str, over: str) -> None:
    """Call.requested = the sum of the iovec; without loops a long one is for another program.  Ends in a jump."""
    a, iocb, word = b.a, _iocb(b), b.a.slot("word", U64)
    unreadable, allowed = a.unique("no_iovec"), a.unique("entries")
    a.ldx(r1, iocb[Iocb.nbytes], "entries")
    a.jle(r1, IOVECS, allowed)
    a.mov(r1, IOVECS, "the kernel refuses more")
    a.label(allowed)
    a.ldx(r2, iocb[Iocb.buffer])
    a.stx(CALL[Call.moved], r1)
    a.stx(CALL[Call.start], r2)
    if b.kernel.loops:
        b.loop(r1, "entry", lambda: _entry(b))
        a.ja(done)
        return
    short = a.unique("short_iovec")
    a.jle(r1, ENTRIES, short)
    a.st(CALL[Call.stuck], AIO_VECTOR)
    a.ja(over)
    a.label(short)
    for entry in range(ENTRIES):
        a.ldx(r1, CALL[Call.moved])
        a.jle(r1, entry, done)
        a.ldx(r3, CALL[Call.start])
        b.probe(word, 8, r3, 16 * entry + 8)
        a.jne(r0, 0, unreadable)
        a.ldx(r1, CALL[Call.requested])
        a.ldx(r2, word)
        a.add(r1, r2)
        a.stx(CALL[Call.requested], r1)
    a.ja(done)
    a.label(unreadable)
    b.lost(Lost.iovecs)
    a.st(CALL[Call.unmeasured], 1)
    a.st(CALL[Call.requested], 0)
    a.ja(done)


def _entry(b: Body) -> None:
    """Adds the length of entry r1 of the iovec at Call.start."""
    a = b.a
    a.mov(r8, r1)
    find_call(b, "stop")
    word = a.slot("word", U64)
    a.lsh(r8, 4)
    a.ldx(r3, CALL[Call.start])
    a.add(r3, r8)
    b.probe(word, 8, r3, 8)
    a.jne(r0, 0, "unreadable")
    a.ldx(r1, CALL[Call.requested])
    a.ldx(r2, word)
    a.add(r1, r2)
    a.stx(CALL[Call.requested], r1)
    a.ret(0)
    a.label("unreadable")
    b.lost(Lost.iovecs)
    a.st(CALL[Call.unmeasured], 1)
    a.st(CALL[Call.requested], 0)
    a.label("stop")
    a.ret(1)


# -- exits ---------------------------------------------------------------------------------------------------------


def exit_submit(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of io_submit where not all was noted and accepted: the requests that were not the one, or the other."""
    b = begin_exit("exit_aio_submit", kernel, options, maps)
    a, zero = b.a, b.a.slot("zero", U32)
    a.jslt(r8, 0, "refused")
    a.ldx(r7, CALL[Call.next], "so far they were noted")
    a.jlt(r8, r7, "refused")
    a.sub(r8, r7)
    a.st(zero, 0)
    a.lookup(maps.lost, zero)
    a.jeq(r0, 0, "out")
    a.xadd(r0[Lost.calls], r8, "more than tail calls go")
    a.ret(0)
    a.label("refused")
    a.tail_call(CTX, maps.jumps, AIO_UNDO)
    a.label("out")
    a.ret(0)
    return b.program()


def undo(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Takes back the requests before Call.next, last one first, that io_submit did not accept.

    If it failed, it was the first one that failed, with that error.
    """
    b = begin("aio_undo", kernel, options, maps)
    a = b.a
    a.mov(CTX, r1)
    find_call(b, "out")
    load_result(b)
    a.mov(r1, r8)
    a.jsge(r1, 0, "accepted")
    a.mov(r1, 1)
    a.label("accepted")
    a.stx(CALL[Call.count], r1, "those that stay")
    _repeat(b, "refused", UNDONE_AT_ONCE, lambda over: _undo(b, over))
    if not kernel.loops:
        a.ldx(r1, CALL[Call.next])
        a.ldx(r2, CALL[Call.count])
        a.jle(r1, r2, "undone")
        a.tail_call(CTX, maps.jumps, AIO_UNDO)
        a.label("undone")
    load_result(b)
    a.jsge(r8, 0, "out")
    _failed(b)
    a.label("out")
    a.ret(0)
    return b.program()


def _undo(b: Body, over: str) -> None:
    a, unknown = b.a, b.a.unique("not_noted")
    a.ldx(r1, CALL[Call.next])
    a.ldx(r2, CALL[Call.count])
    a.jle(r1, r2, over)
    a.sub(r1, 1)
    a.stx(CALL[Call.next], r1)
    _read_iocb(b, unknown)
    key = _pending_key(b, b.overlay("pending", PendingKey))
    take_back(b, key, unknown)
    a.label(unknown)


def _failed(b: Body) -> None:
    """The first request of an io_submit that failed with the errno in r8."""
    a = b.a
    a.st(CALL[Call.next], 0)
    _read_iocb(b, "out")
    _operation(b, "out")
    a.call("ktime_get_ns")
    a.stx(CALL[Call.now], r0)
    key = _pending_key(b, b.overlay("pending", PendingKey))
    complete(b, key, unknown="no_file", full="full")
    a.ja("out")
    a.label("full")
    b.lost(Lost.calls)
    a.ja("out")
    a.label("no_file")
    a.jne(r8, -EBADF, "out")
    counters.failed(b, None)


def exit_reap(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of io_getevents and io_pgetevents: the events that it handed over.

    Where a loop needs no tail call, it accounts for them itself.
    """
    b = begin_exit("exit_aio_reap", kernel, options, maps)
    a = b.a
    a.jslt(r8, 1, "out")
    for place, argument in ((Call.space, 0), (Call.base, 3)):
        a.ldx(r1, CALL[Call.args[kernel.argument(argument)]])
        a.stx(CALL[place], r1)
    a.st(CALL[Call.next], 0)
    a.stx(CALL[Call.count], r8)
    a.stx(CALL[Call.wrap], r8)
    key = _context_key(b)
    a.ldx(r1, CALL[Call.space])
    a.stx(key[AioKey.context], r1)
    a.lookup(maps.contexts, key)
    a.jeq(r0, 0, "events")
    a.mov(r7, r0)
    ring = _read_ring(b, "unmapped")
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
        _events(b, entering=False)
    else:
        a.tail_call(CTX, maps.jumps, AIO_EVENTS)
    a.label("out")
    a.ret(0)
    return b.program()


def exit_context(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of io_setup and io_destroy: a context whose ring is known from its beginning, or one less."""
    b = begin_exit("exit_aio_context", kernel, options, maps)
    a, word = b.a, b.a.slot("word", U64)
    a.jne(r8, 0, "out")
    key = _context_key(b)
    a.ldx(r1, CALL[Call.args[kernel.argument(0)]])
    a.stx(key[AioKey.context], r1)
    a.and_(r7, 0xFF, "kind")
    a.jeq(r7, Kind.AIO_DESTROY, "destroyed")
    a.jne(r7, Kind.AIO_SETUP, "out")
    a.ldx(r3, CALL[Call.args[kernel.argument(1)]])
    b.probe(word, 8, r3, 0, "the new context")
    a.ldx(r1, word)
    a.stx(key[AioKey.context], r1)
    _link(b, key, known=1)
    a.ret(0)
    a.label("destroyed")
    _unlink(b, key)
    a.label("out")
    a.ret(0)
    return b.program()
