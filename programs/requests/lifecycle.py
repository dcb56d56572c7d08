"""Requests that are submitted by one call and completed by another: what Linux AIO and io_uring have in common.

A request is noted when it is submitted, under whatever identifies it until its completion, and is accounted for when
that is seen. A completion needs nothing but the note: neither the `struct file`, which may be gone, nor the thread that
submitted. Runs and rewrites alone are accounted for at submission (`programs.requests.runs`).
"""

from __future__ import annotations

from typing import List, Sequence, Tuple

from asm import Field, Slot, r0, r1, r2
from programs.counting import latencies, results
from programs.counting.counters import Counters
from programs.counting.threads import used
from programs.counting.who import find_row, note_who, take_over_runs
from programs.facts.records import LATENCY_BITS, RUN_BUCKETS, SYNC, Call, OpenFile, OpenKey, OwnedPending, Pending
from programs.requests import depth, notes
from programs.requests.runs import correct, extend_run
from programs.way.body import Body
from programs.way.registers import CALL, OPEN_FILE, RESULT

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
# What it gives back for a transfer of all that was asked for; the rest is found before the note is taken.
OF_A_WHOLE_TRANSFER = (
    (Pending.requested, Call.requested),
    (Pending.offset, Call.start),
    (Pending.broken, Call.broken),
    (Pending.previous, Call.previous),
    (Pending.direction, Call.direction),
    (Pending.flags, Call.flags),
    (Pending.rw_flags, Call.rw_flags),
)
WHOLE_BITS = 32  # that its latency has at most, and the run that it has ended
assert WHOLE_BITS == LATENCY_BITS == RUN_BUCKETS - 1
# Of all, what nobody knows of a request whose file is not known.
OF_A_FILE = (Pending.id, Pending.broken, Pending.ended, Pending.flags)
# What it has besides where rows are apart by who does the I/O.
OF_A_ROW = (OwnedPending.row, Call.row)


def _contents(b: Body) -> notes.Contents:
    """All that a note holds: the fields above, and the key of the OpenFile, which is on the stack."""
    opened = b.a.slot("open", OpenKey)
    return [
        *((note, CALL[own]) for note, own in _noted(b)),
        (Pending.depth, CALL[Call.depth] if depth.is_known(b) else None),
        (Pending.file, opened[OpenKey.file]),
        (Pending.mnt_ns, opened[OpenKey.mnt_ns]),
    ]


def _noted(b: Body) -> List[Tuple[Field, Field]]:
    """NOTED, and the row where they are apart by who does the I/O."""
    return [*NOTED, OF_A_ROW] if b.options.by else [*NOTED]


def submit(b: Body, key: Slot, full: str, *, lent: bool = False, queued: bool = True) -> None:
    """Notes the request that the Call record describes under the PendingKey `key`; jumps to `full` without room.

    OPEN_FILE is its file's, whose OpenKey is in the slot "open" (find_open, identify). Call.op, direction (READ, WRITE
    or SYNC), requested, unmeasured, offset, explicit, rw_flags, flags and inode are set, and Call.entered is the time
    of submission. Destroys r8. `lent`: CALL is not the thread's own record. `queued`: it is one that waits for storage.
    """
    a, no_room, noted = b.a, b.a.unique("not_noted"), b.a.unique("in_flight")
    for place in (Call.broken, Call.ended, Call.previous):
        a.st(CALL[place], 0)
    a.ldx(r1, OPEN_FILE[OpenFile.id])
    a.stx(CALL[Call.id], r1)
    find_row(b, full)
    if not depth.is_known(b):
        extend_run(b)
        take_over_runs(b, done=False)
        notes.put(b, key, _contents(b), full)
        return
    a.st(CALL[Call.depth], 0)
    if queued:
        used(b, lent=lent)
        depth.join(b)
    extend_run(b)
    take_over_runs(b, done=False)
    notes.put(b, key, _contents(b), no_room)
    a.ja(noted)
    a.label(no_room)
    depth.leave(b, accepted=False)
    a.ja(full)
    a.label(noted)


