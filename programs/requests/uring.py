"""io_uring: a request is noted when the kernel takes it from the ring, and accounted for when its completion is posted.

Which thread takes it, works on it and completes it does not matter: all of them belong to the owner's process (5.12).
The file is known when the request is taken, by descriptor or as a registered one; where it is not (an earlier request
of a chain opens it) the request itself holds it at its completion.  So does it the place of a transfer at the file
position.  Sources: io_uring/io_uring.c, io_uring/rw.c; include/uapi/linux/io_uring.h, which never changes.
"""

from __future__ import annotations

from typing import Dict

from asm import U32, U64, Layout, Mem, ProgramSpec, Slot, field, r0, r1, r2, r3, r7, r8
from programs.calls.transfer import extend_at_offset, sum_iovec
from programs.counting import counters
from programs.facts.catalogue import BY_NAME, NUMBERS, READ, SWITCH, WRITE
from programs.facts.kernel import Kernel, Options, Uring
from programs.facts.maps import (
    URING_BAD_CLOSE,
    URING_BAD_INTO,
    URING_BAD_UNSEEN,
    URING_CLOSE,
    URING_CLOSE_DONE,
    URING_INTO,
    URING_INTO_DONE,
    URING_OPEN_DONE,
    URING_REFUSED,
    URING_TAKEN,
    URING_UNSEEN,
    Maps,
)
from programs.facts.records import (
    NOTE_ABSENT,
    NOTE_OPCODE,
    NOTE_SELECTS,
    NOTE_SILENT,
    OTHER,
    OWN,
    SYNC,
    Call,
    Lost,
    OpenFile,
    OpenKey,
    Pending,
    PendingKey,
)
from programs.files.identify import SCRATCH_EXIT, find_open, identify, send_name
from programs.requests import lifecycle, notes
from programs.requests.ring_files import end_close, note_last
from programs.requests.shapes import (
    BUFFER_SELECT,
    CLOSING,
    CQE_SKIP,
    FROM,
    OPCODES,
    PLAIN,
    WORKER,
    Shape,
    Source,
    known,
)
from programs.way.body import Body, begin
from programs.way.entry import only_targets, resolve, spare_name
from programs.way.registers import CALL, CTX, SEARCH

COMPLETING = 1024  # requests looked at for one whose completion found no room
FILE_POINTER = ~7  # registered files carry flags in the lowest bits of their pointers
# Requests that are noted, and accounted for, by programs of their own.
NOTED_BY = {Shape.SPLICE: URING_INTO, Shape.CLOSE: URING_CLOSE}
REFUSED_BY = {Shape.SPLICE: URING_BAD_INTO, Shape.CLOSE: URING_BAD_CLOSE}
DONE_BY = {Shape.SPLICE: URING_INTO_DONE, Shape.CLOSE: URING_CLOSE_DONE, Shape.OPEN: URING_OPEN_DONE}


def taken(kernel: Kernel, options: Options, maps: Maps, uring: Uring, copy: int = 0) -> ProgramSpec:
    """io_uring_submit_req: the kernel has taken a request from the ring and prepared it."""
    b = begin(spare_name("uring_taken", copy), kernel, options, maps)
    a = b.a
    a.mov(CTX, r1)
    key = event_key(b, uring, "taken")
    if not copy:
        _settle_silent(b, key, URING_UNSEEN)
    source = Source(b, uring)
    _admit(b, uring, source)
    _unless_noted(b, key, URING_UNSEEN, copy)
    _hand_on(b, NOTED_BY)
    note(b, uring, key, source)
    return b.program()


def refused(kernel: Kernel, options: Options, maps: Maps, uring: Uring, copy: int = 0) -> ProgramSpec:
    """io_uring_req_failed (const struct io_uring_sqe *, ...): it could not be prepared, and completes with an error."""
    b = begin(spare_name("uring_refused", copy), kernel, options, maps)
    a = b.a
    a.mov(CTX, r1)
    key = event_key(b, uring, "refused")
    if not copy:
        _settle_silent(b, key, URING_BAD_UNSEEN)
    a.ldx(r7, CTX[0], "the entry")
    source = Source(b, uring, entry=True)
    _admit(b, uring, source)
    _unless_noted(b, key, URING_BAD_UNSEEN, copy)
    _hand_on(b, REFUSED_BY)
    note(b, uring, key, source)
    return b.program()


