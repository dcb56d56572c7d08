"""The programs of io_uring: those on its events, and what these go on with."""

from __future__ import annotations

from typing import Callable, Dict

from asm import ProgramSpec
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options, Uring
from programs.facts.maps import Maps
from programs.requests.uring import opens, silent, splice
from programs.requests.uring.completed import completed
from programs.requests.uring.overflow import overflowed
from programs.requests.uring.shapes import CLOSE, OPEN, TARGET, known
from programs.requests.uring.taken import refused, taken

Maker = Callable[[Kernel, Options, Maps, int], ProgramSpec]


def on_events(kernel: Kernel, shown: Uring) -> Dict[str, Maker]:
    """What makes the programs that are attached, and their spares, by the keys of Uring.events.

    The ends of requests come before their beginnings, as what is noted must not lack its completion.
    """
    makers: Dict[str, Maker] = {"completed": completed, "refused": refused, "taken": taken}
    if "overflowed" in shown.events and kernel.loops:
        makers["overflowed"] = overflowed
    return makers


def parts(kernel: Kernel, options: Options, maps: Maps, shown: Uring) -> Dict[int, ProgramSpec]:
    """What the programs on events go on with, by the index in their table of tail calls."""
    facts, kinds = (kernel, options, maps), known(shown).values()
    made: Dict[int, ProgramSpec] = {
        Jump.URING_UNSEEN: silent.unseen(*facts, "taken"),
        Jump.URING_BAD_UNSEEN: silent.unseen(*facts, "refused"),
    }
    if TARGET in kinds:
        made.update(
            {
                Jump.URING_INTO: splice.into(*facts),
                Jump.URING_BAD_INTO: splice.into(*facts, refused=True),
                Jump.URING_FROM: splice.out_of(*facts),
                Jump.URING_BAD_FROM: splice.out_of(*facts, refused=True),
                Jump.URING_INTO_DONE: splice.into_done(*facts),
                Jump.URING_FROM_DONE: splice.out_of_done(*facts),
            }
        )
    if OPEN in kinds:
        made[Jump.URING_OPEN_DONE] = opens.open_done(*facts)
    if CLOSE in kinds:
        made.update(
            {
                Jump.URING_CLOSE: opens.close(*facts),
                Jump.URING_BAD_CLOSE: opens.close(*facts, refused=True),
                Jump.URING_CLOSE_DONE: opens.close_done(*facts),
            }
        )
    return made
