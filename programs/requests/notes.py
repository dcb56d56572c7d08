"""Notes of requests in flight: what is known of each from its submission to its completion.

A note lies in an array, in the place that its key comes to: to make one, find it and take it away costs a tenth of what
it does in a hash.  Where two fall on one place the later one lies in the hash ``pending``, and the place counts those.
A place is claimed by compare-and-exchange; before that (5.12) all notes lie in the hash.

Whoever takes a note away has the request, so that none counts twice, whichever way its completion shows up.
"""

from __future__ import annotations

from typing import Callable, Optional, Sequence, Tuple

from asm import U32, U64, Field, Mem, Slot, r0, r1, r2, r3, r4, r8
from programs.facts.maps import NOTES
from programs.facts.records import NOTE_BUSY, Lost, Note, Pending, PendingKey
from programs.way.body import BPF_NOEXIST, Body

EEXIST = 17
GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: spreads addresses that lie at equal distances
OWNER_SHIFT = 42  # no id of a process has more than 22 bits (PID_MAX_LIMIT)
Contents = Sequence[Tuple[Field, Optional[Mem]]]
"""What a field of Pending takes, nothing for 0, or gives back to."""


def find(b: Body, key: Slot, unknown: str) -> None:
    """r0 = the Pending noted under ``key``, or a jump to ``unknown``.  Clobbers r1 to r5."""
    a, other, found = b.a, b.a.unique("another_s_place"), b.a.unique("note_found")
    if b.kernel.fetch_atomics:
        _place(b, key, unknown)
        _compare(b, key, other)
        a.mov(r0, r4)
        a.add(r0, Note.pending.offset)
        a.ja(found)
        a.label(other)
        _if_spilled(b, unknown)
    a.lookup(b.maps.pending, key)
    a.jeq(r0, 0, unknown)
    a.label(found)


def put(b: Body, key: Slot, contents: Contents, full: str) -> None:
    """Notes a request under ``key``; jumps to ``full`` without room.  Destroys r8.

    A note that is there already is of a request whose completion was never seen: it is lost.
    """
    a, noted = b.a, b.a.unique("noted")
    if b.kernel.fetch_atomics:
        _put_in_place(b, key, contents, noted, full)
    there = a.unique("stale_note")
    fresh = b.overlay("note", Pending)
    a.st(fresh[Pending.pad], 0)
    _fill(b, lambda part: fresh[part], contents)
    a.update(b.maps.pending, key, fresh, BPF_NOEXIST)
    a.jeq(r0, 0, noted)
    if b.kernel.fetch_atomics:
        a.mov(r1, -1)
        a.xadd(r8[Note.spilled], r1)
    a.jeq(r0, -EEXIST, there)
    a.ja(full)
    a.label(there)
    a.update(b.maps.pending, key, fresh)
    b.lost(Lost.calls)
    a.label(noted)


def _put_in_place(b: Body, key: Slot, contents: Contents, noted: str, full: str) -> None:
    """Notes it in the array and jumps to ``noted``, or falls through with r8 = the place, which counts one more."""
    a, free, spill = b.a, b.a.unique("place_free"), b.a.unique("place_taken")
    _place(b, key, full)
    a.mov(r8, r4)
    a.mov(r0, 0)
    a.mov(r1, NOTE_BUSY)
    a.cmpxchg(r8[Note.request], r1)
    a.jeq(r0, 0, free)
    _compare(b, key, spill)
    a.mov(r0, r3)
    a.mov(r1, NOTE_BUSY)
    a.cmpxchg(r8[Note.request], r1)
    a.jne(r0, r3, spill)
    b.lost(Lost.calls)
    a.label(free)
    _fill(b, lambda part: r8[Note.pending[part]], contents)
    for place, part in ((Note.space, PendingKey.space), (Note.owner, PendingKey.owner)):
        a.ldx(r1, key[part])
        a.stx(r8[place], r1)
    a.ldx(r1, key[PendingKey.request])
    a.xchg(r8[Note.request], r1, "all else is visible before it")
    a.ja(noted)
    a.label(spill)
    b.count(r8[Note.spilled])


def take(b: Body, key: Slot, contents: Contents, unknown: str) -> None:
    """Takes the note under ``key`` away, with ``contents`` copied from it; jumps to ``unknown`` if there is none.

    Then some of ``contents`` may have been written all the same.  Clobbers r0 to r5.
    """
    a, other, taken, place = b.a, b.a.unique("another_s_place"), b.a.unique("note_taken"), b.a.slot("note_place", U64)
    if b.kernel.fetch_atomics:
        _place(b, key, unknown)
        _compare(b, key, other)
        a.mov(r0, r3)
        a.mov(r1, NOTE_BUSY)
        a.cmpxchg(r4[Note.request], r1)
        a.jne(r0, r3, unknown, "taken meanwhile")
        _give(b, lambda part: r4[Note.pending[part]], contents)
        a.mov(r1, 0)
        a.xchg(r4[Note.request], r1, "all has been read before it")
        a.ja(taken)
        a.label(other)
        _if_spilled(b, unknown)
        a.stx(place, r4)
    a.lookup(b.maps.pending, key)
    a.jeq(r0, 0, unknown)
    _give(b, lambda part: r0[part], contents)
    a.delete(b.maps.pending, key)
    a.jne(r0, 0, unknown, "taken meanwhile")
    if b.kernel.fetch_atomics:
        a.ldx(r4, place)
        a.mov(r1, -1)
        a.xadd(r4[Note.spilled], r1)
    a.label(taken)


def drop(b: Body, key: Slot) -> None:
    """Takes the note under ``key`` away, if there is one.  Clobbers r0 to r5."""
    gone = b.a.unique("dropped")
    take(b, key, (), gone)
    b.a.label(gone)


def _fill(b: Body, note: Callable[[Field], Mem], contents: Contents) -> None:
    a = b.a
    for part, own in contents:
        if own is None:
            a.st(note(part), 0)
        else:
            a.ldx(r1, own)
            a.stx(note(part), r1)


def _give(b: Body, note: Callable[[Field], Mem], contents: Contents) -> None:
    for part, own in contents:
        if own is not None:
            b.a.ldx(r1, note(part))
            b.a.stx(own, r1)


def _place(b: Body, key: Slot, never: str) -> None:
    """r4 = the Note in the place of ``key``.  Clobbers r0 to r3."""
    a, row = b.a, b.a.slot("note_row", U32)
    a.ldx(r1, key[PendingKey.owner])
    a.lsh(r1, OWNER_SHIFT)
    for part in (PendingKey.space, PendingKey.request):
        a.ldx(r2, key[part])
        a.add(r1, r2)
    a.ld_imm64(r2, GOLDEN)
    a.mul(r1, r2)
    a.rsh(r1, 64 - NOTES.bit_length() + 1)
    a.stx(row, r1)
    a.lookup(b.maps.notes, row)
    a.jeq(r0, 0, never)
    a.mov(r4, r0)


def _compare(b: Body, key: Slot, other: str) -> None:
    """A jump to ``other`` unless the Note in r4 is that of ``key``; r3 = its request.  Clobbers r1."""
    a = b.a
    for place, part in (
        (Note.space, PendingKey.space),
        (Note.owner, PendingKey.owner),
        (Note.request, PendingKey.request),
    ):
        a.ldx(r1, r4[place])
        a.ldx(r3, key[part])
        a.jne(r1, r3, other)


def _if_spilled(b: Body, none: str) -> None:
    """A jump to ``none`` if nothing that falls on the place in r4 lies in the hash."""
    b.a.ldx(r1, r4[Note.spilled])
    b.a.jeq(r1, 0, none)