def _unless_noted(b: Body, key: Slot, program: int, copy: int) -> None:
    """On to ``program`` if there is a note of an earlier request in the same place; a spare takes it for its own."""
    a, fresh = b.a, b.a.unique("fresh")
    notes.find(b, key, fresh)
    if copy:
        a.ja("out", "the program before was not skipped")
    else:
        a.tail_call(CTX, b.maps.jumps, program)
    a.label(fresh)


def _settle_silent(b: Body, key: Slot, program: int) -> None:
    """On to ``program`` if the request whose struct is reused, by whomever, for whatever, was a silent one.

    Of the others this is asked where they are noted, or completed: not of every request on the system.
    """
    a, zero, none = b.a, b.a.slot("zero", U32), b.a.unique("none_silent")
    a.st(zero, 0)
    a.lookup(b.maps.silence, zero)
    a.jeq(r0, 0, none)
    a.ldx(r1, r0.u64(0))
    a.jeq(r1, 0, none, "nor was any other, so far")
    notes.find(b, key, none)
    a.tail_call(CTX, b.maps.jumps, program)
    a.label(none)


def _tell_silent(b: Body) -> None:
    """There is a silent request, if the one in the Call record is."""
    a, zero, shown = b.a, b.a.slot("zero", U32), b.a.unique("shown")
    a.ldx(r1, CALL[Call.marks])
    a.and_(r1, NOTE_SILENT)
    a.jeq(r1, 0, shown)
    a.st(zero, 0)
    a.lookup(b.maps.silence, zero)
    a.jeq(r0, 0, shown)
    a.st(r0.u64(0), 1)
    a.label(shown)


def _hand_on(b: Body, programs: Dict[Shape, int]) -> None:
    """To the program that notes requests of the shape in the slot "kind", if that has one of its own."""
    a = b.a
    a.ldx(r8, a.slot("kind", U64))
    a.rsh(r8, 16)
    for shape, program in programs.items():
        other = a.unique("not_" + shape.name.lower())
        a.jne(r8, shape, other)
        a.tail_call(CTX, b.maps.jumps, program)
        a.ja("out")
        a.label(other)


def completed(kernel: Kernel, options: Options, maps: Maps, uring: Uring, copy: int = 0) -> ProgramSpec:
    """io_uring_complete: the result of a request is being posted to the ring."""
    b = begin(spare_name("uring_completed", copy), kernel, options, maps)
    a = b.a
    a.mov(CTX, r1)
    key = event_key(b, uring, "completed")
    notes.find(b, key, "out")
    _complete(b, uring, key)
    return b.program()


def overflowed(kernel: Kernel, options: Options, maps: Maps, uring: Uring, copy: int = 0) -> ProgramSpec:
    """io_uring_cqe_overflow (ring, user data, result, ...): there was no room to post a completion.

    The event does not name the request, but that is on the ring's list of those that are just being completed, or
    before 6.14 or so what the current worker works on.
    """
    b = begin(spare_name("uring_overflowed", copy), kernel, options, maps)
    a, o = b.a, uring.offsets
    a.mov(CTX, r1)
    a.call("get_current_pid_tgid")
    a.rsh(r0, 32)
    only_targets(b, r0, "out")
    key, search = a.slot("pending", PendingKey), a.slot("search", Search)
    a.zero(key)
    a.zero(search)
    for place, at in ((Search.user_data, 8), (Search.result, 16)):
        a.ldx(r1, CTX[at])
        a.stx(search[place], r1)
    a.ldx(r7, CTX[0], "the ring")
    b.load(r7, r7, o["ring.completing"], "a number: of a typed pointer no place could be made")
    a.stx(search[Search.next], r7)
    b.loop(COMPLETING, "look", lambda: _look(b, uring), search)
    a.ldx(r7, search[Search.found])
    a.jne(r7, 0, "this_one")
    if uring.offsets.keys() >= set(WORKER):
        _worker_request(b, uring)
        a.ldx(r2, search[Search.user_data])
        a.ldx(r3, search[Search.result])
        _compare(b, uring, "out")
    else:
        a.ja("out")
    a.label("this_one")
    a.stx(key[PendingKey.request], r7)
    notes.find(b, key, "out")
    _complete(b, uring, key)
    return b.program()


