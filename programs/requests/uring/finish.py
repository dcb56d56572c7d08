"""Accounting for a transfer or a sync that is done.

Mostly its file and its offset were known when it was taken, and only what it fell short of is to be corrected. It is
`late` otherwise: if there was no file yet (an earlier request of the chain opened it), if there was another one, or if
it went to the file position. Then the request itself has the file, and where the transfer ended.
"""

from __future__ import annotations

from asm import U64, Slot, r0, r1, r2, r3
from programs.counting import counters, state
from programs.counting.runs import extend_at_offset
from programs.counting.threads import used_by
from programs.counting.who import find_row_of_note, leave_row, take_over_runs
from programs.facts.catalogue import READ, WRITE
from programs.facts.records import NOTE_SELECTS, SYNC, Call, Lost, OpenFile, OpenKey
from programs.files.identify import SCRATCH_EXIT, find_open, identify, send_name
from programs.requests import lifecycle
from programs.requests.runs import correct
from programs.requests.uring.events import go_on
from programs.requests.uring.files import find_file
from programs.requests.uring.request import Request
from programs.requests.uring.shapes import FROM, PLAIN
from programs.way.body import Body
from programs.way.registers import CALL, FILE, OPEN_FILE, REQUEST, RESULT


def finish(b: Body, key: Slot, request: Request, after: int = 0) -> None:
    """Accounts for the request that is noted under `key`, goes on with the program `after`, if that is not 0, and ends.

    CALL is the borrowed record, which the note then fills.
    """
    a = b.a
    _begin_finish(b, key, request)
    _find_its_file(b, key, request)
    _unless_late(b)
    a.label("known")
    a.ldx(RESULT, CALL[Call.result])
    a.jeq(r2, SYNC, "account")
    correct(b)
    a.ja("account")
    a.label("late")
    a.jeq(FILE, 0, "no_file")
    find_open(b, "found", "slow")
    a.label("slow")
    if request.view is FROM:
        a.ldx(r1, CALL[Call.id])
        a.jne(r1, 0, "full", "closed meanwhile: nothing holds it any more")
    identify(b, scratch=SCRATCH_EXIT, skip="out")
    a.label("found")
    if request.view is not PLAIN:
        b.load(r1, FILE, b.kernel.offsets["file.pos"], "f_pos", of="file")
        a.stx(a.slot("end", U64), r1)
    a.ldx(r1, CALL[Call.id])
    a.jne(r1, 0, "counted_then", "by whoever submitted it")
    used_by(b, CALL[Call.previous])
    a.label("counted_then")
    a.ldx(RESULT, CALL[Call.result])
    _place(b)
    a.label("account")
    lifecycle.account(b, "full")
    send_name(b, SCRATCH_EXIT, after)
    a.label("no_file")
    a.ldx(RESULT, CALL[Call.result])
    a.jsge(RESULT, 0, "full", "it was done, on a file that nobody knows")
    counters.failed(b, None)
    a.ja("out")
    a.label("full")
    b.lost(Lost.calls)
    a.label("out")
    go_on(b, after)


def _begin_finish(b: Body, key: Slot, request: Request) -> None:
    """The note into the Call record, with the result, the time, and in the slot "end" where a plain transfer ended."""
    a = b.a
    load_result(b)
    if request.view is PLAIN:
        request.position(r1)
        a.stx(a.slot("end", U64), r1, "where it ended, if it was a transfer")
    lifecycle.claim(b, key, "out")
    for place in (Call.walk, Call.moved):
        a.st(CALL[place], 0)
    a.call("ktime_get_ns")
    a.stx(CALL[Call.now], r0)
    a.ldx(r1, a.slot("open", OpenKey)[OpenKey.mnt_ns])
    a.stx(CALL[Call.mnt_ns], r1)


def load_result(b: Body) -> None:
    """Call.result = the result of REQUEST."""
    a = b.a
    b.load(r1, REQUEST, b.uring.offsets["request.result"], size=4, of="io_kiocb")
    a.lsh(r1, 32)
    a.arsh(r1, 32, "an int")
    a.stx(CALL[Call.result], r1)


