"""Requests that are submitted by one call and completed by another: what Linux AIO and io_uring have in common.

A request is noted when it is submitted, under whatever identifies it until its completion, and is accounted for when
that is seen.  Runs and rewrites are the exception: they follow the order of submission, as if all of each request will
be transferred, because the completions of a deep queue come in any order; a completion that fell short corrects them.
A completion needs nothing but the note: neither the ``struct file``, which may be gone, nor the thread that submitted.
"""

from __future__ import annotations

from asm import U64, Slot, r0, r1, r2, r3, r4, r7, r8
from programs.calls.transfer import extend_at_offset
from programs.counting import counters
from programs.facts.catalogue import READ, WRITE
from programs.facts.kernel import O_APPEND, RWF_APPEND
from programs.facts.records import RUN_BUCKETS, SYNC, TALLY_READ_RUN, Call, OpenFile, OpenKey, Pending
from programs.requests import notes
from programs.way.body import Body
from programs.way.registers import CALL

# What the note takes from the Call record at submission and gives back to it, another one as a rule, at completion.
NOTED = (
    (Pending.id, Call.id),
    (Pending.entered, Call.entered),
    (Pending.requested, Call.requested),
    (Pending.offset, Call.offset),
    (Pending.broken, Call.broken),
    (Pending.ended, Call.ended),
    (Pending.previous, Call.previous),
    (Pending.op, Call.op),
    (Pending.direction, Call.direction),
    (Pending.flags, Call.flags),
    (Pending.rw_flags, Call.rw_flags),
    (Pending.unmeasured, Call.unmeasured),
    (Pending.explicit, Call.explicit),
    (Pending.marks, Call.marks),
)


def _contents(b: Body) -> notes.Contents:
    """Of a note: that, and the key that the OpenFile was found by, which is on the stack."""
    opened = b.a.slot("open", OpenKey)
    return [
        *((note, CALL[own]) for note, own in NOTED),
        (Pending.file, opened[OpenKey.file]),
        (Pending.mnt_ns, opened[OpenKey.mnt_ns]),
    ]


def submit(b: Body, key: Slot, full: str) -> None:
    """Notes the request that the Call record describes under the PendingKey ``key``; jumps to ``full`` without room.

    r7 = its OpenFile, whose OpenKey is in the slot "open" (find_open, identify).  Call.op, direction (READ, WRITE or
    SYNC), requested, unmeasured, offset, explicit, rw_flags, flags and inode are set, and Call.entered is the time of
    submission.  Destroys r8.
    """
    a = b.a
    for place in (Call.broken, Call.ended, Call.previous):
        a.st(CALL[place], 0)
    a.ldx(r1, r7[OpenFile.id])
    a.stx(CALL[Call.id], r1)
    _extend_run(b)
    notes.put(b, key, _contents(b), full)


def note_without_file(b: Body, key: Slot, full: str) -> None:
    """Notes the request of the Call record; who it belongs to is found at its completion.  Destroys r8."""
    unknown = (Pending.id, Pending.broken, Pending.ended, Pending.previous, Pending.flags)
    contents = [(note, None if note in unknown else CALL[own]) for note, own in NOTED]
    notes.put(b, key, [*contents, (Pending.file, None), (Pending.mnt_ns, CALL[Call.mnt_ns])], full)


def _extend_run(b: Body) -> None:
    """The run of the OpenFile in r7, by a request at an offset; Call.ended = where the run before it ended."""
    a = b.a
    write, done = a.unique("writes"), a.unique("run_extended")
    a.ldx(r8, CALL[Call.requested])
    a.ldx(r2, CALL[Call.direction])
    a.jeq(r2, SYNC, done)
    a.ldx(r1, CALL[Call.explicit])
    a.jeq(r1, 0, done)
    a.jeq(r2, WRITE, write)
    _extend(b, READ)
    a.ja(done)
    a.label(write)
    _append(b)
    a.jsle(r8, 0, done)
    counters.write_submitted(b, Call.offset)
    _extend(b, WRITE)
    a.label(done)


