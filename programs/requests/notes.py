"""Notes of requests in flight: what is known of each from its submission to its completion.

A note lies in an array, in the place that its key hashes to: to make one, find it and take it away costs a tenth of
what it does in a hash map. Where two fall on one place the later one *spills* into the hash map `pending`, and the
place counts how many did, so that whoever finds nothing in a place knows whether to look there at all.

A place is claimed by compare-and-exchange of its `request`: 0 is free, NOTE_BUSY is being written or read, anything
else is whose note it is. All other fields are written before that word is set, and read before it is cleared: these
exchanges order memory. Kernels without such instructions (before 5.12) keep all notes in `pending`.

Whoever takes a note away has the request, so that none counts twice, whichever way its completion shows up.
"""

from __future__ import annotations

from typing import Callable, Optional, Sequence, Tuple

from asm import U32, U64, Field, Mem, Register, Slot, r0, r1, r2, r3, r4
from programs.facts.maps import NOTES
from programs.facts.records import NOTE_BUSY, Lost, Note, OwnedNote, OwnedPending, Pending, PendingKey
from programs.way.body import BPF_NOEXIST, Body
from programs.way.registers import PLACE

FOUND = r4
"""The `Note` in the place that a key hashes to, until the next call."""
EEXIST = 17
GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: spreads addresses that lie at equal distances
OWNER_SHIFT = 42  # no id of a process has more than 22 bits (PID_MAX_LIMIT)
Contents = Sequence[Tuple[Field, Optional[Mem]]]
"""Fields of Pending, each with the operand that it takes its value from, or None for 0, and gives it back to."""


def find(b: Body, key: Slot, unknown: str) -> None:
    """r0 = the Pending noted under `key`, or a jump to `unknown`. Clobbers r1 to r5."""
    a, other, found = b.a, b.a.unique("another_s_place"), b.a.unique("note_found")
    if b.kernel.fetch_atomics:
        _place(b, key, unknown)
        _compare(b, key, other)
        a.mov(r0, FOUND)
        a.add(r0, Note.pending.offset)
        a.ja(found)
        a.label(other)
        _if_spilled(b, unknown)
    a.lookup(b.maps.pending, key)
    a.jeq(r0, 0, unknown)
    a.label(found)


def put(b: Body, key: Slot, contents: Contents, full: str) -> None:
    """Notes a request under `key`; jumps to `full` without room. Destroys PLACE.

    A note that is there already is of a request whose completion was never seen: it is lost.
    """
    a, noted = b.a, b.a.unique("noted")
    if b.kernel.fetch_atomics:
        _put_in_place(b, key, contents, noted, full)
    there = a.unique("stale_note")
    fresh = b.overlay("note", OwnedPending if b.options.by else Pending)
    _fill(b, lambda part: fresh[part], contents)
    a.update(b.maps.pending, key, fresh, BPF_NOEXIST)
    a.jeq(r0, 0, noted)
    if b.kernel.fetch_atomics:
        _uncount(b, PLACE)
    a.jeq(r0, -EEXIST, there)
    a.ja(full)
    a.label(there)
    a.update(b.maps.pending, key, fresh)
    b.lost(Lost.calls)
    a.label(noted)


def _put_in_place(b: Body, key: Slot, contents: Contents, noted: str, full: str) -> None:
    """Notes it in the array and jumps to `noted`, or falls through with PLACE counting one more that is spilled."""
    a, free, spill = b.a, b.a.unique("place_free"), b.a.unique("place_taken")
    _place(b, key, full)
    a.mov(PLACE, FOUND)
    a.mov(r0, 0)
    a.mov(r1, NOTE_BUSY)
    a.cmpxchg(PLACE[Note.request], r1)
    a.jeq(r0, 0, free)
    _compare(b, key, spill)
    _seize(b, PLACE, spill)
    b.lost(Lost.calls)
    a.label(free)
    _fill(b, lambda part: PLACE[_in_note(part)], contents)
    for place, part in ((Note.space, PendingKey.space), (Note.owner, PendingKey.owner)):
        a.ldx(r1, key[part])
        a.stx(PLACE[place], r1)
    a.ldx(r1, key[PendingKey.request])
    a.xchg(PLACE[Note.request], r1, "all else is visible before it")
    a.ja(noted)
    a.label(spill)
    b.count(PLACE[Note.spilled])


