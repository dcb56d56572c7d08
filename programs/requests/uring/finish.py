"""Accounting for a request."""

from __future__ import annotations

from asm import U64, Slot, r0, r1, r2, r3, r7, r8
from programs.calls.transfer import extend_at_offset
from programs.counting import counters
from programs.facts.catalogue import READ, WRITE
from programs.facts.kernel import Uring
from programs.facts.records import (
    NOTE_SELECTS,
    SYNC,
    Call,
    Lost,
    OpenFile,
    OpenKey,
)
from programs.files.identify import SCRATCH_EXIT, find_open, identify, send_name
from programs.requests import lifecycle
from programs.requests.uring.files import find_file
from programs.requests.uring.shapes import FROM, PLAIN
from programs.requests.uring.source import Source
from programs.way.body import Body
from programs.way.registers import CALL, CTX


def finish(b: Body, uring: Uring, key: Slot, source: Source, after: int = 0) -> None:
    """Accounts for a transfer or a sync: the request in r7, noted under ``key``; CALL is the borrowed record.

    Goes on with program ``after``, if there is one; ends this one.
    """
    a = b.a
    load_result(b, uring)
    if source.view is PLAIN:
        source.position(r1, r7)
        a.stx(a.slot("end", U64), r1, "where it ended, if it was a transfer")
    lifecycle.claim(b, key, "out")
    for place in (Call.walk, Call.moved):
        a.st(CALL[place], 0)
    a.call("ktime_get_ns")
    a.stx(CALL[Call.now], r0)
    opened = a.slot("open", OpenKey)
    a.ldx(r1, opened[OpenKey.mnt_ns])
    a.stx(CALL[Call.mnt_ns], r1)
    _file_of(b, uring, key, source)
    a.ldx(r1, CALL[Call.id])
    a.jeq(r1, 0, "late", "not known before")
    a.ldx(r2, CALL[Call.direction])
    a.jeq(r2, SYNC, "known")
    a.ldx(r1, CALL[Call.result])
    a.jsle(r1, 0, "known", "nothing to be placed")
    a.ldx(r1, CALL[Call.explicit])
    a.jeq(r1, 0, "late", "at the file position")
    a.label("known")
    a.ldx(r8, CALL[Call.result])
    a.jeq(r2, SYNC, "account")
    lifecycle.correct(b)
    a.ja("account")
    a.label("late")
    a.jeq(r8, 0, "no_file")
    find_open(b, "found", "slow")
    a.label("slow")
    if source.view is FROM:
        a.ldx(r1, CALL[Call.id])
        a.jne(r1, 0, "full", "closed meanwhile: nothing holds it any more")
    identify(b, scratch=SCRATCH_EXIT, skip="out")
    a.label("found")
    if source.view is not PLAIN:
        b.load(r1, r8, b.kernel.offsets["file.pos"], "f_pos", of="file")
        a.stx(a.slot("end", U64), r1)
    a.ldx(r8, CALL[Call.result])
    _place(b)
    a.label("account")
    account(b)
    send_name(b, SCRATCH_EXIT, after)
    a.label("no_file")
    a.ldx(r8, CALL[Call.result])
    a.jsge(r8, 0, "full", "done, on a file that nobody knows")
    counters.failed(b, None)
    a.ja("out")
    a.label("full")
    b.lost(Lost.calls)
    a.label("out")
    go_on(b, after)


def load_result(b: Body, uring: Uring) -> None:
    """Call.result = that of the request in r7."""
    a = b.a
    b.load(r1, r7, uring.offsets["request.result"], size=4, of="io_kiocb")
    a.lsh(r1, 32)
    a.arsh(r1, 32, "an int")
    a.stx(CALL[Call.result], r1)


def _move(b: Body) -> None:
    """The request is not on the file that was there when it was taken: takes it out of that one's runs.

    Keeps r7, the request, and r8, its file.
    """
    a, request, file, result = b.a, b.a.slot("request", U64), b.a.slot("its_file", U64), b.a.slot("result", U64)
    a.stx(request, r7)
    a.stx(file, r8)
    nothing = a.unique("not_in_runs")
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, SYNC, nothing)
    a.ldx(r1, CALL[Call.result])
    a.stx(result, r1)
    a.mov(r8, 0)
    a.stx(CALL[Call.result], r8)
    lifecycle.correct(b)
    a.ldx(r1, result)
    a.stx(CALL[Call.result], r1)
    a.label(nothing)
    a.st(CALL[Call.id], 0)
    a.ldx(r8, file)
    a.ldx(r7, request)


def _file_of(b: Body, uring: Uring, key: Slot, source: Source) -> None:
    """r8 = the ``struct file *`` that the request in r7 has used; Call.requested, where that is known only now."""
    a = b.a
    opened = a.slot("open", OpenKey)
    if source.view is FROM:
        found = a.unique("source_found")
        a.ldx(r8, opened[OpenKey.file])
        a.ldx(r1, CALL[Call.id])
        a.jne(r1, 0, found)
        find_file(b, uring, key, source)
        a.label(found)
        return
    b.load(r8, r7, uring.offsets["request.file"], of="io_kiocb")
    if source.view is not PLAIN:
        return
    same, fixed = a.unique("same_file"), a.unique("size_known")
    a.jeq(r8, 0, same)
    a.ldx(r1, CALL[Call.id])
    a.jeq(r1, 0, same)
    a.ldx(r1, opened[OpenKey.file])
    a.jeq(r1, r8, same)
    _move(b)
    a.label(same)
    a.ldx(r1, CALL[Call.marks])
    a.and_(r1, NOTE_SELECTS)
    a.jeq(r1, 0, fixed)
    source.length(r1, r7)
    a.stx(CALL[Call.requested], r1)
    a.label(fixed)


def _place(b: Body) -> None:
    """The Call record for a transfer of r8 bytes that is placed only now, on the OpenFile in r7: file, start, run."""
    a = b.a
    given, write, done = a.unique("offset_given"), a.unique("write"), a.unique("placed")
    a.ldx(r1, r7[OpenFile.id])
    a.stx(CALL[Call.id], r1)
    a.st(CALL[Call.broken], 0)
    a.jsle(r8, 0, done)
    a.ldx(r3, CALL[Call.direction])
    a.jeq(r3, SYNC, done)
    a.ldx(r1, CALL[Call.offset])
    a.ldx(r2, CALL[Call.explicit])
    a.jne(r2, 0, given)
    a.ldx(r1, a.slot("end", U64))
    a.sub(r1, r8)
    a.label(given)
    a.stx(CALL[Call.start], r1)
    a.jeq(r3, WRITE, write)
    extend_at_offset(b, READ)
    a.ja(done)
    a.label(write)
    counters.write_submitted(b, Call.start)
    a.ldx(r1, CALL[Call.start])
    extend_at_offset(b, WRITE)
    a.label(done)


def account(b: Body, full: str = "full") -> None:
    """Counts the request of the Call record, whose result r8 holds too; a jump to ``full`` if there is no room."""
    a, sync, done = b.a, b.a.unique("sync"), b.a.unique("accounted")
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, SYNC, sync)
    counters.transfer_result(b, full, submitted=True)
    a.ja(done)
    a.label(sync)
    counters.sync_result(b, full)
    a.label(done)


def go_on(b: Body, after: int) -> None:
    """The end of a program: on to program ``after``, if there is one."""
    if after:
        b.a.tail_call(CTX, b.maps.jumps, after)
    b.a.ret(0)