def _find_its_file(b: Body, key: Slot, request: Request) -> None:
    """FILE = the `struct file *` that the request has used; Call.requested, where that is known only now."""
    a = b.a
    opened = a.slot("open", OpenKey)
    if request.view is FROM:
        found = a.unique("source_found")
        a.ldx(FILE, opened[OpenKey.file])
        a.ldx(r1, CALL[Call.id])
        a.jne(r1, 0, found)
        find_file(b, key, request)
        a.label(found)
        return
    b.load(FILE, REQUEST, b.uring.offsets["request.file"], of="io_kiocb")
    if request.view is not PLAIN:
        return
    same, fixed = a.unique("same_file"), a.unique("size_known")
    a.jeq(FILE, 0, same)
    a.ldx(r1, CALL[Call.id])
    a.jeq(r1, 0, same)
    a.ldx(r1, opened[OpenKey.file])
    a.jeq(r1, FILE, same)
    _leave_runs(b)
    a.label(same)
    a.ldx(r1, CALL[Call.marks])
    a.and_(r1, NOTE_SELECTS)
    a.jeq(r1, 0, fixed)
    request.length(r1)
    a.stx(CALL[Call.requested], r1)
    a.label(fixed)


def _leave_runs(b: Body) -> None:
    """The request is not on the file that was there when it was taken: takes it out of that one's runs.

    Call.id = 0: its own file is yet to be found. Keeps REQUEST and FILE.
    """
    a, request, file, result = b.a, b.a.slot("request", U64), b.a.slot("its_file", U64), b.a.slot("result", U64)
    a.stx(request, REQUEST)
    a.stx(file, FILE)
    nothing = a.unique("not_in_runs")
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, SYNC, nothing)
    a.ldx(r1, CALL[Call.result])
    a.stx(result, r1)
    a.mov(RESULT, 0)
    a.stx(CALL[Call.result], RESULT)
    correct(b)
    a.ldx(r1, result)
    a.stx(CALL[Call.result], r1)
    a.label(nothing)
    leave_row(b)
    a.st(CALL[Call.id], 0)
    a.st(CALL[Call.previous], 0, "the thread that submitted it, which is not known any more")
    a.ldx(FILE, file)
    a.ldx(REQUEST, request)


def _unless_late(b: Body) -> None:
    """Jumps to "late" if the request is; else falls through or jumps to "known", with Call.direction in r2."""
    a = b.a
    a.ldx(r1, CALL[Call.id])
    a.jeq(r1, 0, "late", "not known before")
    a.ldx(r2, CALL[Call.direction])
    a.jeq(r2, SYNC, "known")
    a.ldx(r1, CALL[Call.result])
    a.jsle(r1, 0, "known", "nothing to be placed")
    a.ldx(r1, CALL[Call.explicit])
    a.jeq(r1, 0, "late", "at the file position")


def _place(b: Body) -> None:
    """The Call record for a late transfer of RESULT bytes on the file of OPEN_FILE: its id, start, and run."""
    a = b.a
    given, write, done = a.unique("offset_given"), a.unique("write"), a.unique("placed")
    a.ldx(r1, OPEN_FILE[OpenFile.id])
    a.stx(CALL[Call.id], r1)
    find_row_of_note(b, "full")
    a.st(CALL[Call.broken], 0)
    a.jsle(RESULT, 0, done)
    a.ldx(r3, CALL[Call.direction])
    a.jeq(r3, SYNC, done)
    a.ldx(r1, CALL[Call.offset])
    a.ldx(r2, CALL[Call.explicit])
    a.jne(r2, 0, given)
    a.ldx(r1, a.slot("end", U64))
    a.sub(r1, RESULT)
    a.label(given)
    a.stx(CALL[Call.start], r1)
    a.jeq(r3, WRITE, write)
    extend_at_offset(b, READ)
    a.ja(done)
    a.label(write)
    state.write_submitted(b, Call.start)
    a.ldx(r1, CALL[Call.start])
    extend_at_offset(b, WRITE)
    a.label(done)
    take_over_runs(b)
