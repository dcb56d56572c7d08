"""Submission."""

from __future__ import annotations

from asm import ProgramSpec, r1, r8
from programs.calls.transfer import sum_iovec
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import Call, Lost, PendingKey
from programs.files.identify import SCRATCH_ENTER, find_open, identify, read_file, regular_only, send_name
from programs.requests.aio.iocb import pending_key, read_request
from programs.requests.aio.repeat import advance, repeat, stop_at_end
from programs.requests.lifecycle import submit
from programs.way.body import Body
from programs.way.entry import begin_part
from programs.way.registers import CALL, CTX

NOTES_AT_ONCE = 9  # as many as 4,096 instructions hold


def note(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Notes the requests from Call.next on, as long as their files are known."""
    b = begin_part("aio_note", kernel, options, maps)
    a = b.a
    repeat(b, "request", NOTES_AT_ONCE, lambda over: _note(b, over))
    stop_at_end(b, "out")
    if not kernel.loops:
        a.ldx(r1, CALL[Call.stuck])
        a.jne(r1, 0, "stuck")
        a.tail_call(CTX, maps.jumps, Jump.AIO_NOTE)
        a.ret(0)
        a.label("stuck")
        a.jeq(r1, Jump.AIO_NEW, "new")
        a.tail_call(CTX, maps.jumps, Jump.AIO_VECTOR)
        a.ret(0)
        a.label("new")
    a.tail_call(CTX, maps.jumps, Jump.AIO_NEW)
    a.label("out")
    a.ret(0)
    return b.program()


def _note(b: Body, over: str) -> None:
    a = b.a
    found, slow, stale, skip = (a.unique(name) for name in ("found", "slow", "stale", "next_request"))
    stop_at_end(b, over)
    read_request(b, skip, over)
    find_open(b, found, slow, later=stale if b.kernel.straight else "")
    a.label(slow)
    read_file(b, r8)
    regular_only(b, skip)
    if b.kernel.straight:
        a.label(stale)
    a.st(CALL[Call.stuck], Jump.AIO_NEW)
    a.ja(over)
    a.label(found)
    _submit(b)
    a.label(skip)
    _next_request(b)


def _submit(b: Body) -> None:
    a, full, noted = b.a, b.a.unique("no_room"), b.a.unique("noted")
    key = pending_key(b, a.slot("pending", PendingKey))
    submit(b, key, full)
    a.ja(noted)
    a.label(full)
    b.lost(Lost.calls)
    a.label(noted)


def _next_request(b: Body) -> None:
    for place in (Call.stuck, Call.measured):
        b.a.st(CALL[place], 0)
    advance(b)


def note_new(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Notes the request Call.next, whose file has not been seen or named yet, and goes on with those after it."""
    b = begin_part("aio_new", kernel, options, maps)
    a = b.a
    a.st(CALL[Call.walk], 0)
    read_request(b, "skip", "out")
    a.st(CALL[Call.moved], 0)
    if kernel.straight:
        find_open(b, "slow", "slow")  # which ends what an earlier owner of the address has left
        a.label("slow")
    identify(b, scratch=SCRATCH_ENTER, skip="skip")
    _submit(b)
    _next_request(b)
    send_name(b, SCRATCH_ENTER, after=Jump.AIO_NOTE)
    a.label("skip")
    _next_request(b)
    a.tail_call(CTX, maps.jumps, Jump.AIO_NOTE)
    a.label("out")
    a.ret(0)
    return b.program()


def measure(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Sums the iovec of the request Call.next, where that takes a program of its own."""
    b = begin_part("aio_vector", kernel, options, maps)
    a = b.a
    a.st(CALL[Call.unmeasured], 0)
    sum_iovec(b, pointer=CALL[Call.start], entries=CALL[Call.moved], scratch=SCRATCH_ENTER)
    a.st(CALL[Call.measured], 1)
    a.st(CALL[Call.stuck], 0)
    a.tail_call(CTX, maps.jumps, Jump.AIO_NOTE)
    a.label("out")
    a.ret(0)
    return b.program()
