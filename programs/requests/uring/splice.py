"""io_uring: splices, whose target is the request's own file and whose source is noted by itself.

Each side counts where it is a regular file, as with the system call.  The target is noted in any case: by its note the
completion is known, and goes on with the source's.
"""

from __future__ import annotations

from asm import U64, ProgramSpec, r0, r1, r7
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options, Uring
from programs.facts.maps import Maps
from programs.facts.records import NOTE_ABSENT, OTHER, OWN, Pending, PendingKey
from programs.requests import notes
from programs.requests.uring.completed import done
from programs.requests.uring.events import event_key
from programs.requests.uring.finish import finish, go_on
from programs.requests.uring.note import note
from programs.requests.uring.shapes import FROM, INTO, SOURCE, TARGET
from programs.requests.uring.source import Source
from programs.way.body import begin
from programs.way.registers import CTX


def into(kernel: Kernel, options: Options, maps: Maps, uring: Uring, *, entry: bool = False) -> ProgramSpec:
    """Notes the target of a splice."""
    b = begin("uring_bad_into" if entry else "uring_into", kernel, options, maps)
    a = b.a
    key = event_key(b, uring, "refused" if entry else "taken")
    if entry:
        a.ldx(r7, CTX[0], "the entry")
    a.st(a.slot("kind", U64), TARGET.pack())
    source = Source(b, uring, INTO, entry=entry)
    note(b, uring, key, source, absent="absent", after=Jump.URING_BAD_FROM if entry else Jump.URING_FROM)
    return b.program()


def out_of(kernel: Kernel, options: Options, maps: Maps, uring: Uring, *, entry: bool = False) -> ProgramSpec:
    """Notes the source of a splice."""
    b = begin("uring_bad_from" if entry else "uring_from", kernel, options, maps)
    a = b.a
    key = event_key(b, uring, "refused" if entry else "taken")
    a.st(key[PendingKey.space], OTHER)
    if entry:
        a.ldx(r7, CTX[0], "the entry")
    a.st(a.slot("kind", U64), SOURCE.pack())
    note(b, uring, key, Source(b, uring, FROM, entry=entry))
    return b.program()


def into_done(kernel: Kernel, options: Options, maps: Maps, uring: Uring) -> ProgramSpec:
    """The completion of a splice: its target."""
    b = begin("uring_into_done", kernel, options, maps)
    a = b.a
    key = done(b, OWN, "out")
    a.ldx(r1, r0[Pending.marks])
    a.and_(r1, NOTE_ABSENT)
    a.jeq(r1, 0, "regular")
    notes.drop(b, key)
    go_on(b, Jump.URING_FROM_DONE)
    a.label("regular")
    finish(b, uring, key, Source(b, uring, INTO), after=Jump.URING_FROM_DONE)
    return b.program()


def out_of_done(kernel: Kernel, options: Options, maps: Maps, uring: Uring) -> ProgramSpec:
    """The completion of a splice: its source."""
    b = begin("uring_from_done", kernel, options, maps)
    key = done(b, OTHER, "out")
    finish(b, uring, key, Source(b, uring, FROM))
    return b.program()