def _worker_request(b: Body, uring: Uring) -> None:
    """r7 = what the current task works on, if it is one of io_uring's workers; otherwise, nothing that was noted."""
    a, o = b.a, uring.offsets
    a.call("get_current_task")
    a.mov(r7, r0)
    b.load(r7, r7, o["task.worker"], of="task_struct")
    b.load(r7, r7, o["worker.work"])
    a.sub(r7, o["request.work"], "container_of()")


def _compare(b: Body, uring: Uring, other: str) -> None:
    """A jump to ``other`` unless the request in r7 has the user data in r2 and the result in r3."""
    a, o, user_data, result = b.a, uring.offsets, b.a.slot("user_data", U64), b.a.slot("wanted", U64)
    a.stx(user_data, r2)
    a.stx(result, r3)
    b.load(r1, r7, o["request.user_data"], of="io_kiocb")
    a.ldx(r2, user_data)
    a.jne(r1, r2, other)
    b.load(r1, r7, o["request.result"], size=4, of="io_kiocb")
    a.ldx(r2, result)
    a.mov32(r2, r2)
    a.jne(r1, r2, other)


class Search(Layout):
    """The search for a request on the list of those being completed: what is next there, and what it must have."""

    next = field(U64)
    user_data = field(U64)
    result = field(U64)
    found = field(U64)


def _look(b: Body, uring: Uring) -> None:
    """Whether the next one is it: the first of those alike that is not accounted for."""
    a, o, key = b.a, uring.offsets, b.a.slot("pending", PendingKey)
    a.mov(SEARCH, r2)
    a.ldx(r7, SEARCH[Search.next])
    a.jeq(r7, 0, "over")
    b.load(r1, r7, 0, "likewise")
    a.stx(SEARCH[Search.next], r1)
    a.sub(r7, o["request.list"], "container_of()")
    a.ldx(r2, SEARCH[Search.user_data])
    a.ldx(r3, SEARCH[Search.result])
    _compare(b, uring, "another")
    a.zero(key)
    a.stx(key[PendingKey.request], r7)
    notes.find(b, key, "another")
    a.stx(SEARCH[Search.found], r7)
    a.label("over")
    a.ret(1)
    a.label("another")
    a.ret(0)


def _complete(b: Body, uring: Uring, key: Slot) -> None:
    """Accounts for the request in r7, which is noted under ``key``, with its note in r0.  Ends the program."""
    a, source, stale = b.a, Source(b, uring), b.a.unique("stale")
    a.ldx(r8, r0[Pending.marks])
    a.rsh(r8, NOTE_OPCODE)
    source.opcode(r1, r7)
    a.jne(r1, r8, stale, "the completion of the one before was not shown")
    lifecycle.borrow_call(b, "out")
    a.stx(CALL[Call.iocb], r7)
    for number, opcode in OPCODES.items():
        if opcode.shape in DONE_BY:
            other = a.unique("not_" + opcode.operation)
            a.jne(r8, number, other)
            a.tail_call(CTX, b.maps.jumps, DONE_BY[opcode.shape])
            a.ja("out")
            a.label(other)
    finish(b, uring, key, source)
    a.label(stale)
    notes.drop(b, key)
    b.lost(Lost.calls)
    b.lost(Lost.requests)
    a.ret(0)


def done(b: Body, side: int, missing: str) -> Slot:
    """The beginning of a program that ``_complete`` goes on with: r7 = the request, CALL the borrowed record.

    Returns the key of the note of that side of it; jumps to ``missing`` if there is none.  r0 = the note.
    """
    a, key = b.a, b.a.slot("pending", PendingKey)
    a.mov(CTX, r1)
    lifecycle.borrow_call(b, missing)
    a.ldx(r7, CALL[Call.iocb])
    a.zero(key)
    a.st(key[PendingKey.space], side)
    a.stx(key[PendingKey.request], r7)
    notes.find(b, key, missing)
    return key


