"""The requests of an io_submit, noted at its entry.

At the entry, because another thread may take the completion of a request before io_submit returns. Most requests are
for a file that is known already, and one program notes as many of those as it can. One for a file that is not, or whose
name is yet to be sent, takes a program of its own, as that is a long way; so does one whose iovec is long, on kernels
without loops. Call.stuck says which of the two has to deal with the request that comes next.
"""

from __future__ import annotations

from asm import ProgramSpec, r1
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import Call, Lost, PendingKey
from programs.files.identify import SCRATCH_ENTER, find_open, identify, read_file, regular_only, send_name
from programs.requests.aio.iocb import pending_key, read_request
from programs.requests.aio.repeat import advance, repeat, stop_at_end
from programs.requests.lifecycle import submit
from programs.way.body import Body
from programs.way.registers import CALL, CTX, FILE
from programs.way.threads import begin_part

NOTES_AT_ONCE = 9  # as many as 4,096 instructions hold
OWNED_NOTES_AT_ONCE = 6  # where rows are apart by who does the I/O


def note(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Notes the requests from Call.next on, up to the first that takes another program."""
    b = begin_part("aio_note", kernel, options, maps)
    a = b.a
    at_once = OWNED_NOTES_AT_ONCE if options.by else NOTES_AT_ONCE
    repeat(b, "request", at_once, lambda over: _note(b, over))
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
    """Notes the next request, if its file is known; passes over one that is not for a regular file.

    Jumps to `over` if there is none, or it takes another program.
    """
    a = b.a
    found, slow, stale, skip = (a.unique(name) for name in ("found", "slow", "stale", "next_request"))
    stop_at_end(b, over)
    read_request(b, skip, over)
    find_open(b, found, slow, later=stale if b.kernel.straight else "")
    a.label(slow)
    read_file(b, FILE)
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
    """Notes the request of the Call record, on the file of OPEN_FILE."""
    a, full, noted = b.a, b.a.unique("no_room"), b.a.unique("noted")
    key = pending_key(b, a.slot("pending", PendingKey))
    submit(b, key, full)
    a.ja(noted)
    a.label(full)
    b.lost(Lost.calls)
    a.label(noted)


def _next_request(b: Body) -> None:
    """On to the next request, of which nothing is known."""
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
