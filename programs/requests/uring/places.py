"""Files that requests of io_uring open and close: what is kept of them between the two.

A file may be opened into the ring's own table and never have a descriptor.  A chain of requests that opens one there,
uses it and closes it is taken as a whole before any of it is done: when the close is taken there is nothing there yet,
and when it is done there is nothing any more.  So what an open has put into a place is kept under ring and index.
"""

from __future__ import annotations

from asm import U64, Slot, r0, r1, r2, r7, r8
from programs.calls.lifetime import mark_deleted
from programs.facts.records import NOTE_LAST, Call, FileState, OpenFile, OpenKey, RingFile, RingKey
from programs.files.identify import end_runs
from programs.way.body import Body
from programs.way.registers import CALL


def note_last(b: Body) -> None:
    """Call.marks: nothing but what is to be closed keeps the file in r8, whose OpenFile is in r7."""
    a, kept = b.a, b.a.unique("kept_open")
    mark_deleted(b)
    b.load(r1, r8, b.kernel.offsets["file.ref"], of="file")
    a.jne(r1, b.kernel.one_reference, kept, "another descriptor, or a request in flight")
    a.ldx(r1, CALL[Call.marks])
    a.or_(r1, NOTE_LAST)
    a.stx(CALL[Call.marks], r1)
    a.label(kept)


def remember(b: Body, key: Slot) -> None:
    """What is in the place ``key`` (a RingKey) from now on: the file of the OpenFile in r7."""
    a, opened = b.a, b.a.slot("open", OpenKey)
    fresh = b.fresh(RingFile)
    for place, part in ((RingFile.file, OpenKey.file), (RingFile.mnt_ns, OpenKey.mnt_ns)):
        a.ldx(r1, opened[part])
        a.stx(fresh[place], r1)
    a.ldx(r1, r7[OpenFile.id])
    a.stx(fresh[RingFile.id], r1)
    a.update(b.maps.ring_files, key, fresh)


def end_close(b: Body) -> None:
    """Counts the successful close of the Call record: Call.offset is its place in the table of the ring
    Call.requested, plus one, or 0; the slot "open" and Call.id are of its file if that was known when it was taken.
    """
    a, opened, key, file_id = b.a, b.a.slot("open", OpenKey), b.a.slot("place", RingKey), b.a.slot("id", U64)
    known, unplaced, done = a.unique("known"), a.unique("in_no_place"), a.unique("closed")
    a.ldx(r1, CALL[Call.offset])
    a.jeq(r1, 0, unplaced)
    a.sub(r1, 1)
    a.stx(key[RingKey.index], r1)
    a.ldx(r1, CALL[Call.requested])
    a.stx(key[RingKey.ring], r1)
    a.lookup(b.maps.ring_files, key)
    a.jeq(r0, 0, unplaced)
    a.ldx(r1, CALL[Call.id])
    a.jne(r1, 0, known)
    for place, part in ((RingFile.file, OpenKey.file), (RingFile.mnt_ns, OpenKey.mnt_ns)):
        a.ldx(r1, r0[place])
        a.stx(opened[part], r1)
    a.ldx(r1, r0[RingFile.id])
    a.stx(CALL[Call.id], r1)
    a.st(CALL[Call.marks], NOTE_LAST)
    a.label(known)
    a.delete(b.maps.ring_files, key)
    a.label(unplaced)
    a.ldx(r1, CALL[Call.id])
    a.jeq(r1, 0, done, "no regular file, or none whose opening was traced")
    a.stx(file_id, r1)
    a.lookup(b.maps.states, file_id)
    a.jeq(r0, 0, done)
    b.count(r0[FileState.closes])
    a.ldx(r1, CALL[Call.marks])
    a.and_(r1, NOTE_LAST)
    a.jeq(r1, 0, done)
    a.lookup(b.maps.opens, opened)
    a.jeq(r0, 0, done)
    a.mov(r7, r0)
    a.ldx(r1, r7[OpenFile.id])
    a.ldx(r2, CALL[Call.id])
    a.jne(r1, r2, done, "another file by now")
    end_runs(b)
    a.delete(b.maps.opens, opened)
    a.label(done)