def _extend(b: Body, direction: int) -> None:
    a, nothing = b.a, b.a.unique("no_bytes")
    a.jsle(r8, 0, nothing, "or a size that is refused: it is none in the kernel's eyes")
    _end(b, direction)
    a.stx(CALL[Call.ended], r1)
    a.ldx(r1, CALL[Call.offset])
    extend_at_offset(b, direction)
    a.label(nothing)


def _end(b: Body, direction: int) -> None:
    """r1 = where the last transfer of the OpenFile in r7 ended.  Clobbers r2."""
    a = b.a
    a.ldx(r1, r7[OpenFile.pos])
    a.ldx(r2, r7[OpenFile.gap[direction]])
    a.sub(r1, r2)


def _append(b: Body) -> None:
    """Call.offset of a write that appends: the end of the file, or of the write before if that is still under way."""
    a = b.a
    done, behind, size = a.unique("not_appending"), a.unique("behind_the_end"), a.slot("word", U64)
    a.ldx(r1, CALL[Call.flags])
    a.and_(r1, O_APPEND)
    a.ldx(r2, CALL[Call.rw_flags])
    a.and_(r2, RWF_APPEND)
    a.or_(r1, r2)
    a.jeq(r1, 0, done)
    a.ldx(r3, CALL[Call.inode])
    b.probe(size, 8, r3, b.kernel.offsets["inode.size"], "i_size")
    _end(b, WRITE)
    a.ldx(r2, size)
    a.jge(r1, r2, behind)
    a.mov(r1, r2)
    a.label(behind)
    a.stx(CALL[Call.offset], r1)
    a.label(done)


def complete(b: Body, key: Slot, unknown: str, full: str) -> None:
    """Accounts for the request noted under ``key``, whose result is in r8, and whose end was seen at Call.now.

    Jumps to ``unknown`` if there is none, or somebody else has just done it, and to ``full`` if there is no room for
    its counters.  CALL is the Call record of whoever saw the completion; its ``entered`` is the request's afterwards.
    Falls through with r8 unchanged; destroys r7.
    """
    a = b.a
    sync, done = a.unique("sync"), a.unique("completed")
    claim(b, key, unknown)
    a.stx(CALL[Call.result], r8)
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, SYNC, sync)
    correct(b)
    counters.transfer_result(b, full, submitted=True)
    a.ja(done)
    a.label(sync)
    counters.sync_result(b, full)
    a.label(done)


def complete_whole(b: Body, key: Slot, unknown: str, rare: str) -> None:
    """The same in a third of the instructions, if the request moved all that it asked for, like others before it.

    Jumps to ``rare`` with nothing done if it did not, or is the first of its kind on its file.
    """
    a = b.a
    op = counters.Operation(b, CALL[Call.id])
    a.jsle(r8, 0, rare)
    notes.find(b, key, unknown)
    a.ldx(r1, r0[Pending.requested])
    a.jne(r1, r8, rare)
    a.ldx(r1, r0[Pending.unmeasured])
    a.jne(r1, 0, rare)
    a.ldx(r1, r0[Pending.broken])
    a.rsh(r1, RUN_BUCKETS - 1)
    a.jne(r1, 0, rare, "a run so long that it is kept sparsely")
    for note, own in (Pending.id, Call.id), (Pending.op, Call.op):
        a.ldx(r1, r0[note])
        a.stx(CALL[own], r1)
    op.find_made(rare)
    claim(b, key, unknown)
    a.stx(CALL[Call.result], r8)
    counters.whole_transfer(b, op)


def take_back(b: Body, key: Slot, unknown: str) -> None:
    """Forgets the request noted under ``key``, which was never accepted.  The last one noted must be the first to go.

    Jumps to ``unknown`` if there is none.  Otherwise as ``complete``, and sets r8 to 0.
    """
    a, done = b.a, b.a.unique("taken_back")
    claim(b, key, unknown)
    a.mov(r8, 0)
    a.stx(CALL[Call.result], r8)
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, SYNC, done)
    correct(b)
    a.label(done)


