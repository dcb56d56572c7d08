"""The programs of Linux AIO, and which of them run at the entry of a system call."""

from __future__ import annotations

from typing import Dict

from asm import ProgramSpec
from programs.facts.catalogue import Kind
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.requests.aio import accepted, contexts, entry, events, reap, submit, vector

# The rest runs at the exit of one: a tail call goes from fentry to fentry and from fexit to fexit only.
ENTERING = frozenset(
    {Jump.AIO_ENTER, Jump.AIO_RING, Jump.AIO_RARE_RING, Jump.AIO_LAST, Jump.AIO_NOTE, Jump.AIO_NEW, Jump.AIO_VECTOR}
)


def parts(kernel: Kernel, options: Options, maps: Maps) -> Dict[int, ProgramSpec]:
    """By their indexes in the table of tail calls."""
    facts = (kernel, options, maps)
    ended = contexts.exit_context(*facts)
    made: Dict[int, ProgramSpec] = {
        Jump.AIO_ENTER: entry.enter_aio(*facts),
        Jump.AIO_RING: events.events(*facts, entering=True),
        Jump.AIO_LAST: entry.last(*facts),
        Jump.AIO_NOTE: submit.note(*facts),
        Jump.AIO_NEW: submit.note_new(*facts),
        Kind.AIO_SUBMIT: accepted.exit_submit(*facts),
        Jump.AIO_UNDO: accepted.undo(*facts),
        Kind.AIO_REAP: reap.exit_reap(*facts),
        Kind.AIO_SETUP: ended,
        Kind.AIO_DESTROY: ended,
        Kind.AIO_EXIT: ended,
    }
    if not kernel.loops:
        made[Jump.AIO_VECTOR] = vector.measure(*facts)
        made[Jump.AIO_EVENTS] = events.events(*facts, entering=False)
    if kernel.straight:
        made[Jump.AIO_RARE_RING] = events.rare_events(*facts, entering=True)
        made[Jump.AIO_RARE_EVENTS] = events.rare_events(*facts, entering=False)
    return made