def load_result(b: Body, uring: Uring) -> None:
    """Call.result = that of the request in r7."""
    a = b.a
    b.load(r1, r7, uring.offsets["request.result"], size=4, of="io_kiocb")
    a.lsh(r1, 32)
    a.arsh(r1, 32, "an int")
    a.stx(CALL[Call.result], r1)


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
    _account(b)
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


def go_on(b: Body, after: int) -> None:
    """The end of a program: on to program ``after``, if there is one."""
    if after:
        b.a.tail_call(CTX, b.maps.jumps, after)
    b.a.ret(0)


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


def unseen(kernel: Kernel, options: Options, maps: Maps, uring: Uring, event: str) -> ProgramSpec:
    """A request is reused whose completion was not shown: that of a silent one, which then has done all it should.

    Nobody knows when: it has no latency.  Goes on with the request that is being taken or refused.
    """
    b = begin("uring_unseen" if event == "taken" else "uring_bad_unseen", kernel, options, maps)
    a = b.a
    a.mov(CTX, r1)
    key = event_key(b, uring, event)
    lifecycle.borrow_call(b, "out")
    _unseen(b, key, OTHER)
    _unseen(b, key, OWN)
    a.tail_call(CTX, maps.jumps, URING_TAKEN if event == "taken" else URING_REFUSED)
    a.label("out")
    a.ret(0)
    return b.program()


def _unseen(b: Body, key: Slot, side: int) -> None:
    a = b.a
    lost, accounted, done = a.unique("unseen_lost"), a.unique("unseen_sync"), a.unique("unseen_done")
    a.st(key[PendingKey.space], side)
    lifecycle.claim(b, key, done)
    a.ldx(r8, CALL[Call.marks])
    a.mov(r1, r8)
    a.and_(r1, NOTE_ABSENT)
    a.jne(r1, 0, done)
    a.and_(r8, NOTE_SILENT)
    a.jeq(r8, 0, lost, "lost in a way that is not understood")
    a.ldx(r1, CALL[Call.op])
    a.jeq(r1, BY_NAME["open"].code, lost, "nobody knows which descriptor it made")
    if side == OWN:
        closed = a.unique("not_a_close")
        a.jne(r1, BY_NAME["close"].code, closed)
        end_close(b)
        a.ja(done)
        a.label(closed)
    a.ldx(r1, CALL[Call.id])
    a.jeq(r1, 0, lost, "its file has gone from the request")
    a.ldx(r1, CALL[Call.entered])
    a.stx(CALL[Call.now], r1)
    a.mov(r8, 0)
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, SYNC, accounted)
    a.ldx(r1, CALL[Call.explicit])
    a.jeq(r1, 0, lost, "nor is it known where it was")
    a.ldx(r8, CALL[Call.requested])
    a.label(accounted)
    a.stx(CALL[Call.result], r8)
    _account(b, lost)
    a.ja(done)
    a.label(lost)
    b.lost(Lost.calls)
    b.lost(Lost.requests)
    a.label(done)


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


def _admit(b: Body, uring: Uring, source: Source) -> None:
    """From the request in r7 to its packed Opcode in the slot "kind"; a jump to ``out`` if it is of no interest."""
    a, row = b.a, b.a.slot("number", U32)
    source.opcode(r1, r7)
    for number, opcode in known(uring).items():
        a.mov(r8, opcode.pack(), opcode.operation)
        a.jeq(r1, number, "of_interest")
    a.ja("out")
    a.label("of_interest")
    a.stx(a.slot("kind", U64), r8)
    a.st(row, NUMBERS[b.kernel.machine]["read"])
    a.lookup(b.maps.syscalls, row)
    a.jeq(r0, 0, "out")
    a.ldx(r1, r0.u64(0))
    a.rsh(r1, SWITCH)
    a.jeq(r1, 0, "out", "nothing is traced now")
    a.call("get_current_pid_tgid")
    a.rsh(r0, 32)
    only_targets(b, r0, "out")