def note_without_file(b: Body, key: Slot, full: str) -> None:
    """Notes the request of the Call record, whose file is found at its completion. Destroys r8.

    Call.previous is the thread that submits it, if anybody is to know then.
    """
    unknown: Sequence[Field] = OF_A_FILE
    if b.options.by:
        unknown = [part for part in OF_A_FILE if part not in (Pending.broken, Pending.ended)]
        note_who(b)
    contents = [(note, None if note in unknown else CALL[own]) for note, own in _noted(b)]
    contents += [(Pending.depth, None), (Pending.file, None)]
    notes.put(b, key, [*contents, (Pending.mnt_ns, CALL[Call.mnt_ns])], full)


def claim(b: Body, key: Slot, unknown: str, *, accepted: bool = True) -> None:
    """The Call record and the slot "open" = the note under `key`, which is taken away. Jumps to `unknown` without.

    The request is in flight no more. `accepted`: it has been.
    """
    notes.take(b, key, _contents(b), unknown)
    if depth.is_known(b):
        depth.leave(b, accepted=accepted)
    b.a.ldx(r1, CALL[Call.offset])
    b.a.stx(CALL[Call.start], r1)


def complete(b: Body, key: Slot, unknown: str, full: str, *, accepted: bool = True) -> None:
    """Accounts for the request noted under `key`, with its result in RESULT, whose end was seen at Call.now.

    Jumps to `unknown` if there is none, or somebody else has just done it, and to `full` if there is no room for its
    counters. CALL is the record of whoever saw the completion, and is overwritten, `entered` included. RESULT is kept,
    r7 destroyed. Unless `accepted`, it fails before it is in flight.
    """
    claim(b, key, unknown, accepted=accepted)
    b.a.stx(CALL[Call.result], RESULT)
    account(b, full, corrected=False)


def account(b: Body, full: str, *, corrected: bool = True) -> None:
    """Counts the request of the Call record, whose result RESULT holds too; jumps to `full` if there is no room.

    Unless it is `corrected` already, what it did not transfer is taken out of its run.
    """
    a, sync, done = b.a, b.a.unique("sync"), b.a.unique("accounted")
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, SYNC, sync)
    if not corrected:
        correct(b)
    results.transfer_result(b, full, submitted=True)
    a.ja(done)
    a.label(sync)
    results.sync_result(b, full)
    a.label(done)


def complete_whole(b: Body, key: Slot, unknown: str, rare: str) -> None:
    """`complete` in a third of the instructions, if the request moved all that it asked for, like others before it.

    Jumps to `rare` with nothing done if it did not, or what it adds to has not been made, or it does not fit in there.
    """
    a = b.a
    op = Counters(b, b.counted)
    a.jsle(RESULT, 0, rare)
    notes.find(b, key, unknown)
    a.ldx(r1, r0[Pending.requested])
    a.jne(r1, RESULT, rare)
    a.ldx(r1, r0[Pending.unmeasured])
    a.jne(r1, 0, rare)
    row = [OF_A_ROW] if b.options.by else []
    for note, own in (*row, (Pending.id, Call.id), (Pending.op, Call.op), (Pending.entered, Call.entered)):
        a.ldx(r2, r0[note])
        a.stx(CALL[own], r2)
    a.ldx(r1, CALL[Call.now])
    a.sub(r1, r2)
    a.ldx(r2, r0[Pending.broken])
    a.or_(r1, r2)
    a.or_(r1, RESULT)
    a.rsh(r1, WHOLE_BITS)
    a.jne(r1, 0, rare, "a latency or a run so long that it is kept sparsely")
    op.find_made(rare)
    latencies.find_cell(b, op, rare)
    notes.take(b, key, [(note, CALL[own]) for note, own in OF_A_WHOLE_TRANSFER], unknown)
    results.whole_transfer(b, op)


def take_back(b: Body, key: Slot, unknown: str) -> None:
    """Forgets the request noted under `key`, which was never accepted. The last one noted must be the first to go.

    Jumps to `unknown` if there is none. Otherwise as `complete`, and sets RESULT to 0.
    """
    a, done = b.a, b.a.unique("taken_back")
    claim(b, key, unknown, accepted=False)
    a.mov(RESULT, 0)
    a.stx(CALL[Call.result], RESULT)
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, SYNC, done)
    correct(b)
    a.label(done)
