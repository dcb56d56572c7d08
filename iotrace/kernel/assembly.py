"""Assembling what a plan holds, in two halves that take as long."""

from __future__ import annotations

from typing import Dict, Optional, Tuple

import asm
from iotrace.kernel.plan import CALLS, Form, Order
from programs import build
from programs.facts import maps
from pybpf.types.binary import binary


def assemble(order: Order, half: str) -> Dict[str, Optional[Form]]:
    """The forms of one of `plan.HALVES`, by their names in `Plan` or `Others`."""
    kernel, options, preallocate, raw = order
    specs = maps.declare(kernel, 1, preallocate=preallocate, options=options)
    with asm.unchecked():
        if half == CALLS:
            made: Tuple[Tuple[str, Optional[build.ProgramSet]], ...] = (("form", build.build(kernel, options, specs)),)
        else:
            made = (
                ("rings", build.io_uring(kernel, options, specs)),
                ("fates", build.fates(kernel, options, specs, raw=raw)),
                ("numbers", build.telling_numbers(kernel, options, specs, raw=raw)),
                ("entries", build.entries(kernel, options, specs)),
                ("timing", build.timing(kernel, options, specs)),
            )
        return {name: None if programs is None else _form(programs) for name, programs in made}


def _form(made: build.ProgramSet) -> Form:
    return Form(
        programs={name: binary(program) for name, program in made.programs.items()},
        hooks=made.hooks,
        jumps=made.jumps,
        syscalls=made.syscalls,
        entering=made.entering,
    )