def note(b: Body, uring: Uring, key: Slot, source: Source, *, absent: str = "out", after: int = 0) -> None:
    """Notes the request in r7, whose packed Opcode is in the slot "kind", under ``key``.

    ``absent`` is "absent" if it must be noted too where its file is no regular one.  Goes on with program ``after``, if
    there is one; ends this one.
    """
    a, o = b.a, b.kernel.offsets
    lifecycle.borrow_call(b, "out")
    _describe(b, source)
    a.call("get_current_task")
    a.mov(r8, r0)
    b.load(r8, r8, o["task.nsproxy"], of="task_struct")
    b.load(r8, r8, o["nsproxy.mnt_ns"], of="nsproxy")
    a.stx(CALL[Call.mnt_ns], r8)
    if source.view is PLAIN:
        a.ldx(r1, CALL[Call.opcode])
        a.rsh(r1, 16)
        a.jeq(r1, Shape.OPEN, "unknown_file")
    elif source.view is CLOSING:
        a.ldx(r8, key[PendingKey.request])
        b.load(r8, r8, uring.offsets["request.ring"], of="io_kiocb")
        a.stx(CALL[Call.requested], r8)
        source.slot(r8, r7, "close.slot")
        a.stx(CALL[Call.offset], r8)
    find_file(b, uring, key, source)
    a.jeq(r8, 0, "unknown_file")
    find_open(b, "found", "slow")
    a.label("slow")
    identify(b, scratch=SCRATCH_EXIT, skip=absent)
    a.label("found")
    if source.view is CLOSING:
        note_last(b)
    lifecycle.submit(b, key, "full")
    send_name(b, SCRATCH_EXIT, after)
    if absent == "absent":
        a.label("absent")
        a.ldx(r1, CALL[Call.marks])
        a.or_(r1, NOTE_ABSENT)
        a.stx(CALL[Call.marks], r1)
    a.label("unknown_file")
    lifecycle.note_without_file(b, key, "full")
    a.ja("out")
    a.label("full")
    b.lost(Lost.calls)
    a.label("out")
    go_on(b, after)


def _describe(b: Body, source: Source) -> None:
    """The Call record = what the request in r7 asks for, without its file.  The slot "flags" = its IOSQE_*."""
    a = b.a
    a.ldx(r1, a.slot("kind", U64))
    a.stx(CALL[Call.opcode], r1, "where the verifier does not know it, and follows one way for all of them")
    a.call("ktime_get_ns")
    a.stx(CALL[Call.entered], r0)
    for place in (Call.requested, Call.unmeasured, Call.explicit, Call.offset, Call.rw_flags, Call.moved, Call.walk):
        a.st(CALL[place], 0)
    source.flags(r1, r7)
    a.stx(a.slot("flags", U64), r1)
    source.opcode(r8, r7)
    a.lsh(r8, NOTE_OPCODE)
    a.ldx(r1, a.slot("flags", U64))
    a.rsh(r1, CQE_SKIP.bit_length() - 1)
    a.and_(r1, NOTE_SILENT)
    a.or_(r8, r1)
    a.stx(CALL[Call.marks], r8)
    _tell_silent(b)
    a.ldx(r1, CALL[Call.opcode])
    a.and_(r1, 0xFF)
    a.stx(CALL[Call.op], r1)
    a.ldx(r1, CALL[Call.opcode])
    a.rsh(r1, 8)
    a.and_(r1, 0xFF)
    a.stx(CALL[Call.direction], r1)
    a.jeq(r1, SYNC, "described")
    source.position(r1, r7)
    a.stx(CALL[Call.offset], r1)
    if not source.entry:  # one that was refused belongs to no run
        a.jeq(r1, -1, "at_position")
        a.st(CALL[Call.explicit], 1)
        a.label("at_position")
    source.length(r1, r7)
    a.stx(CALL[Call.requested], r1)
    if source.view is PLAIN:
        _describe_transfer(b, source)
    a.label("described")


