"""The programs of Linux AIO, and which of them run at the entry of a system call."""

from __future__ import annotations

from typing import Dict

from asm import ProgramSpec
from programs.facts.catalogue import Kind
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import (
    AIO_ENTER,
    AIO_EVENTS,
    AIO_LAST,
    AIO_NEW,
    AIO_NOTE,
    AIO_RARE_EVENTS,
    AIO_RARE_RING,
    AIO_RING,
    AIO_UNDO,
    AIO_VECTOR,
    Maps,
)
from programs.requests.aio import accepted, contexts, events, ring, submit

# The rest runs at the exit of one: a tail call goes from fentry to fentry and from fexit to fexit only.
ENTERING = frozenset({AIO_ENTER, AIO_RING, AIO_RARE_RING, AIO_LAST, AIO_NOTE, AIO_NEW, AIO_VECTOR})


def parts(kernel: Kernel, options: Options, maps: Maps) -> Dict[int, ProgramSpec]:
    """By their indexes in the table of tail calls."""
    facts = (kernel, options, maps)
    ended = contexts.exit_context(*facts)
    made = {
        AIO_ENTER: ring.enter_aio(*facts),
        AIO_RING: events.events(*facts, entering=True),
        AIO_LAST: ring.last(*facts),
        AIO_NOTE: submit.note(*facts),
        AIO_NEW: submit.note_new(*facts),
        Kind.AIO_SUBMIT: accepted.exit_submit(*facts),
        AIO_UNDO: accepted.undo(*facts),
        Kind.AIO_REAP: events.exit_reap(*facts),
        Kind.AIO_SETUP: ended,
        Kind.AIO_DESTROY: ended,
        Kind.AIO_EXIT: ended,
    }
    if not kernel.loops:
        made[AIO_VECTOR] = submit.measure(*facts)
        made[AIO_EVENTS] = events.events(*facts, entering=False)
    if kernel.straight:
        made[AIO_RARE_RING] = events.rare_events(*facts, entering=True)
        made[AIO_RARE_EVENTS] = events.rare_events(*facts, entering=False)
    return made