def take(b: Body, key: Slot, contents: Contents, unknown: str) -> None:
    """Takes the note under `key` away, with `contents` copied from it; jumps to `unknown` if there is none.

    Then some of `contents` may have been written all the same. Clobbers r0 to r5.
    """
    a, other, taken, place = b.a, b.a.unique("another_s_place"), b.a.unique("note_taken"), b.a.slot("note_place", U64)
    if b.kernel.fetch_atomics:
        _place(b, key, unknown)
        _compare(b, key, other)
        _seize(b, FOUND, unknown, "taken meanwhile")
        _give(b, lambda part: FOUND[_in_note(part)], contents)
        a.mov(r1, 0)
        a.xchg(FOUND[Note.request], r1, "all has been read before it")
        a.ja(taken)
        a.label(other)
        _if_spilled(b, unknown)
        a.stx(place, FOUND)
    a.lookup(b.maps.pending, key)
    a.jeq(r0, 0, unknown)
    _give(b, lambda part: r0[part], contents)
    a.delete(b.maps.pending, key)
    a.jne(r0, 0, unknown, "taken meanwhile")
    if b.kernel.fetch_atomics:
        a.ldx(FOUND, place)
        _uncount(b, FOUND)
    a.label(taken)


def _in_note(part: Field) -> Field:
    """Where a field of a Pending, or of an OwnedPending, lies in the record that holds it in the array."""
    return OwnedNote.pending[part] if part.record == OwnedPending.__name__ else Note.pending[part]


def drop(b: Body, key: Slot) -> None:
    """Takes the note under `key` away, if there is one. Clobbers r0 to r5."""
    gone = b.a.unique("dropped")
    take(b, key, (), gone)
    b.a.label(gone)


def _seize(b: Body, place: Register, gone: str, note: str = "") -> None:
    """Makes the note of request r3 in `place` busy; jumps to `gone` if it is another's by now. Clobbers r0 and r1."""
    a = b.a
    a.mov(r0, r3)
    a.mov(r1, NOTE_BUSY)
    a.cmpxchg(place[Note.request], r1)
    a.jne(r0, r3, gone, note)


def _uncount(b: Body, place: Register) -> None:
    """One less is spilled for which `place` would have been. Clobbers r1."""
    b.a.mov(r1, -1)
    b.a.xadd(place[Note.spilled], r1)


def _fill(b: Body, note: Callable[[Field], Mem], contents: Contents) -> None:
    """Writes `contents`, in the note whose fields lie where `note` says. Clobbers r1."""
    a = b.a
    for part, own in contents:
        if own is None:
            a.st(note(part), 0)
        else:
            a.ldx(r1, own)
            a.stx(note(part), r1)


def _give(b: Body, note: Callable[[Field], Mem], contents: Contents) -> None:
    """Reads them back. Clobbers r1."""
    for part, own in contents:
        if own is not None:
            b.a.ldx(r1, note(part))
            b.a.stx(own, r1)


def _place(b: Body, key: Slot, never: str) -> None:
    """FOUND = the Note in the place of `key`, or a jump to `never`, which nothing takes. Clobbers r0 to r3."""
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
    a.mov(FOUND, r0)


def _compare(b: Body, key: Slot, other: str) -> None:
    """Jumps to `other` unless FOUND is the Note of `key`. r3 = the request of both; clobbers r1."""
    a = b.a
    for place, part in (
        (Note.space, PendingKey.space),
        (Note.owner, PendingKey.owner),
        (Note.request, PendingKey.request),
    ):
        a.ldx(r1, FOUND[place])
        a.ldx(r3, key[part])
        a.jne(r1, r3, other)


def _if_spilled(b: Body, none: str) -> None:
    """Jumps to `none` if nothing that falls on the place FOUND lies in the hash map. Clobbers r1."""
    b.a.ldx(r1, FOUND[Note.spilled])
    b.a.jeq(r1, 0, none)