def claim(b: Body, key: Slot, unknown: str) -> None:
    """The Call record and the slot "open" = the note under ``key``, which is taken away."""
    notes.take(b, key, _contents(b), unknown)
    b.a.ldx(r1, CALL[Call.offset])
    b.a.stx(CALL[Call.start], r1)


def correct(b: Body) -> None:
    """Takes out of the run what the request, with result r8 and in Call.result, did not transfer.

    If nothing came after it, the run ends where the transfer did; and if it moved nothing at all, the run that it
    seemed to end goes on.  If others came after it, the run is left in one piece, shorter by what is missing.
    A write that wrote nothing is none that another one could repeat.
    """
    a = b.a
    short, tell, done = a.unique("short"), a.unique("not_in_a_run"), a.unique("corrected")
    a.ldx(r1, CALL[Call.requested])
    a.mov(r2, r8)
    a.jsgt(r2, 0, short)
    a.mov(r2, 0)
    a.label(short)
    a.sub(r1, r2, "what was not transferred")
    a.jsle(r1, 0, done)
    a.ldx(r2, CALL[Call.explicit])
    a.jeq(r2, 0, done)
    missing, moved = a.slot("missing", U64), a.unique("some_or_none_written")
    a.stx(missing, r1)
    a.ldx(r1, CALL[Call.result])
    a.jsgt(r1, 0, moved)
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, READ, moved)
    counters.write_taken_back(b)
    a.label(moved)
    a.lookup(b.maps.opens, a.slot("open", OpenKey))
    a.jeq(r0, 0, tell, "closed meanwhile")
    a.mov(r7, r0)
    a.ldx(r1, r7[OpenFile.id])
    a.ldx(r2, CALL[Call.id])
    a.jne(r1, r2, tell, "another file by now")
    write = a.unique("write_fell_short")
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, WRITE, write)
    _shorten(b, READ, missing, tell)
    a.ja(tell)
    a.label(write)
    _shorten(b, WRITE, missing, tell)
    a.label(tell)
    _tell_broken(b)
    a.label(done)


def _shorten(b: Body, direction: int, missing: Slot, done: str) -> None:
    a = b.a
    _end(b, direction)
    a.ldx(r2, CALL[Call.offset])
    a.ldx(r3, r7[OpenFile.run[direction]])
    a.mov(r4, r1)
    a.sub(r4, r3, "where the run begins")
    a.jslt(r2, r4, done, "in a run that has ended")
    a.ldx(r4, CALL[Call.requested])
    a.add(r4, r2)
    a.jsgt(r4, r1, done, "the same")
    a.ldx(r3, missing)
    a.neg(r3)
    a.xadd(r7[OpenFile.run[direction]], r3)
    a.jne(r4, r1, done, "others came after it")
    a.neg(r3)
    a.xadd(r7[OpenFile.gap[direction]], r3)
    a.jsgt(r8, 0, done)
    a.ldx(r3, r7[OpenFile.run[direction]])
    a.jne(r3, 0, done)
    a.ldx(r1, CALL[Call.broken], "it began a run, which never came to be")
    a.xadd(r7[OpenFile.run[direction]], r1)
    a.ldx(r1, r7[OpenFile.pos])
    a.ldx(r2, CALL[Call.ended])
    a.sub(r1, r2)
    a.stx(r7[OpenFile.gap[direction]], r1)
    a.st(CALL[Call.broken], 0)


def _tell_broken(b: Body) -> None:
    """The run that ended when a request which then moved nothing was submitted."""
    a, done = b.a, b.a.unique("told")
    a.jsgt(r8, 0, done, "transfer_result will tell")
    a.ldx(r2, CALL[Call.broken])
    a.jeq(r2, 0, done)
    b.bucket(r1, r2, r3)
    a.mov(r3, r1)
    b.tally(file=CALL[Call.id], op=None, kind=TALLY_READ_RUN, item=r3, beyond=CALL[Call.direction])
    a.st(CALL[Call.broken], 0)
    a.label(done)
