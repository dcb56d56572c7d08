"""Splices, which have two files: the target is the request's own, and the source is noted by itself.

Each side counts where it is a regular file, as with the system call. The target is noted in any case: by its note the
completion is known, and goes on with the source's. Each step of one side goes on with the same step of the other.
"""

from __future__ import annotations

from asm import ProgramSpec, r0, r1
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import NOTE_ABSENT, OTHER, OWN, Pending
from programs.requests import notes
from programs.requests.uring.completed import done
from programs.requests.uring.events import go_on
from programs.requests.uring.finish import finish
from programs.requests.uring.noting import note_one_side
from programs.requests.uring.request import Request
from programs.requests.uring.shapes import FROM, INTO, SOURCE, TARGET
from programs.way.body import begin


def into(kernel: Kernel, options: Options, maps: Maps, *, refused: bool = False) -> ProgramSpec:
    """Notes the target of a splice."""
    b = begin("uring_bad_into" if refused else "uring_into", kernel, options, maps)
    after = Jump.URING_BAD_FROM if refused else Jump.URING_FROM
    note_one_side(b, INTO, TARGET, refused=refused, absent="absent", after=after)
    return b.program()


def out_of(kernel: Kernel, options: Options, maps: Maps, *, refused: bool = False) -> ProgramSpec:
    """Notes the source of a splice."""
    b = begin("uring_bad_from" if refused else "uring_from", kernel, options, maps)
    note_one_side(b, FROM, SOURCE, refused=refused, side=OTHER)
    return b.program()


def into_done(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
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
    finish(b, key, Request(b, INTO), after=Jump.URING_FROM_DONE)
    return b.program()


def out_of_done(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The completion of a splice: its source."""
    b = begin("uring_from_done", kernel, options, maps)
    key = done(b, OTHER, "out")
    finish(b, key, Request(b, FROM))
    return b.program()