def _describe_transfer(b: Body, source: Source) -> None:
    """What a read or a write has, but no splice; a jump to ``described`` if there is nothing more."""
    a = b.a
    source.operation_flags(r1, r7)
    a.stx(CALL[Call.rw_flags], r1)
    if not source.entry:
        plain = a.unique("no_selection")
        a.ldx(r1, a.slot("flags", U64))
        a.and_(r1, BUFFER_SELECT)
        a.jeq(r1, 0, plain)
        a.ldx(r1, CALL[Call.requested], "of a vector, the kernel has put the size of its only entry there")
        a.jne(r1, 0, "described")
        a.st(CALL[Call.explicit], 0, "whatever the buffer holds: it is placed when it is done")
        a.ldx(r1, CALL[Call.marks])
        a.or_(r1, NOTE_SELECTS)
        a.stx(CALL[Call.marks], r1)
        a.ja("described")
        a.label(plain)
    a.ldx(r2, CALL[Call.opcode])
    a.rsh(r2, 16)
    a.jne(r2, Shape.VECTOR, "described")
    a.ldx(r1, CALL[Call.requested])
    a.stx(_argument(b, 2), r1)
    source.address(r1, r7)
    a.stx(_argument(b, 1), r1)
    base = a.slot("base", U64)
    a.stx(base, r7)
    sum_iovec(b)
    a.ldx(r7, base)


def _argument(b: Body, number: int) -> Mem:
    return CALL[Call.args[b.kernel.argument(number)]]


def find_file(b: Body, uring: Uring, key: Slot, source: Source) -> None:
    """r8 = the ``struct file *`` that the request in r7 is about, by its descriptor or as a registered one; 0: none."""
    a = b.a
    registered, found = a.unique("registered_file"), a.unique("file_found")
    if source.view is CLOSING:
        a.ldx(r8, CALL[Call.offset])
        a.sub(r8, 1)
        a.jsge(r8, 0, registered)
    source.fd(r8, r7)
    if source.view is not CLOSING:
        source.registered(r1, r7)
        a.jne(r1, 0, registered)
    resolve(b)
    a.ja(found)
    a.label(registered)
    registered_file(b, uring, key)
    a.label(found)


def registered_file(b: Body, uring: Uring, key: Slot) -> None:
    """r8 = the ``struct file *`` registered with the ring under the index in r8, 0 if there is none.

    io_uring/filetable.h: io_file_get_fixed(); io_uring/rsrc.h: io_rsrc_node_lookup().
    """
    a, o = b.a, uring.offsets
    index, none, end = a.slot("index", U64), a.unique("none_registered"), a.unique("registered")
    a.stx(index, r8)
    a.ldx(r8, key[PendingKey.request])
    b.load(r8, r8, o["request.ring"], of="io_kiocb")
    b.load(r1, r8, o["ring.file_count"], size=4, of="io_ring_ctx")
    a.ldx(r2, index)
    a.jge(r2, r1, none)
    b.load(r8, r8, o["ring.files"], of="io_ring_ctx")
    a.ldx(r1, index)
    a.lsh(r1, 3)
    a.add(r8, r1)
    if "node.file" in o:
        b.load(r8, r8, 0, "its slot", of="list_head")
        a.jeq(r8, 0, none)
        b.load(r8, r8, o["node.file"], of="io_rsrc_node")
    else:
        b.load(r8, r8, 0, "its slot; a typed load would make it a pointer, which cannot be masked")
    a.and_(r8, FILE_POINTER)
    a.ja(end)
    a.label(none)
    a.mov(r8, 0)
    a.label(end)


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


def _account(b: Body, full: str = "full") -> None:
    """Counts the request of the Call record, whose result r8 holds too; a jump to ``full`` if there is no room."""
    a, sync, done = b.a, b.a.unique("sync"), b.a.unique("accounted")
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, SYNC, sync)
    counters.transfer_result(b, full, submitted=True)
    a.ja(done)
    a.label(sync)
    counters.sync_result(b, full)
    a.label(done)
