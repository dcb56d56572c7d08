"""What requests have opened into the slots of a ring's own table of files, until others close it.

Such a file need never have a descriptor. A chain of requests that opens one, uses it and closes it is taken as a whole
before any of it is done: when the close is taken nothing is in the slot yet, and when it is done nothing is there any
more. So what an open puts into a slot is kept in the map `ring_files`, under ring and index.
"""

from __future__ import annotations

from asm import U64, Slot, r0, r1, r2
from programs.calls.lifetime import mark_deleted
from programs.counting.lifetimes import closed
from programs.counting.runs import end_runs
from programs.counting.who import find_row_of_note
from programs.facts.records import NOTE_LAST, Call, OpenFile, OpenKey, RingFile, RingKey
from programs.requests.uring.events import mark
from programs.way.body import Body
from programs.way.registers import CALL, FILE, OPEN_FILE

KEPT = ((RingFile.file, OpenKey.file), (RingFile.mnt_ns, OpenKey.mnt_ns))


def remember(b: Body, key: Slot) -> None:
    """From now on the ring's slot `key` (a RingKey) holds the file of OPEN_FILE, whose OpenKey is on the stack."""
    a, opened = b.a, b.a.slot("open", OpenKey)
    fresh = b.fresh(RingFile)
    for place, part in KEPT:
        a.ldx(r1, opened[part])
        a.stx(fresh[place], r1)
    a.ldx(r1, OPEN_FILE[OpenFile.id])
    a.stx(fresh[RingFile.id], r1)
    a.update(b.maps.ring_files, key, fresh)


def note_last(b: Body) -> None:
    """Call.marks: that nothing keeps the FILE of OPEN_FILE but what this request is to close, if it is so."""
    a, kept = b.a, b.a.unique("kept_open")
    mark_deleted(b)
    b.load(r1, FILE, b.kernel.offsets["file.ref"], of="file")
    a.jne(r1, b.kernel.one_reference, kept, "another descriptor, or a request in flight")
    mark(b, NOTE_LAST)
    a.label(kept)


def end_close(b: Body) -> None:
    """Counts the successful close that the Call record describes, and ends the file's runs if it was its last.

    The file is the one that was noted (Call.id, the slot "open"), or what an open has put into Call.slot since.
    """
    a, opened, key, file_id = b.a, b.a.slot("open", OpenKey), b.a.slot("ring_slot", RingKey), b.a.slot("id", U64)
    elsewhere, done = a.unique("in_no_slot"), a.unique("closed")
    _empty_slot(b, key, elsewhere)
    a.label(elsewhere)
    a.ldx(r1, CALL[Call.id])
    a.jeq(r1, 0, done, "no regular file, or none whose opening was traced")
    if b.options.by:
        find_row_of_note(b, done)
        a.ldx(r1, CALL[Call.id])
    a.stx(file_id, r1)
    a.call("ktime_get_ns")
    a.stx(CALL[Call.now], r0)
    a.lookup(b.maps.states, file_id)
    a.jeq(r0, 0, done)
    closed(b)
    a.ldx(r1, CALL[Call.marks])
    a.and_(r1, NOTE_LAST)
    a.jeq(r1, 0, done)
    a.lookup(b.maps.opens, opened)
    a.jeq(r0, 0, done)
    a.mov(OPEN_FILE, r0)
    a.ldx(r1, OPEN_FILE[OpenFile.id])
    a.ldx(r2, CALL[Call.id])
    a.jne(r1, r2, done, "another file by now")
    end_runs(b)
    a.delete(b.maps.opens, opened)
    a.label(done)


def _empty_slot(b: Body, key: Slot, elsewhere: str) -> None:
    """`key` = the slot that is closed, which is empty now; the file in it becomes that of the Call record, if none is.

    Jumps to `elsewhere` if it is a descriptor that is closed, or nothing is known of the slot.
    """
    a, opened, known = b.a, b.a.slot("open", OpenKey), b.a.unique("known")
    a.ldx(r1, CALL[Call.slot])
    a.jeq(r1, 0, elsewhere)
    a.sub(r1, 1)
    a.stx(key[RingKey.index], r1)
    a.ldx(r1, CALL[Call.ring])
    a.stx(key[RingKey.ring], r1)
    a.lookup(b.maps.ring_files, key)
    a.jeq(r0, 0, elsewhere)
    a.ldx(r1, CALL[Call.id])
    a.jne(r1, 0, known)
    for place, part in KEPT:
        a.ldx(r1, r0[place])
        a.stx(opened[part], r1)
    a.ldx(r1, r0[RingFile.id])
    a.stx(CALL[Call.id], r1)
    a.st(CALL[Call.marks], NOTE_LAST)
    a.label(known)
    a.delete(b.maps.ring_files, key)
